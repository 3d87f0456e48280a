/** J1 and J1b: class means, and with them mean differences and variances, of every neuron for one feature and for many. */
import type { Activations, Backend } from "sparseprobe";
import {
  type ClassMoments,
  type DeviceActivations,
  type LabelMatrix,
  type MomentSquares,
  type StorageType,
} from "sparseprobe";
import { assertAllClose, assertClose } from "./check.ts";
import { compare, type Contender } from "./compare.ts";
import { FEATURES, readActivationsOf, readLabelsOf, writeArray } from "./data.ts";
import {
  goalsFor,
  Placed,
  ourContenders,
  rivalContenders,
  torchContenders,
  torchName,
  type JobContext,
} from "./job.ts";
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
    const placed = await Placed.in(context, stored);
    const ours = (squares: MomentSquares): Contender[] => [
      ...ourMoments(context, placed, labels, truth, squares),
      ...ourMoments(context, stored, labels, truth, squares),
    ];
    results.push(
      await compare(
        {
          ...shared,
          task: `mean difference, 1 feature, ${dtype}`,
          contenders: [
            ...ours("none"),
            rival(context, "boolean masks", "masks", 1, truth),
            rivalDifference(context, truth),
            dtype === "f32" ? torchDifference(context, truth) : [],
          ].flat(),
          goals: goalsFor(context, { cpu: GOALS[dtype] }),
          ...(dtype === "f32" && { limitGoal: LIMIT_GOALS[context.kind] }),
        },
        context,
      ),
    );
    if (dtype !== "f32") {
      await placed.release();
      continue;
    }
    results.push(
      await compare(
        {
          ...shared,
          task: `means and variances, 1 feature, ${dtype}`,
          contenders: [
            ...ours("class"),
            rival(context, "boolean masks, mean and var", "masks_moments", 1, truth),
            rival(context, "BLAS products of values and squares", "product_moments", 1, truth),
          ].flat(),
          goals: goalsFor(context, {
            cpu: [
              {
                times: 4.5,
                rivals: ["boolean masks, mean and var", "BLAS products of values and squares"],
                text: "the best rival",
              },
            ],
          }),
        },
        context,
      ),
    );
    await placed.release();
  }
  return results;
}

