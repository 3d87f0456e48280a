/**
 * Sparse logistic regression with an L1 penalty, or an elastic net (Zou and Hastie 2005), over all columns or a support:
 *
 *   P(w, b) = C · Σ_i ω_i · log(1 + exp(−s_i·(w·x̃_i + b))) + (1 − ρ)/2·‖w‖² + ρ·‖w‖₁,   x̃_ij = (x_ij − center_j)/scale_j,
 *
 * b unpenalised. Inside, P is divided by ρ: the L1 penalty has weight 1, C stands for C/ρ and the ridge is (1 − ρ)/ρ.
 *
 * A working set of columns is solved by proximal Newton steps, each by coordinate descent on a quadratic model (Friedman,
 * Hastie and Tibshirani 2010; Yuan, Ho and Lin 2012). All columns are read only to find those that violate |X̃ᵀr| ≤ 1 at
 * the working set's optimum, and to certify: with r the residuals C·ω·s·σ(−margin), Σr = 0, and any κ in (0, 1], α = κ·r has
 * the dual value
 *
 *   D(α) = −Σ_i C·ω_i · (a_i·log a_i + (1 − a_i)·log(1 − a_i)) − Σ_j max(0, |X̃_jᵀα| − 1)²/(2·ridge),   a_i = κ·σ(−margin_i),
 *
 * where without a ridge κ must leave no |X̃_jᵀα| above 1; so P − D bounds what is still to be gained (Kim, Koh, Lustig,
 * Boyd and Gorinevsky 2007; the second sum is the conjugate of the elastic net's penalty).
 */
import { Activations } from "../../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import { OptionError, ShapeError, SupportSizeError } from "../../../errors.ts";
import type { L1Convergence, L1Fit, L1Options, L1Problem, L1Start } from "../../backend.ts";
import type { Pacer } from "../pacer.ts";
import { sampleOf } from "./fit-dense.ts";
import { ReferenceL1Design, type L1Design } from "./l1-design.ts";
import { classWeights } from "./logistic-loss.ts";
import { SparseQuadratic } from "./sparse-quadratic.ts";

/**
 * How far an optimality condition of the working set, |g_j| ≤ 1 or g_j = ±1, may be off: while columns still join it, at first
 * and later, and at the very least, where float64 sums end.
 */
const FIRST_ACCURACY = 0.03;
const LATER_ACCURACY = 1e-3;
const LEAST_ACCURACY = 1e-13;

/** Share of the gap allowed that the working set's conditions may use up. */
const GAP_SHARE = 0.3;

/** So few columns that are all in the working set from the start: finding those that matter costs more than they do. */
const FEW_COLUMNS = 256;

/** Columns that join the working set in a round: as many as are in use, and this many at least. */
const LEAST_ADDED = 64;

/** A Hessian is used again after a step that left less than this share of the violation. */
const REUSE = 0.25;

const ARMIJO = 1e-4;
const MAX_HALVINGS = 40;
const MAX_BALANCING = 20;

/** Rounds in a row without a step, after which none is expected: sharpening the conditions takes about seven. */
const MAX_IDLE = 20;

/** Coefficients by column and the intercept. */
interface Sparse {
  readonly w: ReadonlyMap<number, number>;
  readonly b: number;
}

/** The objective inside the solver, divided by ρ. */
interface Strengths {
  /** C/ρ. */
  readonly C: number;
  /** (1 − ρ)/ρ. */
  readonly ridge: number;
}

/** How the solver reaches the data. */
export interface L1Data {
  /** Some columns as a matrix of their own. */
  gather(columns: Uint32Array): Promise<Activations>;
  /** The labelled rows of one feature. */
  design(
    x: Activations,
    rows: Uint32Array,
    signedWeights: Float64Array,
    center: Float64Array,
    scale: Float64Array,
  ): { readonly design: L1Design; readonly close: () => void };
}

/** Rows that are gathered between two looks at the clock. */
const GATHER_ROWS = 1024;

/** Fits every problem with float64 loops. What `fitWithDesigns` throws. */
export async function fitLogisticL1(
  x: Activations,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
  pacer: Pacer,
): Promise<L1Fit[]> {
  return fitWithDesigns(x, labels, problems, options, pacer, {
    async gather(columns) {
      const values = new Float32Array(x.rows * columns.length);
      for (let start = 0; start < x.rows; start += GATHER_ROWS) {
        const block = x.slice(start, Math.min(x.rows, start + GATHER_ROWS));
        values.set(block.gatherColumns(columns).toFloat32(), start * columns.length);
        if (pacer.due) await pacer.turn();
      }
      return new Activations(values, [x.rows, columns.length]);
    },
    design: (part, rows, weights, center, scale) => ({
      design: new ReferenceL1Design(part, rows, weights, center, scale, pacer),
      close: () => undefined,
    }),
  });
}

