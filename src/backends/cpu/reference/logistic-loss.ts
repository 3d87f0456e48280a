/**
 * The objective of a k-sparse probe and its derivatives, in float64.
 *
 *   f(w, b) = C · Σ_i ω_i · log(1 + exp(−s_i·(w·x̃_i + b))) + ½‖w‖²,   x̃_ij = (x_ij − center_j) / scale_j,  s_i = ±1
 *
 * The intercept is not penalised. This is scikit-learn's objective for `LogisticRegression(penalty="l2", C=C)`.
 * Parameters are one vector θ = (w_1 … w_k, b): the intercept is last.
 */
import { UNLABELLED } from "../../../data/labels.ts";

/** One problem: k columns of n rows, their labels and weights. */
export interface LogisticData {
  /** k columns of n values each, in support order. */
  readonly columns: readonly Float32Array[];
  /** n labels: 1 is positive, everything else negative. */
  readonly labels: Uint8Array;
  /** Row weights ω ≥ 0, length n; a row of weight 0 takes no part. */
  readonly weights: Float64Array;
  /** Inverse regularisation strength. */
  readonly C: number;
  /** Subtracted from each column in float64; zeros when absent. */
  readonly center?: Float64Array | undefined;
  /** Divides each centred column; ones when absent. */
  readonly scale?: Float64Array | undefined;
}

/**
 * Row weights of one label set: n/(2·n_class) when balanced, else 1; 0 where the label is `UNLABELLED`. A class
 * without rows gives its rows no weight, so nothing is ever infinite.
 */
export function classWeights(labels: Uint8Array, balanced: boolean): Float64Array {
  let positive = 0;
  let negative = 0;
  for (const label of labels) {
    if (label === 1) positive++;
    else if (label !== UNLABELLED) negative++;
  }
  const n = positive + negative;
  const ofPositive = balanced ? n / (2 * positive) : 1;
  const ofNegative = balanced ? n / (2 * negative) : 1;
  return Float64Array.from(labels, (label) =>
    label === UNLABELLED ? 0 : label === 1 ? ofPositive : ofNegative,
  );
}

/** log(1 + exp(−m)) without overflow. */
export function logisticLossOfMargin(m: number): number {
  return m > 0 ? Math.log1p(Math.exp(-m)) : Math.log1p(Math.exp(m)) - m;
}

/** Value, gradient and Hessian of the objective over one problem's data. */
export class LogisticLoss {
  readonly data: LogisticData;
  /** k, without the intercept. */
  readonly columns: number;
  readonly rows: number;
  /** C·Σω: the scale that makes a Newton decrement comparable between problems. */
  readonly totalWeight: number;
  readonly #center: Float64Array;
  readonly #inverseScale: Float64Array;
  /** C·ω_i. */
  readonly #weight: Float64Array;

  constructor(data: LogisticData) {
    const k = data.columns.length;
    this.data = data;
    this.columns = k;
    this.rows = data.labels.length;
    this.#center = data.center ?? new Float64Array(k);
    this.#inverseScale = data.scale ? data.scale.map((s) => 1 / s) : new Float64Array(k).fill(1);
    this.#weight = data.weights.map((w) => w * data.C);
    this.totalWeight = this.#weight.reduce((sum, w) => sum + w, 0);
  }

  /** Decision values z = X̃w + b [n], written to `out`. */
  decision(theta: Float64Array, out: Float64Array = new Float64Array(this.rows)): Float64Array {
    out.fill(theta[this.columns]);
    return this.#addProduct(theta, out);
  }

  /** The objective at θ, whose decision values are z. */
  value(theta: Float64Array, z: Float64Array): number {
    const { labels } = this.data;
    const weight = this.#weight;
    let loss = 0;
    for (let i = 0; i < z.length; i++) {
      if (weight[i] > 0) loss += weight[i] * logisticLossOfMargin(labels[i] === 1 ? z[i] : -z[i]);
    }
    let penalty = 0;
    for (let j = 0; j < this.columns; j++) penalty += theta[j] * theta[j];
    return loss + penalty / 2;
  }

