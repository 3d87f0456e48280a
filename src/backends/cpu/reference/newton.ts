/**
 * Damped Newton for the probe's objective.
 *
 * Each step solves H·p = −g and backtracks along p until the objective falls (Armijo). The system is solved by a
 * Cholesky factor of H, or, once some factor M of a Hessian near by is known (an earlier step's, or a GPU's in f32),
 * by conjugate gradients preconditioned with M: 2·n·k operations a round against n·k²/2 for a new factor.
 *
 * The stopping rule is free of scale: λ²/(2·C·Σω), with λ² = gᵀH⁻¹g, estimates the mean loss per unit of weight that
 * is still to be gained. Boyd and Vandenberghe, Convex Optimization, section 9.5; Nocedal and Wright, Numerical
 * Optimization, section 7.1.
 */
import type { Convergence } from "../../backend.ts";
import { DEFAULT_TOLERANCE } from "../../tolerance.ts";
import { choleskyFactor, choleskySolve } from "./cholesky.ts";
import { finish, type LogisticLoss } from "./logistic-loss.ts";

/** A lower-triangular L with L·Lᵀ ≈ Hessian, row-major [(k + 1) × (k + 1)], intercept last. */
export type Preconditioner = Float64Array | Float32Array;

export interface NewtonOptions {
  /** λ²/(2·C·Σω) to reach. Default 1e-16. */
  readonly tolerance?: number;
  /** Newton steps at most. Default 100. */
  readonly maxIterations?: number;
  /** θ = (w, b) to start from. Default w = 0 and b the weighted log odds. */
  readonly start?: Float64Array;
  /** Factor of a Hessian near the start; replaced by an exact one when it turns out to be too far off. */
  readonly preconditioner?: Preconditioner;
}

export interface NewtonResult {
  /** θ = (w, b). */
  readonly theta: Float64Array;
  readonly convergence: Convergence;
}

/** Backtracking: halve the step at most this often, and ask for this share of the decrease that the slope promises. */
const MAX_HALVINGS = 50;
const ARMIJO = 1e-4;

/** Relative residual of a linear solve: enough for a step, and for the last one, which sets the digits of the result. */
const STEP_RESIDUAL = 1e-3;
const FINAL_RESIDUAL = 1e-9;

/**
 * Minimises the objective. A generator that pauses after every pass over the data, n·k operations, and within the n·k²
 * of a Hessian, so that a caller can let other work run or stop; {@link fitNewton} runs it to its end.
 */
export function* newtonSteps(
  loss: LogisticLoss,
  options: NewtonOptions = {},
): Generator<undefined, NewtonResult, undefined> {
  const tolerance = options.tolerance ?? DEFAULT_TOLERANCE;
  const maxIterations = options.maxIterations ?? 100;
  // Sums of n non-negative terms are known to n·ε: a smaller rise of the objective is no rise.
  const noise = loss.rows * Number.EPSILON;
  let theta = options.start ? Float64Array.from(options.start) : initialPoint(loss);
  let z = loss.decision(theta);
  let value = loss.value(theta, z);
  yield;
  let gradient = loss.gradient(theta, z);
  yield;
  let solver = new NewtonSystem(loss, options.preconditioner);
  let decrement = Infinity;
  let iterations = 0;
  let finished = false;
  while (iterations < maxIterations && !finished) {
    const curvature = loss.curvature(z);
    // Close to the end the step is solved to full accuracy: the decrement bounds the objective's error, and the
    // coefficients' error goes with its root.
    const near = decrement < Math.sqrt(tolerance);
    let step = yield* solver.solve(curvature, gradient, near ? FINAL_RESIDUAL : STEP_RESIDUAL);
    let slope = -dot(gradient, step);
    decrement = slope / (2 * loss.totalWeight);
    if (!(slope >= 0)) {
      // Rounding has spoilt the direction; an exact factor either mends it or shows that there is nothing to gain.
      solver = new NewtonSystem(loss, undefined);
      step = yield* solver.solve(curvature, gradient, FINAL_RESIDUAL);
      slope = Math.max(0, -dot(gradient, step));
      decrement = slope / (2 * loss.totalWeight);
    }
    finished = decrement <= tolerance;
    if (finished && !near) step = yield* solver.solve(curvature, gradient, FINAL_RESIDUAL);
    const stepZ = loss.decision(step);
    yield;
    let length = 1;
    let moved = false;
    for (let halving = 0; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const nextTheta = theta.map((t, j) => t + length * step[j]);
      const nextZ = z.map((t, i) => t + length * stepZ[i]);
      const next = loss.value(nextTheta, nextZ);
      yield;
      if (next <= value - ARMIJO * length * slope + noise * Math.abs(value)) {
        theta = nextTheta;
        z = loss.decision(theta, nextZ);
        yield;
        value = loss.value(theta, z);
        yield;
        moved = true;
        break;
      }
    }
    if (!moved) break;
    iterations++;
    gradient = loss.gradient(theta, z);
    yield;
  }
  decrement = yield* solver.decrement(loss.curvature(z), gradient);
  return {
    theta,
    convergence: {
      converged: decrement <= tolerance,
      iterations,
      gradientNorm: Math.sqrt(dot(gradient, gradient)),
      newtonDecrement: decrement,
      objective: value,
      separated: loss.separates(z),
    },
  };
}

