/**
 * Many logistic problems that take Newton steps together in float32 on the GPU.
 *
 * A round evaluates every problem's trial point, accepts it or halves its step, and, where it was accepted, computes
 * gradient, Hessian, its Cholesky factor and the next trial point. Several rounds go into one submission; between
 * submissions the host reads the problems' states, 48 bytes each, and nothing else.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import logisticSource from "#shaders/lib/logistic.wgsl";
import reduceSource from "#shaders/lib/reduce.wgsl";
import acceptanceSource from "#shaders/newton-acceptance.wgsl";
import derivativesSource from "#shaders/logistic-derivatives.wgsl";
import gradientSource from "#shaders/logistic-gradient.wgsl";
import hessianSource from "#shaders/logistic-hessian.wgsl";
import stepSource from "#shaders/newton-step.wgsl";
import { OutOfMemoryError } from "../../errors.ts";
import type { BufferScope, CommandBatch, ComputeBuffer, ComputeDevice } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

const derivativesKernel = defineKernel({
  label: "logistic-derivatives",
  source: gridSource + reduceSource + logisticSource + derivativesSource,
  entryPoint: "logistic_derivatives",
  bindings: {
    pool: "storage-read",
    problems: "storage-read",
    support: "storage-read",
    labels: "storage-read",
    trial: "storage-read",
    derivatives: "storage-read-write",
    losses: "storage-read-write",
    params: "uniform",
  },
  params: { rows: "u32", problem_count: "u32", stride: "u32", blocks: "u32" },
  overrides: { workgroup_size: 64 },
});

const acceptanceKernel = defineKernel({
  label: "newton-acceptance",
  source: gridSource + reduceSource + logisticSource + acceptanceSource,
  entryPoint: "newton_acceptance",
  bindings: {
    problems: "storage-read-write",
    losses: "storage-read",
    theta: "storage-read-write",
    step: "storage-read",
    trial: "storage-read-write",
    params: "uniform",
  },
  params: { problem_count: "u32", stride: "u32", blocks: "u32" },
  overrides: { workgroup_size: 64 },
});

const gradientKernel = defineKernel({
  label: "logistic-gradient",
  source: gridSource + reduceSource + logisticSource + gradientSource,
  entryPoint: "logistic_gradient",
  bindings: {
    pool: "storage-read",
    problems: "storage-read",
    support: "storage-read",
    derivatives: "storage-read",
    theta: "storage-read",
    gradient: "storage-read-write",
    params: "uniform",
  },
  params: { rows: "u32", problem_count: "u32", stride: "u32" },
  overrides: { workgroup_size: 64 },
});

const hessianKernel = defineKernel({
  label: "logistic-hessian",
  source: gridSource + logisticSource + hessianSource,
  entryPoint: "logistic_hessian",
  bindings: {
    pool: "storage-read",
    problems: "storage-read",
    support: "storage-read",
    derivatives: "storage-read",
    hessian: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    problem_count: "u32",
    stride: "u32",
    slices: "u32",
    slice_rows: "u32",
    first_row: "u32",
    accumulate: "u32",
  },
  overrides: { tile: 16, reach: 1, depth: 32 },
});

const stepKernel = defineKernel({
  label: "newton-step",
  source: gridSource + reduceSource + logisticSource + stepSource,
  entryPoint: "newton_step",
  bindings: {
    problems: "storage-read-write",
    hessian: "storage-read-write",
    gradient: "storage-read",
    theta: "storage-read",
    step: "storage-read-write",
    trial: "storage-read-write",
    weights: "storage-read",
    params: "uniform",
  },
  params: {
    problem_count: "u32",
    stride: "u32",
    slices: "u32",
    most_iterations: "u32",
    tolerance: "f32",
    first_column: "u32",
    column_count: "u32",
  },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const newtonBatchKernels: readonly Kernel[] = [
  derivativesKernel,
  acceptanceKernel,
  gradientKernel,
  hessianKernel,
  stepKernel,
];

/** One problem as the kernels see it. */
export interface BatchProblem {
  /** Places of its columns in the pool. */
  readonly places: Uint32Array;
  readonly center: Float64Array | undefined;
  readonly scale: Float64Array | undefined;
  /** Index of its label set in `labels`. */
  readonly labelSet: number;
  /** C·ω of negative and positive rows, and C·Σω. */
  readonly weights: readonly [negative: number, positive: number, total: number];
  /** Intercept to start from; the weights start at zero. */
  readonly intercept: number;
}

