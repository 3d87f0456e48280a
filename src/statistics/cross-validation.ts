/** k-fold cross-validation of support size and penalty; the work of `crossValidate`. */
import { deepFreeze } from "./deep-freeze.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import { probeSettings } from "../probes/probe-options.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import { EmptyDataError, OptionError } from "../errors.ts";
import type { MetricName, Metrics } from "../metrics/evaluate.ts";
import { assertMetric, bySimplicity, mean, metricSign, sampleDeviation } from "./compare-metrics.ts";
import { evaluateOn, fitLabelSets, setsPerPass } from "./fit-label-sets.ts";
import { labelsOf, Study, type FoldRows, type StatisticsOptions } from "./study.ts";

/** `"best"`: the best mean. `"one-standard-error"`: the simplest probe within one standard error of the best (Breiman et al. 1984). */
export type ChoiceRule = "best" | "one-standard-error";

const RULES: readonly ChoiceRule[] = ["best", "one-standard-error"];

export interface CrossValidateOptions extends StatisticsOptions {
  /** Inverse regularisation strengths to try. Default `[1]`. */
  readonly Cs?: readonly number[] | undefined;
  /** Number of folds, stratified and by group, or folds of your own. Default 5. */
  readonly folds?: number | readonly FoldRows[] | undefined;
  /** What is compared. Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Default `"best"`. */
  readonly rule?: ChoiceRule | undefined;
}

/** One fold of one candidate. */
export interface FoldResult {
  /** Neurons chosen on the fold's training rows, strongest first. */
  readonly support: readonly number[];
  readonly converged: boolean;
  readonly separated: boolean;
  /** On the fold's test rows. */
  readonly metrics: Metrics;
}

/** One support size and C over all folds. */
export interface CrossValidationRow {
  readonly k: number;
  readonly C: number;
  /** By fold; null where the fold could not be fitted. */
  readonly folds: readonly (FoldResult | null)[];
  /** The metric by fold; null where it is undefined. */
  readonly scores: readonly (number | null)[];
  /** Mean of the scores; null where one of them is. */
  readonly mean: number | null;
  /** Standard deviation of the scores (n − 1) over the root of their number; null with the mean, or with one fold. */
  readonly standardError: number | null;
  /** Why the mean or its standard error is null. */
  readonly undefinedBecause?: string;
}

export interface CrossValidation {
  readonly feature: string;
  readonly metric: MetricName;
  readonly rule: ChoiceRule;
  /** Every k and C, ks first, in the order given. */
  readonly rows: readonly CrossValidationRow[];
  /** The row that the rule chooses; null when no row has a mean. */
  readonly chosen: CrossValidationRow | null;
  /** Rows of each fold. */
  readonly folds: readonly { readonly train: number; readonly test: number }[];
}

export async function runCrossValidation(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: CrossValidateOptions,
): Promise<CrossValidation> {
  const { Cs = [1], folds: asked = 5, metric = "f1", rule = "best" } = options;
  assertMetric(metric);
  assertRule(rule);
  assertCs(Cs, options);
  const study = await Study.open(acts, labels, options);
  try {
    assertSupportSizes(ks, study.source.neurons, options.prefilter);
    const folds = study.folds(asked);
    const total = folds.length * ks.length * Cs.length;
    const results = new Map<string, FoldResult>();
    const reasons = new Map<string, string>();
    const batch = setsPerPass(study.source.neurons);
    for (let first = 0; first < folds.length; first += batch) {
      const some = folds.slice(first, first + batch);
      const failures = await fitLabelSets(study, {
        sets: some.map(({ train }) => labelsOf(study.y, train)),
        first,
        ks,
        Cs,
        options,
        visit: (fitted) => {
          const { support, convergence } = fitted.probe;
          results.set(key(first + fitted.set, fitted.k, fitted.C), {
            support,
            converged: convergence.converged,
            separated: convergence.separated,
            metrics: evaluateOn(fitted, some[fitted.set].test, study.y),
          });
        },
        done: (fits) => options.onProgress?.(first * ks.length * Cs.length + fits, total),
      });
      for (const { set, k, error } of failures) reasons.set(`${first + set} ${k}`, error.message);
      options.onProgress?.((first + some.length) * ks.length * Cs.length, total);
    }
    const rows = ks.flatMap((k) =>
      Cs.map((C) => {
        const all = folds.map((_, set) => results.get(key(set, k, C)) ?? null);
        return summarise(k, C, all, metric, (set) => reasons.get(`${set} ${k}`));
      }),
    );
    return deepFreeze({
      feature: study.feature,
      metric,
      rule,
      rows,
      chosen: choose(rows, metric, rule),
      folds: folds.map(({ train, test }) => ({ train: train.length, test: test.length })),
    });
  } finally {
    study.close();
  }
}

/** @throws OptionError | EmptyDataError when there is no C, one is not above 0, or another probe option is wrong */
export function assertCs(Cs: readonly number[], options: StatisticsOptions): void {
  if (Cs.length === 0) throw new EmptyDataError("There is no C.", "Give at least one.");
  for (const C of Cs) probeSettings({ ...options, C });
}

function assertRule(rule: ChoiceRule): void {
  if (RULES.includes(rule)) return;
  throw new OptionError(
    `The rule ${JSON.stringify(rule)} is not known.`,
    'Use "best" or "one-standard-error".',
  );
}

function key(set: number, k: number, C: number): string {
  return `${set} ${k} ${C}`;
}

function summarise(
  k: number,
  C: number,
  folds: readonly (FoldResult | null)[],
  metric: MetricName,
  reasonOf: (fold: number) => string | undefined,
): CrossValidationRow {
  const scores = folds.map((fold) => fold?.metrics[metric] ?? null);
  const defined = scores.filter((score) => score !== null);
  const missing = scores.indexOf(null);
  const deviation = sampleDeviation(defined);
  return {
    k,
    C,
    folds,
    scores,
    mean: missing < 0 ? mean(defined) : null,
    standardError: missing < 0 && deviation !== null ? deviation / Math.sqrt(defined.length) : null,
    ...(missing >= 0 && {
      undefinedBecause: `fold ${missing}: ${reasonOf(missing) ?? folds[missing]?.metrics.undefinedBecause[metric] ?? ""}`,
    }),
    ...(folds.length === 1 && missing < 0 && { undefinedBecause: "one fold has no standard error" }),
  };
}

/** The best row by mean, ties by simplicity; or the simplest within one standard error of it. */
function choose(
  rows: readonly CrossValidationRow[],
  metric: MetricName,
  rule: ChoiceRule,
): CrossValidationRow | null {
  const sign = metricSign(metric);
  const value = (row: CrossValidationRow): number => sign * row.mean!;
  const ordered = rows.filter((row) => row.mean !== null).sort(bySimplicity);
  let best: CrossValidationRow | null = null;
  for (const row of ordered) if (best === null || value(row) > value(best)) best = row;
  if (best === null || rule === "best") return best;
  const enough = value(best) - (best.standardError ?? 0);
  return ordered.find((row) => value(row) >= enough)!;
}
