/** Choosing on the validation rows and reporting on the test rows, from the rows of a sweep. */
import type { MetricName } from "../../metrics/evaluate.ts";
import { isFitted, type FittedSweepRow, type SweepRow } from "../../sweeps/sweep-row.ts";

/** One probe: the row that it was chosen by and the row that reports it. */
export interface ChosenProbe {
  readonly validation: FittedSweepRow;
  /** Null when the sweep scored no test rows. */
  readonly test: FittedSweepRow | null;
}

/** What is larger where a probe is better. */
export function merit(row: SweepRow, metric: MetricName): number | null {
  const value = row.metrics?.[metric] ?? null;
  return value !== null && metric === "logLoss" ? -value : value;
}

const joined = (...parts: readonly unknown[]): string => JSON.stringify(parts);

/** Feature of a model; each seed splits the rows its own way, so each makes its own choice. */
export function featureKey(row: SweepRow): string {
  return joined(row.model, row.revision, row.dataset, row.feature, row.aggregation, row.rotation, row.seed);
}

/** One probe, which has a row for each part that it was scored on. */
export function probeKey(row: SweepRow): string {
  return joined(featureKey(row), row.hookPoint, row.layer, row.method, row.k);
}

/**
 * For each feature the probe with the best metric on the validation rows; of equals that with the smaller log-loss there, then the
 * first. In order of appearance. A choice among all layers, methods and sizes that the rows have: filter them first for a narrower one.
 */
export function chooseBest(rows: readonly SweepRow[], metric: MetricName): ChosenProbe[] {
  const best = new Map<string, FittedSweepRow>();
  for (const row of rows) {
    if (row.split !== "validation" || !isFitted(row)) continue;
    const key = featureKey(row);
    if (isBetter(row, best.get(key), metric)) best.set(key, row);
  }
  const wanted = new Set([...best.values()].map(probeKey));
  const tests = new Map<string, FittedSweepRow>();
  for (const row of rows) {
    if (row.split !== "test" || !isFitted(row)) continue;
    const key = probeKey(row);
    if (wanted.has(key)) tests.set(key, row);
  }
  return [...best.values()].map((validation) => ({
    validation,
    test: tests.get(probeKey(validation)) ?? null,
  }));
}

/** Whether a probe is chosen before another one, or at all: by the metric, then by the smaller log-loss, then the first. */
export function isBetter(
  row: FittedSweepRow,
  before: FittedSweepRow | undefined,
  metric: MetricName,
): boolean {
  const value = merit(row, metric);
  if (value === null || !before) return value !== null;
  const most = merit(before, metric)!;
  if (value !== most) return value > most;
  return (row.metrics.logLoss ?? Infinity) < (before.metrics.logLoss ?? Infinity);
}
