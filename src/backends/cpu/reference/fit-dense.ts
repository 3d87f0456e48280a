/**
 * Batches of wide logistic fits (k > 512), without a matrix of k² numbers. The columns are centred at their sampled mean inside
 * the solver, where that makes the problem easier; results are of the caller's centre.
 */
import type { Activations } from "../../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../../backend.ts";
import type { Pacer } from "../pacer.ts";
import { assertProblems } from "./fit-logistic.ts";
import { gatherAsColumns } from "./gather-columns.ts";
import { minimiseWide } from "./lbfgs.ts";
import { classWeights, LogisticLoss } from "./logistic-loss.ts";
import { ReferenceWideObjective, type WideObjective } from "./wide-objective.ts";
import {
  gramInLoops,
  SAMPLE_ROWS,
  WidePreconditioner,
  type GramOfRows,
  type RowSample,
} from "./wide-preconditioner.ts";

/** One problem on its labelled rows. */
export interface WideProblem {
  /** Indices of the labelled rows, ascending. */
  readonly rows: Uint32Array;
  /** 1 or 0 by labelled row. */
  readonly labels: Uint8Array;
  /** ω by labelled row. */
  readonly weights: Float64Array;
  readonly C: number;
  readonly support: Uint32Array;
  readonly center: Float64Array;
  readonly scale: Float64Array;
}

/** The problem's data, ready for the solver. */
export interface OpenWideProblem {
  /** Some of the labelled rows, support columns in support order. */
  readonly sample: RowSample;
  readonly gramOfRows: GramOfRows;
  /** The objective on columns from which `center` is subtracted. */
  objective(center: Float64Array): WideObjective;
  close(): void;
}

/** Fits every problem with float64 loops. */
export async function fitDense(
  x: Activations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  pacer: Pacer,
): Promise<LogisticFit[]> {
  return fitWideProblems(x, labels, problems, options, pacer, async (problem) => {
    const { rows, support, weights, C, scale } = problem;
    const columns = await gatherAsColumns(x, support, rows, pacer);
    const picked = sampleOf(rows.length);
    const values = new Float32Array(picked.length * support.length);
    for (const [s, i] of picked.entries()) {
      for (const [j, column] of columns.entries()) values[s * support.length + j] = column[i];
    }
    return {
      sample: { values, weights: Float64Array.from(picked, (i) => weights[i]) },
      gramOfRows: gramInLoops(pacer),
      objective: (center) =>
        new ReferenceWideObjective(
          new LogisticLoss({ columns, labels: problem.labels, weights, C, center, scale }),
          pacer,
        ),
      close: () => undefined,
    };
  });
}

/**
 * Fits every problem through what `open` makes of it.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitWideProblems(
  x: Pick<Activations, "rows" | "neurons">,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  pacer: Pacer,
  open: (problem: WideProblem) => Promise<OpenWideProblem>,
): Promise<LogisticFit[]> {
  assertProblems(x, labels, problems, options);
  const fits: LogisticFit[] = [];
  for (const { feature, support, center, scale } of problems) {
    const k = support.length;
    const values = labels.of(feature);
    const rows = Uint32Array.from(values.keys()).filter((i) => values[i] !== UNLABELLED);
    const y = Uint8Array.from(rows, (i) => values[i]);
    const problem: WideProblem = {
      rows,
      labels: y,
      weights: classWeights(y, options.balanced),
      C: options.C,
      support,
      center: center ?? new Float64Array(k),
      scale: scale ?? new Float64Array(k).fill(1),
    };
    const opened = await open(problem);
    try {
      fits.push(await fit(problem, opened, options, pacer));
    } finally {
      opened.close();
    }
    if (pacer.due) await pacer.turn();
    options.onProgress?.(fits.length, problems.length);
  }
  return fits;
}

async function fit(
  { labels, weights, center, scale }: WideProblem,
  opened: OpenWideProblem,
  options: LogisticOptions,
  pacer: Pacer,
): Promise<LogisticFit> {
  const k = center.length;
  const preconditioner = await WidePreconditioner.fromSample(opened.sample, scale, pacer, opened.gramOfRows);
  const mean = preconditioner.mean.map((value, j) => (Number.isFinite(value) ? value : center[j]));
  const start = new Float64Array(k + 1);
  start[k] = logOdds(labels, weights);
  const { theta, convergence } = await minimiseWide(opened.objective(mean), preconditioner, start, options);
  // The same function of x with the caller's centre.
  let intercept = theta[k];
  for (let j = 0; j < k; j++) intercept += (theta[j] * (center[j] - mean[j])) / scale[j];
  return { coefficients: theta.slice(0, k), intercept, convergence };
}

/** Which of n rows are in the sample: all, or some at even distances. */
export function sampleOf(n: number): Uint32Array {
  const s = Math.min(n, SAMPLE_ROWS);
  return Uint32Array.from({ length: s }, (_, at) => Math.floor(((at + 0.5) * n) / s));
}

/** The best intercept of w = 0 on centred columns: the weighted log odds. */
function logOdds(labels: Uint8Array, weights: Float64Array): number {
  let positive = 0;
  let negative = 0;
  for (const [i, weight] of weights.entries()) {
    if (labels[i] === 1) positive += weight;
    else negative += weight;
  }
  return Math.log(positive / negative);
}
