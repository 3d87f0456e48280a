/** Is a neuron's difference between the classes more than chance; the work of `permutationTest`. */
import { deepFreeze } from "./deep-freeze.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { squaresWithin } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import { momentSquares, probeSettings, ranksByMoments } from "../probes/probe-options.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import { Random } from "../random.ts";
import {
  scoreNeurons,
  strongest,
  type MomentRankingFunction,
  type MomentRankingName,
} from "../ranking/ranking.ts";
import { benjaminiHochberg } from "./benjamini-hochberg.ts";
import { labelSets, setsPerPass } from "./fit-label-sets.ts";
import { LabelPermuter, type PermutationScheme } from "./permute-labels.ts";
import { assertCount, Study, type StudyOptions } from "./study.ts";

/**
 * A permuted statistic counts as at least the observed one from this share of it on: sums in float32 of equal label sets,
 * in different batches, differ in their last digits.
 */
const EQUAL = 1 - 1e-5;

export interface PermutationTestOptions extends StudyOptions {
  /** Number of permutations, or permuted labels of your own: one label set each, of the same rows. Default 999. */
  readonly permutations?: number | LabelMatrix | undefined;
  /** The statistic: any ranking by class moments. Default `"standardised-mean-difference"`. */
  readonly ranking?: MomentRankingName | MomentRankingFunction;
  /** Default: see {@link PermutationScheme}. */
  readonly scheme?: PermutationScheme | undefined;
}

/** Every array has one value per neuron, but for `maxima`. */
export interface PermutationTest {
  readonly feature: string;
  /** Name of the ranking. */
  readonly statistic: string;
  readonly permutations: number;
  /** Null where the permutations were given. */
  readonly scheme: PermutationScheme | null;
  /** log10 of the number of distinct permutations; null where they were given. No p-value can be far below its inverse. */
  readonly log10Arrangements: number | null;
  readonly seed: number;
  readonly rows: number;
  /** Rows whose label may change: under `"within-groups"` those of groups that hold both classes. Null where they were given. */
  readonly movableRows: number | null;
  /** Signed statistic of the labels as they are. */
  readonly statistics: Float64Array;
  /** Two-sided: (1 + #{|permuted| ≥ |observed|})/(1 + permutations). */
  readonly pValues: Float64Array;
  /** Benjamini–Hochberg q-values of `pValues` over all neurons. */
  readonly qValues: Float64Array;
  /** Westfall–Young step-down p-values: below α by chance for any neuron at all in a share α of experiments at most. */
  readonly adjustedPValues: Float64Array;
  /** Largest |statistic| over the neurons in each permutation. */
  readonly maxima: Float64Array;
}

export async function runPermutationTest(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: PermutationTestOptions,
): Promise<PermutationTest> {
  const { ranking = "standardised-mean-difference", permutations: asked = 999, signal } = options;
  if (typeof asked === "number") assertCount("permutations", asked);
  const statistic = probeSettings({ ranking }).ranking;
  if (!ranksByMoments({ ranking }) && typeof ranking !== "function") {
    throw new OptionError(
      `The ranking "${statistic}" reads more than class moments.`,
      "Test each neuron by a ranking from moments, or the whole probe with permutationTestScore().",
    );
  }
  const study = await Study.open(acts, labels, options);
  try {
    const { source, seed } = study;
    const d = source.neurons;
    const squares = momentSquares({ ranking, standardise: "none" });
    const moments = await source.classMoments(study.labels, { signal, squares });
    const draw = { name: study.feature, seed };
    const statistics = scoreNeurons(moments, 0, ranking, draw);
    const order = strongest(statistics, d);
    const draws = typeof asked === "number" ? permuted(study, asked, options.scheme) : given(study, asked);
    const totals = squares === "within" ? totalSquares(moments) : null;

    const bounds = statistics.map((value) => Math.abs(value) * EQUAL);
    const reached = new Uint32Array(d);
    const reachedByMaximum = new Uint32Array(d);
    const maxima = new Float64Array(draws.count);
    const pacer = new Pacer(signal);
    const batch = setsPerPass(d);
    for (let first = 0; first < draws.count; first += batch) {
      const size = Math.min(batch, draws.count - first);
      const sets: Uint8Array[] = [];
      for (let s = 0; s < size; s++) {
        sets.push(draws.draw(first + s));
        if (pacer.due) await pacer.turn();
      }
      const permutedMoments = await source.classMoments(labelSets(study, sets, first), {
        signal,
        // The sum of squares about the overall mean is the same for every permutation.
        squares: totals ? "none" : squares,
      });
      const complete = totals ? withSquares(permutedMoments, totals) : permutedMoments;
      for (let s = 0; s < size; s++) {
        const scores = scoreNeurons(complete, s, ranking, draw);
        let maximum = 0;
        for (let at = d - 1; at >= 0; at--) {
          const j = order[at];
          const value = Math.abs(scores[j]);
          if (value > maximum) maximum = value;
          if (value >= bounds[j]) reached[j]++;
          if (maximum >= bounds[j]) reachedByMaximum[j]++;
        }
        maxima[first + s] = maximum;
        if (pacer.due) await pacer.turn();
      }
      options.onProgress?.(first + size, draws.count);
    }
    const pValues = Float64Array.from(reached, (count) => (1 + count) / (1 + draws.count));
    const adjustedPValues = new Float64Array(d);
    let largest = 0;
    for (const j of order) {
      largest = Math.max(largest, (1 + reachedByMaximum[j]) / (1 + draws.count));
      adjustedPValues[j] = largest;
    }
    return deepFreeze({
      feature: study.feature,
      statistic,
      permutations: draws.count,
      scheme: draws.scheme,
      log10Arrangements: draws.log10Arrangements,
      seed,
      rows: study.rows.length,
      movableRows: draws.movableRows,
      statistics,
      pValues,
      qValues: benjaminiHochberg(pValues),
      adjustedPValues,
      maxima,
    });
  } finally {
    study.close();
  }
}

