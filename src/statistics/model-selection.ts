/** Fit on training rows, choose on validation rows, report once on test rows; the work of `selectAndTest`. */
import { deepFreeze } from "./deep-freeze.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import type { ProbeLabels, SparseProbe } from "../probes/sparse-probe.ts";
import type { ProbeJson } from "../probes/probe-record.ts";
import type { RowSelection } from "../data/labels.ts";
import { THREE_PARTS } from "../data/splits.ts";
import { EmptyDataError, ShapeError, type SparseProbeError } from "../errors.ts";
import type { MetricName, Metrics } from "../metrics/evaluate.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import {
  assertBootstrap,
  runBootstrap,
  type BootstrapOptions,
  type FullBootstrapResult,
} from "./bootstrap.ts";
import { assertMetric, bySimplicity, metricSign } from "./compare-metrics.ts";
import { assertCs } from "./cross-validation.ts";
import { evaluateOn, fitLabelSets } from "./fit-label-sets.ts";
import { probabilities } from "./host-columns.ts";
import { labelsOf, Study, type StatisticsOptions } from "./study.ts";

/** The three parts of an honest report. */
export type ThreeParts<Rows> = Readonly<Record<"train" | "validation" | "test", Rows>>;

/** One set of activations, or several by name (layers, hook points), of the same rows. */
export type NamedActivations = ActivationSource | ReadonlyMap<string, ActivationSource>;