  /** The gradient [k + 1] at θ, whose decision values are z. */
  gradient(
    theta: Float64Array,
    z: Float64Array,
    out: Float64Array = new Float64Array(this.columns + 1),
  ): Float64Array {
    const { labels } = this.data;
    const weight = this.#weight;
    const residual = new Float64Array(this.rows);
    for (let i = 0; i < z.length; i++) {
      residual[i] = labels[i] === 1 ? -weight[i] / (1 + Math.exp(z[i])) : weight[i] / (1 + Math.exp(-z[i]));
    }
    this.#transposedProduct(residual, out);
    for (let j = 0; j < this.columns; j++) out[j] += theta[j];
    return out;
  }

  /** Second derivative of each row's loss by its decision value: C·ω_i·σ(z_i)·σ(−z_i). */
  curvature(z: Float64Array): Float64Array {
    const weight = this.#weight;
    const out = new Float64Array(z.length);
    for (let i = 0; i < z.length; i++) {
      const e = Math.exp(-Math.abs(z[i]));
      out[i] = (weight[i] * e) / ((1 + e) * (1 + e));
    }
    return out;
  }

  /** The Hessian's product with v [k + 1] at the given curvature, at 2·n·k operations. */
  hessianProduct(
    curvature: Float64Array,
    v: Float64Array,
    out: Float64Array = new Float64Array(this.columns + 1),
  ): Float64Array {
    const u = this.decision(v);
    for (let i = 0; i < u.length; i++) u[i] *= curvature[i];
    this.#transposedProduct(u, out);
    for (let j = 0; j < this.columns; j++) out[j] += v[j];
    return out;
  }

  /** Lower triangle of the Hessian, row-major [(k + 1) × (k + 1)], at the given curvature. */
  hessian(curvature: Float64Array): Float64Array {
    return finish(this.hessianSteps(curvature));
  }

  /** {@link hessian} as a generator that pauses after every tile of rows, about 4 million multiplications. */
  *hessianSteps(curvature: Float64Array): Generator<undefined, Float64Array, undefined> {
    const k = this.columns;
    const m = k + 1;
    const n = this.rows;
    const padded = (m + 3) & ~3;
    const out = new Float64Array(m * m);
    // A tile of rows, expanded and multiplied by √curvature, stays in the second-level cache while all pairs of its
    // columns are multiplied. Columns beyond m stay zero.
    const height = Math.max(32, Math.min(512, Math.floor(32_768 / padded)));
    const tile = new Float64Array(padded * height);
    const root = new Float64Array(height);
    for (let start = 0; start < n; start += height) {
      const count = Math.min(height, n - start);
      for (let i = 0; i < count; i++) root[i] = Math.sqrt(curvature[start + i]);
      for (let j = 0; j < k; j++) {
        const column = this.data.columns[j];
        const center = this.#center[j];
        const factor = this.#inverseScale[j];
        for (let i = 0; i < count; i++)
          tile[j * height + i] = (column[start + i] - center) * factor * root[i];
      }
      for (let i = 0; i < count; i++) tile[k * height + i] = root[i];
      addProducts(tile, height, count, m, out);
      yield;
    }
    for (let j = 0; j < k; j++) out[j * m + j] += 1;
    return out;
  }

  /** True when every row with weight lies strictly on its side of z = 0. */
  separates(z: Float64Array): boolean {
    const { labels } = this.data;
    for (let i = 0; i < z.length; i++) {
      if (this.#weight[i] > 0 && !((labels[i] === 1 ? z[i] : -z[i]) > 0)) return false;
    }
    return true;
  }

  /** out += X̃·θ, without the intercept; four columns at once, to read and write `out` less often. */
  #addProduct(theta: Float64Array, out: Float64Array): Float64Array {
    const n = this.rows;
    const k = this.columns;
    const { columns } = this.data;
    const center = this.#center;
    const factors = this.#inverseScale.map((inverse, j) => theta[j] * inverse);
    let j = 0;
    for (; j + 3 < k; j += 4) {
      const [x0, x1, x2, x3] = columns.slice(j, j + 4);
      const [c0, c1, c2, c3] = center.subarray(j, j + 4);
      const [f0, f1, f2, f3] = factors.subarray(j, j + 4);
      for (let i = 0; i < n; i++) {
        out[i] += (x0[i] - c0) * f0 + (x1[i] - c1) * f1 + ((x2[i] - c2) * f2 + (x3[i] - c3) * f3);
      }
    }
    for (; j < k; j++) {
      const x = columns[j];
      const c = center[j];
      const f = factors[j];
      for (let i = 0; i < n; i++) out[i] += (x[i] - c) * f;
    }
    return out;
  }

