/** The columns of result files: one definition for JSON Lines, CSV, Parquet and their documentation. */
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import type { SweepRow } from "./sweep-row.ts";

/** Name and version of the schema, written into Parquet files and journals. */
export const SWEEP_SCHEMA = "sparseprobe/sweep-rows";
export const SWEEP_SCHEMA_VERSION = 1;

/** What a cell holds. */
export type SweepCell = string | number | boolean | readonly number[] | null;

/** `whole` is below 2^31, `long` below 2^53. */
export type SweepColumnType = "text" | "whole" | "long" | "number" | "flag" | "wholes" | "numbers";

/** One column of a result file. */
export interface SweepColumn {
  readonly name: string;
  readonly type: SweepColumnType;
  /** Whether a cell may be null; lists are empty instead. */
  readonly nullable: boolean;
  /** What it means, as a sentence. */
  readonly meaning: string;
  readonly cell: (row: SweepRow) => SweepCell;
}

const WORDS: Readonly<Record<MetricName, string>> = {
  accuracy: "Share of rows that are called right.",
  balancedAccuracy: "Mean of the two classes' recalls.",
  precision: "Share of positives among the rows that are called positive.",
  recall: "Share of the positives that are called positive.",
  f1: "Harmonic mean of precision and recall.",
  f05: "F-score that counts precision twice as much as recall.",
  f2: "F-score that counts recall twice as much as precision.",
  mcc: "Matthews' correlation of labels and calls.",
  kappa: "Cohen's κ of labels and calls.",
  fowlkesMallows: "Geometric mean of precision and recall.",
  rocAuc: "Area under the ROC curve.",
  prAuc: "Area under the precision–recall curve, by trapezoids.",
  averagePrecision: "Average precision: the precisions at the positives' thresholds.",
  logLoss: "Mean −log probability of the labels, in nats.",
};

/** `balancedAccuracy` → `balanced_accuracy`; digits stay with their letter. */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function column(
  name: string,
  type: SweepColumnType,
  nullable: boolean,
  meaning: string,
  cell: SweepColumn["cell"],
): SweepColumn {
  return Object.freeze({ name, type, nullable, meaning, cell });
}

/** All columns, in the order of the files. */
export const SWEEP_COLUMNS: readonly SweepColumn[] = Object.freeze([
  column("model", "text", false, "Name of the model.", (row) => row.model),
  column("revision", "text", true, "Its revision on the hub; null where it has none.", (row) => row.revision),
  column("dataset", "text", false, "Name of the dataset.", (row) => row.dataset),
  column(
    "category",
    "text",
    true,
    "Category of its features, such as `part-of-speech`; `own` for labels of your own.",
    (row) => row.category,
  ),
  column("feature", "text", true, "What the probe looks for.", (row) => row.feature),
  column(
    "aggregation",
    "text",
    true,
    "How tokens become rows: `token`, `mean`, `max` or `last`.",
    (row) => row.aggregation,
  ),
  column(
    "hook_point",
    "text",
    true,
    "Where activations are read, in TransformerLens' names.",
    (row) => row.hookPoint,
  ),
  column("layer", "whole", true, "Layer of the hook point, from 0.", (row) => row.layer),
  column("method", "text", false, "Name of the method that chose the neurons.", (row) => row.method),
  column(
    "rotation",
    "long",
    true,
    "Seed of the random rotation of the activations; null: the model's own neurons.",
    (row) => row.rotation,
  ),
  column("k", "whole", true, "Number of neurons that the probe reads.", (row) => row.k),
  column("seed", "long", false, "Seed of split and method.", (row) => row.seed),
  column(
    "split",
    "text",
    false,
    "Rows that were scored: `validation` chooses, `test` reports.",
    (row) => row.split,
  ),
  column(
    "status",
    "text",
    false,
    "`ok`, or `failed`: what follows `reason` is null or empty then.",
    (row) => row.status,
  ),
  column("reason", "text", true, "Why there is no probe.", (row) => row.reason),
  column(
    "train_positives",
    "whole",
    true,
    "Positive rows that the probe was fitted to.",
    (row) => row.train?.positives ?? null,
  ),
  column(
    "train_negatives",
    "whole",
    true,
    "Negative rows that it was fitted to.",
    (row) => row.train?.negatives ?? null,
  ),
  column(
    "scored_positives",
    "whole",
    true,
    "Positive rows that it was scored on.",
    (row) => row.scored?.positives ?? null,
  ),
  column(
    "scored_negatives",
    "whole",
    true,
    "Negative rows that it was scored on.",
    (row) => row.scored?.negatives ?? null,
  ),
  ...METRIC_NAMES.flatMap((name) => [
    column(snakeCase(name), "number", true, WORDS[name], (row) => row.metrics?.[name] ?? null),
    column(
      `${snakeCase(name)}_low`,
      "number",
      true,
      "Lower end of its 95 % interval; null where none was asked for.",
      (row) => row.intervals[name]?.low ?? null,
    ),
    column(
      `${snakeCase(name)}_high`,
      "number",
      true,
      "Upper end of that interval.",
      (row) => row.intervals[name]?.high ?? null,
    ),
  ]),
  column(
    "support",
    "wholes",
    false,
    "The neurons, strongest first; empty for `dense`.",
    (row) => row.support,
  ),
  column(
    "coefficients",
    "numbers",
    false,
    "Coefficients on preprocessed columns, in the order of the support.",
    (row) => row.coefficients,
  ),
  column("intercept", "number", true, "Intercept of the probe.", (row) => row.intercept),
  column("converged", "flag", true, "Whether the fit reached its tolerance.", (row) => row.converged),
  column(
    "separated",
    "flag",
    true,
    "Whether the training rows are separable: the penalty alone holds the coefficients.",
    (row) => row.separated,
  ),
  column("iterations", "whole", true, "Newton steps of the fit.", (row) => row.iterations),
  column(
    "seconds",
    "number",
    true,
    "Wall time of choosing and fitting, as this probe's share of its batch; the same in both its rows.",
    (row) => row.seconds,
  ),
]);
