/** Columns of a matrix where the kernels can read them: in place, else copied some at a time, and packed into panels of four. */
import type { Activations } from "../../../data/activations.ts";
import { Random } from "../../../random.ts";
import { rowsByClass, type LabelledRows } from "../../single-neurons.ts";
import { Pacer } from "../pacer.ts";
import { Scope } from "./kernel-memory.ts";
import type { KernelPool } from "./kernel-pool.ts";
import { STORAGE_CODES } from "./kernel-rows.ts";

/** Bytes of columns copied at a time, and of panels: wide enough that rows are read in runs of some KB. */
const COPY_BYTES = 256 * 2 ** 20;
const PANEL_BYTES = 96 * 2 ** 20;

/** Rows of an item of `packPanels`. */
const ITEM_ROWS = 1024;

/** Neighbouring columns of all rows in the kernels' memory. */
export interface ColumnBlock {
  /** Byte offset of the first row's first column. */
  readonly at: number;
  readonly rowBytes: number;
  /** Index of the first column in the matrix. */
  readonly first: number;
  readonly columns: number;
}

/** Visits all columns in order: at once when the matrix lies in the kernels' memory, else in copies of some of them. */
export async function forEachColumnBlock(
  pool: KernelPool,
  x: Activations,
  visit: (block: ColumnBlock) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const { rows, neurons: d } = x;
  const size = x.data.BYTES_PER_ELEMENT;
  const address = pool.memory.addressOf(x.data);
  if (address !== undefined) return visit({ at: address, rowBytes: d * size, first: 0, columns: d });
  const pacer = new Pacer(signal);
  const width = Math.min(d, 64 * Math.max(1, Math.floor(COPY_BYTES / (64 * rows * size))));
  const source = new Uint8Array(x.data.buffer, x.data.byteOffset, x.data.byteLength);
  const scope = new Scope(pool.memory);
  try {
    const at = scope.allocate(rows * width * size);
    for (let first = 0; first < d; first += width) {
      const columns = Math.min(width, d - first);
      const rowBytes = columns * size;
      // Rows are copied a stretch at a time, between which the event loop may turn and the memory may grow.
      for (let start = 0; start < rows; start += 256) {
        const end = Math.min(rows, start + 256);
        const target = pool.memory.u8(at, rows * rowBytes);
        for (let i = start; i < end; i++) {
          const from = (i * d + first) * size;
          target.set(source.subarray(from, from + rowBytes), i * rowBytes);
        }
        if (pacer.due) await pacer.turn();
      }
      await visit({ at, rowBytes, first, columns });
    }
  } finally {
    scope.close();
  }
}

/** Labelled rows in an order that has fair samples at the start of each class. */
export interface SampledRows extends LabelledRows {
  /** Rows of each class that make up a sample, ascending; the last sample is all rows. */
  readonly samples: readonly (readonly [negatives: number, positives: number])[];
}

/** Each sample has this share of the next one's rows, and not fewer than so many of a class that has them. */
const SAMPLE_SHARE = 8;
const SAMPLE_ROWS = 128;

export function sampledRows(values: Uint8Array): SampledRows {
  const { rows, negatives, positives } = rowsByClass(values);
  const samples = [[negatives, positives] as const];
  for (;;) {
    const [smaller, larger] = [samples[0].map(sampleOf), samples[0]];
    if (samples.length === 4 || smaller.every((size, c) => 2 * size > larger[c])) break;
    samples.unshift([smaller[0], smaller[1]]);
  }
  const random = new Random(0, "samples of rows");
  for (const c of [0, 1]) {
    const chosen = c === 0 ? rows.subarray(0, negatives) : rows.subarray(negatives);
    // Every row's first sample: a random choice of ranks (the beginning of a Fisher–Yates shuffle), without moving rows.
    const sampleOfRank = new Uint8Array(chosen.length).fill(samples.length - 1);
    const most = samples.at(-2)?.[c] ?? 0;
    if (most < chosen.length) {
      const ranks = Uint32Array.from(chosen.keys());
      let sample = 0;
      for (let r = 0; r < most; r++) {
        const other = r + Math.floor(random.uniform() * (ranks.length - r));
        [ranks[r], ranks[other]] = [ranks[other], ranks[r]];
        while (r >= samples[sample][c]) sample++;
        sampleOfRank[ranks[r]] = sample;
      }
    } else sampleOfRank.fill(0);
    // Each sample's own rows in ascending order, as they lie in memory.
    const to = samples.map((_, s) => (s === 0 ? 0 : samples[s - 1][c]));
    for (const [rank, row] of chosen.slice().entries()) chosen[to[sampleOfRank[rank]]++] = row;
  }
  return { rows, negatives, positives, samples };
}

