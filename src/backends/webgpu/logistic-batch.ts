/** What the kernels of a batch of logistic problems share: the data, the layout and the buffers. */
import type { ComputeBuffer } from "./device.ts";

/** Columns, column-major, in one chunk of rows or, where a binding does not hold them, in several. */
export interface GatheredColumns {
  readonly rows: number;
  /** All but the last have the same number of rows. */
  readonly chunks: readonly {
    readonly firstRow: number;
    readonly rows: number;
    /** [columns × rows] float32. */
    readonly columns: ComputeBuffer;
  }[];
}

/** The same, with labels. */
export interface ColumnPool extends GatheredColumns {
  readonly chunks: readonly PoolChunk[];
}

export interface PoolChunk {
  readonly firstRow: number;
  readonly rows: number;
  readonly columns: ComputeBuffer;
  /** [sets × 4·⌈rows of the first chunk/4⌉] bytes: the rows' labels in every set. */
  readonly labels: ComputeBuffer;
}

/** How a batch is laid out. */
export interface BatchPlan {
  readonly count: number;
  /** One more than the largest k. */
  readonly stride: number;
  /** Fitted by one workgroup each. */
  readonly whole: boolean;
  /** Slices of the Hessian, and of a chunk's gradient. */
  readonly slices: number;
  readonly gradientSlices: number;
  /** Entries between two problems' factors. */
  readonly factorStride: number;
}

/** Buffers of a batch. */
export interface BatchState {
  readonly problems: ComputeBuffer;
  readonly support: ComputeBuffer;
  /** [2 × problems × stride]: high parts, then low parts. */
  readonly theta: ComputeBuffer;
  readonly step: ComputeBuffer;
  readonly trial: ComputeBuffer;
  /** Hessians, in slices; slice 0 becomes the factor. */
  readonly factor: ComputeBuffer;
}
