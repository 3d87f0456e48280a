/** Rankings that read more than moments, of open activations. Loaded when one is asked for. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { UNLABELLED, type LabelMatrix, type LabelSets, type RowSelection } from "../data/labels.ts";
import { standardisation } from "../data/standardisation.ts";
import { OptionError, ShapeError } from "../errors.ts";
import { countBlock, HistogramInformation } from "../ranking/histogram-information.ts";
import { fitLinearSvm } from "../ranking/linear-svm.ts";
import { ClassInformation } from "../ranking/mutual-information.ts";
import {
  checkedScores,
  eligibleNeurons,
  rankingOf,
  resolveRanking,
  scoreNeurons,
  strongestOf,
  type Ranking,
  type RankingOptions,
  type ResolvedRanking,
} from "../ranking/ranking.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "./activation-source.ts";
import { ColumnAccess, type ColumnSource } from "./column-access.ts";
import { assertUsable, featureError, type NeuronScores, type ProbeFailure } from "./fit-supports.ts";
import { momentSquares, probeSettings, type ProbeOptions } from "./probe-options.ts";
import type { TrainingData } from "./training-data.ts";

export interface RankSourceOptions
  extends Pick<ProbeOptions, "ranking" | "prefilter" | "seed" | "standardise">, CallOptions {
  /**
   * Called with neurons done and in all; with features where all neurons are fitted together, and with rows where one pass
   * over blocks is enough.
   */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Duality gap per unit of weight of the L1 ranking's fits, and their steps at most. */
const L1_TOLERANCE = 1e-10;
const L1_ITERATIONS = 1000;

/** Relative duality gap of the SVM ranking's fits, and their passes at most: the last digits take most of the passes. */
const SVM_TOLERANCE = 1e-4;
const SVM_EPOCHS = 5000;

