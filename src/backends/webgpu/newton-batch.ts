/**
 * Many logistic problems that take Newton steps together on the GPU: float32 as far as it goes, then certificates in
 * double arithmetic.
 *
 * Problems of up to 31 neurons are fitted from start to end by one workgroup each (logistic-newton); the scheduler of the
 * GPU puts the next problem in the place of a finished one. Larger problems, columns that several bindings hold, and few
 * problems with very many rows take rounds of several kernels that cut the rows into slices. Either way the host reads the
 * problems' states between submissions, 80 bytes each, and in the end the parameters.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import logisticSource from "#shaders/lib/logistic.wgsl";
import narrowPassSource from "#shaders/lib/narrow-pass.wgsl";
import newtonSource from "#shaders/lib/newton.wgsl";
import reduceSource from "#shaders/lib/reduce.wgsl";
import widePassSource from "#shaders/lib/wide-pass.wgsl";
import acceptanceSource from "#shaders/newton-acceptance.wgsl";
import derivativesSource from "#shaders/logistic-derivatives.wgsl";
import gradientSource from "#shaders/logistic-gradient.wgsl";
import hessianSource from "#shaders/logistic-hessian.wgsl";
import logisticNewtonSource from "#shaders/logistic-newton.wgsl";
import stepSource from "#shaders/newton-step.wgsl";
import { OutOfMemoryError } from "../../errors.ts";
import { allocateCertificates, certificateKernels, recordCertificates } from "./certificates.ts";
import {
  together,
  type BufferScope,
  type CommandBatch,
  type ComputeBuffer,
  type ComputeDevice,
} from "./device.ts";
import { defineKernel, type Kernel, type Overrides } from "./kernel.ts";
import type { BatchPlan, BatchState, ColumnPool, GatheredColumns, PoolChunk } from "./logistic-batch.ts";
import {
  COLUMN_WORDS,
  ColumnWord,
  lowPart,
  PROBLEM_WORDS,
  ProblemWord,
  startProblem,
  Status,
} from "./logistic-layout.ts";

const logisticNewton = {
  label: "logistic-newton",
  entryPoint: "logistic_newton",
  bindings: {
    pool: "storage-read",
    problems: "storage-read-write",
    support: "storage-read",
    labels: "storage-read",
    theta: "storage-read-write",
    step: "storage-read-write",
    trial: "storage-read-write",
    factor: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    problem_count: "u32",
    stride: "u32",
    rounds: "u32",
    most_iterations: "u32",
    tolerance: "f32",
  },
} as const;

const librarySource = gridSource + logisticSource + newtonSource;

/** For up to eight parameters. */
const narrowNewtonKernel = defineKernel({
  ...logisticNewton,
  source: librarySource + narrowPassSource + logisticNewtonSource,
  overrides: { vectors: 2 },
});

/** For up to 32 parameters. */
const wideNewtonKernel = defineKernel({
  ...logisticNewton,
  source: librarySource + widePassSource + logisticNewtonSource,
  overrides: { vectors: 2, tile_rows: 96 },
});

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
  params: {
    rows: "u32",
    problem_count: "u32",
    stride: "u32",
    blocks: "u32",
    all_blocks: "u32",
    first_block: "u32",
  },
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
    gradient: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    problem_count: "u32",
    stride: "u32",
    slices: "u32",
    all_slices: "u32",
    first_slice: "u32",
    slice_rows: "u32",
  },
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
  overrides: { tile: 16, reach: 1, depth: 32, shares: 1 },
});