export interface NewtonBatchInput {
  /** Gathered columns, column-major [columns × rows]. */
  readonly pool: ComputeBuffer;
  readonly rows: number;
  /** Label sets, [sets × 4·⌈rows/4⌉]. */
  readonly labels: Uint8Array;
  readonly problems: readonly BatchProblem[];
  readonly maxIterations: number;
  readonly maxBindingBytes: number;
}

/** What the GPU hands over, in the order of the problems. */
export interface NewtonBatchResult {
  /** (w, b) of each problem. */
  readonly theta: readonly Float64Array[];
  /** Factor of the Hessian at θ, [(k + 1) × (k + 1)] each. */
  readonly factors: readonly Float32Array[];
  readonly iterations: readonly number[];
}

/** Decrement at which float32 hands over to the host: one exact step from there squares the error. */
const HANDOVER = 1e-9;
/** Multiplications that one submission should not exceed, so that no driver takes it for a hang. */
const MOST_OPERATIONS = 4e10;
/** Multiplications that one workgroup of a dispatch should not exceed: it runs on one core of the GPU. */
const MOST_WORKGROUP_OPERATIONS = 5e8;
/** Problems of one batch: their results wait for the last of them, and so do progress and an abort. */
const MOST_PROBLEMS = 4096;
const PROBLEM_WORDS = 12;
const STATUS_WORD = 3;
const ITERATIONS_WORD = 4;
const FINISHED = 2;
/** Workgroups of the Hessian kernel that fill a large GPU. */
const WANTED_WORKGROUPS = 512;
const LEAST_SLICE_ROWS = 1024;
const MOST_SLICES = 16;

/**
 * Variant of the Hessian kernel for a stride. A thread with 4 × 4 entries reads half a word of workgroup memory per
 * product, against two for a thread with one; below three small tiles across it would mostly compute padding.
 */
function hessianVariant(stride: number): { tile: number; reach: number; depth: number } {
  return stride > 48 ? { tile: 16, reach: 4, depth: 16 } : { tile: 16, reach: 1, depth: 32 };
}

/** Tiles of the Hessian's lower triangle. */
function hessianTiles(stride: number): number {
  const { tile, reach } = hessianVariant(stride);
  const edge = Math.ceil(stride / (tile * reach));
  return (edge * (edge + 1)) / 2;
}

/** Parts that the rows are cut into, so that a batch of few problems fills the GPU too. */
function slicesFor(count: number, rows: number, stride: number, maxBindingBytes: number): number {
  const wanted = Math.ceil(WANTED_WORKGROUPS / (count * hessianTiles(stride)));
  const room = Math.floor(maxBindingBytes / (count * stride * stride * 4));
  return Math.max(1, Math.min(wanted, Math.ceil(rows / LEAST_SLICE_ROWS), MOST_SLICES, room));
}

/** Multiplications of a round: a Hessian and its factor for every problem. */
function operationsOf(count: number, rows: number, stride: number): number {
  return count * (rows + stride) * stride * stride;
}

/**
 * Number of problems, at least 1, with up to `k` weights that fit in `bytes`, each buffer within `maxBindingBytes`.
 * @throws OutOfMemoryError when a buffer of a single problem exceeds a binding
 */
export function batchSize(k: number, rows: number, bytes: number, maxBindingBytes: number): number {
  const stride = k + 1;
  let size = Math.floor(MOST_OPERATIONS / operationsOf(1, rows, stride));
  for (size = Math.max(1, Math.min(MOST_PROBLEMS, size)); ; size = Math.floor(size * 0.75)) {
    const hessian = size * slicesFor(size, rows, stride, maxBindingBytes) * stride * stride * 4;
    const derivatives = size * rows * 8;
    const fits = Math.max(hessian, derivatives) <= maxBindingBytes;
    if (fits && (size === 1 || hessian + derivatives <= bytes)) return size;
    if (size === 1) {
      throw new OutOfMemoryError(
        `A fit of ${k} neurons to ${rows} rows needs ${Math.max(hessian, derivatives)} bytes in one binding, ` +
          `and the device allows ${maxBindingBytes}.`,
        "Use smaller supports, fit on a sample of the rows, or use the CPU backend.",
      );
    }
  }
}

