/** The columns of a regression: centred and scaled on the fly, with the sums that its solvers need, in float64. */
import type { Pacer } from "../backends/cpu/pacer.ts";

/** Rows whose columns are widened to float64 at a time for a Gram matrix. */
const TILE = 256;

/** Columns z = (x − mean)/scale of n rows, with float32 x. A prefix of k columns stands for a support's smaller one. */
export class Design {
  readonly rows: number;
  readonly #columns: readonly Float32Array[];
  readonly #mean: Float64Array;
  readonly #scale: Float64Array;
  readonly #pacer: Pacer;

  /**
   * @param columns n values each, in support order
   * @param mean of each column, so that z sums to zero
   * @param scale never zero
   */
  constructor(
    columns: readonly Float32Array[],
    mean: Float64Array,
    scale: Float64Array,
    rows: number,
    pacer: Pacer,
  ) {
    this.rows = rows;
    this.#columns = columns;
    this.#mean = mean;
    this.#scale = scale;
    this.#pacer = pacer;
  }

  /** z_cᵀr. */
  dot(c: number, r: Float64Array): number {
    const x = this.#columns[c];
    const mean = this.#mean[c];
    let even = 0;
    let odd = 0;
    let i = 0;
    for (; i + 1 < r.length; i += 2) {
      even += (x[i] - mean) * r[i];
      odd += (x[i + 1] - mean) * r[i + 1];
    }
    if (i < r.length) even += (x[i] - mean) * r[i];
    return (even + odd) / this.#scale[c];
  }

  /** r += factor·z_c. */
  addTo(r: Float64Array, c: number, factor: number): void {
    const x = this.#columns[c];
    const mean = this.#mean[c];
    const f = factor / this.#scale[c];
    for (let i = 0; i < r.length; i++) r[i] += (x[i] - mean) * f;
  }

  /** out = start + sign·Z·w over the first w.length columns. */
  async product(w: Float64Array, start: Float64Array, sign: 1 | -1): Promise<Float64Array> {
    const out = start.slice();
    for (let c = 0; c < w.length; c++) {
      if (w[c] !== 0) this.addTo(out, c, sign * w[c]);
      if (this.#pacer.due) await this.#pacer.turn();
    }
    return out;
  }

  /** Zᵀr over the first k columns. */
  async correlations(r: Float64Array, k: number): Promise<Float64Array> {
    const out = new Float64Array(k);
    for (let c = 0; c < k; c++) {
      out[c] = this.dot(c, r);
      if (this.#pacer.due) await this.#pacer.turn();
    }
    return out;
  }

  /** ‖z_c‖² of the first k columns. */
  async squares(k: number): Promise<Float64Array> {
    const out = new Float64Array(k);
    for (let c = 0; c < k; c++) {
      const x = this.#columns[c];
      const mean = this.#mean[c];
      let sum = 0;
      for (let i = 0; i < this.rows; i++) sum += (x[i] - mean) ** 2;
      out[c] = sum / this.#scale[c] ** 2;
      if (this.#pacer.due) await this.#pacer.turn();
    }
    return out;
  }

  /** ZᵀZ [k × k] of the first k columns. An entry does not depend on k. */
  async gram(k: number): Promise<Float64Array> {
    const out = new Float64Array(k * k);
    const tile = new Float64Array(k * TILE);
    for (let first = 0; first < this.rows; first += TILE) {
      const height = Math.min(TILE, this.rows - first);
      for (let c = 0; c < k; c++) {
        const x = this.#columns[c];
        for (let i = 0; i < height; i++) tile[c * TILE + i] = (x[first + i] - this.#mean[c]) / this.#scale[c];
      }
      for (let a = 0; a < k; a += 2) {
        addDots(tile, height, a, k, out);
        if (this.#pacer.due) await this.#pacer.turn();
      }
    }
    for (let a = 0; a < k; a++) for (let b = 0; b < a; b++) out[b * k + a] = out[a * k + b];
    return out;
  }
}

/**
 * Adds the products of columns a and a + 1 of the tile with columns 0 … a + 1, four at a time: eight sums share six reads.
 * Every entry is summed in the order of the rows.
 */
function addDots(tile: Float64Array, height: number, a: number, k: number, out: Float64Array): void {
  const a0 = a * TILE;
  // An odd last column stands in for its missing neighbour, whose sums are dropped.
  const pair = a + 1 < k;
  const a1 = pair ? a0 + TILE : a0;
  const last = pair ? a + 1 : a;
  for (let b = 0; b <= last; b += 4) {
    const b0 = b * TILE;
    const b1 = Math.min(b + 1, last) * TILE;
    const b2 = Math.min(b + 2, last) * TILE;
    const b3 = Math.min(b + 3, last) * TILE;
    let s00 = 0;
    let s01 = 0;
    let s02 = 0;
    let s03 = 0;
    let s10 = 0;
    let s11 = 0;
    let s12 = 0;
    let s13 = 0;
    for (let i = 0; i < height; i++) {
      const u = tile[a0 + i];
      const v = tile[a1 + i];
      const w0 = tile[b0 + i];
      const w1 = tile[b1 + i];
      const w2 = tile[b2 + i];
      const w3 = tile[b3 + i];
      s00 += u * w0;
      s01 += u * w1;
      s02 += u * w2;
      s03 += u * w3;
      s10 += v * w0;
      s11 += v * w1;
      s12 += v * w2;
      s13 += v * w3;
    }
    addUpTo(out, a * k + b, last - b, s00, s01, s02, s03);
    if (pair) addUpTo(out, (a + 1) * k + b, last - b, s10, s11, s12, s13);
  }
}

/** Adds the first most + 1 of four values to neighbouring places. */
function addUpTo(
  out: Float64Array,
  at: number,
  most: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
): void {
  out[at] += s0;
  if (most > 0) out[at + 1] += s1;
  if (most > 1) out[at + 2] += s2;
  if (most > 2) out[at + 3] += s3;
}

/** Σ v². */
export function squaredNorm(v: Float64Array): number {
  let sum = 0;
  for (const value of v) sum += value * value;
  return sum;
}
