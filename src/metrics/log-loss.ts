/** Mean negative log likelihood of the labels. */
import { OptionError } from "../errors.ts";
import { assertFiniteScores, assertPaired } from "./predictions.ts";

/**
 * Log-loss in nats per row. Probabilities are clipped to [ε, 1 − ε] with the float64 ε, as scikit-learn does.
 *
 * @param labels 0 or 1 per row
 * @param probabilities of the positive class, per row
 * @throws EmptyDataError | ShapeError | LabelError | NonFiniteError
 * @throws OptionError when a probability lies outside [0, 1]
 */
export function logLoss(labels: ArrayLike<number>, probabilities: ArrayLike<number>): number {
  assertPaired(labels, probabilities);
  assertFiniteScores(probabilities);
  let sum = 0;
  for (let i = 0; i < labels.length; i++) {
    const p = probabilities[i];
    if (p < 0 || p > 1) {
      throw new OptionError(
        `Probability ${i} is ${p}.`,
        "Give probabilities of the positive class, between 0 and 1.",
      );
    }
    const clipped = Math.min(1 - Number.EPSILON, Math.max(Number.EPSILON, p));
    sum -= labels[i] === 1 ? Math.log(clipped) : Math.log(1 - clipped);
  }
  return sum / labels.length;
}
