/**
 * The last digits of a batch of fits, and the proof of them, on the GPU: gradients in double arithmetic (pairs of float32,
 * see shaders/lib/double.wgsl), chord steps with the float32 factor of the Hessian, and a Newton decrement from both.
 *
 * A problem that float32 has finished is evaluated, stepped, and evaluated again until its decrement is at the tolerance;
 * one that does not get there is refused and left to the host. Problems share one buffer of residuals, group after group.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import doubleSource from "#shaders/lib/double.wgsl";
import doubleLogisticSource from "#shaders/lib/double-logistic.wgsl";
import logisticSource from "#shaders/lib/logistic.wgsl";
import reduceDoubleSource from "#shaders/lib/reduce-double.wgsl";
import residualsSource from "#shaders/certificate-residuals.wgsl";
import gradientSource from "#shaders/certificate-gradient.wgsl";
import stepSource from "#shaders/certificate-step.wgsl";
import { together, type BufferScope, type CommandBatch, type ComputeBuffer } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import type { BatchPlan, BatchState, ColumnPool } from "./logistic-batch.ts";

const librarySource = gridSource + logisticSource + doubleSource + reduceDoubleSource;

const residualsKernel = defineKernel({
  label: "certificate-residuals",
  source: librarySource + doubleLogisticSource + residualsSource,
  entryPoint: "certificate_residuals",
  bindings: {
    pool: "storage-read",
    problems: "storage-read",
    support: "storage-read",
    labels: "storage-read",
    raw: "storage-read",
    residuals: "storage-read-write",
    totals: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    first_problem: "u32",
    problem_count: "u32",
    stride: "u32",
    blocks: "u32",
    all_blocks: "u32",
    first_block: "u32",
    block_rows: "u32",
    zero: "u32",
  },
  overrides: { workgroup_size: 64 },
});

const gradientKernel = defineKernel({
  label: "certificate-gradient",
  source: librarySource + gradientSource,
  entryPoint: "certificate_gradient",
  bindings: {
    pool: "storage-read",
    problems: "storage-read",
    support: "storage-read",
    residuals: "storage-read",
    slopes: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    first_problem: "u32",
    problem_count: "u32",
    stride: "u32",
    slices: "u32",
    all_slices: "u32",
    first_slice: "u32",
    slice_rows: "u32",
    zero: "u32",
  },
  overrides: { workgroup_size: 64 },
});

const stepKernel = defineKernel({
  label: "certificate-step",
  source: librarySource + stepSource,
  entryPoint: "certificate_step",
  bindings: {
    problems: "storage-read-write",
    support: "storage-read",
    totals: "storage-read",
    slopes: "storage-read",
    factor: "storage-read",
    theta: "storage-read-write",
    raw: "storage-read-write",
    step: "storage-read-write",
    params: "uniform",
  },
  params: {
    first_problem: "u32",
    problem_count: "u32",
    all_problems: "u32",
    stride: "u32",
    factor_stride: "u32",
    all_blocks: "u32",
    all_slices: "u32",
    most_iterations: "u32",
    prepare: "u32",
    zero: "u32",
    tolerance: "f32",
  },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const certificateKernels: readonly Kernel[] = [residualsKernel, gradientKernel, stepKernel];

/** Points that one submission evaluates: most problems need one or two. */
const ROUNDS = 3;
/** Float32 operations of a row in double arithmetic, by count, and of each of its parameters. */
const ROW_OPERATIONS = 700;
const PARAMETER_OPERATIONS = 80;
/** Workgroups that fill a large GPU. */
const WANTED_WORKGROUPS = 1024;
const MOST_BLOCK_ROWS = 4096;
const LEAST_SLICE_ROWS = 1024;
const MOST_SLICES = 32;

/** Buffers that certificates need beside the batch's own. */
export interface CertificateState {
  readonly raw: ComputeBuffer;
  readonly residuals: ComputeBuffer;
  readonly totals: ComputeBuffer;
  readonly slopes: ComputeBuffer;
  /** Problems that the residuals have room for. */
  readonly groupSize: number;
  readonly blockRows: number;
  /** Slices per chunk. */
  readonly slices: number;
}