/** Rows of the next smaller sample of a class. */
function sampleOf(size: number): number {
  return Math.min(size, Math.max(SAMPLE_ROWS, Math.ceil(size / SAMPLE_SHARE)));
}

/** Rows of a list in panels [rows][4] of f32. */
export interface Panels {
  readonly at: number;
  /** Bytes from one panel to the next. */
  readonly stride: number;
  readonly count: number;
  /** Index of the first column in the matrix. */
  readonly first: number;
  readonly columns: number;
  /** Largest magnitude of each column but for NaN. */
  readonly largest: Float32Array;
  /** Sum of squares of each column over the negative and over the positive rows, summed in f32: NaN where a value is. */
  readonly squares: readonly [Float64Array, Float64Array];
}

/** What is done to a column before it is packed: (x − pivot)·factor, in f32. */
export interface PanelTransform {
  readonly pivot: Float32Array;
  readonly factor: Float32Array;
}

/**
 * Packs the listed rows of a block, some columns at a time, and visits the panels.
 *
 * @param transform of the columns of the whole matrix; nothing is done to them when it is absent
 */
export async function forEachPanels(
  pool: KernelPool,
  x: Activations,
  block: ColumnBlock,
  { rows, negatives, positives }: LabelledRows,
  transform: PanelTransform | undefined,
  visit: (panels: Panels) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const n = rows.length;
  const size = x.data.BYTES_PER_ELEMENT;
  // Panels do not start at multiples of 4 KiB from each other, so that rows of many fit in a first-level cache.
  const stride = 16 * n + 64;
  const width = Math.min(
    4 * Math.ceil(block.columns / 4),
    16 * Math.max(1, Math.floor(PANEL_BYTES / (4 * stride))),
  );
  const items = [negatives, positives].map((count) => Math.ceil(count / ITEM_ROWS));
  const itemsTotal = items[0] + items[1];
  const scope = new Scope(pool.memory);
  try {
    const list = scope.copyOf(rows);
    const at = scope.allocate((width / 4) * stride);
    const tables = scope.allocate(4 * 4 * width);
    const spread = scope.allocate(itemsTotal * 2 * 4 * width);
    for (let start = 0; start < block.columns; start += width) {
      const columns = Math.min(width, block.columns - start);
      const padded = 4 * Math.ceil(columns / 4);
      const first = block.first + start;
      const table = (t: number) => tables + 4 * width * t;
      const fill = (t: number, values: Float32Array | undefined, otherwise: number) => {
        const to = pool.memory.f32(table(t), padded).fill(otherwise);
        if (values) to.set(values.subarray(first, first + columns));
      };
      fill(0, transform?.pivot, 0);
      fill(1, transform?.factor, 1);
      fill(2, x.code?.scale, 0);
      fill(3, x.code?.offset, 0);
      await pool.run(
        "packPanels",
        itemsTotal,
        [
          block.at + start * size,
          STORAGE_CODES[x.dtype],
          block.rowBytes,
          list,
          negatives,
          positives,
          columns,
          table(0),
          table(1),
          table(2),
          table(3),
          at,
          stride,
          spread,
        ],
        { signal, operations: 2 * n * columns },
      );
      const largest = new Float32Array(padded);
      const squares = [new Float64Array(padded), new Float64Array(padded)] as const;
      const found = pool.memory.f32(spread, itemsTotal * 2 * padded);
      for (let item = 0; item < itemsTotal; item++) {
        const of = squares[item < items[0] ? 0 : 1];
        for (let c = 0; c < padded; c++) {
          largest[c] = Math.max(largest[c], found[2 * item * padded + c]);
          of[c] += found[(2 * item + 1) * padded + c];
        }
      }
      await visit({ at, stride, count: padded / 4, first, columns, largest, squares });
    }
  } finally {
    scope.close();
  }
}
