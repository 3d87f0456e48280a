/** What estimates of mutual information do with sorted values. */
import type { Random } from "../random.ts";

const EULER = 0.5772156649015329;

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

/** The key of 0; those of negative values are below it. */
const ZERO = 0x80000000;

/** A whole number for the bits of a float32, in the order of the floats: negative ones turned round, the others above them. */
function keyOf(bits: number): number {
  return (bits ^ ((bits >> 31) | ZERO)) >>> 0;
}

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
    const key = keyOf(bits);
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
    from[i] = (key & ZERO) !== 0 ? key ^ ZERO : ~key;
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

/** Whether no value is below the one before it. */
export function isAscending(values: Float64Array): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] < values[i - 1]) return false;
  return true;
}

/** Points of the plane, asked for the distance to their k-th neighbour, the larger of the two coordinates' distances. */
export class NearestInPlane {
  readonly #x: Float64Array;
  /** First place of each slab, and the end of the last one. */
  readonly #starts: Uint32Array;
  /** Slab of each place in x order. */
  readonly #slab: Uint32Array;
  /** Points of each slab in ascending y. */
  readonly #slabX: Float64Array;
  readonly #slabY: Float64Array;
  /** Place in the slabs of the point of each place in x order. */
  readonly #place: Uint32Array;
  readonly #nearest: Float64Array;

  /**
   * @param x ascending
   * @param order row of each x
   * @param y what the other coordinate is, in its own order
   * @param k neighbours that will be asked for
   */
  constructor(x: Float64Array, order: Uint32Array, y: OrderedValues, k: number) {
    const n = x.length;
    this.#x = x;
    const starts = slabStarts(x);
    this.#starts = starts;
    this.#slab = new Uint32Array(n);
    this.#slabX = new Float64Array(n);
    this.#slabY = new Float64Array(n);
    this.#place = new Uint32Array(n);
    this.#nearest = new Float64Array(k);
    const xOrder = new Uint32Array(n);
    for (let at = 0; at < n; at++) xOrder[order[at]] = at;
    const ranks = new Uint32Array(n);
    for (let s = 0; s < starts.length - 1; s++) {
      const start = starts[s];
      const slab = ranks.subarray(start, starts[s + 1]);
      this.#slab.fill(s, start, starts[s + 1]);
      for (let p = 0; p < slab.length; p++) slab[p] = y.rank[order[start + p]];
      slab.sort();
      for (let p = 0; p < slab.length; p++) {
        const at = xOrder[y.order[slab[p]]];
        this.#slabX[start + p] = x[at];
        this.#slabY[start + p] = y.sorted[slab[p]];
        this.#place[at] = start + p;
      }
    }
  }

  /** Distance of the point at this place in x order to its k-th neighbour. */
  distance(at: number): number {
    const all = this.#x;
    const starts = this.#starts;
    const x = all[at];
    const own = this.#slab[at];
    const place = this.#place[at];
    const y = this.#slabY[place];
    const nearest = this.#nearest.fill(Infinity);
    const last = nearest.length - 1;
    this.#search(own, x, y, place, place + 1);
    let left = own - 1;
    let right = own + 1;
    for (;;) {
      const gapLeft = left < 0 ? Infinity : x - all[starts[left + 1] - 1];
      const gapRight = right > starts.length - 2 ? Infinity : all[starts[right]] - x;
      const gap = gapLeft < gapRight ? gapLeft : gapRight;
      if (!(gap < nearest[last])) return nearest[last];
      const slab = gapLeft <= gapRight ? left-- : right++;
      const above = this.#firstAbove(slab, y);
      this.#search(slab, x, y, above, above);
    }
  }

  /** Place of the first point of a slab that is not below y. */
  #firstAbove(slab: number, y: number): number {
    const ys = this.#slabY;
    let from = this.#starts[slab];
    let to = this.#starts[slab + 1];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (ys[middle] < y) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Goes down from `below` and up from `above` in one slab while that can still bring something nearer. */
  #search(slab: number, x: number, y: number, below: number, above: number): void {
    const xs = this.#slabX;
    const ys = this.#slabY;
    const nearest = this.#nearest;
    const last = nearest.length - 1;
    const start = this.#starts[slab];
    const end = this.#starts[slab + 1];
    for (let p = above; p < end; p++) {
      const dy = ys[p] - y;
      if (dy >= nearest[last]) break;
      const dx = Math.abs(xs[p] - x);
      keepNearest(nearest, dx > dy ? dx : dy);
    }
    for (let p = below - 1; p >= start; p--) {
      const dy = y - ys[p];
      if (dy >= nearest[last]) break;
      const dx = Math.abs(xs[p] - x);
      keepNearest(nearest, dx > dy ? dx : dy);
    }
  }
}

/** Cuts ascending x, in standard deviations, into slabs of √n points; of more where these crowd within 1/n of each other. */
function slabStarts(x: Float64Array): Uint32Array {
  const n = x.length;
  const size = Math.max(8, Math.round(Math.sqrt(n)));
  const starts = [0];
  for (let start = 0, end = size; end < n; end++) {
    if (end - start < size || x[end - 1] - x[start] < 1 / n) continue;
    starts.push(end);
    start = end;
  }
  return Uint32Array.from([...starts, n]);
}

function keepNearest(nearest: Float64Array, distance: number): void {
  let r = nearest.length - 1;
  if (distance >= nearest[r]) return;
  for (; r > 0 && nearest[r - 1] > distance; r--) nearest[r] = nearest[r - 1];
  nearest[r] = distance;
}

/** Values, their order and the ranks that it gives them. */
export interface OrderedValues {
  readonly sorted: Float64Array;
  /** Row of each sorted value. */
  readonly order: Uint32Array;
  /** Place in the order by row. */
  readonly rank: Uint32Array;
}

/** Rows in ascending order of their values; equal ones in their own order. `single`: all values are float32. */
export function orderOf(values: Float64Array, single: boolean): Uint32Array {
  const n = values.length;
  if (!single || n < RADIX_FROM) {
    return Uint32Array.from(values.keys()).sort((i, j) => values[i] - values[j] || i - j);
  }
  const floats = Float32Array.from(values);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < n; i++) bits[i] = floats[i] === 0 ? ZERO : keyOf(bits[i]);
  let from = Uint32Array.from(bits.keys());
  let to = new Uint32Array(n);
  for (let shift = 0; shift < 33; shift += BITS) {
    counts.fill(0, 0, DIGITS);
    for (let i = 0; i < n; i++) counts[(bits[i] >>> shift) & (DIGITS - 1)]++;
    let before = 0;
    for (let digit = 0; digit < DIGITS; digit++) {
      const count = counts[digit];
      counts[digit] = before;
      before += count;
    }
    for (let i = 0; i < n; i++) to[counts[(bits[from[i]] >>> shift) & (DIGITS - 1)]++] = from[i];
    [from, to] = [to, from];
  }
  return from;
}
