/** GPT-NeoX weights on a GPU, float32. */
import type { TensorSource } from "../../data/tensor.ts";
import type { CallOptions, TransformerSpec } from "../backend.ts";
import { rotaryTable } from "../cpu/transformer/kernels.ts";
import {
  assertTensors,
  EMBEDDING,
  FINAL_NORM,
  layerTensors,
  requiredTensors,
  UNEMBEDDING,
} from "../gpt-neox-weights.ts";
import type { BufferScope, ComputeBuffer, ComputeDevice } from "./device.ts";
import { rowChunks } from "./webgpu-activations.ts";

/** Rows [firstRow, firstRow + rows) of a matrix. */
export interface MatrixPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly buffer: ComputeBuffer;
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

/** Gain and bias of a layer norm. */
export interface NormWeights {
  readonly gain: ComputeBuffer;
  readonly bias: ComputeBuffer;
}

export interface LayerWeights {
  readonly attentionNorm: NormWeights;
  readonly mlpNorm: NormWeights;
  readonly qkv: LinearMap;
  readonly attentionOut: LinearMap;
  readonly mlpIn: LinearMap;
  readonly mlpOut: LinearMap;
}

export interface TransformerWeights {
  /** [vocabulary × dModel] */
  readonly embedding: readonly MatrixPart[];
  /** [context × rotaryDims]: cosines, then sines, of every position. */
  readonly turns: ComputeBuffer;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: NormWeights;
  readonly unembedding: LinearMap;
}

export interface LoadOptions extends CallOptions {
  /** Called after each tensor. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
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
  { signal, onProgress }: LoadOptions,
): Promise<TransformerWeights> {
  assertTensors(spec, source);
  const total = requiredTensors(spec).size;
  let done = 0;
  const read = async (name: string): Promise<Float32Array> => {
    signal?.throwIfAborted();
    const { data } = await source.read(name, { signal });
    onProgress?.(++done, total);
    return data;
  };
  const vector = async (name: string): Promise<ComputeBuffer> =>
    scope.allocateFrom(name, await read(name), signal);
  const matrix = async (name: string, data: Float32Array, rows: number): Promise<MatrixPart[]> => {
    const width = data.length / rows;
    const parts: MatrixPart[] = [];
    for (const part of rowChunks(rows, width * 4, maxBindingBytes)) {
      const values = data.subarray(part.firstRow * width, (part.firstRow + part.rows) * width);
      parts.push({ ...part, buffer: await scope.allocateFrom(name, values, signal) });
    }
    return parts;
  };
  const norm = async (prefix: string): Promise<NormWeights> => ({
    gain: await vector(`${prefix}.weight`),
    bias: await vector(`${prefix}.bias`),
  });
  const map = async (name: string, bias: ComputeBuffer, outputs: number): Promise<LinearMap> => {
    const data = filledUp(await read(name), outputs);
    return {
      outputs,
      inputVectors: data.length / outputs / 4,
      weight: await matrix(name, data, outputs),
      bias,
    };
  };
  const linear = async (prefix: string, outputs: number): Promise<LinearMap> =>
    map(`${prefix}.weight`, await vector(`${prefix}.bias`), outputs);

  const { dModel, dMlp, vocabulary } = spec;
  const embedding = await matrix(EMBEDDING, await read(EMBEDDING), vocabulary);
  const layers: LayerWeights[] = [];
  for (let i = 0; i < spec.layers; i++) {
    const names = layerTensors(i);
    layers.push({
      attentionNorm: await norm(names.attentionNorm),
      mlpNorm: await norm(names.mlpNorm),
      qkv: await linear(names.qkv, 3 * dModel),
      attentionOut: await linear(names.attentionOut, dModel),
      mlpIn: await linear(names.mlpIn, dMlp),
      mlpOut: await linear(names.mlpOut, dModel),
    });
  }
  const finalNorm = await norm(FINAL_NORM);
  const noBias = await scope.allocate("no bias", vocabulary * 4);
  const unembedding = await map(UNEMBEDDING, noBias, vocabulary);
  const turns = await scope.allocateFrom("rotary table", rotaryTable(spec, spec.context), signal);
  await device.idle();
  return { embedding, turns, layers, finalNorm, unembedding };
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
