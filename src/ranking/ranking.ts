/** Rankings: neurons ordered by how well they tell a feature's two classes apart. */
import type { ClassMoments } from "../data/class-moments.ts";
import { NonFiniteError, OptionError, ShapeError, SupportSizeError } from "../errors.ts";
import { meanDifference, standardisedMeanDifference } from "./mean-difference.ts";

/** Scores every neuron of one feature; the sign is kept, and the absolute value ranks. */
export type RankingFunction = (moments: ClassMoments, feature: number) => Float64Array;

export type RankingName = "mean-difference" | "standardised-mean-difference";

/** Rankings by name. */
export const RANKINGS: Readonly<Record<RankingName, RankingFunction>> = Object.freeze({
  "mean-difference": meanDifference,
  "standardised-mean-difference": standardisedMeanDifference,
});

/** Neurons of one feature, strongest first. */
export interface Ranking {
  /** Name of the feature. */
  readonly feature: string;
  /** All neurons by |score| descending; ties have the lower index first. */
  readonly order: Uint32Array;
  /** Signed score by neuron, length d. */
  readonly scores: Float64Array;
}

/**
 * Ranks all neurons for feature number `feature` of the moments.
 *
 * @param name the feature's name, carried into the result
 * @param ranking a name or a function; default `"mean-difference"`
 * @throws OptionError when the ranking's name is unknown
 * @throws ShapeError when there is no such feature, or a ranking function does not return one score per neuron
 * @throws NonFiniteError when a score is NaN or infinite
 */
export function rankNeurons(
  moments: ClassMoments,
  feature: number,
  name: string,
  ranking: RankingName | RankingFunction = "mean-difference",
): Ranking {
  const scores = scoreNeurons(moments, feature, ranking);
  return { feature: name, order: strongest(scores, scores.length), scores };
}

/** Checked scores of every neuron; see {@link rankNeurons} for what is thrown. */
export function scoreNeurons(
  moments: ClassMoments,
  feature: number,
  ranking: RankingName | RankingFunction,
): Float64Array {
  if (!Number.isInteger(feature) || feature < 0 || feature >= moments.features) {
    throw new ShapeError(
      `Feature ${feature} does not exist.`,
      `Features of these moments run from 0 to ${moments.features - 1}.`,
    );
  }
  const scores = rankingFunction(ranking)(moments, feature);
  if (scores.length !== moments.neurons) {
    throw new ShapeError(
      `The ranking gave ${scores.length} scores for ${moments.neurons} neurons.`,
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

/** The function behind a name; a function stands for itself. */
export function rankingFunction(ranking: RankingName | RankingFunction): RankingFunction {
  if (typeof ranking === "function") return ranking;
  if (!Object.hasOwn(RANKINGS, ranking)) {
    throw new OptionError(
      `The ranking "${ranking}" is not known.`,
      `Use one of ${Object.keys(RANKINGS).join(", ")}, or a function of the class moments.`,
    );
  }
  return RANKINGS[ranking];
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
 * @throws SupportSizeError when it is empty, no list, or a k is not a whole number from 1 to the number of neurons
 */
export function assertSupportSizes(ks: readonly number[], neurons: number): void {
  if (typeof (ks as Partial<typeof ks>).length !== "number") {
    throw new SupportSizeError(
      `ks is ${JSON.stringify(ks)}.`,
      "Give a list of support sizes, such as [1, 2, 4].",
    );
  }
  if (ks.length === 0) throw new SupportSizeError("There is no k.", "Give at least one support size.");
  for (const k of ks) assertSupportSize(k, neurons);
}

/** @throws SupportSizeError when k is not a whole number from 1 to the number of neurons */
export function assertSupportSize(k: number, neurons: number): void {
  if (Number.isInteger(k) && k >= 1 && k <= neurons) return;
  throw new SupportSizeError(
    `k is ${k}, and there are ${neurons} neurons.`,
    `Give a whole number from 1 to ${neurons}.`,
  );
}
