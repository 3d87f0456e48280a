/** The last digits of a fit that was computed in float32: float64 on the host. */
import type { Convergence } from "../../backend.ts";
import { choleskySolve } from "./cholesky.ts";
import type { LogisticLoss } from "./logistic-loss.ts";
import { newtonSteps, type NewtonResult } from "./newton.ts";
import type { Pacer } from "../pacer.ts";

/** Chord steps before the solver proper takes over. */
const MOST_CHORD_STEPS = 6;

/** Share of a diagonal entry that its pivot must keep for a float32 factor to stand for the Hessian itself. */
const LEAST_PIVOT = 1e-3;

/**
 * Brings θ to the tolerance and states how it converged, in float64.
 *
 * The GPU's Cholesky factor L belongs to a Hessian close by, so chord steps θ ← θ − (L·Lᵀ)⁻¹g contract fast, each at the
 * price of one gradient, 4·n·k operations. The decrement is then taken from L too, gᵀ(L·Lᵀ)⁻¹g/(2·C·Σω). That number is
 * as good as L, which is float32, so it certifies a fit only on three conditions: no pivot has lost more than a factor of
 * 1000 to cancellation (the relative error of L·Lᵀ, about k·2⁻²⁴, then changes the decrement by less than k/10 000 of
 * itself); a chord step has made it fall to less than a quarter, which a wrong L would not; and it is half the tolerance
 * at most. Otherwise Newton steps solved by conjugate gradients in float64 go on from the best θ, with L as
 * preconditioner where it is finite.
 *
 * @param theta (w, b) from the GPU
 * @param factor lower-triangular L [(k + 1) × (k + 1)], row-major
 * @param taken Newton steps taken so far
 * @param pacer lets the event loop turn between steps, and stops there when asked to
 */
export async function certifyFit(
  loss: LogisticLoss,
  theta: Float64Array,
  factor: Float32Array,
  taken: number,
  options: { readonly tolerance: number; readonly maxIterations: number },
  pacer: Pacer,
): Promise<NewtonResult> {
  const m = theta.length;
  const pivot = leastPivot(factor, m);
  let steps = taken;
  let previous = Infinity;
  let best = theta;
  for (let round = 0; round <= MOST_CHORD_STEPS && pivot >= LEAST_PIVOT; round++) {
    const z = loss.decision(theta);
    const gradient = loss.gradient(theta, z);
    const step = choleskySolve(factor, m, gradient);
    const decrement = dot(gradient, step) / (2 * loss.totalWeight);
    if (!(decrement < previous / 4)) break;
    best = theta;
    if (round > 0 && decrement <= options.tolerance / 2) {
      // The decrement bounds the objective; the coefficients' error goes with its root. One step more, which is at hand,
      // gives them the digits of a solver that works in float64 throughout.
      const last = theta.map((t, j) => t - step[j]);
      const lastZ = loss.decision(last);
      const lastGradient = loss.gradient(last, lastZ);
      const lastDecrement =
        dot(lastGradient, choleskySolve(factor, m, lastGradient)) / (2 * loss.totalWeight);
      return lastDecrement < decrement
        ? { theta: last, convergence: certificate(loss, last, lastZ, lastGradient, lastDecrement, steps + 1) }
        : { theta, convergence: certificate(loss, theta, z, gradient, decrement, steps) };
    }
    if (round === MOST_CHORD_STEPS || steps >= options.maxIterations) break;
    previous = decrement;
    theta = theta.map((t, j) => t - step[j]);
    steps++;
    if (pacer.due) await pacer.turn();
  }
  const finite = best.every((t) => Number.isFinite(t));
  const rest = newtonSteps(loss, {
    tolerance: options.tolerance,
    maxIterations: Math.max(0, options.maxIterations - steps),
    ...(finite && { start: best }),
    ...(finite && pivot > 0 && { preconditioner: factor }),
  });
  let state = rest.next();
  while (!state.done) {
    if (pacer.due) await pacer.turn();
    state = rest.next();
  }
  const { theta: polished, convergence } = state.value;
  return { theta: polished, convergence: { ...convergence, iterations: steps + convergence.iterations } };
}

/** Smallest pivot over its diagonal entry, min_j L_jj²/(L·Lᵀ)_jj; 0 for a factor that is not finite. */
function leastPivot(factor: Float32Array, m: number): number {
  let least = 1;
  for (let r = 0; r < m; r++) {
    let diagonal = 0;
    for (let c = 0; c <= r; c++) diagonal += factor[r * m + c] * factor[r * m + c];
    const share = factor[r * m + r] ** 2 / diagonal;
    if (!(share > 0) || diagonal === Infinity) return 0;
    least = Math.min(least, share);
  }
  return least;
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
