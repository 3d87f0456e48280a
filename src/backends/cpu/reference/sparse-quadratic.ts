/**
 * The quadratic model of a working set with an L1 penalty. Coordinate descent finds which coefficients are not zero and their
 * signs; where columns are correlated it would then take thousands of sweeps to their values, which a linear system gives at
 * once.
 */
import type { Pacer } from "../pacer.ts";
import { choleskyRow, choleskySolve } from "./cholesky.ts";

const MAX_SWEEPS = 1000;

/** Share of a factorisation's cost that sweeps may have while they change no sign any more. */
const SETTLED = 0.25;

export interface QuadraticMinimum {
  /** θ'. */
  readonly target: Float64Array;
  /** Whether the last sweep found no coordinate off by more than the accuracy. */
  readonly reached: boolean;
  readonly sweeps: number;
}

/** A point on the way, and the slope of the smooth part there. */
interface Position {
  readonly target: Float64Array;
  readonly slope: Float64Array;
}

/** A factor of the Hessian's rows and columns that are active. */
interface Factor {
  readonly active: Uint32Array;
  readonly rows: Float64Array;
}

/** gᵀ(θ' − θ) + ½(θ' − θ)ᵀH(θ' − θ) + ‖w'‖₁ of θ' = (w', b') for one H and several g and θ. */
export class SparseQuadratic {
  readonly #m: number;
  readonly #hessian: Float64Array;
  #factor: Factor | undefined;

  /** @param hessian lower triangle [m × m]; its upper triangle is filled in */
  constructor(hessian: Float64Array, m: number) {
    for (let r = 0; r < m; r++) for (let c = 0; c < r; c++) hessian[c * m + r] = hessian[r * m + c];
    this.#m = m;
    this.#hessian = hessian;
  }

