/** Class sums for many label sets, by tables of the sums of all subsets of four rows. */
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import type { Pacer } from "../pacer.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import { forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";
import type { FinishFeature, SumsOf } from "./class-sums.ts";
import { classCounts } from "./row-patterns.ts";

/** Rows of a row block of the kernels. */
const BLOCK_ROWS = 64;
/** Row blocks that are summed in f32. */
const FLUSH_BLOCKS = 8;
/** Columns of an item: at most this many, and as many as keep the label sets' sums in the cache. */
const ITEM_COLUMNS = 1024;
const ITEM_SUMS = 65_536;
/** Values × label sets of an item: about 3 ms. */
const ITEM_WORK = 2.4e8;
/** Bytes of a thread's tables, tile of 64 rows × 16 columns, and list of 64 rows. */
const SCRATCH_BYTES = 16_384 + 4096 + 256;

/** Kinds of label sets, as the kernel numbers them. */
const LABELLED = 2;

/** A label set whose rows are summed. */
interface RowSet {
  readonly feature: number;
  /** 0 or 1: the rows with that label; 2: all labelled rows. */
  readonly kind: number;
}

/** Sums the rarer class and the labelled rows of every feature, and gives the feature its sums. */
export async function subsetSums(given: SumsOf, usedRow: Uint8Array, finish: FinishFeature): Promise<void> {
  const { pool, labels, squares, pacer, x } = given;
  const d = x.neurons;
  const features = labels.features.length;
  const used = usedRow.reduce((sum, one) => sum + one, 0);
  const counts: (readonly [number, number])[] = [];
  const classes: RowSet[] = [];
  for (let feature = 0; feature < features; feature++) {
    const count = classCounts(labels.of(feature));
    counts.push(count);
    classes.push({ feature, kind: count[1] <= count[0] ? 1 : 0 });
    if (pacer.due) await pacer.turn();
  }
  const { masks, maskOf } = await labelledMasks(labels, counts, used, pacer);
  const perClass = squares === "class";
  const scope = new Scope(pool.memory);
  try {
    const labelsAt = scope.allocate(labels.values.length + 64);
    pool.memory.u8(labelsAt, labels.values.length).set(labels.values);
    const first = [...classes, ...masks];
    const sums = await sumSets(given, scope, usedRow, labelsAt, first, 1, squares !== "none");
    const second = [...(perClass ? classes : []), ...masks];
    const needed = squares !== "none" && second.length > 0;
    const squareSums = needed ? await sumSets(given, scope, usedRow, labelsAt, second, 2, false) : undefined;
    // Nothing is allocated any more: views stay.
    const view = (at: number, row: number): Float64Array => pool.memory.f64(at + 8 * row * d, d);
    const difference = new Float64Array(d);
    const squareDifference = new Float64Array(d);
    for (let f = 0; f < features; f++) {
      const mask = maskOf[f];
      const total = view(sums, mask < 0 ? 0 : 2 + features + mask);
      const rare = view(sums, 2 + f);
      for (let j = 0; j < d; j++) difference[j] = total[j] - rare[j];
      const positiveIsRare = classes[f].kind === 1;
      const means = positiveIsRare
        ? { negative: difference, positive: rare }
        : { negative: rare, positive: difference };
      if (squares === "none") finish(f, counts[f], means);
      else {
        const own = perClass ? features : 0;
        const all = mask < 0 ? view(sums, 1) : view(squareSums!, 2 + own + mask);
        if (!perClass) finish(f, counts[f], { ...means, squares: all });
        else {
          const few = view(squareSums!, 2 + f);
          for (let j = 0; j < d; j++) squareDifference[j] = all[j] - few[j];
          finish(f, counts[f], {
            ...means,
            squares: all,
            negativeSquares: positiveIsRare ? squareDifference : few,
            positiveSquares: positiveIsRare ? few : squareDifference,
          });
        }
      }
      if (pacer.due) await pacer.turn();
    }
  } finally {
    scope.close();
  }
}

/**
 * Distinct sets of labelled rows, other than all the used ones, and which of them each feature has (−1: all).
 */
