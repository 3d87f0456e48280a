/** Fits regression probes: one pass for the moments of all targets, a ranking each, and one gather for all supports. */
import { Pacer } from "../backends/cpu/pacer.ts";
import { asOneClass, type TargetMoments } from "../data/target-moments.ts";
import { readTarget, type TargetSets, type TargetsInput } from "../data/targets.ts";
import { standardisation, type ColumnTransform } from "../data/standardisation.ts";
import { EmptyDataError, NonFiniteError, OptionError, ShapeError, SparseProbeError } from "../errors.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import { K_SCHEDULE } from "../probes/sparse-probe.ts";
import { RealInformation } from "../ranking/mutual-information.ts";
import { assertSupportSizes, strongest, strongestOf } from "../ranking/ranking.ts";
import { correlation } from "../ranking/regression-ranking.ts";
import { Design } from "./design.ts";
import { fitElasticNet } from "./elastic-net.ts";
import { FittedRegression } from "./fitted-regression.ts";
import {
  MOMENT_RANKINGS,
  regressionSettings,
  type FitRegressionOptions,
  type RegressionOptions,
  type RegressionSettings,
} from "./regression-options.ts";
import { regressionFromJson, type RegressionRecord } from "./regression-record.ts";
import { fitRidge } from "./ridge.ts";
import { openTrainingData, type TrainingData } from "./training-data.ts";

/** Columns up to which a fit forms its Gram matrix; more are fitted without one. */
const GRAM_LIMIT = 1024;

/** Values of columns that mutual information holds at a time. */
const RANKED_VALUES = 2 ** 26;

/** A regression probe that could not be fitted, and why. */
export interface RegressionFailure {
  readonly target: string;
  readonly k: number;
  readonly error: SparseProbeError;
}

/** How regression probes are made; see `RegressionProbe`. */
export interface RegressionProbes {
  /**
   * Fits one probe on the k strongest neurons.
   *
   * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
   * @param targets one number per row; rows that have none must be left out by `rows`
   * @param k neurons to read, 1 … number of neurons
   * @throws ShapeError | EmptyDataError | NonFiniteError | SupportSizeError | OptionError
   * @throws OneClassError when the target has one value in all training rows
   */
  fit(
    acts: ActivationSource,
    targets: TargetsInput,
    k: number,
    options?: FitRegressionOptions,
  ): Promise<FittedRegression>;

  /**
   * Fits one target at several k; the supports are nested, and every probe is that of `fit`.
   *
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons
   * @returns one probe per k, in the order given
   * @throws what `fit` throws
   */
  path(
    acts: ActivationSource,
    targets: TargetsInput,
    ks?: readonly number[],
    options?: FitRegressionOptions,
  ): Promise<FittedRegression[]>;

  /**
   * Fits several targets at several k; they share the pass over the activations. A target that cannot be fitted is
   * reported, and the others are fitted all the same.
   *
   * @param targetSets by name, each one number per row
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons
   * @returns probes by target, then by k in the order given, and failures by target and k
   * @throws ShapeError | EmptyDataError | NonFiniteError | SupportSizeError | OptionError for what concerns all alike
   */
  fitMany(
    acts: ActivationSource,
    targetSets: TargetSets,
    ks?: readonly number[],
    options?: Omit<FitRegressionOptions, "target">,
  ): Promise<{ probes: FittedRegression[]; failures: RegressionFailure[] }>;

  /**
   * Reads what `toJSON` wrote, after `JSON.parse`.
   * @throws FormatError naming the first field that is wrong
   */
  fromJSON(json: unknown): Promise<FittedRegression>;
}

/** A target that can be fitted. */
interface ReadTarget {
  readonly name: string;
  /** On the training rows. */
  readonly values: Float64Array;
}

/** The neurons of one target, strongest first, as many as the largest k. */
interface RankedTarget extends ReadTarget {
  /** Place of the target in the moments. */
  readonly at: number;
  readonly order: Uint32Array;
  readonly scores: Float64Array;
}

/** {@link RegressionProbes.fit} */
export async function fitRegression(
  acts: ActivationSource,
  targets: TargetsInput,
  k: number,
  options?: FitRegressionOptions,
): Promise<FittedRegression> {
  const [probe] = await fitRegressionPath(acts, targets, [k], options);
  return probe;
}

/** {@link RegressionProbes.path} */
export async function fitRegressionPath(
  acts: ActivationSource,
  targets: TargetsInput,
  ks?: readonly number[],
  options: FitRegressionOptions = {},
): Promise<FittedRegression[]> {
  const sets = { [options.target ?? "target"]: targets };
  const { probes, failures } = await fitRegressions(acts, sets, ks, options);
  if (failures.length > 0) throw failures[0].error;
  return probes;
}

