/**
 * Class moments on the GPU: one read of the matrix per group of label sets.
 *
 * Rows that have the same labels in every feature of a group form a *row set*; one-against-the-rest labels of K classes
 * make K + 1 sets, so a row is added once and not K times. Per set and neuron the GPU sums v = x − pivot and v² in float32;
 * the host turns them into float64 moments and merges sets into classes (Chan, Golub, LeVeque 1979):
 *
 *   mean = pivot + S/n        Σ(x − mean)² = Q − S²/n,     S = Σv, Q = Σv²
 *
 * Error. A sum passes D = ⌈B/4⌉ + ⌈(n/B)/4⌉ + 5 roundings at most (B rows per block, four chains each). With
 * γ = (D + 2)·u/(1 − (D + 2)·u), u = 2⁻²⁴, and δ = mean − pivot:
 *
 *   |mean error| ≤ γ·√(Q/n)
 *   |Σ(x − mean)² error| ≤ 3γ·Q = 3γ·(Σ(x − mean)² + n·δ²)
 *
 * A pivot is the mean of up to 64 of the set's rows, so n·δ² is about Σ(x − mean)²/64.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import momentsSource from "#shaders/class-moments.wgsl";
import pivotsSource from "#shaders/class-pivots.wgsl";
import totalSource from "#shaders/class-moments-total.wgsl";
import {
  emptyClassMoments,
  keepSquares,
  type ClassMoments,
  type MomentSquares,
  type PerClassMoments,
} from "../../data/class-moments.ts";
import { UNLABELLED, type LabelMatrix } from "../../data/labels.ts";
import { ShapeError } from "../../errors.ts";
import { addToClass, groupFeatures, NO_PATTERN, type FeatureGroup } from "../cpu/reference/class-moments.ts";
import { Pacer } from "../cpu/pacer.ts";
import type { ComputeDevice } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { bindingOf, STORAGE_CODE, type RowChunk, type WebGpuActivations } from "./webgpu-activations.ts";

const pivotsKernel = defineKernel({
  label: "class-pivots",
  source: gridSource + storageSource + pivotsSource,
  entryPoint: "class_pivots",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    members: "storage-read",
    offsets: "storage-read",
    pivots: "storage-read-write",
    params: "uniform",
  },
  params: { neurons: "u32", sets: "u32", samples: "u32" },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

const momentsKernel = defineKernel({
  label: "class-moments",
  source: gridSource + storageSource + momentsSource,
  entryPoint: "class_moments",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    members: "storage-read",
    blocks: "storage-read",
    pivots: "storage-read",
    partial: "storage-read-write",
    params: "uniform",
  },
  params: { neurons: "u32", first_block: "u32", block_count: "u32" },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

const totalKernel = defineKernel({
  label: "class-moments-total",
  source: gridSource + totalSource,
  entryPoint: "class_moments_total",
  bindings: {
    first: "storage-read",
    partial: "storage-read",
    total: "storage-read-write",
    params: "uniform",
  },
  params: { neurons: "u32", sets: "u32", first_block: "u32", block_count: "u32" },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const classMomentsKernels: readonly Kernel[] = [pivotsKernel, momentsKernel, totalKernel];

/** Rows that one workgroup sums. */
const BLOCK_ROWS = 256;
/** Rows whose mean is a pivot. */
const PIVOT_SAMPLES = 64;
/** Bytes of block sums held at once. */
const PARTIAL_BYTES = 64 * 2 ** 20;

/**
 * Class moments of every neuron for every label set. A neuron with NaN, an infinity or a value whose square exceeds
 * float32 in a labelled row has NaN moments in that row's classes.
 *
 * @throws ShapeError when labels and activations differ in rows
 */
export async function classMoments(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  maxBindingBytes: number,
  signal?: AbortSignal,
  squares: MomentSquares = "class",
): Promise<ClassMoments> {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  const pacer = new Pacer(signal);
  const moments = emptyClassMoments(labels.features.length, x.neurons);
  for (const group of groupFeatures(labels)) {
    for (const chunk of x.chunks) {
      const sets = rowSets(group, chunk);
      const largest = Math.max(1, Math.floor(maxBindingBytes / (8 * x.neurons)));
      for (let from = 0; from < sets.length; from += largest) {
        const part = sets.slice(from, from + largest);
        await addRowSets(device, x, chunk, group, part, moments, maxBindingBytes, pacer, signal);
      }
    }
  }
  return keepSquares(moments, squares);
}

/** Rows of a chunk with the same labels. */
interface RowSet {
  readonly pattern: number;
  readonly rows: Uint32Array;
}

