/** Differences of means with bootstrap intervals over groups of texts. */
import type { Pacer } from "../backends/cpu/pacer.ts";
import { Random } from "../random.ts";
import { intervalOf, type MetricInterval } from "../statistics/bootstrap.ts";

/** Sums over the tokens of each text. */
export interface TextSums {
  /** Tokens that count, by text. */
  readonly tokens: Float64Array;
  /** [texts × quantities] */
  readonly values: Float64Array;
  readonly quantities: number;
}

/** Texts of one kind. */
export interface TextSet {
  /** 1 for a text that belongs to it. */
  readonly member: Uint8Array;
}

/** Mean per token over a set of texts, each taken `weights` times by group (once when left out); NaN without tokens. */
export function meanOf(
  { tokens, values, quantities }: TextSums,
  { member }: TextSet,
  quantity: number,
  groupOf: Uint32Array,
  weights?: Uint32Array,
): number {
  let sum = 0;
  let count = 0;
  for (let t = 0; t < tokens.length; t++) {
    if (!member[t]) continue;
    const weight = weights ? weights[groupOf[t]] : 1;
    sum += weight * values[t * quantities + quantity];
    count += weight * tokens[t];
  }
  return sum / count;
}

/** A mean over one set of texts, less that over another where there is one. */
export interface Contrast {
  readonly set: TextSet;
  readonly against?: TextSet | undefined;
  readonly quantity: number;
}

export interface IntervalOptions {
  readonly resamples: number;
  readonly level: number;
  readonly seed: number;
}

/**
 * Percentile intervals of all contrasts in the same resamples: whole groups are drawn with replacement, as many as there are.
 */
export async function intervalsOf(
  sums: TextSums,
  groupOf: Uint32Array,
  groups: number,
  contrasts: readonly Contrast[],
  { resamples, level, seed }: IntervalOptions,
  pacer: Pacer,
): Promise<MetricInterval[]> {
  const valueOf = ({ set, against, quantity }: Contrast, weights?: Uint32Array): number =>
    meanOf(sums, set, quantity, groupOf, weights) -
    (against ? meanOf(sums, against, quantity, groupOf, weights) : 0);
  const drawn = contrasts.map(() => new Float64Array(resamples));
  const weights = new Uint32Array(groups);
  // One group is the same in every resample: its intervals would claim to be exact.
  for (let r = 0; r < resamples && groups > 1; r++) {
    const random = new Random(seed, `ablation bootstrap ${r}`);
    weights.fill(0);
    for (let g = 0; g < groups; g++) weights[random.below(groups)]++;
    for (const [c, contrast] of contrasts.entries()) drawn[c][r] = valueOf(contrast, weights);
    if (pacer.due) await pacer.turn();
  }
  return contrasts.map((contrast, c) => {
    const estimate = valueOf(contrast);
    const known = Number.isNaN(estimate) ? null : estimate;
    return intervalOf(known, "there are no tokens", drawn[c], {
      level,
      units: groups,
      acceleration: undefined,
    });
  });
}
