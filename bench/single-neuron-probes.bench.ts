/** J4: every neuron on its own: a probe for each, and the area under its ROC curve. */
import { evaluateBinary, type Backend, type DeviceActivations, type LabelMatrix } from "sparseprobe";
import { assertClose, assertSameFits } from "./check.ts";
import { compare } from "./compare.ts";
import { readActivationsOf, readLabelsOf } from "./data.ts";
import { goalsFor, ourContenders, Placed, rivalContenders, torchContenders, type JobContext } from "./job.ts";
import { ALLOWED, FIT, flatFits, GPU_GOALS, PROCESSES, TORCH_NEWTON } from "./logistic-supports.bench.ts";
import { aucLoop, bestInformednessLoop, columnsLoop, newtonLoop } from "./reference-loops.ts";
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

  const optima = columns.map((column) => newtonLoop([column], y));
  const rivalFits = (name: string, task: string, packages: string[], allowed: number) =>
    rivalContenders(context, {
      name,
      packages: [...packages, "threadpoolctl"],
      note: PROCESSES,
      verify: async (process) =>
        assertSameFits(await rivalArray(process, folder, task, { items }), optima, allowed),
      run: (process, count) => process.run(task, { items: count }),
    });
  const probes = await compare(
    {
      job: "J4",
      task: "a probe of every neuron",
      size,
      items: x.neurons,
      itemName: "neurons",
      contenders: [
        ...ourContenders(context, {
          verify: async (backend) =>
            assertSameFits(
              flatFits(await fitNeurons(placed.of(backend), backend, labels, items)),
              optima,
              ALLOWED.float64,
            ),
          run: (backend, count) => fitNeurons(placed.of(backend), backend, labels, count),
        }),
        ...rivalFits(
          "scikit-learn newton-cholesky",
          "neurons_sklearn",
          ["numpy", "scikit-learn"],
          ALLOWED.float64,
        ),
        ...rivalFits(
          "NumPy float32 Newton, 64 neurons at once",
          "neurons_newton",
          ["numpy"],
          ALLOWED.float32,
        ),
        ...torchContenders(context, {
          name: TORCH_NEWTON,
          verify: async (process, device) => {
            const got = await rivalArray(process, folder, "neurons_torch", { items, device });
            return assertSameFits(got, optima, ALLOWED.float32);
          },
          run: (process, count, device) => process.run("neurons_torch", { items: count, device }),
        }),
      ],
      goals: goalsFor(context, {
        cpu: [
          { times: 60, rivals: ["scikit-learn newton-cholesky"], text: "scikit-learn" },
          { times: 8, rivals: ["NumPy float32 Newton, 64 neurons at once"], text: "an expert's NumPy" },
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
      task: "AUC of every neuron",
      size,
      items: x.neurons,
      itemName: "neurons",
      contenders: [
        ...ourContenders(context, {
          note: "through evaluateBinary, which computes 13 further metrics; no best threshold",
          verify: async (backend) =>
            assertClose(
              "areas",
              await neuronAreas(placed.of(backend), backend, y, items),
              areas,
              () => 1,
              EXACT,
            ),
          run: (backend, count) => neuronAreas(placed.of(backend), backend, y, count),
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
      }),
      note: "The library has no call for the exact AUC and best threshold of every neuron yet: this is what a user can do today.",
    },
    context,
  );
  await placed.release();
  return [probes, auc];
}

async function fitNeurons(x: DeviceActivations, backend: Backend, labels: LabelMatrix, count: number) {
  const problems = Array.from({ length: count }, (_, j) => ({ feature: 0, support: Uint32Array.of(j) }));
  return backend.fitLogistic(x, labels, problems, FIT);
}

async function neuronAreas(
  x: DeviceActivations,
  backend: Backend,
  labels: Uint8Array,
  count: number,
): Promise<number[]> {
  const neurons = Uint32Array.from({ length: count }, (_, j) => j);
  const columns = await backend.gatherColumns(x, neurons);
  return Array.from(neurons, (j) => {
    const scores = Float64Array.from({ length: x.rows }, (_, i) => columns.data[i * count + j]);
    return evaluateBinary(
      labels,
      scores,
      scores.map((z) => 1 / (1 + Math.exp(-z))),
    ).rocAuc!;
  });
}
