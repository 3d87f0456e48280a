/** How a metric is named on an axis, and which values it can take. */
import type { MetricName } from "../../metrics/evaluate.ts";

export interface MetricScale {
  /** For a title and the axis, with the unit where there is one. */
  readonly label: string;
  /** Values that an axis always shows; the rest follows the data. */
  readonly least: number;
  readonly largest: number | null;
  /** Whether smaller is better. */
  readonly falls: boolean;
}

const share = (label: string): MetricScale => ({ label, least: 0, largest: 1, falls: false });

const SCALES: Readonly<Record<MetricName, MetricScale>> = {
  accuracy: share("accuracy"),
  balancedAccuracy: share("balanced accuracy"),
  precision: share("precision"),
  recall: share("recall"),
  f1: share("F1"),
  f05: share("F0.5"),
  f2: share("F2"),
  mcc: share("MCC"),
  kappa: share("Cohen’s κ"),
  fowlkesMallows: share("Fowlkes–Mallows index"),
  rocAuc: share("area under the ROC curve"),
  prAuc: share("area under the precision–recall curve"),
  averagePrecision: share("average precision"),
  logLoss: { label: "log loss (nats)", least: 0, largest: null, falls: true },
};

export function metricScale(metric: MetricName): MetricScale {
  return SCALES[metric];
}

/** The part of an axis that shows all values, and everything that the metric can be. */
export function metricDomain(metric: MetricName, values: readonly (number | null)[]): [number, number] {
  const { least, largest } = SCALES[metric];
  let [low, high] = [least, largest ?? 0];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high > low ? high : low + 1];
}
