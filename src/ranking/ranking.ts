/** Rankings: neurons ordered by how well they tell a feature's two classes apart. */
import type { Backend, CallOptions, DeviceActivations } from "../backends/backend.ts";
import type { Activations } from "../data/activations.ts";
import type { ClassMoments, MomentSquares } from "../data/class-moments.ts";
import { NonFiniteError, OptionError, ShapeError, SupportSizeError } from "../errors.ts";
import { Random } from "../random.ts";
import { fStatistic, pointBiserial, welchT } from "./class-statistics.ts";
import { meanDifference, standardisedMeanDifference } from "./mean-difference.ts";

/** Rankings that need no more than class moments: one streaming pass. */
export type MomentRankingName =
  "mean-difference" | "standardised-mean-difference" | "welch-t" | "f" | "point-biserial" | "random";

/** Rankings that read the neurons' values. */
export type ColumnRankingName =
  "mutual-information" | "mutual-information-histogram" | "l1-logistic" | "linear-svm";

export type RankingName = MomentRankingName | ColumnRankingName;

/** A score per neuron from class moments alone; the sign is kept, and the absolute value ranks. */
export type MomentRankingFunction = (moments: ClassMoments, feature: number) => Float64Array;

/** What a ranking function may read beside the moments. */
export interface RankingContext extends CallOptions {
  /** Name of the feature. */
  readonly name: string;
  /** One per row: 1, 0 or `UNLABELLED`. */
  readonly labels: Uint8Array;
  /** Neurons that can be chosen, ascending: all of them, or what the pre-filter kept. Other scores are not read. */
  readonly eligible: Uint32Array;
  readonly backend: Backend;
  readonly seed: number;
  /** All rows of some neurons, float32 on the host, in the order given. Activations in blocks are read again. */
  columns(neurons: Uint32Array): Promise<Activations>;
  /** {@link columns} where the backend computes; freed when the ranking has returned. */
  deviceColumns(neurons: Uint32Array): Promise<DeviceActivations>;
}

/** Scores every neuron of one feature, length d; the sign is kept, and the absolute value ranks. */
export type RankingFunction = (
  moments: ClassMoments,
  feature: number,
  context: RankingContext,
) => Float64Array | Promise<Float64Array>;

/** A named ranking with parameters of its own. */
export interface RankingParameters {
  readonly name: RankingName;
  /** Inverse regularisation strength of `"l1-logistic"`, 0.1 by default, and of `"linear-svm"`, 0.01. */
  readonly C?: number;
  /** Nearest neighbours of `"mutual-information"`. Default 3. */
  readonly neighbours?: number;
}

/** The caller's own ranking, with its name and what it reads of the moments. */
export interface OwnRanking {
  readonly name: string;
  readonly score: RankingFunction;
  /** Sums of squares that `score` reads. Default `"class"`: all there are. */
  readonly squares?: MomentSquares;
}

/** How neurons are ranked: by name, by name with parameters, or by a function of the caller's. */
export type RankingChoice = RankingName | RankingParameters | RankingFunction | OwnRanking;

/** What can be chosen about a ranking; the same for all features. */
export interface RankingOptions {
  /** Default `"mean-difference"`. */
  readonly ranking?: RankingChoice | undefined;
  /** Only this many neurons, the first by mean difference, can be chosen: the others are not ranked. Default: all. */
  readonly prefilter?: number | undefined;
  /** Seed of rankings that draw: noise of mutual information, `"random"`. Default 0. */
  readonly seed?: number | undefined;
}

interface MomentRanking {
  readonly squares: MomentSquares;
  readonly score: (
    moments: ClassMoments,
    feature: number,
    draw: { readonly name: string; readonly seed: number },
  ) => Float64Array;
}

/** Rankings from moments by name, and the sums of squares that each reads. */
export const MOMENT_RANKINGS: Readonly<Record<MomentRankingName, MomentRanking>> = Object.freeze({
  "mean-difference": { squares: "none", score: meanDifference },
  "standardised-mean-difference": { squares: "within", score: standardisedMeanDifference },
  "welch-t": { squares: "class", score: welchT },
  f: { squares: "within", score: fStatistic },
  "point-biserial": { squares: "within", score: pointBiserial },
  random: { squares: "none", score: randomScores },
});

/** Names of the rankings that read values. */
export const COLUMN_RANKINGS: readonly ColumnRankingName[] = [
  "mutual-information",
  "mutual-information-histogram",
  "l1-logistic",
  "linear-svm",
];

