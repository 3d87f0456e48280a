/** Test statistics of every neuron from class moments: Welch's t, ANOVA's F and the point-biserial correlation. */
import { squaresWithin, withoutSquares, type ClassMoments } from "../data/class-moments.ts";
import { EmptyDataError } from "../errors.ts";
import { meanDifference, standardisedMeanDifference } from "./mean-difference.ts";

/**
 * Welch's t of every neuron, Δ / √(s₁²/n₁ + s₀²/n₀), s² the sample variances. Welch (1947), "The generalization of
 * Student's problem when several different population variances are involved", Biometrika 34. A neuron that is constant in
 * each class scores ±`Number.MAX_VALUE` when the constants differ, and 0 when they do not.
 * @returns signed scores, length d
 * @throws OptionError when the moments lack the squares of each class
 * @throws EmptyDataError with fewer than two rows of a class
 */
export function welchT(moments: ClassMoments, feature: number): Float64Array {
  const { sumOfSquares, neurons: d } = moments;
  if (!sumOfSquares) throw withoutSquares("class");
  const [n0, n1] = moments.count.subarray(2 * feature, 2 * feature + 2);
  if (Math.min(n0, n1) < 2) throw tooFew(n0, n1);
  const negative = 2 * feature * d;
  return meanDifference(moments, feature).map((delta, j) => {
    const variance0 = sumOfSquares[negative + j] / (n0 * (n0 - 1));
    const variance1 = sumOfSquares[negative + d + j] / (n1 * (n1 - 1));
    return quotient(delta, Math.sqrt(variance0 + variance1));
  });
}

/**
 * One-way analysis of variance of every neuron over the two classes, F = (n − 2)·B/W with the squares between the classes,
 * B = Δ²·n₀n₁/n, and within them, W. A neuron that is constant in each class scores `Number.MAX_VALUE` when the constants
 * differ, and 0 when they do not.
 * @returns scores of at least 0, length d
 * @throws OptionError when the moments have no sums of squares
 * @throws EmptyDataError with fewer than three rows
 */
export function fStatistic(moments: ClassMoments, feature: number): Float64Array {
  const within = squaresWithin(moments, feature);
  const [n0, n1] = moments.count.subarray(2 * feature, 2 * feature + 2);
  const n = n0 + n1;
  if (n < 3) throw tooFew(n0, n1);
  const between = ((n - 2) * n0 * n1) / n;
  return meanDifference(moments, feature).map((delta, j) => quotient(delta * delta * between, within[j]));
}

/**
 * Correlation of every neuron with the label, r = Δ/σ·√(p(1 − p)), p the share of positive rows; 0 for a constant neuron.
 * @returns scores from −1 to 1, length d
 * @throws OptionError when the moments have no sums of squares
 */
export function pointBiserial(moments: ClassMoments, feature: number): Float64Array {
  const [n0, n1] = moments.count.subarray(2 * feature, 2 * feature + 2);
  const factor = Math.sqrt(n0 * n1) / (n0 + n1);
  return standardisedMeanDifference(moments, feature).map((score) => score * factor);
}

function tooFew(n0: number, n1: number): EmptyDataError {
  return new EmptyDataError(
    `A test statistic has ${n1} positive and ${n0} negative rows.`,
    "Give at least two of each class, or use another ranking.",
  );
}

/** a/b with 0/0 = 0, kept finite so that what has no variance at all still has a place in the order. */
function quotient(a: number, b: number): number {
  const value = a === 0 ? 0 : a / b;
  return Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE);
}
