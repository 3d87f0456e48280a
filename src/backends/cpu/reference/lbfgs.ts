/**
 * Minimises the objective of a wide problem without its Hessian.
 *
 * First L-BFGS (Nocedal and Wright, Numerical Optimization, section 7.2) with sums that may be in float32, until its own
 * model sees no more to gain than asked for, or rounding hides the rest. Then Newton steps on gradients in float64, each
 * solved by preconditioned conjugate gradients, whose products may be in float32 again: they set a step's direction, not where
 * it ends.
 *
 * The certificate: conjugate gradients on H·s = g know Σα·ρ, the part of λ² = gᵀH⁻¹g that they have found, and the residual r.
 * What is missing is rᵀH⁻¹r. It is at most
 *
 *   ‖r_w − a·r_b/h‖² + r_b²/h,   (a, h) the Hessian's column of the intercept,
 *
 * since H ⪰ I on the coefficients once the intercept is eliminated, and about rᵀM⁻¹r/θ at most, θ being the least Ritz value of
 * M⁻¹H, which conjugate gradients find as they go (Golub and Meurant 1994). λ² is reported as what was found and the smaller of
 * the two. The step that was paid for is then taken too, so the result is better than what is certified.
 */
import type { Convergence } from "../../backend.ts";
import type { NewtonResult } from "./newton.ts";
import type { WideObjective } from "./wide-objective.ts";
import type { WidePreconditioner } from "./wide-preconditioner.ts";

/** Pairs of steps and gradient changes that L-BFGS remembers. */
const MEMORY = 20;

/** Decrease of the objective, relative, that float32 sums cannot be trusted to show. */
const FLOAT_NOISE = 2e-7;

/** Products after which the least Ritz value is believed. */
const SETTLED = 4;

/** L-BFGS sees less to gain than there is, and sees it waver: in three steps running, this share of the tolerance at most. */
const LBFGS_SHARE = 0.1;

/** Passes over the data, as a multiple of the steps allowed. */
const PASSES_PER_STEP = 10;

/** Products in one Newton step, and the share of the gradient at which float32 products have no more to say. */
const MOST_PRODUCTS = 200;
const LEAST_RESIDUAL = 1e-5;

const ARMIJO = 1e-4;
const MAX_HALVINGS = 30;

export interface WideOptions {
  /** λ²/(2·C·Σω) to reach. */
  readonly tolerance: number;
  /** Steps at most, half of them of L-BFGS, the others Newton's; ten times as many passes over the data. */
  readonly maxIterations: number;
}

/** @param start θ = (w, b) */
export async function minimiseWide(
  objective: WideObjective,
  preconditioner: WidePreconditioner,
  start: Float64Array,
  options: WideOptions,
): Promise<NewtonResult> {
  const search = new Search(objective, preconditioner, start, options);
  await search.begin();
  await search.lbfgs();
  const convergence = await search.newton();
  return { theta: search.theta, convergence };
}

class Search {
  theta: Float64Array;
  readonly #objective: WideObjective;
  readonly #preconditioner: WidePreconditioner;
  readonly #options: WideOptions;
  #gradient: Float64Array;
  #value = NaN;
  #steps = 0;
  #passes = 0;

  constructor(
    objective: WideObjective,
    preconditioner: WidePreconditioner,
    start: Float64Array,
    options: WideOptions,
  ) {
    this.#objective = objective;
    this.#preconditioner = preconditioner;
    this.#options = options;
    this.theta = Float64Array.from(start);
    this.#gradient = new Float64Array(start.length);
  }

  async begin(): Promise<void> {
    this.#value = await this.#evaluate(this.theta, this.#gradient, false);
  }

