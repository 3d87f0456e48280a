/** J2: many small logistic regressions: 2,048 supports of each size, from the best-ranked neurons of one feature. */
import type { Activations } from "sparseprobe";
import { rankNeurons, type LabelMatrix, type LogisticFit } from "sparseprobe";
import { assertOptimal } from "./check.ts";
import { compare, type Contender, type RatioGoal } from "./compare.ts";
import { generator, readActivationsOf, readLabelsOf, writeArray } from "./data.ts";
import {
  goalsFor,
  Placed,
  ourContenders,
  rivalContenders,
  torchContenders,
  torchName,
  type JobContext,
} from "./job.ts";
import { columnsLoop, optimumLoop } from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

const SUPPORTS = 2048;
const SIZES = [1, 2, 4, 8, 16, 32, 64];
const POOL = 256;
/** Supports whose coefficients are compared with a float64 Newton loop. */
const CHECKED = 3;

/** Stopping rule of all fits of ours in J2 and J4. */
export const FIT = { C: 1, balanced: true, tolerance: 1e-10, maxIterations: 100 };

/**
 * Excess of the mean loss over the optimum's that is allowed: twice the decrement at which all of them stop, which estimates
 * it. scikit-learn's lbfgs stops by the change in its objective whatever its tolerance, and is let pass.
 */
export const ALLOWED = 2 * FIT.tolerance;
const SKLEARN = new Map([
  ["newton-cholesky", ALLOWED],
  ["lbfgs", 1e-6],
]);

export async function logisticSupports(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const { folder } = context.files;
  const placed = await Placed.in(context, x);
  const pool = await bestNeurons(context, placed, labels);
  const widest = Math.min(64, pool.length);
  const supports = randomSupports(pool.length, widest, SUPPORTS);
  const parameters = {
    x: context.files.x,
    labels: context.files.labels,
    pool: await writeArray(folder, "pool", Int32Array.from(pool), [pool.length]),
    supports: await writeArray(folder, "supports", supports, [SUPPORTS, widest]),
  };
  for (const process of context.rivals) {
    await process.load("logistic", { ...parameters, processes: process.threads });
  }

  const results: TaskResult[] = [];
  for (const k of SIZES.filter((size) => size <= widest)) {
    const problems = Array.from({ length: SUPPORTS }, (_, s) => ({
      feature: 0,
      support: Uint32Array.from(supports.subarray(s * widest, s * widest + k), (at) => pool[at]),
    }));
    const values = x.toFloat32();
    const truth = problems
      .slice(0, CHECKED)
      .map(({ support }) => optimumLoop(columnsLoop(values, x.rows, x.neurons, support), labels.of(0)));
    const sklearn = [...SKLEARN].map(([solver, allowed]) =>
      rivalContenders(context, {
        name: `scikit-learn ${solver}`,
        packages: ["numpy", "scikit-learn", "threadpoolctl"],
        note: PROCESSES,
        verify: async (process) => {
          const got = await rivalArray(process, folder, "supports_sklearn", { k, solver, items: CHECKED });
          return assertOptimal(got, truth, allowed);
        },
        run: (process, items) => process.run("supports_sklearn", { k, solver, items }),
      }),
    );
    results.push(
      await compare(
        {
          job: "J2",
          task: `k = ${k}`,
          size: { rows: x.rows, neurons: x.neurons, k },
          items: SUPPORTS,
          itemName: "fits",
          contenders: [
            ...ourContenders(context, {
              verify: async (backend) => {
                const few = problems.slice(0, CHECKED);
                const fits = await backend.fitLogistic(placed.of(backend), labels, few, FIT);
                return assertOptimal(flatFits(fits), truth, ALLOWED);
              },
              run: (backend, items) =>
                backend.fitLogistic(placed.of(backend), labels, problems.slice(0, items), FIT),
            }),
            ...sklearn.flat(),
            ...rivalContenders(context, {
              name: "NumPy float32 Newton",
              packages: ["numpy", "threadpoolctl"],
              note: PROCESSES,
              verify: async (process) => {
                const got = await rivalArray(process, folder, "supports_newton", { k, items: CHECKED });
                return assertOptimal(got, truth, ALLOWED);
              },
              run: (process, items) => process.run("supports_newton", { k, items }),
            }),
            ...torchContenders(context, {
              name: TORCH_NEWTON,
              verify: async (process, device) => {
                const asked = { k, items: CHECKED, device };
                return assertOptimal(
                  await rivalArray(process, folder, "supports_torch", asked),
                  truth,
                  ALLOWED,
                );
              },
              run: (process, items, device) => process.run("supports_torch", { k, items, device }),
            }),
            ...transformerLens(context, x, labels, problems[0].support, k),
          ],
          goals: goalsFor(context, { cpu: cpuGoals(k), webgpu: GPU_GOALS }),
        },
        context,
      ),
    );
  }
  await placed.release();
  return results;
}

