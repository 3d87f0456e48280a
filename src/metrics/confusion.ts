/** Metrics of hard 0/1 predictions: functions of the four counts of the confusion matrix. */
import { assertBinary, assertPaired } from "./predictions.ts";

/** Rows by what they are and what was predicted. */
export interface ConfusionCounts {
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly falseNegative: number;
  readonly trueNegative: number;
}

/**
 * Counts of each kind.
 * @param labels 0 or 1 per row
 * @param predictions 0 or 1 per row
 * @throws EmptyDataError | ShapeError | LabelError
 */
export function confusionCounts(labels: ArrayLike<number>, predictions: ArrayLike<number>): ConfusionCounts {
  assertPaired(labels, predictions);
  assertBinary(predictions, "Prediction");
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < labels.length; i++) counts[2 * labels[i] + predictions[i]]++;
  const [trueNegative, falsePositive, falseNegative, truePositive] = counts;
  return { truePositive, falsePositive, falseNegative, trueNegative };
}

/** a/b, or null where b is 0. */
function ratio(a: number, b: number): number | null {
  return b === 0 ? null : a / b;
}

/** Share of rows that are right. */
export function accuracy(c: ConfusionCounts): number | null {
  const right = c.truePositive + c.trueNegative;
  return ratio(right, right + c.falsePositive + c.falseNegative);
}

/** Share of the positive predictions that are right; null when nothing is predicted positive. */
export function precision(c: ConfusionCounts): number | null {
  return ratio(c.truePositive, c.truePositive + c.falsePositive);
}

/** Share of the positive rows that are found; null when no row is positive. */
export function recall(c: ConfusionCounts): number | null {
  return ratio(c.truePositive, c.truePositive + c.falseNegative);
}

/** Mean of the recalls of the two classes; null when a class has no rows. */
export function balancedAccuracy(c: ConfusionCounts): number | null {
  const ofPositive = recall(c);
  const ofNegative = ratio(c.trueNegative, c.trueNegative + c.falsePositive);
  return ofPositive === null || ofNegative === null ? null : (ofPositive + ofNegative) / 2;
}

/**
 * F_β: the weighted harmonic mean of precision and recall, with recall β times as important. Null when no row is
 * positive and none is predicted so.
 */
export function fScore(c: ConfusionCounts, beta: number): number | null {
  const b = beta * beta;
  const hits = (1 + b) * c.truePositive;
  return ratio(hits, hits + b * c.falseNegative + c.falsePositive);
}

/** Matthews correlation coefficient; null when labels or predictions are all the same. */
export function matthewsCorrelation(c: ConfusionCounts): number | null {
  const { truePositive: tp, falsePositive: fp, falseNegative: fn, trueNegative: tn } = c;
  const square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn);
  return square === 0 ? null : (tp * tn - fp * fn) / Math.sqrt(square);
}

/** Cohen's κ: agreement beyond chance; null when labels and predictions are all the same class. */
export function cohenKappa(c: ConfusionCounts): number | null {
  const { truePositive: tp, falsePositive: fp, falseNegative: fn, trueNegative: tn } = c;
  return ratio(2 * (tp * tn - fp * fn), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn));
}

/** Fowlkes–Mallows index of a binary prediction: √(precision · recall); null when either is. */
export function fowlkesMallows(c: ConfusionCounts): number | null {
  const p = precision(c);
  const r = recall(c);
  return p === null || r === null ? null : Math.sqrt(p * r);
}
