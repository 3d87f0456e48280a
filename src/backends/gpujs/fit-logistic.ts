/**
 * Batches of logistic fits with gpu.js: Hessians in float32 in WebGL2, everything else in float64 on the host.
 *
 * A Newton step needs the objective, the gradient and the decision values, which cost about 4·n·k operations and 60·n for
 * exponentials, and the Hessian, which costs n·k². Below {@link LEAST_COLUMNS} columns the Hessian is the smaller share,
 * and below {@link LEAST_PRODUCTS} it costs less than the way to the device and back: there the host fits alone. All other problems of a batch take their steps together, each from a Hessian that the
 * device summed; line search and factorisation stay in float64. {@link certifyFit} then takes the last steps and states
 * how the fit converged. What is returned is float64 throughout.
 */
import type { Activations } from "../../data/activations.ts";
import type { LabelMatrix } from "../../data/labels.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../backend.ts";
import { choleskyFactor, choleskySolve } from "../cpu/reference/cholesky.ts";
import {
  assertProblems,
  chunksOfColumns,
  fitLogistic as fitOnHost,
  groupByRows,
} from "../cpu/reference/fit-logistic.ts";
import { gatherAsColumns } from "../cpu/reference/gather-columns.ts";
import { classWeights, LogisticLoss } from "../cpu/reference/logistic-loss.ts";
import { initialPoint } from "../cpu/reference/newton.ts";
import { Pacer } from "../cpu/pacer.ts";
import { certifyFit } from "../cpu/reference/certify-fit.ts";
import { SPLIT_RESULTS, type GpuJsDevice, type GpuJsKernel, type GpuJsTexture } from "./device.ts";
import { gatherColumns } from "./gather-columns.ts";
import type { GpuJsActivations } from "./gpujs-activations.ts";

/** Columns from which on the device computes the Hessian. Fits too wide for one do not come here (see `splitWide`). */
const LEAST_COLUMNS = 16;

/** Products n·k² of a problem from which on it goes to the device: a few milliseconds of the host's time. */
export const LEAST_PRODUCTS: number = 2 ** 22;

export interface FitLimits {
  /** Values that one texture may hold. */
  readonly textureValues: number;
  /** In place of {@link LEAST_PRODUCTS}. */
  readonly leastProducts: number;
}

/** Bytes of gathered columns held at once. */
const GATHER_BYTES = 64 * 2 ** 20;

/** Problems that take their steps together. */
const BATCH = 64;

/** Multiply-adds of one call: a slow integrated GPU spends well under a second on them and the display goes on. */
const CALL_PRODUCTS = 2 ** 26;

/** Newton decrement at which the device's last Hessian is good enough for the steps that remain. */
const HANDOVER = 1e-6;

const ARMIJO = 1e-4;
const MAX_HALVINGS = 30;

/**
 * One entry Σ_i c_i·x̃_ir·x̃_is of one problem's Hessian per thread, in blocks of 256 rows: with columns of n rows the
 * relative error is about (256 + n/256)·2⁻²⁴. A column j of the pool counts as (x − center)·factor + shift, so that the
 * intercept is a column with factor 0 and shift 1, and columns that a narrower problem lacks are zero.
 */
const hessianKernel: GpuJsKernel = {
  label: "fit-logistic Hessian",
  source: `function (pool, curvature, places, center, factor, shift, left, right, rows, size, entries, first) {
    const index = first + this.thread.x;
    const problem = Math.floor((index + 0.5) / entries);
    const entry = index - problem * entries;
    const a = problem * size + left[entry];
    const b = problem * size + right[entry];
    const centerA = center[a];
    const centerB = center[b];
    const factorA = factor[a];
    const factorB = factor[b];
    const shiftA = shift[a];
    const shiftB = shift[b];
    const columnA = places[a] * rows;
    const columnB = places[b] * rows;
    let sum = 0;
    for (let start = 0; start < rows; start += 256) {
      const end = Math.min(rows, start + 256);
      let block = 0;
      for (let i = start; i < end; i++) {
        const x = (pool[columnA + i] - centerA) * factorA + shiftA;
        const y = (pool[columnB + i] - centerB) * factorB + shiftB;
        block += curvature[problem * rows + i] * x * y;
      }
      sum += block;
    }
    return sum;
  }`,
};

