/** Which candidate rows a feature keeps: seeded, with a bounded share of positives. */
import { Random } from "../random.ts";

/** How rows are drawn for every feature of a dataset. */
export interface SamplingOptions {
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Rows that a feature has at most. Default 20,000. */
  readonly maxRows?: number | undefined;
  /** Share of a feature's rows that is positive at most. Default 0.2. */
  readonly positiveShare?: number | undefined;
  /**
   * Share of a feature's rows that is positive at least, to one row; negatives are left out for it. Default 0: a rare feature
   * keeps all the negatives that `maxRows` allows.
   */
  readonly leastPositiveShare?: number | undefined;
  /** Positives and negatives that a feature needs, after sampling; with fewer of either it is reported as missing. Default 10. */
  readonly leastRows?: number | undefined;
}

/** Sampling options with their defaults. */
export type Sampling = { readonly [option in keyof SamplingOptions]-?: number };

/** Positives and negatives of a feature. */
export interface ClassSizes {
  readonly positives: number;
  readonly negatives: number;
}

/** One random number per candidate, the same for every feature: features of a set keep the same rows where they can. */
export class Priorities {
  readonly #values: Uint32Array;
  readonly #random: Random;
  #drawn = 0;

  constructor(candidates: number, seed: number) {
    this.#values = new Uint32Array(candidates);
    this.#random = new Random(seed, "rows of a feature dataset");
  }

  get complete(): boolean {
    return this.#drawn === this.#values.length;
  }

  /** Draws some more; in the order of the candidates, so that the draw of one depends on its number and the seed alone. */
  draw(count: number): void {
    const end = Math.min(this.#values.length, this.#drawn + count);
    for (; this.#drawn < end; this.#drawn++) this.#values[this.#drawn] = this.#random.uint32();
  }

  /**
   * The `count` candidates of the list that come first by priority (the earlier candidate where two are equal), in no
   * particular order.
   */
  first(candidates: Uint32Array, count: number): Uint32Array {
    if (count >= candidates.length) return candidates;
    if (count === 0) return new Uint32Array();
    const priority = this.#values;
    const bins = new Uint32Array(2 ** 16);
    for (const candidate of candidates) bins[priority[candidate] >>> 16]++;
    let bin = 0;
    let before = 0;
    while (before + bins[bin] < count) before += bins[bin++];
    const out = new Uint32Array(count);
    const border: number[] = [];
    let kept = 0;
    for (const candidate of candidates) {
      const own = priority[candidate] >>> 16;
      if (own < bin) out[kept++] = candidate;
      else if (own === bin) border.push(candidate);
    }
    border.sort((a, b) => priority[a] - priority[b] || a - b);
    out.set(border.slice(0, count - kept), kept);
    return out;
  }
}

/**
 * How many positives and negatives a feature keeps of those offered: as many rows as the options allow. The share of
 * positives stays within its bounds even where that leaves out positives (few negatives) or negatives (few positives).
 */
export function keptSizes(offered: ClassSizes, sampling: Sampling): ClassSizes {
  const { maxRows, positiveShare, leastPositiveShare } = sampling;
  // A share such as 0.3 of 10 must not lose a row to rounding.
  const whole = (x: number): number => Math.floor(x + 1e-9 * Math.max(1, x));
  const perNegative = positiveShare / (1 - positiveShare);
  const positives = Math.min(
    offered.positives,
    whole(positiveShare * maxRows),
    positiveShare < 1 ? whole(perNegative * offered.negatives) : Infinity,
  );
  const perPositive = (1 - leastPositiveShare) / leastPositiveShare;
  const negatives = Math.min(
    offered.negatives,
    maxRows - positives,
    // Rounded up, so that the other bound holds even where they are the same.
    leastPositiveShare > 0 ? Math.ceil(perPositive * positives - 1e-9) : Infinity,
  );
  return { positives, negatives };
}

/**
 * How many of each kind to take so that kinds have equal numbers as far as they reach; one left over goes to the kind
 * named first.
 */
export function evenShares(sizes: readonly number[], total: number): number[] {
  const shares = sizes.map(() => 0);
  let left = Math.min(
    total,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  while (left > 0) {
    const open = [...sizes.keys()].filter((kind) => shares[kind] < sizes[kind]);
    const each = Math.max(1, Math.floor(left / open.length));
    for (const kind of open) {
      const more = Math.min(each, sizes[kind] - shares[kind], left);
      shares[kind] += more;
      left -= more;
    }
  }
  return shares;
}
