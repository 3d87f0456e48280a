/** Checks that every metric makes of what it is given. */
import { EmptyDataError, LabelError, NonFiniteError, ShapeError } from "../errors.ts";

/**
 * @throws EmptyDataError without rows
 * @throws ShapeError when the lengths differ
 * @throws LabelError when a label is not 0 or 1
 */
export function assertPaired(labels: ArrayLike<number>, values: ArrayLike<number>): void {
  if (labels.length === 0) throw new EmptyDataError("There are no rows to score.", "Give at least one.");
  if (labels.length !== values.length) {
    throw new ShapeError(
      `There are ${labels.length} labels and ${values.length} predictions.`,
      "Give one prediction per label.",
    );
  }
  assertBinary(labels, "Label");
}

/** @throws LabelError when a value is not 0 or 1 */
export function assertBinary(values: ArrayLike<number>, what: string): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== 0 && values[i] !== 1) {
      throw new LabelError(`${what} ${i} is ${values[i]}.`, "Metrics take 0 and 1 only.");
    }
  }
}

/** @throws NonFiniteError when a score is NaN or infinite */
export function assertFiniteScores(scores: ArrayLike<number>): void {
  for (let i = 0; i < scores.length; i++) {
    if (!Number.isFinite(scores[i])) {
      throw new NonFiniteError(`Score ${i} is ${scores[i]}.`, "Leave such rows out.");
    }
  }
}

/** How many rows of each class have a score, and the score. */
export interface ScoreCount {
  readonly score: number;
  readonly positive: number;
  readonly negative: number;
}

/** Rows by distinct score, highest first. Classes are sorted apart: plain numbers sort ten times faster than row numbers. */
export function countsByScore(labels: ArrayLike<number>, scores: ArrayLike<number>): ScoreCount[] {
  let positives = 0;
  for (let i = 0; i < labels.length; i++) positives += labels[i];
  const sorted = [new Float64Array(labels.length - positives), new Float64Array(positives)];
  const filled = [0, 0];
  for (let i = 0; i < labels.length; i++) sorted[labels[i]][filled[labels[i]]++] = scores[i];
  const [negative, positive] = sorted.map((values) => values.sort());
  const counts: ScoreCount[] = [];
  let n = negative.length;
  let p = positive.length;
  while (n > 0 || p > 0) {
    const score = Math.max(n > 0 ? negative[n - 1] : -Infinity, p > 0 ? positive[p - 1] : -Infinity);
    const [lastN, lastP] = [n, p];
    while (n > 0 && negative[n - 1] === score) n--;
    while (p > 0 && positive[p - 1] === score) p--;
    counts.push({ score, positive: lastP - p, negative: lastN - n });
  }
  return counts;
}
