/** Does a neuron tell classes apart, or the tokens that they are made of? Means by token and class. */
import { OutOfMemoryError } from "../errors.ts";

/** A token that occurs in both classes. */
export interface SharedToken {
  readonly id: number;
  readonly token: string;
  readonly positive: { readonly rows: number; readonly mean: number };
  readonly negative: { readonly rows: number; readonly mean: number };
  /** Mean in the positive class minus mean in the others. */
  readonly difference: number;
}

/** A difference of means, split into what remains on one and the same token and what comes from other tokens. */
export interface WithinTokens {
  /** Tokens (types) that occur often enough in both classes. */
  readonly sharedTokens: number;
  /** Share of the rows of each class whose token is shared; null for a class without rows. */
  readonly coverage: { readonly positive: number | null; readonly negative: number | null };
  /** Mean of the positive class minus mean of the others, over all rows; null when a class has none. */
  readonly difference: number | null;
  /** The same over rows whose token is shared: `within + composition`. Null without shared tokens. */
  readonly sharedDifference: number | null;
  /** What remains on the same token: Σ w·(mean in the positive class − mean in the others). */
  readonly within: number | null;
  /** What comes from shared tokens being more frequent in one class. */
  readonly composition: number | null;
  /** within / sharedDifference; can lie outside 0 … 1 where the parts have different signs. */
  readonly share: number | null;
  /** Weight w of the tokens whose difference has the sign of `within`. */
  readonly agreement: number | null;
  /** Why some of these are null; null when none is. */
  readonly reason: string | null;
}

/** Tokens whose sums lie together: what is allocated at a time stays small, and nothing is ever copied. */
const BLOCK = 128;

/** Sums of some neurons' activations by token and class. */
export class TokenTable {
  readonly #neurons: number;
  readonly #classes: number;
  readonly #indexOf = new Map<number, number>();
  /** counts [BLOCK × classes], sums [BLOCK × classes × neurons] */
  readonly #blocks: { readonly counts: Float64Array; readonly sums: Float64Array }[] = [];

  constructor(neurons: number, classes: number) {
    this.#neurons = neurons;
    this.#classes = classes;
  }

  /** Adds a row: the neurons' activations are `values` from `from` on. */
  add(token: number, slot: number, values: Float32Array, from: number): void {
    let index = this.#indexOf.get(token);
    if (index === undefined) {
      index = this.#indexOf.size;
      if (index % BLOCK === 0) this.#grow();
      this.#indexOf.set(token, index);
    }
    const { counts, sums } = this.#blocks[Math.floor(index / BLOCK)];
    const cell = (index % BLOCK) * this.#classes + slot;
    counts[cell]++;
    const at = cell * this.#neurons;
    for (let n = 0; n < this.#neurons; n++) sums[at + n] += values[from + n];
  }

  #grow(): void {
    const cells = BLOCK * this.#classes;
    try {
      this.#blocks.push({
        counts: new Float64Array(cells),
        sums: new Float64Array(cells * this.#neurons),
      });
    } catch (cause) {
      throw new OutOfMemoryError(
        `Means by token and class of ${this.#neurons} neurons do not fit: ` +
          `${(this.#blocks.length + 1) * cells * (this.#neurons + 1) * 8} bytes.`,
        "Pass fewer neurons at once, or disambiguate: false.",
        { cause },
      );
    }
  }

  /**
   * Compares a class with all others.
   * @param leastCount rows of each class that a token needs
   * @param list shared tokens to list: those with the most rows in the rarer class, of equals the lower id first
   */
  compare(
    neuron: number,
    positive: number,
    leastCount: number,
    list: number,
    tokenText: (id: number) => string,
  ): { readonly summary: WithinTokens; readonly tokens: SharedToken[] } {
    const shared: { id: number; n1: number; n0: number; s1: number; s0: number }[] = [];
    const all = { n1: 0, n0: 0, s1: 0, s0: 0 };
    const both = { n1: 0, n0: 0, s1: 0, s0: 0 };
    for (const [id, index] of this.#indexOf) {
      const token = { id, n1: 0, n0: 0, s1: 0, s0: 0 };
      const { counts: countsOf, sums } = this.#blocks[Math.floor(index / BLOCK)];
      for (let slot = 0; slot < this.#classes; slot++) {
        const cell = (index % BLOCK) * this.#classes + slot;
        const count = countsOf[cell];
        const sum = sums[cell * this.#neurons + neuron];
        if (slot === positive) {
          token.n1 += count;
          token.s1 += sum;
        } else {
          token.n0 += count;
          token.s0 += sum;
        }
      }
      addTo(all, token);
      if (Math.min(token.n1, token.n0) < leastCount) continue;
      addTo(both, token);
      shared.push(token);
    }
    // In the order of ids, so that sums do not depend on which token came first.
    shared.sort((a, b) => a.id - b.id);
    const coverage = {
      positive: all.n1 > 0 ? both.n1 / all.n1 : null,
      negative: all.n0 > 0 ? both.n0 / all.n0 : null,
    };
    const difference = all.n1 > 0 && all.n0 > 0 ? all.s1 / all.n1 - all.s0 / all.n0 : null;
    const counts = { sharedTokens: shared.length, coverage, difference };
    if (shared.length === 0) {
      const summary = {
        ...counts,
        sharedDifference: null,
        within: null,
        composition: null,
        share: null,
        agreement: null,
        reason:
          difference === null
            ? "One of the classes has no rows."
            : "No token occurs often enough in both classes.",
      };
      return { summary, tokens: [] };
    }
    let within = 0;
    let composition = 0;
    let scale = 0;
    for (const { n1, n0, s1, s0 } of shared) {
      const [p1, p0, m1, m0] = [n1 / both.n1, n0 / both.n0, s1 / n1, s0 / n0];
      within += ((p1 + p0) / 2) * (m1 - m0);
      composition += (p1 - p0) * ((m1 + m0) / 2);
      scale += p1 * Math.abs(m1) + p0 * Math.abs(m0);
    }
    let agreement = 0;
    for (const { n1, n0, s1, s0 } of shared) {
      if (Math.sign(s1 / n1 - s0 / n0) === Math.sign(within)) agreement += (n1 / both.n1 + n0 / both.n0) / 2;
    }
    const sharedDifference = within + composition;
    // Sums of float64 values are off by far less: what is smaller is rounding.
    const equal = Math.abs(sharedDifference) <= 1e-12 * scale;
    const tokens = shared
      .sort((a, b) => Math.min(b.n1, b.n0) - Math.min(a.n1, a.n0) || a.id - b.id)
      .slice(0, list)
      .map(({ id, n1, n0, s1, s0 }) => ({
        id,
        token: tokenText(id),
        positive: { rows: n1, mean: s1 / n1 },
        negative: { rows: n0, mean: s0 / n0 },
        difference: s1 / n1 - s0 / n0,
      }));
    const summary = {
      ...counts,
      sharedDifference,
      within,
      composition,
      share: equal ? null : within / sharedDifference + 0,
      agreement: Math.min(1, agreement),
      reason: equal ? "The shared tokens have the same mean in both classes." : null,
    };
    return { summary, tokens };
  }
}

interface Counted {
  n1: number;
  n0: number;
  s1: number;
  s0: number;
}

function addTo(total: Counted, part: Counted): void {
  total.n1 += part.n1;
  total.n0 += part.n0;
  total.s1 += part.s1;
  total.s0 += part.s0;
}
