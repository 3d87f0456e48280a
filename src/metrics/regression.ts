/** Metrics of real predictions; what is undefined is null, with the reason beside it. */
import { EmptyDataError, NonFiniteError, ShapeError } from "../errors.ts";

/** Names of the metrics, in the order of tables. */
export const REGRESSION_METRIC_NAMES = [
  "r2",
  "meanAbsoluteError",
  "meanSquaredError",
  "rootMeanSquaredError",
  "medianAbsoluteError",
  "explainedVariance",
  "pearson",
  "spearman",
] as const;

export type RegressionMetricName = (typeof REGRESSION_METRIC_NAMES)[number];

/** Every metric, the number of rows, and why a metric is null. Errors are in units of the target. */
export type RegressionMetrics = Readonly<Record<RegressionMetricName, number | null>> & {
  readonly rows: number;
  /** Reason by metric, for those that are null. */
  readonly undefinedBecause: Readonly<Partial<Record<RegressionMetricName, string>>>;
};

const CONSTANT_TARGET = "the target has one value in all rows, or nearly so";
const CONSTANT = "the target or the predictions have one value in all rows, or nearly so";
const OVERFLOW = "its squares are too large for float64";

/**
 * Scores real predictions.
 *
 * - r2 = 1 − Σ(y − p)²/Σ(y − ȳ)², explainedVariance = 1 − var(y − p)/var(y), as scikit-learn
 * - pearson, and spearman: Pearson's r of the ranks, ties sharing their mean rank, as SciPy
 *
 * @param targets the true value per row
 * @param predictions one per row
 * @throws EmptyDataError without rows
 * @throws ShapeError when the lengths differ
 * @throws NonFiniteError when a target or a prediction is NaN or infinite
 */
export function evaluateRegression(
  targets: ArrayLike<number>,
  predictions: ArrayLike<number>,
): RegressionMetrics {
  const n = targets.length;
  if (n === 0) throw new EmptyDataError("There are no rows to score.", "Give at least one.");
  if (predictions.length !== n) {
    throw new ShapeError(
      `There are ${n} targets and ${predictions.length} predictions.`,
      "Give one prediction per target.",
    );
  }
  assertFinite(targets, "Target");
  assertFinite(predictions, "Prediction");
  const y = Float64Array.from(targets);
  const p = Float64Array.from(predictions);
  const errors = y.map((value, i) => value - p[i]);
  const absolute = errors.map(Math.abs);
  const spread = squaresAboutMean(y);
  const squares = errors.reduce((sum, e) => sum + e * e, 0);
  // A spread so small that its squares underflow counts as none.
  const varies = spread > 0 && !isConstant(y);
  const bothVary = varies && squaresAboutMean(p) > 0 && !isConstant(p);
  const values: Record<RegressionMetricName, number | null> = {
    r2: varies ? 1 - squares / spread : null,
    meanAbsoluteError: mean(absolute),
    meanSquaredError: squares / n,
    rootMeanSquaredError: Math.sqrt(squares / n),
    medianAbsoluteError: median(absolute),
    explainedVariance: varies ? 1 - squaresAboutMean(errors) / spread : null,
    pearson: bothVary ? pearson(y, p) : null,
    spearman: bothVary ? pearson(ranks(y), ranks(p)) : null,
  };
  const undefinedBecause: Partial<Record<RegressionMetricName, string>> = {};
  for (const name of REGRESSION_METRIC_NAMES) {
    const value = values[name];
    if (value !== null && Number.isFinite(value)) continue;
    const ofPair = name === "pearson" || name === "spearman";
    undefinedBecause[name] = value !== null ? OVERFLOW : ofPair ? CONSTANT : CONSTANT_TARGET;
    values[name] = null;
  }
  return Object.freeze({ ...values, rows: n, undefinedBecause: Object.freeze(undefinedBecause) });
}

/** Ranks from 1; equal values share the mean of theirs. */
export function ranks(values: Float64Array): Float64Array {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const out = new Float64Array(values.length);
  for (let first = 0; first < order.length;) {
    let end = first + 1;
    while (end < order.length && values[order[end]] === values[order[first]]) end++;
    for (let at = first; at < end; at++) out[order[at]] = (first + 1 + end) / 2;
    first = end;
  }
  return out;
}

/** Pearson's r of two variables that vary, within [−1, 1]. */
function pearson(a: Float64Array, b: Float64Array): number {
  const meanA = mean(a);
  const meanB = mean(b);
  const sizeA = Math.sqrt(squaresAboutMean(a));
  const sizeB = Math.sqrt(squaresAboutMean(b));
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] - meanA) / sizeA) * ((b[i] - meanB) / sizeB);
  // Rounding may go beyond; NaN stays NaN.
  return Math.max(-1, Math.min(1, sum));
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function squaresAboutMean(values: Float64Array): number {
  const center = mean(values);
  return values.reduce((sum, value) => sum + (value - center) ** 2, 0);
}

function isConstant(values: Float64Array): boolean {
  return values.every((value) => value === values[0]);
}

/** The middle value, or the mean of the two in the middle. */
function median(values: Float64Array): number {
  const sorted = values.slice().sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function assertFinite(values: ArrayLike<number>, what: string): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new NonFiniteError(`${what} ${i} is ${values[i]}.`, "Leave such rows out.");
    }
  }
}
