/**
 * Class moments with gpu.js: float32 sums over blocks of rows on the device, merged in float64 on the host.
 *
 * Rows with the same labels in every feature of a group are cut into blocks of at most B = 128. Per block and neuron one
 * kernel computes the mean m̂ and another Σ(x − m̂)²; the host merges blocks into label patterns and patterns into classes
 * (Chan, Golub, LeVeque 1979). With u = 2⁻²⁴ and γ = (B + 6)·u/(1 − (B + 6)·u), whatever the number of rows:
 *
 *   |mean error| ≤ γ·mean|x − x₁| + u·|mean|,  x₁ the block's first row
 *   |Σ(x − mean)² error| ≤ 2γ·Σ(x − mean)² + n·(mean error)²
 */
import {
  emptyClassMoments,
  keepSquares,
  type ClassMoments,
  type MomentSquares,
  type PerClassMoments,
} from "../../data/class-moments.ts";
import { UNLABELLED, type LabelMatrix } from "../../data/labels.ts";
import { NonFiniteError, ShapeError } from "../../errors.ts";
import { addToClass, groupFeatures, NO_PATTERN, type FeatureGroup } from "../cpu/reference/class-moments.ts";
import { Pacer } from "../cpu/pacer.ts";
import { SPLIT_RESULTS, type GpuJsDevice, type GpuJsKernel } from "./device.ts";
import type { GpuJsActivations, RowPart } from "./gpujs-activations.ts";

/** Rows that one thread sums. */
const BLOCK_ROWS = 128;

/** Magnitude up to which a block's squares stay within float32: 128 · (2 · 2⁵⁹)² = 2¹²⁷. */
const LARGEST = 2 ** 59;

const meansKernel: GpuJsKernel = {
  label: "class-moments means",
  source: `function (x, members, starts, neurons) {
    const block = Math.floor((this.thread.x + 0.5) / neurons);
    const neuron = this.thread.x - block * neurons;
    const first = starts[block];
    const end = starts[block + 1];
    const origin = x[members[first] * neurons + neuron];
    let sum = 0;
    for (let m = first; m < end; m++) {
      sum += x[members[m] * neurons + neuron] - origin;
    }
    return origin + sum / (end - first);
  }`,
};

const squaresKernel: GpuJsKernel = {
  label: "class-moments squares",
  source: `function (x, means, members, starts, neurons) {
    const block = Math.floor((this.thread.x + 0.5) / neurons);
    const neuron = this.thread.x - block * neurons;
    const end = starts[block + 1];
    const mean = means[this.thread.x];
    let sum = 0;
    for (let m = starts[block]; m < end; m++) {
      const deviation = x[members[m] * neurons + neuron] - mean;
      sum += deviation * deviation;
    }
    return sum;
  }`,
};

/**
 * Class moments of every neuron for every label set.
 * @throws ShapeError when labels and activations differ in rows
 * @throws NonFiniteError when a value is too large to square in float32
 */
export async function classMoments(
  device: GpuJsDevice,
  x: GpuJsActivations,
  labels: LabelMatrix,
  signal: AbortSignal | undefined,
  squares: MomentSquares = "class",
): Promise<ClassMoments> {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  if (x.largest > LARGEST) {
    throw new NonFiniteError(
      `The activations reach ${x.largest}, too large to square in float32.`,
      "Rescale them, or use the CPU backend.",
    );
  }
  const pacer = new Pacer(signal);
  const d = x.neurons;
  const moments = emptyClassMoments(labels.features.length, d);
  for (const group of groupFeatures(labels)) {
    // One class per pattern: a row is added once, however many features it has.
    const patterns = emptyClassMoments(Math.ceil(group.patterns.length / 2), d);
    for (const part of x.parts) await addPart(device, part, d, group, patterns, pacer, signal);
    for (const [p, pattern] of group.patterns.entries()) {
      for (const [at, label] of pattern.entries()) {
        if (label === UNLABELLED || patterns.count[p] === 0) continue;
        const c = 2 * group.features[at] + label;
        addToClass(moments, c, patterns.count[p], patterns.mean, patterns.sumOfSquares, p * d);
      }
      if (pacer.due) await pacer.turn();
    }
  }
  return keepSquares(moments, squares);
}

/** Adds the rows of one texture to their patterns. */
async function addPart(
  device: GpuJsDevice,
  part: RowPart,
  d: number,
  group: FeatureGroup,
  patterns: PerClassMoments,
  pacer: Pacer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const blocks = rowBlocks(group, part);
  const most = Math.max(1, Math.floor(SPLIT_RESULTS / d));
  for (let from = 0; from < blocks.length; from += most) {
    signal?.throwIfAborted();
    const batch = blocks.slice(from, from + most);
    const starts = new Uint32Array(batch.length + 1);
    for (const [b, { rows }] of batch.entries()) starts[b + 1] = starts[b] + rows.length;
    const members = Uint32Array.from(batch.flatMap(({ rows }) => rows));
    const length = batch.length * d;
    const means = await device.compute(meansKernel, length, [part.texture, members, starts, d]);
    try {
      const squares = await device.fetch(squaresKernel, length, [part.texture, means, members, starts, d]);
      const mean64 = Float64Array.from(await device.read(means));
      const squares64 = Float64Array.from(squares);
      for (const [b, { pattern, rows }] of batch.entries()) {
        addToClass(patterns, pattern, rows.length, mean64, squares64, b * d);
      }
    } finally {
      means.dispose();
    }
    if (pacer.due) await pacer.turn();
  }
}

/** The part's rows, counted from its first, in blocks of one pattern each. */
function rowBlocks(group: FeatureGroup, part: RowPart): { pattern: number; rows: number[] }[] {
  const blocks: { pattern: number; rows: number[] }[] = [];
  const open = new Map<number, number[]>();
  for (let i = 0; i < part.rows; i++) {
    const pattern = group.patternOfRow[part.firstRow + i];
    if (pattern === NO_PATTERN) continue;
    let rows = open.get(pattern);
    if (!rows || rows.length === BLOCK_ROWS) {
      rows = [];
      open.set(pattern, rows);
      blocks.push({ pattern, rows });
    }
    rows.push(i);
  }
  return blocks;
}
