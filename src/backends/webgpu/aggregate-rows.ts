/** Token rows combined into one row per text, on the GPU. */
import gridSource from "#shaders/lib/grid.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import kernelSource from "#shaders/aggregate-rows.wgsl";
import type { GroupId, Provenance } from "../../data/activations.ts";
import type { Aggregation, RowSegments } from "../backend.ts";
import { assertAggregation, assertSegments } from "../row-segments.ts";
import { together, type ComputeDevice } from "./device.ts";
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
    divisors: "storage-read",
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

/** Rows from which on a segment is cut into parts, so that no thread adds up a long text by itself. */
const LONG_SEGMENT = 512;
const PART_ROWS = 128;

/**
 * Combines the rows of each segment into one float32 row. An output row takes the group of its segment's first row.
 * A mean is a float32 sum in row order, of parts where a segment is long: its error is at most γ_n·Σ|x|/n with
 * γ_n = n·2⁻²⁴/(1 − n·2⁻²⁴).
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
  const lengths = Float32Array.from({ length: offsets.length - 1 }, (_, r) => offsets[r + 1] - offsets[r]);
  const parts = aggregation === "mean" || aggregation === "max" ? partsOf(offsets) : undefined;
  if (parts === undefined) {
    const segment = { rows, offsets, divisors: lengths };
    return combine(
      device,
      x,
      aggregation,
      segment,
      provenanceOf(x, aggregation, rows, offsets),
      maxBindingBytes,
      signal,
    );
  }
  // The parts of a mean are divided by the length of their segment, so that the segment's mean is their sum.
  const divisors = Float32Array.from(parts.segment, (r) => lengths[r]);
  const within = { rows, offsets: parts.offsets, divisors };
  const combined = await combine(device, x, aggregation, within, {}, maxBindingBytes, signal);
  try {
    const every = Uint32Array.from({ length: combined.rows }, (_, i) => i);
    const whole = {
      rows: every,
      offsets: parts.partsOfSegment,
      divisors: new Float32Array(lengths.length).fill(1),
    };
    const labels = provenanceOf(x, aggregation, rows, offsets);
    return await combine(device, combined, aggregation, whole, labels, maxBindingBytes, signal);
  } finally {
    combined.dispose();
  }
}

/** Segments cut into parts of at most {@link PART_ROWS} rows; nothing when none is long. */
function partsOf(
  offsets: Uint32Array,
): { offsets: Uint32Array; segment: Uint32Array; partsOfSegment: Uint32Array } | undefined {
  const ends: number[] = [0];
  const segment: number[] = [];
  const partsOfSegment: number[] = [0];
  let longest = 0;
  for (let r = 0; r + 1 < offsets.length; r++) {
    longest = Math.max(longest, offsets[r + 1] - offsets[r]);
    for (let start = offsets[r]; start < offsets[r + 1]; start += PART_ROWS) {
      ends.push(Math.min(start + PART_ROWS, offsets[r + 1]));
      segment.push(r);
    }
    partsOfSegment.push(segment.length);
  }
  if (longest < LONG_SEGMENT) return undefined;
  return {
    offsets: Uint32Array.from(ends),
    segment: Uint32Array.from(segment),
    partsOfSegment: Uint32Array.from(partsOfSegment),
  };
}

interface RowLabels {
  readonly groups?: readonly GroupId[] | undefined;
  readonly provenance?: Provenance | undefined;
}

/** Groups and provenance of combined rows. */
function provenanceOf(
  x: WebGpuActivations,
  aggregation: Aggregation,
  rows: Uint32Array,
  offsets: Uint32Array,
): RowLabels {
  const { tokens, ...provenance } = x.provenance;
  const kept = aggregation === "token" && tokens ? { tokens: Array.from(rows, (i) => tokens[i]) } : {};
  return {
    provenance: { ...provenance, ...kept, aggregation },
    groups: x.groups && Array.from({ length: offsets.length - 1 }, (_, r) => x.groups![rows[offsets[r]]]),
  };
}

/** One row per segment, on the device. */
async function combine(
  device: ComputeDevice,
  x: WebGpuActivations,
  aggregation: Aggregation,
  { rows, offsets, divisors }: RowSegments & { readonly divisors: Float32Array },
  labels: RowLabels,
  maxBindingBytes: number,
  signal: AbortSignal | undefined,
): Promise<WebGpuActivations> {
  const shape = { rows: offsets.length - 1, neurons: x.neurons };
  const result = await allocateActivations(device, `${aggregation} rows`, shape, maxBindingBytes, labels);
  const scope = device.scope();
  try {
    scope.add(result);
    const [members, offsetBuffer, divisorBuffer] = await together([
      scope.allocateFrom("members", rows, signal),
      scope.allocateFrom("segment offsets", offsets, signal),
      scope.allocateFrom("segment lengths", divisors, signal),
    ]);
    const overrides = { storage_type: STORAGE_CODE[x.dtype], aggregation: AGGREGATION_CODE[aggregation] };
    await device.prepare([[aggregateKernel, overrides]]);
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
              divisors: divisorBuffer,
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
            overrides,
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
