/** All metrics of a binary classifier at once; what is undefined is null, with the reason beside it. */
import {
  accuracy,
  balancedAccuracy,
  cohenKappa,
  confusionCounts,
  fowlkesMallows,
  fScore,
  matthewsCorrelation,
  precision,
  recall,
} from "./confusion.ts";
import { logLoss } from "./log-loss.ts";
import { averagePrecision, curveOfCounts, precisionRecallAuc } from "./precision-recall.ts";
import { assertFiniteScores, countsByScore } from "./predictions.ts";
import { areaOfCounts } from "./roc.ts";

/** Names of the metrics, in the order of tables. */
export const METRIC_NAMES = [
  "accuracy",
  "balancedAccuracy",
  "precision",
  "recall",
  "f1",
  "f05",
  "f2",
  "mcc",
  "kappa",
  "fowlkesMallows",
  "rocAuc",
  "prAuc",
  "averagePrecision",
  "logLoss",
] as const;

export type MetricName = (typeof METRIC_NAMES)[number];

/** Every metric, the class counts, and why a metric is null. */
export type Metrics = Readonly<Record<MetricName, number | null>> & {
  readonly positives: number;
  readonly negatives: number;
  /** Reason by metric, for those that are null. */
  readonly undefinedBecause: Readonly<Partial<Record<MetricName, string>>>;
};

const NO_POSITIVE = "no row is positive";
const NO_CALL = "no row is predicted positive";
const ONE_CLASS = "all rows have one class";
const ONE_SIDE = "all labels or all predictions are the same";

const REASONS: Readonly<Record<MetricName, string>> = {
  accuracy: "there are no rows",
  balancedAccuracy: ONE_CLASS,
  precision: NO_CALL,
  recall: NO_POSITIVE,
  f1: `${NO_POSITIVE} and ${NO_CALL}`,
  f05: `${NO_POSITIVE} and ${NO_CALL}`,
  f2: `${NO_POSITIVE} and ${NO_CALL}`,
  mcc: ONE_SIDE,
  kappa: "all labels and predictions are one class",
  fowlkesMallows: `${NO_POSITIVE} or ${NO_CALL}`,
  rocAuc: ONE_CLASS,
  prAuc: NO_POSITIVE,
  averagePrecision: NO_POSITIVE,
  logLoss: "no probabilities were given",
};

/**
 * Scores a binary classifier.
 *
 * @param labels 0 or 1 per row
 * @param scores decision values; a row is predicted positive when its score is above 0
 * @param probabilities of the positive class, for the log-loss; without them it is null
 * @throws EmptyDataError | ShapeError | LabelError | NonFiniteError | OptionError
 */
export function evaluateBinary(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  probabilities?: ArrayLike<number>,
): Metrics {
  const predictions = Uint8Array.from(scores, (score) => (score > 0 ? 1 : 0));
  const counts = confusionCounts(labels, predictions);
  assertFiniteScores(scores);
  const byScore = countsByScore(labels, scores);
  const curve = curveOfCounts(byScore);
  const values: Record<MetricName, number | null> = {
    accuracy: accuracy(counts),
    balancedAccuracy: balancedAccuracy(counts),
    precision: precision(counts),
    recall: recall(counts),
    f1: fScore(counts, 1),
    f05: fScore(counts, 0.5),
    f2: fScore(counts, 2),
    mcc: matthewsCorrelation(counts),
    kappa: cohenKappa(counts),
    fowlkesMallows: fowlkesMallows(counts),
    rocAuc: areaOfCounts(byScore),
    prAuc: curve && precisionRecallAuc(curve),
    averagePrecision: curve && averagePrecision(curve),
    logLoss: probabilities ? logLoss(labels, probabilities) : null,
  };
  return {
    ...values,
    positives: counts.truePositive + counts.falseNegative,
    negatives: counts.trueNegative + counts.falsePositive,
    undefinedBecause: Object.fromEntries(
      METRIC_NAMES.filter((name) => values[name] === null).map((name) => [name, REASONS[name]]),
    ),
  };
}
