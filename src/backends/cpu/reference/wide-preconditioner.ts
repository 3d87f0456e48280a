/**
 * A preconditioner for wide problems: about the Hessian I + C·X̃ᵀDX̃, from a sample of rows.
 *
 *   M = S·(I + Σ_q t_q·v_q·v_qᵀ)·S,   S² = I + τ·diag(variance),   τ = mean curvature · C·Σω,   t_q = τ/(1 + τ)·ℓ_q
 *
 * v_q are the directions in which the standardised columns vary together. Activations have few that hold most of the variance,
 * and without them a first-order method needs three times the passes. An eigenvalue λ̂ of the sample's covariance counts
 * where it lies above what s rows of k independent columns show by chance, (1 + √(k/s))² (Marchenko and Pastur 1967), and
 * stands for ℓ = λ̂ − k/s of the population.
 */
import type { Pacer } from "../pacer.ts";

/** Rows in the sample. */
export const SAMPLE_ROWS = 512;

/** Directions kept at most. */
const MOST_DIRECTIONS = 16;

/** Subspace iterations: the leading eigenvectors need few, since those kept stand well apart. */
const ROUNDS = 8;

/** A sample of rows as they are stored: [s × k], row-major, with their weights. */
export interface RowSample {
  readonly values: Float32Array;
  readonly weights: Float64Array;
}

/** Inner products of all pairs of rows, [s × s], of a matrix [s × k]. */
export type GramOfRows = (rows: Float32Array, s: number, k: number) => Promise<Float64Array>;

export class WidePreconditioner {
  /** Weighted mean of the sampled rows, by column. */
  readonly mean: Float64Array;
  readonly #variance: Float64Array;
  readonly #directions: Float64Array[];
  readonly #strengths: number[];
  readonly #scaling: Float64Array;
  #tau = 1;

  private constructor(
    mean: Float64Array,
    variance: Float64Array,
    directions: Float64Array[],
    strengths: number[],
  ) {
    this.mean = mean;
    this.#variance = variance;
    this.#directions = directions;
    this.#strengths = strengths;
    this.#scaling = new Float64Array(variance.length);
  }

  /** @param scale divides each column in the objective */
  static async fromSample(
    { values, weights }: RowSample,
    scale: Float64Array,
    pacer: Pacer,
    gramOfRows: GramOfRows,
  ): Promise<WidePreconditioner> {
    const k = scale.length;
    const s = weights.length;
    const mean = new Float64Array(k);
    const squares = new Float64Array(k);
    let total = 0;
    for (let i = 0; i < s; i++) {
      total += weights[i];
      for (let j = 0; j < k; j++) mean[j] += weights[i] * values[i * k + j];
    }
    for (let j = 0; j < k; j++) mean[j] /= total;
    if (pacer.due) await pacer.turn();
    for (let i = 0; i < s; i++) {
      for (let j = 0; j < k; j++) squares[j] += weights[i] * (values[i * k + j] - mean[j]) ** 2;
    }
    const sd = squares.map((q) => Math.sqrt(q / total));
    if (pacer.due) await pacer.turn();
    // Standardised rows, weighted; a column that does not vary in the sample has no part in a direction.
    const rows = new Float32Array(s * k);
    for (let i = 0; i < s; i++) {
      const root = Math.sqrt(weights[i] / total);
      for (let j = 0; j < k; j++) {
        rows[i * k + j] = sd[j] > 0 ? (root * (values[i * k + j] - mean[j])) / sd[j] : 0;
      }
    }
    const edge = 1.1 * (1 + Math.sqrt(k / s)) ** 2;
    const gram = await gramOfRows(rows, s, k);
    const { directions, eigenvalues } = await leadingDirections(rows, gram, s, k, edge, pacer);
    return new WidePreconditioner(
      mean,
      sd.map((v, j) => (v / scale[j]) ** 2),
      directions,
      eigenvalues.map((value) => value - k / s),
    );
  }

