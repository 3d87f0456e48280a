/** One result of a sweep: a probe, scored on one part of the rows. The schema of every result file. */
import type { Aggregation, HookPoint } from "../backends/backend.ts";
import type { MetricName } from "../metrics/evaluate.ts";

/** The part of the rows that a probe was scored on: validation chooses, test reports what was chosen. */
export type ScoredPart = "validation" | "test";

/** An interval that covers the metric with 95 %, by bootstrap over documents. */
export interface SweepInterval {
  readonly low: number;
  readonly high: number;
}

/**
 * A row is one model × dataset × feature × hook point × method × k × seed, scored on one part. Plain data that JSON keeps.
 * Of a failed row everything after `reason` is null or empty; where a model or a dataset could not be opened, what only they
 * know (category, feature, aggregation, hook point, layer) is null too, and the row stands for all of them.
 */
export interface SweepRow {
  readonly model: string;
  /** Revision of the model on the hub; null where it has none. */
  readonly revision: string | null;
  readonly dataset: string;
  readonly category: string | null;
  readonly feature: string | null;
  readonly aggregation: Aggregation | null;
  readonly hookPoint: HookPoint | null;
  readonly layer: number | null;
  /** Name of the method that chose the support, e.g. `"mean-difference"`, `"adaptive"`, `"dense"`, `"random"`. */
  readonly method: string;
  /** Seed of the random rotation of the activations; null: the model's own neurons. */
  readonly rotation: number | null;
  /** Size of the support; null for `"dense"` where the number of neurons is not known. */
  readonly k: number | null;
  /** Seed of split and method. */
  readonly seed: number;
  readonly split: ScoredPart;
  readonly status: "ok" | "failed";
  /** Why there is no probe; null when there is one. */
  readonly reason: string | null;
  /** Rows that the probe was fitted to. */
  readonly train: { readonly positives: number; readonly negatives: number } | null;
  /** Rows that it was scored on. */
  readonly scored: { readonly positives: number; readonly negatives: number } | null;
  /** A metric that is undefined on these rows is null. */
  readonly metrics: Readonly<Record<MetricName, number | null>> | null;
  /** Intervals of the metrics that were asked for. */
  readonly intervals: Readonly<Partial<Record<MetricName, SweepInterval>>>;
  /** The k neurons, strongest first; empty for `"dense"`, which reads all. */
  readonly support: readonly number[];
  /** On preprocessed columns, in the order of the support; empty for `"dense"`. */
  readonly coefficients: readonly number[];
  readonly intercept: number | null;
  readonly converged: boolean | null;
  /** Whether the training rows are separable, so that the coefficients are held by the penalty alone. */
  readonly separated: boolean | null;
  readonly iterations: number | null;
  /** Wall time of ranking and fitting, shared evenly by the probes of a batch. The one field that differs between equal runs. */
  readonly seconds: number | null;
}

/** A row with a probe: everything in it is known. */
export type FittedSweepRow = SweepRow & { readonly status: "ok" } & {
  readonly [Key in Exclude<keyof SweepRow, "revision" | "rotation" | "reason">]: NonNullable<SweepRow[Key]>;
};

/** Whether a row has a probe. */
export function isFitted(row: SweepRow): row is FittedSweepRow {
  return row.status === "ok";
}
