/** A transformer's weights on a GPU, float32. */
import type { TensorSource } from "../../data/tensor.ts";
import type { LoadTransformerOptions, TransformerSpec } from "../backend.ts";
import type { LinearTensors, NormTensors } from "../transformer-tensors.ts";
import { TransformerWeightReader } from "../transformer-weights.ts";
import type { BufferScope, ComputeBuffer, ComputeDevice } from "./device.ts";
import { rowChunks } from "./webgpu-activations.ts";

/** Rows [firstRow, firstRow + rows) of a matrix. */
export interface MatrixPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly buffer: ComputeBuffer;
  /** Rows of the buffer before them; 0 when left out. */
  readonly skip?: number;
}

/** x·Wᵀ + bias. */
export interface LinearMap {
  readonly outputs: number;
  /** Vectors of four inputs; weights of the last one's missing inputs are zero. */
  readonly inputVectors: number;
  /** The weight [outputs × 4·inputVectors], in as many parts as bindings of the device need. */
  readonly weight: readonly MatrixPart[];
  /** [outputs] */
  readonly bias: ComputeBuffer;
}

/** Gain and bias of a norm; a bias of zeros where it has none. */
export interface NormWeights {
  readonly gain: ComputeBuffer;
  readonly bias: ComputeBuffer;
}

/** One layer's weights; what the model does not have is null. */
export interface LayerWeights {
  readonly attentionNorm: NormWeights;
  /** Of a model whose attention and MLP share a norm: the same. */
  readonly mlpNorm: NormWeights;
  readonly attentionPostNorm: NormWeights | null;
  readonly mlpPostNorm: NormWeights | null;
  readonly queryNorm: NormWeights | null;
  readonly keyNorm: NormWeights | null;
  /** All queries, then all keys, then all values. */
  readonly qkv: LinearMap;
  readonly attentionOut: LinearMap;
  readonly gate: LinearMap | null;
  readonly mlpIn: LinearMap;
  readonly mlpOut: LinearMap;
}

export interface TransformerWeights {
  /** [vocabulary × dModel] */
  readonly embedding: readonly MatrixPart[];
  /** [context × dModel]; null where positions are rotations. */
  readonly positions: readonly MatrixPart[] | null;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: NormWeights;
  readonly unembedding: LinearMap;
}

/** Vectors of four values that hold a row of this width. */
export function vectorsOf(width: number): number {
  return Math.ceil(width / 4);
}

/**
 * Reads and uploads the model tensor by tensor; at most one tensor is on the host at a time. The scope owns the buffers.
 *
 * @throws MissingTensorError when tensors are missing or misshapen; nothing has been read then
 * @throws OutOfMemoryError when the weights do not fit the device
 */
export async function loadTransformerWeights(
  device: ComputeDevice,
  spec: TransformerSpec,
  source: TensorSource,
  maxBindingBytes: number,
  scope: BufferScope,
  options: LoadTransformerOptions,
): Promise<TransformerWeights> {
  const { signal } = options;
  const reader = new TransformerWeightReader(spec, source, options);
  const { dModel, dMlp, dHead, heads, kvHeads, vocabulary, context } = spec;
  const widest = Math.max(vocabulary, dModel, dMlp, (heads + 2 * kvHeads) * dHead);
  const noBias = await scope.allocate("no bias", 4 * widest);
  const vector = (name: string, data: Float32Array): Promise<ComputeBuffer> =>
    scope.allocateFrom(name, data, signal);
  const matrix = async (name: string, data: Float32Array, rows: number): Promise<MatrixPart[]> => {
    const width = data.length / rows;
    const parts: MatrixPart[] = [];
    for (const part of rowChunks(rows, width * 4, maxBindingBytes)) {
      const values = data.subarray(part.firstRow * width, (part.firstRow + part.rows) * width);
      parts.push({ ...part, buffer: await scope.allocateFrom(name, values, signal) });
    }
    return parts;
  };
  const norm = async (tensors: NormTensors): Promise<NormWeights> => {
    const { gain, bias } = await reader.norm(tensors);
    const { name } = tensors;
    return { gain: await vector(name, gain), bias: bias ? await vector(name, bias) : noBias };
  };
  const optional = async (tensors: NormTensors | null): Promise<NormWeights | null> =>
    tensors && norm(tensors);
  const map = async (
    name: string,
    weight: Float32Array,
    bias: Float32Array | null,
    outputs: number,
  ): Promise<LinearMap> => {
    const data = filledUp(weight, outputs);
    return {
      outputs,
      inputVectors: data.length / outputs / 4,
      weight: await matrix(name, data, outputs),
      bias: bias ? await vector(name, bias) : noBias,
    };
  };
  const linear = async (tensors: LinearTensors): Promise<LinearMap> => {
    const { weight, bias } = await reader.linear(tensors);
    return map(tensors.name, weight, bias, tensors.outputs);
  };

  const { tensors } = reader;
  const embed = async (): Promise<Pick<TransformerWeights, "embedding"> & { tied?: LinearMap }> => {
    const data = await reader.tensor(tensors.embedding);
    const embedding = await matrix(tensors.embedding, data, vocabulary);
    if (!spec.unembedding.tied) return { embedding };
    // Where rows are whole vectors, the two are the same bytes.
    const tied =
      dModel % 4 === 0
        ? { outputs: vocabulary, inputVectors: dModel / 4, weight: embedding, bias: noBias }
        : await map(tensors.embedding, data, null, vocabulary);
    return { embedding, tied };
  };
  const { embedding, tied } = await embed();
  const positions =
    tensors.positions === null
      ? null
      : await matrix(tensors.positions, await reader.tensor(tensors.positions), context);
  const layers: LayerWeights[] = [];
  for (let i = 0; i < spec.layers; i++) {
    const names = tensors.layer(i);
    const attentionNorm = await norm(names.attentionNorm);
    layers.push({
      attentionNorm,
      mlpNorm: (await optional(names.mlpNorm)) ?? attentionNorm,
      attentionPostNorm: await optional(names.attentionPostNorm),
      mlpPostNorm: await optional(names.mlpPostNorm),
      queryNorm: await optional(names.queryNorm),
      keyNorm: await optional(names.keyNorm),
      qkv: await linear(names.qkv),
      attentionOut: await linear(names.attentionOut),
      gate: names.gate && (await linear(names.gate)),
      mlpIn: await linear(names.mlpIn),
      mlpOut: await linear(names.mlpOut),
    });
  }
  const finalNorm = await norm(tensors.finalNorm);
  const unembedding = tied ?? (await linear(tensors.unembedding));
  await device.idle();
  return { embedding, positions, layers, finalNorm, unembedding };
}

/** Rows of whole vectors: the data itself when the width is a multiple of four. */
function filledUp(data: Float32Array, rows: number): Float32Array {
  const width = data.length / rows;
  const filled = 4 * vectorsOf(width);
  if (filled === width) return data;
  const out = new Float32Array(rows * filled);
  for (let r = 0; r < rows; r++) out.set(data.subarray(r * width, (r + 1) * width), r * filled);
  return out;
}
