/** One logistic probe of every neuron, by the SIMD kernels; what f32 cannot bring to the tolerance ends in float64. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { SingleNeuronFits, SingleNeuronOptions } from "../../backend.ts";
import { assertSingleNeuronOptions, unknownFits } from "../../single-neurons.ts";
import { Pacer } from "../pacer.ts";
import { fitNeuronsOf } from "../reference/fit-single-neurons.ts";
import {
  forEachColumnBlock,
  forEachPanels,
  sampledRows,
  type Panels,
  type SampledRows,
} from "../wasm/kernel-columns.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";

/** Bytes of a panel's state and of a thread's scratch, and places in them: see assembly/fit-single-neurons.ts. */
const STATE_BYTES = 960;
const SCRATCH_BYTES = 512;
const PROBLEM_BYTES = 112;
const INTERCEPT = 4;
const PENALTY = 20;
const REACH = 24;
const SQUARES = 28;
const OUT = 36;
const STATUS = 416;

/** Rows that make an item worth its while, and that a panel advances by in one item at most: about 0.1 and 3 ms. */
const LEAST_ROWS = 16_384;
const MOST_ROWS = 2 ** 19;

/** Rows whose mean centres a neuron: any value near its mean will do. */
const PIVOT_ROWS = 64;

/**
 * Fits every neuron alone, for every label set.
 * @throws ShapeError | OptionError | OneClassError
 */
export async function fitSingleNeurons(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  options: SingleNeuronOptions,
): Promise<SingleNeuronFits> {
  assertSingleNeuronOptions(x, labels, options);
  const { signal } = options;
  signal?.throwIfAborted();
  const d = x.neurons;
  const features = labels.features.length;
  const fits = unknownFits(features, d);
  const pacer = new Pacer(signal);
  const plans: SampledRows[] = [];
  for (let f = 0; f < features; f++) {
    plans.push(sampledRows(labels.of(f)));
    if (pacer.due) await pacer.turn();
  }
  let done = 0;
  await forEachColumnBlock(
    pool,
    x,
    async (block) => {
      for (const [f, plan] of plans.entries()) {
        const transform = transformOf(x, plan, f, options);
        const unfinished: number[] = [];
        await forEachPanels(
          pool,
          x,
          block,
          plan,
          transform,
          async (panels) => {
            await fitPanels(pool, panels, plan, f, transform, options, fits, unfinished);
            done += panels.columns;
            // The last neurons are finished when float64 has seen to the rest.
            options.onProgress?.(done - unfinished.length, features * d);
          },
          signal,
        );
        const settled = done - unfinished.length;
        await fitNeuronsOf(
          x,
          labels,
          f,
          Uint32Array.from(unfinished),
          options,
          fits,
          new Pacer(signal),
          (more) => options.onProgress?.(settled + more, features * d),
        );
      }
    },
    signal,
  );
  return fits;
}

interface Transform {
  readonly pivot: Float32Array;
  readonly factor: Float32Array;
  /** Of the whole matrix, for one feature. */
  readonly center: Float64Array;
  readonly scale: Float64Array;
}

/** What panels of feature f hold: (x − pivot)/scale, with a pivot near the mean, whatever the problem's own centre. */
function transformOf(
  x: Activations,
  { rows }: SampledRows,
  feature: number,
  { center, scale }: SingleNeuronOptions,
): Transform {
  const d = x.neurons;
  const at = feature * d;
  const sum = new Float64Array(d);
  const row = new Float32Array(d);
  const count = Math.min(PIVOT_ROWS, rows.length);
  for (let r = 0; r < count; r++) {
    x.decodeRow(rows[Math.floor((r * rows.length) / count)], row);
    for (let j = 0; j < d; j++) sum[j] += row[j];
  }
  const scales = scale?.subarray(at, at + d) ?? new Float64Array(d).fill(1);
  return {
    pivot: Float32Array.from(sum, (value) => value / count),
    factor: Float32Array.from(scales, (value) => 1 / value),
    center: center?.subarray(at, at + d) ?? new Float64Array(d),
    scale: scales,
  };
}

/** Fits the neurons of some panels and writes what has converged to `fits`; the others are noted. */
async function fitPanels(
  pool: KernelPool,
  panels: Panels,
  { negatives, positives, samples }: SampledRows,
  feature: number,
  { pivot, factor, center, scale }: Transform,
  options: SingleNeuronOptions,
  fits: SingleNeuronFits,
  unfinished: number[],
): Promise<void> {
  const { C, balanced, tolerance, signal } = options;
  const n = negatives + positives;
  const weights = [negatives, positives].map((count) => C * (balanced ? n / (2 * count) : 1));
  const odds = Math.log((weights[1] * positives) / (weights[0] * negatives));
  const scope = new Scope(pool.memory);
  try {
    const problem = scope.zeros(PROBLEM_BYTES);
    const scratch = scope.allocate(pool.threads * SCRATCH_BYTES);
    const states = scope.zeros(panels.count * STATE_BYTES);
    pool.memory.u32(problem, 20).set([negatives, positives, samples.length, 0, ...samples.flat()]);
    pool.memory
      .f64(problem + 80, 4)
      .set([...weights, weights[0] * negatives + weights[1] * positives, tolerance]);
    const words = STATE_BYTES / 8;
    let state = pool.memory.f64(states, panels.count * words);
    /** Index of column c's lane in the arrays of four of its panel's state. */
    const lane = (c: number) => (c >> 2) * words + (c & 3);
    for (let c = 0; c < 4 * panels.count; c++) {
      const j = Math.min(panels.first + c, scale.length - 1);
      state[lane(c) + INTERCEPT] = Math.fround(-odds * Math.LOG2E);
      state[lane(c) + PENALTY] = (scale[j] * factor[j]) ** 2;
      state[lane(c) + REACH] = panels.largest[c];
      state[lane(c) + SQUARES] = panels.squares[0][c];
      state[lane(c) + SQUARES + 4] = panels.squares[1][c];
    }
    const perItem = Math.ceil(LEAST_ROWS / n);
    const mostRows = 32 * Math.ceil(MOST_ROWS / perItem / 32);
    for (;;) {
      await pool.run(
        "fitSingleNeurons",
        Math.ceil(panels.count / perItem),
        [
          panels.at,
          panels.stride,
          states,
          STATE_BYTES,
          panels.count,
          perItem,
          mostRows,
          problem,
          scratch,
          SCRATCH_BYTES,
        ],
        { signal, operations: 50 * n * panels.count },
      );
      const running = Array.from({ length: panels.count }, (_, p) =>
        pool.memory.u32(states + p * STATE_BYTES + STATUS, 4).includes(0),
      );
      if (!running.includes(true)) break;
    }
    state = pool.memory.f64(states, panels.count * words);
    const d = scale.length;
    for (let c = 0; c < panels.columns; c++) {
      const j = panels.first + c;
      const at = feature * d + j;
      // What `fits` holds so far is NaN throughout, and not converged.
      if (!Number.isFinite(center[j])) continue;
      const [slope, intercept, decrement, objective] = [0, 4, 8, 12].map((k) => state[lane(c) + OUT + k]);
      fits.coefficients[at] = slope * scale[j] * factor[j];
      fits.intercepts[at] = intercept + slope * (center[j] - pivot[j]) * factor[j];
      const status = pool.memory.u32(states + (c >> 2) * STATE_BYTES + STATUS, 4)[c & 3];
      if (status === 1) {
        fits.newtonDecrements[at] = decrement;
        fits.objectives[at] = objective;
        fits.converged[at] = 1;
      } else unfinished.push(j);
    }
  } finally {
    scope.close();
  }
}
