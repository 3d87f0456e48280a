/** Class sums for few joint label patterns: each row is added once, to its pattern. */
import type { Activations } from "../../../data/activations.ts";
import type { MomentSquares } from "../../../data/class-moments.ts";
import type { Pacer } from "../pacer.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";
import type { FinishFeature, SumsOf } from "./class-sums.ts";
import { NO_PATTERN, type Patterns } from "./row-patterns.ts";

/** Rows of a block, whose sums are f32, and bytes of them at most. */
const BLOCK_ROWS = 512;
const BLOCK_BYTES = 8 * 2 ** 20;
/** The same where four rows are added at a time rather than eight, and where codes are summed in 16 bits. */
const SHORT_BLOCK_ROWS = 256;
/** Neighbouring columns that are all shifted by the pilot, or all not. */
const SEGMENT_COLUMNS = 64;
/** Bytes of block sums held at once. */
const SLOT_BYTES = 16 * 2 ** 20;
/** Columns of an item where there are few blocks to share. */
const PART_COLUMNS = 2048;
/** Columns of an item of `addSlots`. */
const SLOT_COLUMNS = 512;

/** Sums every pattern, and gives every feature the sums of its classes. */
export async function patternSums(
  { pool, x, squares, pilot, pacer, signal, refused, labels }: SumsOf,
  patterns: Patterns,
  finish: FinishFeature,
): Promise<void> {
  const { neurons: d, rows, dtype } = x;
  const P = patterns.labels.length;
  const stats = squares === "none" ? 1 : 2;
  const length = P * stats * d;
  const streamed = isStreamed(x, squares, patterns);
  const short = streamed || (dtype === "u8" && stats === 1);
  const height = blockHeight(x, short ? SHORT_BLOCK_ROWS : BLOCK_ROWS);
  const { order, starts, count } = streamed
    ? rowsInOrder(patterns, rows, height)
    : rowsByPattern(patterns, rows, height);
  if (pacer.due) await pacer.turn();
  const scope = new Scope(pool.memory);
  try {
    const orderAt = scope.copyOf(order);
    const startsAt = scope.copyOf(starts);
    const pilotAt = scope.copyOf(pilot.values);
    const blankAt = scope.copyOf(pilot.row);
    const segmentsAt = streamed ? scope.copyOf(shiftedSegments(pilot.values)) : 0;
    const sortedAt = streamed ? scope.allocate(16 * pool.threads) : 0;
    const blocks = Math.min(Math.ceil(rows / height), Math.max(1, Math.floor(SLOT_BYTES / (4 * length))));
    const slots = scope.allocate(4 * length * blocks);
    const totals = scope.zeros(8 * length);
    const stride = 64 * Math.ceil((2 * d) / 64);
    const scratch = dtype !== "f32" && stats === 1 ? scope.zeros(stride * pool.threads) : 0;
    await forEachRowBlock(
      pool,
      x,
      height,
      async (block) => {
        const rowBytes = d * x.data.BYTES_PER_ELEMENT;
        const end = Math.ceil((block.first + block.rows) / height);
        for (let b = block.first / height; b < end; b += blocks) {
          const some = Math.min(blocks, end - b);
          const parts = some >= 4 * pool.threads ? 1 : Math.ceil(d / PART_COLUMNS);
          const width = SEGMENT_COLUMNS * Math.ceil(d / parts / SEGMENT_COLUMNS);
          const across = Math.ceil(d / width);
          const from = block.at - block.first * rowBytes;
          const operations = Math.min(rows, some * height) * d;
          const args = streamed
            ? [from, d, orderAt, startsAt, P, b, across, width, pilotAt, segmentsAt, slots, sortedAt]
            : [
                from,
                STORAGE_CODES[dtype],
                d,
                orderAt,
                startsAt,
                P,
                b,
                across,
                width,
                stats - 1,
                pilotAt,
                blankAt,
                slots,
                scratch,
                stride,
              ];
          await pool.runProgram(
            [
              { job: streamed ? "sumStreams" : "sumPatterns", items: some * across, args },
              {
                job: "addSlots",
                items: Math.ceil(length / SLOT_COLUMNS),
                args: [slots, some, length, totals],
              },
            ],
            { signal, operations },
          );
        }
      },
      signal,
    );
    if (dtype === "f16" && stats === 1) refuseSpecial(pool, scratch, stride, d, refused);
    const sums = pool.memory.f64(totals, length).slice();
    await finishClasses(sums, d, stats, patterns, count, labels.features.length, squares, pacer, finish);
  } finally {
    scope.close();
  }
}

/**
 * Whether the rows are added in the order of memory rather than pattern by pattern: f32 without squares, for which memory is the
 * limit, and no more than two patterns.
 */
export function isStreamed({ dtype }: Activations, squares: MomentSquares, { labels }: Patterns): boolean {
  return dtype === "f32" && squares === "none" && labels.length <= 2;
}

/** Rows of a block: it depends on the matrix alone, so that results do not depend on where it lies. */
function blockHeight({ neurons, data }: Activations, most: number): number {
  const fit = Math.floor(BLOCK_BYTES / (neurons * data.BYTES_PER_ELEMENT));
  return Math.max(8, Math.min(most, fit & ~7));
}

/** 1 for the stretches of columns in which some pilot is not 0. */
function shiftedSegments(pilot: Float32Array): Uint8Array {
  const segments = new Uint8Array(Math.ceil(pilot.length / SEGMENT_COLUMNS));
  for (let j = 0; j < pilot.length; j++) if (pilot[j] !== 0) segments[Math.floor(j / SEGMENT_COLUMNS)] = 1;
  return segments;
}