/**
 * Fits every problem. Those of one feature, support, centre and scale are solved from the weakest C up, each from the last
 * one's result where it has no start of its own.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitWithDesigns(
  x: Activations,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
  pacer: Pacer,
  data: L1Data,
): Promise<L1Fit[]> {
  assertL1Problems(x, labels, problems);
  const fits = new Array<L1Fit>(problems.length);
  let done = 0;
  for (const group of groupByDesign(problems)) {
    const { feature, support, center, scale } = problems[group[0]];
    const y = labels.of(feature);
    const weights = classWeights(y, options.balanced);
    const rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
    const signed = Float64Array.from(rows, (i) => (y[i] === 1 ? -weights[i] : weights[i]));
    const part = support ? await data.gather(support) : x;
    const scales = scale ?? new Float64Array(part.neurons).fill(1);
    // Coordinate descent is fast where no column leans on the intercept: centred there, whatever the caller's centre.
    const mean = sampledMean(part, rows);
    /** What the caller's centre adds to the intercept of these coefficients. */
    const recentre = (w: Sparse["w"]): number => {
      let shift = 0;
      for (const [j, value] of w) shift += (value * ((center?.[j] ?? 0) - mean[j])) / scales[j];
      return shift;
    };
    const { design, close } = data.design(part, rows, signed, mean, scales);
    try {
      let from: Sparse = { w: new Map(), b: logOdds(signed) };
      for (const p of group.sort((a, b) => weakness(problems[a]) - weakness(problems[b]))) {
        const { C, l1Ratio = 1, start } = problems[p];
        const strengths = { C: C / l1Ratio, ridge: (1 - l1Ratio) / l1Ratio };
        if (start) {
          const w = startingWeights(start, support);
          from = await usefulStart(design, strengths, { w, b: start.intercept - recentre(w) }, signed);
        }
        const { fit, end } = await solve(design, strengths, from, options, pacer);
        fits[p] = {
          support: fit.support,
          coefficients: fit.coefficients,
          // The same function of x with the caller's centre.
          intercept: fit.intercept + recentre(end.w),
          convergence: inUnitsOf(l1Ratio, fit.convergence),
        };
        if (support) fits[p] = byColumn(fits[p], support);
        from = end;
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

/** The weaker the loss is against the L1 penalty, the fewer columns have a coefficient. */
function weakness({ C, l1Ratio = 1 }: L1Problem): number {
  return C / l1Ratio;
}

/** P and its like, which the solver has divided by ρ. */
function inUnitsOf(l1Ratio: number, convergence: L1Convergence): L1Convergence {
  return {
    ...convergence,
    objective: l1Ratio * convergence.objective,
    dualityGap: l1Ratio * convergence.dualityGap,
    gradientNorm: l1Ratio * convergence.gradientNorm,
  };
}

/** A fit on gathered columns, by the columns that they are. */
function byColumn(fit: L1Fit, columns: Uint32Array): L1Fit {
  const named = Array.from(fit.support, (c, at) => [columns[c], fit.coefficients[at]] as const);
  named.sort(([a], [b]) => a - b);
  return {
    ...fit,
    support: Uint32Array.from(named, ([j]) => j),
    coefficients: Float64Array.from(named, ([, value]) => value),
  };
}

/** A start's coefficients by place in the support, those of other columns left out. */
function startingWeights(start: L1Start, support: Uint32Array | undefined): Map<number, number> {
  const place = support && new Map(Array.from(support, (j, c) => [j, c]));
  const w = new Map<number, number>();
  for (const [at, j] of start.support.entries()) {
    const c = place ? place.get(j) : j;
    if (c !== undefined && start.coefficients[at] !== 0) w.set(c, start.coefficients[at]);
  }
  return w;
}

/** The start, unless no coefficients at all are better: far away, steps are poor, and columns may not be finite. */
async function usefulStart(
  design: L1Design,
  strengths: Strengths,
  start: Sparse,
  signedWeights: Float64Array,
): Promise<Sparse> {
  const none: Sparse = { w: new Map(), b: logOdds(signedWeights) };
  const valueAt = async ({ w, b }: Sparse): Promise<number> => {
    const columns = Uint32Array.from(w.keys()).sort();
    await design.gather(columns);
    const theta = Float64Array.from([...Array.from(columns, (j) => w.get(j)!), b]);
    return (await pointAt(design, strengths, theta)).value;
  };
  const ceiling = await valueAt(none);
  return (await valueAt(start)) < ceiling ? start : none;
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
  for (const { feature, C, l1Ratio = 1, support, center, scale, start } of problems) {
    if (!Number.isInteger(feature) || feature < 0 || feature >= labels.features.length) {
      throw new ShapeError(
        `Feature ${feature} does not exist.`,
        `Features run from 0 to ${labels.features.length - 1}.`,
      );
    }
    if (!(C > 0) || !Number.isFinite(C)) {
      throw new OptionError(`C is ${C}.`, "Give a finite number above 0.");
    }
    if (!(l1Ratio > 0 && l1Ratio <= 1)) {
      throw new OptionError(
        `l1Ratio is ${l1Ratio}.`,
        "Give a number above 0 and at most 1; without an L1 part, use fitLogistic.",
      );
    }
    if (support) assertColumns(support, x.neurons, "support");
    const columns = support?.length ?? x.neurons;
    if ((center && center.length !== columns) || (scale && scale.length !== columns)) {
      throw new ShapeError(
        `center or scale does not have ${columns} values.`,
        "Give one value per column of the problem.",
      );
    }
    if (scale?.some((s) => !(Math.abs(s) > 0) || !Number.isFinite(s))) {
      throw new OptionError(
        "A scale is zero or not finite.",
        "Give 1 for columns that are not to be scaled.",
      );
    }
    if (start) {
      assertColumns(start.support, x.neurons, "start");
      if (start.coefficients.length !== start.support.length) {
        throw new ShapeError(
          `The start has ${start.coefficients.length} coefficients for ${start.support.length} columns.`,
          "Give one coefficient per column of the start.",
        );
      }
      if (!Number.isFinite(start.intercept) || start.coefficients.some((value) => !Number.isFinite(value))) {
        throw new OptionError("The start is not finite.", "Leave it out, or give a fit that is finite.");
      }
    }
  }
  for (const feature of new Set(problems.map((problem) => problem.feature))) labels.assertTwoClasses(feature);
}

/** @throws SupportSizeError | ShapeError when columns do not exist or are listed twice, or a support is empty */
function assertColumns(columns: Uint32Array, d: number, what: "support" | "start"): void {
  if (what === "support" && columns.length === 0) {
    throw new SupportSizeError("A support is empty.", "Give at least one column, or leave it out for all.");
  }
  for (const j of columns) {
    if (j >= d) throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${d - 1}.`);
  }
  if (new Set(columns).size !== columns.length) {
    throw new ShapeError(`The ${what} names a column twice.`, "List each column once.");
  }
}

/** Problems that differ in C, l1Ratio and start alone. */
function groupByDesign(problems: readonly L1Problem[]): number[][] {
  const groups: number[][] = [];
  for (const [p, { feature, support, center, scale }] of problems.entries()) {
    const group = groups.find(([first]) => {
      const other = problems[first];
      return (
        other.feature === feature &&
        other.support === support &&
        other.center === center &&
        other.scale === scale
      );
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
  strengths: Strengths,
  start: Sparse,
  { tolerance, maxIterations }: L1Options,
  pacer: Pacer,
): Promise<{ fit: L1Fit; end: Sparse }> {
  const { C, ridge } = strengths;
  const weight = design.signedWeights.reduce((sum, a) => sum + Math.abs(a), 0);
  const given = Uint32Array.from(start.w.keys()).sort();
  const thetaOn = (columns: Uint32Array): Float64Array =>
    Float64Array.from([...Array.from(columns, (j) => start.w.get(j) ?? 0), start.b]);
  let columns =
    design.columns <= FEW_COLUMNS ? Uint32Array.from({ length: design.columns }, (_, j) => j) : given;
  let theta = thetaOn(columns);
  let iterations = 0;
  let bestDual = -Infinity;
  let accuracy = FIRST_ACCURACY;
  /** Rounds without a step since the last one: columns that no step can use would otherwise come and go for ever. */
  let idle = 0;
  for (let certify = false; ;) {
    await design.gather(columns);
    const left = maxIterations - iterations;
    const { point, steps } = await solveWorkingSet(design, strengths, theta, accuracy, left, pacer);
    idle = steps > 0 ? 0 : idle + 1;
    if (!Number.isFinite(point.value) && columns !== given) {
      // Not all columns are finite: those that are come in by their correlations.
      columns = given;
      theta = thetaOn(columns);
      continue;
    }
    iterations += steps;
    const last = certify || iterations >= maxIterations || idle > MAX_IDLE;
    const solved = last ? await balanceResiduals(design, strengths, point, weight) : point;
    theta = solved.theta;
    // A column that is not finite is left out, whether its sum is NaN or infinite: NaN is beyond no bound.
    const correlations = (await design.correlations(last)).map((c) => (Number.isFinite(C * c) ? c : NaN));
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
      bestDual = Math.max(bestDual, dualBound(design, strengths, theta, correlations, largest));
      const gap = Math.max(0, solved.value - bestDual);
      const converged = gap <= tolerance * C * weight;
      const stuck = (violating.length === 0 && accuracy <= LEAST_ACCURACY) || idle > MAX_IDLE;
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
              gradientNorm: subgradientNorm(correlations, strengths, columns, solved),
              separated: separates(design),
            },
          },
          end: { w: new Map(kept.map((at) => [columns[at], theta[at]])), b: theta[k] },
        };
      }
    }
    if (violating.length === 0) {
      // The gap is about the accuracy times ‖w‖₁, which the objective bounds, or its square by the ridge, column by column.
      const allowed = GAP_SHARE * tolerance * C * weight;
      const needed = Math.max(
        allowed / solved.value,
        Math.sqrt((2 * ridge * allowed) / Math.max(1, kept.length)),
      );
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
interface WorkingPoint {
  readonly theta: Float64Array;
  /** P. */
  readonly value: number;
  /** Gradient of P without the L1 penalty. */
  readonly gradient: Float64Array;
  /** P's second derivative by the intercept. */
  readonly curvature: number;
}

async function pointAt(
  design: L1Design,
  { C, ridge }: Strengths,
  theta: Float64Array,
): Promise<WorkingPoint> {
  const { loss, gradient, curvature } = await design.evaluate(theta);
  const k = theta.length - 1;
  let squares = 0;
  for (let j = 0; j < k; j++) squares += theta[j] * theta[j];
  return {
    theta,
    value: C * loss + sizeOf(theta) + (ridge / 2) * squares,
    gradient: gradient.map((g, j) => (j < k ? C * g + ridge * theta[j] : C * g)),
    curvature: C * curvature,
  };
}

/** Proximal Newton on the gathered columns until no optimality condition is off by more than `accuracy`. */
async function solveWorkingSet(
  design: L1Design,
  strengths: Strengths,
  start: Float64Array,
  accuracy: number,
  maxSteps: number,
  pacer: Pacer,
): Promise<{ readonly point: WorkingPoint; readonly steps: number }> {
  let point = await pointAt(design, strengths, start);
  let off = violation(point);
  let quadratic: SparseQuadratic | undefined;
  let steps = 0;
  while (steps < maxSteps && off > accuracy) {
    const { theta, value, gradient } = point;
    quadratic ??= await quadraticHere(design, strengths, theta.length);
    // Solved better and better as the end comes near, so that steps go on squaring the distance.
    const { target } = await quadratic.minimise(gradient, theta, off * Math.min(0.1, off), pacer);
    let promised = sizeOf(target) - sizeOf(theta);
    for (let j = 0; j < theta.length; j++) promised += gradient[j] * (target[j] - theta[j]);
    // Near the end rounding hides what a step gains: there the conditions have to come closer instead.
    const visible = -promised > noise(value);
    let next: WorkingPoint | undefined;
    for (let halving = 0, length = 1; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const tried = await pointAt(
        design,
        strengths,
        length === 1 ? target : theta.map((t, j) => t + length * (target[j] - t)),
      );
      const falls = tried.value <= value + ARMIJO * length * Math.min(0, promised) + noise(value);
      if (falls && (visible || violation(tried) < off)) next = tried;
      if (next || !visible) break;
    }
    if (!next) {
      // The design's sums must belong to θ again.
      point = await pointAt(design, strengths, theta);
      break;
    }
    point = next;
    steps++;
    const before = off;
    off = violation(point);
    // A Hessian serves for as long as its steps contract well.
    if (!(off < REUSE * before)) quadratic = undefined;
  }
  return { point, steps };
}

/** P's quadratic model where the design was evaluated last. */
async function quadraticHere(design: L1Design, { C, ridge }: Strengths, m: number): Promise<SparseQuadratic> {
  const hessian = await design.hessian();
  for (let at = 0; at < hessian.length; at++) hessian[at] *= C;
  for (let j = 0; j < m - 1; j++) hessian[j * (m + 1)] += ridge;
  return new SparseQuadratic(hessian, m);
}

/** ‖w‖₁. */
function sizeOf(theta: Float64Array): number {
  return theta.subarray(0, -1).reduce((sum, v) => sum + Math.abs(v), 0);
}

/** How far the worst condition is from being met: 0 ∈ g_j + ∂|w_j|, and g_b = 0. */
function violation({ theta, gradient }: WorkingPoint): number {
  const k = theta.length - 1;
  let worst = Math.abs(gradient[k]);
  for (let j = 0; j < k; j++) {
    const g = gradient[j];
    const off = theta[j] === 0 ? Math.abs(g) - 1 : Math.abs(g + Math.sign(theta[j]));
    if (off > worst) worst = off;
  }
  return worst;
}

/** Newton steps on the intercept alone until Σr = 0, as the dual demands. */
async function balanceResiduals(
  design: L1Design,
  strengths: Strengths,
  start: WorkingPoint,
  weight: number,
): Promise<WorkingPoint> {
  const k = start.theta.length - 1;
  const least = 1e-15 * strengths.C * weight;
  let point = start;
  for (let round = 0; round < MAX_BALANCING && Math.abs(point.gradient[k]) > least; round++) {
    const shifted = Float64Array.from(point.theta);
    shifted[k] -= point.gradient[k] / point.curvature;
    const next = await pointAt(design, strengths, shifted);
    if (!(Math.abs(next.gradient[k]) < Math.abs(point.gradient[k]))) {
      // The design's sums must belong to the point again.
      return pointAt(design, strengths, point.theta);
    }
    point = next;
  }
  return point;
}

/** A rise of a sum of many terms that rounding alone may cause. */
function noise(value: number): number {
  return 64 * Number.EPSILON * Math.abs(value);
}

/** ‖·‖ of the shortest subgradient of P: the conditions of {@link violation}, over all columns. */
function subgradientNorm(
  correlations: Float64Array,
  { C, ridge }: Strengths,
  columns: Uint32Array,
  { theta, gradient }: WorkingPoint,
): number {
  const k = columns.length;
  const off = correlations.map((c) => Math.max(0, C * Math.abs(c) - 1));
  for (const [at, j] of columns.entries()) {
    if (theta[at] !== 0) off[j] = C * correlations[j] + ridge * theta[at] + Math.sign(theta[at]);
  }
  const sum = off.reduce((squares, v) => (Number.isFinite(v) ? squares + v * v : squares), 0);
  return Math.sqrt(sum + gradient[k] ** 2);
}

/** A row on its side of the boundary has less than half of its weight as residual. */
function separates(design: L1Design): boolean {
  const residuals = design.residuals();
  return design.signedWeights.every((a, i) => 2 * Math.abs(residuals[i]) < Math.abs(a));
}

/**
 * The better of D at two multiples κ of the residuals of the point evaluated last: all of them where a ridge allows it, and as
 * many as leave no column above what the largest coefficient explains.
 * @param largest of C·|correlation|
 */
function dualBound(
  design: L1Design,
  { C, ridge }: Strengths,
  theta: Float64Array,
  correlations: Float64Array,
  largest: number,
): number {
  const residuals = design.residuals();
  const { signedWeights } = design;
  const valueAt = (kappa: number): number => {
    let sum = 0;
    for (let i = 0; i < residuals.length; i++) {
      const weight = Math.abs(signedWeights[i]);
      const a = (kappa * Math.abs(residuals[i])) / weight;
      if (a > 0 && a < 1) sum -= weight * (a * Math.log(a) + (1 - a) * Math.log1p(-a));
    }
    if (ridge === 0) return C * sum;
    let conjugate = 0;
    for (const c of correlations) {
      const over = kappa * C * Math.abs(c) - 1;
      if (over > 0) conjugate += over * over;
    }
    return C * sum - conjugate / (2 * ridge);
  };
  const explained = 1 + ridge * theta.subarray(0, -1).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const scaled = valueAt(explained / Math.max(explained, largest));
  return ridge === 0 ? scaled : Math.max(valueAt(1), scaled);
}