/** {@link RegressionProbes.fitMany} */
export async function fitRegressions(
  acts: ActivationSource,
  targetSets: TargetSets,
  ks?: readonly number[],
  options: Omit<FitRegressionOptions, "target"> = {},
): Promise<{ probes: FittedRegression[]; failures: RegressionFailure[] }> {
  const { signal, onProgress } = options;
  regressionSettings(options);
  signal?.throwIfAborted();
  const names = Object.keys(targetSets);
  if (names.length === 0) throw new EmptyDataError("There are no targets.", "Give at least one.");
  const data = await openTrainingData(acts, options.rows, options.backend, { signal });
  try {
    const settings = regressionSettings(options, data.neurons);
    const most = Math.min(data.neurons, options.prefilter ?? Infinity);
    const sizes = ks ?? K_SCHEDULE.filter((k) => k <= most);
    assertSupportSizes(sizes, data.neurons, most);
    const largest = Math.max(...sizes);
    const failures: RegressionFailure[] = [];
    const usable: ReadTarget[] = [];
    const attempt = async (name: string, work: () => Promise<void> | void) => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof SparseProbeError) || error instanceof OptionError) throw error;
        failures.push(...sizes.map((k) => ({ target: name, k, error })));
      }
    };
    for (const name of names) {
      await attempt(name, () => {
        usable.push({ name, values: readTarget(name, targetSets[name], data.sourceRows, data.rows) });
      });
    }
    if (usable.length === 0) return { probes: [], failures };
    const moments = await data.moments(
      usable.map(({ values }) => values),
      { signal },
    );
    assertFiniteMoments(moments);
    const ranked: RankedTarget[] = [];
    for (const [at, target] of usable.entries()) {
      await attempt(target.name, async () => {
        ranked.push({
          ...target,
          at,
          ...(await rankFor(data, moments, target, at, largest, settings, options)),
        });
      });
    }
    if (ranked.length === 0) return { probes: [], failures };
    const transform = standardisation(settings.standardise, asOneClass(moments), 0);
    const neurons = Uint32Array.from(new Set(ranked.flatMap(({ order }) => Array.from(order)))).sort();
    const columns = await data.columns(neurons, { signal });
    const place = new Map(Array.from(neurons, (neuron, c) => [neuron, columns[c]]));
    const pacer = new Pacer(signal);
    const widest = Math.max(0, ...sizes.filter((k) => k <= GRAM_LIMIT));
    const shared = await sharedGram(ranked, widest, place, moments, transform, pacer);
    const probes: FittedRegression[] = [];
    const origin = provenanceOf(data, options);
    for (const target of ranked) {
      const support = Array.from(target.order, (j) => place.get(j)!);
      const design = designOf(target.order, support, moments, transform, pacer);
      const gram = shared?.(target.order.subarray(0, widest)) ?? (await design.gram(widest));
      const onDone = (done: number) => onProgress?.(probes.length + done, ranked.length * sizes.length);
      const fits = await fitTarget(target, design, gram, sizes, moments, transform, settings, pacer, onDone);
      probes.push(...fits.map((record) => new FittedRegression({ ...record, provenance: origin })));
    }
    return { probes, failures };
  } finally {
    data.close();
  }
}

/** {@link RegressionProbes.fromJSON} */
export function readRegression(json: unknown): FittedRegression {
  return new FittedRegression(regressionFromJson(json));
}

/** The centred and scaled columns of some neurons. */
function designOf(
  neurons: Uint32Array,
  columns: readonly Float32Array[],
  moments: TargetMoments,
  transform: ColumnTransform,
  pacer: Pacer,
): Design {
  const mean = Float64Array.from(neurons, (j) => moments.mean[j]);
  const scale = Float64Array.from(neurons, (j) => transform.scale[j]);
  return new Design(columns, mean, scale, moments.count, pacer);
}

/**
 * One Gram matrix for the supports of all targets, where that is less work than one for each: a function that picks a
 * support's part of it. Its entries have the same bits as those of a matrix of that support alone.
 */
async function sharedGram(
  ranked: readonly RankedTarget[],
  widest: number,
  columns: ReadonlyMap<number, Float32Array>,
  moments: TargetMoments,
  transform: ColumnTransform,
  pacer: Pacer,
): Promise<((support: Uint32Array) => Float64Array) | undefined> {
  const union = new Set(ranked.flatMap(({ order }) => Array.from(order.subarray(0, widest))));
  const size = union.size;
  if (ranked.length < 2 || size > GRAM_LIMIT || size * size > ranked.length * widest * widest)
    return undefined;
  const neurons = Uint32Array.from(union).sort();
  const values = Array.from(neurons, (j) => columns.get(j)!);
  const gram = await designOf(neurons, values, moments, transform, pacer).gram(size);
  const place = new Map(Array.from(neurons, (neuron, c) => [neuron, c]));
  return (support) => {
    const at = Array.from(support, (j) => place.get(j)!);
    const out = new Float64Array(at.length * at.length);
    for (const [r, from] of at.entries()) {
      for (const [c, to] of at.entries()) out[r * at.length + c] = gram[from * size + to];
    }
    return out;
  };
}