interface BatchBuffers {
  readonly problems: ComputeBuffer;
  readonly support: ComputeBuffer;
  readonly labels: ComputeBuffer;
  readonly weights: ComputeBuffer;
  readonly theta: ComputeBuffer;
  readonly step: ComputeBuffer;
  readonly trial: ComputeBuffer;
  readonly gradient: ComputeBuffer;
  readonly derivatives: ComputeBuffer;
  readonly losses: ComputeBuffer;
  readonly hessian: ComputeBuffer;
}

/** Runs the batch until every problem is finished in float32 or out of steps. */
export async function runNewtonBatch(
  device: ComputeDevice,
  input: NewtonBatchInput,
  signal?: AbortSignal,
): Promise<NewtonBatchResult> {
  const { problems, rows } = input;
  const count = problems.length;
  const stride = 1 + Math.max(...problems.map(({ places }) => places.length));
  const slices = slicesFor(count, rows, stride, input.maxBindingBytes);
  const scope = device.scope();
  try {
    const buffers = await allocate(scope, input, stride, slices, signal);
    const affordable = Math.floor(MOST_OPERATIONS / operationsOf(count, rows, stride));
    const perSubmission = Math.max(1, Math.min(4, affordable));
    // A rejected step costs a round without being a step: leave room for some.
    const mostRounds = 2 * input.maxIterations + 20;
    let states = new Uint32Array();
    for (let round = 0; round < mostRounds;) {
      signal?.throwIfAborted();
      const batch = device.batch("newton");
      for (let r = 0; r < perSubmission && round < mostRounds; r++, round++) {
        recordRound(batch, input, buffers, stride, slices);
      }
      batch.submit();
      states = new Uint32Array(await device.read(buffers.problems, { signal }));
      let running = 0;
      for (let p = 0; p < count; p++) if (states[p * PROBLEM_WORDS + STATUS_WORD] !== FINISHED) running++;
      if (running === 0) break;
    }
    return await readResult(device, scope, problems, states, buffers, stride, slices, signal);
  } finally {
    scope.dispose();
  }
}

async function allocate(
  scope: BufferScope,
  { problems, rows, labels }: NewtonBatchInput,
  stride: number,
  slices: number,
  signal: AbortSignal | undefined,
): Promise<BatchBuffers> {
  const count = problems.length;
  const blocks = Math.ceil(rows / derivativesKernel.overrides.workgroup_size);
  const supportLength = problems.reduce((sum, { places }) => sum + places.length, 0);
  const support = new DataView(new ArrayBuffer(12 * supportLength));
  const states = new DataView(new ArrayBuffer(4 * PROBLEM_WORDS * count));
  const start = new Float32Array(count * stride);
  let at = 0;
  for (const [p, { places, center, scale, labelSet, weights, intercept }] of problems.entries()) {
    const base = 4 * PROBLEM_WORDS * p;
    states.setUint32(base, places.length, true);
    states.setUint32(base + 4, at, true);
    states.setUint32(base + 8, labelSet * Math.ceil(rows / 4), true);
    states.setFloat32(base + 24, weights[0], true);
    states.setFloat32(base + 28, weights[1], true);
    // Any first evaluation is accepted: no objective is that large, and the slope is zero.
    states.setFloat32(base + 32, 3e38, true);
    states.setFloat32(base + 36, 1, true);
    states.setFloat32(base + 44, 3e38, true);
    start[p * stride + places.length] = intercept;
    for (let j = 0; j < places.length; j++, at++) {
      support.setUint32(12 * at, places[j], true);
      support.setFloat32(12 * at + 4, center?.[j] ?? 0, true);
      support.setFloat32(12 * at + 8, 1 / (scale?.[j] ?? 1), true);
    }
  }
  const parameters = count * stride * 4;
  const totals = Float32Array.from(problems, ({ weights }) => weights[2]);
  const empty = (label: string, byteLength: number): Promise<ComputeBuffer> =>
    scope.allocate(label, byteLength);
  const filled = (label: string, data: ArrayBufferView): Promise<ComputeBuffer> =>
    scope.allocateFrom(label, data, signal);
  // All at once: in a browser each allocation is a message to another process and back.
  return awaitAll({
    problems: filled("problems", states),
    support: filled("support columns", support),
    labels: filled("labels", labels),
    weights: filled("total weights", totals),
    theta: empty("theta", parameters),
    step: empty("step", parameters),
    trial: filled("trial", start),
    gradient: empty("gradient", parameters),
    derivatives: empty("derivatives", count * rows * 8),
    losses: empty("losses", count * blocks * 4),
    hessian: empty("hessian", count * slices * stride * stride * 4),
  });
}

