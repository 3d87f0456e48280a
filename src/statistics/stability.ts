/** Would other rows have chosen the same neurons; the work of `supportStability`. */
import { selectFromSource } from "../probes/select-from-source.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { UNLABELLED } from "../data/labels.ts";
import { OptionError } from "../errors.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import { probeSettings } from "../probes/probe-options.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import { Random } from "../random.ts";
import { assertSupportSizes, type RankingChoice } from "../ranking/ranking.ts";
import { mean } from "./compare-metrics.ts";
import { labelSets, setsPerPass } from "./fit-label-sets.ts";
import { normalQuantile } from "./normal-distribution.ts";
import { assertCount, Study, type StudyOptions } from "./study.ts";

export interface SupportStabilityOptions extends StudyOptions {
  /** Default `"mean-difference"`. */
  readonly ranking?: RankingChoice | undefined;
  /** Only this many neurons, the first by mean difference of the rows in the half, can be chosen. Default: all. */
  readonly prefilter?: number | undefined;
  /** Random halves of the rows (or groups), each without repeats. Default 100. */
  readonly resamples?: number | undefined;
  /** Of the interval of the stability. Default 0.95. */
  readonly level?: number | undefined;
}

/** A neuron and the share of resamples whose support holds it. */
export interface SelectionFrequency {
  readonly neuron: number;
  readonly frequency: number;
}

export interface SupportStabilityRow {
  readonly k: number;
  /** The support that all rows choose, strongest first, with the frequency of each neuron. */
  readonly support: readonly SelectionFrequency[];
  /** Every neuron that some resample chose, most frequent first; ties have the lower index first. */
  readonly frequencies: readonly SelectionFrequency[];
  /** Mean over all pairs of supports of |A ∩ B|/|A ∪ B|. */
  readonly jaccard: number;
  /**
   * Stability of Nogueira, Sechidis and Brown (2018): 1 for equal supports, 0 for random ones; with an interval. Null where k is
   * the number of neurons, since every support is then the same.
   */
  readonly stability: number | null;
  readonly low: number | null;
  readonly high: number | null;
  /** Why the stability is null. */
  readonly undefinedBecause?: string;
}

export interface SupportStability {
  readonly feature: string;
  readonly ranking: string;
  readonly resamples: number;
  readonly level: number;
  readonly seed: number;
  /** What half was drawn of. */
  readonly unit: "row" | "group";
  /** By k, in the order given. */
  readonly rows: readonly SupportStabilityRow[];
}

export async function runSupportStability(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: SupportStabilityOptions,
): Promise<SupportStability> {
  const { resamples = 100, level = 0.95, signal, ranking, prefilter } = options;
  assertCount("resamples", resamples, 2);
  if (!(level > 0 && level < 1)) {
    throw new OptionError(`The level is ${level}.`, "Give a share between 0 and 1, such as 0.95.");
  }
  const settings = probeSettings({ ranking, prefilter });
  const study = await Study.open(acts, labels, options);
  try {
    const { source, seed } = study;
    const d = source.neurons;
    assertSupportSizes(ks, d, prefilter);
    const k = Math.max(...ks);
    const longest = async (sets: readonly Uint8Array[], first: number): Promise<Uint32Array[]> => {
      const matrix = labelSets(study, sets, first);
      const { supports, failures } = await selectFromSource(study.backend, source, matrix, [k], {
        ranking,
        prefilter,
        seed,
        standardise: "none",
        signal,
      });
      if (failures.length > 0) throw failures[0].error;
      return supports.map(({ neurons }) => neurons);
    };
    const [whole] = await longest([study.y], 0);
    const halves = new Halves(study);
    const orders: Uint32Array[] = [];
    const batch = setsPerPass(d);
    for (let first = 0; first < resamples; first += batch) {
      const sets = Array.from({ length: Math.min(batch, resamples - first) }, (_, s) =>
        halves.draw(new Random(seed, `half sample ${first + s}`)),
      );
      orders.push(...(await longest(sets, 1 + first)));
      options.onProgress?.(orders.length, resamples);
      signal?.throwIfAborted();
    }
    const rows: SupportStabilityRow[] = [];
    for (const size of ks) rows.push(await stabilityAt(size, whole, orders, d, level, signal));
    return deepFreeze({
      feature: study.feature,
      ranking: settings.ranking,
      resamples,
      level,
      seed,
      unit: study.groupOf ? "group" : "row",
      rows,
    });
  } finally {
    study.close();
  }
}

/** Random halves of the rows that take part: half of the groups of each composition, half of the rows where there are none. */
class Halves {
  readonly #y: Uint8Array;
  /** Units that are halved together, each unit a list of rows. */
  readonly #strata: readonly (readonly (readonly number[])[])[];

