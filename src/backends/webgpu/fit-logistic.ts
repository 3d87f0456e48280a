/**
 * Batches of logistic fits on the GPU: Newton steps in float32 for many problems at once, then the last digits and a
 * certificate in double arithmetic (see certificates.ts).
 *
 * The columns that the problems read are gathered once into a column-major pool on the device and stay there. What comes
 * back are parameters and certificates, and the columns of two kinds of problems: those whose certificate was refused, which
 * {@link certifyFit} finishes in float64 on the host; and one of every batch, whose certificate the host checks in float64.
 * If that check fails, the device's double arithmetic is not to be trusted, and the host finishes every problem.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import nonFiniteSource from "#shaders/find-non-finite.wgsl";
import { UNLABELLED, type LabelMatrix } from "../../data/labels.ts";
import { NonFiniteError } from "../../errors.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../backend.ts";
import { certifyFit } from "../cpu/reference/certify-fit.ts";
import { choleskySolve } from "../cpu/reference/cholesky.ts";
import { assertProblems, chunksOfColumns } from "../cpu/reference/fit-logistic.ts";
import { classWeights, LogisticLoss } from "../cpu/reference/logistic-loss.ts";
import type { NewtonResult } from "../cpu/reference/newton.ts";
import { Pacer } from "../cpu/pacer.ts";
import { together, type BufferScope, type ComputeDevice } from "./device.ts";
import { gatherInto } from "./gather-columns.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import type { ColumnPool, GatheredColumns } from "./logistic-batch.ts";
import {
  batchSize,
  poolChunkRows,
  runNewtonBatch,
  type BatchFit,
  type BatchProblem,
  type NewtonBatchResult,
} from "./newton-batch.ts";
import type { WebGpuActivations } from "./webgpu-activations.ts";

const nonFiniteKernel = defineKernel({
  label: "find-non-finite",
  source: gridSource + nonFiniteSource,
  entryPoint: "find_non_finite",
  bindings: { values: "storage-read", first: "storage-read-write", params: "uniform" },
  params: { count: "u32", threads: "u32" },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const fitLogisticKernels: readonly Kernel[] = [nonFiniteKernel];

/** Workgroups that look for values that are not finite. */
const SEARCH_WORKGROUPS = 4096;

export interface FitLimits {
  /** Largest binding in bytes. */
  readonly maxBindingBytes: number;
  /** Bytes of device memory for the pool, and as many again for a batch of problems. */
  readonly workBytes: number;
}

/**
 * Fits every problem.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 * @throws NonFiniteError when a column that is fitted holds NaN or an infinity
 * @throws OutOfMemoryError when one problem's Hessian exceeds a binding
 */
export async function fitLogistic(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  limits: FitLimits,
): Promise<LogisticFit[]> {
  assertProblems(x, labels, problems, options);
  const { signal } = options;
  const pacer = new Pacer(signal);
  const rows = labelledRows(labels, problems);
  const all = problems.map((_, p) => p);
  const poolBytes = Math.min(limits.workBytes, limits.maxBindingBytes);
  const fits = new Array<LogisticFit>(problems.length);
  let done = 0;
  for (const members of chunksOfColumns(problems, all, rows.length, poolBytes)) {
    const union = Uint32Array.from(new Set(members.flatMap((p) => [...problems[p].support])));
    const place = new Map(Array.from(union, (j, at) => [j, at]));
    const scope = device.scope();
    try {
      const pool = await gatherPool(device, scope, x, rows, union, limits.maxBindingBytes, signal);
      for (const batch of batchesOf(problems, members, pool, limits)) {
        const sets = labelSets(labels, rows, [...new Set(batch.map((p) => problems[p].feature))], options);
        const described = batch.map((p): BatchProblem => {
          const { support, center, scale, feature } = problems[p];
          const { index, weights, intercept } = sets.get(feature)!;
          const places = support.map((j) => place.get(j)!);
          return { places, center, scale, labelSet: index, weights, intercept };
        });
        const own = device.scope();
        try {
          const result = await runNewtonBatch(
            device,
            own,
            {
              pool: await withLabels(own, pool, sets, signal),
              problems: described,
              maxIterations: options.maxIterations,
              tolerance: options.tolerance,
              maxBindingBytes: limits.maxBindingBytes,
              residualBytes: limits.workBytes,
            },
            signal,
          );
          const lossOf = async (at: number): Promise<LogisticLoss> => {
            const { places, center, scale } = described[at];
            const { y } = sets.get(problems[batch[at]].feature)!;
            return new LogisticLoss({
              columns: await readColumns(device, pool, places, signal),
              labels: y,
              weights: classWeights(y, options.balanced),
              C: options.C,
              center,
              scale,
            });
          };
          const trusted = await certificatesHold(result, lossOf, options);
          for (const [at, p] of batch.entries()) {
            const fit = result.fits[at];
            const { theta, convergence } =
              fit.certified && trusted
                ? certifiedFit(fit)
                : await certifyFit(
                    await lossOf(at),
                    fit.theta,
                    await result.factor(at),
                    fit.iterations,
                    options,
                    pacer,
                  );
            const k = described[at].places.length;
            fits[p] = { coefficients: theta.slice(0, k), intercept: theta[k], convergence };
            done++;
            if (pacer.due) await pacer.turn();
            signal?.throwIfAborted();
            options.onProgress?.(done, problems.length);
          }
        } finally {
          own.dispose();
        }
      }
    } finally {
      scope.dispose();
    }
  }
  return fits;
}

