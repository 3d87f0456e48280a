/** What estimates of mutual information do with sorted values. */
import type { Random } from "../random.ts";

const EULER = 0.577215664901532860606512090082402431;

/** ψ(m) for whole m from 1 to n; ψ(m) = −γ + Σ_{i<m} 1/i. Place 0 is not used. */
export function digammaTable(n: number): Float64Array {
  const table = new Float64Array(n + 1);
  table[0] = NaN;
  // Kahan's sum: the table is read to the last digits.
  let sum = -EULER;
  let lost = 0;
  for (let m = 1; m <= n; m++) {
    table[m] = sum;
    const term = 1 / m - lost;
    const next = sum + term;
    lost = next - sum - term;
    sum = next;
  }
  return table;
}

/** Population standard deviation. */
export function standardDeviation(values: Float64Array): number {
  const n = values.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i];
  const mean = sum / n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i] - mean) ** 2;
  return Math.sqrt(squares / n);
}

/** Below this many values the engine's own sort is as fast. */
const RADIX_FROM = 400;

const BITS = 11;
const DIGITS = 1 << BITS;
let keys = new Uint32Array(0);
let spare = new Uint32Array(0);
const counts = new Uint32Array(3 * DIGITS);

/** Sorts in place, ascending. `single`: all values are float32, which three passes of a radix sort put in order. */
export function sortedFloats(values: Float64Array, single: boolean): void {
  const n = values.length;
  if (!single || n < RADIX_FROM) {
    values.sort();
    return;
  }
  if (keys.length < n) {
    keys = new Uint32Array(n);
    spare = new Uint32Array(n);
  }
  let from = keys;
  let to = spare;
  const floats = new Float32Array(from.buffer, 0, n);
  floats.set(values);
  counts.fill(0);
  for (let i = 0; i < n; i++) {
    const bits = from[i];
    // Whole numbers in the order of the floats: negative ones turned round, the others above them.
    const key = (bits ^ ((bits >> 31) | 0x80000000)) >>> 0;
    from[i] = key;
    counts[key & (DIGITS - 1)]++;
    counts[DIGITS + ((key >>> BITS) & (DIGITS - 1))]++;
    counts[2 * DIGITS + (key >>> (2 * BITS))]++;
  }
  for (let pass = 0; pass < 3; pass++) {
    const start = pass * DIGITS;
    const shift = pass * BITS;
    let before = 0;
    for (let digit = start; digit < start + DIGITS; digit++) {
      const count = counts[digit];
      counts[digit] = before;
      before += count;
    }
    for (let i = 0; i < n; i++) {
      const key = from[i];
      to[counts[start + ((key >>> shift) & (DIGITS - 1))]++] = key;
    }
    [from, to] = [to, from];
  }
  for (let i = 0; i < n; i++) {
    const key = from[i];
    from[i] = (key & 0x80000000) !== 0 ? key ^ 0x80000000 : ~key;
  }
  values.set(new Float32Array(from.buffer, 0, n));
}

/**
 * Adds uniform noise of up to ±size to every value that occurs more than once in the ascending lists together, and puts them
 * in order again.
 * @param draw makes the stream; not called when all values differ
 * @returns whether there were equal values
 */
export function spreadTies(lists: readonly Float64Array[], size: number, draw: () => Random): boolean {
  const at = lists.map(() => 0);
  let random: Random | undefined;
  for (;;) {
    let lowest = Infinity;
    for (let l = 0; l < lists.length; l++) {
      if (at[l] < lists[l].length && lists[l][at[l]] < lowest) lowest = lists[l][at[l]];
    }
    if (lowest === Infinity) break;
    let equal = 0;
    for (let l = 0; l < lists.length; l++) {
      const list = lists[l];
      let end = at[l];
      while (end < list.length && list[end] === lowest) end++;
      equal += end - at[l];
      at[l] = end;
    }
    if (equal < 2) continue;
    random ??= draw();
    for (let l = 0; l < lists.length; l++) {
      const list = lists[l];
      const end = at[l];
      let start = end;
      while (start > 0 && list[start - 1] === lowest) start--;
      for (let i = start; i < end; i++) list[i] = lowest + size * (random.uint32() / 2 ** 31 - 1);
      if (end - start > 1) list.subarray(start, end).sort();
    }
  }
  // Noise may reach beyond values that lie closer than its size.
  if (random) for (const list of lists) if (!isAscending(list)) list.sort();
  return random !== undefined;
}

