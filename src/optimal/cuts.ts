/**
 * Cuts: one dual point's bound on every support at once. For dual-feasible λ, c(S) ≥ constant − (γ/2)·Σ_{j in S} q_j with
 * q_j = (X_jᵀu)², whatever the size of S, so cuts are shared by all nodes and all k.
 */
import type { SupportProblem } from "./support-problem.ts";

export interface Cut {
  /** Σ ω·φ(λ), less what rounding may have added. */
  readonly constant: number;
  /** (|X_jᵀu| + rounding)² by candidate; 0 where it was not computed. */
  readonly q: Float64Array;
}

/** How far a sum of n products in float64 may be from the truth, relative to the sum of their magnitudes. */
export function sumError(rows: number): number {
  return (rows + 32) * 2 ** -53;
}

/**
 * Makes λ dual-feasible in place: scales the slopes of the heavier class down until Σ ω·λ·y = 0, but for the rounding of
 * the two sums. Fills v = ω·λ.
 */
export function balance(problem: SupportProblem, slope: Float64Array, v: Float64Array): void {
  const { signs, weights, rows } = problem;
  let positive = 0;
  let negative = 0;
  for (let i = 0; i < rows; i++) {
    const mass = weights[i] * slope[i];
    v[i] = mass;
    if (signs[i] > 0) positive += mass;
    else negative += mass;
  }
  const least = Math.min(positive, negative);
  const heavier = positive > negative ? 1 : -1;
  const factor = positive === negative ? 1 : least / Math.max(positive, negative);
  if (factor < 1) {
    for (let i = 0; i < rows; i++) {
      if (signs[i] !== heavier) continue;
      slope[i] *= factor;
      v[i] = weights[i] * slope[i];
    }
  }
}

/** Σ v·x, four sums side by side. */
export function product(v: Float64Array, x: Float64Array): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < v.length; i += 4) {
    a += v[i] * x[i];
    b += v[i + 1] * x[i + 1];
    c += v[i + 2] * x[i + 2];
    d += v[i + 3] * x[i + 3];
  }
  for (; i < v.length; i++) a += v[i] * x[i];
  return a + b + (c + d);
}

/**
 * The constant of the cut of a balanced λ, less a margin for rounding. The classes of a balanced λ differ by 2·{@link sumError} at
 * most: that share less of one of them is feasible to the last digit. As φ is concave and φ(0) = 0, its value is no more than that share
 * smaller; the third part is for the sum that gives the value. The margin knows no support, and so holds for every one of any size.
 */
export function cutConstant({ loss, weights, rows }: SupportProblem, slope: Float64Array): number {
  return loss.dualValue(slope, weights) * (1 - 3 * sumError(rows));
}

/** An upper bound of (X_jᵀu)² from its computed value, for the feasible u of {@link cutConstant}. */
export function inflated(problem: SupportProblem, j: number, d: number, vNorm: number): number {
  const t = Math.abs(d) + 3 * sumError(problem.rows) * problem.norms[j] * vNorm;
  return t * t;
}

/** What a node of the search has decided about every candidate. */
export const FREE = 0;
export const IN = 1;
export const OUT = 2;

/** Σ of q over those decided in, and of the `slots` largest over the free ones. `scratch` holds as many values as q. */
export function largestSum(
  q: Float64Array,
  state: Uint8Array,
  slots: number,
  scratch: Float64Array,
): { sum: number; last: number; next: number } {
  let sum = 0;
  let count = 0;
  // Insertion into a short sorted list: slots is small.
  for (let j = 0; j < q.length; j++) {
    const value = q[j];
    if (state[j] === IN) sum += value;
    else if (state[j] === FREE && (count <= slots || value > scratch[slots])) {
      let at = Math.min(count, slots);
      for (; at > 0 && scratch[at - 1] < value; at--) scratch[at] = scratch[at - 1];
      scratch[at] = value;
      count = Math.min(count + 1, slots + 1);
    }
  }
  const taken = Math.min(count, slots);
  for (let t = 0; t < taken; t++) sum += scratch[t];
  return {
    sum,
    last: taken === slots && slots > 0 ? scratch[slots - 1] : 0,
    next: count > slots ? scratch[slots] : 0,
  };
}