  /** out = (X̃ᵀu, Σu); four columns at once, for four sums that do not wait for one another. */
  #transposedProduct(u: Float64Array, out: Float64Array): void {
    const n = this.rows;
    const k = this.columns;
    const { columns } = this.data;
    const center = this.#center;
    let j = 0;
    for (; j + 3 < k; j += 4) {
      const [x0, x1, x2, x3] = columns.slice(j, j + 4);
      const [c0, c1, c2, c3] = center.subarray(j, j + 4);
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let i = 0; i < n; i++) {
        const weight = u[i];
        s0 += (x0[i] - c0) * weight;
        s1 += (x1[i] - c1) * weight;
        s2 += (x2[i] - c2) * weight;
        s3 += (x3[i] - c3) * weight;
      }
      out[j] = s0;
      out[j + 1] = s1;
      out[j + 2] = s2;
      out[j + 3] = s3;
    }
    for (; j < k; j++) {
      const x = columns[j];
      const c = center[j];
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (x[i] - c) * u[i];
      out[j] = sum;
    }
    for (let j = 0; j < k; j++) out[j] *= this.#inverseScale[j];
    let sum = 0;
    for (let i = 0; i < n; i++) sum += u[i];
    out[k] = sum;
  }
}

/** Runs a generator that pauses to its end, without a pause. */
export function finish<T>(steps: Generator<undefined, T, undefined>): T {
  for (;;) {
    const state = steps.next();
    if (state.done) return state.value;
  }
}

/** Adds the inner products of the tile's first m columns (stride `height`) to the lower triangle of out, 4 × 2 at once. */
function addProducts(tile: Float64Array, height: number, count: number, m: number, out: Float64Array): void {
  for (let r = 0; r < m; r += 4) {
    const r0 = r * height;
    const r1 = r0 + height;
    const r2 = r1 + height;
    const r3 = r2 + height;
    const last = Math.min(r + 3, m - 1);
    for (let c = 0; c <= last; c += 2) {
      const c0 = c * height;
      const c1 = c0 + height;
      let s00 = 0;
      let s01 = 0;
      let s10 = 0;
      let s11 = 0;
      let s20 = 0;
      let s21 = 0;
      let s30 = 0;
      let s31 = 0;
      for (let i = 0; i < count; i++) {
        const x = tile[c0 + i];
        const y = tile[c1 + i];
        const a0 = tile[r0 + i];
        s00 += a0 * x;
        s01 += a0 * y;
        const a1 = tile[r1 + i];
        s10 += a1 * x;
        s11 += a1 * y;
        const a2 = tile[r2 + i];
        s20 += a2 * x;
        s21 += a2 * y;
        const a3 = tile[r3 + i];
        s30 += a3 * x;
        s31 += a3 * y;
      }
      addAt(out, m, r, c, s00, s01);
      addAt(out, m, r + 1, c, s10, s11);
      addAt(out, m, r + 2, c, s20, s21);
      addAt(out, m, r + 3, c, s30, s31);
    }
  }
}

/** Adds two neighbouring entries of row r where they belong to the lower triangle of an m × m matrix. */
function addAt(out: Float64Array, m: number, r: number, c: number, left: number, right: number): void {
  if (r >= m || c > r) return;
  out[r * m + c] += left;
  if (c < r) out[r * m + c + 1] += right;
}
