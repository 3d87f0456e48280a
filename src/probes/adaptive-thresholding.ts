/**
 * Adaptive thresholding (Gurnee et al. 2023): a ranking is cut at k, an elastic net is fitted to the k neurons that are left
 * and ranks them anew by |coefficient|, and so on for smaller and smaller k.
 */
import type { CallOptions, L1Fit, L1Problem } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import type { Activations } from "../data/activations.ts";
import { standardisation, type ColumnTransform } from "../data/standardisation.ts";
import { OptionError } from "../errors.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import { L1_MAX_ITERATIONS, l1Record } from "./fit-lasso.ts";
import { fitRecords } from "./fit-supports.ts";
import { momentSquares, probeSettings, type ProbeOptions, type ProbeSettings } from "./probe-options.ts";
import type { ProbeRecord } from "./probe-record.ts";
import type { FitOptions, ProbeLabels } from "./one-feature.ts";
import { rankFirst } from "./rank-source.ts";
import { withTrainingData, type TrainingData } from "./training-data.ts";

/** Duality gap per unit of weight of the elastic nets. */
const TOLERANCE = 1e-12;

export interface AdaptiveOptions extends FitOptions {
  /**
   * Support sizes at which the ranking is cut and made anew, in any order; larger ones than there are neurons to choose from are left out.
   * Default: `K_SCHEDULE`, from 256 down to 1.
   */
  readonly schedule?: readonly number[];
  /**
   * Fit the chosen neurons once more with the L2 penalty of `C`, as every other way of choosing a support does. False
   * leaves the probe as the elastic net made it, some of its coefficients zero. Default true.
   */
  readonly refit?: boolean;
}

/** An elastic net on the k neurons that were left. */
interface Net {
  readonly k: number;
  /** Places in the starting ranking, by |coefficient| descending; ties in the order of the ranking before. */
  readonly order: readonly number[];
  /** In that order. */
  readonly coefficients: readonly number[];
  readonly fit: L1Fit;
}

/** C and the share of L1 of the elastic net on k neurons. */
export function adaptiveStrength(k: number): { C: number; l1Ratio: number } {
  return { C: k / 20, l1Ratio: Math.min(0.9, Math.max(0.1, Math.exp(-k / 20))) };
}

/** @returns one record per k, in the order given */
export async function fitAdaptively(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[] | undefined,
  schedule: readonly number[],
  options: AdaptiveOptions,
): Promise<ProbeRecord[]> {
  const settings = probeSettings(options);
  assertSchedule(schedule);
  const { refit = true, signal } = options;
  return withTrainingData(
    acts,
    labels,
    options,
    async (data) => {
      const { backend, source, moments } = data;
      const most = Math.min(source.neurons, options.prefilter ?? Infinity);
      const steps = [...new Set(schedule)].filter((k) => k <= most).sort((a, b) => b - a);
      const sizes = ks ?? schedule.filter((k) => k <= most);
      assertSupportSizes(sizes, source.neurons, options.prefilter);
      const { ranked } = await rankFirst(data, Math.max(...sizes, ...steps), options);
      const columns = await source.columns(ranked, { signal });
      const places = columns.neurons ? ranked.map((_, c) => c) : ranked;
      const candidates: Candidates = {
        ...data,
        ranked,
        host: await backend.gatherColumns(columns.x, places, { signal }),
        transform: standardisation(settings.standardise, moments, 0),
        settings: { ...settings, ranking: `adaptive-thresholding(${settings.ranking})` },
      };
      const descent = descentTo(sizes, steps);
      const total = descent.size + (refit ? sizes.length : 0);
      const show = (before: number) => (done: number) => options.onProgress?.(before + done, total);
      const fitted = await fitNets(candidates, descent, steps, { signal, onProgress: show(0) });
      const nets = sizes.map((k) => fitted.get(k)!);
      if (!refit) return nets.map((net) => netRecord(candidates, net));
      return refitNets(candidates, nets, { ...options, onProgress: show(descent.size) });
    },
    momentSquares(options),
  );
}

/** A size between two of the schedule is cut from the same ranking as the lower one, and changes nothing for others. */
function descentTo(sizes: readonly number[], steps: readonly number[]): Set<number> {
  return new Set([...steps.filter((k) => k > Math.min(...sizes)), ...sizes]);
}

/**
 * The supports of adaptive thresholding on `schedule`, without probes.
 * @param candidates the neurons to start from, strongest first
 * @returns neurons by size, for the sizes that were reached before `expired`
 */
export async function thresholdSupports(
  candidates: NetData,
  sizes: readonly number[],
  schedule: readonly number[],
  options: CallOptions & { readonly expired: () => boolean },
): Promise<Map<number, number[]>> {
  const { ranked } = candidates;
  const steps = schedule.filter((k) => k <= ranked.length);
  const nets = await fitNets(candidates, descentTo(sizes, steps), steps, options);
  return new Map(
    sizes.flatMap((k) => {
      const net = nets.get(k);
      return net ? [[k, net.order.map((place) => ranked[place])] as const] : [];
    }),
  );
}

