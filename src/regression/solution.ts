/** What a solver of this folder returns. */

/** How a regression ended, evaluated in float64 on all training rows. */
export interface RegressionConvergence {
  /** The duality gap is at or below the tolerance times the objective of the empty probe. */
  readonly converged: boolean;
  /** Steps of refinement or conjugate gradients (ridge), sweeps over the coordinates and Newton steps (elastic net). */
  readonly iterations: number;
  /** The objective's value. */
  readonly objective: number;
  /** The objective minus a lower bound of its minimum: never negative. */
  readonly dualityGap: number;
}

export interface Solution {
  /** On the centred and scaled columns. */
  readonly coefficients: Float64Array;
  readonly convergence: RegressionConvergence;
}

export interface SolverOptions {
  readonly alpha: number;
  /** Duality gap over the objective of w = 0 at which a solver stops. */
  readonly tolerance: number;
  readonly maxIterations: number;
}