/** Rows with a pattern in the order of memory, as 2 × row + pattern; where each block starts; and rows per pattern. */
function rowsInOrder(
  { ofRow, labels }: Patterns,
  rows: number,
  height: number,
): { order: Uint32Array; starts: Uint32Array; count: Float64Array } {
  const starts = new Uint32Array(Math.ceil(rows / height) + 1);
  const count = new Float64Array(labels.length);
  const order = new Uint32Array(rows);
  let at = 0;
  for (let b = 0, i = 0; i < rows; b++) {
    starts[b] = at;
    for (const end = Math.min(rows, i + height); i < end; i++) {
      const pattern = ofRow[i];
      if (pattern === NO_PATTERN) continue;
      count[pattern]++;
      order[at++] = 2 * i + pattern;
    }
  }
  starts[starts.length - 1] = at;
  return { order, starts, count };
}

/** Rows sorted by block and, within it, by pattern; where each pattern starts; and how many rows it has in all. */
function rowsByPattern(
  { ofRow, labels }: Patterns,
  rows: number,
  height: number,
): { order: Uint32Array; starts: Uint32Array; count: Float64Array } {
  const P = labels.length;
  const blocks = Math.ceil(rows / height);
  const starts = new Uint32Array(blocks * P + 1);
  const count = new Float64Array(P);
  const next = new Uint32Array(P);
  const order = new Uint32Array(rows);
  let at = 0;
  for (let b = 0; b < blocks; b++) {
    const first = b * height;
    const end = Math.min(rows, first + height);
    next.fill(0);
    for (let i = first; i < end; i++) if (ofRow[i] !== NO_PATTERN) next[ofRow[i]]++;
    for (let p = 0; p < P; p++) {
      starts[b * P + p] = at;
      count[p] += next[p];
      at += next[p];
      next[p] = starts[b * P + p];
    }
    for (let i = first; i < end; i++) if (ofRow[i] !== NO_PATTERN) order[next[ofRow[i]]++] = i;
    for (let p = 0; p < P; p++) spreadOut(order.subarray(starts[b * P + p], next[p]));
  }
  starts[blocks * P] = at;
  return { order, starts, count };
}

/** Rows that are added together come from eight runs of neighbours, which are read side by side, rather than from all over. */
function spreadOut(rows: Uint32Array): void {
  const listed = rows.slice();
  const run = Math.ceil(rows.length / 8);
  for (let r = 0, to = 0; r < run; r++) {
    for (let i = r; i < listed.length; i += run) rows[to++] = listed[i];
  }
}

/** Marks the neurons with a half that is not a number. */
function refuseSpecial(pool: KernelPool, at: number, stride: number, d: number, refused: Uint8Array): void {
  for (let thread = 0; thread < pool.threads; thread++) {
    const special = pool.memory.u8(at + thread * stride, d);
    for (let j = 0; j < d; j++) if (special[j] === 1) refused[j] = 1;
  }
}

/** Adds the patterns of each class of each feature. */
async function finishClasses(
  sums: Float64Array,
  d: number,
  stats: number,
  patterns: Patterns,
  count: Float64Array,
  features: number,
  squares: MomentSquares,
  pacer: Pacer,
  finish: FinishFeature,
): Promise<void> {
  const totals = new Map<string, Float64Array>();
  const row = (p: number, stat: number): Float64Array => {
    const from = (p * stats + stat) * d;
    return sums.subarray(from, from + d);
  };
  const sumOf = (chosen: readonly number[], stat: number): Float64Array => {
    if (chosen.length === 1) return row(chosen[0], stat);
    const out = new Float64Array(d);
    for (const p of chosen) {
      const values = row(p, stat);
      for (let j = 0; j < d; j++) out[j] += values[j];
    }
    return out;
  };
  /** The sums over all labelled patterns, of which many features have the same. */
  const totalOf = (labelled: readonly number[], stat: number): Float64Array => {
    const key = `${stat}:${labelled.join()}`;
    let total = totals.get(key);
    if (!total) {
      total = sumOf(labelled, stat);
      totals.set(key, total);
    }
    return total;
  };
  for (let f = 0; f < features; f++) {
    const members: [number[], number[]] = [[], []];
    const labelled: number[] = [];
    for (const [p, labels] of patterns.labels.entries()) {
      if (labels[f] > 1) continue;
      members[labels[f]].push(p);
      labelled.push(p);
    }
    const [negatives, positives] = members;
    const rows = (of: readonly number[]): number => of.reduce((sum, p) => sum + count[p], 0);
    const classes = (stat: number): [Float64Array, Float64Array] => {
      const fewer = positives.length <= negatives.length ? positives : negatives;
      const more = fewer === positives ? negatives : positives;
      const few = sumOf(fewer, stat);
      // In f64 the difference loses nothing that the sums had.
      const many =
        more.length <= 2 ? sumOf(more, stat) : totalOf(labelled, stat).map((total, j) => total - few[j]);
      return fewer === positives ? [many, few] : [few, many];
    };
    const [negative, positive] = classes(0);
    if (stats === 1) finish(f, [rows(negatives), rows(positives)], { negative, positive });
    else {
      const perClass = squares === "class" ? classes(1) : undefined;
      finish(f, [rows(negatives), rows(positives)], {
        negative,
        positive,
        squares: totalOf(labelled, 1),
        ...(perClass && { negativeSquares: perClass[0], positiveSquares: perClass[1] }),
      });
    }
    if (pacer.due) await pacer.turn();
  }
}
