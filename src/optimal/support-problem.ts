/**
 * The problem over which supports are compared, on the host in float64:
 *
 *   c(S) = min over β, b of  Σ_i ω_i·ℓ(y_i·(x_iS·β + b)) + ‖β‖²/(2γ)
 *
 * and its dual, for u_i = ω_i·λ_i·y_i with 0 ≤ λ ≤ 1 and Σ u = 0:
 *
 *   c(S) = max over λ of  Σ_i ω_i·φ(λ_i) − (γ/2)·Σ_{j in S} (X_jᵀu)².
 *
 * (Gurnee et al. 2023, after Bertsimas, Pauphilet and Van Parys, "Sparse classification: a scalable discrete optimization
 * perspective", Machine Learning 110, 2021.)
 */
import { MARGIN_LOSSES, type MarginLoss, type OptimalLoss } from "./margin-loss.ts";

export interface SupportProblem {
  readonly rows: number;
  /** By row, +1 or −1. */
  readonly signs: Float64Array;
  /** ω by row, not negative. */
  readonly weights: Float64Array;
  /** Candidate columns, preprocessed, centred and multiplied by the signs. Centring changes the intercept alone. */
  readonly columns: readonly Float64Array[];
  /** What was subtracted from every preprocessed column. */
  readonly means: Float64Array;
  /** Euclidean norm of every column. */
  readonly norms: Float64Array;
  readonly gamma: number;
  readonly loss: MarginLoss;
  /** Σω of the positive and of the negative rows. */
  readonly mass: { readonly positive: number; readonly negative: number };
}

/**
 * Prepares a problem. Pauses after every column.
 * @param columns preprocessed columns of the labelled rows; overwritten
 * @param labels 1 or 0 by row
 */
export function* supportProblem(
  columns: readonly Float64Array[],
  labels: Uint8Array,
  weights: Float64Array,
  gamma: number,
  loss: OptimalLoss,
): Generator<undefined, SupportProblem, undefined> {
  const rows = labels.length;
  const signs = Float64Array.from(labels, (label) => (label === 1 ? 1 : -1));
  const means = new Float64Array(columns.length);
  const norms = new Float64Array(columns.length);
  for (const [j, column] of columns.entries()) {
    let mean = 0;
    for (let i = 0; i < rows; i++) mean += column[i];
    mean /= rows;
    means[j] = mean;
    let squares = 0;
    for (let i = 0; i < rows; i++) {
      const value = column[i] - mean;
      squares += value * value;
      column[i] = value * signs[i];
    }
    norms[j] = Math.sqrt(squares);
    yield;
  }
  const mass = { positive: 0, negative: 0 };
  for (let i = 0; i < rows; i++) mass[labels[i] === 1 ? "positive" : "negative"] += weights[i];
  return { rows, signs, weights, columns, means, norms, gamma, loss: MARGIN_LOSSES[loss], mass };
}