/**
 * Fits every problem.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitLogistic(
  device: GpuJsDevice,
  x: GpuJsActivations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  { textureValues, leastProducts }: FitLimits,
): Promise<LogisticFit[]> {
  assertProblems(x, labels, problems, options);
  const pacer = new Pacer(options.signal);
  const fits = new Array<LogisticFit>(problems.length);
  let done = 0;
  const progress = () => options.onProgress?.(++done, problems.length);
  const all = problems.map((_, p) => p);
  for (const chunk of chunksOfColumns(problems, all, x.rows, GATHER_BYTES)) {
    const union = Uint32Array.from(new Set(chunk.flatMap((p) => [...problems[p].support])));
    const place = new Map(Array.from(union, (j, at) => [j, at]));
    const columns = await gatherColumns(device, x, union, options.signal);
    const onColumns = (p: number): LogisticProblem => ({
      ...problems[p],
      support: problems[p].support.map((j) => place.get(j)!),
    });
    const pays = (p: number): boolean => {
      const k = problems[p].support.length;
      return k >= LEAST_COLUMNS && x.rows * k * k >= leastProducts;
    };
    const wide = chunk.filter(pays);
    const narrow = chunk.filter((p) => !pays(p));
    const hostOptions = { ...options, onProgress: progress };
    const onHost = await fitOnHost(columns, labels, narrow.map(onColumns), hostOptions, pacer);
    for (const [at, p] of narrow.entries()) fits[p] = onHost[at];
    const onDevice = await fitWide(
      device,
      columns,
      labels,
      wide.map(onColumns),
      hostOptions,
      textureValues,
      pacer,
    );
    for (const [at, p] of wide.entries()) fits[p] = onDevice[at];
  }
  return fits;
}

/** Fits problems whose Hessians are worth the way to the device and back. */
async function fitWide(
  device: GpuJsDevice,
  x: Activations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  textureValues: number,
  pacer: Pacer,
): Promise<LogisticFit[]> {
  const fits = new Array<LogisticFit>(problems.length);
  const everything = Uint32Array.from({ length: x.neurons }, (_, j) => j);
  for (const { rows, members } of groupByRows(labels, problems)) {
    const columns = await gatherAsColumns(x, everything, rows, pacer);
    const pool = await storePool(device, x, rows, textureValues, pacer);
    try {
      for (const batch of batchesOf(problems, members)) {
        const states = batch.map((p) => {
          const { feature, support, center, scale } = problems[p];
          const y = Uint8Array.from(rows, (i) => labels.values[feature * labels.rows + i]);
          const loss = new LogisticLoss({
            columns: Array.from(support, (j) => columns[j]),
            labels: y,
            weights: classWeights(y, options.balanced),
            C: options.C,
            center,
            scale,
          });
          return new NewtonState(loss, support);
        });
        await takeSteps(device, pool, states, options, pacer);
        for (const [at, p] of batch.entries()) {
          const { loss, theta, factor, iterations } = states[at];
          const k = loss.columns;
          const result = await certifyFit(loss, theta, factor, iterations, options, pacer);
          fits[p] = {
            coefficients: result.theta.slice(0, k),
            intercept: result.theta[k],
            convergence: result.convergence,
          };
          options.onProgress?.(at, problems.length);
          if (pacer.due) await pacer.turn();
        }
      }
    } finally {
      for (const { texture } of pool) texture.dispose();
    }
  }
  return fits;
}

/** Some rows of all columns, column-major in one texture. */
interface PoolPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly texture: GpuJsTexture;
}

async function storePool(
  device: GpuJsDevice,
  x: Activations,
  rows: Uint32Array,
  textureValues: number,
  pacer: Pacer,
): Promise<PoolPart[]> {
  const height = Math.max(1, Math.floor(textureValues / Math.max(x.neurons, BATCH)));
  const everything = Uint32Array.from({ length: x.neurons }, (_, j) => j);
  const parts: PoolPart[] = [];
  try {
    for (let firstRow = 0; firstRow < rows.length; firstRow += height) {
      const part = rows.subarray(firstRow, firstRow + height);
      // The columns are views of one buffer, end to end.
      const [{ buffer }] = await gatherAsColumns(x, everything, part, pacer);
      parts.push({ firstRow, rows: part.length, texture: await device.store(new Float32Array(buffer)) });
    }
    device.assertHealthy();
    return parts;
  } catch (error) {
    for (const { texture } of parts) texture.dispose();
    throw error;
  }
}

/** Problems of similar k together, as many as have Hessian entries that one call may count. */
function batchesOf(problems: readonly LogisticProblem[], members: readonly number[]): number[][] {
  const size = (p: number) => problems[p].support.length;
  const sorted = [...members].sort((a, b) => size(a) - size(b));
  const batches: number[][] = [];
  for (const p of sorted) {
    const last = batches.at(-1);
    const entries = ((size(p) + 1) * (size(p) + 2)) / 2;
    const most = Math.min(BATCH, Math.floor(SPLIT_RESULTS / entries));
    if (last && last.length < most && size(p) < 2 * size(last[0])) last.push(p);
    else batches.push([p]);
  }
  return batches;
}