/** The probes of one target on the columns of its ranking. */
async function fitTarget(
  { name, values, at, order, scores }: RankedTarget,
  design: Design,
  gram: Float64Array,
  sizes: readonly number[],
  moments: TargetMoments,
  transform: ColumnTransform,
  settings: RegressionSettings,
  pacer: Pacer,
  onDone: (done: number) => void,
): Promise<Omit<RegressionRecord, "provenance">[]> {
  const mean = Float64Array.from(order, (j) => moments.mean[j]);
  const center = Float64Array.from(order, (j) => transform.center[j]);
  const scale = Float64Array.from(order, (j) => transform.scale[j]);
  const average = moments.targetMean[at];
  const y = values.map((value) => value - average);
  const widest = Math.sqrt(gram.length);
  const records: Omit<RegressionRecord, "provenance">[] = [];
  for (const k of sizes) {
    const leading = k <= GRAM_LIMIT ? leadingBlock(gram, widest, k) : undefined;
    const { coefficients, convergence } =
      settings.penalty === "ridge"
        ? await fitRidge(design, leading, y, k, settings, pacer)
        : await fitElasticNet(design, leading, y, k, { ...settings, l1Ratio: settings.l1Ratio! }, pacer);
    // The design is centred at the mean of the rows whatever is subtracted from the probe's columns.
    let intercept = average;
    for (let c = 0; c < k; c++) intercept -= coefficients[c] * ((mean[c] - center[c]) / scale[c]);
    const support = order.subarray(0, k);
    records.push({
      target: name,
      neurons: moments.neurons,
      support: Array.from(support),
      scores: Array.from(support, (j) => scores[j]),
      coefficients: Array.from(coefficients),
      intercept,
      center: Array.from(center.subarray(0, k)),
      scale: Array.from(scale.subarray(0, k)),
      convergence,
      options: settings,
    });
    onDone(records.length);
    if (pacer.due) await pacer.turn();
  }
  return records;
}

/** The first k rows and columns of a matrix [size × size]. */
function leadingBlock(matrix: Float64Array, size: number, k: number): Float64Array {
  const out = new Float64Array(k * k);
  for (let r = 0; r < k; r++) out.set(matrix.subarray(r * size, r * size + k), r * k);
  return out;
}

/** The k strongest neurons for one target, and the scores of all; those that mutual information does not look at have 0. */
async function rankFor(
  data: TrainingData,
  moments: TargetMoments,
  { name, values }: ReadTarget,
  at: number,
  k: number,
  settings: RegressionSettings,
  options: RegressionOptions,
): Promise<Pick<RankedTarget, "order" | "scores">> {
  const { ranking = "correlation", prefilter = Infinity } = options;
  const most = Math.min(prefilter, moments.neurons);
  const candidates = strongest(correlation(moments, at), most).sort();
  if (ranking !== "mutual-information") {
    const rank = typeof ranking === "function" ? ranking : MOMENT_RANKINGS[ranking];
    const scores = checkedScores(rank(moments, at), moments.neurons);
    return { scores, order: strongestOf(scores, k, candidates) };
  }
  const pacer = new Pacer(options.signal);
  const scores = new Float64Array(moments.neurons);
  const information = new RealInformation(values, settings);
  const width = Math.max(1, Math.floor(RANKED_VALUES / values.length));
  for (let from = 0; from < candidates.length; from += width) {
    const neurons = candidates.subarray(from, from + width);
    const columns = await data.columns(neurons, { signal: options.signal });
    for (const [c, neuron] of neurons.entries()) {
      scores[neuron] = information.of(columns[c], `mutual information of neuron ${neuron} and ${name}`);
      if (pacer.due) await pacer.turn();
    }
  }
  return { scores, order: strongestOf(scores, k, candidates) };
}

function checkedScores(scores: Float64Array, neurons: number): Float64Array {
  if (scores.length !== neurons) {
    throw new ShapeError(
      `The ranking gave ${scores.length} scores for ${neurons} neurons.`,
      "Return one score per neuron.",
    );
  }
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad < 0) return scores;
  throw new NonFiniteError(
    `The score of neuron ${bad} is ${scores[bad]}.`,
    "Remove rows that are not finite, or mend the ranking function.",
  );
}

function assertFiniteMoments({ neurons, mean, sumOfSquares }: TargetMoments): void {
  for (let j = 0; j < neurons; j++) {
    if (Number.isFinite(mean[j]) && Number.isFinite(sumOfSquares[j])) continue;
    throw new NonFiniteError(
      `Neuron ${j} is NaN or infinite in a training row.`,
      "Leave such rows out, or store the activations in a type with a larger range.",
    );
  }
}

function provenanceOf(data: TrainingData, options: FitRegressionOptions): RegressionRecord["provenance"] {
  const { model, hookPoint, aggregation } = { ...data.provenance, ...options.provenance };
  return {
    backend: options.backend?.info.kind ?? "cpu",
    ...(model !== undefined && { model }),
    ...(hookPoint !== undefined && { hookPoint }),
    ...(aggregation !== undefined && { aggregation }),
  };
}
