/** Token rows combined into one row per text: the mean, the maximum or the last of a segment's rows. */
import { Activations } from "../../../data/activations.ts";
import type { Aggregation, RowSegments } from "../../backend.ts";
import { assertAggregation, assertSegments } from "../../row-segments.ts";
import type { Pacer } from "../pacer.ts";

/**
 * Combines the rows of each segment into one float32 row; sums run in float64. An output row takes the group of its
 * segment's first row.
 *
 * @throws OptionError when the aggregation is unknown
 * @throws ShapeError when a row does not exist or the offsets do not rise from 0 to the number of rows listed
 * @throws EmptyDataError when a segment has no rows
 */
export async function aggregateRows(
  x: Activations,
  aggregation: Aggregation,
  segments: RowSegments,
  pacer: Pacer,
): Promise<Activations> {
  assertAggregation(aggregation);
  const { rows } = segments;
  const offsets =
    aggregation === "token" ? Uint32Array.from({ length: rows.length + 1 }, (_, i) => i) : segments.offsets;
  assertSegments(x.rows, rows, offsets);
  const d = x.neurons;
  const outputs = offsets.length - 1;
  const out = new Float32Array(outputs * d);
  const row = new Float32Array(d);
  const sum = new Float64Array(d);
  for (let r = 0; r < outputs; r++) {
    const start = offsets[r];
    const end = offsets[r + 1];
    const target = out.subarray(r * d, (r + 1) * d);
    switch (aggregation) {
      case "token":
      case "last":
        x.decodeRow(rows[end - 1], target);
        break;
      case "mean":
        sum.fill(0);
        for (let i = start; i < end; i++) {
          x.decodeRow(rows[i], row);
          for (let j = 0; j < d; j++) sum[j] += row[j];
        }
        for (let j = 0; j < d; j++) target[j] = sum[j] / (end - start);
        break;
      case "max":
        x.decodeRow(rows[start], target);
        for (let i = start + 1; i < end; i++) {
          x.decodeRow(rows[i], row);
          for (let j = 0; j < d; j++) if (row[j] > target[j]) target[j] = row[j];
        }
        break;
    }
    if ((r & 15) === 15 && pacer.due) await pacer.turn();
  }
  const { tokens, ...provenance } = x.provenance;
  const kept = aggregation === "token" && tokens ? { tokens: Array.from(rows, (i) => tokens[i]) } : {};
  return new Activations(out, [outputs, d], {
    provenance: { ...provenance, ...kept, aggregation },
    ...(x.groups && { groups: Array.from({ length: outputs }, (_, r) => x.groups![rows[offsets[r]]]) }),
  });
}
