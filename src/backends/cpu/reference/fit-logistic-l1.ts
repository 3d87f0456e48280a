/**
 * Sparse logistic regression with an L1 penalty over all columns:
 *
 *   P(w, b) = C · Σ_i ω_i · log(1 + exp(−s_i·(w·x̃_i + b))) + ‖w‖₁,   x̃_ij = (x_ij − center_j)/scale_j,  b unpenalised
 *
 * A working set of columns is solved by proximal Newton steps, each by coordinate descent on a quadratic model (Friedman,
 * Hastie and Tibshirani 2010; Yuan, Ho and Lin 2012). All columns are read only to find those that violate |X̃ᵀr| ≤ 1 at
 * the working set's optimum, and to certify: with r the residuals C·ω·s·σ(−margin), Σr = 0, and κ = 1/max(1, ‖X̃ᵀr‖∞), the
 * point κ·r is feasible for the dual
 *
 *   D(α) = −Σ_i C·ω_i · (α_i·log α_i + (1 − α_i)·log(1 − α_i)),   α_i = κ·σ(−margin_i),
 *
 * so P − D bounds what is still to be gained (Kim, Koh, Lustig, Boyd and Gorinevsky 2007).
 */
import type { Activations } from "../../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import { OptionError, ShapeError } from "../../../errors.ts";
import type { L1Fit, L1Options, L1Problem } from "../../backend.ts";
import type { Pacer } from "../pacer.ts";
import { ReferenceL1Design, type L1Design } from "./l1-design.ts";
import { classWeights } from "./logistic-loss.ts";

/** A column joins the working set when its correlation exceeds 1 by this share. */
const VIOLATION = 1e-9;

/** Columns that join the working set in a round: as many as are in use, and this many at least. */
const LEAST_ADDED = 64;

/** Share of the tolerance that a working set is solved to: the rest is for the dual point. */
const INNER_SHARE = 0.01;

const ARMIJO = 1e-4;
const MAX_HALVINGS = 40;
const MAX_SWEEPS = 1000;

/** Coefficients by column and the intercept. */
interface Sparse {
  readonly w: ReadonlyMap<number, number>;
  readonly b: number;
}

/** How a design is made for the labelled rows of one feature. */
export type MakeL1Design = (
  rows: Uint32Array,
  signedWeights: Float64Array,
  center: Float64Array,
  scale: Float64Array,
) => { readonly design: L1Design; readonly close: () => void };

/** Fits every problem with float64 loops. What `fitWithDesigns` throws. */
export async function fitLogisticL1(
  x: Activations,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
  pacer: Pacer,
): Promise<L1Fit[]> {
  return fitWithDesigns(x, labels, problems, options, pacer, (rows, weights, center, scale) => ({
    design: new ReferenceL1Design(x, rows, weights, center, scale, pacer),
    close: () => undefined,
  }));
}

/**
 * Fits every problem. Those of one feature, centre and scale are solved from the smallest C up, each from the last one's
 * result.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitWithDesigns(
  x: Pick<Activations, "rows" | "neurons">,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
  pacer: Pacer,
  makeDesign: MakeL1Design,
): Promise<L1Fit[]> {
  assertL1Problems(x, labels, problems);
  const fits = new Array<L1Fit>(problems.length);
  let done = 0;
  for (const group of groupByDesign(problems)) {
    const { feature, center, scale } = problems[group[0]];
    const y = labels.of(feature);
    const weights = classWeights(y, options.balanced);
    const rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
    const signed = Float64Array.from(rows, (i) => (y[i] === 1 ? -weights[i] : weights[i]));
    const { design, close } = makeDesign(
      rows,
      signed,
      center ?? new Float64Array(x.neurons),
      scale ?? new Float64Array(x.neurons).fill(1),
    );
    try {
      let start: Sparse = { w: new Map(), b: logOdds(signed) };
      for (const p of group.sort((a, b) => problems[a].C - problems[b].C)) {
        const { fit, end } = await solve(design, problems[p].C, start, options, pacer);
        fits[p] = fit;
        start = end;
        done++;
        if (pacer.due) await pacer.turn();
        options.onProgress?.(done, problems.length);
      }
    } finally {
      close();
    }
  }
  return fits;
}

function assertL1Problems(
  x: Pick<Activations, "rows" | "neurons">,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
): void {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  for (const { feature, C, center, scale } of problems) {
    if (!Number.isInteger(feature) || feature < 0 || feature >= labels.features.length) {
      throw new ShapeError(
        `Feature ${feature} does not exist.`,
        `Features run from 0 to ${labels.features.length - 1}.`,
      );
    }
    if (!(C > 0) || !Number.isFinite(C)) {
      throw new OptionError(`C is ${C}.`, "Give a finite number above 0.");
    }
    if ((center && center.length !== x.neurons) || (scale && scale.length !== x.neurons)) {
      throw new ShapeError(
        `center or scale does not have ${x.neurons} values.`,
        "Give one value per column of the activations.",
      );
    }
    if (scale?.some((s) => !(Math.abs(s) > 0) || !Number.isFinite(s))) {
      throw new OptionError(
        "A scale is zero or not finite.",
        "Give 1 for columns that are not to be scaled.",
      );
    }
  }
  for (const feature of new Set(problems.map((problem) => problem.feature))) labels.assertTwoClasses(feature);
}

/** Problems that differ in C alone. */
function groupByDesign(problems: readonly L1Problem[]): number[][] {
  const groups: number[][] = [];
  for (const [p, { feature, center, scale }] of problems.entries()) {
    const group = groups.find(([first]) => {
      const other = problems[first];
      return other.feature === feature && other.center === center && other.scale === scale;
    });
    if (group) group.push(p);
    else groups.push([p]);
  }
  return groups;
}

