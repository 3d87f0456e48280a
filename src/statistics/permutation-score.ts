/** Does a whole probe, selection and all, do better than on permuted labels; the work of `permutationTestScore`. */
import { deepFreeze } from "./deep-freeze.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { OneClassError } from "../errors.ts";
import type { MetricName } from "../metrics/evaluate.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import { probeSettings } from "../probes/probe-options.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import { assertMetric, mean, metricSign } from "./compare-metrics.ts";
import { evaluateOn, fitLabelSets, setsPerPass } from "./fit-label-sets.ts";
import { given, permuted } from "./permutation-test.ts";
import type { PermutationScheme } from "./permute-labels.ts";
import { assertCount, labelsOf, Study, type FoldRows, type StatisticsOptions } from "./study.ts";

export interface PermutationTestScoreOptions extends StatisticsOptions {
  /** Inverse regularisation strength. Default 1. */
  readonly C?: number | undefined;
  /** Number of permutations, or permuted labels of your own, one label set each. Default 99. */
  readonly permutations?: number | LabelMatrix | undefined;
  /** Number of folds, stratified and by group, or folds of your own; all permutations use the same. Default 5. */
  readonly folds?: number | readonly FoldRows[] | undefined;
  /** Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Default: see {@link PermutationScheme}. */
  readonly scheme?: PermutationScheme | undefined;
}

export interface PermutationTestScore {
  readonly feature: string;
  readonly k: number;
  readonly C: number;
  readonly metric: MetricName;
  readonly folds: number;
  readonly permutations: number;
  /** Null where the permutations were given. */
  readonly scheme: PermutationScheme | null;
  readonly seed: number;
  /** Mean of the metric over the folds; null where it is undefined in one. */
  readonly score: number | null;
  /** The same for each permutation. */
  readonly permutationScores: readonly (number | null)[];
  /** (1 + #{permuted at least as good})/(1 + permutations); an undefined permutation counts as good. Null without a score. */
  readonly pValue: number | null;
  /** Why the score is null. */
  readonly undefinedBecause?: string;
  /** Permutations that gave no score, and why. */
  readonly rejections: readonly { readonly permutation: number; readonly reason: string }[];
}

export async function runPermutationTestScore(
  acts: ActivationSource,
  labels: ProbeLabels,
  k: number,
  options: PermutationTestScoreOptions,
): Promise<PermutationTestScore> {
  const { metric = "f1", folds: askedFolds = 5, permutations: asked = 99, C = 1, signal } = options;
  assertMetric(metric);
  probeSettings({ ...options, C });
  if (typeof asked === "number") assertCount("permutations", asked);
  const study = await Study.open(acts, labels, options);
  try {
    assertSupportSizes([k], study.source.neurons, options.prefilter);
    const folds = study.folds(askedFolds);
    const draws = typeof asked === "number" ? permuted(study, asked, options.scheme) : given(study, asked);
    const runs = draws.count + 1;
    const scores: (number | null)[] = [];
    const reasons = new Map<number, string>();
    const pacer = new Pacer(signal);
    const perPass = Math.max(1, Math.floor(setsPerPass(study.source.neurons) / folds.length));
    for (let first = 0; first < runs; first += perPass) {
      // Run 0 has the labels as they are.
      const ys: Uint8Array[] = [];
      for (let run = first; run < Math.min(first + perPass, runs); run++) {
        ys.push(run === 0 ? study.y : draws.draw(run - 1));
        if (pacer.due) await pacer.turn();
      }
      const found = await foldScores(study, ys, first, folds, k, C, metric, options);
      for (const [r, { values, reason }] of found.entries()) {
        scores.push(reason === undefined ? mean(values) : null);
        if (reason !== undefined) reasons.set(first + r, reason);
      }
      options.onProgress?.(Math.min(first + perPass, runs), runs);
    }
    const [score, ...permutationScores] = scores;
    const sign = metricSign(metric);
    const asGood = permutationScores.filter(
      (value) => score !== null && (value === null || sign * value >= sign * score),
    );
    const reason = reasons.get(0);
    return deepFreeze({
      feature: study.feature,
      k,
      C,
      metric,
      folds: folds.length,
      permutations: draws.count,
      scheme: draws.scheme,
      seed: study.seed,
      score,
      permutationScores,
      pValue: score === null ? null : (1 + asGood.length) / (1 + draws.count),
      ...(reason !== undefined && { undefinedBecause: reason }),
      rejections: [...reasons]
        .filter(([run]) => run > 0)
        .map(([run, why]) => ({ permutation: run - 1, reason: why })),
    });
  } finally {
    study.close();
  }
}

/** The metric of each label set in each fold; a set with a fold that cannot be fitted or scored has a reason. */
async function foldScores(
  study: Study,
  ys: readonly Uint8Array[],
  first: number,
  folds: readonly { train: Uint32Array; test: Uint32Array }[],
  k: number,
  C: number,
  metric: MetricName,
  options: PermutationTestScoreOptions,
): Promise<{ values: number[]; reason?: string }[]> {
  const out = ys.map((): { values: number[]; reason?: string } => ({ values: [] }));
  const failures = await fitLabelSets(study, {
    sets: ys.flatMap((y) => folds.map(({ train }) => labelsOf(y, train))),
    first: first * folds.length,
    ks: [k],
    Cs: [C],
    options,
    visit: (fitted) => {
      const [fold, r] = [fitted.set % folds.length, Math.floor(fitted.set / folds.length)];
      const metrics = evaluateOn(fitted, folds[fold].test, ys[r]);
      const value = metrics[metric];
      if (value !== null) out[r].values.push(value);
      else out[r].reason ??= `fold ${fold}: ${metrics.undefinedBecause[metric] ?? ""}`;
    },
  });
  for (const { set, error } of failures) {
    // Activations that are not finite are no matter of the permutation.
    if (!(error instanceof OneClassError)) throw error;
    out[Math.floor(set / folds.length)].reason ??= `fold ${set % folds.length}: ${error.message}`;
  }
  return out;
}