/** Allocates for a batch; residuals take `bytes` at most, or one problem's. */
export async function allocateCertificates(
  scope: BufferScope,
  pool: ColumnPool,
  { count, stride }: BatchPlan,
  bytes: number,
): Promise<CertificateState> {
  const rows = pool.chunks[0].rows;
  const groupSize = Math.max(1, Math.min(count, Math.floor(bytes / (8 * rows))));
  const size = residualsKernel.overrides.workgroup_size;
  const spread = Math.ceil((rows * groupSize) / WANTED_WORKGROUPS / size) * size;
  const blockRows = Math.max(size, Math.min(spread, MOST_BLOCK_ROWS));
  const wanted = Math.ceil(WANTED_WORKGROUPS / (groupSize * stride));
  const slices = Math.max(1, Math.min(wanted, Math.ceil(rows / LEAST_SLICE_ROWS), MOST_SLICES));
  const blocks = pool.chunks.reduce((sum, chunk) => sum + Math.ceil(chunk.rows / blockRows), 0);
  const [raw, residuals, totals, slopes] = await together([
    scope.allocate("raw parameters", count * stride * 8),
    scope.allocate("residuals", groupSize * rows * 8),
    scope.allocate("loss totals", groupSize * blocks * 16),
    scope.allocate("slopes", groupSize * stride * slices * pool.chunks.length * 8),
  ]);
  return { raw, residuals, totals, slopes, groupSize, blockRows, slices };
}

/** Float32 operations of one round for one problem. */
export function certificateOperations(rows: number, stride: number): number {
  return rows * (ROW_OPERATIONS + PARAMETER_OPERATIONS * stride);
}

/**
 * Records certificates for every problem that is FINISHED by then; submits in between when the work adds up to
 * `mostOperations`.
 */
export function recordCertificates(
  batch: CommandBatch,
  pool: ColumnPool,
  plan: BatchPlan,
  state: BatchState,
  own: CertificateState,
  options: { readonly tolerance: number; readonly maxIterations: number },
  mostOperations: number,
): void {
  const { count, stride } = plan;
  const { problems, support, theta, step, factor } = state;
  const { raw, residuals, totals, slopes, groupSize, blockRows, slices } = own;
  const blocks = pool.chunks.map((chunk) => Math.ceil(chunk.rows / blockRows));
  const allBlocks = blocks.reduce((a, b) => a + b);
  const allSlices = slices * pool.chunks.length;
  let operations = 0;
  for (let first = 0; first < count; first += groupSize) {
    const size = Math.min(groupSize, count - first);
    const which = { first_problem: first, problem_count: size, stride, zero: 0 };
    const stepTo = (prepare: number): void => {
      batch.dispatch(stepKernel, {
        bindings: { problems, support, totals, slopes, factor, theta, raw, step },
        params: {
          ...which,
          all_problems: count,
          factor_stride: plan.factorStride,
          all_blocks: allBlocks,
          all_slices: allSlices,
          most_iterations: options.maxIterations,
          prepare,
          tolerance: options.tolerance,
        },
        workgroups: size,
      });
    };
    stepTo(1);
    for (let round = 0; round < ROUNDS; round++) {
      let firstBlock = 0;
      for (const [c, { columns, labels, rows }] of pool.chunks.entries()) {
        batch.dispatch(residualsKernel, {
          bindings: { pool: columns, problems, support, labels, raw, residuals, totals },
          params: {
            ...which,
            rows,
            blocks: blocks[c],
            all_blocks: allBlocks,
            first_block: firstBlock,
            block_rows: blockRows,
          },
          workgroups: size * blocks[c],
        });
        batch.dispatch(gradientKernel, {
          bindings: { pool: columns, problems, support, residuals, slopes },
          params: {
            ...which,
            rows,
            slices,
            all_slices: allSlices,
            first_slice: c * slices,
            slice_rows: Math.ceil(rows / slices),
          },
          workgroups: size * stride * slices,
        });
        firstBlock += blocks[c];
        operations += size * certificateOperations(rows, stride);
        if (operations > mostOperations) {
          batch.submit();
          operations = 0;
        }
      }
      stepTo(0);
    }
  }
}
