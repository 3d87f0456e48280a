/**
 * The quadratic model of a working set with an L1 penalty: coordinate descent finds which coefficients are not zero and their
 * signs; where columns are correlated it would then take thousands of sweeps to their values, which a linear system gives at once.
 */
import type { Pacer } from "../pacer.ts";
import { choleskyRow, choleskySolve } from "./cholesky.ts";

const MAX_SWEEPS = 1000;

/** Where {@link minimiseQuadratic} ended. */
export interface QuadraticMinimum {
  readonly target: Float64Array;
  /** Whether the last sweep found no coordinate off by more than the accuracy. */
  readonly reached: boolean;
  readonly sweeps: number;
  /** Linear systems factorised. */
  readonly factors: number;
}

/** A point on the way, and the slope of the smooth part there. */
interface Descent {
  readonly m: number;
  readonly hessian: Float64Array;
  readonly target: Float64Array;
  readonly slope: Float64Array;
}

/**
 * Minimises gᵀ(θ' − θ) + ½(θ' − θ)ᵀH(θ' − θ) + ‖w'‖₁ over θ' = (w', b') until a sweep over all coordinates finds none off by more
 * than `accuracy`. Once the sweeps have cost as much as a factorisation would, the minimum for the present signs is solved for.
 * @param hessian lower triangle [m × m]; its upper triangle is filled in
 */
export async function minimiseQuadratic(
  hessian: Float64Array,
  gradient: Float64Array,
  theta: Float64Array,
  accuracy: number,
  pacer: Pacer,
): Promise<QuadraticMinimum> {
  const m = theta.length;
  for (let r = 0; r < m; r++) for (let c = 0; c < r; c++) hessian[c * m + r] = hessian[r * m + c];
  const descent = { m, hessian, target: Float64Array.from(theta), slope: Float64Array.from(gradient) };
  const { target } = descent;
  let everything = true;
  let reached = false;
  let sweeps = 0;
  let factors = 0;
  /** Multiplications of the sweeps since the last factorisation. */
  let spent = 0;
  while (sweeps < MAX_SWEEPS && !reached) {
    const { worst, moved } = sweep(descent, everything);
    sweeps++;
    spent += m * moved;
    if (pacer.due) await pacer.turn();
    reached = everything && worst <= accuracy;
    everything = worst <= accuracy;
    if (everything) continue;
    const active = Uint32Array.from(target.keys()).filter((j) => isActive(descent, j));
    if (spent < active.length ** 3 / 6) continue;
    spent = 0;
    factors++;
    const step = await stepWithinSigns(descent, active, pacer);
    // What it left at zero may have to move.
    if (step) everything = leap(descent, active, step);
  }
  return { target, reached, sweeps, factors };
}

/** Whether a coordinate is part of the linear system; a column that never varies has no curvature and no slope. */
function isActive({ m, hessian, target }: Descent, j: number): boolean {
  return (j === m - 1 || target[j] !== 0) && hessian[j * m + j] > 0;
}

/**
 * One round of coordinate descent.
 * @param everything or only the coefficients that are not zero
 * @returns by how much the worst condition was off, and how many coordinates moved
 */
function sweep(
  { m, hessian, target, slope }: Descent,
  everything: boolean,
): { readonly worst: number; readonly moved: number } {
  let worst = 0;
  let moved = 0;
  for (let j = 0; j < m; j++) {
    const penalty = j === m - 1 ? 0 : 1;
    if (!everything && penalty === 1 && target[j] === 0) continue;
    const curve = hessian[j * m + j];
    if (!(curve > 0)) continue;
    const free = target[j] - slope[j] / curve;
    const shrunk = Math.abs(free) - penalty / curve;
    const next = shrunk > 0 ? Math.sign(free) * shrunk : 0;
    const change = next - target[j];
    if (change === 0) continue;
    target[j] = next;
    moved++;
    worst = Math.max(worst, Math.abs(curve * change));
    for (let c = 0, at = j * m; c < m; c++, at++) slope[c] += change * hessian[at];
  }
  return { worst, moved };
}

/** The step to the minimum over the active coordinates if their signs stay; none where columns depend on each other. */
async function stepWithinSigns(
  { m, hessian, target, slope }: Descent,
  active: Uint32Array,
  pacer: Pacer,
): Promise<Float64Array | undefined> {
  const a = active.length;
  const factor = new Float64Array(a * a);
  for (let r = 0; r < a; r++) {
    for (let c = 0; c <= r; c++) factor[r * a + c] = hessian[active[r] * m + active[c]];
    if (choleskyRow(factor, a, r)) return undefined;
    if (pacer.due) await pacer.turn();
  }
  const downhill = Float64Array.from(active, (j) => (j === m - 1 ? 0 : -Math.sign(target[j])) - slope[j]);
  return choleskySolve(factor, a, downhill);
}

/**
 * Goes along a step to the active set's minimum. Where signs would change on the way, those coefficients become zero; if the
 * objective does not fall so, only the first does.
 * @returns whether it moved
 */
function leap(descent: Descent, active: Uint32Array, step: Float64Array): boolean {
  const { m, target } = descent;
  /** How much of the step leads to zero. */
  const share = step.map((s, at) => (active[at] === m - 1 ? Infinity : -target[active[at]] / s));
  const crosses = share.map((t) => (t > 0 && t <= 1 ? 1 : 0));
  const first = share.reduce((least, t, at) => (crosses[at] && !(share[least] <= t) ? at : least), -1);
  if (first < 0) {
    move(descent, active, step);
    return true;
  }
  const zeroed = step.map((s, at) => (crosses[at] ? -target[active[at]] : s));
  if (moveIfLower(descent, active, zeroed)) return true;
  const shorter = step.map((s, at) => (at === first ? -target[active[at]] : share[first] * s));
  return moveIfLower(descent, active, shorter);
}

/** Moves the active coordinates, none across zero, if the objective falls. */
function moveIfLower(descent: Descent, active: Uint32Array, change: Float64Array): boolean {
  const { m, target, slope } = descent;
  const rise = riseOf(descent, active, change);
  let gain = 0;
  for (const [at, j] of active.entries()) {
    const penalty = j === m - 1 ? 0 : Math.sign(target[j]);
    gain -= change[at] * (slope[j] + penalty + rise[j] / 2);
  }
  if (gain > 0) move(descent, active, change, rise);
  return gain > 0;
}

function move(
  descent: Descent,
  active: Uint32Array,
  change: Float64Array,
  rise: Float64Array = riseOf(descent, active, change),
): void {
  const { m, target, slope } = descent;
  for (const [at, j] of active.entries()) target[j] += change[at];
  for (let c = 0; c < m; c++) slope[c] += rise[c];
}

/** What a change of the active coordinates adds to the slope [m]. */
function riseOf({ m, hessian }: Descent, active: Uint32Array, change: Float64Array): Float64Array {
  const rise = new Float64Array(m);
  for (const [at, j] of active.entries()) {
    if (change[at] === 0) continue;
    for (let c = 0, h = j * m; c < m; c++, h++) rise[c] += change[at] * hessian[h];
  }
  return rise;
}