const acceptanceKernel = defineKernel({
  label: "newton-acceptance",
  source: gridSource + reduceSource + logisticSource + newtonSource + acceptanceSource,
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

const stepKernel = defineKernel({
  label: "newton-step",
  source: gridSource + reduceSource + logisticSource + newtonSource + stepSource,
  entryPoint: "newton_step",
  bindings: {
    problems: "storage-read-write",
    hessian: "storage-read-write",
    gradient: "storage-read-write",
    theta: "storage-read-write",
    step: "storage-read-write",
    trial: "storage-read-write",
    params: "uniform",
  },
  params: {
    problem_count: "u32",
    stride: "u32",
    slices: "u32",
    gradient_slices: "u32",
    most_iterations: "u32",
    tolerance: "f32",
    first_column: "u32",
    column_count: "u32",
  },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const newtonBatchKernels: readonly Kernel[] = [
  narrowNewtonKernel,
  wideNewtonKernel,
  derivativesKernel,
  gradientKernel,
  hessianKernel,
  acceptanceKernel,
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
  readonly pool: ColumnPool;
  readonly problems: readonly BatchProblem[];
  readonly maxIterations: number;
  readonly tolerance: number;
  readonly maxBindingBytes: number;
  /** Bytes that certificates may take for residuals. */
  readonly residualBytes: number;
}

/** What the GPU hands over of one problem. */
export interface BatchFit {
  /** (w, b). */
  readonly theta: Float64Array;
  /** The rest was evaluated in double arithmetic, and the decrement is at the tolerance; otherwise only θ is of use. */
  readonly certified: boolean;
  readonly iterations: number;
  readonly decrement: number;
  readonly gradientNorm: number;
  readonly objective: number;
  readonly separated: boolean;
}

export interface NewtonBatchResult {
  /** In the order of the problems. */
  readonly fits: readonly BatchFit[];
  /** Factor of the Hessian near θ of one problem [(k + 1) × (k + 1)]; zeros when there is none. */
  readonly factor: (problem: number) => Promise<Float32Array>;
}

/** Buffers of rounds of several kernels. */
interface SlicedState {
  readonly gradient: ComputeBuffer;
  readonly derivatives: ComputeBuffer;
  readonly losses: ComputeBuffer;
}

/** Decrement at which float32 hands over: one exact step from there squares the error. */
const HANDOVER = 1e-9;
/** Multiplications that one submission should not exceed, so that no driver takes it for a hang. */
const MOST_OPERATIONS = 4e10;
/** Multiplications that one workgroup of a dispatch should not exceed: it runs on one core of the GPU. */
const MOST_WORKGROUP_OPERATIONS = 5e8;
/** Problems of one batch: their results wait for the last of them, and so do progress and an abort. */
const MOST_PROBLEMS = 4096;
/** Step halvings after which a problem is given up; its factor then belongs to another point. */
const MOST_HALVINGS = 20;
/** Parameters that logistic-newton has room for. */
const MOST_WHOLE_STRIDE = 32;
/** Rows from which on a few problems are worth slicing. */
const LEAST_SLICED_ROWS = 65_536;
const FEW_PROBLEMS = 128;
/** Newton rounds before the host looks at the states: of logistic-newton, which skips what is finished, and of slices. */
const MOST_ROUNDS = 12;
const SLICED_ROUNDS = 4;
/** Workgroups that fill a large GPU. */
const WANTED_WORKGROUPS = 512;
const LEAST_SLICE_ROWS = 1024;
const MOST_SLICES = 16;

/**
 * Variant of the Hessian kernel for a stride. A thread with 4 × 4 entries reads half a word of workgroup memory per
 * product, against two for a thread with one; below three small tiles across it would mostly compute padding.
 */
function hessianVariant(stride: number): { tile: number; reach: number; depth: number; shares: number } {
  if (stride > 48) return { tile: 16, reach: 4, depth: 16, shares: 1 };
  if (stride > 8) return { tile: 16, reach: 1, depth: 32, shares: 1 };
  return stride > 4
    ? { tile: 8, reach: 1, depth: 64, shares: 4 }
    : { tile: 4, reach: 1, depth: 128, shares: 16 };
}

/** Tiles of the Hessian's lower triangle. */
function hessianTiles(stride: number): number {
  const { tile, reach } = hessianVariant(stride);
  const edge = Math.ceil(stride / (tile * reach));
  return (edge * (edge + 1)) / 2;
}

/** Vectors of parameters that logistic-newton is compiled for. */
const WHOLE_VECTORS = [1, 2, 4, 6, 8];

/** Overrides of logistic-newton: few variants, and rows that fit in its workgroup memory. */
function wholeVariant(stride: number): { vectors: number; tile_rows?: number } {
  const vectors = WHOLE_VECTORS.find((count) => 4 * count >= stride)!;
  return vectors <= 2 ? { vectors } : { vectors, tile_rows: vectors <= 6 ? 64 : 48 };
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

function planBatch(count: number, stride: number, pool: GatheredColumns, maxBindingBytes: number): BatchPlan {
  const few = count < FEW_PROBLEMS && pool.rows > LEAST_SLICED_ROWS;
  const whole = stride <= MOST_WHOLE_STRIDE && pool.chunks.length === 1 && !few;
  const rows = pool.chunks[0].rows;
  const slices = whole ? 1 : slicesFor(count, rows, stride, maxBindingBytes);
  const wanted = Math.ceil(WANTED_WORKGROUPS / (count * stride));
  const gradientSlices = Math.max(1, Math.min(wanted, Math.ceil(rows / LEAST_SLICE_ROWS), MOST_SLICES));
  return { count, stride, whole, slices, gradientSlices, factorStride: slices * stride * stride };
}

/** Rows of a pool's chunks: as many as keep `columns` of them, and what a problem keeps of each row, in one binding. */
export function poolChunkRows(columns: number, rows: number, maxBindingBytes: number): number {
  const most = Math.floor(maxBindingBytes / Math.max(4 * columns, 8));
  return most >= rows ? rows : Math.max(4, most & ~3);
}

/**
 * Number of problems, at least 1, with up to `k` weights that fit in `bytes`, each buffer within `maxBindingBytes`.
 * @throws OutOfMemoryError when a buffer of a single problem exceeds a binding
 */
export function batchSize(k: number, pool: GatheredColumns, bytes: number, maxBindingBytes: number): number {
  const stride = k + 1;
  const rows = pool.chunks[0].rows;
  let size = Math.floor(MOST_OPERATIONS / operationsOf(1, pool.rows, stride));
  for (size = Math.max(1, Math.min(MOST_PROBLEMS, size)); ; size = Math.floor(size * 0.75)) {
    const { whole, factorStride } = planBatch(size, stride, pool, maxBindingBytes);
    const hessian = size * factorStride * 4;
    // Labels too: every problem may have a set of its own.
    const states = size * Math.max(4 * PROBLEM_WORDS, 4 * COLUMN_WORDS * k, 8 * stride, rows + 3);
    const derivatives = whole ? 0 : size * rows * 8;
    const largest = Math.max(hessian, derivatives, states);
    if (largest <= maxBindingBytes && (size === 1 || hessian + derivatives <= bytes)) return size;
    if (size === 1) {
      throw new OutOfMemoryError(
        `A fit of ${k} neurons to ${pool.rows} rows needs ${largest} bytes in one binding, ` +
          `and the device allows ${maxBindingBytes}.`,
        "Use smaller supports, fit on a sample of the rows, or use the CPU backend.",
      );
    }
  }
}

/**
 * Runs the batch until every problem is certified or refused. The result's buffers belong to the scope.
 * @throws the signal's reason when it is aborted
 */
export async function runNewtonBatch(
  device: ComputeDevice,
  scope: BufferScope,
  input: NewtonBatchInput,
  signal?: AbortSignal,
): Promise<NewtonBatchResult> {
  const { problems, pool, maxIterations, tolerance } = input;
  const stride = 1 + Math.max(...problems.map(({ places }) => places.length));
  const plan = planBatch(problems.length, stride, pool, input.maxBindingBytes);
  const compiled = device.prepare([
    ...kernelsOf(plan),
    ...certificateKernels.map((kernel) => [kernel] as const),
  ]);
  // Buffers are filled while kernels compile; a failure of either is reported below.
  compiled.catch(() => undefined);
  const state = await allocateState(scope, input, plan, signal);
  const sliced = plan.whole ? undefined : await allocateSliced(scope, pool, plan);
  const certificates = await allocateCertificates(
    scope,
    pool,
    plan,
    Math.min(input.residualBytes, input.maxBindingBytes),
  );
  await compiled;
  const affordable = Math.max(1, Math.floor(MOST_OPERATIONS / operationsOf(plan.count, pool.rows, stride)));
  // A workgroup of logistic-newton runs its rounds on one core of the GPU.
  const patient = Math.max(1, Math.floor(MOST_WORKGROUP_OPERATIONS / operationsOf(1, pool.rows, stride)));
  // Rounds before the host looks at the states. Larger ones go in submissions of their own, without waiting in between.
  const perRead = plan.whole ? Math.min(MOST_ROUNDS, affordable, patient) : SLICED_ROUNDS;
  // A rejected step costs a round without being a step: leave room for some. Certificates take a few more.
  const mostRounds = 2 * maxIterations + 20 + perRead;
  let words: Uint32Array<ArrayBuffer>;
  for (let round = 0; ; round += perRead) {
    signal?.throwIfAborted();
    const batch = device.batch("newton");
    if (sliced === undefined) recordWhole(batch, input, plan, state, perRead);
    else {
      for (let r = 1; r <= perRead; r++) {
        recordSliced(batch, input, plan, state, sliced);
        if (r % affordable === 0) batch.submit();
      }
    }
    recordCertificates(batch, pool, plan, state, certificates, { tolerance, maxIterations }, MOST_OPERATIONS);
    batch.submit();
    words = new Uint32Array(await device.read(state.problems, { signal }));
    let running = 0;
    for (let p = 0; p < plan.count; p++) {
      if (words[p * PROBLEM_WORDS + ProblemWord.status] < Status.certified) running++;
    }
    if (running === 0 || round >= mostRounds) break;
  }
  return readResult(device, problems, plan, words, state, signal);
}

/** The variants of this file's kernels that a batch runs. */
function kernelsOf({ whole, stride }: BatchPlan): (readonly [kernel: Kernel, overrides?: Overrides])[] {
  if (whole) return [[stride <= 8 ? narrowNewtonKernel : wideNewtonKernel, { ...wholeVariant(stride) }]];
  return [
    [derivativesKernel],
    [gradientKernel],
    [hessianKernel, hessianVariant(stride)],
    [acceptanceKernel],
    [stepKernel],
  ];
}

async function allocateState(
  scope: BufferScope,
  { problems, pool }: NewtonBatchInput,
  { count, stride, factorStride }: BatchPlan,
  signal: AbortSignal | undefined,
): Promise<BatchState> {
  const supportLength = problems.reduce((sum, { places }) => sum + places.length, 0);
  const supportWords = new Uint32Array(COLUMN_WORDS * supportLength);
  const supportFloats = new Float32Array(supportWords.buffer);
  const words = new Uint32Array(PROBLEM_WORDS * count);
  const floats = new Float32Array(words.buffer);
  const start = new Float32Array(count * stride);
  const labelWords = Math.ceil(pool.chunks[0].rows / 4);
  let at = 0;
  for (const [p, { places, center, scale, labelSet, weights, intercept }] of problems.entries()) {
    const base = PROBLEM_WORDS * p;
    startProblem(floats, base, weights);
    words[base + ProblemWord.columns] = places.length;
    words[base + ProblemWord.support] = at;
    words[base + ProblemWord.labels] = labelSet * labelWords;
    start[p * stride + places.length] = intercept;
    for (let j = 0; j < places.length; j++, at++) {
      const middle = center?.[j] ?? 0;
      const inverse = 1 / (scale?.[j] ?? 1);
      const entry = COLUMN_WORDS * at;
      supportWords[entry + ColumnWord.column] = places[j];
      supportFloats[entry + ColumnWord.center] = middle;
      supportFloats[entry + ColumnWord.inverse_scale] = inverse;
      supportFloats[entry + ColumnWord.center_low] = lowPart(middle);
      supportFloats[entry + ColumnWord.inverse_scale_low] = lowPart(inverse);
    }
  }
  const parameters = count * stride * 4;
  const [problemBuffer, supportBuffer, theta, step, trial, factor] = await together([
    scope.allocateFrom("problems", words, signal),
    scope.allocateFrom("support columns", supportWords, signal),
    scope.allocate("theta", 2 * parameters),
    scope.allocate("step", parameters),
    scope.allocateFrom("trial", start, signal),
    scope.allocate("factors", count * factorStride * 4),
  ]);
  return { problems: problemBuffer, support: supportBuffer, theta, step, trial, factor };
}

async function allocateSliced(
  scope: BufferScope,
  { chunks }: ColumnPool,
  { count, stride, gradientSlices }: BatchPlan,
): Promise<SlicedState> {
  const blocks = chunks.reduce((sum, chunk) => sum + blocksOf(chunk), 0);
  const [gradient, derivatives, losses] = await together([
    scope.allocate("gradient", count * stride * gradientSlices * chunks.length * 4),
    scope.allocate("derivatives", count * chunks[0].rows * 8),
    scope.allocate("losses", count * blocks * 4),
  ]);
  return { gradient, derivatives, losses };
}

/** Workgroups of logistic-derivatives, each with a loss of its own. */
function blocksOf({ rows }: PoolChunk): number {
  return Math.ceil(rows / derivativesKernel.overrides.workgroup_size);
}

/** Some Newton rounds of every problem, one workgroup each. */
function recordWhole(
  batch: CommandBatch,
  { pool, maxIterations }: NewtonBatchInput,
  { count, stride }: BatchPlan,
  { problems, support, theta, step, trial, factor }: BatchState,
  rounds: number,
): void {
  const { columns, labels, rows } = pool.chunks[0];
  const dispatch = {
    bindings: { pool: columns, problems, support, labels, theta, step, trial, factor },
    params: {
      rows,
      problem_count: count,
      stride,
      rounds,
      most_iterations: maxIterations,
      tolerance: HANDOVER,
    },
    overrides: wholeVariant(stride),
    workgroups: count,
  };
  if (stride <= 8) batch.dispatch(narrowNewtonKernel, dispatch);
  else batch.dispatch(wideNewtonKernel, dispatch);
}

/** One Newton round of every problem, in slices of rows. */
function recordSliced(
  batch: CommandBatch,
  { pool, maxIterations }: NewtonBatchInput,
  { count, stride, slices, gradientSlices }: BatchPlan,
  { problems, support, theta, step, trial, factor: hessian }: BatchState,
  { gradient, derivatives, losses }: SlicedState,
): void {
  const { chunks } = pool;
  const which = { problem_count: count, stride };
  const blocks = chunks.map(blocksOf);
  const allBlocks = blocks.reduce((a, b) => a + b);
  let firstBlock = 0;
  for (const [c, { columns, labels, rows }] of chunks.entries()) {
    const data = { pool: columns, problems, support };
    batch.dispatch(derivativesKernel, {
      bindings: { ...data, labels, trial, derivatives, losses },
      params: { ...which, rows, blocks: blocks[c], all_blocks: allBlocks, first_block: firstBlock },
      workgroups: count * blocks[c],
    });
    firstBlock += blocks[c];
    batch.dispatch(gradientKernel, {
      bindings: { ...data, derivatives, gradient },
      params: {
        ...which,
        rows,
        slices: gradientSlices,
        all_slices: gradientSlices * chunks.length,
        first_slice: gradientSlices * c,
        slice_rows: Math.ceil(rows / gradientSlices),
      },
      workgroups: count * stride * gradientSlices,
    });
    // A problem too large for one dispatch passes over its rows in several; submitting in between lets the driver breathe.
    const passes = Math.ceil((count * rows * stride * stride) / MOST_OPERATIONS);
    const sliceRows = Math.ceil(rows / (slices * passes));
    for (let firstRow = 0; firstRow < rows; firstRow += slices * sliceRows) {
      batch.dispatch(hessianKernel, {
        bindings: { ...data, derivatives, hessian },
        params: {
          ...which,
          rows,
          slices,
          slice_rows: sliceRows,
          first_row: firstRow,
          accumulate: c > 0 || firstRow > 0 ? 1 : 0,
        },
        overrides: hessianVariant(stride),
        workgroups: count * slices * hessianTiles(stride),
      });
      if (passes > 1) batch.submit();
    }
  }
  batch.dispatch(acceptanceKernel, {
    bindings: { problems, losses, theta, step, trial },
    params: { ...which, blocks: allBlocks },
    workgroups: count,
  });
  // One workgroup factors a problem, and a column costs stride² products at most.
  const columns = Math.max(1, Math.floor(MOST_WORKGROUP_OPERATIONS / (stride * stride)));
  for (let firstColumn = 0; firstColumn < stride; firstColumn += columns) {
    batch.dispatch(stepKernel, {
      bindings: { problems, hessian, gradient, theta, step, trial },
      params: {
        ...which,
        slices,
        gradient_slices: gradientSlices * chunks.length,
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
  problems: readonly BatchProblem[],
  { count, stride, factorStride }: BatchPlan,
  words: Uint32Array<ArrayBuffer>,
  { theta, factor }: BatchState,
  signal: AbortSignal | undefined,
): Promise<NewtonBatchResult> {
  const parameters = await device.readFloats(theta, { signal });
  const floats = new Float32Array(words.buffer);
  const fits = problems.map(({ places: { length: k } }, p): BatchFit => {
    const first = p * stride;
    const field = (name: keyof typeof ProblemWord): number => floats[p * PROBLEM_WORDS + ProblemWord[name]];
    const low = count * stride;
    return {
      theta: Float64Array.from(
        { length: k + 1 },
        (_, j) => parameters[first + j] + parameters[low + first + j],
      ),
      certified: words[p * PROBLEM_WORDS + ProblemWord.status] === Status.certified,
      iterations: words[p * PROBLEM_WORDS + ProblemWord.iterations],
      decrement: field("decrement"),
      gradientNorm: field("gradient_norm"),
      objective: field("objective_high") + field("objective_low"),
      separated: field("violations") === 0,
    };
  });
  return {
    fits,
    factor: async (p) => {
      const m = problems[p].places.length + 1;
      const out = new Float32Array(m * m);
      const at = p * PROBLEM_WORDS;
      const stopped =
        words[at + ProblemWord.status] < Status.certified ||
        words[at + ProblemWord.halvings] >= MOST_HALVINGS;
      if (stopped) return out;
      const packed = await device.readFloats(factor, {
        offset: p * factorStride * 4,
        byteLength: stride * stride * 4,
        signal,
      });
      for (let r = 0; r < m; r++) out.set(packed.subarray(r * stride, r * stride + r + 1), r * m);
      return out;
    },
  };
}
