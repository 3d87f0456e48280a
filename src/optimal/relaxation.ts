/**
 * The relaxation at a node of the search, and with nothing left to choose the fit of one support:
 *
 *   min over β, b of  Σ ω·ℓ(z) + (1/2γ)·(Σ_{j in} β_j² + Ω_slots(β_free))
 *
 * by proximal Newton steps: the loss is replaced by its quadratic model, which is minimised over β, b and the shares s in turn, and
 * the true objective is searched along the step. Every iterate's λ gives a cut, so the best bound so far is valid whenever
 * the work is cut short.
 */
import { choleskyFactor, choleskySolve } from "../backends/cpu/reference/cholesky.ts";
import { balance, cutConstant, FREE, IN, inflated, largestSum, product, type Cut } from "./cuts.ts";
import { bestShares } from "./sparse-penalty.ts";
import type { Rounding } from "./margin-loss.ts";
import type { SupportProblem } from "./support-problem.ts";

/** Coefficients by candidate; the others are 0. */
export interface Point {
  readonly candidates: readonly number[];
  readonly beta: readonly number[];
  readonly intercept: number;
  /** For the hinge: rows at the edge, and λ there; elsewhere λ is 0 or 1 by the sign of 1 − z. */
  readonly edge?: { readonly rows: Int32Array; readonly slope: Float64Array };
}

export interface RelaxationOptions {
  readonly start?: Point | undefined;
  /** Width of the rounding of the hinge to start with. Default 1. */
  readonly width?: number;
  /** Gap between objective and bound, relative to the objective, at which the relaxation is solved. */
  readonly tolerance: number;
  /** Candidates that no node of the search contains: they are not looked at, and have no q in the cut. */
  readonly dropped?: Uint8Array;
  /** Keep the dual point of the bound. */
  readonly keepDual?: boolean;
  /** Whether what is known of the node is enough. */
  readonly stop?: (objective: number, bound: number) => boolean;
}

export interface Relaxation {
  readonly point: Point;
  /** Share by entry of `point.candidates`. */
  readonly shares: readonly number[];
  /** Objective of the relaxation at the point, an upper bound of its optimum; of the support itself where nothing is free. */
  readonly objective: number;
  /** Lower bound of c(S) over the node's supports. */
  readonly bound: number;
  /** The cut that gave the bound. */
  readonly cut: Cut;
  /** v = ω·λ of that cut, where asked for. */
  readonly dual: Float64Array | undefined;
  readonly width: number;
  readonly steps: number;
  /** ‖β/s − γ·Xᵀu‖ over the working set, for the dual point of the bound. */
  readonly residual: number;
  /** The gap is within the tolerance. */
  readonly solved: boolean;
  /** Every row with weight lies strictly on its side. */
  readonly separated: boolean;
}

const MAX_STEPS = 200;
/** Narrowest rounding of the hinge. */
const LEAST_WIDTH = 1e-7;
/** Candidates that join the working set after one look at all of them. */
const JOIN = 10;
/** Rounds of the quadratic model, and the gap relative to what it gains at which it is good enough. */
const MODEL_ROUNDS = 200;
const MODEL_GAP = 0.02;
/** Neurons³ of its factorisations between two pauses. */
const MODEL_WORK = 3e7;

/** Buffers by row, shared by all relaxations of a problem. */
export class Workspace {
  readonly z: Float64Array;
  readonly trial: Float64Array;
  readonly step: Float64Array;
  readonly slope: Float64Array;
  readonly feasible: Float64Array;
  readonly centre: Float64Array;
  readonly curvature: Float64Array;
  readonly v: Float64Array;
  readonly scaled: Float64Array;
  readonly rowList: Int32Array;
  readonly sorted: Float64Array;

  constructor({ rows, columns }: SupportProblem) {
    const floats = () => new Float64Array(rows);
    this.z = floats();
    this.trial = floats();
    this.step = floats();
    this.slope = floats();
    this.feasible = floats();
    this.centre = floats();
    this.curvature = floats();
    this.v = floats();
    this.scaled = floats();
    this.rowList = new Int32Array(rows);
    this.sorted = new Float64Array(columns.length + 2);
  }
}

/**
 * Solves the relaxation. Pauses after every pass over the data.
 * @param state {@link FREE}, {@link IN} or {@link OUT} by candidate
 * @param slots how many of the free candidates a support may take
 */
