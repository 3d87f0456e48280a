/** What metrics are called in tables. */
import type { MetricName } from "../../metrics/evaluate.ts";

export const METRIC_TITLES: Readonly<Record<MetricName, { readonly short: string; readonly long: string }>> =
  {
    accuracy: { short: "accuracy", long: "Share of rows classified rightly" },
    balancedAccuracy: { short: "bal. accuracy", long: "Mean of the recalls of both classes" },
    precision: { short: "precision", long: "Share of rows called positive that are" },
    recall: { short: "recall", long: "Share of positive rows called so" },
    f1: { short: "F1", long: "Harmonic mean of precision and recall" },
    f05: {
      short: "F0.5",
      long: "Weighted harmonic mean of precision and recall, precision twice as important",
    },
    f2: { short: "F2", long: "Weighted harmonic mean of precision and recall, recall twice as important" },
    mcc: { short: "MCC", long: "Matthews' correlation coefficient" },
    kappa: { short: "kappa", long: "Cohen's kappa" },
    fowlkesMallows: { short: "FM", long: "Fowlkes–Mallows index: geometric mean of precision and recall" },
    rocAuc: { short: "ROC AUC", long: "Area under the ROC curve" },
    prAuc: { short: "PR AUC", long: "Area under the precision–recall curve" },
    averagePrecision: { short: "AP", long: "Average precision" },
    logLoss: { short: "log-loss", long: "Mean logarithmic loss, in nats; smaller is better" },
  };
