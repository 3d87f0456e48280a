/**
 * Elastic net by coordinate descent (Friedman, Hastie, Tibshirani 2010), for y and Z that are centred:
 * min ‖y − Zw‖²/(2n) + λ₁‖w‖₁ + λ₂/2·‖w‖² with λ₁ = αρ, λ₂ = α(1 − ρ) (scikit-learn's `ElasticNet`).
 */
import type { Pacer } from "../backends/cpu/pacer.ts";
import { stepOnActive } from "./active-newton.ts";
import { squaredNorm, type Design } from "./design.ts";
import type { Solution, SolverOptions } from "./solution.ts";

/** Sweeps over the coordinates that are not zero between two over all of them. */
const ACTIVE_SWEEPS = 10;

/** Sweeps over all coordinates, with those in between, before the residual is computed afresh. */
const SWEEPS_PER_CHECK = 3;

/** Newton steps between two rounds of sweeps: each may only find that some coordinates are zero. */
const NEWTON_STEPS = 5;

/** Checks in a row without a better gap after which rounding must have set a floor. */
const IDLE_CHECKS = 50;

/** z_jᵀr, kept up to date while coordinates move: by the Gram matrix, or by the residual itself. */
interface Correlations {
  /** From the data, at w. */
  refresh(w: Float64Array): Promise<{ correlations: Float64Array; residualSquare: number }>;
  of(j: number): number;
  /** ‖z_j‖². */
  square(j: number): number;
  /** Coordinate j has grown by `change`. */
  move(j: number, change: number): void;
}

/**
 * @param k columns of the design, from the first
 * @param gram ZᵀZ [k × k]; without it every step reads a column
 */
export async function fitElasticNet(
  design: Design,
  gram: Float64Array | undefined,
  y: Float64Array,
  k: number,
  options: SolverOptions & { readonly l1Ratio: number },
  pacer: Pacer,
): Promise<Solution> {
  const { alpha, l1Ratio, tolerance, maxIterations } = options;
  const n = design.rows;
  // All is multiplied by n, and divided in the end.
  const l1 = n * alpha * l1Ratio;
  const l2 = n * alpha * (1 - l1Ratio);
  const state: Correlations = gram
    ? new GramCorrelations(design, gram, y, k)
    : await residualCorrelations(design, y, k);
  const target = (tolerance * squaredNorm(y)) / 2;
  const w = new Float64Array(k);
  const all = Uint32Array.from(w.keys());
  let iterations = 0;
  let best: Solution | undefined;
  let idle = 0;
  for (;;) {
    const { correlations, residualSquare } = await state.refresh(w);
    const gap = dualityGap(w, correlations, residualSquare, l1, l2);
    const objective = residualSquare / 2 + l1 * absoluteSum(w) + (l2 / 2) * squaredNorm(w);
    const converged = gap <= target;
    idle = best && !(gap / n < 0.99 * best.convergence.dualityGap) ? idle + 1 : 0;
    if (!best || gap / n < best.convergence.dualityGap) {
      best = {
        coefficients: w.slice(),
        convergence: { converged, iterations, objective: objective / n, dualityGap: gap / n },
      };
    }
    if (converged || idle > IDLE_CHECKS || iterations >= maxIterations) return best;
    let q = correlations;
    for (let s = 0; gram && s < NEWTON_STEPS && iterations > 0 && iterations < maxIterations; s++) {
      const stepped = await stepOnActive(w, q, gram, l1, l2, pacer);
      iterations++;
      if (stepped !== "none") q = (await state.refresh(w)).correlations;
      if (stepped !== "part") break;
    }
    for (let sweep = 0; sweep < SWEEPS_PER_CHECK && iterations < maxIterations; sweep++) {
      const moved = await sweepOver(all, w, state, l1, l2, pacer);
      iterations++;
      if (moved === 0) break;
      const active = all.filter((j) => w[j] !== 0);
      for (let s = 0; s < ACTIVE_SWEEPS && iterations < maxIterations; s++) {
        const change = await sweepOver(active, w, state, l1, l2, pacer);
        iterations++;
        if (change <= moved * 1e-3) break;
      }
    }
  }
}