export function* relax(
  problem: SupportProblem,
  work: Workspace,
  state: Uint8Array,
  slots: number,
  options: RelaxationOptions,
): Generator<undefined, Relaxation, undefined> {
  const { columns, signs, weights, gamma, loss, rows } = problem;
  const { tolerance, stop, dropped } = options;
  let dual: Float64Array | undefined;
  const { z, slope, feasible, curvature, v } = work;
  const p = columns.length;
  const rounding: Rounding = { width: options.width ?? 1, centre: work.centre };
  work.centre.fill(0);
  let lastGap = Infinity;

  // The working set: what is in, what the start uses, and what later looks add.
  const active: number[] = [];
  let beta: number[] = [];
  const startBeta = new Map<number, number>();
  options.start?.candidates.forEach((j, a) => startBeta.set(j, options.start!.beta[a]));
  let free = 0;
  for (let j = 0; j < p; j++) {
    if (state[j] === FREE) free++;
    if (state[j] === IN || (state[j] === FREE && slots > 0 && startBeta.has(j))) {
      active.push(j);
      beta.push(startBeta.get(j) ?? 0);
    }
  }
  let fixed = Uint8Array.from(active, (j) => (state[j] === IN || free <= slots ? 1 : 0));
  let intercept = options.start?.intercept ?? startIntercept(problem);

  if (loss.rounded && options.start) guessSlopes(problem, work, options.start);
  margins(problem, active, beta, intercept, z);
  if (loss.rounded) intercept += bestIntercept(problem, work, rounding);
  yield;
  let bestBound = -Infinity;
  let bestCut: Cut | undefined;
  let bestObjective = Infinity;
  let bestPoint: Point = { candidates: [], beta: [], intercept };
  let bestShareList: number[] = [];
  let residual = 0;
  let separated = false;
  let lookedAt = -1;
  let steps = 0;
  let shares = new Float64Array(active.length);
  let stalled = 0;
  const d = new Float64Array(p);

  /** Moves the guess of λ to the best known, and narrows the rounding where that alone gains little. */
  const recentre = (gap: number): void => {
    work.centre.set(feasible);
    if (gap > 0.2 * lastGap) rounding.width = Math.max(rounding.width * 0.2, LEAST_WIDTH);
    lastGap = gap;
    intercept += bestIntercept(problem, work, rounding);
  };

  for (; ; steps++) {
    // Objective, rounded off and true.
    const lossValue = loss.derivatives(z, weights, rounding, slope, curvature);
    bestShares(Float64Array.from(beta, Math.abs), fixed, slots, shares, active.length);
    const penalty = penaltyOf(beta, shares, gamma);
    const objective = (loss.rounded ? loss.value(z, weights) : lossValue) + penalty;
    if (objective < bestObjective) {
      bestObjective = objective;
      bestPoint = {
        candidates: [...active],
        beta: [...beta],
        intercept,
        ...(loss.rounded && { edge: edgeOf(slope) }),
      };
      bestShareList = Array.from(shares);
      separated = separates(z, weights);
    }
    yield;

    // The dual point of this iterate, and its bound over the working set.
    feasible.set(slope);
    balance(problem, feasible, v);
    const vNorm = Math.sqrt(product(v, v));
    const constant = cutConstant(problem, feasible);
    for (const j of active) d[j] = product(v, columns[j]);
    yield;
    const q = new Float64Array(p);
    const known = new Uint8Array(p).fill(2);
    for (const j of active) {
      q[j] = inflated(problem, j, d[j], vNorm);
      known[j] = state[j];
    }
    const narrow = constant - 0.5 * gamma * largestSum(q, known, slots, work.sorted).sum;
    let roundedOff = 0;
    if (loss.rounded) {
      for (let i = 0; i < rows; i++) {
        const away = feasible[i] - work.centre[i];
        roundedOff += weights[i] * away * away;
      }
      roundedOff *= 0.5 * rounding.width;
    }
    const roundedGap = lossValue + penalty - (narrow - roundedOff);
    const workingGap = objective - narrow;
    const fine =
      workingGap <= 0.5 * tolerance * Math.abs(objective) + 0.1 * Math.abs(bestObjective - bestBound);
    const done = stalled >= 3 || steps >= MAX_STEPS;
    const newActive: number[] = [];
    if (lookedAt < 0 || fine || done || (stop?.(bestObjective, narrow) ?? false) || steps - lookedAt >= 8) {
      // A look at all candidates: the bound holds for the whole node, and strong ones join.
      lookedAt = steps;
      let sinceTurn = 0;
      for (let j = 0; j < p; j++) {
        if (known[j] !== 2 || dropped?.[j] === 1) continue;
        d[j] = product(v, columns[j]);
        q[j] = inflated(problem, j, d[j], vNorm);
        sinceTurn += rows;
        if (sinceTurn > 2e6) {
          sinceTurn = 0;
          yield;
        }
      }
      yield;
      const top = largestSum(q, state, slots, work.sorted);
      const bound = constant - 0.5 * gamma * top.sum;
      if (bound > bestBound) {
        bestBound = bound;
        bestCut = { constant, q };
        if (options.keepDual) dual = v.slice();
        residual = residualOf(beta, shares, active, d, gamma);
      }
      const solved = bestObjective - bestBound <= tolerance * Math.abs(bestObjective);
      if (solved || done || (stop?.(bestObjective, bestBound) ?? false)) {
        return {
          point: bestPoint,
          shares: bestShareList,
          objective: bestObjective,
          bound: bestBound,
          cut: bestCut!,
          dual,
          width: rounding.width,
          steps,
          solved,
          residual,
          separated,
        };
      }
      if (slots > 0) {
        const outside: number[] = [];
        for (let j = 0; j < p; j++) {
          if (state[j] === FREE && known[j] === 2 && q[j] >= 0.98 * top.last && q[j] > 0) outside.push(j);
        }
        outside.sort((a, b) => q[b] - q[a]);
        newActive.push(...outside.slice(0, Math.max(JOIN, slots)));
      }
    }
    if (loss.rounded && roundedGap <= 0.3 * workingGap && newActive.length === 0) {
      recentre(workingGap);
      continue;
    }
    for (const j of newActive) {
      active.push(j);
      beta.push(0);
    }
    if (newActive.length > 0) {
      fixed = Uint8Array.from(active, (j) => (state[j] === IN || free <= slots ? 1 : 0));
      const grown = new Float64Array(active.length);
      grown.set(shares);
      shares = grown;
    }

    // The quadratic model of the loss: gradient and Hessian in (β, b).
    const m = active.length + 1;
    const gradient = new Float64Array(m);
    // The gradient is that of the iterate's own λ, not of the balanced one.
    for (let i = 0; i < rows; i++) v[i] = weights[i] * slope[i];
    for (let a = 0; a < active.length; a++) gradient[a] = -product(v, columns[active[a]]);
    gradient[m - 1] = -product(v, signs);
    yield;
    if (loss.rounded && !curvature.some((value) => value > 0)) {
      // No row bends: the model does not know the intercept.
      const shift = bestIntercept(problem, work, rounding);
      intercept += shift;
      if (shift !== 0) continue;
    }
    const hessian = yield* hessianOf(problem, work, active);
    const target = yield* solveModel(hessian, gradient, m, beta, intercept, fixed, shares, slots, gamma);

    // Search along the step.
    const move = target.theta;
    const stepBeta = new Float64Array(active.length);
    for (let a = 0; a < active.length; a++) stepBeta[a] = move[a] - beta[a];
    const stepIntercept = move[m - 1] - intercept;
    margins(problem, active, stepBeta, stepIntercept, work.step);
    yield;
    const slopeAt = (t: number): number => {
      const { trial, step } = work;
      for (let i = 0; i < rows; i++) trial[i] = z[i] + t * step[i];
      loss.derivatives(trial, weights, rounding, slope, curvature);
      let sum = 0;
      for (let i = 0; i < rows; i++) sum -= weights[i] * slope[i] * step[i];
      const at = Float64Array.from(beta, (value, a) => value + t * stepBeta[a]);
      const own = new Float64Array(active.length);
      bestShares(Float64Array.from(at, Math.abs), fixed, slots, own, active.length);
      for (let a = 0; a < active.length; a++) {
        if (own[a] > 0) sum += (at[a] * stepBeta[a]) / (gamma * own[a]);
      }
      return sum;
    };
    const before = slopeAt(0);
    yield;
    if (!(before < -1e-14 * Math.abs(objective))) {
      if (loss.rounded && stalled < 2) {
        stalled++;
        recentre(Infinity);
      } else stalled = 3;
      continue;
    }
    let low = 0;
    let high = 1;
    let slopeLow = before;
    let slopeHigh = slopeAt(1);
    yield;
    let t = 1;
    if (slopeHigh > 0.5 * -before) {
      for (let round = 0; round < 12; round++) {
        const secant = low + ((high - low) * -slopeLow) / (slopeHigh - slopeLow);
        t = Math.min(Math.max(secant, low + 0.05 * (high - low)), high - 0.05 * (high - low));
        const slopeT = slopeAt(t);
        yield;
        if (Math.abs(slopeT) <= 0.2 * -before) break;
        if (slopeT < 0) {
          low = t;
          slopeLow = slopeT;
        } else {
          high = t;
          slopeHigh = slopeT;
        }
      }
    }
    beta = beta.map((value, a) => value + t * stepBeta[a]);
    intercept += t * stepIntercept;
    margins(problem, active, beta, intercept, z);
    stalled = 0;
    yield;
  }
}