/** What the nets read of {@link Candidates}. */
type NetData = Pick<Candidates, "backend" | "labels" | "ranked" | "host" | "transform"> & {
  readonly settings: Pick<ProbeSettings, "classWeight">;
};

/** The neurons that rank first, on the host. */
interface Candidates extends TrainingData {
  /** Strongest first; a place in it stands for a neuron in what follows. */
  readonly ranked: Uint32Array;
  /** Their columns, in that order. */
  readonly host: Activations;
  /** Of all neurons. */
  readonly transform: ColumnTransform;
  readonly settings: ProbeSettings;
}

/** One net per size of `descent`; those of the schedule rank the neurons of the ones below. */
async function fitNets(
  { backend, labels, ranked, host, transform, settings }: NetData,
  descent: ReadonlySet<number>,
  schedule: readonly number[],
  {
    signal,
    onProgress,
    expired,
  }: CallOptions & { readonly onProgress?: (done: number) => void; readonly expired?: () => boolean },
): Promise<Map<number, Net>> {
  // The solver runs on the host whatever the backend: it need not fetch the columns again for each net.
  const solver = backend.info.kind === "cpu" ? backend : createCpuBackend();
  const x = await solver.upload(host, { signal });
  try {
    const nets = new Map<number, Net>();
    let before: Net | undefined;
    for (const k of Array.from(descent).sort((a, b) => b - a)) {
      if (expired?.()) break;
      const top = (before?.order ?? Array.from(ranked.keys())).slice(0, k);
      const problem: L1Problem = {
        feature: 0,
        ...adaptiveStrength(k),
        support: Uint32Array.from(top),
        center: Float64Array.from(top, (place) => transform.center[ranked[place]]),
        scale: Float64Array.from(top, (place) => transform.scale[ranked[place]]),
        ...(before && { start: before.fit }),
      };
      const [fit] = await solver.fitLogisticL1(x, labels, [problem], {
        balanced: settings.classWeight === "balanced",
        tolerance: TOLERANCE,
        maxIterations: L1_MAX_ITERATIONS,
        signal,
      });
      const byPlace = new Map(Array.from(fit.support, (place, at) => [place, fit.coefficients[at]]));
      const size = (place: number): number => Math.abs(byPlace.get(place) ?? 0);
      // The sort is stable: neurons that the penalty has set to zero stay in the order that they came in.
      const order = top.sort((a, b) => size(b) - size(a));
      const net = { k, order, coefficients: order.map((place) => byPlace.get(place) ?? 0), fit };
      nets.set(k, net);
      if (schedule.includes(k)) before = net;
      onProgress?.(nets.size);
    }
    return nets;
  } finally {
    x.dispose();
    if (solver !== backend) solver.dispose();
  }
}

/** The probe as the net made it. */
function netRecord(
  { labels, ranked, transform, settings, origin }: Candidates,
  { k, order, coefficients, fit: { intercept, convergence } }: Net,
): ProbeRecord {
  const { C, l1Ratio } = adaptiveStrength(k);
  const neurons = order.map((place) => ranked[place]);
  const fit = { neurons, coefficients, intercept, convergence };
  const own = { ...settings, C, tolerance: TOLERANCE, maxIterations: L1_MAX_ITERATIONS };
  return l1Record(fit, labels, transform, origin, own, l1Ratio);
}

/** Probes on the nets' supports with the L2 penalty, all in one batch. */
async function refitNets(
  { backend, labels, ranked, host, moments, origin, settings }: Candidates,
  nets: readonly Net[],
  options: ProbeOptions,
): Promise<ProbeRecord[]> {
  const x = await backend.upload(host, { signal: options.signal });
  try {
    const supports = nets.map(({ order, coefficients }) => ({
      feature: 0,
      neurons: Uint32Array.from(order, (place) => ranked[place]),
      scores: Float64Array.from(coefficients),
    }));
    const columns = { x, neurons: ranked };
    const records = await fitRecords(backend, columns, labels, supports, moments, origin, options);
    return records.map((record, p) => {
      const { convergence } = record;
      const converged = convergence.converged && nets[p].fit.convergence.converged;
      return { ...record, convergence: { ...convergence, converged }, options: settings };
    });
  } finally {
    x.dispose();
  }
}

/** @throws OptionError when a size is not a whole number of at least 1, or there is none */
function assertSchedule(schedule: readonly number[]): void {
  if (schedule.length > 0 && schedule.every((k) => Number.isInteger(k) && k >= 1)) return;
  throw new OptionError(
    `The schedule is ${JSON.stringify(schedule)}.`,
    "Give support sizes, whole numbers of at least 1.",
  );
}
