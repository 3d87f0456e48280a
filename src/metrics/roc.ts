/** Area under the receiver operating characteristic. */
import { assertFiniteScores, assertPaired, countsByScore, type ScoreCount } from "./predictions.ts";

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
  return areaOfCounts(countsByScore(labels, scores));
}

/** {@link rocAuc} of rows that are counted. */
export function areaOfCounts(counts: readonly ScoreCount[]): number | null {
  let positives = 0;
  let negatives = 0;
  let pairs = 0;
  for (const { positive, negative } of counts) {
    pairs += negative * (positives + positive / 2);
    positives += positive;
    negatives += negative;
  }
  return positives === 0 || negatives === 0 ? null : pairs / (positives * negatives);
}
