/** Ways of choosing neurons, side by side; the work of `compareSelections`. */
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import type { Backend, CallOptions } from "../backends/backend.ts";
import { Activations } from "../data/activations.ts";
import { LabelMatrix } from "../data/labels.ts";
import { OptionError, SparseProbeError } from "../errors.ts";
import type { MetricName } from "../metrics/evaluate.ts";
import { findOptimalSupports } from "../optimal/find-optimal-supports.ts";
import type { OptimalSupportsOptions } from "../optimal/optimal-support.ts";
import { isBlocks, isDevice, isForeign, type ActivationSource } from "../probes/activation-source.ts";
import type { SelectedSupport } from "../probes/fit-supports.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import { probeSettings } from "../probes/probe-options.ts";
import { selectFromSource } from "../probes/select-from-source.ts";
import { SparseProbe } from "../probes/sparse-probe.ts";
import { assertSupportSizes, resolveRanking, type RankingChoice } from "../ranking/ranking.ts";
import { assertBootstrap, runBootstrap, type MetricInterval } from "./bootstrap.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { fitLabelSets } from "./fit-label-sets.ts";
import { probabilities } from "./host-columns.ts";
import { assertCount, labelsOf, Study, type FoldRows, type StatisticsOptions } from "./study.ts";

/** A ranking under a name of its own, with a pre-filter if it is dear. */
export interface RankedSelection {
  /** Name in the table. */
  readonly name: string;
  readonly ranking: RankingChoice;
  /** Only this many neurons, the first by mean difference, are ranked. Default: all. */
  readonly prefilter?: number;
}

/** How neurons are chosen: by a ranking, by adaptive thresholding, or as the optimum. */
export type SelectionMethod = RankingChoice | RankedSelection | "adaptive-thresholding" | "optimal";

/** The methods that are compared unless others are asked for: those of Gurnee et al. (2023), and a control. */
export const SELECTION_METHODS: readonly SelectionMethod[] = Object.freeze([
  "mean-difference",
  "standardised-mean-difference",
  "welch-t",
  "mutual-information",
  "l1-logistic",
  "linear-svm",
  "adaptive-thresholding",
  "optimal",
  "random",
]);

/** What is measured on the test rows unless other metrics are asked for. */
const METRICS: readonly MetricName[] = ["f1", "mcc", "rocAuc", "averagePrecision", "logLoss"];

/** Largest k of the optimal method, whose work grows fastest. */
const OPTIMAL_UP_TO = 8;

/** Seconds of the optimal method for all its k. */
const OPTIMAL_SECONDS = 20;

export interface CompareSelectionsOptions extends Omit<
  StatisticsOptions,
  "ranking" | "prefilter" | "onProgress"
