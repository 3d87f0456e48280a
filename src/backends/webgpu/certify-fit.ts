/** The last digits of a fit that was computed in float32: float64 on the host. */
import type { Convergence } from "../backend.ts";
import { choleskySolve } from "../cpu/cholesky.ts";
import type { LogisticLoss } from "../cpu/logistic-loss.ts";
import { fitNewton, type NewtonResult } from "../cpu/newton.ts";

/** Chord steps before the solver proper takes over. */
const MOST_CHORD_STEPS = 6;

/**
 * Brings θ to the tolerance and states how it converged, in float64.
 *
 * The GPU's Cholesky factor L belongs to a Hessian close by, so chord steps θ ← θ − (L·Lᵀ)⁻¹g contract fast, each at the
 * price of one gradient, 4·n·k operations. The decrement is gᵀ(L·Lᵀ)⁻¹g/(2·C·Σω): with L off by a relative ε, so is it;
 * a fit therefore has to reach half the tolerance. Where chord steps contract slowly (an ill-conditioned Hessian whose
 * float32 factor is poor) damped Newton steps with float64 factors go on from the best θ.
 *
 * @param theta (w, b) from the GPU
 * @param factor lower-triangular L [(k + 1) × (k + 1)], row-major
 * @param taken Newton steps taken so far
 */
export function certifyFit(
  loss: LogisticLoss,
  theta: Float64Array,
  factor: Float32Array,
  taken: number,
  options: { readonly tolerance: number; readonly maxIterations: number },
): NewtonResult {
  const m = theta.length;
  let steps = taken;
  let previous = Infinity;
  let best = theta;
  for (let round = 0; round <= MOST_CHORD_STEPS; round++) {
    const z = loss.decision(theta);
    const gradient = loss.gradient(theta, z);
    const step = choleskySolve(factor, m, gradient);
    const decrement = dot(gradient, step) / (2 * loss.totalWeight);
    const converged = decrement >= 0 && decrement <= options.tolerance / 2;
    if (converged) return { theta, convergence: certificate(loss, theta, z, gradient, decrement, steps) };
    if (!(decrement < previous / 4) || !(decrement > 0)) break;
    best = theta;
    if (round === MOST_CHORD_STEPS || steps >= options.maxIterations) break;
    previous = decrement;
    theta = theta.map((t, j) => t - step[j]);
    steps++;
  }
  const finite = best.every((t) => Number.isFinite(t));
  const { theta: polished, convergence } = fitNewton(loss, {
    tolerance: options.tolerance,
    maxIterations: Math.max(0, options.maxIterations - steps),
    ...(finite && { start: best }),
  });
  return { theta: polished, convergence: { ...convergence, iterations: steps + convergence.iterations } };
}

function certificate(
  loss: LogisticLoss,
  theta: Float64Array,
  z: Float64Array,
  gradient: Float64Array,
  decrement: number,
  iterations: number,
): Convergence {
  return {
    converged: true,
    iterations,
    gradientNorm: Math.sqrt(dot(gradient, gradient)),
    newtonDecrement: decrement,
    objective: loss.value(theta, z),
    separated: loss.separates(z),
  };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