/** One round of exact minimisations along the coordinates given; returns the largest change in the fit, |Δw_j|·‖z_j‖. */
async function sweepOver(
  coordinates: Uint32Array,
  w: Float64Array,
  state: Correlations,
  l1: number,
  l2: number,
  pacer: Pacer,
): Promise<number> {
  let largest = 0;
  for (const j of coordinates) {
    const square = state.square(j);
    const curvature = square + l2;
    // A constant column explains nothing.
    if (square === 0) continue;
    const next = softThreshold(state.of(j) + square * w[j], l1) / curvature;
    const change = next - w[j];
    if (change !== 0) {
      w[j] = next;
      state.move(j, change);
      largest = Math.max(largest, Math.abs(change) * Math.sqrt(square));
    }
    if (pacer.due) await pacer.turn();
  }
  return largest;
}

/** Shrinks v towards zero by t. */
function softThreshold(v: number, t: number): number {
  return v > t ? v - t : v < -t ? v + t : 0;
}

/**
 * The smaller of two bounds on what is left to gain (n times the objective's), both sums of terms that cannot be negative,
 * so that no digits cancel. q = Zᵀr.
 * - with the residual as the dual point, for λ₂ > 0: Σ ½λ₂(w − S(q, λ₁)/λ₂)² + λ₁|w| − clip(q, ±λ₁)·w
 * - with the residual of the augmented lasso shrunk by s until it is feasible, v = q − λ₂w, s = min(1, λ₁/max|v|):
 *   ½(1 − s)²(‖r‖² + λ₂‖w‖²) + Σ λ₁|w| − s·v·w
 */
function dualityGap(
  w: Float64Array,
  q: Float64Array,
  residualSquare: number,
  l1: number,
  l2: number,
): number {
  let direct = l2 > 0 ? 0 : Infinity;
  let most = 0;
  for (let j = 0; j < w.length; j++) {
    if (l2 > 0) {
      const kept = softThreshold(q[j], l1);
      const clipped = Math.max(-l1, Math.min(l1, q[j]));
      direct += (l2 / 2) * (w[j] - kept / l2) ** 2 + Math.abs(w[j]) * (l1 - clipped * Math.sign(w[j]));
    }
    most = Math.max(most, Math.abs(q[j] - l2 * w[j]));
  }
  const s = most > l1 ? l1 / most : 1;
  let shrunk = ((1 - s) ** 2 / 2) * (residualSquare + l2 * squaredNorm(w));
  for (let j = 0; j < w.length; j++) {
    shrunk += Math.max(0, Math.abs(w[j]) * (l1 - s * (q[j] - l2 * w[j]) * Math.sign(w[j])));
  }
  return Math.min(direct, shrunk);
}

function absoluteSum(w: Float64Array): number {
  let sum = 0;
  for (const value of w) sum += Math.abs(value);
  return sum;
}

class GramCorrelations implements Correlations {
  readonly #design: Design;
  readonly #gram: Float64Array;
  readonly #y: Float64Array;
  readonly #k: number;
  #q: Float64Array;

  constructor(design: Design, gram: Float64Array, y: Float64Array, k: number) {
    this.#design = design;
    this.#gram = gram;
    this.#y = y;
    this.#k = k;
    this.#q = new Float64Array(k);
  }

  async refresh(w: Float64Array): Promise<{ correlations: Float64Array; residualSquare: number }> {
    const r = await this.#design.product(w, this.#y, -1);
    this.#q = await this.#design.correlations(r, this.#k);
    return { correlations: this.#q, residualSquare: squaredNorm(r) };
  }

  of(j: number): number {
    return this.#q[j];
  }

  square(j: number): number {
    return this.#gram[j * this.#k + j];
  }

  move(j: number, change: number): void {
    const row = j * this.#k;
    for (let c = 0; c < this.#k; c++) this.#q[c] -= this.#gram[row + c] * change;
  }
}

async function residualCorrelations(design: Design, y: Float64Array, k: number): Promise<Correlations> {
  let r: Float64Array = y.slice();
  const squares = await design.squares(k);
  return {
    async refresh(w) {
      r = await design.product(w, y, -1);
      return { correlations: await design.correlations(r, k), residualSquare: squaredNorm(r) };
    },
    of: (j) => design.dot(j, r),
    square: (j) => squares[j],
    move: (j, change) => {
      design.addTo(r, j, -change);
    },
  };
}