/** The best intercept of w = 0: the weighted log odds. */
function logOdds(signedWeights: Float64Array): number {
  let positive = 0;
  let negative = 0;
  for (const a of signedWeights) {
    if (a < 0) positive -= a;
    else negative += a;
  }
  return Math.log(positive / negative);
}

async function solve(
  design: L1Design,
  C: number,
  start: Sparse,
  { tolerance, maxIterations }: L1Options,
  pacer: Pacer,
): Promise<{ fit: L1Fit; end: Sparse }> {
  const total = C * design.signedWeights.reduce((sum, a) => sum + Math.abs(a), 0);
  let columns = Uint32Array.from(start.w.keys()).sort();
  let theta: Float64Array = Float64Array.from([...Array.from(columns, (j) => start.w.get(j)!), start.b]);
  let iterations = 0;
  let bestDual = -Infinity;
  // A first working set need not be solved well; a later one is, once nothing new joins it.
  let inner = Math.max(tolerance, 1e-4);
  for (;;) {
    await design.gather(columns);
    const left = Math.max(0, maxIterations - iterations);
    const solved = await solveWorkingSet(design, C, theta, total * inner * INNER_SHARE, left, pacer);
    iterations += solved.steps;
    theta = solved.theta;
    const k = columns.length;
    const last = inner <= tolerance;
    const correlations = await design.correlations(last);
    let largest = 0;
    for (const c of correlations) if (C * Math.abs(c) > largest) largest = C * Math.abs(c);
    bestDual = Math.max(bestDual, dualValue(design, C, 1 / Math.max(1, largest)));
    const gap = Math.max(0, solved.value - bestDual);
    const member = new Set(columns);
    const violating = Array.from(correlations.keys())
      .filter((j) => C * Math.abs(correlations[j]) > 1 + VIOLATION && !member.has(j))
      .sort((a, b) => Math.abs(correlations[b]) - Math.abs(correlations[a]));
    const converged = gap <= tolerance * total;
    const stuck = violating.length === 0 && last;
    if (converged || stuck || iterations >= maxIterations) {
      const kept = Array.from(columns.keys()).filter((at) => theta[at] !== 0);
      const support = Uint32Array.from(kept, (at) => columns[at]);
      const coefficients = Float64Array.from(kept, (at) => theta[at]);
      return {
        fit: {
          support,
          coefficients,
          intercept: theta[k],
          convergence: { converged, iterations, objective: solved.value, dualityGap: gap },
        },
        end: { w: new Map(kept.map((at) => [columns[at], theta[at]])), b: theta[k] },
      };
    }
    if (violating.length === 0) inner = Math.max(tolerance, inner / 100);
    const kept = Array.from(columns.keys()).filter((at) => theta[at] !== 0);
    const added = violating.slice(0, Math.max(LEAST_ADDED, kept.length));
    const next = [
      ...kept.map((at) => [columns[at], theta[at]] as const),
      ...added.map((j) => [j, 0] as const),
    ];
    next.sort(([a], [b]) => a - b);
    theta = Float64Array.from([...next.map(([, value]) => value), theta[k]]);
    columns = Uint32Array.from(next, ([j]) => j);
  }
}

