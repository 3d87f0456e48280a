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

/** Row numbers by score, highest first. */
export function byScore(scores: ArrayLike<number>): Uint32Array {
  return Uint32Array.from(scores, (_, i) => i).sort((a, b) => scores[b] - scores[a]);
}