/** Minimises the objective in one go. */
export function fitNewton(loss: LogisticLoss, options: NewtonOptions = {}): NewtonResult {
  return finish(newtonSteps(loss, options));
}

/** Solves Newton systems, reusing an older factor as a preconditioner for as long as that is cheaper. */
class NewtonSystem {
  readonly #loss: LogisticLoss;
  readonly #m: number;
  #factor: Preconditioner | undefined;
  /** Conjugate gradient rounds that cost half as much as a new factor; the factor pays from there on. */
  readonly #maxRounds: number;

  constructor(loss: LogisticLoss, preconditioner: Preconditioner | undefined) {
    this.#loss = loss;
    this.#m = loss.columns + 1;
    this.#factor = preconditioner;
    this.#maxRounds = Math.floor(this.#m / 8);
  }

  /** The Newton step −H⁻¹g. */
  *solve(
    curvature: Float64Array,
    gradient: Float64Array,
    residual: number,
  ): Generator<undefined, Float64Array, undefined> {
    const negative = gradient.map((g) => -g);
    if (this.#factor) {
      const step = yield* this.#conjugateGradients(curvature, negative, residual, this.#maxRounds);
      if (step) return step;
    }
    const factor = yield* this.#loss.hessianSteps(curvature);
    choleskyFactor(factor, this.#m);
    this.#factor = factor;
    return choleskySolve(factor, this.#m, negative);
  }

  /** gᵀH⁻¹g/(2·C·Σω), to a few digits. */
  *decrement(curvature: Float64Array, gradient: Float64Array): Generator<undefined, number, undefined> {
    const step = yield* this.solve(curvature, gradient, STEP_RESIDUAL);
    return Math.max(0, -dot(gradient, step)) / (2 * this.#loss.totalWeight);
  }

  /** Solves H·x = rhs until the residual, measured through the factor, has shrunk by `tolerance`; null when it has not. */
  *#conjugateGradients(
    curvature: Float64Array,
    rhs: Float64Array,
    tolerance: number,
    maxRounds: number,
  ): Generator<undefined, Float64Array | null, undefined> {
    const m = this.#m;
    const factor = this.#factor!;
    const x = new Float64Array(m);
    const r = Float64Array.from(rhs);
    let y = choleskySolve(factor, m, r);
    let rho = dot(r, y);
    if (rho === 0) return x;
    if (!(rho > 0) || !Number.isFinite(rho)) return null;
    const first = rho;
    const target = rho * tolerance * tolerance;
    const p = Float64Array.from(y);
    const product = new Float64Array(m);
    for (let round = 0; round < maxRounds; round++) {
      this.#loss.hessianProduct(curvature, p, product);
      yield;
      const curve = dot(p, product);
      if (!(curve > 0)) return null;
      const alpha = rho / curve;
      for (let j = 0; j < m; j++) {
        x[j] += alpha * p[j];
        r[j] -= alpha * product[j];
      }
      y = choleskySolve(factor, m, r, y);
      const next = dot(r, y);
      if (!(next > target)) return Number.isFinite(next) ? x : null;
      // A factor that is too far off shows in the first rounds: give up early where their pace will not do.
      if (next >= 10 * first) return null;
      if (round >= 2 && Math.log(target / first) / Math.log(next / first) > (2 * maxRounds) / (round + 1)) {
        return null;
      }
      const beta = next / rho;
      rho = next;
      for (let j = 0; j < m; j++) p[j] = y[j] + beta * p[j];
    }
    return null;
  }
}

/** w = 0 and the intercept that is best for it: the weighted log odds. */
export function initialPoint(loss: LogisticLoss): Float64Array {
  const { labels, weights } = loss.data;
  let positive = 0;
  let negative = 0;
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 1) positive += weights[i];
    else negative += weights[i];
  }
  const theta = new Float64Array(loss.columns + 1);
  if (positive > 0 && negative > 0) theta[loss.columns] = Math.log(positive / negative);
  return theta;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