> {
  /** Default: mean differences as they are and standardised, Welch's t, mutual information, L1, linear SVM, adaptive thresholding, optimal supports, random. */
  readonly methods?: readonly SelectionMethod[] | undefined;
  /** Inverse regularisation strength of the probes that are compared. Default 1. */
  readonly C?: number | undefined;
  /** The rows that choose and fit, and those that are scored. Default: 70 % and 30 %, stratified, by group, seeded. */
  readonly split?: FoldRows | undefined;
  /** Metrics on the test rows. Default F1, MCC, ROC-AUC, average precision, log-loss. */
  readonly metrics?: readonly MetricName[] | undefined;
  /** Bootstrap resamples of the intervals. Default 1000. */
  readonly resamples?: number | undefined;
  /** Share of the distribution that an interval covers. Default 0.95. */
  readonly level?: number | undefined;
  /**
   * Options of the optimal supports. `upTo` is the largest k that they are sought for, 8 by default: larger ones are among the
   * method's failures. The time limit is 20 seconds in all. Loss, scaling and γ are those of `findOptimalSupports`, not of the probes.
   */
  readonly optimal?:
    | (Pick<
        OptimalSupportsOptions,
        "loss" | "gamma" | "standardise" | "candidates" | "relativeGap" | "timeLimit"
      > & {
        readonly upTo?: number;
      })
    | undefined;
  /** Called as methods have chosen and rows are scored. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** One method's neurons at one k, in the same probe as everybody's. Plain data. */
export interface SelectionRow {
  readonly method: string;
  readonly k: number;
  /** Neurons, strongest first. */
  readonly support: readonly number[];
  /** C·Σ ω·loss + ½‖w‖² of the probe on the training rows: what an optimal choice would make least. */
  readonly objective: number;
  readonly converged: boolean;
  readonly separated: boolean;
  /** On the test rows, with bootstrap intervals. */
  readonly metrics: Readonly<Partial<Record<MetricName, MetricInterval>>>;
  /** Neurons shared with the first method's support of this size, as a share of k; null where that method has none. */
  readonly overlap: number | null;
  /** For the optimal method: whether its own objective is proved least among its candidates, and the gap. */
  readonly proof?: { readonly proved: boolean; readonly relativeGap: number };
}

/** Time that a method took to choose neurons for all of its k, and why some rows are missing. */
export interface MethodReport {
  readonly method: string;
  /** Wall time of choosing, class moments included; fitting and scoring are the same for all. */
  readonly seconds: number;
  readonly failures: readonly { readonly k: number; readonly reason: string }[];
}

export interface SelectionComparison {
  readonly feature: string;
  readonly ks: readonly number[];
  /** Tidy: one row per method and k, methods in the order given; ready for a table or a plot. */
  readonly rows: readonly SelectionRow[];
  readonly methods: readonly MethodReport[];
  /** Wall time of fitting all probes. */
  readonly fitSeconds: number;
  readonly split: { readonly train: readonly number[]; readonly test: readonly number[] };
  readonly seed: number;
}

/** What one method has chosen. */
interface Chosen {
  readonly k: number;
  readonly neurons: Uint32Array;
  readonly scores: Float64Array;
  readonly proof?: SelectionRow["proof"];
}

interface Selection {
  readonly method: string;
  readonly chosen: readonly Chosen[];
  readonly failures: readonly { readonly k: number; readonly reason: string }[];
  readonly seconds: number;
}

/** See `compareSelections`. */
export async function runSelectionComparison(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: CompareSelectionsOptions,
): Promise<SelectionComparison> {
  const { methods = SELECTION_METHODS, C = 1, signal, backend = createCpuBackend() } = options;
  const names = methodNames(methods);
  const { metrics = METRICS, resamples, level } = options;
  assertBootstrap({ metrics, resamples, level });
  probeSettings({ ...options, C, onProgress: undefined });
  if (options.optimal?.upTo !== undefined) assertCount("optimal.upTo", options.optimal.upTo);
  const { x, close } = await onBackend(acts, backend, { signal });
  try {
    const groups = options.groups ?? (acts instanceof Activations ? acts.groups : undefined);
    const study = await Study.open(x, labels, { ...options, backend, groups, onProgress: undefined });
    try {
      assertSupportSizes(ks, study.source.neurons);
      const { train, test } = options.split
        ? study.parts({ train: options.split.train, test: options.split.test })
        : study.split({ train: 0.7, test: 0.3 });
      study.labels.restrictedTo(train).assertTwoClasses(0);
      const selections: Selection[] = [];
      const sizes = [...new Set(ks)];
      const total = methods.length * (1 + sizes.length);
      for (const [m, method] of methods.entries()) {
        const chosen = await select(method, names[m], x, labels, study, train, sizes, {
          ...options,
          backend,
        });
        selections.push(chosen);
        signal?.throwIfAborted();
        options.onProgress?.(m + 1, total);
      }
      const started = performance.now();
      const fitted = await fitAll(study, train, test, selections, { ...options, C });
      const fitSeconds = (performance.now() - started) / 1000;
      const y = Uint8Array.from(test, (i) => study.y[i]);
      const groupsOfTest = study.groupOf && study.groupsOf(test);
      const rows: SelectionRow[] = [];
      for (const { method, chosen } of selections) {
        for (const { k, neurons, proof } of chosen) {
          const { probe, decisions } = fitted[rows.length];
          const { objective, converged, separated } = probe.convergence;
          const { metrics: measured } = await runBootstrap(y, decisions, {
            metrics,
            probabilities: probabilities(decisions),
            resamples,
            level,
            seed: study.seed,
            signal,
            groups: groupsOfTest,
          });
          const first = selections[0].chosen.find((other) => other.k === k);
          rows.push({
            method,
            k,
            support: probe.support,
            objective,
            converged,
            separated,
            metrics: measured,
            overlap: first ? sharedNeurons(first.neurons, neurons) / k : null,
            ...(proof && { proof }),
          });
          options.onProgress?.(methods.length + rows.length, total);
          signal?.throwIfAborted();
        }
      }
      options.onProgress?.(total, total);
      return deepFreeze({
        feature: study.feature,
        ks: [...ks],
        rows,
        methods: selections.map(({ method, seconds, failures }) => ({ method, seconds, failures })),
        fitSeconds,
        split: { train: Array.from(train), test: Array.from(test) },
        seed: study.seed,
      });
    } finally {
      study.close();
    }
  } finally {
    close();
  }
}

/** One copy where the backend computes, for all methods; what streams or lies on a device already is used as it is. */
async function onBackend(
  acts: ActivationSource,
  backend: Backend,
  options: CallOptions,
): Promise<{ x: ActivationSource; close: () => void }> {
  if (isBlocks(acts) || isDevice(acts) || isForeign(acts)) return { x: acts, close: () => undefined };
  const x = await backend.upload(Activations.from(acts), options);
  return {
    x,
    close: () => {
      x.dispose();
    },
  };
}

/** @throws OptionError when a method is unknown, or two have one name */
function methodNames(methods: readonly SelectionMethod[]): string[] {
  if (methods.length === 0) throw new OptionError("There are no methods.", "Give at least one.");
  const names = methods.map((method) => {
    if (method === "adaptive-thresholding" || method === "optimal") return method;
    if (isRankedSelection(method)) {
      probeSettings(method);
      return method.name;
    }
    return resolveRanking(method).name;
  });
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) {
    throw new OptionError(
      `There are two methods called ${JSON.stringify(twice)}.`,
      "Give one of them another name, as { name, ranking }.",
    );
  }
  return names;
}

