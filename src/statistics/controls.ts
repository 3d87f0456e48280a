/** Probes that should know nothing: shuffled labels and random neurons; the work of `probeControls`. */
import { deepFreeze } from "./deep-freeze.ts";
import type { RowSelection } from "../data/labels.ts";
import { METRIC_NAMES, type MetricName, type Metrics } from "../metrics/evaluate.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import { probeSettings } from "../probes/probe-options.ts";
import type { ProbeLabels, SparseProbe } from "../probes/sparse-probe.ts";
import type { SelectedSupport } from "../probes/fit-supports.ts";
import { Random } from "../random.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import { mean, metricSign, sampleDeviation } from "./compare-metrics.ts";
import { evaluateOn, fitLabelSets, setsPerPass, type SetFailure, type SetProbe } from "./fit-label-sets.ts";
import { LabelPermuter, type PermutationScheme } from "./permute-labels.ts";
import { assertCount, labelsOf, Study, type StatisticsOptions } from "./study.ts";

/**
 * - `"shuffled-labels"`: selection and fit on permuted training labels
 * - `"random-support"`: fit on neurons drawn at random
 */
export type ControlName = "shuffled-labels" | "random-support";

const CONTROLS: readonly ControlName[] = ["shuffled-labels", "random-support"];

export interface ProbeControlsOptions extends StatisticsOptions {
  /** Inverse regularisation strength. Default 1. */
  readonly C?: number | undefined;
  /** Control probes of each kind and k. Default 50. */
  readonly draws?: number | undefined;
  /** Rows to fit on and rows to score on. Default: 70 % and 30 %, stratified and by group. */
  readonly split?: Readonly<Record<"train" | "test", RowSelection>> | undefined;
  /** How training labels are shuffled. Default: see {@link PermutationScheme}. */
  readonly scheme?: PermutationScheme | undefined;
}

/** A metric of the probe beside the same metric of its controls. */
export interface Selectivity {
  /** The probe's. */
  readonly probe: number | null;
  /** Mean over the draws in which the metric is defined. */
  readonly controlMean: number | null;
  /** Standard deviation over these draws (n − 1). */
  readonly controlDeviation: number | null;
  /** Probe minus mean control. */
  readonly selectivity: number | null;
  /** (1 + #{control at least as good})/(1 + draws), over the draws in which the metric is defined. */
  readonly pValue: number | null;
  /** Draws in which the metric is defined. */
  readonly draws: number;
  /** Why something is null. */
  readonly undefinedBecause?: string;
}

/** One control probe. */
export interface ControlDraw {
  readonly draw: number;
  readonly support: readonly number[];
  readonly metrics: Metrics;
}

export interface ControlResult {
  readonly selectivity: Readonly<Record<MetricName, Selectivity>>;
  /** Draws that were fitted, in order. */
  readonly draws: readonly ControlDraw[];
}

export interface ProbeControlsRow {
  readonly k: number;
  readonly support: readonly number[];
  readonly converged: boolean;
  /** The probe on the test rows. */
  readonly metrics: Metrics;
  readonly controls: Readonly<Record<ControlName, ControlResult>>;
}

/** A control draw that is left out. */
export interface ControlRejection {
  readonly control: ControlName;
  readonly k: number;
  readonly draw: number;
  readonly reason: string;
}

export interface ProbeControls {
  readonly feature: string;
  readonly seed: number;
  readonly scheme: PermutationScheme;
  /** Training rows whose label may change in a shuffle: where these are few, shuffled labels are much like the true ones. */
  readonly movableRows: number;
  /** By k, in the order given. */
  readonly rows: readonly ProbeControlsRow[];
  readonly rejections: readonly ControlRejection[];
  /** Number of rows that probes were fitted to and scored on. */
  readonly split: Readonly<Record<"train" | "test", number>>;
}

