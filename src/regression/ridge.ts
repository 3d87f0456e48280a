/** Ridge regression: min ‖y − Zw‖² + α‖w‖², for y and Z that are centred (scikit-learn's `Ridge`). */
import { choleskyRow, choleskySolve } from "../backends/cpu/reference/cholesky.ts";
import type { Pacer } from "../backends/cpu/pacer.ts";
import { squaredNorm, type Design } from "./design.ts";
import type { Solution, SolverOptions } from "./solution.ts";

/** By how much conjugate gradients reduce the residual before it is computed afresh. */
const REDUCTION = 1e-10;

/** A step from the gradient g: an approximate solution of (ZᵀZ + αI)·step = g, and the iterations that it took. */
type StepSolver = (
  g: Float64Array,
  iterationsLeft: number,
) => Promise<{ step: Float64Array; iterations: number }>;

/**
 * Solves by refinement: w gains a solution of (ZᵀZ + αI)·step = Zᵀr − αw until the duality gap, which for this
 * objective is exactly ‖Zᵀr − αw‖²/α with r = y − Zw as the dual point, is below the tolerance.
 *
 * @param k columns of the design, from the first
 * @param gram ZᵀZ [k × k] for Cholesky; without it the steps are found by conjugate gradients, which form no matrix
 */
export async function fitRidge(
  design: Design,
  gram: Float64Array | undefined,
  y: Float64Array,
  k: number,
  options: SolverOptions,
  pacer: Pacer,
): Promise<Solution> {
  const { alpha, tolerance, maxIterations } = options;
  const solve = gram
    ? await choleskySteps(gram, k, alpha, pacer)
    : conjugateGradientSteps(design, k, alpha, y.length);
  const target = tolerance * squaredNorm(y);
  let w = new Float64Array(k);
  let iterations = 0;
  let best: Solution | undefined;
  for (;;) {
    const r = await design.product(w, y, -1);
    const g = await design.correlations(r, k);
    for (let c = 0; c < k; c++) g[c] -= alpha * w[c];
    const dualityGap = squaredNorm(g) / alpha;
    const objective = squaredNorm(r) + alpha * squaredNorm(w);
    const converged = dualityGap <= target;
    // Rounding sets a floor: a step that does not halve the gap is the last, and the better end of it counts.
    const stuck = best !== undefined && !(dualityGap < best.convergence.dualityGap / 2);
    if (!best || dualityGap < best.convergence.dualityGap) {
      best = { coefficients: w, convergence: { converged, iterations, objective, dualityGap } };
    }
    if (converged || stuck || iterations >= maxIterations) return best;
    const { step, iterations: taken } = await solve(g, maxIterations - iterations);
    w = w.map((value, c) => value + step[c]);
    iterations += taken;
  }
}

async function choleskySteps(
  gram: Float64Array,
  k: number,
  alpha: number,
  pacer: Pacer,
): Promise<StepSolver> {
  const factor = gram.slice();
  for (let c = 0; c < k; c++) factor[c * k + c] += alpha;
  for (let row = 0; row < k; row++) {
    choleskyRow(factor, k, row);
    if (pacer.due) await pacer.turn();
  }
  return (g) => Promise.resolve({ step: choleskySolve(factor, k, g), iterations: 1 });
}

function conjugateGradientSteps(design: Design, k: number, alpha: number, rows: number): StepSolver {
  const zeros = new Float64Array(rows);
  return async (g, iterationsLeft) => {
    const step = new Float64Array(k);
    const residual = g.slice();
    let direction = g.slice();
    let square = squaredNorm(g);
    const enough = REDUCTION * REDUCTION * square;
    let iterations = 0;
    while (square > enough && iterations < iterationsLeft) {
      const image = await design.product(direction, zeros, 1);
      const curved = await design.correlations(image, k);
      const length = square / (squaredNorm(image) + alpha * squaredNorm(direction));
      for (let c = 0; c < k; c++) {
        step[c] += length * direction[c];
        residual[c] -= length * (curved[c] + alpha * direction[c]);
      }
      const next = squaredNorm(residual);
      direction = direction.map((value, c) => residual[c] + (next / square) * value);
      square = next;
      iterations++;
    }
    return { step, iterations };
  };
}
