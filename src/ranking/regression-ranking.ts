/** Rankings of neurons for a real target, from target moments. */
import type { TargetMoments } from "../data/target-moments.ts";
import { OptionError } from "../errors.ts";

/** Scores every neuron for one target; the sign is kept, and the absolute value ranks. */
export type RegressionRankingFunction = (moments: TargetMoments, target: number) => Float64Array;

/**
 * Pearson's r of every neuron with a target, in [−1, 1]; 0 for a constant neuron.
 * @returns signed scores, length d
 */
export function correlation(moments: TargetMoments, target: number): Float64Array {
  const { neurons: d, products, sumOfSquares, targetSquares } = moments;
  const size = Math.sqrt(targetSquares[target]);
  return sumOfSquares.map((squares, j) => {
    if (squares === 0 || size === 0) return 0;
    const r = products[target * d + j] / (Math.sqrt(squares) * size);
    // Rounding may go beyond; NaN stays NaN.
    return r > 1 ? 1 : r < -1 ? -1 : r;
  });
}

/**
 * F statistic of the regression of a target on one neuron, (n − 2)·r²/(1 − r²), as scikit-learn's `f_regression`: 0 for a
 * constant neuron, the largest number where the neuron determines the target. Ranks neurons as {@link correlation} does.
 * @throws OptionError with fewer than three rows
 */
export function fStatistic(moments: TargetMoments, target: number): Float64Array {
  const freedom = moments.count - 2;
  if (freedom < 1) {
    throw new OptionError(
      `The F statistic of ${moments.count} training rows is undefined.`,
      'Give at least 3 rows, or rank by "correlation".',
    );
  }
  return correlation(moments, target).map((r) =>
    r * r === 1 ? Number.MAX_VALUE : (freedom * r * r) / (1 - r * r),
  );
}