  async lbfgs(): Promise<void> {
    const m = this.theta.length;
    const memory: { s: Float64Array; y: Float64Array; rho: number }[] = [];
    const { maxIterations, tolerance } = this.#options;
    const scratch = new Float64Array(m);
    const slopes: number[] = [];
    let idle = 0;
    while (2 * this.#steps < maxIterations && this.#affordable() && Number.isFinite(this.#value)) {
      this.#updatePreconditioner();
      const step = Float64Array.from(this.#gradient);
      const alphas = new Float64Array(memory.length);
      for (let i = memory.length - 1; i >= 0; i--) {
        const { s, y, rho } = memory[i];
        alphas[i] = rho * dot(s, step);
        addScaled(step, -alphas[i], y);
      }
      const last = memory.at(-1);
      let scaling = 1;
      if (last) scaling = 1 / (last.rho * dot(last.y, this.#preconditioner.apply(last.y, scratch)));
      this.#preconditioner.apply(step, scratch);
      for (let j = 0; j < m; j++) step[j] = -scaling * scratch[j];
      for (const [i, { s, y, rho }] of memory.entries()) {
        const beta = rho * dot(y, step);
        addScaled(step, -alphas[i] - beta, s);
      }
      const slope = -dot(this.#gradient, step);
      slopes.push(slope / (2 * this.#objective.totalWeight));
      if (slopes.length >= 3 && !(Math.max(...slopes.slice(-3)) > LBFGS_SHARE * tolerance)) return;
      const before = { theta: this.theta, gradient: this.#gradient, value: this.#value };
      if (!(await this.#move(step, slope, false))) return;
      this.#steps++;
      const s = difference(this.theta, before.theta);
      const y = difference(this.#gradient, before.gradient);
      const curve = dot(s, y);
      if (curve > 0) {
        memory.push({ s, y, rho: 1 / curve });
        if (memory.length > MEMORY) memory.shift();
      }
      idle = before.value - this.#value > FLOAT_NOISE * Math.abs(this.#value) ? 0 : idle + 1;
      if (idle === 2) return;
    }
  }

  async newton(): Promise<Convergence> {
    const { tolerance, maxIterations } = this.#options;
    const scale = 2 * this.#objective.totalWeight;
    this.#value = await this.#evaluate(this.theta, this.#gradient, true);
    for (;;) {
      this.#updatePreconditioner();
      const { step, bound } = await this.#solve(tolerance * scale);
      const converged = bound / scale <= tolerance;
      const spent = this.#steps >= maxIterations || !this.#affordable();
      const moved = (converged || !spent) && (await this.#move(step, -dot(this.#gradient, step), true));
      if (moved) this.#steps++;
      if (moved && !converged) continue;
      return {
        converged,
        iterations: this.#steps,
        gradientNorm: Math.sqrt(dot(this.#gradient, this.#gradient)),
        newtonDecrement: bound / scale,
        objective: this.#value,
        separated: this.#objective.separated,
      };
    }
  }

  /**
   * −H⁻¹g by conjugate gradients, until λ² is known to be `enough` at most, or the step is good.
   * @returns bound: about λ² at most; NaN where nothing is finite
   */
  async #solve(enough: number): Promise<{ step: Float64Array; bound: number }> {
    const m = this.theta.length;
    const k = m - 1;
    const step = new Float64Array(m);
    if (!Number.isFinite(this.#value)) return { step, bound: NaN };
    const column = new Float64Array(m);
    step[k] = 1;
    await this.#product(step, column);
    step[k] = 0;
    const r = Float64Array.from(this.#gradient);
    const largest = (): number => {
      const share = r[k] / column[k];
      let sum = share * r[k];
      for (let j = 0; j < k; j++) sum += (r[j] - column[j] * share) ** 2;
      return sum;
    };
    let found = 0;
    let bound = largest();
    if (!(bound > enough)) return { step: r.map((g) => -g), bound };
    const y = new Float64Array(m);
    this.#preconditioner.apply(r, y);
    let rho = dot(r, y);
    const first = rho;
    const p = Float64Array.from(y);
    const product = new Float64Array(m);
    const lanczos: { alpha: number; beta: number }[] = [];
    for (let round = 1; round <= MOST_PRODUCTS && this.#affordable(); round++) {
      await this.#product(p, product);
      const curve = dot(p, product);
      if (!(curve > 0)) break;
      const alpha = rho / curve;
      found += alpha * rho;
      addScaled(step, -alpha, p);
      addScaled(r, -alpha, product);
      this.#preconditioner.apply(r, y);
      const next = dot(r, y);
      const beta = next / rho;
      lanczos.push({ alpha, beta });
      bound = found + largest();
      if (round >= SETTLED) bound = Math.min(bound, found + next / leastRitzValue(lanczos));
      if (bound <= enough) break;
      // Far from the optimum a rough step will do; where λ² is below 1, each step is to square the distance.
      const share = Math.max(LEAST_RESIDUAL, Math.min(0.25, Math.sqrt(found)));
      if (!(next > share * share * first)) break;
      rho = next;
      for (let j = 0; j < m; j++) p[j] = y[j] + beta * p[j];
    }
    return { step, bound };
  }

  /** Backtracks along a direction until the objective falls; false, and nothing changed, when it does not. */
  async #move(step: Float64Array, slope: number, exact: boolean): Promise<boolean> {
    if (!(slope > 0)) return false;
    const relative = exact ? 4 * Number.EPSILON * Math.sqrt(this.#objective.rows) : FLOAT_NOISE / 4;
    const noise = relative * Math.abs(this.#value);
    const gradient = new Float64Array(step.length);
    let length = 1;
    for (let halving = 0; halving <= MAX_HALVINGS && this.#affordable(); halving++) {
      const theta = Float64Array.from(this.theta);
      addScaled(theta, length, step);
      const value = await this.#evaluate(theta, gradient, exact);
      if (value <= this.#value - ARMIJO * length * slope + noise) {
        this.theta = theta;
        this.#gradient = gradient;
        this.#value = value;
        return true;
      }
      // The parabola through the value, the slope and the value found; within a tenth and a half.
      const vertex = (slope * length) / (2 * (value - this.#value + slope * length));
      length *= vertex > 0.1 && vertex < 0.5 ? vertex : vertex >= 0.5 ? 0.5 : 0.1;
    }
    // The curvatures kept must belong to θ.
    await this.#evaluate(this.theta, gradient, exact);
    return false;
  }

  #updatePreconditioner(): void {
    const { meanCurvature, totalWeight } = this.#objective;
    this.#preconditioner.update(meanCurvature * totalWeight);
  }

  #evaluate(theta: Float64Array, gradient: Float64Array, exact: boolean): Promise<number> {
    this.#passes++;
    return this.#objective.evaluate(theta, gradient, exact);
  }

  #product(v: Float64Array, out: Float64Array): Promise<void> {
    this.#passes++;
    return this.#objective.hessianProduct(v, out);
  }

  #affordable(): boolean {
    return this.#passes < PASSES_PER_STEP * (this.#options.maxIterations + 2);
  }
}

/**
 * The least eigenvalue of the tridiagonal matrix that conjugate gradients' coefficients stand for (Saad, Iterative Methods for
 * Sparse Linear Systems, section 6.7.3), by bisection on the number of negative pivots.
 */
function leastRitzValue(lanczos: readonly { readonly alpha: number; readonly beta: number }[]): number {
  const diagonal = lanczos.map(
    ({ alpha }, i) => 1 / alpha + (i > 0 ? lanczos[i - 1].beta / lanczos[i - 1].alpha : 0),
  );
  const square = lanczos.map(({ alpha, beta }) => beta / (alpha * alpha));
  const positive = (shift: number): boolean => {
    let pivot = 1;
    for (const [i, value] of diagonal.entries()) {
      pivot = value - shift - (i > 0 ? square[i - 1] / pivot : 0);
      if (!(pivot > 0)) return false;
    }
    return true;
  };
  let low = 0;
  let high = Math.min(...diagonal);
  for (let step = 0; step < 30; step++) {
    const middle = (low + high) / 2;
    if (positive(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** to += factor·from. */
function addScaled(to: Float64Array, factor: number, from: Float64Array): void {
  for (let i = 0; i < to.length; i++) to[i] += factor * from[i];
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value - b[i]);
}
