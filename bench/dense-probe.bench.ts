/** J3: one probe on every neuron, with an L2 or an L1 penalty. */
import type { Activations } from "sparseprobe";
import { type Backend, type LabelMatrix } from "sparseprobe";
import { SkippedError, WrongAnswerError, compare, type RatioGoal } from "./compare.ts";
import { readActivationsOf, readLabelsOf } from "./data.ts";
import { ourContenders, Placed, rivalContenders, type JobContext } from "./job.ts";
import { balancedWeights, lossLoop, marginsLoop } from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

/** Seconds after which a fit of ours is given up. */
const PATIENCE = 120;
/** Excess over the rival's objective at which ours counts as the same. */
const SAME = 1e-6;
/** Stopping rules to choose from, loosest first: that which reaches the rival's objective is timed. */
const TOLERANCES = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10];

/** A stopping rule of scikit-learn's, and how far ours goes beside it. */
interface Stop {
  readonly name: string;
  readonly maxIterations: number;
  readonly note: string;
  readonly tolerances: readonly number[];
}

const STOPS: readonly Stop[] = [
  {
    name: "to scikit-learn's objective",
    maxIterations: 100,
    note: "its default stopping rule, at most 100 iterations",
    tolerances: TOLERANCES,
  },
  {
    name: "to convergence",
    maxIterations: 5000,
    note: "its default tolerance, with 5,000 iterations to reach it",
    tolerances: [1e-8, 1e-9, 1e-10],
  },
];

export async function denseProbe(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const { x: path, labels: labelsPath } = context.files;
  for (const process of context.rivals) await process.load("logistic", { x: path, labels: labelsPath });
  const placed = await Placed.in(context, x);
  const results: TaskResult[] = [];
  for (const stop of STOPS) {
    for (const C of [1, 1e-3, 1e-5]) results.push(await denseTask(context, x, placed, labels, C, stop));
  }
  for (const process of context.rivals) {
    await process.load("logistic", { x: path, labels: labelsPath, centred: true });
  }
  for (const C of [0.002, 0.01]) results.push(await sparseTask(context, x, placed, labels, C));
  await placed.release();
  return results;
}

async function denseTask(
  context: JobContext,
  x: Activations,
  placed: Placed,
  labels: LabelMatrix,
  C: number,
  stop: Stop,
): Promise<TaskResult> {
  const { rows, neurons } = x;
  const objective = objectiveOf(x, labels, C, (w) => w ** 2 / 2);
  const rivalName = "scikit-learn lbfgs";
  const parameters = { C, tol: 1e-4, max_iter: stop.maxIterations };
  let target = Infinity;
  const rivals = rivalContenders(context, {
    name: rivalName,
    packages: ["numpy", "scikit-learn"],
    note: `${stop.note}; timed once`,
    once: true,
    verify: async (process) => {
      const value = objective(await rivalArray(process, context.files.folder, "dense_sklearn", parameters));
      if (!(value <= objective(new Float64Array(neurons + 1))))
        throw new WrongAnswerError(`objective ${value}`);
      target = Math.min(target, value);
      return `objective ${value.toPrecision(9)}`;
    },
    run: (process) => process.run("dense_sklearn", parameters),
  });
  let tolerance: number | undefined;
  const ours = ourContenders(context, {
    verify: async (backend) => {
      const tried = tolerance === undefined ? stop.tolerances : [tolerance];
      let value = Infinity;
      for (const one of tried) {
        value = objective(await fit(backend, placed, labels, C, one));
        if (value > target * (1 + SAME)) continue;
        tolerance = one;
        return `objective ${value.toPrecision(9)} at a Newton decrement of ${one.toExponential(0)}`;
      }
      throw new WrongAnswerError(`objective ${value}, the rival reached ${target}`);
    },
    run: (backend) => fit(backend, placed, labels, C, tolerance!),
  });
  const goal: RatioGoal = { times: C === 1 ? 5 : 8, rivals: [rivalName], text: "scikit-learn" };
  return compare(
    {
      job: "J3",
      task: `dense L2 ${stop.name}, C = ${C}`,
      size: { rows, neurons },
      // The rivals' objectives come first: ours are held against them.
      contenders: [...rivals, ...ours],
      goals: stop === STOPS[0] ? [goal] : [],
    },
    { ...context, rounds: Math.min(context.rounds, 3) },
  );
}

