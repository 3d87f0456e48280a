/** J1 and J1b: class means, and with them mean differences and variances, of every neuron for one feature and for many. */
import { Activations, type ClassMoments, type LabelMatrix, type StorageType } from "sparseprobe";
import { assertClose } from "./check.ts";
import { compare, type Contender } from "./compare.ts";
import { FEATURES, readActivationsOf, readLabelsOf, writeArray } from "./data.ts";
import { ourContenders, rivalContenders, type JobContext } from "./job.ts";
import { momentsLoop, type LoopMoments } from "./reference-loops.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";

/** Error allowed in a mean, in units of |mean| + standard deviation, and in a sum of squares, relative. */
const OURS = { mean: 1e-6, squares: 1e-5 };
/** Float32 sums over 10^4 rows, as BLAS and NumPy make them. */
const FLOAT32 = { mean: 1e-4, squares: 1e-3 };

/** Features whose moments are compared with loops; a loop over all 64 would take a minute. */
const CHECKED = [0, 20, FEATURES - 1];

interface Truth {
  readonly neurons: number;
  /** By checked feature. */
  readonly moments: ReadonlyMap<number, LoopMoments>;
}

export async function classMomentsOneFeature(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, 1);
  const results: TaskResult[] = [];
  for (const dtype of ["f32", "f16", "u8"] as const) {
    const stored = x.toStorage(dtype);
    await loadRivals(context, stored, dtype);
    const truth = truthOf(stored, labels, [0]);
    const size = { rows: x.rows, neurons: x.neurons, features: 1 };
    const shared = { job: "J1", size, bytes: stored.data.byteLength, boundBy: "reading" as const };
    const ours = ourMoments(context, stored, labels, truth);
    results.push(
      await compare(
        {
          ...shared,
          task: `mean difference, 1 feature, ${dtype}`,
          contenders: [
            ...ours,
            rival(context, "boolean masks", "masks", 1, truth, [0]),
            rivalDifference(context, truth),
          ].flat(),
          goals: GOALS[dtype],
          ...(dtype === "f32" && { limitGoal: 0.7 }),
          note: "sparseprobe's time includes the variances: its one call gives both.",
        },
        context,
      ),
    );
    if (dtype !== "f32") continue;
    results.push(
      await compare(
        {
          ...shared,
          task: `means and variances, 1 feature, ${dtype}`,
          contenders: [
            ...ours,
            rival(context, "boolean masks, mean and var", "masks_moments", 1, truth, [0]),
            rival(context, "BLAS products of values and squares", "product_moments", 1, truth, [0]),
          ].flat(),
          goals: [
            {
              times: 4.5,
              rivals: ["boolean masks, mean and var", "BLAS products of values and squares"],
              text: "the best rival",
            },
          ],
        },
        context,
      ),
    );
  }
  return results;
}

const MASKS = { rivals: ["boolean masks"], text: "NumPy's boolean masks" };
const BEST = { rivals: ["boolean masks", "BLAS gemv"], text: "the best rival" };
const GOALS = {
  f32: [
    { times: 4, ...MASKS },
    { times: 0.9, rivals: ["BLAS gemv"], text: "BLAS gemv (parity)" },
  ],
  f16: [{ times: 12, ...BEST }],
  u8: [{ times: 2.5, ...BEST }],
};

export async function classMomentsManyFeatures(context: JobContext): Promise<TaskResult[]> {
  const x = await readActivationsOf(context.files);
  const labels = await readLabelsOf(context.files, FEATURES);
  await loadRivals(context, x, "f32");
  const truth = truthOf(x, labels, CHECKED);
  const ours = ourMoments(context, x, labels, truth);
  const size = { rows: x.rows, neurons: x.neurons, features: FEATURES };
  const flops = 2 * FEATURES * x.rows * x.neurons;
  const means = await compare(
    {
      job: "J1b",
      task: `mean differences, ${FEATURES} features`,
      size,
      flops,
      contenders: [...ours, ...rival(context, "BLAS product", "product", FEATURES, truth, CHECKED)],
      goals: [{ times: 1.3, rivals: ["BLAS product"], text: "the BLAS product" }],
      note: "Operations are those of a dense product. sparseprobe's time includes the variances: its one call gives both.",
    },
    context,
  );
  const products = "BLAS products of values and squares";
  const variances = await compare(
    {
      job: "J1b",
      task: `means and variances (t, F), ${FEATURES} features`,
      size,
      flops: 2 * flops,
      contenders: [
        ...ours,
        ...rival(context, products, "product_moments", FEATURES, truth, CHECKED),
        ...rivalContenders(context, {
          name: "f_classif per feature",
          packages: ["numpy", "scikit-learn"],
          note: `1 of ${FEATURES} features timed`,
          verify: () => Promise.resolve("only F values: not compared"),
          run: async (process) => {
            const { seconds, ...rest } = await process.run("f_classif", { items: 1 });
            return { seconds: FEATURES * seconds, ...rest };
          },
        }),
      ],
      goals: [{ times: 2.5, rivals: [products, "f_classif per feature"], text: "the best rival" }],
    },
    context,
  );
  return [means, variances];
}

