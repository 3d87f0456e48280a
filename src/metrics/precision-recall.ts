/** The precision–recall curve and its two summaries, with scikit-learn's conventions. */
import { assertFiniteScores, assertPaired, countsByScore, type ScoreCount } from "./predictions.ts";

/**
 * Points by rising threshold. `precision` and `recall` have one point more than `thresholds`: (1, 0), where nothing is
 * predicted positive.
 */
export interface PrecisionRecallCurve {
  readonly precision: Float64Array;
  readonly recall: Float64Array;
  /** Distinct scores, ascending; row i is predicted positive when its score is at least the threshold. */
  readonly thresholds: Float64Array;
}

/**
 * Precision and recall at every distinct score.
 *
 * @param labels 0 or 1 per row
 * @param scores any real number per row, higher for positive
 * @returns null when no row is positive: recall is then undefined
 * @throws EmptyDataError | ShapeError | LabelError | NonFiniteError
 */
export function precisionRecallCurve(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
): PrecisionRecallCurve | null {
  assertPaired(labels, scores);
  assertFiniteScores(scores);
  return curveOfCounts(countsByScore(labels, scores));
}

/** {@link precisionRecallCurve} of rows that are counted. */
export function curveOfCounts(counts: readonly ScoreCount[]): PrecisionRecallCurve | null {
  const positives = counts.reduce((sum, { positive }) => sum + positive, 0);
  if (positives === 0) return null;
  const size = counts.length;
  const precision = new Float64Array(size + 1);
  const recall = new Float64Array(size + 1);
  const thresholds = new Float64Array(size);
  precision[size] = 1;
  let hits = 0;
  let called = 0;
  for (const [c, { score, positive, negative }] of counts.entries()) {
    hits += positive;
    called += positive + negative;
    const t = size - 1 - c;
    precision[t] = hits / called;
    recall[t] = hits / positives;
    thresholds[t] = score;
  }
  return { precision, recall, thresholds };
}

/** Area under the curve by trapezoids. It interpolates between thresholds, so it is the rosier of the two summaries. */
export function precisionRecallAuc(curve: PrecisionRecallCurve): number {
  const { precision, recall } = curve;
  let area = 0;
  for (let t = 1; t < recall.length; t++)
    area += ((recall[t - 1] - recall[t]) * (precision[t - 1] + precision[t])) / 2;
  return area;
}

/** Average precision: Σ (recall gained) · precision, without interpolation. */
export function averagePrecision(curve: PrecisionRecallCurve): number {
  const { precision, recall } = curve;
  let sum = 0;
  for (let t = 1; t < recall.length; t++) sum += (recall[t - 1] - recall[t]) * precision[t - 1];
  return sum;
}
