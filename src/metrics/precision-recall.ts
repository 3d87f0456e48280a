/** The precision–recall curve and its two summaries, with scikit-learn's conventions. */
import { assertFiniteScores, assertPaired, byScore } from "./predictions.ts";

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
  const order = byScore(scores);
  const hits: number[] = [];
  const called: number[] = [];
  const thresholds: number[] = [];
  let positive = 0;
  for (let at = 0; at < order.length; at++) {
    const score = scores[order[at]];
    positive += labels[order[at]];
    if (at + 1 < order.length && scores[order[at + 1]] === score) continue;
    hits.push(positive);
    called.push(at + 1);
    thresholds.push(score);
  }
  if (positive === 0) return null;
  const precision = hits.map((tp, t) => tp / called[t]).reverse();
  const recall = hits.map((tp) => tp / positive).reverse();
  return {
    precision: Float64Array.from([...precision, 1]),
    recall: Float64Array.from([...recall, 0]),
    thresholds: Float64Array.from(thresholds.reverse()),
  };
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
