/** J3: one probe on every neuron, L2. */
import type { Activations } from "sparseprobe";
import { type Backend, type LabelMatrix } from "sparseprobe";
import { WrongAnswerError, compare } from "./compare.ts";
import { readActivationsOf, readLabelsOf } from "./data.ts";
import { ourContenders, rivalContenders, type JobContext } from "./job.ts";
import { balancedWeights, objectiveLoop } from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

/** Our Newton's work grows with n·d²: a first, smaller size tells whether the whole can be waited for. */
const FIRST = 1024;
/** Runs of ours that would take longer than this many seconds are not made. */
const PATIENCE = 60;
/** Excess over the rival's objective at which ours counts as the same. */
const SAME = 1e-6;

/** A goal without anything to time: shown, so that it is not forgotten. */
function missingL1(context: JobContext): Promise<TaskResult> {
  const why = "the library has no probes with an L1 penalty yet";
  const unavailable = { status: "not available" as const, why };
  const [rival] = rivalContenders(context, {
    name: "scikit-learn liblinear",
    packages: ["numpy", "scikit-learn"],
    verify: () => Promise.reject(new WrongAnswerError("not written")),
    run: () => Promise.reject(new Error("not written")),
  });
  const ours = ourContenders(context, {
    verify: () => Promise.reject(new WrongAnswerError(why)),
    run: () => Promise.reject(new Error(why)),
  });
  return compare(
    {
      job: "J3",
      task: "dense L1",
      size: { rows: context.files.rows, neurons: context.files.neurons },
      contenders: [
        { ...ours[0], unavailable },
        { ...rival, unavailable: { status: "skipped", why: "nothing to compare with" } },
      ],
      goals: [{ times: 15, rivals: ["scikit-learn liblinear"], text: "liblinear" }],
    },
    context,
  );
}

export async function denseProbe(context: JobContext): Promise<TaskResult[]> {
  const whole = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const results: TaskResult[] = [];
  let perSquare = 0;
  for (const d of new Set([Math.min(FIRST, whole.neurons), whole.neurons])) {
    const x = d === whole.neurons ? whole : whole.gatherColumns(Array.from({ length: d }, (_, j) => j));
    const { x: path, labels: labelsPath } = context.files;
    for (const process of context.rivals)
      await process.load("logistic", { x: path, labels: labelsPath, columns: d });
    for (const C of [1, 1e-3]) {
      const expected = perSquare * d * d;
      const tooLong =
        d > FIRST && expected > PATIENCE
          ? `about ${Math.round(expected)} s a run, by the time at ${FIRST} neurons`
          : undefined;
      const result = await denseTask(context, x, labels, C, tooLong);
      const seconds = result.entries.find(({ side }) => side === "ours")?.seconds;
      if (seconds) perSquare = Math.max(perSquare, seconds.minimum / (d * d));
      results.push(result);
    }
  }
  results.push(await missingL1(context));
  return results;
}

async function denseTask(
  context: JobContext,
  x: Activations,
  labels: LabelMatrix,
  C: number,
  tooLong: string | undefined,
): Promise<TaskResult> {
  const { rows, neurons: d } = x;
  const y = labels.of(0);
  const weights = balancedWeights(y);
  const columns = columnsOf(x);
  const objective = (theta: ArrayLike<number>): number => objectiveLoop(columns, y, weights, C, theta);
  // scikit-learn's default: it may stop before it has converged, and ours must get at least as low.
  const parameters = { C, max_iter: 100 };
  let target = Infinity;
  const rivals = rivalContenders(context, {
    name: "scikit-learn lbfgs",
    packages: ["numpy", "scikit-learn"],
    note: "default stopping rule, at most 100 iterations",
    verify: async (process) => {
      const value = objective(await rivalArray(process, context.files.folder, "dense_sklearn", parameters));
      if (!(value <= objective(new Float64Array(d + 1)))) throw new WrongAnswerError(`objective ${value}`);
      target = Math.min(target, value);
      return `objective ${value.toFixed(5)}`;
    },
    run: (process) => process.run("dense_sklearn", parameters),
  });
  const ours = ourContenders(context, {
    verify: async (backend) => {
      const value = objective(await fit(backend, x, labels, C));
      if (!(value <= target * (1 + SAME))) {
        throw new WrongAnswerError(`objective ${value}, the rival reached ${target}`);
      }
      return `objective ${value.toFixed(5)}`;
    },
    run: (backend) => fit(backend, x, labels, C),
  });
  return compare(
    {
      job: "J3",
      task: `dense L2, ${d.toLocaleString("en")} neurons, C = ${C}`,
      size: { rows, neurons: d },
      contenders: [
        // The rivals' objectives come first: ours are held against them.
        ...rivals,
        ...ours.map((one) =>
          tooLong !== undefined && !one.unavailable
            ? { ...one, unavailable: { status: "skipped" as const, why: tooLong } }
            : one,
        ),
      ],
      goals: [
        { times: C === 1 ? 5 : 8, rivals: ["scikit-learn lbfgs"], text: "scikit-learn, to its objective" },
      ],
    },
    { ...context, rounds: Math.min(context.rounds, 2) },
  );
}

async function fit(backend: Backend, x: Activations, labels: LabelMatrix, C: number): Promise<Float64Array> {
  const problem = { feature: 0, support: Uint32Array.from({ length: x.neurons }, (_, j) => j) };
  const options = { C, balanced: true, tolerance: 1e-8, maxIterations: 100 };
  const [{ coefficients, intercept }] = await backend.fitLogistic(
    await backend.upload(x),
    labels,
    [problem],
    options,
  );
  return Float64Array.from([...coefficients, intercept]);
}

function columnsOf({ data, rows, neurons: d }: Activations): Float32Array[] {
  const columns = Array.from({ length: d }, () => new Float32Array(rows));
  for (let i = 0; i < rows; i++) for (let j = 0; j < d; j++) columns[j][i] = data[i * d + j];
  return columns;
}
