/**
 * The only source of randomness: Philox-4x32-10, a counter-based generator (Salmon, Moraes, Dror, Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3", SC 2011). A stream is named by a seed and a key, so a draw depends neither on
 * global state nor on what else is drawn in the same run.
 */

import { OptionError } from "./errors.ts";

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** High and low 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function multiply(a: number, b: number): [high: number, low: number] {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const lowLow = aLow * bLow;
  const middle = aHigh * bLow + (lowLow >>> 16);
  const middleLow = (middle & 0xffff) + aLow * bHigh;
  const high = aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(middleLow / 0x10000);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}

/** One Philox-4x32-10 block: four 32-bit words for a 128-bit counter and a 64-bit key. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(MULTIPLIER_0, c0);
    const [high1, low1] = multiply(MULTIPLIER_1, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** FNV-1a over UTF-16 code units: turns a stream's name into part of its key. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** A seeded stream of random numbers. Two streams with different names are independent. */
export class Random {
  readonly #key: readonly [number, number];
  #block = 0;
  #words: number[] = [];

  /**
   * @param seed whole number from 0 to 2^53 − 1
   * @param name what the stream is for, e.g. `"split"`
   * @throws OptionError when the seed is not such a number
   */
  constructor(seed: number, name = "") {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new OptionError(`The seed is ${seed}.`, "Give a whole number from 0 to 2^53 - 1.");
    }
    const high = Math.floor(seed / 2 ** 32);
    this.#key = [seed >>> 0, (hash(name) ^ Math.imul(high, 0x9e3779b1)) >>> 0];
  }

  /** A whole number from 0 to 2^32 − 1. */
  uint32(): number {
    if (this.#words.length === 0) {
      const low = this.#block >>> 0;
      const high = Math.floor(this.#block / 2 ** 32);
      this.#words = philox([low, high, 0, 0], this.#key).reverse();
      this.#block++;
    }
    return this.#words.pop()!;
  }

  /** A number in [0, 1) with 53 random bits. */
  uniform(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** A whole number in [0, n), unbiased; 1 ≤ n ≤ 2^32. */
  below(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const word = this.uint32();
      if (word < limit) return word % n;
    }
  }

  /** Shuffles in place (Fisher–Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}