  /** @throws OptionError when a class lies in one group alone, so that half of the groups cannot hold both classes */
  constructor(study: Study) {
    this.#y = study.y;
    const units = new Map<number, number[]>();
    for (const [r, group] of study.groupsOf(study.rows).entries()) {
      const unit = units.get(group);
      if (unit) unit.push(study.rows[r]);
      else units.set(group, [study.rows[r]]);
    }
    const strata: number[][][] = [[], [], []];
    for (const unit of units.values()) {
      const positives = unit.reduce((sum, i) => sum + this.#y[i], 0);
      strata[positives === 0 ? 0 : positives === unit.length ? 1 : 2].push(unit);
    }
    const [negative, positive, mixed] = strata;
    // A half has at least half of each stratum, rounded down, so this is enough for both classes.
    if (mixed.length < 2 && (negative.length < 2 || positive.length < 2)) {
      throw new OptionError(
        `Half of the ${study.groupOf ? "groups" : "rows"} may lack a class: ${positive.length} hold positive rows alone, ` +
          `${negative.length} negative rows alone, ${mixed.length} both.`,
        "Give at least two of each class.",
      );
    }
    this.#strata = strata;
  }

  draw(random: Random): Uint8Array {
    const out = new Uint8Array(this.#y.length).fill(UNLABELLED);
    for (const stratum of this.#strata) {
      const order = Uint32Array.from(stratum.keys());
      // Of an odd number, the one in the middle falls to the half by a coin.
      const half = (order.length + (order.length % 2 ? random.below(2) : 0)) >> 1;
      for (let u = 0; u < half; u++) {
        const other = u + random.below(order.length - u);
        [order[u], order[other]] = [order[other], order[u]];
        for (const i of stratum[order[u]]) out[i] = this.#y[i];
      }
    }
    return out;
  }
}

/** The supports of one size, which start the longer ones. */
export async function stabilityAt(
  k: number,
  whole: Uint32Array,
  orders: readonly Uint32Array[],
  d: number,
  level: number,
  signal?: AbortSignal,
): Promise<SupportStabilityRow> {
  const M = orders.length;
  const counts = new Float64Array(d);
  for (const order of orders) for (let at = 0; at < k; at++) counts[order[at]]++;
  const frequency = (neuron: number): SelectionFrequency => ({ neuron, frequency: counts[neuron] / M });
  const chosen = Array.from(counts.keys())
    .filter((j) => counts[j] > 0)
    .sort((a, b) => counts[b] - counts[a] || a - b);
  return {
    k,
    support: Array.from(whole.subarray(0, k), frequency),
    frequencies: chosen.map(frequency),
    jaccard: await meanJaccard(orders, k, d, new Pacer(signal)),
    ...nogueira(orders, counts, k, d, level),
  };
}

/** Mean over all pairs of supports of |A ∩ B|/|A ∪ B|. */
async function meanJaccard(
  orders: readonly Uint32Array[],
  k: number,
  d: number,
  pacer: Pacer,
): Promise<number> {
  const inFirst = new Uint8Array(d);
  let sum = 0;
  for (const [a, first] of orders.entries()) {
    for (let at = 0; at < k; at++) inFirst[first[at]] = 1;
    for (let b = a + 1; b < orders.length; b++) {
      let shared = 0;
      for (let at = 0; at < k; at++) shared += inFirst[orders[b][at]];
      sum += shared / (2 * k - shared);
    }
    for (let at = 0; at < k; at++) inFirst[first[at]] = 0;
    if (pacer.due) await pacer.turn();
  }
  return sum / ((orders.length * (orders.length - 1)) / 2);
}

/**
 * Φ = 1 − mean_j(s_j²)/((k/d)(1 − k/d)) with s_j² = M/(M − 1)·p_j(1 − p_j), and its asymptotic variance
 * 4/M²·Σ(Φ_i − mean Φ_i)² (theorem 7 of the paper, for supports of one size).
 */
function nogueira(
  orders: readonly Uint32Array[],
  counts: Float64Array,
  k: number,
  d: number,
  level: number,
): Pick<SupportStabilityRow, "stability" | "low" | "high" | "undefinedBecause"> {
  if (k === d) {
    const undefinedBecause = "every support holds all neurons";
    return { stability: null, low: null, high: null, undefinedBecause };
  }
  const M = orders.length;
  const share = k / d;
  const spread = share * (1 - share);
  let variance = 0;
  for (const count of counts) variance += ((count / M) * (1 - count / M) * M) / (M - 1) / d;
  const stability = 1 - variance / spread;
  const parts = orders.map((order) => {
    let agreement = 0;
    for (let at = 0; at < k; at++) agreement += counts[order[at]] / M / d;
    return (agreement - share * share + (stability / 2) * (2 * share * share - 2 * share + 1)) / spread;
  });
  const centre = mean(parts)!;
  const v = (4 / M ** 2) * parts.reduce((sum, part) => sum + (part - centre) ** 2, 0);
  const margin = normalQuantile((1 + level) / 2) * Math.sqrt(v);
  return { stability, low: stability - margin, high: Math.min(1, stability + margin) };
}