/** Permuted label sets, made when they are wanted. */
export interface PermutedLabels {
  readonly count: number;
  readonly scheme: PermutationScheme | null;
  readonly log10Arrangements: number | null;
  readonly movableRows: number | null;
  draw(index: number): Uint8Array;
}

/** Permutations drawn from the seed; number i depends on nothing but the seed and i. */
export function permuted(study: Study, count: number, scheme: PermutationScheme | undefined): PermutedLabels {
  const permuter = new LabelPermuter(study.y, study.groupOf, scheme);
  return {
    count,
    scheme: permuter.scheme,
    log10Arrangements: permuter.log10Arrangements,
    movableRows: permuter.movableRows,
    draw: (index) => permuter.permute(new Random(study.seed, `permutation ${index}`)),
  };
}

/**
 * Permutations that the caller made.
 * @throws ShapeError when they are of other rows
 * @throws OptionError when there is none, or one labels other rows than the labels do
 */
export function given(study: Study, matrix: LabelMatrix): PermutedLabels {
  if (matrix.rows !== study.labels.rows) {
    throw new ShapeError(
      `The permuted labels have ${matrix.rows} rows, the labels ${study.labels.rows}.`,
      "Give permutations of the labels.",
    );
  }
  if (matrix.features.length === 0) {
    throw new OptionError("There is no permutation.", "Give at least one label set.");
  }
  const draws = matrix.restrictedTo(study.rows);
  for (const [f, name] of draws.features.entries()) {
    const [negative, positive] = draws.counts(f);
    if (negative + positive === study.rows.length && negative > 0 && positive > 0) continue;
    throw new OptionError(
      `Permutation "${name}" has ${negative} negative and ${positive} positive rows of ${study.rows.length}.`,
      "Give every row that takes part a label, and each permutation both classes.",
    );
  }
  return {
    count: matrix.features.length,
    scheme: null,
    log10Arrangements: null,
    movableRows: null,
    draw: (index) => draws.of(index),
  };
}

/** Σ (x − mean)² of every neuron over both classes. */
function totalSquares(moments: ClassMoments): Float64Array {
  const { neurons: d, mean, count } = moments;
  const within = squaresWithin(moments, 0);
  const between = (count[0] * count[1]) / (count[0] + count[1]);
  return within.map((q, j) => q + (mean[d + j] - mean[j]) ** 2 * between);
}

/** Moments with the squares within the classes, from the means and the squares about the overall mean. */
function withSquares(moments: ClassMoments, totals: Float64Array): ClassMoments {
  const { features, neurons: d, mean, count } = moments;
  const withinSquares = new Float64Array(features * d);
  for (let f = 0; f < features; f++) {
    const between = (count[2 * f] * count[2 * f + 1]) / (count[2 * f] + count[2 * f + 1]);
    for (let j = 0; j < d; j++) {
      const delta = mean[(2 * f + 1) * d + j] - mean[2 * f * d + j];
      withinSquares[f * d + j] = Math.max(0, totals[j] - delta * delta * between);
    }
  }
  return { ...moments, withinSquares };
}
