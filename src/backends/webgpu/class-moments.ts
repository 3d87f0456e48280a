/**
 * Class moments on the GPU. A few label sets are served by one read of the matrix (*row sets*), many by one read for every
 * sixteen (*subsets*).
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
 *
 * With many label sets the sets of rows would be many too, and merging them on the host the longer part of the work. Then
 * each feature has a subset of rows, its rarer class, which is summed as such; the other class is what that leaves of the
 * sums over all rows, or a subset of its own where some rows have no label. The pivot is one for all rows, so δ is up to the
 * distance between a class and the mean of all; and a difference of two sums has the errors of both, three times that of
 * the larger class at most, since that is at least half of the rows.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import momentsSource from "#shaders/class-moments.wgsl";
import pivotsSource from "#shaders/class-pivots.wgsl";
import totalSource from "#shaders/class-moments-total.wgsl";
import subsetSource from "#shaders/subset-moments.wgsl";
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
import { together, type ComputeDevice } from "./device.ts";
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
  overrides: { storage_type: 0, workgroup_size: 64, whole_words: 1 },
});

const subsetKernel = defineKernel({
  label: "subset-moments",
  source: gridSource + storageSource + subsetSource,
  entryPoint: "subset_moments",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    subsets: "storage-read",
    pivots: "storage-read",
    partial: "storage-read-write",
    params: "uniform",
  },
  params: { rows: "u32", neurons: "u32", subset_count: "u32", slices: "u32", slice_rows: "u32" },
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
export const classMomentsKernels: readonly Kernel[] = [
  pivotsKernel,
  momentsKernel,
  subsetKernel,
  totalKernel,
];

/** Rows that one workgroup sums. */
const BLOCK_ROWS = 256;
/** Rows whose mean is a pivot. */
const PIVOT_SAMPLES = 64;
/** Bytes of block sums held at once. */
const PARTIAL_BYTES = 64 * 2 ** 20;
/** Products of row sets and features up to which the host merges them: 64 × 8192 neurons take it a few milliseconds. */
const MOST_MERGES = 64;
/** Subsets of rows summed together, and the threads that fill a large GPU. */
const MOST_SUBSETS = 128;
const WANTED_THREADS = 262_144;
const LEAST_SLICE_ROWS = 128;
const MOST_SLICE_ROWS = 1024;

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
  const groups = groupFeatures(labels);
  const merges = groups.reduce((sum, group) => sum + group.patterns.length * group.features.length, 0);
  if (groups.length > 1 || merges > MOST_MERGES) {
    for (const chunk of x.chunks) {
      await addSubsets(device, x, chunk, labels, moments, maxBindingBytes, pacer, signal);
    }
    return keepSquares(moments, squares);
  }
  for (const group of groups) {
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
    const [memberBuffer, offsetBuffer, blockBuffer, firstBuffer, pivots, partial, total] = await together([
      scope.allocateFrom("row sets", members, signal),
      scope.allocateFrom("row set offsets", offsets, signal),
      scope.allocateFrom("row blocks", Uint32Array.from(blocks), signal),
      scope.allocateFrom("first blocks", first, signal),
      scope.allocate("pivots", sets.length * d * 4),
      scope.allocate("block sums", batchBlocks * 8 * d),
      scope.allocate("set sums", sets.length * 8 * d),
    ]);
    const storage_type = STORAGE_CODE[x.dtype];
    const perWord = 2 ** storage_type;
    const whole = d % perWord === 0;
    await device.prepare([
      [pivotsKernel, { storage_type }],
      [momentsKernel, { storage_type, whole_words: whole ? 1 : 0 }],
      [totalKernel],
    ]);
    const matrix = { x: bindingOf(chunk), code: x.codeBinding, members: memberBuffer };
    const tiles = Math.ceil((whole ? d / perWord : d) / momentsKernel.overrides.workgroup_size);
    const batch = device.batch("class moments");
    batch.dispatch(pivotsKernel, {
      bindings: { ...matrix, offsets: offsetBuffer, pivots },
      params: { neurons: d, sets: sets.length, samples: PIVOT_SAMPLES },
      overrides: { storage_type },
      workgroups: sets.length * Math.ceil(d / pivotsKernel.overrides.workgroup_size),
    });
    for (let firstBlock = 0; firstBlock < blockTotal; firstBlock += batchBlocks) {
      signal?.throwIfAborted();
      const count = Math.min(batchBlocks, blockTotal - firstBlock);
      batch.dispatch(momentsKernel, {
        bindings: { ...matrix, blocks: blockBuffer, pivots, partial },
        params: { neurons: d, first_block: firstBlock, block_count: count },
        overrides: { storage_type, whole_words: whole ? 1 : 0 },
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
    const [pivotValues, sums] = await Promise.all([
      device.readFloats(pivots, { signal }),
      device.readFloats(total, { signal }),
    ]);
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

/** Rows of a class of a feature that are summed as such. */
interface Subset {
  readonly feature: number;
  readonly label: number;
}

/** Sums the classes of every feature over one chunk, a subset of rows each, and adds them to the moments. */
async function addSubsets(
  device: ComputeDevice,
  x: WebGpuActivations,
  chunk: RowChunk,
  labels: LabelMatrix,
  moments: PerClassMoments,
  maxBindingBytes: number,
  pacer: Pacer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const d = x.neurons;
  const all = labels.features.map((_, feature) => feature);
  const rowBytes = 8 * d;
  const sums = Math.floor(Math.min(PARTIAL_BYTES, maxBindingBytes) / rowBytes) - 1;
  const bits = 16 * Math.floor(maxBindingBytes / (2 * chunk.rows + 8));
  const most = Math.min(MOST_SUBSETS, sums, bits);
  const perRead = Math.max(1, Math.floor(most / 2));
  for (let from = 0; from < all.length; from += perRead) {
    const features = all.slice(from, from + perRead);
    if (await addFeatures(device, x, chunk, labels, features, false, moments, maxBindingBytes, pacer, signal))
      continue;
    // Something is not finite: differences would carry it from one class to the other.
    await addFeatures(device, x, chunk, labels, features, true, moments, maxBindingBytes, pacer, signal);
  }
}

/**
 * Sums the classes of some features over one chunk, with differences unless `apart`. Returns false, with nothing added, when
 * differences would have been taken of sums that are not finite.
 */
async function addFeatures(
  device: ComputeDevice,
  x: WebGpuActivations,
  { firstRow, rows, ...binding }: RowChunk,
  labels: LabelMatrix,
  features: readonly number[],
  apart: boolean,
  moments: PerClassMoments,
  maxBindingBytes: number,
  pacer: Pacer,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const d = x.neurons;
  const subsets: Subset[] = [];
  const counts = features.map((feature) => {
    const count: [number, number] = [0, 0];
    for (const label of labels.of(feature).subarray(firstRow, firstRow + rows)) {
      if (label !== UNLABELLED) count[label]++;
    }
    return count;
  });
  const byDifference = counts.map(([negatives, positives]) => !apart && negatives + positives === rows);
  for (const [at, feature] of features.entries()) {
    const rarer = counts[at][0] < counts[at][1] ? 0 : 1;
    subsets.push({ feature, label: rarer });
    if (!byDifference[at]) subsets.push({ feature, label: 1 - rarer });
  }
  const everyRow = subsets.length;
  const subsetCount = everyRow + (byDifference.includes(true) ? 1 : 0);
  const wordsPerGroup = 2 * Math.ceil(rows / 4);
  const groups = Math.ceil(subsetCount / 16);
  const bits = new Uint16Array(2 * groups * wordsPerGroup);
  for (let s = 0; s < subsetCount; s++) {
    const base = 2 * (s >> 4) * wordsPerGroup;
    const bit = 1 << (s & 15);
    const values =
      s < everyRow ? labels.of(subsets[s].feature).subarray(firstRow, firstRow + rows) : undefined;
    for (let i = 0; i < rows; i++) if (!values || values[i] === subsets[s].label) bits[base + i] |= bit;
    if (pacer.due) await pacer.turn();
  }
  const partialBytes = Math.min(PARTIAL_BYTES, maxBindingBytes);
  const room = Math.max(1, Math.floor(partialBytes / (subsetCount * 8 * d)));
  const wanted = Math.min(Math.ceil(WANTED_THREADS / (d * groups)), Math.ceil(rows / LEAST_SLICE_ROWS));
  const slices = Math.min(room, Math.max(wanted, Math.ceil(rows / MOST_SLICE_ROWS)));
  const samples = Math.min(PIVOT_SAMPLES, rows);
  const sampled = Uint32Array.from({ length: samples }, (_, i) => Math.floor((i * rows) / samples));
  const scope = device.scope();
  try {
    const [subsetBuffer, members, offsets, first, pivots, partial, total] = await together([
      scope.allocateFrom("row subsets", bits, signal),
      scope.allocateFrom("sampled rows", sampled, signal),
      scope.allocateFrom("row set offsets", Uint32Array.of(0, samples), signal),
      scope.allocateFrom(
        "first slices",
        Uint32Array.from({ length: subsetCount + 1 }, (_, s) => s * slices),
        signal,
      ),
      scope.allocate("pivots", d * 4),
      scope.allocate("slice sums", subsetCount * slices * 8 * d),
      scope.allocate("subset sums", subsetCount * 8 * d),
    ]);
    const overrides = { storage_type: STORAGE_CODE[x.dtype] };
    await device.prepare([[pivotsKernel, overrides], [subsetKernel, overrides], [totalKernel]]);
    const matrix = { x: binding, code: x.codeBinding };
    const tiles = Math.ceil(d / subsetKernel.overrides.workgroup_size);
    device
      .batch("class moments of many label sets")
      .dispatch(pivotsKernel, {
        bindings: { ...matrix, members, offsets, pivots },
        params: { neurons: d, sets: 1, samples: PIVOT_SAMPLES },
        overrides,
        workgroups: tiles,
      })
      .dispatch(subsetKernel, {
        bindings: { ...matrix, subsets: subsetBuffer, pivots, partial },
        params: {
          rows,
          neurons: d,
          subset_count: subsetCount,
          slices,
          slice_rows: 4 * Math.ceil(rows / (4 * slices)),
        },
        overrides,
        workgroups: groups * tiles * slices,
      })
      .dispatch(totalKernel, {
        bindings: { first, partial, total },
        params: { neurons: d, sets: subsetCount, first_block: 0, block_count: subsetCount * slices },
        workgroups: subsetCount * Math.ceil((2 * d) / totalKernel.overrides.workgroup_size),
      })
      .submit();
    const [pivotValues, sums] = await Promise.all([
      device.readFloats(pivots, { signal }),
      device.readFloats(total, { signal }),
    ]);
    if (subsetCount > everyRow && !sums.subarray(2 * everyRow * d).every(Number.isFinite)) return false;
    const mean = new Float64Array(d);
    const squares = new Float64Array(d);
    const add = (feature: number, label: number, n: number, own: number, from?: number): void => {
      if (n === 0) return;
      for (let j = 0; j < d; j++) {
        let shifted = sums[2 * own * d + j];
        let square = sums[(2 * own + 1) * d + j];
        if (from !== undefined) {
          shifted = sums[2 * from * d + j] - shifted;
          square = sums[(2 * from + 1) * d + j] - square;
        }
        mean[j] = pivotValues[j] + shifted / n;
        squares[j] = Math.max(0, square - (shifted * shifted) / n);
        if (!Number.isFinite(mean[j] + squares[j])) mean[j] = squares[j] = NaN;
      }
      addToClass(moments, 2 * feature + label, n, mean, squares, 0);
    };
    for (const [s, { feature, label }] of subsets.entries()) {
      const at = features.indexOf(feature);
      add(feature, label, counts[at][label], s);
      if (byDifference[at]) add(feature, 1 - label, counts[at][1 - label], s, everyRow);
      if (pacer.due) await pacer.turn();
    }
    return true;
  } finally {
    scope.dispose();
  }
}