/** Rows whose λ is neither 0 nor 1. */
function edgeOf(slope: Float64Array): { rows: Int32Array; slope: Float64Array } {
  let count = 0;
  for (const t of slope) if (t > 0 && t < 1) count++;
  const rows = new Int32Array(count);
  const values = new Float64Array(count);
  for (let i = 0, at = 0; at < count; i++) {
    if (!(slope[i] > 0 && slope[i] < 1)) continue;
    rows[at] = i;
    values[at++] = slope[i];
  }
  return { rows, slope: values };
}

/** The guess of λ that goes with an earlier point. */
function guessSlopes(problem: SupportProblem, { z, centre }: Workspace, start: Point): void {
  if (!start.edge) return;
  margins(problem, start.candidates, start.beta, start.intercept, z);
  for (let i = 0; i < z.length; i++) centre[i] = z[i] < 1 ? 1 : 0;
  const { rows, slope } = start.edge;
  for (let at = 0; at < rows.length; at++) centre[rows[at]] = slope[at];
}

/** What is best for β = 0, roughly: the weighted log odds; the hinge is content with it too. */
function startIntercept({ mass }: SupportProblem): number {
  return Math.max(-1, Math.min(1, Math.log(mass.positive / mass.negative)));
}

function penaltyOf(beta: readonly number[], shares: Float64Array, gamma: number): number {
  let sum = 0;
  for (let a = 0; a < beta.length; a++) if (shares[a] > 0) sum += (beta[a] * beta[a]) / shares[a];
  return sum / (2 * gamma);
}

