/** A transformer's weights on a GPU: matrices in 16 or 32 bits, vectors in float32. */
import type { TensorSource } from "../../data/tensor.ts";
import { OptionError } from "../../errors.ts";
import type { LoadTransformerOptions, TransformerSpec } from "../backend.ts";
import type { LinearTensors, NormTensors } from "../transformer-tensors.ts";
import { TransformerWeightReader } from "../transformer-weights.ts";
import type { BufferScope, ComputeBuffer, ComputeDevice } from "./device.ts";
import { uploadMatrix, type Matrix, type WeightType } from "./weight-matrix.ts";

/** x·Wᵀ + bias. */
export interface LinearMap {
  readonly outputs: number;
  readonly inputs: number;
  /** [outputs × inputs] */
  readonly weight: Matrix;
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
  readonly embedding: Matrix;
  /** [context × dModel]; null where positions are rotations. */
  readonly positions: Matrix | null;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: NormWeights;
  readonly unembedding: LinearMap;
}

/** Vectors of four values that hold a row of this width. */
export function vectorsOf(width: number): number {
  return Math.ceil(width / 4);
}

/** Every way in which matrices of a model are kept. */
export function weightTypes(weights: TransformerWeights): ReadonlySet<WeightType> {
  const { embedding, positions, layers, unembedding } = weights;
  const maps = layers.flatMap(({ qkv, attentionOut, gate, mlpIn, mlpOut }) => [
    ...[qkv, attentionOut, mlpIn, mlpOut],
    ...(gate ? [gate] : []),
  ]);
  const matrices = [
    embedding,
    ...(positions ? [positions] : []),
    ...[...maps, unembedding].map((map) => map.weight),
  ];
  return new Set(matrices.map(({ type }) => type));
}

/**
 * Reads and uploads the model tensor by tensor; at most one tensor is on the host at a time. The scope owns the buffers.
 *
 * @throws OptionError when `weights` is none of the ways in which they can be kept
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
  const storage = options.weights ?? "auto";
  if (!["auto", "float32", "float16"].includes(storage)) {
    throw new OptionError(
      `Weights cannot be kept as ${JSON.stringify(storage)}.`,
      'Use "auto", "float32" or "float16".',
    );
  }
  const round = storage === "float16";
  /** How tensors that make up a matrix together are kept. */
  const typeOf = (names: readonly string[]): WeightType => {
    if (storage === "float32") return "f32";
    const stored = new Set(names.map((name) => source.tensors.get(name)!.dtype));
    if (stored.size === 1 && stored.has("BF16")) return "bf16";
    return round || (stored.size === 1 && stored.has("F16")) ? "f16" : "f32";
  };
  const matrix = async (names: readonly string[], data: Float32Array, rows: number): Promise<Matrix> =>
    uploadMatrix(device, scope, names[0], data, rows, {
      type: typeOf(names),
      round,
      maxBindingBytes,
      signal,
    });
  const norm = async (tensors: NormTensors): Promise<NormWeights> => {
    const { gain, bias } = await reader.norm(tensors);
    const { name } = tensors;
    return { gain: await vector(name, gain), bias: bias ? await vector(name, bias) : noBias };
  };
  const optional = async (tensors: NormTensors | null): Promise<NormWeights | null> =>
    tensors && norm(tensors);
  const linear = async (map: LinearTensors): Promise<LinearMap> => {
    const { outputs, inputs, name, pieces } = map;
    const { weight, bias } = await reader.linear(map);
    const names = pieces.map((piece) => `${piece.name}.weight`);
    return {
      outputs,
      inputs,
      weight: await matrix(names, weight, outputs),
      bias: bias ? await vector(name, bias) : noBias,
    };
  };

  const { tensors } = reader;
  const table = async (name: string, rows: number): Promise<Matrix> =>
    matrix([name], await reader.tensor(name), rows);
  const embedding = await table(tensors.embedding, vocabulary);
  const positions = tensors.positions === null ? null : await table(tensors.positions, context);
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
  const unembedding = spec.unembedding.tied
    ? { outputs: vocabulary, inputs: dModel, weight: embedding, bias: noBias }
    : await linear(tensors.unembedding);
  await device.idle();
  return { embedding, positions, layers, finalNorm, unembedding };
}
