/** Some columns of a matrix on the GPU as float32, row-major for the host or column-major for fits. */
import gridSource from "#shaders/lib/grid.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import kernelSource from "#shaders/gather-columns.wgsl";
import { Activations } from "../../data/activations.ts";
import { ShapeError } from "../../errors.ts";
import type { ComputeBuffer, ComputeDevice } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { bindingOf, rowChunks, STORAGE_CODE, type WebGpuActivations } from "./webgpu-activations.ts";

const gatherKernel = defineKernel({
  label: "gather-columns",
  source: gridSource + storageSource + kernelSource,
  entryPoint: "gather_columns",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    rows: "storage-read",
    columns: "storage-read",
    out: "storage-read-write",
    params: "uniform",
  },
  params: {
    neurons: "u32",
    row_count: "u32",
    column_count: "u32",
    first_out: "u32",
    row_stride: "u32",
    column_stride: "u32",
  },
  overrides: { storage_type: 0, workgroup_size: 128 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const gatherColumnsKernels: readonly Kernel[] = [gatherKernel];

/** Workgroups that cover rows × columns: one per tile, as the kernel lays them out. */
export function gatherTiles(rows: number, columns: number): number {
  const across = Math.min(columns, 16);
  return Math.ceil(rows / Math.floor(512 / across)) * Math.ceil(columns / across);
}

/** Where the values go: element (r, c) at r·rowStride + c·columnStride. */
export interface GatherLayout {
  readonly rowStride: number;
  readonly columnStride: number;
}

/** Gathers `columns` of `rows` (ascending) into `out`; submitted, not awaited. The caller has checked the indices. */
export async function gatherInto(
  device: ComputeDevice,
  x: WebGpuActivations,
  rows: Uint32Array,
  columns: Uint32Array,
  out: ComputeBuffer,
  { rowStride, columnStride }: GatherLayout,
  signal?: AbortSignal,
): Promise<void> {
  const overrides = { storage_type: STORAGE_CODE[x.dtype] };
  const compiled = device.prepare([[gatherKernel, overrides]]);
  // The columns travel while the kernel compiles; a failure of either is reported below.
  compiled.catch(() => undefined);
  const scope = device.scope();
  try {
    const columnBuffer = await scope.allocateFrom("columns", columns, signal);
    await compiled;
    let firstOut = 0;
    for (const chunk of x.chunks) {
      const inside = rowsInside(rows, chunk.firstRow, chunk.rows);
      if (inside.length === 0) continue;
      const rowBuffer = await scope.allocateFrom("rows", inside, signal);
      device
        .batch("gather columns")
        .dispatch(gatherKernel, {
          bindings: { x: bindingOf(chunk), code: x.codeBinding, rows: rowBuffer, columns: columnBuffer, out },
          params: {
            neurons: x.neurons,
            row_count: inside.length,
            column_count: columns.length,
            first_out: firstOut,
            row_stride: rowStride,
            column_stride: columnStride,
          },
          overrides,
          workgroups: gatherTiles(inside.length, columns.length),
        })
        .submit();
      firstOut += inside.length;
    }
  } finally {
    // Destroying a buffer leaves work that was submitted before to finish.
    scope.dispose();
  }
}

/** Those of `rows` (ascending) in [first, first + count), counted from first. */
export function rowsInside(rows: Uint32Array, first: number, count: number): Uint32Array {
  const from = lowerBound(rows, first);
  const to = lowerBound(rows, first + count);
  return rows.slice(from, to).map((row) => row - first);
}

function lowerBound(sorted: Uint32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Host copy [rows × columns.length], row-major.
 * @throws ShapeError when a column does not exist
 */
export async function gatherColumns(
  device: ComputeDevice,
  x: WebGpuActivations,
  columns: Uint32Array,
  maxBindingBytes: number,
  signal?: AbortSignal,
): Promise<Activations> {
  for (const j of columns) {
    if (j >= x.neurons) {
      throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${x.neurons - 1}.`);
    }
  }
  const k = columns.length;
  const values = new Float32Array(x.rows * k);
  if (k > 0) {
    for (const part of rowChunks(x.rows, k * 4, Math.min(maxBindingBytes, READ_BYTES))) {
      signal?.throwIfAborted();
      const rows = Uint32Array.from({ length: part.rows }, (_, i) => part.firstRow + i);
      const scope = device.scope();
      try {
        const out = await scope.allocate("gathered columns", part.rows * k * 4);
        await gatherInto(device, x, rows, columns, out, { rowStride: k, columnStride: 1 }, signal);
        values.set(await device.readFloats(out, { signal }), part.firstRow * k);
      } finally {
        scope.dispose();
      }
    }
  }
  return new Activations(values, [x.rows, k], {
    ...(x.groups && { groups: x.groups }),
    provenance: x.provenance,
  });
}

/** Bytes gathered before they are read back. */
const READ_BYTES = 64 * 2 ** 20;