/** Proximal Newton on the gathered columns until a step promises less than `least`. */
async function solveWorkingSet(
  design: L1Design,
  C: number,
  start: Float64Array,
  least: number,
  maxSteps: number,
  pacer: Pacer,
): Promise<{ theta: Float64Array; value: number; steps: number }> {
  const m = start.length;
  const k = m - 1;
  const size = (theta: Float64Array): number => theta.subarray(0, k).reduce((sum, v) => sum + Math.abs(v), 0);
  let theta = start;
  let point = await design.evaluate(theta);
  let value = C * point.loss + size(theta);
  let steps = 0;
  while (steps < maxSteps) {
    const hessian = await design.hessian();
    for (let at = 0; at < hessian.length; at++) hessian[at] *= C;
    const gradient = point.gradient.map((g) => C * g);
    const target = await descend(hessian, gradient, theta, least, pacer);
    let promised = size(target) - size(theta);
    for (let j = 0; j < m; j++) promised += gradient[j] * (target[j] - theta[j]);
    if (!(promised < 0)) break;
    let moved = false;
    for (let halving = 0, length = 1; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const next = length === 1 ? target : theta.map((t, j) => t + length * (target[j] - t));
      const there = await design.evaluate(next);
      const nextValue = C * there.loss + size(next);
      if (nextValue <= value + ARMIJO * length * promised + noise(value)) {
        theta = next;
        point = there;
        value = nextValue;
        moved = true;
        break;
      }
    }
    if (!moved) {
      // Rounding hides what is left; the sums must belong to θ again.
      point = await design.evaluate(theta);
      break;
    }
    steps++;
    if (-promised <= least) break;
  }
  // The dual needs Σr = 0: Newton steps on the intercept alone.
  for (let round = 0; round < 20; round++) {
    const residuals = design.residuals();
    let slope = 0;
    let sum = 0;
    for (const [i, r] of residuals.entries()) {
      const weight = Math.abs(design.signedWeights[i]);
      slope += Math.abs(r) * (1 - Math.abs(r) / weight);
      sum += Math.abs(r);
    }
    const off = point.gradient[k];
    if (!(Math.abs(off) > 1e-15 * sum)) break;
    const shifted = Float64Array.from(theta);
    shifted[k] -= off / slope;
    if (shifted[k] === theta[k]) break;
    const there = await design.evaluate(shifted);
    if (!(Math.abs(there.gradient[k]) < Math.abs(off))) {
      point = await design.evaluate(theta);
      break;
    }
    theta = shifted;
    point = there;
    value = C * point.loss + size(theta);
  }
  return { theta, value, steps };
}

/** A rise of a sum of many terms that rounding alone may cause. */
function noise(value: number): number {
  return 64 * Number.EPSILON * Math.abs(value);
}

/**
 * Minimises gᵀ(θ' − θ) + ½(θ' − θ)ᵀH(θ' − θ) + ‖w'‖₁ over θ', by cyclic coordinate descent, to a hundredth of `least`.
 * @param hessian lower triangle [m × m]; its upper triangle is filled in
 */
async function descend(
  hessian: Float64Array,
  gradient: Float64Array,
  theta: Float64Array,
  least: number,
  pacer: Pacer,
): Promise<Float64Array> {
  const m = theta.length;
  for (let r = 0; r < m; r++) for (let c = 0; c < r; c++) hessian[c * m + r] = hessian[r * m + c];
  const target = Float64Array.from(theta);
  const slope = Float64Array.from(gradient);
  let everything = true;
  let first = 0;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let gained = 0;
    for (let j = 0; j < m; j++) {
      const penalty = j === m - 1 ? 0 : 1;
      // Between full sweeps only coefficients that are not zero move.
      if (!everything && penalty === 1 && target[j] === 0) continue;
      // A column that never varies has no curvature and no slope.
      const curve = hessian[j * m + j];
      if (!(curve > 0)) continue;
      const free = target[j] - slope[j] / curve;
      const shrunk = Math.abs(free) - penalty / curve;
      const next = shrunk > 0 ? Math.sign(free) * shrunk : 0;
      const change = next - target[j];
      if (change === 0) continue;
      target[j] = next;
      gained += curve * change * change;
      for (let c = 0, at = j * m; c < m; c++, at++) slope[c] += change * hessian[at];
    }
    if (sweep === 0) first = gained;
    if (pacer.due) await pacer.turn();
    if (gained <= 0.01 * least || gained <= 1e-10 * first) {
      if (everything) break;
      everything = true;
    } else everything = false;
  }
  return target;
}

/** D at κ times the residuals of the point evaluated last. */
function dualValue(design: L1Design, C: number, kappa: number): number {
  const residuals = design.residuals();
  const { signedWeights } = design;
  let sum = 0;
  for (let i = 0; i < residuals.length; i++) {
    const weight = Math.abs(signedWeights[i]);
    const alpha = (kappa * Math.abs(residuals[i])) / weight;
    if (alpha > 0 && alpha < 1) sum -= weight * (alpha * Math.log(alpha) + (1 - alpha) * Math.log1p(-alpha));
  }
  return C * sum;
}
