/**
 * Batches of logistic fits: Newton steps in float32 on the GPU for many problems at once, then float64 on the host.
 *
 * The columns that the problems read are gathered once into a column-major pool on the device and copied to the host.
 * The GPU does the work that grows with k² (Hessians and their factors); the host evaluates each result in float64 and
 * takes the last steps with the GPU's factor: see {@link certifyFit}. What is returned is float64 throughout.
 */
import { UNLABELLED, type LabelMatrix } from "../../data/labels.ts";
import { NonFiniteError, OutOfMemoryError } from "../../errors.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../backend.ts";
import { assertProblems, chunksOfColumns } from "../cpu/reference/fit-logistic.ts";
import { classWeights, LogisticLoss } from "../cpu/reference/logistic-loss.ts";
import { Pacer } from "../cpu/pacer.ts";
import { certifyFit } from "../cpu/reference/certify-fit.ts";
import type { ComputeDevice } from "./device.ts";
import { gatherInto } from "./gather-columns.ts";
import { batchSize, runNewtonBatch, type BatchProblem } from "./newton-batch.ts";
import type { WebGpuActivations } from "./webgpu-activations.ts";

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
 * @throws OutOfMemoryError when one problem's columns, derivatives or Hessian exceed a binding
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
  for (const chunk of chunksOfColumns(problems, all, rows.length, poolBytes)) {
    const union = Uint32Array.from(new Set(chunk.flatMap((p) => [...problems[p].support])));
    const place = new Map(Array.from(union, (j, at) => [j, at]));
    const byteLength = union.length * rows.length * 4;
    if (byteLength > limits.maxBindingBytes) {
      throw new OutOfMemoryError(
        `${union.length} columns of ${rows.length} rows need ${byteLength} bytes in one binding, ` +
          `and the device allows ${limits.maxBindingBytes}.`,
        "Fit fewer columns at once, fit on a sample of the rows, or use the CPU backend.",
      );
    }
    const scope = device.scope();
    try {
      const pool = await scope.allocate("gathered columns", byteLength);
      const layout = { rowStride: 1, columnStride: rows.length };
      await gatherInto(device, x, rows, union, pool, layout, signal);
      const columns = await device.readFloats(pool, { signal });
      assertFinite(columns, rows, union);
      for (const batch of batchesOf(problems, chunk, rows.length, limits)) {
        const sets = labelSets(labels, rows, [...new Set(batch.map((p) => problems[p].feature))], options);
        const described = batch.map((p): BatchProblem => {
          const { support, center, scale, feature } = problems[p];
          const { index, weights, intercept } = sets.of.get(feature)!;
          const places = support.map((j) => place.get(j)!);
          return { places, center, scale, labelSet: index, weights, intercept };
        });
        const result = await runNewtonBatch(
          device,
          {
            pool,
            rows: rows.length,
            labels: sets.packed,
            problems: described,
            maxIterations: options.maxIterations,
            maxBindingBytes: limits.maxBindingBytes,
          },
          signal,
        );
        for (const [at, p] of batch.entries()) {
          const { places, center, scale } = described[at];
          const { y } = sets.of.get(problems[p].feature)!;
          const loss = new LogisticLoss({
            columns: Array.from(places, (c) => columns.subarray(c * rows.length, (c + 1) * rows.length)),
            labels: y,
            weights: classWeights(y, options.balanced),
            C: options.C,
            center,
            scale,
          });
          const certified = await certifyFit(
            loss,
            result.theta[at],
            result.factors[at],
            result.iterations[at],
            options,
            pacer,
          );
          const k = places.length;
          fits[p] = {
            coefficients: certified.theta.slice(0, k),
            intercept: certified.theta[k],
            convergence: certified.convergence,
          };
          done++;
          if (pacer.due) await pacer.turn();
          options.onProgress?.(done, problems.length);
        }
      }
    } finally {
      scope.dispose();
    }
  }
  return fits;
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

/** The features' labels on the rows used, for the host and packed for the kernels. */
function labelSets(
  labels: LabelMatrix,
  rows: Uint32Array,
  features: readonly number[],
  { C, balanced }: LogisticOptions,
): { readonly of: ReadonlyMap<number, LabelSet>; readonly packed: Uint8Array } {
  const stride = Math.ceil(rows.length / 4) * 4;
  const packed = new Uint8Array(features.length * stride).fill(UNLABELLED);
  const of = new Map<number, LabelSet>();
  for (const [index, feature] of features.entries()) {
    const values = labels.of(feature);
    const y = Uint8Array.from(rows, (i) => values[i]);
    packed.set(y, index * stride);
    const rowWeights = classWeights(y, balanced);
    const negative = rowWeights[y.indexOf(0)];
    const positive = rowWeights[y.indexOf(1)];
    const [negatives, positives] = labels.counts(feature);
    const total = C * (negatives * negative + positives * positive);
    const intercept = Math.log((positives * positive) / (negatives * negative));
    of.set(feature, { index, y, weights: [C * negative, C * positive, total], intercept });
  }
  return { of, packed };
}

/** Problems of similar k together, as many as a batch holds. */
function batchesOf(
  problems: readonly LogisticProblem[],
  members: readonly number[],
  rows: number,
  { workBytes, maxBindingBytes }: FitLimits,
): number[][] {
  const sorted = [...members].sort((a, b) => problems[a].support.length - problems[b].support.length);
  const batches: number[][] = [];
  for (let end = sorted.length; end > 0;) {
    // The largest k of the batch, its last, sets the stride of all.
    const k = problems[sorted[end - 1]].support.length;
    const least = sorted.findIndex((p) => 2 * (problems[p].support.length + 1) > k);
    const start = Math.max(least, end - batchSize(k, rows, workBytes, maxBindingBytes), 0);
    batches.push(sorted.slice(start, end));
    end = start;
  }
  return batches.reverse();
}

function assertFinite(columns: Float32Array, rows: Uint32Array, union: Uint32Array): void {
  for (let i = 0; i < columns.length; i++) {
    if (columns[i] - columns[i] !== 0) {
      const c = Math.floor(i / rows.length);
      throw new NonFiniteError(
        `Row ${rows[i - c * rows.length]}, neuron ${union[c]} is ${columns[i]}.`,
        "Remove rows that are not finite, or store the activations in a type with a larger range.",
      );
    }
  }
}