function residualOf(
  beta: readonly number[],
  shares: Float64Array,
  active: readonly number[],
  d: Float64Array,
  gamma: number,
): number {
  let sum = 0;
  for (const [a, j] of active.entries()) if (shares[a] > 0) sum += (beta[a] / shares[a] - gamma * d[j]) ** 2;
  return Math.sqrt(sum);
}

function separates(z: Float64Array, weights: Float64Array): boolean {
  for (let i = 0; i < z.length; i++) if (weights[i] > 0 && !(z[i] > 0)) return false;
  return true;
}

/** z = X·β + y·b over signed columns. */
export function margins(
  { columns, signs }: SupportProblem,
  active: readonly number[],
  beta: ArrayLike<number>,
  intercept: number,
  out: Float64Array,
): void {
  for (let i = 0; i < out.length; i++) out[i] = intercept * signs[i];
  for (let a = 0; a < active.length; a++) {
    const w = beta[a];
    if (w === 0) continue;
    const x = columns[active[a]];
    for (let i = 0; i < out.length; i++) out[i] += w * x[i];
  }
}

/**
 * Moves the intercept, and z with it, to where it is best for the coefficients: a Newton search in one dimension with a
 * bracket. Without it a rounded-off hinge that bends in no row leaves the intercept undetermined.
 * @returns the change
 */
function bestIntercept(
  { signs, weights, loss, rows, mass }: SupportProblem,
  { z, trial, slope, curvature }: Workspace,
  rounding: Rounding,
): number {
  let low = -Infinity;
  let high = Infinity;
  let shift = 0;
  let stride = 0.25;
  for (let round = 0; round < 100; round++) {
    for (let i = 0; i < rows; i++) trial[i] = z[i] + shift * signs[i];
    loss.derivatives(trial, weights, rounding, slope, curvature);
    let pull = 0;
    let bend = 0;
    for (let i = 0; i < rows; i++) {
      pull += weights[i] * slope[i] * signs[i];
      bend += weights[i] * curvature[i];
    }
    if (Math.abs(pull) <= 1e-13 * (mass.positive + mass.negative)) break;
    if (pull > 0) low = shift;
    else high = shift;
    let next = bend > 0 ? shift + pull / bend : NaN;
    if (!(next > low && next < high) || (round > 12 && Number.isFinite(high - low))) {
      if (Number.isFinite(low) && Number.isFinite(high)) next = low + 0.5 * (high - low);
      else {
        next = shift + Math.sign(pull) * stride;
        stride *= 2;
      }
    } else if (Math.abs(next - shift) > 4 * stride && !Number.isFinite(high - low)) {
      next = shift + Math.sign(pull) * stride;
      stride *= 2;
    }
    if (next === low || next === high) break;
    shift = next;
  }
  for (let i = 0; i < rows; i++) z[i] += shift * signs[i];
  return shift;
}