export async function runProbeControls(
  acts: ActivationSource,
  labels: ProbeLabels,
  asked: readonly number[],
  options: ProbeControlsOptions,
): Promise<ProbeControls> {
  const { draws = 50, C = 1 } = options;
  probeSettings({ ...options, C });
  assertCount("draws", draws);
  const study = await Study.open(acts, labels, options);
  try {
    const d = study.source.neurons;
    assertSupportSizes(asked, d, options.prefilter);
    // A k that is asked for twice is drawn once.
    const ks = [...new Set(asked)];
    const { train, test } = options.split
      ? study.parts({ train: options.split.train, test: options.split.test })
      : study.split({ train: 0.7, test: 0.3 });
    const y = labelsOf(study.y, train);
    const permuter = new LabelPermuter(y, study.groupOf, options.scheme);
    const total = ks.length * (1 + 2 * draws);
    let finished = 0;
    const fit = async (
      sets: readonly Uint8Array[],
      first: number,
      visit: (fitted: SetProbe, metrics: Metrics) => void,
      supports?: readonly SelectedSupport[],
    ): Promise<SetFailure[]> => {
      const before = finished;
      const failures = await fitLabelSets(study, {
        sets,
        first,
        ks,
        Cs: [C],
        supports,
        options,
        visit: (fitted) => {
          visit(fitted, evaluateOn(fitted, test, study.y));
        },
        done: (fits) => options.onProgress?.(before + fits, total),
      });
      finished += supports?.length ?? sets.length * ks.length;
      return failures;
    };

    const probes: { probe: SparseProbe; metrics: Metrics }[] = [];
    const [unfit] = await fit([y], 0, ({ probe }, metrics) => {
      probes.push({ probe, metrics });
    });
    if (unfit as SetFailure | undefined) throw unfit.error;
    const kept = new Map<string, ControlDraw[]>();
    const rejections: ControlRejection[] = [];
    const keep = (control: ControlName, draw: number, { k, probe }: SetProbe, metrics: Metrics): void => {
      if (!probe.convergence.converged) {
        rejections.push({ control, k, draw, reason: "The fit did not converge." });
        return;
      }
      const key = `${control} ${k}`;
      const list = kept.get(key) ?? [];
      kept.set(key, list);
      list.push({ draw, support: probe.support, metrics });
    };
    const batch = setsPerPass(d);
    for (let first = 0; first < draws; first += batch) {
      const numbers = Array.from({ length: Math.min(batch, draws - first) }, (_, s) => first + s);
      // One shuffle and one order of neurons serve all ks, so a draw does not depend on which there are.
      const shuffled = numbers.map((draw) =>
        permuter.permute(new Random(study.seed, `shuffled labels ${draw}`)),
      );
      const failures = await fit(shuffled, 1 + first, (fitted, metrics) => {
        keep("shuffled-labels", first + fitted.set, fitted, metrics);
      });
      // A ranking of the caller's own may have no score for some labels.
      for (const { set, k, error } of failures) {
        rejections.push({ control: "shuffled-labels", k, draw: first + set, reason: error.message });
      }
      const supports = numbers.flatMap((draw) => randomSupports(study.seed, draw, d, ks));
      await fit(
        [y],
        0,
        (fitted, metrics) => {
          keep("random-support", first + Math.floor(fitted.at / ks.length), fitted, metrics);
        },
        supports,
      );
    }
    const rows = asked.map((k): ProbeControlsRow => {
      const { probe, metrics } = probes[ks.indexOf(k)];
      const of = (control: ControlName): ControlResult => {
        const list = kept.get(`${control} ${k}`) ?? [];
        return { selectivity: selectivities(metrics, list), draws: list };
      };
      return {
        k,
        support: probe.support,
        converged: probe.convergence.converged,
        metrics,
        controls: Object.fromEntries(CONTROLS.map((control) => [control, of(control)])) as Record<
          ControlName,
          ControlResult
        >,
      };
    });
    return deepFreeze({
      feature: study.feature,
      seed: study.seed,
      scheme: permuter.scheme,
      movableRows: permuter.movableRows,
      rows,
      rejections,
      split: { train: train.length, test: test.length },
    });
  } finally {
    study.close();
  }
}

/**
 * Neurons in random order, cut at every k: the first k places of a Fisher–Yates shuffle, which do not depend on what is
 * drawn after them.
 */
function randomSupports(seed: number, draw: number, d: number, ks: readonly number[]): SelectedSupport[] {
  const random = new Random(seed, `random support ${draw}`);
  const moved = new Map<number, number>();
  const order: number[] = [];
  for (let at = 0; at < Math.max(...ks); at++) {
    const other = at + random.below(d - at);
    order.push(moved.get(other) ?? other);
    moved.set(other, moved.get(at) ?? at);
  }
  return ks.map((k) => ({
    feature: 0,
    neurons: Uint32Array.from(order.slice(0, k)),
    scores: new Float64Array(k),
  }));
}

function selectivities(
  probe: Metrics,
  draws: readonly ControlDraw[],
): Readonly<Record<MetricName, Selectivity>> {
  const entries = METRIC_NAMES.map((name): [MetricName, Selectivity] => {
    const values = draws.map(({ metrics }) => metrics[name]).filter((value) => value !== null);
    const own = probe[name];
    const sign = metricSign(name);
    const controlMean = mean(values);
    const both = own !== null && controlMean !== null;
    const asGood = both ? values.filter((value) => sign * value >= sign * own).length : 0;
    const reason =
      own === null
        ? probe.undefinedBecause[name]
        : controlMean === null
          ? "undefined in every draw"
          : values.length === 1
            ? "one draw has no deviation"
            : undefined;
    return [
      name,
      {
        probe: own,
        controlMean,
        controlDeviation: sampleDeviation(values),
        selectivity: both ? own - controlMean : null,
        pValue: both ? (1 + asGood) / (1 + values.length) : null,
        draws: values.length,
        ...(reason !== undefined && { undefinedBecause: reason }),
      },
    ];
  });
  return Object.fromEntries(entries) as Record<MetricName, Selectivity>;
}