function certifiedFit({ theta, ...fit }: BatchFit): NewtonResult {
  return {
    theta,
    convergence: {
      converged: true,
      iterations: fit.iterations,
      gradientNorm: fit.gradientNorm,
      newtonDecrement: fit.decrement,
      objective: fit.objective,
      separated: fit.separated,
    },
  };
}

/** Checks one certificate of a batch in float64: a device whose double arithmetic is not what it should be fails. */
async function certificatesHold(
  { fits, factor }: NewtonBatchResult,
  lossOf: (at: number) => Promise<LogisticLoss>,
  { tolerance }: LogisticOptions,
): Promise<boolean> {
  const at = fits.findIndex(({ certified }) => certified);
  if (at < 0) return true;
  const loss = await lossOf(at);
  const { theta } = fits[at];
  const gradient = loss.gradient(theta, loss.decision(theta));
  const step = choleskySolve(await factor(at), theta.length, gradient);
  const squared = gradient.reduce((sum, g, j) => sum + g * step[j], 0);
  return squared / (2 * loss.totalWeight) <= tolerance;
}

/** Gathers columns into a pool in the scope, and sees to it that they are finite. */
async function gatherPool(
  device: ComputeDevice,
  scope: BufferScope,
  x: WebGpuActivations,
  rows: Uint32Array,
  columns: Uint32Array,
  maxBindingBytes: number,
  signal: AbortSignal | undefined,
): Promise<GatheredColumns> {
  const step = poolChunkRows(columns.length, rows.length, maxBindingBytes);
  const chunks: GatheredColumns["chunks"][number][] = [];
  const found: Promise<ArrayBuffer>[] = [];
  for (let firstRow = 0; firstRow < rows.length; firstRow += step) {
    const count = Math.min(step, rows.length - firstRow);
    const values = columns.length * count;
    const [pool, first] = await together([
      scope.allocate("gathered columns", values * 4),
      scope.allocateFrom("first non-finite value", Uint32Array.of(0xffffffff), signal),
    ]);
    const layout = { rowStride: 1, columnStride: count };
    await gatherInto(device, x, rows.subarray(firstRow, firstRow + count), columns, pool, layout, signal);
    const { workgroup_size } = nonFiniteKernel.overrides;
    const workgroups = Math.min(SEARCH_WORKGROUPS, Math.ceil(values / workgroup_size));
    await device.prepare([[nonFiniteKernel]]);
    device
      .batch("find non-finite values")
      .dispatch(nonFiniteKernel, {
        bindings: { values: pool, first },
        params: { count: values, threads: workgroups * workgroup_size },
        workgroups,
      })
      .submit();
    found.push(device.read(first, { signal }));
    chunks.push({ firstRow, rows: count, columns: pool });
  }
  for (const [c, answer] of (await Promise.all(found)).entries()) {
    const [at] = new Uint32Array(answer);
    if (at === 0xffffffff) continue;
    const { rows: count, firstRow, columns: pool } = chunks[c];
    const [value] = await device.readFloats(pool, { offset: 4 * at, byteLength: 4, signal });
    throw new NonFiniteError(
      `Row ${rows[firstRow + (at % count)]}, neuron ${columns[Math.floor(at / count)]} is ${value}.`,
      "Remove rows that are not finite, or store the activations in a type with a larger range.",
    );
  }
  return { rows: rows.length, chunks };
}