export interface SelectAndTestOptions extends StatisticsOptions {
  /** Inverse regularisation strengths to choose from. Default `[1]`. */
  readonly Cs?: readonly number[] | undefined;
  /** Parts of your own. Default: a stratified split by group. */
  readonly split?: ThreeParts<RowSelection> | undefined;
  /** Shares of the rows where no split is given. Default {@link THREE_PARTS}. */
  readonly fractions?: ThreeParts<number> | undefined;
  /** Metric on validation rows that chooses. Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Ranks and fits the chosen k and C once more on training and validation rows. Default false. */
  readonly refit?: boolean | undefined;
  /** Intervals of the report. Default: 1000 resamples at level 0.95, by group where there are groups. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "method"> | undefined;
}

/** A probe that was a candidate. Plain data. */
export interface Candidate {
  /** Name of the activations; null where there was one set without a name. */
  readonly activations: string | null;
  readonly k: number;
  readonly C: number;
  readonly support: readonly number[];
  readonly converged: boolean;
  readonly separated: boolean;
  readonly validation: Metrics;
}

export interface SelectAndTestResult {
  readonly feature: string;
  readonly metric: MetricName;
  /** The best candidate on validation rows; of equals the one with fewer neurons, the smaller C, the activations named first. */
  readonly chosen: Candidate;
  /** How many candidates it was chosen from. */
  readonly considered: number;
  /** All of them, with null metrics where those are undefined. */
  readonly candidates: readonly Candidate[];
  /** What could not be fitted. */
  readonly failures: readonly {
    readonly activations: string | null;
    readonly k: number;
    readonly reason: string;
  }[];
  /** The probe that is reported: the chosen candidate, or its refit. */
  readonly probe: ProbeJson;
  readonly refit: boolean;
  /** Metrics of the probe on test rows, which chose nothing, with intervals. */
  readonly test: FullBootstrapResult;
  /** Row numbers of the parts. */
  readonly split: ThreeParts<readonly number[]>;
}

export async function runSelectAndTest(
  acts: NamedActivations,
  labels: ProbeLabels,
  ks: readonly number[],
  options: SelectAndTestOptions,
): Promise<SelectAndTestResult> {
  const { Cs = [1], metric = "f1", refit = false, fractions = THREE_PARTS } = options;
  assertMetric(metric);
  assertCs(Cs, options);
  assertBootstrap(options.bootstrap ?? {});
  const sources: (readonly [string | null, ActivationSource])[] =
    acts instanceof Map
      ? [...(acts as ReadonlyMap<string, ActivationSource>)]
      : [[null, acts as ActivationSource]];
  if (sources.length === 0) throw new EmptyDataError("There are no activations.", "Give at least one set.");

  const given = options.split && {
    train: options.split.train,
    validation: options.split.validation,
    test: options.split.test,
  };
  const candidates: Candidate[] = [];
  const failures: { activations: string | null; k: number; reason: string }[] = [];
  const total = sources.length * ks.length * Cs.length;
  const sign = metricSign(metric);
  let best: { candidate: Candidate; probe: SparseProbe; at: number } | undefined;
  let split: ThreeParts<Uint32Array> | undefined;
  let firstError: SparseProbeError | undefined;
  for (const [at, [name, source]] of sources.entries()) {
    const study = await Study.open(source, labels, options);
    try {
      assertSupportSizes(ks, study.source.neurons, options.prefilter);
      // All sets hold the same rows, and so share one split.
      split ??= given ? study.parts(given) : study.split(fractions);
      assertSplit(split, study);
      const { train, validation } = split;
      const unfit = await fitLabelSets(study, {
        sets: [labelsOf(study.y, train)],
        ks,
        Cs,
        options,
        visit: (fitted) => {
          const { k, C, probe } = fitted;
          const metrics = evaluateOn(fitted, validation, study.y);
          const { converged, separated } = probe.convergence;
          const candidate = {
            activations: name,
            k,
            C,
            support: probe.support,
            converged,
            separated,
            validation: metrics,
          };
          candidates.push(candidate);
          const score = metrics[metric];
          if (score === null) return;
          const lead = best ? sign * (score - best.candidate.validation[metric]!) : 1;
          if (lead < 0 || (lead === 0 && bySimplicity(candidate, best!.candidate) >= 0)) return;
          best = { candidate, probe, at };
        },
        done: (fits) => options.onProgress?.(at * ks.length * Cs.length + fits, total),
      });
      for (const { k, error } of unfit) {
        firstError ??= error;
        failures.push({ activations: name, k, reason: error.message });
      }
      options.onProgress?.((at + 1) * ks.length * Cs.length, total);
    } finally {
      study.close();
    }
  }
  if (firstError && candidates.length === 0) throw firstError;
  if (!best || !split) {
    const reason = candidates[0]?.validation.undefinedBecause[metric] ?? "nothing was fitted";
    throw new EmptyDataError(
      `No candidate has a ${metric} on the validation rows: ${reason}.`,
      "Give validation rows of both classes, or choose by another metric.",
    );
  }
  const { candidate, at } = best;
  const report = await reportOnce(
    sources[at][1],
    labels,
    candidate,
    split,
    refit ? undefined : best.probe,
    options,
  );
  return deepFreeze({
    feature: report.feature,
    metric,
    chosen: candidate,
    considered: candidates.length,
    candidates,
    failures,
    probe: report.probe,
    refit,
    test: report.test,
    split: {
      train: Array.from(split.train),
      validation: Array.from(split.validation),
      test: Array.from(split.test),
    },
  });
}

/** The chosen probe, or its refit on training and validation rows, on the test rows. */
async function reportOnce(
  source: ActivationSource,
  labels: ProbeLabels,
  { k, C }: Candidate,
  { train, validation, test }: ThreeParts<Uint32Array>,
  chosen: SparseProbe | undefined,
  options: SelectAndTestOptions,
): Promise<{ feature: string; probe: ProbeJson; test: FullBootstrapResult }> {
  const { signal, seed = 0 } = options;
  const study = await Study.open(source, labels, options);
  try {
    const rows = chosen ? train : Uint32Array.from([...train, ...validation]);
    let found: { probe: SparseProbe; decisions: Float64Array } | undefined;
    const [failure] = await fitLabelSets(study, {
      sets: [labelsOf(study.y, rows)],
      ks: [k],
      Cs: [C],
      supports: chosen && [
        { feature: 0, neurons: Uint32Array.from(chosen.support), scores: Float64Array.from(chosen.scores) },
      ],
      options,
      visit: ({ probe, decide }) => {
        found = { probe, decisions: decide(test) };
      },
    });
    if (!found) throw failure.error;
    const { probe, decisions } = found;
    const y = Uint8Array.from(test, (i) => study.y[i]);
    const result = await runBootstrap(y, decisions, {
      ...options.bootstrap,
      seed,
      signal,
      probabilities: probabilities(decisions),
      ...(study.groupOf && { groups: study.groupsOf(test) }),
    });
    return { feature: study.feature, probe: probe.toJSON(), test: result as FullBootstrapResult };
  } finally {
    study.close();
  }
}

/** @throws ShapeError when another set of activations has other rows */
function assertSplit(split: ThreeParts<Uint32Array>, study: Study): void {
  const used = split.train.length + split.validation.length + split.test.length;
  if (used <= study.rows.length) return;
  throw new ShapeError("The sets of activations differ in rows.", "Give activations of the same rows.");
}