  /** Takes the rows' curvature into account: τ = mean curvature · C·Σω. */
  update(tau: number): void {
    this.#tau = Math.max(tau, Number.MIN_VALUE);
    for (const [j, v] of this.#variance.entries()) this.#scaling[j] = 1 / Math.sqrt(1 + this.#tau * v);
  }

  /** out = M⁻¹·r, [k + 1] each. */
  apply(r: Float64Array, out: Float64Array): Float64Array {
    const k = this.#variance.length;
    const scaling = this.#scaling;
    for (let j = 0; j < k; j++) out[j] = r[j] * scaling[j];
    for (const [q, v] of this.#directions.entries()) {
      const t = (this.#tau / (1 + this.#tau)) * this.#strengths[q];
      let sum = 0;
      for (let j = 0; j < k; j++) sum += v[j] * out[j];
      sum *= t / (1 + t);
      for (let j = 0; j < k; j++) out[j] -= sum * v[j];
    }
    for (let j = 0; j < k; j++) out[j] *= scaling[j];
    out[k] = r[k] / this.#tau;
    return out;
  }
}

/** {@link GramOfRows} in plain loops. */
export function gramInLoops(pacer: Pacer): GramOfRows {
  return async (rows, s, k) => {
    const gram = new Float64Array(s * s);
    for (let p = 0; p < s; p++) {
      const a = rows.subarray(p * k, (p + 1) * k);
      for (let q = 0; q <= p; q++) {
        const b = rows.subarray(q * k, (q + 1) * k);
        let sum = 0;
        for (let j = 0; j < k; j++) sum += a[j] * b[j];
        gram[p * s + q] = sum;
        gram[q * s + p] = sum;
      }
      if (pacer.due) await pacer.turn();
    }
    return gram;
  };
}

/**
 * Eigenvectors [k] of RᵀR with eigenvalues above `edge`, orthonormal, in descending order; R is [s × k], and G = R·Rᵀ has the
 * same eigenvalues. Subspace iteration.
 */
async function leadingDirections(
  rows: Float32Array,
  gram: Float64Array,
  s: number,
  k: number,
  edge: number,
  pacer: Pacer,
): Promise<{ directions: Float64Array[]; eigenvalues: number[] }> {
  const count = Math.min(MOST_DIRECTIONS, s);
  // Any start will do that is not orthogonal to what is sought; this one is spread over all rows.
  let basis = Array.from({ length: count }, (_, r) =>
    Float64Array.from(
      { length: s },
      (_, i) => Math.cos((Math.PI * r * (2 * i + 1)) / (2 * s)) + (r === i ? 1 : 0),
    ),
  );
  let lengths = orthonormalise(basis);
  for (let round = 0; round < ROUNDS; round++) {
    basis = basis.map((v) => {
      const product = new Float64Array(s);
      for (let r = 0, at = 0; r < s; r++) {
        let sum = 0;
        for (let c = 0; c < s; c++, at++) sum += gram[at] * v[c];
        product[r] = sum;
      }
      return product;
    });
    lengths = orthonormalise(basis);
    if (pacer.due) await pacer.turn();
  }
  const kept = Array.from(basis.keys())
    .filter((r) => lengths[r] > edge)
    .sort((a, b) => lengths[b] - lengths[a]);
  const directions: Float64Array[] = [];
  for (const r of kept) {
    const v = new Float64Array(k);
    for (let i = 0; i < s; i++) {
      const factor = basis[r][i];
      for (let j = 0; j < k; j++) v[j] += factor * rows[i * k + j];
    }
    directions.push(v);
    if (pacer.due) await pacer.turn();
  }
  // Twice is enough (Giraud, Langou and Rozloznik 2005): the preconditioner is positive only if they are orthonormal.
  orthonormalise(directions);
  orthonormalise(directions);
  return { directions, eigenvalues: kept.map((r) => lengths[r]) };
}

/** Gram–Schmidt in place; returns the lengths that were left. A vector without length becomes zero. */
function orthonormalise(vectors: Float64Array[]): number[] {
  return vectors.map((v, at) => {
    const before = Math.sqrt(dot(v, v));
    for (const u of vectors.slice(0, at)) {
      const share = dot(u, v);
      for (let i = 0; i < v.length; i++) v[i] -= share * u[i];
    }
    const length = Math.sqrt(dot(v, v));
    const factor = length > 1e-12 * before ? 1 / length : 0;
    for (let i = 0; i < v.length; i++) v[i] *= factor;
    return length;
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