/** The pool with the rows' labels in every set. */
async function withLabels(
  scope: BufferScope,
  { rows, chunks }: GatheredColumns,
  sets: ReadonlyMap<number, LabelSet>,
  signal: AbortSignal | undefined,
): Promise<ColumnPool> {
  const stride = 4 * Math.ceil(chunks[0].rows / 4);
  const labelled = chunks.map(async (chunk) => {
    const packed = new Uint8Array(sets.size * stride).fill(UNLABELLED);
    for (const { index, y } of sets.values()) {
      packed.set(y.subarray(chunk.firstRow, chunk.firstRow + chunk.rows), index * stride);
    }
    return { ...chunk, labels: await scope.allocateFrom("labels", packed, signal) };
  });
  return { rows, chunks: await together(labelled) };
}

/** Host copies of some columns of the pool. */
async function readColumns(
  device: ComputeDevice,
  { rows, chunks }: GatheredColumns,
  places: Uint32Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  return Promise.all(
    Array.from(places, async (place) => {
      const column = new Float32Array(rows);
      for (const { columns, firstRow, rows: count } of chunks) {
        const range = { offset: 4 * place * count, byteLength: 4 * count, signal };
        column.set(await device.readFloats(columns, range), firstRow);
      }
      return column;
    }),
  );
}

/** Rows that some problem's feature labels, ascending. */
function labelledRows(labels: LabelMatrix, problems: readonly LogisticProblem[]): Uint32Array {
  const used = new Uint8Array(labels.rows);
  for (const feature of new Set(problems.map((problem) => problem.feature))) {
    const values = labels.of(feature);
    for (let i = 0; i < used.length; i++) if (values[i] !== UNLABELLED) used[i] = 1;
  }
  const rows: number[] = [];
  for (let i = 0; i < used.length; i++) if (used[i] === 1) rows.push(i);
  return Uint32Array.from(rows);
}

interface LabelSet {
  readonly index: number;
  /** Label of every row used. */
  readonly y: Uint8Array;
  readonly weights: BatchProblem["weights"];
  /** Weighted log odds: the best intercept for weights of zero. */
  readonly intercept: number;
}

/** The features' labels on the rows used. */
function labelSets(
  labels: LabelMatrix,
  rows: Uint32Array,
  features: readonly number[],
  { C, balanced }: LogisticOptions,
): ReadonlyMap<number, LabelSet> {
  const sets = new Map<number, LabelSet>();
  for (const [index, feature] of features.entries()) {
    const values = labels.of(feature);
    const y = Uint8Array.from(rows, (i) => values[i]);
    const rowWeights = classWeights(y, balanced);
    const negative = rowWeights[y.indexOf(0)];
    const positive = rowWeights[y.indexOf(1)];
    const [negatives, positives] = labels.counts(feature);
    const total = C * (negatives * negative + positives * positive);
    const intercept = Math.log((positives * positive) / (negatives * negative));
    sets.set(feature, { index, y, weights: [C * negative, C * positive, total], intercept });
  }
  return sets;
}

/** Problems of similar k together, as many as a batch holds. */
function batchesOf(
  problems: readonly LogisticProblem[],
  members: readonly number[],
  pool: GatheredColumns,
  { workBytes, maxBindingBytes }: FitLimits,
): number[][] {
  const sorted = [...members].sort((a, b) => problems[a].support.length - problems[b].support.length);
  const batches: number[][] = [];
  for (let end = sorted.length; end > 0;) {
    // The largest k of the batch, its last, sets the stride of all.
    const k = problems[sorted[end - 1]].support.length;
    const least = sorted.findIndex((p) => 2 * (problems[p].support.length + 1) > k);
    const start = Math.max(least, end - batchSize(k, pool, workBytes, maxBindingBytes), 0);
    batches.push(sorted.slice(start, end));
    end = start;
  }
  return batches.reverse();
}
