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
import { sampleOf } from "./fit-dense.ts";
import { ReferenceL1Design, type L1Design, type L1Sums } from "./l1-design.ts";
import { classWeights } from "./logistic-loss.ts";

/**
 * How far an optimality condition of the working set, |g_j| ≤ 1 or g_j = ±1, may be off: while columns still join it, at first
 * and later, and at the very least, where float64 sums end.
 */
const FIRST_ACCURACY = 0.03;
const LATER_ACCURACY = 1e-3;
const LEAST_ACCURACY = 1e-13;

/** Share of the gap allowed that the working set's conditions may use up. */
const GAP_SHARE = 0.3;

/** Columns that join the working set in a round: as many as are in use, and this many at least. */
const LEAST_ADDED = 64;

/** A Hessian is used again after a step that left less than this share of the violation. */
const REUSE = 0.25;

const ARMIJO = 1e-4;
const MAX_HALVINGS = 40;
const MAX_SWEEPS = 1000;
const MAX_BALANCING = 20;

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
  x: Activations,
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
    const d = x.neurons;
    const scales = scale ?? new Float64Array(d).fill(1);
    // Coordinate descent is fast where no column leans on the intercept: centred there, whatever the caller's centre.
    const mean = sampledMean(x, rows);
    const { design, close } = makeDesign(rows, signed, mean, scales);
    try {
      let start: Sparse = { w: new Map(), b: logOdds(signed) };
      for (const p of group.sort((a, b) => problems[a].C - problems[b].C)) {
        const { fit, end } = await solve(design, problems[p].C, start, options, pacer);
        // The same function of x with the caller's centre.
        let { intercept } = fit;
        for (const [at, j] of fit.support.entries()) {
          intercept += (fit.coefficients[at] * ((center?.[j] ?? 0) - mean[j])) / scales[j];
        }
        fits[p] = { ...fit, intercept };
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

/** Column means over a sample of the rows; 0 where that is not finite. */
function sampledMean(x: Activations, rows: Uint32Array): Float64Array {
  const mean = new Float64Array(x.neurons);
  const row = new Float32Array(x.neurons);
  const picked = sampleOf(rows.length);
  for (const i of picked) {
    x.decodeRow(rows[i], row);
    for (let j = 0; j < mean.length; j++) mean[j] += row[j] / picked.length;
  }
  return mean.map((value) => (Number.isFinite(value) ? value : 0));
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
  const weight = design.signedWeights.reduce((sum, a) => sum + Math.abs(a), 0);
  let columns = Uint32Array.from(start.w.keys()).sort();
  let theta: Float64Array = Float64Array.from([...Array.from(columns, (j) => start.w.get(j)!), start.b]);
  let iterations = 0;
  let bestDual = -Infinity;
  let accuracy = FIRST_ACCURACY;
  for (let certify = false; ;) {
    await design.gather(columns);
    const left = maxIterations - iterations;
    const { point, steps } = await solveWorkingSet(design, C, theta, accuracy, left, pacer);
    iterations += steps;
    const last = certify || iterations >= maxIterations;
    const solved = last ? await balanceResiduals(design, C, point, weight) : point;
    theta = solved.theta;
    const correlations = await design.correlations(last);
    const k = columns.length;
    const members = new Set(columns);
    const violating: number[] = [];
    let largest = 0;
    for (const [j, c] of correlations.entries()) {
      const size = C * Math.abs(c);
      if (size > largest) largest = size;
      if (size > 1 + accuracy && !members.has(j)) violating.push(j);
    }
    const kept = Array.from(columns.keys()).filter((at) => theta[at] !== 0);
    if (last) {
      bestDual = Math.max(bestDual, dualValue(design, C, 1 / Math.max(1, largest)));
      const gap = Math.max(0, solved.value - bestDual);
      const converged = gap <= tolerance * C * weight;
      const stuck = violating.length === 0 && accuracy <= LEAST_ACCURACY;
      if (converged || stuck || iterations >= maxIterations) {
        return {
          fit: {
            support: Uint32Array.from(kept, (at) => columns[at]),
            coefficients: Float64Array.from(kept, (at) => theta[at]),
            intercept: theta[k],
            convergence: {
              converged,
              iterations,
              objective: solved.value,
              dualityGap: gap,
              gradientNorm: subgradientNorm(correlations, C, columns, solved),
              separated: separates(design),
            },
          },
          end: { w: new Map(kept.map((at) => [columns[at], theta[at]])), b: theta[k] },
        };
      }
    }
    if (violating.length === 0) {
      // The gap is about the accuracy times ‖w‖₁, which the objective bounds.
      const needed = (GAP_SHARE * tolerance * C * weight) / solved.value;
      accuracy = Math.max(LEAST_ACCURACY, certify ? accuracy / 100 : Math.min(accuracy, needed));
      certify = true;
    } else accuracy = Math.min(accuracy, LATER_ACCURACY);
    violating.sort((p, q) => Math.abs(correlations[q]) - Math.abs(correlations[p]));
    const added = violating.slice(0, Math.max(LEAST_ADDED, kept.length));
    const next = [
      ...kept.map((at) => [columns[at], theta[at]] as const),
      ...added.map((j) => [j, 0] as const),
    ];
    next.sort(([p], [q]) => p - q);
    theta = Float64Array.from([...next.map(([, value]) => value), theta[k]]);
    columns = Uint32Array.from(next, ([j]) => j);
  }
}

/** A point on the working set, and the sums there. */
interface WorkingPoint extends L1Sums {
  readonly theta: Float64Array;
  /** P. */
  readonly value: number;
}

async function pointAt(design: L1Design, C: number, theta: Float64Array): Promise<WorkingPoint> {
  const sums = await design.evaluate(theta);
  return { ...sums, theta, value: C * sums.loss + sizeOf(theta) };
}

/** Proximal Newton on the gathered columns until no optimality condition is off by more than `accuracy`. */
async function solveWorkingSet(
  design: L1Design,
  C: number,
  start: Float64Array,
  accuracy: number,
  maxSteps: number,
  pacer: Pacer,
): Promise<{ readonly point: WorkingPoint; readonly steps: number }> {
  let point = await pointAt(design, C, start);
  let off = violation(point.theta, C, point.gradient);
  let hessian: Float64Array | undefined;
  let steps = 0;
  while (steps < maxSteps && off > accuracy) {
    const { theta, value } = point;
    const gradient = point.gradient.map((g) => C * g);
    hessian ??= (await design.hessian()).map((h) => C * h);
    // Solved better and better as the end comes near, so that steps go on squaring the distance.
    const target = await descend(hessian, gradient, theta, off * Math.min(0.1, off), pacer);
    let promised = sizeOf(target) - sizeOf(theta);
    for (let j = 0; j < theta.length; j++) promised += gradient[j] * (target[j] - theta[j]);
    // Near the end rounding hides what a step gains: there the conditions have to come closer instead.
    const visible = -promised > noise(value);
    let next: WorkingPoint | undefined;
    for (let halving = 0, length = 1; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const tried = await pointAt(
        design,
        C,
        length === 1 ? target : theta.map((t, j) => t + length * (target[j] - t)),
      );
      const falls = tried.value <= value + ARMIJO * length * Math.min(0, promised) + noise(value);
      if (falls && (visible || violation(tried.theta, C, tried.gradient) < off)) next = tried;
      if (next || !visible) break;
    }
    if (!next) {
      // The design's sums must belong to θ again.
      point = await pointAt(design, C, theta);
      break;
    }
    point = next;
    steps++;
    const before = off;
    off = violation(point.theta, C, point.gradient);
    // A Hessian serves for as long as its steps contract well.
    if (!(off < REUSE * before)) hessian = undefined;
  }
  return { point, steps };
}

/** ‖w‖₁. */
function sizeOf(theta: Float64Array): number {
  return theta.subarray(0, -1).reduce((sum, v) => sum + Math.abs(v), 0);
}

/** How far the worst condition is from being met: 0 ∈ C·g_j + ∂|w_j|, and g_b = 0. */
function violation(theta: Float64Array, C: number, gradient: Float64Array): number {
  const k = theta.length - 1;
  let worst = Math.abs(C * gradient[k]);
  for (let j = 0; j < k; j++) {
    const g = C * gradient[j];
    const off = theta[j] === 0 ? Math.abs(g) - 1 : Math.abs(g + Math.sign(theta[j]));
    if (off > worst) worst = off;
  }
  return worst;
}

/** Newton steps on the intercept alone until Σr = 0, as the dual demands. */
async function balanceResiduals(
  design: L1Design,
  C: number,
  start: WorkingPoint,
  weight: number,
): Promise<WorkingPoint> {
  const k = start.theta.length - 1;
  let point = start;
  for (let round = 0; round < MAX_BALANCING && Math.abs(point.gradient[k]) > 1e-15 * weight; round++) {
    const shifted = Float64Array.from(point.theta);
    shifted[k] -= point.gradient[k] / point.curvature;
    const next = await pointAt(design, C, shifted);
    if (!(Math.abs(next.gradient[k]) < Math.abs(point.gradient[k]))) {
      // The design's sums must belong to the point again.
      return pointAt(design, C, point.theta);
    }
    point = next;
  }
  return point;
}

/** A rise of a sum of many terms that rounding alone may cause. */
function noise(value: number): number {
  return 64 * Number.EPSILON * Math.abs(value);
}

/**
 * Minimises gᵀ(θ' − θ) + ½(θ' − θ)ᵀH(θ' − θ) + ‖w'‖₁ over θ' by cyclic coordinate descent, until a sweep over all coordinates
 * finds none off by more than `accuracy`.
 * @param hessian lower triangle [m × m]; its upper triangle is filled in
 */
async function descend(
  hessian: Float64Array,
  gradient: Float64Array,
  theta: Float64Array,
  accuracy: number,
  pacer: Pacer,
): Promise<Float64Array> {
  const m = theta.length;
  for (let r = 0; r < m; r++) for (let c = 0; c < r; c++) hessian[c * m + r] = hessian[r * m + c];
  const target = Float64Array.from(theta);
  const slope = Float64Array.from(gradient);
  let everything = true;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let worst = 0;
    for (let j = 0; j < m; j++) {
      const penalty = j === m - 1 ? 0 : 1;
      // Between sweeps over all, only coefficients that are not zero move.
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
      worst = Math.max(worst, Math.abs(curve * change));
      for (let c = 0, at = j * m; c < m; c++, at++) slope[c] += change * hessian[at];
    }
    if (pacer.due) await pacer.turn();
    if (worst <= accuracy) {
      if (everything) break;
      everything = true;
    } else everything = false;
  }
  return target;
}

/** ‖·‖ of the shortest subgradient of P: the conditions of {@link violation}, over all columns. */
function subgradientNorm(
  correlations: Float64Array,
  C: number,
  columns: Uint32Array,
  { theta, gradient }: WorkingPoint,
): number {
  const k = columns.length;
  const off = correlations.map((c) => Math.max(0, C * Math.abs(c) - 1));
  for (const [at, j] of columns.entries()) {
    if (theta[at] !== 0) off[j] = C * correlations[j] + Math.sign(theta[at]);
  }
  const sum = off.reduce((squares, v) => (Number.isFinite(v) ? squares + v * v : squares), 0);
  return Math.sqrt(sum + (C * gradient[k]) ** 2);
}

/** A row on its side of the boundary has less than half of its weight as residual. */
function separates(design: L1Design): boolean {
  const residuals = design.residuals();
  return design.signedWeights.every((a, i) => 2 * Math.abs(residuals[i]) < Math.abs(a));
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