/** Σ ω·curvature·x·xᵀ over the active columns and the intercept, lower triangle [m × m]. */
function* hessianOf(
  { columns, signs, weights, rows }: SupportProblem,
  { curvature, scaled, rowList }: Workspace,
  active: readonly number[],
): Generator<undefined, Float64Array, undefined> {
  const m = active.length + 1;
  const out = new Float64Array(m * m);
  const column = (a: number): Float64Array => (a === m - 1 ? signs : columns[active[a]]);
  let count = 0;
  for (let i = 0; i < rows; i++) if (curvature[i] !== 0) rowList[count++] = i;
  const few = count < rows / 3;
  let sinceTurn = 0;
  for (let r = 0; r < m; r++) {
    const x = column(r);
    if (few) {
      for (let t = 0; t < count; t++) {
        const i = rowList[t];
        scaled[t] = weights[i] * curvature[i] * x[i];
      }
    } else for (let i = 0; i < rows; i++) scaled[i] = weights[i] * curvature[i] * x[i];
    for (let c = 0; c <= r; c++) {
      const other = column(c);
      let sum = 0;
      if (few) for (let t = 0; t < count; t++) sum += scaled[t] * other[rowList[t]];
      else sum = product(scaled, other);
      out[r * m + c] = sum;
    }
    sinceTurn += rows * (r + 1);
    if (sinceTurn > 2e6) {
      sinceTurn = 0;
      yield;
    }
  }
  // Where no row bends, the intercept is free in the model; a little curvature keeps its step finite.
  out[m * m - 1] += 1e-12 * rows + 1e-300;
  yield;
  return out;
}

/** Minimises the quadratic model plus penalty over θ = (β, b) and the shares in turn. */
function* solveModel(
  hessian: Float64Array,
  gradient: Float64Array,
  m: number,
  beta: readonly number[],
  intercept: number,
  fixed: Uint8Array,
  shares: Float64Array,
  slots: number,
  gamma: number,
): Generator<undefined, { theta: Float64Array }, undefined> {
  const count = m - 1;
  const theta = Float64Array.from([...beta, intercept]);
  const rhs = new Float64Array(m);
  for (let r = 0; r < m; r++) {
    let sum = -gradient[r];
    for (let c = 0; c < m; c++) sum += (c <= r ? hessian[r * m + c] : hessian[c * m + r]) * theta[c];
    rhs[r] = sum;
  }
  const s = Float64Array.from(shares);
  const choice = fixed.includes(0);
  if (choice) {
    // A share of zero stays zero: give every candidate of the working set a little.
    const sizes = s.map((value, a) => (fixed[a] ? 0 : Math.max(value, 0.03)));
    bestShares(sizes, fixed, slots, s, count);
  }
  const factor = new Float64Array(m * m);
  const d = new Float64Array(count);
  let work = 0;
  for (let round = 0; ; round++) {
    factor.set(hessian);
    for (let a = 0; a < count; a++) factor[a * m + a] += 1 / (gamma * Math.max(s[a], 1e-12));
    choleskyFactor(factor, m);
    choleskySolve(factor, m, rhs, theta);
    work += count ** 3;
    if (work > MODEL_WORK) {
      work = 0;
      yield;
    }
    if (!choice || round >= MODEL_ROUNDS) break;
    // q of the model; its gap is how far the shares are from the best for it.
    let held = 0;
    let last = 0;
    const qs: number[] = [];
    for (let a = 0; a < count; a++) {
      d[a] = theta[a] / (gamma * Math.max(s[a], 1e-12));
      if (fixed[a]) continue;
      held += s[a] * d[a] * d[a];
      qs.push(d[a] * d[a]);
    }
    qs.sort((a, b) => b - a);
    for (let t = 0; t < Math.min(slots, qs.length); t++) last += qs[t];
    if (last - held <= MODEL_GAP * 0.01 * last) break;
    const sizes = s.map((value, a) => value * Math.abs(d[a]));
    bestShares(sizes, fixed, slots, s, count);
  }
  return { theta };
}
