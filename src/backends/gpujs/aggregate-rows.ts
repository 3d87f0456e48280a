/** Token rows combined into one row per text, in WebGL2 textures. */
import { NonFiniteError } from "../../errors.ts";
import type { Aggregation, RowSegments } from "../backend.ts";
import { assertSegments } from "../row-segments.ts";
import { SPLIT_RESULTS, type GpuJsDevice, type GpuJsKernel } from "./device.ts";
import { GpuJsActivations, rowParts, type RowPart } from "./gpujs-activations.ts";

/** Adds to each segment what its rows in one texture contribute: 0 the sum, 1 the maximum, 2 the row. */
const accumulateKernel: GpuJsKernel = {
  label: "aggregate-rows",
  source: `function (before, x, members, starts, neurons, how) {
    const segment = Math.floor((this.thread.x + 0.5) / neurons);
    const neuron = this.thread.x - segment * neurons;
    const end = starts[segment + 1];
    let value = before[this.thread.x];
    for (let m = starts[segment]; m < end; m++) {
      const next = x[members[m] * neurons + neuron];
      if (how < 0.5) {
        value = value + next;
      } else if (how > 1.5 || next > value) {
        value = next;
      }
    }
    return value;
  }`,
};

const divideKernel: GpuJsKernel = {
  label: "aggregate-rows mean",
  source: `function (sums, counts, neurons) {
    return sums[this.thread.x] / counts[Math.floor((this.thread.x + 0.5) / neurons)];
  }`,
};

/** Value of the kernel's `how`. */
const HOW: Readonly<Record<Aggregation, number>> = { mean: 0, max: 1, last: 2, token: 2 };

/**
 * Combines the rows of each segment into one float32 row. An output row takes the group of its segment's first row.
 * A mean is a float32 sum in row order, so its error is at most γ·Σ|x|/n with γ = (n + 3)·2⁻²⁴/(1 − (n + 3)·2⁻²⁴).
 *
 * @throws ShapeError when a row does not exist or the offsets do not rise from 0 to the number of rows listed
 * @throws EmptyDataError when a segment has no rows
 * @throws NonFiniteError when a sum could exceed float32
 */
export async function aggregateRows(
  device: GpuJsDevice,
  x: GpuJsActivations,
  aggregation: Aggregation,
  segments: RowSegments,
  textureValues: number,
  signal: AbortSignal | undefined,
): Promise<GpuJsActivations> {
  signal?.throwIfAborted();
  const { rows } = segments;
  const offsets =
    aggregation === "token" ? Uint32Array.from({ length: rows.length + 1 }, (_, i) => i) : segments.offsets;
  assertSegments(x.rows, rows, offsets);
  const outputs = offsets.length - 1;
  if (aggregation === "mean" && x.largest * rows.length > 2 ** 127) {
    throw new NonFiniteError(
      `The activations reach ${x.largest}, too large to add up in float32.`,
      "Rescale them, or use the CPU backend.",
    );
  }
  // The last row of a segment may lie in a texture before the others: only that row is visited.
  const single = aggregation === "last" || aggregation === "token";
  const listed = single ? Uint32Array.from({ length: outputs }, (_, r) => rows[offsets[r + 1] - 1]) : rows;
  const bounds = single ? Uint32Array.from({ length: outputs + 1 }, (_, r) => r) : offsets;
  const d = x.neurons;
  const parts: RowPart[] = [];
  try {
    for (const part of rowParts(outputs, d, Math.min(textureValues, SPLIT_RESULTS))) {
      const within = bounds.subarray(part.firstRow, part.firstRow + part.rows + 1);
      let texture = await device.store(
        new Float32Array(part.rows * d).fill(aggregation === "max" ? -x.largest : 0),
      );
      const replace = async (kernel: GpuJsKernel, args: Parameters<GpuJsDevice["compute"]>[2]) => {
        const before = texture;
        try {
          texture = await device.compute(kernel, part.rows * d, [before, ...args]);
        } finally {
          before.dispose();
        }
      };
      for (const source of x.parts) {
        signal?.throwIfAborted();
        const { members, starts } = membersInside(listed, within, source);
        if (members.length === 0) continue;
        await replace(accumulateKernel, [source.texture, members, starts, d, HOW[aggregation]]);
      }
      if (aggregation === "mean") {
        const counts = Uint32Array.from({ length: part.rows }, (_, r) => within[r + 1] - within[r]);
        await replace(divideKernel, [counts, d]);
      }
      parts.push({ ...part, texture });
    }
    device.assertHealthy();
  } catch (error) {
    for (const { texture } of parts) texture.dispose();
    throw error;
  }
  const { tokens, ...provenance } = x.provenance;
  const kept = aggregation === "token" && tokens ? { tokens: Array.from(rows, (i) => tokens[i]) } : {};
  return new GpuJsActivations(device, {
    rows: outputs,
    neurons: d,
    dtype: "f32",
    parts,
    groups: x.groups && Array.from({ length: outputs }, (_, r) => x.groups![rows[offsets[r]]]),
    provenance: { ...provenance, ...kept, aggregation },
    largest: x.largest,
  });
}

/** The members of some segments that lie in one texture, counted from its first row. */
function membersInside(
  rows: Uint32Array,
  offsets: Uint32Array,
  { firstRow, rows: height }: RowPart,
): { members: Uint32Array; starts: Uint32Array } {
  const starts = new Uint32Array(offsets.length);
  const members: number[] = [];
  for (let r = 0; r + 1 < offsets.length; r++) {
    for (let m = offsets[r]; m < offsets[r + 1]; m++) {
      const i = rows[m] - firstRow;
      if (i >= 0 && i < height) members.push(i);
    }
    starts[r + 1] = members.length;
  }
  return { members: Uint32Array.from(members), starts };
}