/** Gives every rival the matrix as stored, in NumPy's own type for it. */
async function loadRivals(context: JobContext, x: Activations, dtype: StorageType): Promise<void> {
  const { folder, labels } = context.files;
  const shape = [x.rows, x.neurons];
  const paths =
    dtype === "f32"
      ? { x: context.files.x }
      : dtype === "f16"
        ? { x: await writeArray(folder, "x-f16", x.data as Uint16Array, shape, "F16") }
        : {
            x: await writeArray(folder, "x-u8", x.data as Uint8Array, shape),
            scale: await writeArray(folder, "scale", x.code!.scale, [x.neurons]),
            offset: await writeArray(folder, "offset", x.code!.offset, [x.neurons]),
          };
  for (const process of context.rivals) await process.load("class_moments", { ...paths, labels });
}

function truthOf(x: Activations, labels: LabelMatrix, features: readonly number[]): Truth {
  const values = x.toFloat32();
  return {
    neurons: x.neurons,
    moments: new Map(features.map((f) => [f, momentsLoop(values, x.rows, x.neurons, labels.of(f))])),
  };
}

function ourMoments(context: JobContext, x: Activations, labels: LabelMatrix, truth: Truth): Contender[] {
  return ourContenders(context, {
    verify: async (backend) => {
      const moments = await backend.classMoments(await backend.upload(x), labels);
      return checkMoments(moments, truth);
    },
    run: async (backend) => backend.classMoments(await backend.upload(x), labels),
  });
}

/** Means and sums of squares of the library against the loops. @throws WrongAnswerError */
export function checkMoments(got: ClassMoments, { neurons: d, moments }: Truth): string {
  const said: string[] = [];
  for (const [f, want] of moments) {
    for (const c of [0, 1] as const) {
      const at = (2 * f + c) * d;
      said.push(
        assertClose("means", got.mean.subarray(at, at + d), want.mean[c], spread(want, c), OURS.mean),
        assertClose(
          "sums of squares",
          got.sumOfSquares.subarray(at, at + d),
          want.sumOfSquares[c],
          (j) => want.sumOfSquares[c][j],
          OURS.squares,
        ),
      );
    }
  }
  return said.slice(0, 2).join(", ");
}

/** |mean| + standard deviation of a neuron in a class. */
function spread({ mean, sumOfSquares, count }: LoopMoments, c: 0 | 1): (j: number) => number {
  return (j) => Math.abs(mean[c][j]) + Math.sqrt(sumOfSquares[c][j] / count[c]);
}

/** A rival whose result is [2F, d] means, or [4F, d] with the sums of squares below. */
function rival(
  context: JobContext,
  name: string,
  task: string,
  features: number,
  { neurons: d, moments }: Truth,
  checked: readonly number[],
): Contender[] {
  return rivalContenders(context, {
    name,
    packages: ["numpy"],
    verify: async (process) => {
      const got = await rivalArray(process, context.files.folder, task, { features });
      const said: string[] = [];
      for (const f of checked) {
        const want = moments.get(f)!;
        for (const c of [0, 1] as const) {
          const at = (2 * f + c) * d;
          const means = got.subarray(at, at + d);
          said.push(assertClose("means", means, want.mean[c], spread(want, c), FLOAT32.mean));
          if (got.length === 2 * features * d) continue;
          const squares = got.subarray(2 * features * d + at, 2 * features * d + at + d);
          const truth = want.sumOfSquares[c];
          said.push(assertClose("sums of squares", squares, truth, (j) => truth[j], FLOAT32.squares));
        }
      }
      return said.slice(0, 2).join(", ");
    },
    run: (process) => process.run(task, { features }),
  });
}

function rivalDifference(context: JobContext, { moments }: Truth): Contender[] {
  const want = moments.get(0)!;
  return rivalContenders(context, {
    name: "BLAS gemv",
    packages: ["numpy"],
    note: "mean difference only, ±1/n weights",
    verify: async (process) => {
      const got = await rivalArray(process, context.files.folder, "difference_product", {});
      const difference = want.mean[1].map((mean, j) => mean - want.mean[0][j]);
      return assertClose("mean differences", got, difference, spread(want, 0), FLOAT32.mean);
    },
    run: (process) => process.run("difference_product", {}),
  });
}
