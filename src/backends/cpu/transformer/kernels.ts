/**
 * What the CPU transformer computes with: one interface, a WebAssembly SIMD implementation and a plain TypeScript one,
 * which is slow, accumulates in float64 and reads like the formulas.
 *
 * Work is asked for, in order, and done by `run`. It may be done out of order, and by several threads, up to the next `wait`.
 */
import type { ActivationsOptions } from "../../../data/activations.ts";
import type {
  Aggregation,
  AttentionLayer,
  CallOptions,
  DeviceActivations,
  RowSegments,
} from "../../backend.ts";
import type { ColumnChange } from "../../interventions.ts";

/** Floats that a set of kernels can work on. */
export interface FloatBuffer {
  /** Number of floats. */
  readonly length: number;
  /** The values; valid until the next allocation. */
  view(): Float32Array;
}

/** A matrix [inputs × outputs] with its bias, in a form of the kernels' own. */
export interface LinearMap {
  readonly inputs: number;
  readonly outputs: number;
}

/** Gain and bias of a norm, which is of the model's kind. */
export interface NormWeights<Buffer extends FloatBuffer = FloatBuffer> {
  readonly gain: Buffer;
  readonly bias: Buffer | null;
}

/** What happens before and after a product. */
export interface LinearOptions<Buffer extends FloatBuffer = FloatBuffer> {
  /** The map reads x normalised row by row. */
  readonly norm?: NormWeights<Buffer> | undefined;
  /** y becomes softcap·tanh(y/softcap) before anything else happens to it. */
  readonly softcap?: number | null | undefined;
  /** Where the activation function of y goes, which may be y itself. */
  readonly activated?: Buffer | undefined;
  /** What the activation is multiplied by, value by value. */
  readonly factor?: Buffer | undefined;
  /** to = from + y + and, value by value; any of them may be the same, but not y. */
  readonly sum?:
    { readonly from: Buffer; readonly and?: Buffer | undefined; readonly to: Buffer } | undefined;
}

/** Which values of a matrix's rows a norm is of. */
export interface NormParts {
  /** Floats from row to row. */
  readonly stride: number;
  /** Where the first part of a row begins. */
  readonly first: number;
  /** Parts that follow one another, each as wide as the gain and normalised on its own. */
  readonly count: number;
}

/** Buffers and maps are of one implementation's own kind, and go back only to the kernels that made them. */
export interface TransformerKernels<
  Buffer extends FloatBuffer = FloatBuffer,
  Linear extends LinearMap = LinearMap,
> {
  readonly name: "WebAssembly SIMD" | "plain JavaScript";
  /** Floats of any value. */
  allocate(length: number): Buffer;
  /** Gives back what {@link allocate} returned. */
  free(buffer: Buffer): void;
  /** Floats `from` … `from + length` − 1 of a buffer, in place. */
  part(buffer: Buffer, from: number, length: number): Buffer;
  /** Takes in a weight of shape [outputs × inputs], as torch stores it, and a bias (zeros when null). */
  linearMap(weight: Float32Array, bias: Float32Array | null, outputs: number, inputs: number): Linear;
  /** Copies the weights of one output, [inputs]. */
  weightsOf(map: Linear, output: number, to: Float32Array): void;
  /** The bias of one output. */
  biasOf(map: Linear, output: number): number;
  /** Gives back what {@link linearMap} returned. */
  freeMap(map: Linear): void;
  /** y[rows × outputs] = x[rows × inputs]·Wᵀ + bias */
  linear(x: Buffer, map: Linear, y: Buffer, rows: number, options?: LinearOptions<Buffer>): void;
  /**
   * Causal attention with rotated queries and keys, sequence by sequence.
   * @param qkv [tokens × (heads + 2·kvHeads) × dHead]: all queries of a token, then its keys, then its values
   * @param offsets sequence s is rows offsets[s] .. offsets[s + 1]
   * @param z result, [tokens × heads × dHead]
   */
  attention(qkv: Buffer, offsets: ArrayLike<number>, z: Buffer, layer: AttentionLayer): void;
  /** Normalises parts of rows of x in place. The result is added to `sum`, which is laid out as x. */
  normalise(x: Buffer, norm: NormWeights<Buffer>, rows: number, parts: NormParts, sum?: Buffer): void;
  /** Combines rows of x [… × width] into rows of `out`, from row `first` on; sums run in float64. */
  aggregate(
    x: Buffer,
    width: number,
    how: Aggregation,
    segments: RowSegments,
    out: Buffer,
    first: number,
  ): void;
  /** Changes columns of rows [… × width] of x in place: those listed, or the first `rows`. */
  change(x: Buffer, width: number, rows: number | Uint32Array, change: ColumnChange): void;
  /** y = the MLP's non-linearity of x, times `factor` where there is one, over `count` values; y may be x. */
  activate(x: Buffer, y: Buffer, count: number, factor?: Buffer): void;
  /** to = to + x + and, over `count` values. */
  add(x: Buffer, and: Buffer | undefined, to: Buffer, count: number): void;
  /**
   * log Σ exp of a row's logits less the logit of its target, row by row; the logits are summed as they are computed. `out` is
   * filled when {@link run} has ended.
   * @param x [targets.length × inputs]
   */
  losses(
    x: Buffer,
    map: Linear,
    targets: Uint32Array,
    out: Float32Array,
    options: Pick<LinearOptions<Buffer>, "norm" | "softcap">,
  ): void;
  /** What is asked for from here on reads what was asked for before. */
  wait(): void;
  /**
   * Does what has been asked for.
   * @throws the signal's reason when it is aborted; what is left is dropped then
   */
  run(options?: CallOptions): Promise<void>;
  /** Hands a matrix [rows × neurons] to the caller, who disposes of it; the buffer must not be used again. */
  lend(buffer: Buffer, rows: number, neurons: number, options: ActivationsOptions): DeviceActivations;
  /** Forgets what has been asked for and not been run: a pass that failed half way leaves nothing behind. */
  drop(): void;
  /** Nothing is asked for any more; what was lent stays. */
  dispose(): void;
}