function isAscending(values: Float64Array): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] < values[i - 1]) return false;
  return true;
}

/** Points of the plane, asked for the distance to their k-th neighbour, the larger of the two coordinates' distances. */
export class NearestInPlane {
  readonly #x: Float64Array;
  readonly #size: number;
  /** Points of each slab in ascending y. */
  readonly #slabX: Float64Array;
  readonly #slabY: Float64Array;
  /** Place in the slabs of the point of each place in x order. */
  readonly #place: Uint32Array;

  /**
   * @param x ascending
   * @param order row of each x
   * @param y by row
   */
  constructor(x: Float64Array, order: Uint32Array, y: Float64Array) {
    const n = x.length;
    this.#x = x;
    // Neighbours lie in a few slabs of √n points, wherever the points crowd.
    this.#size = Math.max(8, Math.round(Math.sqrt(n)));
    this.#slabX = new Float64Array(n);
    this.#slabY = new Float64Array(n);
    this.#place = new Uint32Array(n);
    const byY = Uint32Array.from({ length: n }, (_, at) => at);
    for (let start = 0; start < n; start += this.#size) {
      const slab = byY.subarray(start, start + this.#size);
      slab.sort((a, b) => y[order[a]] - y[order[b]] || a - b);
      for (let p = 0; p < slab.length; p++) {
        this.#slabX[start + p] = x[slab[p]];
        this.#slabY[start + p] = y[order[slab[p]]];
        this.#place[slab[p]] = start + p;
      }
    }
  }

  /** Distance of the point at this place in x order to its k-th neighbour. */
  distance(at: number, k: number): number {
    const x = this.#x;
    const size = this.#size;
    const n = x.length;
    const own = Math.floor(at / size);
    const place = this.#place[at];
    const nearest = new Float64Array(k).fill(Infinity);
    this.#search(own, x[at], this.#slabY[place], place, nearest);
    const lastSlab = Math.floor((n - 1) / size);
    let left = own - 1;
    let right = own + 1;
    for (;;) {
      const gapLeft = left < 0 ? Infinity : x[at] - x[left * size + size - 1];
      const gapRight = right > lastSlab ? Infinity : x[right * size] - x[at];
      const gap = Math.min(gapLeft, gapRight);
      if (gap === Infinity || gap >= nearest[k - 1]) return nearest[k - 1];
      this.#search(gapLeft <= gapRight ? left-- : right++, x[at], this.#slabY[place], place, nearest);
    }
  }

  /** Goes up and down from y in one slab while that can still bring something nearer. */
  #search(slab: number, x: number, y: number, self: number, nearest: Float64Array): void {
    const xs = this.#slabX;
    const ys = this.#slabY;
    const start = slab * this.#size;
    const end = Math.min(start + this.#size, xs.length);
    const k = nearest.length;
    let up = start;
    let to = end;
    while (up < to) {
      const middle = (up + to) >> 1;
      if (ys[middle] < y) up = middle + 1;
      else to = middle;
    }
    let down = up - 1;
    for (;;) {
      const above = up < end ? ys[up] - y : Infinity;
      const below = down >= start ? y - ys[down] : Infinity;
      const dy = above < below ? above : below;
      if (!(dy < nearest[k - 1])) return;
      const p = above < below ? up++ : down--;
      if (p === self) continue;
      const dx = Math.abs(xs[p] - x);
      const distance = dx > dy ? dx : dy;
      if (distance >= nearest[k - 1]) continue;
      let r = k - 1;
      for (; r > 0 && nearest[r - 1] > distance; r--) nearest[r] = nearest[r - 1];
      nearest[r] = distance;
    }
  }
}
