/** J4: every neuron on its own: a probe for each, and the area under its ROC curve. */
import { evaluateBinary, type Activations, type Backend, type LabelMatrix } from "sparseprobe";
import { assertClose, assertSameFits } from "./check.ts";
import { compare } from "./compare.ts";
import { readActivationsOf, readLabelsOf } from "./data.ts";
import { ourContenders, rivalContenders, type JobContext } from "./job.ts";
import { ALLOWED, FIT, flatFits } from "./logistic-supports.bench.ts";
import { aucLoop, columnsLoop, newtonLoop } from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

/** Neurons whose results are compared with loops. */
const CHECKED = 8;

export async function singleNeuronProbes(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const { folder, x: path, labels: labelsPath } = context.files;
  for (const process of context.rivals) await process.load("logistic", { x: path, labels: labelsPath });
  const size = { rows: x.rows, neurons: x.neurons };
  const neurons = Array.from({ length: Math.min(CHECKED, x.neurons) }, (_, j) => j);
  const columns = columnsLoop(x.toFloat32(), x.rows, x.neurons, neurons);
  const y = labels.of(0);
  const items = neurons.length;

  const optima = columns.map((column) => newtonLoop([column], y));
  const rivalFits = (name: string, task: string, packages: string[], allowed: number) =>
    rivalContenders(context, {
      name,
      packages,
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
            assertSameFits(flatFits(await fitNeurons(backend, x, labels, items)), optima, ALLOWED.float64),
          run: (backend, count) => fitNeurons(backend, x, labels, count),
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
      ],
      goals: [
        { times: 60, rivals: ["scikit-learn newton-cholesky"], text: "scikit-learn" },
        { times: 8, rivals: ["NumPy float32 Newton, 64 neurons at once"], text: "an expert's NumPy" },
      ],
    },
    context,
  );

  const areas = columns.map((column) => aucLoop(column, y));
  const rivalAreas = (name: string, task: string, packages: string[], allowed: number) =>
    rivalContenders(context, {
      name,
      packages,
      verify: async (process) =>
        assertClose("areas", await rivalArray(process, folder, task, { items }), areas, () => 1, allowed),
      run: (process, count) => process.run(task, { items: count }),
    });
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
            assertClose("areas", await neuronAreas(backend, x, y, items), areas, () => 1, 1e-9),
          run: (backend, count) => neuronAreas(backend, x, y, count),
        }),
        ...rivalAreas("roc_auc_score", "neurons_auc_sklearn", ["numpy", "scikit-learn"], 1e-9),
        // Ties count in the order of the sort, not half: a few 1e-9 each.
        ...rivalAreas(
          "NumPy argsort and cumsum, with the best threshold",
          "neurons_auc_numpy",
          ["numpy"],
          1e-6,
        ),
      ],
      goals: [{ times: 25, rivals: ["roc_auc_score"], text: "roc_auc_score" }],
      note: "The library has no call for the exact AUC and best threshold of every neuron yet: this is what a user can do today.",
    },
    context,
  );
  return [probes, auc];
}

async function fitNeurons(backend: Backend, x: Activations, labels: LabelMatrix, count: number) {
  const problems = Array.from({ length: count }, (_, j) => ({ feature: 0, support: Uint32Array.of(j) }));
  return backend.fitLogistic(await backend.upload(x), labels, problems, FIT);
}

async function neuronAreas(
  backend: Backend,
  x: Activations,
  labels: Uint8Array,
  count: number,
): Promise<number[]> {
  const neurons = Uint32Array.from({ length: count }, (_, j) => j);
  const columns = await backend.gatherColumns(await backend.upload(x), neurons);
  return Array.from(neurons, (j) => {
    const scores = Float64Array.from({ length: x.rows }, (_, i) => columns.data[i * count + j]);
    return evaluateBinary(
      labels,
      scores,
      scores.map((z) => 1 / (1 + Math.exp(-z))),
    ).rocAuc!;
  });
}
