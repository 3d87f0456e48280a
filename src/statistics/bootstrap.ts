/** Bootstrap intervals of metrics; the work of `bootstrapMetrics` and `bootstrapProbe`. */
import { deepFreeze } from "./deep-freeze.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { CallOptions } from "../backends/backend.ts";
import type { GroupId } from "../data/activations.ts";
import { OptionError, ShapeError } from "../errors.ts";
import { evaluateBinary, METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import { Random } from "../random.ts";
import { assertMetric, mean, sampleDeviation } from "./compare-metrics.ts";
import { normalCdf, normalQuantile } from "./normal-distribution.ts";
import { assertCount, groupNumbers } from "./study.ts";
import { WeightedMetrics } from "./weighted-metrics.ts";

/** Parts that the acceleration of BCa is estimated from, at most: each is left out once. */
const JACKKNIFE_PARTS = 1000;

/**
 * - `"percentile"`: quantiles of the resampled metric
 * - `"bca"`: quantiles corrected for bias and for a spread that changes with the metric (Efron 1987)
 */
export type IntervalMethod = "percentile" | "bca";

const INTERVAL_METHODS: readonly IntervalMethod[] = ["percentile", "bca"];

export interface BootstrapOptions extends CallOptions {
  /** Document of each row: whole groups are drawn. Default: single rows. */
  readonly groups?: ArrayLike<GroupId> | undefined;
  /** Probability of the positive class by row, for the log-loss. Without them it is null. */
  readonly probabilities?: ArrayLike<number> | undefined;
  /** Default 1000. */
  readonly resamples?: number | undefined;
  /** Share of the distribution that an interval covers. Default 0.95. */
  readonly level?: number | undefined;
  /** Default `"percentile"`. */
  readonly method?: IntervalMethod | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Default: all. */
  readonly metrics?: readonly MetricName[] | undefined;
  /** Called with the number of resamples that are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** One metric with its uncertainty. */
export interface MetricInterval {
  /** On the rows as they are; null where the metric is undefined. */
  readonly estimate: number | null;
  readonly low: number | null;
  readonly high: number | null;
  /** Standard deviation over the resamples; null with the interval. */
  readonly standardError: number | null;
  /** Resamples in which the metric is undefined; they are left out of the interval. */
  readonly undefinedResamples: number;
  /** Why the estimate or the interval is null. */
  readonly undefinedBecause?: string;
}

export interface BootstrapResult {
  readonly level: number;
  readonly method: IntervalMethod;
  readonly resamples: number;
  readonly seed: number;
  /** What was drawn with replacement. */
  readonly unit: "row" | "group";
  readonly units: number;
  readonly positives: number;
  readonly negatives: number;
  /** By metric, those asked for. */
  readonly metrics: Readonly<Partial<Record<MetricName, MetricInterval>>>;
}

/** A bootstrap of every metric. */
export type FullBootstrapResult = BootstrapResult & {
  readonly metrics: Readonly<Record<MetricName, MetricInterval>>;
};

export async function runBootstrap(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options: BootstrapOptions = {},
): Promise<BootstrapResult> {
  const { resamples = 1000, level = 0.95, method = "percentile", seed = 0, signal, groups } = options;
  const { probabilities, metrics: names = METRIC_NAMES } = options;
  assertBootstrap(options);
  if (groups && groups.length !== labels.length) {
    throw new ShapeError(
      `There are ${groups.length} groups for ${labels.length} rows.`,
      "Give one group per row.",
    );
  }
  const pacer = new Pacer(signal);
  const estimate = evaluateBinary(labels, scores, probabilities);
  if (pacer.due) await pacer.turn();
  const unitOf = groups ? groupNumbers(groups) : Uint32Array.from({ length: labels.length }, (_, i) => i);
  const units = unitOf.reduce((most, unit) => Math.max(most, unit + 1), 0);
  const weighted = new WeightedMetrics(labels, scores, probabilities, unitOf);
  const weights = new Uint32Array(units);
  const drawn = new Float64Array(METRIC_NAMES.length * resamples);
  // One unit is the same in every resample: its intervals would claim to be exact.
  for (let r = 0; r < resamples && units > 1; r++) {
    const random = new Random(seed, `bootstrap ${r}`);
    weights.fill(0);
    for (let u = 0; u < units; u++) weights[random.below(units)]++;
    weighted.evaluate(weights, drawn, r, resamples);
    options.onProgress?.(r + 1, resamples);
    if (pacer.due) await pacer.turn();
  }
  const accelerations = method === "bca" && units > 1 ? await jackknife(weighted, units, seed, pacer) : null;
  const metrics: Partial<Record<MetricName, MetricInterval>> = {};
  for (const name of names) {
    const m = METRIC_NAMES.indexOf(name);
    metrics[name] = intervalOf(
      estimate[name],
      estimate.undefinedBecause[name],
      drawn.subarray(m * resamples, (m + 1) * resamples),
      { level, units, acceleration: accelerations?.[m] },
    );
  }
  return deepFreeze({
    level,
    method,
    resamples,
    seed,
    unit: groups ? "group" : "row",
    units,
    positives: estimate.positives,
    negatives: estimate.negatives,
    metrics,
  });
}

/** @throws OptionError for a number of resamples, a level, a method or a metric that there cannot be */
export function assertBootstrap(
  options: Pick<BootstrapOptions, "resamples" | "level" | "method" | "metrics">,
): void {
  const { resamples = 1000, level = 0.95, method = "percentile", metrics = [] } = options;
  assertCount("resamples", resamples, 2);
  if (!(level > 0 && level < 1)) {
    throw new OptionError(`The level is ${level}.`, "Give a share between 0 and 1, such as 0.95.");
  }
  if (!INTERVAL_METHODS.includes(method)) {
    throw new OptionError(`The method ${JSON.stringify(method)} is not known.`, 'Use "percentile" or "bca".');
  }
  for (const name of metrics) assertMetric(name);
}

/** Interval of one metric from its resamples; NaN where it is undefined in one. */
export function intervalOf(
  estimate: number | null,
  reason: string | undefined,
  drawn: Float64Array,
  about: { level: number; units: number; acceleration: number | undefined },
): MetricInterval {
  const { level, units, acceleration: bend } = about;
  const none = { low: null, high: null, standardError: null };
  if (estimate === null) {
    return { estimate, ...none, undefinedResamples: 0, ...(reason && { undefinedBecause: reason }) };
  }
  if (units === 1) {
    return { estimate, ...none, undefinedResamples: 0, undefinedBecause: "there is one group alone" };
  }
  const defined = drawn.filter((value) => !Number.isNaN(value)).sort();
  const undefinedResamples = drawn.length - defined.length;
  // As many as lie beyond one end could all have been beyond it.
  const tail = (1 - level) / 2;
  if (undefinedResamples > tail * drawn.length || defined.length < 2) {
    const undefinedBecause = `undefined in ${undefinedResamples} of ${drawn.length} resamples`;
    return { estimate, ...none, undefinedResamples, undefinedBecause };
  }
  const [low, high] = levels(estimate, defined, tail, bend);
  return {
    estimate,
    low: quantile(defined, low),
    high: quantile(defined, high),
    standardError: sampleDeviation(defined),
    undefinedResamples,
  };
}

/** Probabilities at which the resampled metric is read. */
function levels(
  estimate: number,
  sorted: Float64Array,
  tail: number,
  bend: number | undefined,
): [number, number] {
  if (bend === undefined) return [tail, 1 - tail];
  let below = 0;
  let equal = 0;
  for (const value of sorted) {
    if (value < estimate) below++;
    else if (value === estimate) equal++;
  }
  const bias = normalQuantile((below + equal / 2) / sorted.length);
  // The estimate lies outside of everything drawn: there is nothing to correct by.
  if (!Number.isFinite(bias)) return [tail, 1 - tail];
  const at = (p: number): number => {
    const shifted = bias + normalQuantile(p);
    return normalCdf(bias + shifted / (1 - bend * shifted));
  };
  return [at(tail), at(1 - tail)];
}

/** Quantile of sorted values, interpolated linearly between order statistics. */
export function quantile(sorted: ArrayLike<number>, p: number): number {
  const position = Math.min(1, Math.max(0, p)) * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

/**
 * Acceleration of each metric, Σ(θ̄ − θ_i)³/(6·(Σ(θ̄ − θ_i)²)^1.5), where θ_i leaves out part i of the units: one unit,
 * or random parts of equal size where there are very many. 0 where a metric never changes or is undefined.
 */
async function jackknife(
  weighted: WeightedMetrics,
  units: number,
  seed: number,
  pacer: Pacer,
): Promise<number[]> {
  const left = jackknifeParts(units, seed);
  const parts = left.length;
  const values = new Float64Array(METRIC_NAMES.length * parts);
  const weights = new Uint32Array(units);
  for (const [p, without] of left.entries()) {
    weights.fill(1);
    for (const u of without) weights[u] = 0;
    weighted.evaluate(weights, values, p, parts);
    if (pacer.due) await pacer.turn();
  }
  return METRIC_NAMES.map((_, m) => acceleration(values.subarray(m * parts, (m + 1) * parts)));
}

/** The units that the jackknife leaves out together, part by part. */
export function jackknifeParts(units: number, seed: number): number[][] {
  const count = Math.min(units, JACKKNIFE_PARTS);
  const order = Uint32Array.from({ length: units }, (_, u) => u);
  if (count < units) new Random(seed, "jackknife").shuffle(order);
  const parts = Array.from({ length: count }, (): number[] => []);
  for (const [at, u] of order.entries()) parts[at % count].push(u);
  return parts;
}

/** Acceleration of a metric from its values without each part; NaN where it is undefined. */
export function acceleration(values: Float64Array): number {
  const left = values.filter((v) => !Number.isNaN(v));
  const centre = mean(left) ?? 0;
  const squares = left.reduce((sum, v) => sum + (centre - v) ** 2, 0);
  const cubes = left.reduce((sum, v) => sum + (centre - v) ** 3, 0);
  return squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
}
