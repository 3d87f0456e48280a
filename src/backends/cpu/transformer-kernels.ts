/**
 * What the CPU transformer computes with: one interface, a WebAssembly SIMD implementation and a plain TypeScript one,
 * which is slow, accumulates in float64 and reads like the formulas.
 */
import type { TransformerSpec } from "../backend.ts";

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

/** Gain and bias of a layer norm. */
export interface NormWeights<Buffer extends FloatBuffer = FloatBuffer> {
  readonly gain: Buffer;
  readonly bias: Buffer;
}

/** Buffers and maps are of one implementation's own kind, and go back only to the kernels that made them. */
export interface TransformerKernels<
  Buffer extends FloatBuffer = FloatBuffer,
  Linear extends LinearMap = LinearMap,
> {
  readonly name: "WebAssembly SIMD" | "plain JavaScript";
  /** Zeroed floats. */
  allocate(length: number): Buffer;
  /** Takes in a weight of shape [outputs × inputs], as torch stores it, and a bias (zeros when null). */
  linearMap(weight: Float32Array, bias: Float32Array | null, outputs: number, inputs: number): Linear;
  /** y[rows × outputs] = x[rows × inputs]·Wᵀ + bias */
  linear(x: Buffer, map: Linear, y: Buffer, rows: number): void;
  /** y = (x − mean)/√(variance + epsilon)·gain + bias, row by row */
  layerNorm(x: Buffer, norm: NormWeights<Buffer>, y: Buffer, rows: number, epsilon: number): void;
  /**
   * Rotates queries and keys in place and attends, sequence by sequence.
   * @param qkv [tokens × heads × 3 × dHead]
   * @param offsets sequence s is rows offsets[s] .. offsets[s + 1]
   * @param z result, [tokens × heads × dHead]
   */
  attention(qkv: Buffer, offsets: ArrayLike<number>, z: Buffer): void;
  /** y = activation(x) over the first `count` floats. */
  activate(x: Buffer, y: Buffer, count: number): void;
  /** y += x over the first `count` floats. */
  add(x: Buffer, y: Buffer, count: number): void;
}

/**
 * cos and sin of position · frequency for every position and rotated pair, [context × 2 × rotaryDims/2]. Frequency i
 * is base^(−2i/rotaryDims); angles are rounded to float32 where torch rounds them, so that long contexts agree.
 */
export function rotaryTable(spec: TransformerSpec, positions: number): Float32Array {
  const half = spec.rotaryDims / 2;
  const table = new Float32Array(positions * 2 * half);
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(1 / Math.fround(spec.rotaryBase ** ((2 * i) / spec.rotaryDims)));
    for (let position = 0; position < positions; position++) {
      const angle = Math.fround(position * frequency);
      table[position * 2 * half + i] = Math.cos(angle);
      table[position * 2 * half + half + i] = Math.sin(angle);
    }
  }
  return table;
}