async function labelledMasks(
  labels: LabelMatrix,
  counts: readonly (readonly [number, number])[],
  used: number,
  pacer: Pacer,
): Promise<{ masks: RowSet[]; maskOf: number[] }> {
  const masks: RowSet[] = [];
  const maskOf: number[] = [];
  for (const [feature, [negative, positive]] of counts.entries()) {
    if (negative + positive === used) {
      maskOf.push(-1);
      continue;
    }
    const values = labels.of(feature);
    let found = masks.findIndex(({ feature: other }) => {
      const rows = counts[other][0] + counts[other][1];
      return rows === negative + positive && sameRows(values, labels.of(other));
    });
    if (found < 0) {
      found = masks.length;
      masks.push({ feature, kind: LABELLED });
    }
    maskOf.push(found);
    if (pacer.due) await pacer.turn();
  }
  return { masks, maskOf };
}

function sameRows(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if ((a[i] === UNLABELLED) !== (b[i] === UNLABELLED)) return false;
  return true;
}

/**
 * Sums of v (or of v², with power 2) over all used rows, [d]; of their squares, [d]; and over each row set, [sets × d].
 * @returns byte offset of the f64 sums, in `scope`
 */
async function sumSets(
  { pool, x, labels, pilot, signal }: SumsOf,
  scope: Scope,
  usedRow: Uint8Array,
  labelsAt: number,
  sets: readonly RowSet[],
  power: 1 | 2,
  squares: boolean,
): Promise<number> {
  const { neurons: d, rows, dtype } = x;
  const K = sets.length;
  const sums = scope.zeros(8 * (K + 2) * d);
  const work = new Scope(pool.memory);
  try {
    const width = itemWidth(d, K);
    const tiles = Math.ceil(d / 16);
    const setsAt = work.copyOf(Uint32Array.from(sets, ({ feature, kind }) => 4 * feature + kind));
    const usedAt = work.copyOf(usedRow);
    const pilotAt = work.copyOf(pilot.values);
    const blankAt = work.copyOf(pilot.row);
    const pending = work.zeros(64 * (K + 2) * tiles);
    const scratch = work.allocate(SCRATCH_BYTES * pool.threads);
    const atOnce =
      FLUSH_BLOCKS * Math.max(1, Math.floor(ITEM_WORK / ((K + 16) * width * BLOCK_ROWS * FLUSH_BLOCKS)));
    const most = Math.min(atOnce, Math.ceil(rows / BLOCK_ROWS));
    const entries = work.allocate(32 * K * most);
    const listed = work.allocate(K * most);
    await forEachRowBlock(
      pool,
      x,
      BLOCK_ROWS,
      async (block) => {
        const rowBytes = d * x.data.BYTES_PER_ELEMENT;
        const end = Math.ceil((block.first + block.rows) / BLOCK_ROWS);
        for (let b = block.first / BLOCK_ROWS; b < end; b += most) {
          const some = Math.min(most, end - b);
          await pool.run("listSubsets", some, [labelsAt, labels.rows, rows, setsAt, K, b, entries, listed], {
            signal,
            operations: 40 * K * some,
          });
          await pool.run(
            "sumSubsets",
            Math.ceil(d / width),
            [
              block.at - block.first * rowBytes,
              STORAGE_CODES[dtype],
              d,
              rows,
              usedAt,
              blankAt,
              pilotAt,
              b,
              some,
              entries,
              listed,
              K,
              width,
              scratch,
              SCRATCH_BYTES,
              pending,
              sums,
              squares ? 1 : 0,
              power,
            ],
            { signal, operations: some * BLOCK_ROWS * d * (K / 16 + 1) },
          );
        }
      },
      signal,
    );
    return sums;
  } finally {
    work.close();
  }
}

/** Columns of an item: enough items to share, each with sums that stay in the cache. */
function itemWidth(d: number, K: number): number {
  const fit = Math.min(ITEM_COLUMNS, Math.floor(ITEM_SUMS / (K + 2)), Math.ceil(d / 8));
  return 16 * Math.max(1, Math.ceil(fit / 16));
}