  /**
   * The minimum over θ', to where a sweep over all coordinates finds none off by more than `accuracy`. Between sweeps over all,
   * only coefficients that are not zero move; once their sweeps have cost about as much as a factorisation, the minimum for
   * their present signs is solved for.
   */
  async minimise(
    gradient: Float64Array,
    theta: Float64Array,
    accuracy: number,
    pacer: Pacer,
  ): Promise<QuadraticMinimum> {
    const at: Position = { target: Float64Array.from(theta), slope: Float64Array.from(gradient) };
    let everything = true;
    let reached = false;
    let sweeps = 0;
    /** Multiplications of the sweeps since the last linear system. */
    let spent = 0;
    for (; sweeps < MAX_SWEEPS && !reached; sweeps++) {
      const { worst, moved, settled } = this.#sweep(at, everything);
      if (pacer.due) await pacer.turn();
      reached = everything && worst <= accuracy;
      everything = worst <= accuracy;
      if (everything) continue;
      spent += this.#m * moved;
      const active = this.#activeAt(at);
      const cost = active.length ** 3 / 6;
      const known = sameNumbers(active, this.#factor?.active);
      if (!(settled && known) && spent < (settled ? SETTLED * cost : cost)) continue;
      spent = 0;
      // Without a factor, columns depend on each other: coordinate descent goes on.
      if (!known) this.#factor = await this.#factorOf(active, pacer);
      // What has been left at zero may have to move.
      if (this.#factor) everything = this.#leap(at, this.#factor);
    }
    return { target: at.target, reached, sweeps };
  }

  /** One round of coordinate descent: by how much the worst condition was off, how many moved, whether no sign changed. */
  #sweep(
    { target, slope }: Position,
    everything: boolean,
  ): { readonly worst: number; readonly moved: number; readonly settled: boolean } {
    const [m, hessian] = [this.#m, this.#hessian];
    let worst = 0;
    let moved = 0;
    let settled = true;
    for (let j = 0; j < m; j++) {
      const penalty = j === m - 1 ? 0 : 1;
      const before = target[j];
      if (!everything && penalty === 1 && before === 0) continue;
      // A column that never varies has no curvature and no slope.
      const curve = hessian[j * m + j];
      if (!(curve > 0)) continue;
      const free = before - slope[j] / curve;
      const shrunk = Math.abs(free) - penalty / curve;
      const next = shrunk > 0 ? Math.sign(free) * shrunk : 0;
      const change = next - before;
      if (change === 0) continue;
      target[j] = next;
      moved++;
      if (penalty === 1 && Math.sign(next) !== Math.sign(before)) settled = false;
      worst = Math.max(worst, Math.abs(curve * change));
      for (let c = 0, at = j * m; c < m; c++, at++) slope[c] += change * hessian[at];
    }
    return { worst, moved, settled };
  }

  /** Coefficients that are not zero, and the intercept. */
  #activeAt({ target }: Position): Uint32Array {
    const [m, hessian] = [this.#m, this.#hessian];
    return Uint32Array.from(target.keys()).filter(
      (j) => (j === m - 1 || target[j] !== 0) && hessian[j * m + j] > 0,
    );
  }

  async #factorOf(active: Uint32Array, pacer: Pacer): Promise<Factor | undefined> {
    const a = active.length;
    const rows = new Float64Array(a * a);
    for (let r = 0; r < a; r++) {
      const from = active[r] * this.#m;
      for (let c = 0; c <= r; c++) rows[r * a + c] = this.#hessian[from + active[c]];
      if (choleskyRow(rows, a, r)) return undefined;
      if (pacer.due) await pacer.turn();
    }
    return { active, rows };
  }

  /**
   * Steps to the minimum over the active coordinates for their signs. Where signs would change on the way, those coefficients
   * become zero; if the objective does not fall so, only the first does.
   * @returns whether it moved
   */
  #leap(at: Position, { active, rows }: Factor): boolean {
    const { target, slope } = at;
    const intercept = this.#m - 1;
    const step = choleskySolve(
      rows,
      active.length,
      Float64Array.from(active, (j) => (j === intercept ? 0 : -Math.sign(target[j])) - slope[j]),
    );
    /** How much of the step leads to zero. */
    const share = step.map((s, i) => (active[i] === intercept ? Infinity : -target[active[i]] / s));
    const crosses = Array.from(share, (t) => t > 0 && t <= 1);
    if (!crosses.includes(true)) {
      this.#move(at, active, step);
      return true;
    }
    const zeroed = step.map((s, i) => (crosses[i] ? -target[active[i]] : s));
    if (this.#moveIfLower(at, active, zeroed)) return true;
    const first = share.reduce((least, t, i) => (crosses[i] && !(share[least] <= t) ? i : least), -1);
    const shorter = step.map((s, i) => (i === first ? -target[active[i]] : share[first] * s));
    return this.#moveIfLower(at, active, shorter);
  }

  /** Moves the active coordinates, none across zero, if the objective falls. */
  #moveIfLower(at: Position, active: Uint32Array, change: Float64Array): boolean {
    const { target, slope } = at;
    const rise = this.#riseOf(active, change);
    let gain = 0;
    for (const [i, j] of active.entries()) {
      const penalty = j === this.#m - 1 ? 0 : Math.sign(target[j]);
      gain -= change[i] * (slope[j] + penalty + rise[j] / 2);
    }
    if (gain > 0) this.#move(at, active, change, rise);
    return gain > 0;
  }

  #move(
    { target, slope }: Position,
    active: Uint32Array,
    change: Float64Array,
    rise = this.#riseOf(active, change),
  ): void {
    for (const [i, j] of active.entries()) target[j] += change[i];
    for (let c = 0; c < slope.length; c++) slope[c] += rise[c];
  }

  /** What a change of the active coordinates adds to the slope [m]. */
  #riseOf(active: Uint32Array, change: Float64Array): Float64Array {
    const m = this.#m;
    const rise = new Float64Array(m);
    for (const [i, j] of active.entries()) {
      if (change[i] === 0) continue;
      for (let c = 0, h = j * m; c < m; c++, h++) rise[c] += change[i] * this.#hessian[h];
    }
    return rise;
  }
}

function sameNumbers(a: Uint32Array, b: Uint32Array | undefined): boolean {
  return b?.length === a.length && a.every((value, i) => value === b[i]);
}