function isRankedSelection(method: SelectionMethod): method is RankedSelection {
  return typeof method === "object" && "ranking" in method;
}

/** Lets one method choose neurons at every k, on the training rows. */
async function select(
  method: SelectionMethod,
  name: string,
  x: ActivationSource,
  labels: ProbeLabels,
  study: Study,
  train: Uint32Array,
  ks: readonly number[],
  options: CompareSelectionsOptions & { readonly backend: Backend },
): Promise<Selection> {
  const { signal, backend, standardise = "standard", classWeight = "balanced", seed = 0 } = options;
  const started = performance.now();
  const finish = (
    chosen: readonly Chosen[],
    failures: readonly { readonly k: number; readonly reason: string }[] = [],
  ): Selection => ({ method: name, chosen, failures, seconds: (performance.now() - started) / 1000 });
  const common = {
    backend,
    signal,
    rows: train,
    classWeight,
    feature: study.feature,
    ...(options.positive !== undefined && { positive: options.positive }),
  };
  try {
    if (method === "adaptive-thresholding") {
      const probes = await SparseProbe.adaptive(x, labels, ks, { ...common, standardise, refit: false });
      return finish(
        probes.map(({ k, support, scores }) => ({
          k,
          neurons: Uint32Array.from(support),
          scores: Float64Array.from(scores),
        })),
      );
    }
    if (method === "optimal") {
      const { upTo = OPTIMAL_UP_TO, timeLimit = OPTIMAL_SECONDS, ...rest } = options.optimal ?? {};
      const most = Math.min(upTo, typeof rest.candidates === "number" ? rest.candidates : Infinity);
      const [sizes, failures] = upToSize(ks, most, `Optimal supports are sought up to k = ${most}.`);
      const found =
        sizes.length > 0
          ? await findOptimalSupports(x, labels, sizes, { ...common, ...rest, timeLimit })
          : [];
      return finish(
        found.map(({ k, support, probe, proved, relativeGap }) => ({
          k,
          neurons: Uint32Array.from(support),
          scores: Float64Array.from(probe.coefficients),
          proof: { proved, relativeGap },
        })),
        failures,
      );
    }
    const { ranking, prefilter } = isRankedSelection(method)
      ? method
      : { ranking: method, prefilter: undefined };
    const training = new LabelMatrix([study.feature], study.source.rows, labelsOf(study.y, train));
    const [sizes, beyond] = upToSize(ks, prefilter, `The pre-filter leaves ${prefilter} neurons.`);
    if (sizes.length === 0) return finish([], beyond);
    const { supports, failures } = await selectFromSource(backend, study.source, training, sizes, {
      ranking,
      prefilter,
      seed,
      standardise,
      signal,
    });
    return finish(
      supports.map(({ neurons, scores }) => ({ k: neurons.length, neurons, scores })),
      [...failures.map(({ k, error }) => ({ k, reason: error.message })), ...beyond],
    );
  } catch (error) {
    // What a method cannot do does not end the comparison; a wrong option does.
    if (!(error instanceof SparseProbeError) || error instanceof OptionError) throw error;
    return finish(
      [],
      ks.map((k) => ({ k, reason: error.message })),
    );
  }
}

/** The sizes that a method can serve, and why it cannot serve the others. */
function upToSize(
  ks: readonly number[],
  most = Infinity,
  reason: string,
): [sizes: number[], failures: { k: number; reason: string }[]] {
  return [ks.filter((k) => k <= most), ks.filter((k) => k > most).map((k) => ({ k, reason }))];
}

/** Fits the same probe to every support. In the order of the selections, and of the k of each. */
async function fitAll(
  study: Study,
  train: Uint32Array,
  test: Uint32Array,
  selections: readonly Selection[],
  options: CompareSelectionsOptions & { readonly C: number },
): Promise<{ probe: SparseProbe; decisions: Float64Array }[]> {
  const supports = selections.flatMap(({ chosen }) =>
    chosen.map(({ neurons, scores }): SelectedSupport => ({ feature: 0, neurons, scores })),
  );
  const fitted: { probe: SparseProbe; decisions: Float64Array }[] = [];
  if (supports.length === 0) return fitted;
  await fitLabelSets(study, {
    sets: [labelsOf(study.y, train)],
    ks: [],
    Cs: [options.C],
    supports,
    options,
    visit: ({ at, probe, decide }) => {
      fitted[at] = { probe, decisions: decide(test) };
    },
  });
  return fitted;
}

function sharedNeurons(a: Uint32Array, b: Uint32Array): number {
  const known = new Set(a);
  return b.reduce((count, j) => count + (known.has(j) ? 1 : 0), 0);
}
