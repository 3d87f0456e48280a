/**
 * Class moments by the SIMD kernels, in one read of the matrix.
 *
 * Label sets with few joint patterns (one feature; classes against the rest) are summed pattern by pattern. Many label sets are
 * summed by tables of subset sums (method of four Russians): of each feature the rarer class, and the total over its labelled
 * rows, of which the other class is the difference.
 *
 * All sums are of v = x − p, where the pilot p is the median of five rows; f32 within blocks of at most 512 rows, f64 across. With
 * γ = 80·2⁻²⁴ (the longest chain of additions in a block, with the roundings of v and v²) and S = Σv, R = Σv² over a class:
 *
 *   |mean error| ≤ 2γ·Σ|v|/n_c,  over all labelled rows for a class got as a difference (n_c is then at least half of them)
 *   |Q error| ≤ 3γ·R = 3γ·(Q + n·δ²),  δ = mean − p
 *
 * Where n·δ² > 16·Q (for the squares within both classes: Σ n_c·δ_c² > 16·Q; for those of one class against the larger of Q_c and
 * n_c times the variance within), and where a sum is not finite, the neuron is computed again by the float64 reference. Squares
 * are then within 51γ = 2.5e-4 of the truth whatever the number of rows; errors of this kind are random, and in practice
 * far smaller. Codes of u8 are summed as whole numbers, exactly; f16 needs no pilot where only means are wanted, since sums of 512
 * halves of like size are exact in f32. Means of f32 with one or two patterns are summed in the order of memory, four rows at a time
 * over at most 256 rows, which is memory's speed: chains of 68 additions, and no class got as a difference. Their pilot is 0 where
 * it would be within 2 ranges r of twelve rows from zero: |v| is then at most 3r', r' ≥ r the range of all rows, and a mean within
 * 3·68·2⁻²⁴·r' < 3γ·r'.
 */
import type { Activations } from "../../../data/activations.ts";
import { emptyClassMoments, type ClassMoments, type MomentSquares } from "../../../data/class-moments.ts";
import { floatsToHalves } from "../../../data/float16.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import { ShapeError } from "../../../errors.ts";
import { Pacer } from "../pacer.ts";
import { classMoments as referenceMoments } from "../reference/class-moments.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import type { ClassSums, Pilot } from "./class-sums.ts";
import { isStreamed, patternSums } from "./pattern-sums.ts";
import { rowPatterns } from "./row-patterns.ts";
import { subsetSums } from "./subset-sums.ts";

/** Σ n·δ² at most, as a multiple of the squares that it is subtracted for. */
const MOST_LOSS = 16;

/** Means alone are summed without a pilot where it would be at most so many ranges of some rows from zero; and how many rows. */
const NEAR_ZERO = 2;
const RANGE_ROWS = 12;

/**
 * Class moments of every neuron for every label set.
 * @throws ShapeError when labels and activations differ in rows
 */
export async function classMoments(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  squares: MomentSquares = "class",
  signal?: AbortSignal,
): Promise<ClassMoments> {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  const pacer = new Pacer(signal);
  const features = labels.features.length;
  const moments = emptyClassMoments(features, x.neurons, squares);
  const refused = new Uint8Array(x.neurons);
  const rows = await rowPatterns(labels, pacer);
  if (rows.used === 0) return moments;
  const streamed = rows.patterns !== undefined && isStreamed(x, squares, rows.patterns);
  const pilot = pilotOf(x, rows.usedRow, squares !== "none" || !rows.patterns, streamed);
  const given = { pool, x, labels, squares, pilot, pacer, signal, refused };
  const finish = (f: number, count: readonly [number, number], sums: ClassSums): void =>
    finishFeature(moments, refused, x, pilot, f, count, sums);
  if (rows.patterns) await patternSums(given, rows.patterns, finish);
  else await subsetSums(given, rows.usedRow, finish);
  await recompute(x, labels, moments, refused, squares, pacer);
  return moments;
}

/**
 * Median of five rows, so that no single outlying row becomes the pilot; 0 where that is not finite, and if `sparing` where
 * values spread wide enough about zero to be summed as they are, which saves a third of the work.
 */
function pilotOf(x: Activations, usedRow: Uint8Array, shifted: boolean, sparing: boolean): Pilot {
  const d = x.neurons;
  const values = new Float32Array(d);
  if (x.dtype === "u8") {
    // Codes less 128 have squares whose sum over 512 rows is a whole number below 2²⁴.
    if (shifted) values.fill(128);
    return { values, row: new Uint8Array(d).fill(shifted ? 128 : 0) };
  }
  if (x.dtype === "f16" && !shifted) return { values, row: new Uint16Array(d) };
  const rowOf = (i: number): Float32Array => {
    // Multiples of the golden ratio: spread over the matrix without a period that texts of one length could share.
    let at = Math.floor((((i + 1) * 0.6180339887498949) % 1) * x.rows);
    while (usedRow[at] === 0) at = (at + 1) % x.rows;
    return x.decodeRow(at, new Float32Array(d));
  };
  const [a, b, c, e, g] = [0, 1, 2, 3, 4].map(rowOf);
  for (let j = 0; j < d; j++) {
    const low = Math.max(Math.min(a[j], b[j]), Math.min(c[j], e[j]));
    const high = Math.min(Math.max(a[j], b[j]), Math.max(c[j], e[j]));
    const median = Math.max(Math.min(low, high), Math.min(Math.max(low, high), g[j]));
    values[j] = Number.isFinite(median) ? median : 0;
  }
  if (sparing) forgetNear(values, RANGE_ROWS, rowOf);
  return { values, row: x.dtype === "f16" ? floatsToHalves(values) : values };
}

