/** Area under the receiver operating characteristic. */
import { assertFiniteScores, assertPaired, byScore } from "./predictions.ts";

/**
 * ROC-AUC: the chance that a positive row scores above a negative one, ties counting half; equal to scikit-learn's
 * trapezoid over distinct thresholds.
 *
 * @param labels 0 or 1 per row
 * @param scores any real number per row, higher for positive
 * @returns null when a class has no rows
 * @throws EmptyDataError | ShapeError | LabelError | NonFiniteError
 */
export function rocAuc(labels: ArrayLike<number>, scores: ArrayLike<number>): number | null {
  assertPaired(labels, scores);
  assertFiniteScores(scores);
  const order = byScore(scores);
  let positive = 0;
  let negative = 0;
  let pairs = 0;
  for (let start = 0; start < order.length;) {
    let tiedPositive = 0;
    let end = start;
    for (; end < order.length && scores[order[end]] === scores[order[start]]; end++)
      tiedPositive += labels[order[end]];
    const tiedNegative = end - start - tiedPositive;
    pairs += tiedNegative * (positive + tiedPositive / 2);
    positive += tiedPositive;
    negative += tiedNegative;
    start = end;
  }
  return positive === 0 || negative === 0 ? null : pairs / (positive * negative);
}
