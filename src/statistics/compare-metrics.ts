/** Which of two values of a metric is the better one, and which of many candidates is best. */
import { OptionError } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";

/** 1 where more is better, −1 for a loss. */
export function metricSign(metric: MetricName): 1 | -1 {
  return metric === "logLoss" ? -1 : 1;
}

/** @throws OptionError for a metric that does not exist */
export function assertMetric(metric: MetricName): void {
  if (METRIC_NAMES.includes(metric)) return;
  throw new OptionError(
    `The metric ${JSON.stringify(metric)} is not known.`,
    `Use one of ${METRIC_NAMES.join(", ")}.`,
  );
}

/** What candidates are compared by, beside their score: fewer neurons, then a smaller C, come first. */
export interface Complexity {
  readonly k: number;
  readonly C: number;
}

/** Negative when a is the simpler probe: fewer neurons, then the stronger penalty. */
export function bySimplicity(a: Complexity, b: Complexity): number {
  return a.k - b.k || a.C - b.C;
}

/** Mean, or null without values. */
export function mean(values: Iterable<number> & { readonly length: number }): number | null {
  let sum = 0;
  for (const value of values) sum += value;
  return values.length === 0 ? null : sum / values.length;
}

/** Sample standard deviation (n − 1), or null for fewer than two values. */
export function sampleDeviation(values: Iterable<number> & { readonly length: number }): number | null {
  const centre = mean(values);
  if (centre === null || values.length < 2) return null;
  let squares = 0;
  for (const value of values) squares += (value - centre) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}