function rowSets(group: FeatureGroup, chunk: RowChunk): RowSet[] {
  const rows: number[][] = group.patterns.map(() => []);
  for (let i = 0; i < chunk.rows; i++) {
    const pattern = group.patternOfRow[chunk.firstRow + i];
    if (pattern !== NO_PATTERN) rows[pattern].push(i);
  }
  return rows
    .map((members, pattern) => ({ pattern, rows: Uint32Array.from(members) }))
    .filter((set) => set.rows.length > 0);
}

/** Sums one chunk's row sets on the GPU and merges them into the classes. */
async function addRowSets(
  device: ComputeDevice,
  x: WebGpuActivations,
  chunk: RowChunk,
  group: FeatureGroup,
  sets: readonly RowSet[],
  moments: PerClassMoments,
  maxBindingBytes: number,
  pacer: Pacer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const d = x.neurons;
  const offsets = new Uint32Array(sets.length + 1);
  for (const [s, { rows }] of sets.entries()) offsets[s + 1] = offsets[s] + rows.length;
  const members = new Uint32Array(offsets[sets.length]);
  for (const [s, { rows }] of sets.entries()) members.set(rows, offsets[s]);
  const blocks: number[] = [];
  const first = new Uint32Array(sets.length + 1);
  for (let s = 0; s < sets.length; s++) {
    for (let m = offsets[s]; m < offsets[s + 1]; m += BLOCK_ROWS) {
      blocks.push(m, Math.min(m + BLOCK_ROWS, offsets[s + 1]), s, 0);
    }
    first[s + 1] = blocks.length / 4;
  }
  const scope = device.scope();
  try {
    const blockTotal = blocks.length / 4;
    const batchBlocks = Math.min(
      blockTotal,
      Math.max(1, Math.floor(Math.min(PARTIAL_BYTES, maxBindingBytes) / (8 * d))),
    );
    const memberBuffer = await scope.allocateFrom("row sets", members, signal);
    const offsetBuffer = await scope.allocateFrom("row set offsets", offsets, signal);
    const blockBuffer = await scope.allocateFrom("row blocks", Uint32Array.from(blocks), signal);
    const firstBuffer = await scope.allocateFrom("first blocks", first, signal);
    const pivots = await scope.allocate("pivots", sets.length * d * 4);
    const partial = await scope.allocate("block sums", batchBlocks * 8 * d);
    const total = await scope.allocate("set sums", sets.length * 8 * d);
    const overrides = { storage_type: STORAGE_CODE[x.dtype] };
    const matrix = { x: bindingOf(chunk), code: x.codeBinding, members: memberBuffer };
    const width = momentsKernel.overrides.workgroup_size;
    const tiles = Math.ceil(d / width);
    const batch = device.batch("class moments");
    batch.dispatch(pivotsKernel, {
      bindings: { ...matrix, offsets: offsetBuffer, pivots },
      params: { neurons: d, sets: sets.length, samples: PIVOT_SAMPLES },
      overrides,
      workgroups: sets.length * tiles,
    });
    for (let firstBlock = 0; firstBlock < blockTotal; firstBlock += batchBlocks) {
      signal?.throwIfAborted();
      const count = Math.min(batchBlocks, blockTotal - firstBlock);
      batch.dispatch(momentsKernel, {
        bindings: { ...matrix, blocks: blockBuffer, pivots, partial },
        params: { neurons: d, first_block: firstBlock, block_count: count },
        overrides,
        workgroups: count * tiles,
      });
      batch.dispatch(totalKernel, {
        bindings: { first: firstBuffer, partial, total },
        params: { neurons: d, sets: sets.length, first_block: firstBlock, block_count: count },
        workgroups: sets.length * Math.ceil((2 * d) / totalKernel.overrides.workgroup_size),
      });
      batch.submit();
      // One batch under way at a time: an abort is then noticed within one batch.
      if (firstBlock + count < blockTotal) await device.idle();
    }
    const pivotValues = await device.readFloats(pivots, { signal });
    const sums = await device.readFloats(total, { signal });
    const mean = new Float64Array(d);
    const squares = new Float64Array(d);
    for (const [s, { pattern, rows }] of sets.entries()) {
      const n = rows.length;
      for (let j = 0; j < d; j++) {
        const shifted = sums[2 * s * d + j];
        mean[j] = pivotValues[s * d + j] + shifted / n;
        squares[j] = Math.max(0, sums[(2 * s + 1) * d + j] - (shifted * shifted) / n);
        // As on the CPU, a neuron that cannot be summed spoils only the features that label the row.
        if (!Number.isFinite(mean[j] + squares[j])) mean[j] = squares[j] = NaN;
      }
      for (const [at, label] of group.patterns[pattern].entries()) {
        if (label !== UNLABELLED) addToClass(moments, 2 * group.features[at] + label, n, mean, squares, 0);
      }
      if (pacer.due) await pacer.turn();
    }
  } finally {
    scope.dispose();
  }
}
