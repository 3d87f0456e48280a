/** Token rows combined into one row per text, on the GPU. */
import gridSource from "#shaders/lib/grid.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import kernelSource from "#shaders/aggregate-rows.wgsl";
import type { Aggregation, RowSegments } from "../backend.ts";
import { assertAggregation, assertSegments } from "../cpu/reference/aggregate-rows.ts";
import type { ComputeDevice } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import {
  allocateActivations,
  bindingOf,
  STORAGE_CODE,
  type WebGpuActivations,
} from "./webgpu-activations.ts";

const aggregateKernel = defineKernel({
  label: "aggregate-rows",
  source: gridSource + storageSource + kernelSource,
  entryPoint: "aggregate_rows",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    members: "storage-read",
    offsets: "storage-read",
    out: "storage-read-write",
    params: "uniform",
  },
  params: {
    neurons: "u32",
    segments: "u32",
    first_segment: "u32",
    first_row: "u32",
    chunk_rows: "u32",
    first_chunk: "u32",
  },
  overrides: { storage_type: 0, workgroup_size: 64, aggregation: 0 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const aggregateRowsKernels: readonly Kernel[] = [aggregateKernel];

/** Value of the kernel's `aggregation` override; a token's row is the last of a segment of one. */
const AGGREGATION_CODE: Readonly<Record<Aggregation, number>> = { mean: 0, max: 1, last: 2, token: 2 };

/**
 * Combines the rows of each segment into one float32 row. An output row takes the group of its segment's first row.
 * A mean is a float32 sum in row order: its error is at most γ_n·Σ|x|/n with γ_n = n·2⁻²⁴/(1 − n·2⁻²⁴).
 *
 * @throws OptionError when the aggregation is unknown
 * @throws ShapeError when a row does not exist or the offsets do not rise from 0 to the number of rows listed
 * @throws EmptyDataError when a segment has no rows
 */
export async function aggregateRows(
  device: ComputeDevice,
  x: WebGpuActivations,
  aggregation: Aggregation,
  segments: RowSegments,
  maxBindingBytes: number,
  signal?: AbortSignal,
): Promise<WebGpuActivations> {
  signal?.throwIfAborted();
  assertAggregation(aggregation);
  const { rows } = segments;
  const offsets =
    aggregation === "token" ? Uint32Array.from({ length: rows.length + 1 }, (_, i) => i) : segments.offsets;
  assertSegments(x.rows, rows, offsets);
  const outputs = offsets.length - 1;
  const { tokens, ...provenance } = x.provenance;
  const kept = aggregation === "token" && tokens ? { tokens: Array.from(rows, (i) => tokens[i]) } : {};
  const result = await allocateActivations(
    device,
    `${aggregation} rows`,
    { rows: outputs, neurons: x.neurons },
    maxBindingBytes,
    {
      provenance: { ...provenance, ...kept, aggregation },
      groups: x.groups && Array.from({ length: outputs }, (_, r) => x.groups![rows[offsets[r]]]),
    },
  );
  const scope = device.scope();
  try {
    scope.add(result);
    const members = await scope.allocateFrom("members", rows, signal);
    const offsetBuffer = await scope.allocateFrom("segment offsets", offsets, signal);
    const tiles = Math.ceil(x.neurons / aggregateKernel.overrides.workgroup_size);
    for (const part of result.chunks) {
      for (const [c, chunk] of x.chunks.entries()) {
        signal?.throwIfAborted();
        device
          .batch("aggregate rows")
          .dispatch(aggregateKernel, {
            bindings: {
              x: bindingOf(chunk),
              code: x.codeBinding,
              members,
              offsets: offsetBuffer,
              out: bindingOf(part),
            },
            params: {
              neurons: x.neurons,
              segments: part.rows,
              first_segment: part.firstRow,
              first_row: chunk.firstRow,
              chunk_rows: chunk.rows,
              first_chunk: c === 0 ? 1 : 0,
            },
            overrides: { storage_type: STORAGE_CODE[x.dtype], aggregation: AGGREGATION_CODE[aggregation] },
            workgroups: part.rows * tiles,
          })
          .submit();
      }
    }
    await device.settled();
    return scope.release(result);
  } finally {
    scope.dispose();
  }
}
