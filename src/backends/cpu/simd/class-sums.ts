/** What the two ways to sum classes are given, and what they give. */
import type { Activations } from "../../../data/activations.ts";
import type { MomentSquares } from "../../../data/class-moments.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { Pacer } from "../pacer.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";

/** What is subtracted from every value before it is summed: a row in the matrix's own storage. */
export interface Pilot {
  /** By neuron: halves and floats as values, codes as codes. */
  readonly values: Float32Array;
  /** The same as stored. */
  readonly row: Float32Array | Uint16Array | Uint8Array;
}

/** Sums of v and v² over the two classes of one feature, length d each, in f64. */
export interface ClassSums {
  readonly negative: Float64Array;
  readonly positive: Float64Array;
  /** Σ v² of each class; absent unless asked for with "class". */
  readonly negativeSquares?: Float64Array;
  readonly positiveSquares?: Float64Array;
  /** Σ v² over both; absent with "none". */
  readonly squares?: Float64Array;
}

/** What the sums are taken of. */
export interface SumsOf {
  readonly pool: KernelPool;
  readonly x: Activations;
  readonly labels: LabelMatrix;
  readonly squares: MomentSquares;
  readonly pilot: Pilot;
  readonly pacer: Pacer;
  readonly signal: AbortSignal | undefined;
  /** Set to 1 for neurons whose sums do not stand. */
  readonly refused: Uint8Array;
}

/** Receives the sums of one feature; they are overwritten for the next. */
export type FinishFeature = (f: number, count: readonly [number, number], sums: ClassSums) => void;