/** Waits for every one, so that the scope has them all when one has failed. */
async function awaitAll<Name extends string>(
  pending: Readonly<Record<Name, Promise<ComputeBuffer>>>,
): Promise<Record<Name, ComputeBuffer>> {
  const entries = Object.entries<Promise<ComputeBuffer>>(pending);
  await Promise.allSettled(entries.map(([, buffer]) => buffer));
  const buffers = await Promise.all(entries.map(async ([name, buffer]) => [name, await buffer] as const));
  return Object.fromEntries(buffers) as Record<Name, ComputeBuffer>;
}

function recordRound(
  batch: CommandBatch,
  { pool, rows, problems, maxIterations }: NewtonBatchInput,
  buffers: BatchBuffers,
  stride: number,
  slices: number,
): void {
  const count = problems.length;
  const blocks = Math.ceil(rows / derivativesKernel.overrides.workgroup_size);
  const { support, labels, theta, step, trial, gradient, derivatives, losses, hessian, weights } = buffers;
  const states = buffers.problems;
  const params = { rows, problem_count: count, stride };
  const data = { pool, problems: states, support };
  batch.dispatch(derivativesKernel, {
    bindings: { ...data, labels, trial, derivatives, losses },
    params: { ...params, blocks },
    workgroups: count * blocks,
  });
  batch.dispatch(acceptanceKernel, {
    bindings: { problems: states, losses, theta, step, trial },
    params: { problem_count: count, stride, blocks },
    workgroups: count,
  });
  batch.dispatch(gradientKernel, {
    bindings: { ...data, derivatives, theta, gradient },
    params,
    workgroups: count * stride,
  });
  // A problem too large for one dispatch passes over its rows in several; submitting in between lets the driver breathe.
  const passes = Math.ceil((count * rows * stride * stride) / MOST_OPERATIONS);
  const sliceRows = Math.ceil(rows / (slices * passes));
  for (let firstRow = 0; firstRow < rows; firstRow += slices * sliceRows) {
    batch.dispatch(hessianKernel, {
      bindings: { ...data, derivatives, hessian },
      params: {
        ...params,
        slices,
        slice_rows: sliceRows,
        first_row: firstRow,
        accumulate: firstRow > 0 ? 1 : 0,
      },
      overrides: hessianVariant(stride),
      workgroups: count * slices * hessianTiles(stride),
    });
    if (passes > 1) batch.submit();
  }
  // One workgroup factors a problem, and a column costs stride² products at most.
  const columns = Math.max(1, Math.floor(MOST_WORKGROUP_OPERATIONS / (stride * stride)));
  for (let firstColumn = 0; firstColumn < stride; firstColumn += columns) {
    batch.dispatch(stepKernel, {
      bindings: { problems: states, hessian, gradient, theta, step, trial, weights },
      params: {
        problem_count: count,
        stride,
        slices,
        most_iterations: maxIterations,
        tolerance: HANDOVER,
        first_column: firstColumn,
        column_count: columns,
      },
      workgroups: count,
    });
    if (columns < stride) batch.submit();
  }
}

async function readResult(
  device: ComputeDevice,
  scope: BufferScope,
  problems: readonly BatchProblem[],
  states: Uint32Array,
  { theta, hessian }: BatchBuffers,
  stride: number,
  slices: number,
  signal: AbortSignal | undefined,
): Promise<NewtonBatchResult> {
  const area = stride * stride;
  let source = hessian;
  if (slices > 1) {
    // Slice 0 of every problem, close together.
    source = await scope.allocate("factors", problems.length * area * 4);
    const batch = device.batch("pack factors");
    for (let p = 0; p < problems.length; p++) {
      batch.copy(hessian, p * slices * area * 4, source, p * area * 4, area * 4);
    }
    batch.submit();
  }
  const packed = await device.readFloats(source, { signal });
  const parameters = await device.readFloats(theta, { signal });
  const factors = problems.map(({ places: { length: k } }, p) => {
    const factor = new Float32Array((k + 1) * (k + 1));
    for (let r = 0; r <= k; r++) {
      const from = p * area + r * stride;
      factor.set(packed.subarray(from, from + r + 1), r * (k + 1));
    }
    return factor;
  });
  return {
    factors,
    theta: problems.map(({ places: { length: k } }, p) =>
      Float64Array.from(parameters.subarray(p * stride, p * stride + k + 1)),
    ),
    iterations: problems.map((_, p) => states[p * PROBLEM_WORDS + ITERATIONS_WORD]),
  };
}
