/** J4: every neuron on its own: a probe for each, the area under its ROC curve and its best threshold. */
import { assertAllClose, assertClose, assertOptimal } from "./check.ts";
import { compare } from "./compare.ts";
import { readActivationsOf, readLabelsOf } from "./data.ts";
import { goalsFor, ourContenders, Placed, rivalContenders, torchContenders, type JobContext } from "./job.ts";
import { ALLOWED, FIT, GPU_GOALS, PROCESSES, TORCH_NEWTON } from "./logistic-supports.bench.ts";
import {
  aucLoop,
  bestInformednessLoop,
  columnsLoop,
  informednessLoop,
  optimumLoop,
} from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

/** Counts of pairs of rows divided once or twice: rounding of float64. */
const EXACT = 1e-12;

/** Neurons whose results are compared with loops. */
const CHECKED = 8;

export async function singleNeuronProbes(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const { folder, x: path, labels: labelsPath } = context.files;
  for (const process of context.rivals) {
    await process.load("logistic", { x: path, labels: labelsPath, processes: process.threads });
  }
  const placed = await Placed.in(context, x);
  const size = { rows: x.rows, neurons: x.neurons };
  const neurons = Array.from({ length: Math.min(CHECKED, x.neurons) }, (_, j) => j);
  const columns = columnsLoop(x.toFloat32(), x.rows, x.neurons, neurons);
  const y = labels.of(0);
  const items = neurons.length;

  const optima = columns.map((column) => optimumLoop([column], y));
  const rivalFits = (name: string, task: string, packages: string[]) =>
    rivalContenders(context, {
      name,
      packages: [...packages, "threadpoolctl"],
      note: PROCESSES,
      verify: async (process) =>
        assertOptimal(await rivalArray(process, folder, task, { items }), optima, ALLOWED),
      run: (process, count) => process.run(task, { items: count }),
    });
  const sklearn = "scikit-learn newton-cholesky";
  const numpy = "NumPy float32 Newton, 64 neurons at once";
  const probes = await compare(
    {
      job: "J4",
      task: "a probe of every neuron",
      size,
      items: x.neurons,
      itemName: "neurons",
      contenders: [
        ...ourContenders(context, {
          whole: true,
          verify: async (backend) => {
            const fits = await backend.fitSingleNeurons(placed.of(backend), labels, FIT);
            const got = neurons.flatMap((j) => [fits.coefficients[j], fits.intercepts[j]]);
            const failed = fits.converged.filter((one) => one === 0).length;
            return `${assertOptimal(got, optima, ALLOWED)}, ${failed} of ${x.neurons} not converged`;
          },
          run: (backend) => backend.fitSingleNeurons(placed.of(backend), labels, FIT),
        }),
        ...rivalFits(sklearn, "neurons_sklearn", ["numpy", "scikit-learn"]),
        ...rivalFits(numpy, "neurons_newton", ["numpy"]),
        ...torchContenders(context, {
          name: TORCH_NEWTON,
          verify: async (process, device) => {
            const got = await rivalArray(process, folder, "neurons_torch", { items, device });
            return assertOptimal(got, optima, ALLOWED);
          },
          run: (process, count, device) => process.run("neurons_torch", { items: count, device }),
        }),
      ],
      goals: goalsFor(context, {
        cpu: [
          { times: 60, rivals: [sklearn], text: "scikit-learn" },
          { times: 8, rivals: [numpy], text: "an expert's NumPy" },
        ],
        webgpu: GPU_GOALS,
      }),
    },
    context,
  );

  const areas = columns.map((column) => aucLoop(column, y));
  const best = columns.map((column) => bestInformednessLoop(column, y));
  const auc = await compare(
    {
      job: "J4",
      task: "AUC and best threshold of every neuron",
      size,
      items: x.neurons,
      itemName: "neurons",
      contenders: [
        ...ourContenders(context, {
          whole: true,
          verify: async (backend) => {
            const roc = await backend.neuronRoc(placed.of(backend), labels);
            const informedness = roc.informedness.subarray(0, items);
            const scale = () => 1;
            return assertAllClose(
              "areas, informedness, and that of the thresholds",
              [
                { got: roc.auc.subarray(0, items), want: areas, scale },
                // Two thresholds on either side may be equally good.
                { got: informedness.map(Math.abs), want: best.map(Math.abs), scale },
                {
                  got: informedness,
                  want: columns.map((column, j) => informednessLoop(column, y, roc.threshold[j])),
                  scale,
                },
              ],
              EXACT,
            );
          },
          run: (backend) => backend.neuronRoc(placed.of(backend), labels),
        }),
        ...rivalContenders(context, {
          name: "roc_auc_score",
          packages: ["numpy", "scikit-learn", "threadpoolctl"],
          note: `no threshold; ${PROCESSES}`,
          verify: async (process) => {
            const got = await rivalArray(process, folder, "neurons_auc_sklearn", { items });
            return assertClose("areas", got, areas, () => 1, EXACT);
          },
          run: (process, count) => process.run("neurons_auc_sklearn", { items: count }),
        }),
        ...rivalContenders(context, {
          name: "NumPy argsort and cumsum",
          packages: ["numpy", "threadpoolctl"],
          note: PROCESSES,
          verify: async (process) => {
            const got = await rivalArray(process, folder, "neurons_auc_numpy", { items });
            const want = areas.flatMap((area, j) => [area, best[j]]);
            return assertClose("areas and informedness", got, want, () => 1, EXACT);
          },
          run: (process, count) => process.run("neurons_auc_numpy", { items: count }),
        }),
      ],
      goals: goalsFor(context, {
        cpu: [{ times: 25, rivals: ["roc_auc_score"], text: "roc_auc_score" }],
        webgpu: [{ times: 10, rivals: ["roc_auc_score"], text: "roc_auc_score on this machine's cores" }],
      }),
    },
    context,
  );
  await placed.release();
  return [probes, auc];
}