/** Neurons of one feature, strongest first. */
export interface Ranking {
  /** Name of the feature. */
  readonly feature: string;
  /** Neurons by |score| descending, ties by lower index: all of them, or those that the pre-filter kept. */
  readonly order: Uint32Array;
  /** Signed score by neuron, length d; 0 where the pre-filter left a neuron out. */
  readonly scores: Float64Array;
  /** False where the scores are those of a fit that was stopped before it had converged. */
  readonly converged: boolean;
}

/**
 * Ranks the neurons of feature number `feature` of the moments.
 *
 * @param name the feature's name, carried into the result
 * @param ranking a ranking that reads moments alone, by name or as a function; default `"mean-difference"`. Others need the
 * activations: see `rankActivations`
 * @throws OptionError when the ranking is unknown, or reads more than moments
 * @throws ShapeError when there is no such feature, or a ranking function does not return one score per neuron
 * @throws NonFiniteError when a score is NaN or infinite
 */
export function rankNeurons(
  moments: ClassMoments,
  feature: number,
  name: string,
  ranking: MomentRankingName | MomentRankingFunction = "mean-difference",
  options: Omit<RankingOptions, "ranking"> = {},
): Ranking {
  const scores = scoreNeurons(moments, feature, ranking, { name, seed: options.seed ?? 0 });
  const eligible = eligibleNeurons(moments, feature, options.prefilter);
  return rankingOf(name, scores, eligible);
}

/** Checked scores of every neuron; see {@link rankNeurons} for what is thrown. */
export function scoreNeurons(
  moments: ClassMoments,
  feature: number,
  ranking: RankingChoice,
  draw: { readonly name: string; readonly seed: number },
): Float64Array {
  if (!Number.isInteger(feature) || feature < 0 || feature >= moments.features) {
    throw new ShapeError(
      `Feature ${feature} does not exist.`,
      `Features of these moments run from 0 to ${moments.features - 1}.`,
    );
  }
  const { name, score } = resolveRanking(ranking);
  const scores = score
    ? (score as MomentRankingFunction)(moments, feature)
    : isMomentRanking(name)
      ? MOMENT_RANKINGS[name].score(moments, feature, draw)
      : undefined;
  if (!scores || "then" in scores) {
    throw new OptionError(
      `The ranking "${name}" reads more than class moments.`,
      "Use rankActivations() or SparseProbe, which have the activations.",
    );
  }
  return checkedScores(scores, moments.neurons);
}

/**
 * @throws ShapeError when there is not one score per neuron
 * @throws NonFiniteError when a score is NaN or infinite
 */
export function checkedScores(scores: Float64Array, neurons: number): Float64Array {
  if (scores.length !== neurons) {
    throw new ShapeError(
      `The ranking gave ${scores.length} scores for ${neurons} neurons.`,
      "Return one score per neuron.",
    );
  }
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) {
    throw new NonFiniteError(
      `The score of neuron ${bad} is ${scores[bad]}.`,
      "Remove rows that are not finite, or mend the ranking function.",
    );
  }
  return scores;
}

/** A choice taken apart: the caller's own has `score`, a named one its parameters. */
export interface ResolvedRanking
  extends Partial<Omit<RankingParameters, "name">>, Partial<Omit<OwnRanking, "name">> {
  readonly name: string;
}

/**
 * @throws OptionError when the name is unknown
 */
export function resolveRanking(ranking: RankingChoice = "mean-difference"): ResolvedRanking {
  if (typeof ranking === "function") return { name: ranking.name || "custom", score: ranking };
  const resolved: ResolvedRanking = typeof ranking === "string" ? { name: ranking } : ranking;
  const { name, score } = resolved;
  if (score || isMomentRanking(name) || COLUMN_RANKINGS.includes(name as ColumnRankingName)) return resolved;
  throw new OptionError(
    `The ranking ${JSON.stringify(name)} is not known.`,
    `Use one of ${[...Object.keys(MOMENT_RANKINGS), ...COLUMN_RANKINGS].join(", ")}, or a function.`,
  );
}

/** Whether a name is that of a ranking from moments alone. */
export function isMomentRanking(name: string): name is MomentRankingName {
  return Object.hasOwn(MOMENT_RANKINGS, name);
}

/** @throws OptionError when the pre-filter is not a whole number of at least 1 */
export function assertPrefilter(prefilter: number | undefined): void {
  if (prefilter === undefined || (Number.isInteger(prefilter) && prefilter >= 1)) return;
  throw new OptionError(`prefilter is ${prefilter}.`, "Give a whole number of at least 1.");
}