/** One problem on its way to the optimum, in float64. */
class NewtonState {
  readonly loss: LogisticLoss;
  readonly support: Uint32Array;
  theta: Float64Array;
  /** Factor of the last Hessian, float32 like the Hessian itself. */
  factor: Float32Array;
  iterations = 0;
  finished = false;
  #z: Float64Array;
  #value: number;

  constructor(loss: LogisticLoss, support: Uint32Array) {
    this.loss = loss;
    this.support = support;
    this.theta = initialPoint(loss);
    this.factor = new Float32Array((loss.columns + 1) ** 2);
    this.#z = loss.decision(this.theta);
    this.#value = loss.value(this.theta, this.#z);
  }

  curvature(): Float64Array {
    return this.loss.curvature(this.#z);
  }

  /** Takes a damped Newton step with the Hessian H of the loss, without the penalty, at the current point. */
  step(hessian: Float64Array): void {
    const { loss, theta } = this;
    const m = loss.columns + 1;
    for (let j = 0; j < loss.columns; j++) hessian[j * m + j] += 1;
    choleskyFactor(hessian, m);
    this.factor = Float32Array.from(hessian);
    const gradient = loss.gradient(theta, this.#z);
    const direction = choleskySolve(hessian, m, gradient).map((v) => -v);
    const slope = -gradient.reduce((sum, g, j) => sum + g * direction[j], 0);
    if (!(slope / (2 * loss.totalWeight) > HANDOVER)) {
      this.finished = true;
      return;
    }
    for (let halving = 0, length = 1; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const next = theta.map((t, j) => t + length * direction[j]);
      const z = loss.decision(next);
      const value = loss.value(next, z);
      if (value <= this.#value - ARMIJO * length * slope) {
        this.theta = next;
        this.#z = z;
        this.#value = value;
        this.iterations++;
        return;
      }
    }
    this.finished = true;
  }
}

/** Newton steps of a batch, until each problem is close enough or out of steps. */
async function takeSteps(
  device: GpuJsDevice,
  pool: readonly PoolPart[],
  states: readonly NewtonState[],
  { maxIterations, signal }: LogisticOptions,
  pacer: Pacer,
): Promise<void> {
  for (;;) {
    const active = states.filter((state) => !state.finished && state.iterations < maxIterations);
    if (active.length === 0) return;
    const hessians = await sumHessians(device, pool, active, signal);
    for (const [at, state] of active.entries()) {
      state.step(hessians[at]);
      if (pacer.due) await pacer.turn();
    }
  }
}

/** Lower triangles of the problems' Hessians, without the penalty, [m × m] each. */
async function sumHessians(
  device: GpuJsDevice,
  pool: readonly PoolPart[],
  states: readonly NewtonState[],
  signal: AbortSignal | undefined,
): Promise<Float64Array[]> {
  const size = Math.max(...states.map(({ support }) => support.length)) + 1;
  const places = new Float32Array(states.length * size);
  const center = new Float32Array(states.length * size);
  const factor = new Float32Array(states.length * size);
  const shift = new Float32Array(states.length * size);
  for (const [s, { loss, support }] of states.entries()) {
    const k = support.length;
    const at = s * size;
    places.set(support, at);
    if (loss.data.center) center.set(loss.data.center, at);
    factor.set(loss.data.scale ? loss.data.scale.map((v) => 1 / v) : new Float32Array(k).fill(1), at);
    shift[at + k] = 1;
  }
  const left: number[] = [];
  const right: number[] = [];
  for (let r = 0; r < size; r++) {
    for (let c = 0; c <= r; c++) {
      left.push(r);
      right.push(c);
    }
  }
  const [l, r] = [Float32Array.from(left), Float32Array.from(right)];
  const entries = left.length;
  const curvatures = states.map((state) => state.curvature());
  const sums = states.map(({ support }) => new Float64Array((support.length + 1) ** 2));
  for (const part of pool) {
    const weights = new Float32Array(states.length * part.rows);
    for (const [s, curvature] of curvatures.entries()) {
      weights.set(curvature.subarray(part.firstRow, part.firstRow + part.rows), s * part.rows);
    }
    const curvature = await device.store(weights);
    try {
      const most = Math.max(1, Math.floor(CALL_PRODUCTS / part.rows));
      for (let first = 0; first < states.length * entries; first += most) {
        signal?.throwIfAborted();
        const count = Math.min(most, states.length * entries - first);
        const values = await device.fetch(hessianKernel, count, [
          part.texture,
          curvature,
          places,
          center,
          factor,
          shift,
          l,
          r,
          part.rows,
          size,
          entries,
          first,
        ]);
        for (let v = 0; v < count; v++) {
          const s = Math.floor((first + v) / entries);
          const entry = first + v - s * entries;
          const m = states[s].support.length + 1;
          if (left[entry] < m) sums[s][left[entry] * m + right[entry]] += values[v];
        }
      }
    } finally {
      curvature.dispose();
    }
  }
  return sums;
}