/** Makes pilots 0 that are not far from zero, seen from how far some rows are apart. */
function forgetNear(pilot: Float32Array, count: number, rowOf: (i: number) => Float32Array): void {
  const low = rowOf(0);
  const high = low.slice();
  for (let i = 1; i < count; i++) {
    const row = rowOf(i);
    for (let j = 0; j < row.length; j++) {
      if (row[j] < low[j]) low[j] = row[j];
      if (row[j] > high[j]) high[j] = row[j];
    }
  }
  for (let j = 0; j < pilot.length; j++) {
    if (Math.abs(pilot[j]) <= NEAR_ZERO * (high[j] - low[j])) pilot[j] = 0;
  }
}

/** Moments of one feature from its sums; neurons whose sums do not carry them are marked in `refused`. */
function finishFeature(
  moments: ClassMoments,
  refused: Uint8Array,
  x: Activations,
  pilot: Pilot,
  f: number,
  count: readonly [number, number],
  sums: ClassSums,
): void {
  const d = moments.neurons;
  moments.count.set(count, 2 * f);
  const classes = [
    { n: count[0], sum: sums.negative, squares: sums.negativeSquares, at: 2 * f * d },
    { n: count[1], sum: sums.positive, squares: sums.positiveSquares, at: (2 * f + 1) * d },
  ];
  const { mean, sumOfSquares, withinSquares } = moments;
  const { code } = x;
  const exact = code !== undefined;
  const shift = pilot.values;
  for (const { n, sum, at } of classes) {
    if (n === 0) continue;
    const to = mean.subarray(at, at + d);
    if (code) for (let j = 0; j < d; j++) to[j] = code.scale[j] * (shift[j] + sum[j] / n) + code.offset[j];
    else {
      const share = 1 / n;
      for (let j = 0; j < d; j++) {
        const value = shift[j] + sum[j] * share;
        to[j] = value;
        if (value - value !== 0) refused[j] = 1;
      }
    }
  }
  if (!withinSquares || !sums.squares) return;
  const unit = (j: number): number => (code ? code.scale[j] * code.scale[j] : 1);
  const [{ n: n0, sum: sum0 }, { n: n1, sum: sum1 }] = classes;
  const n = n0 + n1;
  const share0 = n0 === 0 ? 0 : 1 / n0;
  const share1 = n1 === 0 ? 0 : 1 / n1;
  for (let j = 0; j < d; j++) {
    let squares = sums.squares[j];
    let a = sum0[j];
    let b = sum1[j];
    if (exact) {
      // About whole numbers near the means: still exact, and zero for a constant neuron.
      squares -= recentred(a, n0) + recentred(b, n1);
      a -= n0 * Math.round(a * share0);
      b -= n1 * Math.round(b * share1);
    }
    const lost = a * a * share0 + b * b * share1;
    const within = squares - lost;
    withinSquares[f * d + j] = exact ? Math.max(0, within) * unit(j) : within;
    if (!exact && !(lost <= MOST_LOSS * within)) refused[j] = 1;
  }
  if (!sumOfSquares) return;
  for (const { n: size, sum, squares, at } of classes) {
    if (size === 0 || !squares) continue;
    for (let j = 0; j < d; j++) {
      let total = squares[j];
      let a = sum[j];
      if (exact) {
        total -= recentred(a, size);
        a -= size * Math.round(a / size);
      }
      const lost = (a * a) / size;
      const own = size === 1 ? 0 : Math.max(0, total - lost);
      sumOfSquares[at + j] = own * unit(j);
      const scale = Math.max(own, (withinSquares[f * d + j] * size) / n);
      if (!exact && !(lost <= MOST_LOSS * scale)) refused[j] = 1;
    }
  }
}

/** What Σv² loses when v is taken about the whole number nearest to its mean: 2kS − n·k². */
function recentred(sum: number, n: number): number {
  const k = n === 0 ? 0 : Math.round(sum / n);
  return 2 * k * sum - n * k * k;
}

/** Computes the refused neurons again, in float64. */
async function recompute(
  x: Activations,
  labels: LabelMatrix,
  moments: ClassMoments,
  refused: Uint8Array,
  squares: MomentSquares,
  pacer: Pacer,
): Promise<void> {
  const columns: number[] = [];
  for (let j = 0; j < refused.length; j++) if (refused[j] === 1) columns.push(j);
  const d = moments.neurons;
  // A few at a time: they are copied to f32.
  for (let first = 0; first < columns.length; first += 64) {
    const some = columns.slice(first, first + 64);
    const part = await referenceMoments(x.gatherColumns(some), labels, pacer, squares);
    for (const [c, j] of some.entries()) {
      for (let f = 0; f < moments.features; f++) {
        for (const at of [2 * f, 2 * f + 1]) {
          moments.mean[at * d + j] = part.mean[at * some.length + c];
          if (part.sumOfSquares) moments.sumOfSquares![at * d + j] = part.sumOfSquares[at * some.length + c];
        }
        if (part.withinSquares) moments.withinSquares![f * d + j] = part.withinSquares[f * some.length + c];
      }
    }
    if (pacer.due) await pacer.turn();
  }
}