/**
 * What the pre-filter keeps of a feature, ascending; undefined where it keeps everything.
 * @throws OptionError when it is not a whole number of at least 1
 */
export function eligibleNeurons(
  moments: ClassMoments,
  feature: number,
  prefilter: number | undefined,
): Uint32Array | undefined {
  assertPrefilter(prefilter);
  if (prefilter === undefined || prefilter >= moments.neurons) return undefined;
  return strongest(meanDifference(moments, feature), prefilter).sort();
}

/** The ranking that scores give. */
export function rankingOf(
  feature: string,
  scores: Float64Array,
  eligible?: Uint32Array,
  converged = true,
): Ranking {
  if (!eligible) return { feature, order: strongest(scores, scores.length), scores, converged };
  const kept = new Float64Array(scores.length);
  for (const j of eligible) kept[j] = scores[j];
  return { feature, order: strongestOf(scores, eligible.length, eligible), scores: kept, converged };
}

/** {@link strongest} among some neurons, which are in ascending order. */
export function strongestOf(scores: Float64Array, k: number, eligible: Uint32Array | undefined): Uint32Array {
  if (!eligible) return strongest(scores, k);
  return strongest(
    Float64Array.from(eligible, (j) => scores[j]),
    k,
  ).map((at) => eligible[at]);
}

/** Uniform draws that depend on the seed, the feature's name and the neuron, and on nothing else: a control. */
function randomScores(
  moments: ClassMoments,
  _feature: number,
  { name, seed }: { readonly name: string; readonly seed: number },
): Float64Array {
  const random = new Random(seed, `random ranking of ${name}`);
  return Float64Array.from({ length: moments.neurons }, () => random.uniform());
}

/**
 * The k strongest neurons by |score| descending, ties by lower index; a heap of size k, so O(d·log k).
 * @throws SupportSizeError when k is not a whole number from 1 to the number of neurons
 */
export function strongest(scores: Float64Array, k: number): Uint32Array {
  assertSupportSize(k, scores.length);
  /** a ranks after b. */
  const weaker = (a: number, b: number) => {
    const difference = Math.abs(scores[a]) - Math.abs(scores[b]);
    return difference < 0 || (difference === 0 && a > b);
  };
  // The weakest of the k kept is at the root.
  const heap = new Uint32Array(k);
  const sink = (root: number) => {
    const item = heap[root];
    for (let child = 2 * root + 1; child < k; child = 2 * root + 1) {
      if (child + 1 < k && weaker(heap[child + 1], heap[child])) child++;
      if (!weaker(heap[child], item)) break;
      heap[root] = heap[child];
      root = child;
    }
    heap[root] = item;
  };
  for (let j = 0; j < k; j++) heap[j] = j;
  for (let root = (k >> 1) - 1; root >= 0; root--) sink(root);
  for (let j = k; j < scores.length; j++) {
    if (!weaker(heap[0], j)) continue;
    heap[0] = j;
    sink(0);
  }
  return heap.sort((a, b) => (weaker(b, a) ? -1 : 1));
}

/**
 * Checks a schedule of support sizes; repeats are allowed.
 * @throws SupportSizeError when it is empty, no list, or a k is not a whole number from 1 to the number of neurons that can
 * be chosen
 */
export function assertSupportSizes(ks: readonly number[], neurons: number, prefilter?: number): void {
  if (typeof (ks as Partial<typeof ks>).length !== "number") {
    throw new SupportSizeError(
      `ks is ${JSON.stringify(ks)}.`,
      "Give a list of support sizes, such as [1, 2, 4].",
    );
  }
  if (ks.length === 0) throw new SupportSizeError("There is no k.", "Give at least one support size.");
  for (const k of ks) assertSupportSize(k, neurons, prefilter);
}

/** @throws SupportSizeError when k is not a whole number from 1 to the number of neurons that can be chosen */
export function assertSupportSize(k: number, neurons: number, prefilter: number = Infinity): void {
  const most = Math.min(neurons, prefilter);
  if (Number.isInteger(k) && k >= 1 && k <= most) return;
  const filtered = most < neurons;
  throw new SupportSizeError(
    `k is ${k}, and ${filtered ? "the pre-filter leaves" : "there are"} ${most} neurons.`,
    `Give a whole number from 1 to ${most}${filtered ? ", or a larger prefilter" : ""}.`,
  );
}