const LIMIT_GOALS = {
  cpu: { share: 0.7, text: "the read bandwidth" },
  webgpu: { share: 0.6, text: "the device-to-device copy bandwidth" },
};
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
  const placed = await Placed.in(context, x);
  const ours = (squares: MomentSquares): Contender[] => ourMoments(context, placed, labels, truth, squares);
  const size = { rows: x.rows, neurons: x.neurons, features: FEATURES };
  const flops = 2 * FEATURES * x.rows * x.neurons;
  const means = await compare(
    {
      job: "J1b",
      task: `mean differences, ${FEATURES} features`,
      size,
      flops,
      contenders: [
        ...ours("none"),
        ...rival(context, "BLAS product", "product", FEATURES, truth),
        ...torchMoments(context, "product", "torch_product", truth),
      ],
      goals: goalsFor(context, {
        cpu: [
          {
            times: 1.3,
            rivals: ["BLAS product", torchName("product", "cpu")],
            text: "the BLAS product",
          },
        ],
      }),
      note: "Operations are those of a dense product.",
    },
    context,
  );
  const products = "BLAS products of values and squares";
  const torch = torchName("products of values and squares", "cpu");
  const pooled = await compare(
    {
      job: "J1b",
      task: `means and pooled variances (t, F), ${FEATURES} features`,
      size,
      flops: 2 * flops,
      contenders: [
        ...ours("within"),
        ...rival(context, products, "product_moments", FEATURES, truth),
        ...rival(context, "BLAS product and the total squares", "product_pooled", FEATURES, truth),
        ...torchMoments(context, "products of values and squares", "torch_product_moments", truth),
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
      goals: goalsFor(context, {
        cpu: [{ times: 2.5, rivals: [products, torch], text: "the products of values and squares" }],
      }),
      note:
        "Operations are those of two dense products, which variances by class need. Pooled variances need the squares of " +
        "all rows once, for all features: the leanest NumPy does that too.",
    },
    context,
  );
  const byClass = await compare(
    {
      job: "J1b",
      task: `means and variances by class (Welch's t), ${FEATURES} features`,
      size,
      flops: 2 * flops,
      contenders: [
        ...ours("class"),
        ...rival(context, products, "product_moments", FEATURES, truth),
        ...torchMoments(context, "products of values and squares", "torch_product_moments", truth),
      ],
    },
    context,
  );
  await placed.release();
  return [means, pooled, byClass];
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

/** On a matrix in the backends' own memory, or on one in an ordinary array, which every run has to bring there. */
function ourMoments(
  context: JobContext,
  x: Placed | Activations,
  labels: LabelMatrix,
  truth: Truth,
  squares: MomentSquares,
): Contender[] {
  const withX = async <T>(backend: Backend, call: (device: DeviceActivations) => Promise<T>): Promise<T> => {
    if (x instanceof Placed) return call(x.of(backend));
    const device = await backend.upload(x);
    try {
      return await call(device);
    } finally {
      device.dispose();
    }
  };
  return ourContenders(context, {
    ...(!(x instanceof Placed) && { variant: "X in an ordinary array" }),
    verify: (backend) =>
      withX(backend, async (device) =>
        checkMoments(await backend.classMoments(device, labels, { squares }), truth),
      ),
    run: (backend) => withX(backend, (device) => backend.classMoments(device, labels, { squares })),
  });
}

/** Means, and sums of squares where there are any, of the library against the loops. @throws WrongAnswerError */
export function checkMoments(got: ClassMoments, truth: Truth): string {
  const { neurons: d } = truth;
  const { mean, sumOfSquares, withinSquares } = got;
  const part = (values: Float64Array, at: number): Float64Array => values.subarray(at * d, (at + 1) * d);
  const said = checkClasses(
    truth,
    (f, c) => part(mean, 2 * f + c),
    sumOfSquares ? (f, c) => part(sumOfSquares, 2 * f + c) : undefined,
    OURS,
  );
  if (!withinSquares) return said;
  return `${said}, ${checkWithin(truth, (f) => part(withinSquares, f), OURS.squares)}`;
}

/** Sums of squares of both classes together, by feature. */
function checkWithin({ moments }: Truth, within: (feature: number) => Float64Array, allowed: number): string {
  const compared = [...moments].map(([f, { sumOfSquares }]) => {
    const want = sumOfSquares[0].map((sum, j) => sum + sumOfSquares[1][j]);
    return { got: within(f), want, scale: (j: number) => want[j] };
  });
  return assertAllClose("sums of squares within classes", compared, allowed);
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

/** A rival whose result is [2F, d] means, [3F, d] with the pooled sums of squares below, or [4F, d] with those by class. */
function rival(context: JobContext, name: string, task: string, features: number, truth: Truth): Contender[] {
  return rivalContenders(context, {
    name,
    packages: ["numpy"],
    verify: async (process) =>
      checkRival(await rivalArray(process, context.files.folder, task, { features }), features, truth),
    run: (process) => process.run(task, { features }),
  });
}

function checkRival(got: Float64Array, features: number, truth: Truth): string {
  const row = (at: number) => got.subarray(at * truth.neurons, (at + 1) * truth.neurons);
  const rows = got.length / truth.neurons;
  const said = checkClasses(
    truth,
    (f, c) => row(2 * f + c),
    rows === 4 * features ? (f, c) => row(2 * features + 2 * f + c) : undefined,
    FLOAT32,
  );
  if (rows !== 3 * features) return said;
  return `${said}, ${checkWithin(truth, (f) => row(2 * features + f), FLOAT32.squares)}`;
}

/** Products in PyTorch, for all features. */
function torchMoments(context: JobContext, name: string, task: string, truth: Truth): Contender[] {
  const parameters = { features: FEATURES };
  return torchContenders(context, {
    name,
    verify: async (process, device) => {
      const got = await rivalArray(process, context.files.folder, task, { ...parameters, device });
      return checkRival(got, FEATURES, truth);
    },
    run: (process, _items, device) => process.run(task, { ...parameters, device }),
  });
}

const DIFFERENCE_NOTE = "mean difference only, ±1/n weights";

function rivalDifference(context: JobContext, truth: Truth): Contender[] {
  return rivalContenders(context, {
    name: "BLAS gemv",
    packages: ["numpy"],
    note: DIFFERENCE_NOTE,
    verify: async (process) =>
      checkDifference(await rivalArray(process, context.files.folder, "difference_product", {}), truth),
    run: (process) => process.run("difference_product", {}),
  });
}

function torchDifference(context: JobContext, truth: Truth): Contender[] {
  return torchContenders(context, {
    name: "gemv",
    note: DIFFERENCE_NOTE,
    verify: async (process, device) =>
      checkDifference(await rivalArray(process, context.files.folder, "torch_difference", { device }), truth),
    run: (process, _items, device) => process.run("torch_difference", { device }),
  });
}

function checkDifference(got: Float64Array, { moments }: Truth): string {
  const want = moments.get(0)!;
  const difference = want.mean[1].map((mean, j) => mean - want.mean[0][j]);
  return assertClose("mean differences", got, difference, spread(want, 0), FLOAT32.mean);
}