/** With an L1 penalty. liblinear penalises the intercept: on centred X, scaled by 1000, that changes next to nothing. */
async function sparseTask(
  context: JobContext,
  x: Activations,
  placed: Placed,
  labels: LabelMatrix,
  C: number,
): Promise<TaskResult> {
  const { rows, neurons } = x;
  const objective = objectiveOf(x, labels, C, Math.abs);
  const rivalName = "scikit-learn liblinear";
  let target = Infinity;
  const rivals = rivalContenders(context, {
    name: rivalName,
    packages: ["numpy", "scikit-learn"],
    note: "on centred X, intercept_scaling 1000; it has one thread; timed once",
    once: true,
    verify: async (process) => {
      const got = await rivalArray(process, context.files.folder, "dense_liblinear", { C });
      const value = objective(got);
      target = Math.min(target, value);
      return `objective ${value.toPrecision(9)}, ${got.subarray(0, neurons).filter((w) => w !== 0).length} neurons`;
    },
    run: (process) => process.run("dense_liblinear", { C }),
  });
  let tolerance: number | undefined;
  const fitL1 = async (backend: Backend, one: number) => {
    const options = { balanced: true, tolerance: one, maxIterations: 1000 };
    const [result] = await backend.fitLogisticL1(placed.of(backend), labels, [{ feature: 0, C }], options);
    return result;
  };
  const ours = ourContenders(context, {
    verify: async (backend) => {
      let value = Infinity;
      for (const one of tolerance === undefined ? TOLERANCES : [tolerance]) {
        const { support, coefficients, intercept } = await fitL1(backend, one);
        const theta = new Float64Array(neurons + 1);
        for (const [at, j] of support.entries()) theta[j] = coefficients[at];
        theta[neurons] = intercept;
        value = objective(theta);
        if (value > target * (1 + SAME)) continue;
        tolerance = one;
        return `objective ${value.toPrecision(9)}, ${support.length} neurons at a tolerance of ${one.toExponential(0)}`;
      }
      throw new WrongAnswerError(`objective ${value}, the rival reached ${target}`);
    },
    run: (backend) => fitL1(backend, tolerance!),
  });
  return compare(
    {
      job: "J3",
      task: `dense L1, C = ${C}`,
      size: { rows, neurons },
      contenders: [...rivals, ...ours],
      goals: [{ times: 15, rivals: [rivalName], text: "liblinear" }],
    },
    { ...context, rounds: Math.min(context.rounds, 3) },
  );
}

/** C·Σ ω·loss + Σ penalty(w) of probes (w, b) on every neuron. */
function objectiveOf(
  x: Activations,
  labels: LabelMatrix,
  C: number,
  penalty: (w: number) => number,
): (theta: Float64Array) => number {
  const y = labels.of(0);
  const weights = balancedWeights(y);
  const values = x.toFloat32();
  return (theta) =>
    C * lossLoop(marginsLoop(values, x.rows, x.neurons, theta), y, weights) +
    theta.subarray(0, x.neurons).reduce((sum, w) => sum + penalty(w), 0);
}

async function fit(
  backend: Backend,
  placed: Placed,
  labels: LabelMatrix,
  C: number,
  tolerance: number,
): Promise<Float64Array> {
  const x = placed.of(backend);
  const problem = { feature: 0, support: Uint32Array.from({ length: x.neurons }, (_, j) => j) };
  const signal = AbortSignal.timeout(1000 * PATIENCE);
  const options = { C, balanced: true, tolerance, maxIterations: 1000, signal };
  try {
    const [{ coefficients, intercept }] = await backend.fitLogistic(x, labels, [problem], options);
    return Float64Array.from([...coefficients, intercept]);
  } catch (error) {
    if (error !== signal.reason) throw error;
    throw new SkippedError(`given up after ${PATIENCE} s`);
  }
}
