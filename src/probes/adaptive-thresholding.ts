/**
 * Adaptive thresholding (Gurnee et al. 2023): a ranking is cut at k, an elastic net is fitted to the k neurons that are left
 * and ranks them anew by |coefficient|, and so on for smaller and smaller k.
 */
import type { DeviceActivations, L1Fit } from "../backends/backend.ts";
import { standardisation } from "../data/standardisation.ts";
import { OptionError } from "../errors.ts";
import { assertSupportSizes, scoreNeurons, strongest } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import { L1_MAX_ITERATIONS, l1Record } from "./fit-lasso.ts";
import { fitRecords } from "./fit-supports.ts";
import { momentSquares, probeSettings } from "./probe-options.ts";
import type { ProbeRecord } from "./probe-record.ts";
import type { FitOptions, ProbeLabels } from "./one-feature.ts";
import { withTrainingData, type TrainingData } from "./training-data.ts";

/** Duality gap per unit of weight of the elastic nets. */
const TOLERANCE = 1e-12;

export interface AdaptiveOptions extends FitOptions {
  /**
   * Support sizes at which the ranking is cut and made anew, in any order; larger ones than there are neurons are left out.
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
interface Step {
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
  probeSettings(options);
  assertSchedule(schedule);
  const squares = momentSquares(options);
  return withTrainingData(
    acts,
    labels,
    options,
    async (data) => {
      const { backend, source, moments } = data;
      const { signal } = options;
      const steps = [...new Set(schedule)].filter((k) => k <= source.neurons).sort((a, b) => b - a);
      const sizes = ks ?? [...schedule].filter((k) => k <= source.neurons);
      assertSupportSizes(sizes, source.neurons);
      const scores = scoreNeurons(moments, 0, options.ranking ?? "mean-difference");
      const start = strongest(scores, Math.max(...sizes, ...steps));
      const columns = await source.columns(start, { signal });
      // Every step reads some of these columns: gathered once, also where the backend holds all of them.
      const gathered = columns.neurons
        ? columns.x
        : await backend.upload(await backend.gatherColumns(columns.x, start, { signal }), { signal });
      try {
        return await fitOnGathered(data, gathered, start, sizes, steps, options);
      } finally {
        if (gathered !== columns.x) gathered.dispose();
      }
    },
    squares,
  );
}

/** @param start the neurons that the columns of x are, strongest first */
async function fitOnGathered(
  { backend, labels, moments, origin }: TrainingData,
  x: DeviceActivations,
  start: Uint32Array,
  sizes: readonly number[],
  schedule: readonly number[],
  options: AdaptiveOptions,
): Promise<ProbeRecord[]> {
  const { refit = true, signal, onProgress } = options;
  const settings = probeSettings(options);
  const ranking = `adaptive-thresholding(${settings.ranking})`;
  const transform = standardisation(settings.standardise, moments, 0);
  const balanced = settings.classWeight === "balanced";
  const { center, scale } = transform;
  const fitNet = async (k: number, before: Step | undefined): Promise<Step> => {
    const ranked = before?.order ?? Array.from(start.keys());
    const top = ranked.slice(0, k);
    const problem = {
      feature: 0,
      ...adaptiveStrength(k),
      support: Uint32Array.from(top),
      center: Float64Array.from(top, (at) => center[start[at]]),
      scale: Float64Array.from(top, (at) => scale[start[at]]),
      ...(before && { start: before.fit }),
    };
    const [fit] = await backend.fitLogisticL1(x, labels, [problem], {
      balanced,
      tolerance: TOLERANCE,
      maxIterations: L1_MAX_ITERATIONS,
      signal,
    });
    const coefficient = new Map(Array.from(fit.support, (at, c) => [at, fit.coefficients[c]]));
    const size = (at: number): number => Math.abs(coefficient.get(at) ?? 0);
    // The sort is stable: neurons that the penalty has set to zero stay in the order that they came in.
    const order = top.sort((a, b) => size(b) - size(a));
    return { k, order, coefficients: order.map((at) => coefficient.get(at) ?? 0), fit };
  };
  // A k between two sizes of the schedule is cut from the same ranking as the lower one, and changes nothing for others.
  const asked = [...new Set([...schedule.filter((k) => k > Math.min(...sizes)), ...sizes])].sort(
    (a, b) => b - a,
  );
  const total = asked.length + (refit ? sizes.length : 0);
  const byK = new Map<number, Step>();
  let ranked: Step | undefined;
  for (const k of asked) {
    const step = await fitNet(k, ranked);
    byK.set(k, step);
    if (schedule.includes(k)) ranked = step;
    onProgress?.(byK.size, total);
  }
  const chosen = sizes.map((k) => byK.get(k)!);
  if (!refit) {
    return chosen.map(({ k, order, coefficients, fit }) => {
      const { C, l1Ratio } = adaptiveStrength(k);
      const neurons = order.map((at) => start[at]);
      const own = { ...settings, C, ranking, tolerance: TOLERANCE, maxIterations: L1_MAX_ITERATIONS };
      const { intercept, convergence } = fit;
      return l1Record(
        { neurons, coefficients, intercept, convergence },
        labels,
        transform,
        origin,
        own,
        l1Ratio,
      );
    });
  }
  const supports = chosen.map(({ order, coefficients }) => ({
    feature: 0,
    neurons: Uint32Array.from(order, (at) => start[at]),
    scores: Float64Array.from(coefficients),
  }));
  const records = await fitRecords(backend, { x, neurons: start }, labels, supports, moments, origin, {
    ...options,
    signal,
    onProgress: onProgress && ((done) => onProgress(asked.length + done, total)),
  });
  return records.map((record, p) => {
    const { convergence } = record;
    const converged = convergence.converged && chosen[p].fit.convergence.converged;
    return {
      ...record,
      convergence: { ...convergence, converged },
      options: { ...record.options, ranking },
    };
  });
}

/** @throws OptionError when a size is not a whole number of at least 1, or there is none */
function assertSchedule(schedule: readonly number[]): void {
  if (schedule.length > 0 && schedule.every((k) => Number.isInteger(k) && k >= 1)) return;
  throw new OptionError(
    `The schedule is ${JSON.stringify(schedule)}.`,
    "Give support sizes, whole numbers of at least 1.",
  );
}
