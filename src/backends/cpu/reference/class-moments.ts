/**
 * Class moments in float64, one pass over the rows for all label sets together.
 *
 * Rows with the same labels in every feature of a group of features share one accumulator (Welford 1962), and the
 * accumulators are merged into classes at the end: for one-against-the-rest labels of K classes a row is added once, not K
 * times.
 */
import type { Activations } from "../../../data/activations.ts";
import {
  emptyClassMoments,
  keepSquares,
  type ClassMoments,
  type MomentSquares,
  type PerClassMoments,
} from "../../../data/class-moments.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import { ShapeError } from "../../../errors.ts";
import type { Pacer } from "../pacer.ts";

/** Accumulators per group of features: 64 × d × 16 bytes stay within a few MB. */
const MAX_PATTERNS = 64;

/** Row of no interest to any feature of a group. */
export const NO_PATTERN = -1;

/** Features whose joint labels take few distinct values. */
export interface FeatureGroup {
  readonly features: number[];
  /** Index of each row's pattern, or −1 where every feature of the group is unlabelled. */
  readonly patternOfRow: Int32Array;
  /** Each pattern's labels, in the order of `features`. */
  readonly patterns: number[][];
}

/**
 * Class moments of every neuron for every label set.
 * @throws ShapeError when labels and activations differ in rows
 */
export async function classMoments(
  x: Activations,
  labels: LabelMatrix,
  pacer: Pacer,
  squares: MomentSquares = "class",
): Promise<ClassMoments> {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  const d = x.neurons;
  const groups = groupFeatures(labels);
  const moments = emptyClassMoments(labels.features.length, d);
  const accumulators = groups.map((group) => ({
    count: new Float64Array(group.patterns.length),
    mean: new Float64Array(group.patterns.length * d),
    sums: new Float64Array(group.patterns.length * d),
  }));
  const decoded = new Float32Array(d);
  for (let i = 0; i < x.rows; i++) {
    if (groups.every((group) => group.patternOfRow[i] === NO_PATTERN)) continue;
    const row =
      x.data instanceof Float32Array ? x.data.subarray(i * d, (i + 1) * d) : x.decodeRow(i, decoded);
    for (const [g, group] of groups.entries()) {
      const p = group.patternOfRow[i];
      if (p === NO_PATTERN) continue;
      const { count, mean, sums } = accumulators[g];
      addRow(row, ++count[p], mean.subarray(p * d, (p + 1) * d), sums.subarray(p * d, (p + 1) * d));
    }
    if ((i & 15) === 15 && pacer.due) await pacer.turn();
  }
  for (const [g, group] of groups.entries()) {
    const { count, mean, sums } = accumulators[g];
    for (const [p, pattern] of group.patterns.entries()) {
      for (const [at, label] of pattern.entries()) {
        if (label === UNLABELLED) continue;
        addToClass(moments, 2 * group.features[at] + label, count[p], mean, sums, p * d);
      }
      if (pacer.due) await pacer.turn();
    }
  }
  return keepSquares(moments, squares);
}

/** Welford's update of `mean` and `squares` by the n-th row. */
function addRow(row: Float32Array, n: number, mean: Float64Array, squares: Float64Array): void {
  const share = 1 / n;
  for (let j = 0; j < row.length; j++) {
    const delta = row[j] - mean[j];
    mean[j] += delta * share;
    squares[j] += delta * (row[j] - mean[j]);
  }
}

/** Merges one accumulator into class c. */
export function addToClass(
  into: PerClassMoments,
  c: number,
  added: number,
  mean: Float64Array,
  squares: Float64Array,
  from: number,
): void {
  const d = into.neurons;
  const before = into.count[c];
  const n = before + added;
  for (let j = 0; j < d; j++) {
    const to = c * d + j;
    const delta = mean[from + j] - into.mean[to];
    into.mean[to] += delta * (added / n);
    into.sumOfSquares[to] += squares[from + j] + delta * delta * ((before * added) / n);
  }
  into.count[c] = n;
}

/** Packs features, in order, into groups of at most {@link MAX_PATTERNS} joint labels each. */
export function groupFeatures(labels: LabelMatrix): FeatureGroup[] {
  const groups: FeatureGroup[] = [];
  for (let f = 0; f < labels.features.length; f++) {
    const last = groups.at(-1);
    const grown = last && refine(last, labels, f);
    if (grown && grown.patterns.length <= MAX_PATTERNS) groups[groups.length - 1] = grown;
    else {
      const all = { features: [], patternOfRow: new Int32Array(labels.rows).fill(NO_PATTERN), patterns: [] };
      groups.push(refine(all, labels, f));
    }
  }
  return groups;
}

/** Splits the patterns of a group by the labels of one more feature. */
function refine(group: FeatureGroup, labels: LabelMatrix, feature: number): FeatureGroup {
  const values = labels.of(feature);
  const patternOfRow = new Int32Array(labels.rows);
  const patterns: number[][] = [];
  const index = new Map<number, number>();
  for (let i = 0; i < labels.rows; i++) {
    const old = group.patternOfRow[i];
    const label = values[i];
    if (old === NO_PATTERN && label === UNLABELLED) {
      patternOfRow[i] = NO_PATTERN;
      continue;
    }
    const key = (old + 1) * 256 + label;
    let p = index.get(key);
    if (p === undefined) {
      p = patterns.length;
      index.set(key, p);
      const prefix = old === NO_PATTERN ? group.features.map(() => UNLABELLED) : group.patterns[old];
      patterns.push([...prefix, label]);
    }
    patternOfRow[i] = p;
  }
  return { features: [...group.features, feature], patternOfRow, patterns };
}
