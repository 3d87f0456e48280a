/** Histograms of a stream whose range is not known beforehand. */

/** Bins that are kept; what is shown is made of them. */
const BINS = 2048;

/** Counts of the bins [start + i·width, start + (i + 1)·width). */
export interface Bins {
  readonly start: number;
  /** A power of two; 0 where all values are equal, which then are the one bin. */
  readonly width: number;
  /** By slot. */
  readonly counts: readonly (readonly number[])[];
}

/**
 * Counts values in up to 2048 bins whose edges are whole multiples of a power of two, the smallest with which the bins cover
 * all values. When a value lies outside, bins are joined in pairs, which moves no value across an edge. So the bins depend
 * on the smallest and the largest value alone, not on the order of the values or on how the stream was cut.
 */
export class ExpandingHistogram {
  readonly #slots: number;
  #low = Infinity;
  #high = -Infinity;
  /** log₂ of the bins' width; undefined as long as all values are equal, and then only the first bin is in use. */
  #exponent: number | undefined;
  #first = 0;
  /** 1/width: products with powers of two are exact. */
  #scale = 1;
  #counts: Uint32Array;

  /** @param slots classes that are counted apart, in the same bins */
  constructor(slots: number) {
    this.#slots = slots;
    this.#counts = new Uint32Array(slots);
  }

  /** Makes room for values from `low` to `high`; before they are added. */
  widen(low: number, high: number): void {
    if (low >= this.#low && high <= this.#high) return;
    const before = { low: this.#low, exponent: this.#exponent, first: this.#first, counts: this.#counts };
    this.#low = Math.min(low, this.#low);
    this.#high = Math.max(high, this.#high);
    if (this.#low === this.#high) return;
    const exponent = binExponent(this.#low, this.#high, BINS);
    const first = Math.floor(this.#low / 2 ** exponent);
    const counts = new Uint32Array(this.#slots * BINS);
    for (let slot = 0; slot < this.#slots; slot++) {
      if (before.exponent === undefined) {
        const count = before.counts[slot];
        if (count > 0) counts[slot * BINS + Math.floor(before.low / 2 ** exponent) - first] = count;
        continue;
      }
      const joined = 2 ** (exponent - before.exponent);
      for (let b = 0; b < BINS; b++) {
        const count = before.counts[slot * BINS + b];
        if (count > 0) counts[slot * BINS + Math.floor((before.first + b) / joined) - first] += count;
      }
    }
    this.#exponent = exponent;
    this.#scale = 2 ** -exponent;
    this.#first = first;
    this.#counts = counts;
  }

  add(slot: number, value: number): void {
    if (this.#exponent === undefined) this.#counts[slot]++;
    else this.#counts[slot * BINS + Math.floor(value * this.#scale) - this.#first]++;
  }

  /** The same in at most `most` bins, 2 or more, and, where values differ, in more than most/2 − 1. */
  bins(most: number): Bins {
    if (this.#exponent === undefined) {
      return { start: this.#low + 0, width: 0, counts: Array.from(this.#counts, (count) => [count]) };
    }
    const exponent = Math.max(this.#exponent, binExponent(this.#low, this.#high, most));
    const width = 2 ** exponent;
    const joined = 2 ** (exponent - this.#exponent);
    const first = Math.floor(this.#low / width);
    const length = Math.floor(this.#high / width) - first + 1;
    const counts = Array.from({ length: this.#slots }, (_, slot) => {
      const shown = new Array<number>(length).fill(0);
      for (let b = 0; b < BINS; b++) {
        const count = this.#counts[slot * BINS + b];
        if (count > 0) shown[Math.floor((this.#first + b) / joined) - first] += count;
      }
      return shown;
    });
    return { start: first * width + 0, width, counts };
  }

  /**
   * Where a share q of a slot's values lies below, linear within a bin: off by less than a bin's width, which is below 1/1000 of the range
   * of all slots' values. The slot must have values.
   */
  quantile(slot: number, q: number): number {
    if (this.#exponent === undefined) return this.#low + 0;
    const width = 2 ** this.#exponent;
    const counts = this.#counts.subarray(slot * BINS, (slot + 1) * BINS);
    const wanted = q * counts.reduce((sum, count) => sum + count, 0);
    let below = 0;
    let at = 0;
    for (let b = 0; b < BINS; b++) {
      if (counts[b] === 0) continue;
      at = (this.#first + b + Math.min(1, (wanted - below) / counts[b])) * width;
      below += counts[b];
      if (below >= wanted) break;
    }
    return at + 0;
  }
}

/** The smallest e with which at most `most` bins, 2 or more, [i·2^e, (i + 1)·2^e) cover both values. */
function binExponent(low: number, high: number, most: number): number {
  // Bins cover more than high − low: no smaller width can do.
  let exponent = Math.floor(Math.log2((high - low) / most));
  while (Math.floor(high / 2 ** exponent) - Math.floor(low / 2 ** exponent) >= most) exponent++;
  return exponent;
}