/** At several threads. */
export const PROCESSES =
  "independent fits in one process per thread; the peak memory is that of the first alone";

export const TORCH_NEWTON = "batched Newton, float32";

function cpuGoals(k: number): RatioGoal[] {
  return [
    {
      times: k === 1 ? 50 : k <= 8 ? 25 : 15,
      rivals: [...SKLEARN.keys()].map((solver) => `scikit-learn ${solver}`),
      text: "scikit-learn's best solver",
    },
    { times: 4, rivals: ["NumPy float32 Newton"], text: "an expert's float32 NumPy Newton" },
  ];
}

/** On a GPU, against scikit-learn on all cores and PyTorch on the same GPU; J4's too. */
export const GPU_GOALS: readonly RatioGoal[] = [
  {
    times: 10,
    rivals: [...SKLEARN.keys()].map((solver) => `scikit-learn ${solver}`),
    text: "scikit-learn on this machine's cores",
  },
  { times: 2, rivals: [torchName(TORCH_NEWTON, "cuda")], text: "batched Newton in PyTorch on the same GPU" },
];

/** It holds two rows out whatever it is told, so that its optimum is that of the others. */
function transformerLens(
  context: JobContext,
  x: Activations,
  labels: LabelMatrix,
  support: Uint32Array,
  k: number,
): Contender[] {
  const task = "supports_transformer_lens";
  return rivalContenders(context, {
    name: "TransformerLens fit_sparse_probe",
    packages: ["torch", "transformer-lens", "jaxtyping"],
    note: "on the support's columns alone; it also scores them and holds out two rows",
    verify: async (process) => {
      const got = await rivalArray(process, context.files.folder, task, { k, items: 1 });
      const held = new Set(got.subarray(k + 1));
      const kept = (_: unknown, i: number): boolean => !held.has(i);
      const columns = columnsLoop(x.toFloat32(), x.rows, x.neurons, support).map((one) => one.filter(kept));
      const truth = optimumLoop(columns, labels.of(0).filter(kept));
      return assertOptimal(got.subarray(0, k + 1), [truth], ALLOWED);
    },
    run: (process, items) => process.run(task, { k, items }),
  });
}

/** Rows (w, b) one after the other. */
export function flatFits(fits: readonly LogisticFit[]): number[] {
  return fits.flatMap(({ coefficients, intercept }) => [...coefficients, intercept]);
}

async function bestNeurons({ ours }: JobContext, x: Placed, labels: LabelMatrix): Promise<Uint32Array> {
  const [{ backend }] = ours;
  const moments = await backend.classMoments(x.of(backend), labels);
  const { order } = rankNeurons(moments, 0, "feature", "standardised-mean-difference");
  return order.slice(0, POOL);
}

/** Random subsets of the pool without repetition, [count × size]; a prefix of one is a random smaller one. */
function randomSupports(pool: number, size: number, count: number): Int32Array {
  const next = generator(5);
  const out = new Int32Array(count * size);
  const items = Int32Array.from({ length: pool }, (_, i) => i);
  for (let s = 0; s < count; s++) {
    for (let c = 0; c < size; c++) {
      const other = c + (next() % (pool - c));
      [items[c], items[other]] = [items[other], items[c]];
      out[s * size + c] = items[c];
    }
  }
  return out;
}
