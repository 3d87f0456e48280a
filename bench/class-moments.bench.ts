/** J1 and J1b: class means, and with them mean differences and variances, of every neuron for one feature and for many. */
import type { Activations } from "sparseprobe";
import { type ClassMoments, type LabelMatrix, type MomentSquares, type StorageType } from "sparseprobe";
import { assertAllClose, assertClose } from "./check.ts";
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
    results.push(
      await compare(
        {
          ...shared,
          task: `mean difference, 1 feature, ${dtype}`,
          contenders: [
            ...ourMoments(context, stored, labels, truth, "none"),
            rival(context, "boolean masks", "masks", 1, truth),
            rivalDifference(context, truth),
          ].flat(),
          goals: GOALS[dtype],
          ...(dtype === "f32" && { limitGoal: 0.7 }),
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
            ...ourMoments(context, stored, labels, truth, "class"),
            rival(context, "boolean masks, mean and var", "masks_moments", 1, truth),
            rival(context, "BLAS products of values and squares", "product_moments", 1, truth),
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
  const size = { rows: x.rows, neurons: x.neurons, features: FEATURES };
  const flops = 2 * FEATURES * x.rows * x.neurons;
  const means = await compare(
    {
      job: "J1b",
      task: `mean differences, ${FEATURES} features`,
      size,
      flops,
      contenders: [
        ...ourMoments(context, x, labels, truth, "none"),
        ...rival(context, "BLAS product", "product", FEATURES, truth),
      ],
      goals: [{ times: 1.3, rivals: ["BLAS product"], text: "the BLAS product" }],
      note: "Operations are those of a dense product.",
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
        ...ourMoments(context, x, labels, truth, "within"),
        ...rival(context, products, "product_moments", FEATURES, truth),
        ...rivalContenders(context, {
          name: "f_classif per feature",
          packages: ["numpy", "scikit-learn"],
          note: `1 of ${FEATURES} features timed`,
          verify: async (process) => {
            const got = await rivalArray(process, context.files.folder, "f_classif", { items: 1 });
            return assertClose("F", got, varianceRatios(truth.moments.get(0)!), (j) => 1 + got[j], 1e-2);
          },
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
        ? { x: await writeArray(folder, "x-f16", x.data, shape, "F16") }
        : {
            x: await writeArray(folder, "x-u8", x.data, shape),
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

function ourMoments(
  context: JobContext,
  x: Activations,
  labels: LabelMatrix,
  truth: Truth,
  squares: MomentSquares,
): Contender[] {
  return ourContenders(context, {
    verify: async (backend) => {
      const moments = await backend.classMoments(await backend.upload(x), labels, { squares });
      return checkMoments(moments, truth);
    },
    run: async (backend) => backend.classMoments(await backend.upload(x), labels, { squares }),
  });
}

/** Means and sums of squares of the library against the loops. @throws WrongAnswerError */
export function checkMoments({ mean, sumOfSquares, withinSquares }: ClassMoments, truth: Truth): string {
  const { neurons: d } = truth;
  const said = checkClasses(
    truth,
    (f, c) => mean.subarray((2 * f + c) * d, (2 * f + c + 1) * d),
    sumOfSquares ? (f, c) => sumOfSquares.subarray((2 * f + c) * d, (2 * f + c + 1) * d) : undefined,
    OURS,
  );
  if (!withinSquares) return said;
  const within = [...truth.moments].map(
    ([
      f,
      {
        sumOfSquares: [negative, positive],
      },
    ]) => {
      const want = negative.map((sum, j) => sum + positive[j]);
      return { got: withinSquares.subarray(f * d, (f + 1) * d), want, scale: (j: number) => want[j] };
    },
  );
  return `${said}, ${assertAllClose("squares within", within, OURS.squares)}`;
}

type OfClass = (feature: number, c: 0 | 1) => ArrayLike<number>;

function checkClasses(
  { moments }: Truth,
  means: OfClass,
  squares: OfClass | undefined,
  allowed: { readonly mean: number; readonly squares: number },
): string {
  const classes = [...moments].flatMap(([f, want]) => ([0, 1] as const).map((c) => ({ f, c, want })));
  const said = assertAllClose(
    "means",
    classes.map(({ f, c, want }) => ({ got: means(f, c), want: want.mean[c], scale: spread(want, c) })),
    allowed.mean,
  );
  if (!squares) return said;
  const compared = classes.map(({ f, c, want }) => {
    const sums = want.sumOfSquares[c];
    return { got: squares(f, c), want: sums, scale: (j: number) => sums[j] };
  });
  return `${said}, ${assertAllClose("sums of squares", compared, allowed.squares)}`;
}

/** The F statistic of two classes, by neuron. */
function varianceRatios({ count: [n0, n1], mean, sumOfSquares }: LoopMoments): Float64Array {
  const n = n0 + n1;
  return mean[0].map((mean0, j) => {
    const between = ((mean[1][j] - mean0) ** 2 * n0 * n1) / n;
    return (between * (n - 2)) / (sumOfSquares[0][j] + sumOfSquares[1][j]);
  });
}

/** |mean| + standard deviation of a neuron in a class. */
function spread({ mean, sumOfSquares, count }: LoopMoments, c: 0 | 1): (j: number) => number {
  return (j) => Math.abs(mean[c][j]) + Math.sqrt(sumOfSquares[c][j] / count[c]);
}

/** A rival whose result is [2F, d] means, or [4F, d] with the sums of squares below. */
function rival(context: JobContext, name: string, task: string, features: number, truth: Truth): Contender[] {
  return rivalContenders(context, {
    name,
    packages: ["numpy"],
    verify: async (process) => {
      const got = await rivalArray(process, context.files.folder, task, { features });
      const row = (at: number) => got.subarray(at * truth.neurons, (at + 1) * truth.neurons);
      const hasSquares = got.length > 2 * features * truth.neurons;
      return checkClasses(
        truth,
        (f, c) => row(2 * f + c),
        hasSquares ? (f, c) => row(2 * features + 2 * f + c) : undefined,
        FLOAT32,
      );
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