export interface RankActivationsOptions extends RankingOptions, CallOptions {
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend;
  /** Rows to rank by, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /**
   * Called as a ranking that reads values goes on: with neurons done and in all; with features where all neurons are fitted
   * together, and with rows where one pass over blocks is enough.
   */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The work of `rankActivations`, where its promises are written. */
export async function rankSets(
  acts: ActivationSource,
  sets: Pick<LabelSets, "labels" | "failures">,
  options: RankActivationsOptions,
): Promise<{ rankings: Ranking[]; failures: Omit<ProbeFailure, "k">[] }> {
  probeSettings(options);
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const source = await openActivations(acts, backend, { signal });
  try {
    const failures: Omit<ProbeFailure, "k">[] = [...sets.failures];
    const rankings: Ranking[] = [];
    if (sets.labels.features.length === 0) return { rankings, failures };
    if (sets.labels.rows !== source.rows) {
      throw new ShapeError(
        `There are ${sets.labels.rows} labels for ${source.rows} rows.`,
        "Give one label per row.",
      );
    }
    const labels = rows ? sets.labels.restrictedTo(rows) : sets.labels;
    const { ranked } = await rankSource(backend, source, labels, { standardise: "none", ...options });
    for (const one of ranked) {
      if (one.error) failures.push({ feature: one.name, error: one.error });
      else rankings.push(rankingOf(one.name, one.scores, one.eligible, one.converged));
    }
    return { rankings, failures };
  } finally {
    source.close();
  }
}

/** Class moments, and scores of every feature's neurons. */
export async function rankSource(
  backend: Backend,
  source: OpenActivations,
  labels: LabelMatrix,
  options: RankSourceOptions,
): Promise<{ moments: ClassMoments; ranked: NeuronScores[] }> {
  const { signal } = options;
  const squares = momentSquares(options);
  const { name, score } = resolveRanking(options.ranking);
  // The one ranking of values that needs no second pass.
  const histograms =
    source.streamed && !score && name === "mutual-information-histogram"
      ? labels.features.map(() => new HistogramInformation(source.neurons))
      : undefined;
  const moments = await source.classMoments(labels, {
    signal,
    squares,
    observe: histograms
      ? async (block, start) => {
          await countBlock(histograms, block, labels, start, signal);
          options.onProgress?.(start + block.rows, source.rows);
        }
      : undefined,
  });
  const seen = histograms?.map((histogram) => histogram.scores());
  return { moments, ranked: await rankColumns(backend, source, labels, moments, options, seen) };
}

/**
 * Scores of every feature's neurons, from moments and columns.
 * @param seen scores of all neurons by feature that a pass before has given
 */
export async function rankColumns(
  backend: Backend,
  source: ColumnSource,
  labels: LabelMatrix,
  moments: ClassMoments,
  options: RankSourceOptions,
  seen?: readonly Float64Array[],
): Promise<NeuronScores[]> {
  const { prefilter } = options;
  const ranking = resolveRanking(options.ranking);
  const ranked = new Map<number, NeuronScores>();
  const tasks: Task[] = [];
  for (const [f, name] of labels.features.entries()) {
    try {
      assertUsable(moments, f, name);
      const kept = eligibleNeurons(moments, f, prefilter);
      const eligible = kept ?? Uint32Array.from({ length: moments.neurons }, (_, j) => j);
      const scores = seen?.[f] ?? new Float64Array(moments.neurons);
      tasks.push({ feature: f, name, kept, eligible, scores, converged: true });
    } catch (error) {
      ranked.set(f, { feature: f, name, error: featureError(error) });
    }
  }
  const access = new ColumnAccess(backend, source, { signal: options.signal });
  try {
    if (!seen) {
      const job: Job = { backend, access, labels, moments, ranking, options, tasks, failed: ranked };
      await (ranking.score ? scoreByFunction(job) : scorerOf(ranking.name)(job));
    }
  } finally {
    access.close();
  }
  for (const { feature, name, kept, scores, converged } of tasks) {
    if (!ranked.has(feature)) ranked.set(feature, { feature, name, scores, eligible: kept, converged });
  }
  return Array.from(labels.features.keys(), (f) => ranked.get(f)!);
}

/**
 * The strongest neurons of the first feature, and the scores of all.
 * @throws OneClassError | NonFiniteError when the feature cannot be ranked
 */
export async function rankFirst(
  { backend, source, labels, moments }: Pick<TrainingData, "backend" | "source" | "labels" | "moments">,
  count: number,
  options: RankSourceOptions,
): Promise<{ ranked: Uint32Array; scores: Float64Array }> {
  const [first] = await rankColumns(backend, source, labels, moments, { ...options, onProgress: undefined });
  if (first.error) throw first.error;
  return { ranked: strongestOf(first.scores, count, first.eligible), scores: first.scores };
}

/** A feature whose neurons are to be scored; `scores` is filled in. */
interface Task {
  readonly feature: number;
  readonly name: string;
  /** What the pre-filter kept; undefined where that is everything. */
  readonly kept: Uint32Array | undefined;
  readonly eligible: Uint32Array;
  readonly scores: Float64Array;
  converged: boolean;
}

interface Job {
  readonly backend: Backend;
  readonly access: ColumnAccess;
  readonly labels: LabelMatrix;
  readonly moments: ClassMoments;
  readonly ranking: ResolvedRanking;
  readonly options: RankSourceOptions;
  readonly tasks: readonly Task[];
  /** Features that turn out not to have a ranking. */
  readonly failed: Map<number, NeuronScores>;
}

function scorerOf(name: string): (job: Job) => Promise<void> {
  switch (name) {
    case "mutual-information":
      return scoreByInformation;
    case "mutual-information-histogram":
      return scoreByHistogram;
    case "l1-logistic":
      return scoreByL1;
    case "linear-svm":
      return scoreBySvm;
    default:
      return scoreByMoments;
  }
}

async function scoreByFunction(job: Job): Promise<void> {
  const { backend, access, labels, moments, ranking, options, tasks, failed } = job;
  for (const [t, { feature, name, eligible, scores }] of tasks.entries()) {
    try {
      const given = await ranking.score!(moments, feature, {
        name,
        labels: labels.of(feature),
        eligible,
        backend,
        seed: options.seed ?? 0,
        signal: options.signal,
        columns: (neurons) => access.host(neurons),
        deviceColumns: (neurons) => access.device(neurons),
      });
      scores.set(checkedScores(given, moments.neurons));
    } catch (error) {
      failed.set(feature, { feature, name, error: featureError(error) });
    }
    options.signal?.throwIfAborted();
    options.onProgress?.(t + 1, tasks.length);
  }
}

function scoreByMoments({ moments, ranking, options, tasks, failed }: Job): Promise<void> {
  const { seed = 0 } = options;
  for (const { feature, name, scores } of tasks) {
    try {
      scores.set(scoreNeurons(moments, feature, ranking.name as never, { name, seed }));
    } catch (error) {
      failed.set(feature, { feature, name, error: featureError(error) });
    }
  }
  return Promise.resolve();
}

async function scoreByInformation(job: Job): Promise<void> {
  const { labels, ranking, options } = job;
  const information = job.tasks.map(
    ({ feature }) => new ClassInformation(labels.of(feature), ranking.neighbours),
  );
  await visitColumns(job, (t, j, column) => {
    job.tasks[t].scores[j] = information[t].of(column, { seed: options.seed, key: String(j) });
  });
}

async function scoreByHistogram(job: Job): Promise<void> {
  await visitColumns(job, (t, j, column) => {
    const histogram = new HistogramInformation(1);
    histogram.add(column, job.labels.of(job.tasks[t].feature));
    job.tasks[t].scores[j] = histogram.scores()[0];
  });
}

/** Hands every eligible neuron's values to `use`, for each task. */
async function visitColumns(
  { access, tasks, options, labels }: Job,
  use: (task: number, neuron: number, column: Float32Array) => void,
): Promise<void> {
  const pacer = new Pacer(options.signal);
  const wanted = new Map<number, number[]>();
  for (const [t, { eligible }] of tasks.entries()) {
    for (const j of eligible) {
      const list = wanted.get(j);
      if (list) list.push(t);
      else wanted.set(j, [t]);
    }
  }
  const neurons = Uint32Array.from(wanted.keys()).sort();
  const column = new Float32Array(labels.rows);
  let done = 0;
  for await (const block of access.blocks(neurons)) {
    const values = block.columns.toFloat32();
    const width = block.neurons.length;
    for (const [c, j] of block.neurons.entries()) {
      for (let i = 0; i < column.length; i++) column[i] = values[i * width + c];
      for (const t of wanted.get(j)!) {
        use(t, j, column);
        if (pacer.due) await pacer.turn();
      }
      options.onProgress?.(++done, neurons.length);
    }
  }
}

async function scoreByL1({ backend, access, labels, moments, ranking, options, tasks }: Job): Promise<void> {
  const C = strength(ranking.C, 0.1);
  for (const [t, task] of tasks.entries()) {
    const { feature, eligible, scores } = task;
    const { center, scale } = standardisation("standard", moments, feature);
    const of = (values: Float64Array) => Float64Array.from(eligible, (j) => values[j]);
    const [fit] = await backend.fitLogisticL1(
      await access.device(eligible),
      labels,
      [{ feature, C, center: of(center), scale: of(scale) }],
      { balanced: true, tolerance: L1_TOLERANCE, maxIterations: L1_ITERATIONS, signal: options.signal },
    );
    for (const [at, c] of fit.support.entries()) scores[eligible[c]] = fit.coefficients[at];
    task.converged = fit.convergence.converged;
    options.onProgress?.(t + 1, tasks.length);
  }
}

async function scoreBySvm({ access, labels, moments, ranking, options, tasks }: Job): Promise<void> {
  const C = strength(ranking.C, 0.01);
  for (const [t, task] of tasks.entries()) {
    const { feature, eligible, scores } = task;
    const { center, scale } = standardisation("standard", moments, feature);
    const y = labels.of(feature);
    const rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
    const d = eligible.length;
    const values = (await access.host(eligible)).toFloat32();
    const x = new Float32Array(rows.length * d);
    const pacer = new Pacer(options.signal);
    for (let r = 0; r < rows.length; r++) {
      const from = rows[r] * d;
      for (let c = 0; c < d; c++) {
        const j = eligible[c];
        x[r * d + c] = (values[from + c] - center[j]) / scale[j];
      }
      if (pacer.due) await pacer.turn();
    }
    const fit = await fitLinearSvm(
      x,
      d,
      Uint8Array.from(rows, (i) => y[i]),
      {
        C,
        balanced: true,
        tolerance: SVM_TOLERANCE,
        maxEpochs: SVM_EPOCHS,
        seed: options.seed ?? 0,
        signal: options.signal,
      },
    );
    for (let c = 0; c < d; c++) scores[eligible[c]] = fit.coefficients[c];
    task.converged = fit.converged;
    options.onProgress?.(t + 1, tasks.length);
  }
}

function strength(C: number | undefined, fallback: number): number {
  if (C === undefined) return fallback;
  if (C > 0 && Number.isFinite(C)) return C;
  throw new OptionError(`The ranking's C is ${C}.`, "Give a finite number above 0.");
}
