/** Some columns of some rows as float32 columns: the design of a probe. */
import type { Activations } from "../../../data/activations.ts";
import { halfTable } from "../../../data/float16.ts";
import type { Pacer } from "../pacer.ts";

/**
 * Column-major float32 copy of the columns and rows given, in their order.
 * @returns one array of `rows.length` values per column, all views of one buffer
 */
export async function gatherAsColumns(
  x: Activations,
  columns: Uint32Array,
  rows: Uint32Array,
  pacer: Pacer,
): Promise<Float32Array[]> {
  const out = new Float32Array(rows.length * columns.length);
  const d = x.neurons;
  const n = rows.length;
  const { data, code } = x;
  const table = x.dtype === "f16" ? halfTable() : undefined;
  // A tile of rows is read while it is in cache, and each column's part of it written in one go.
  const height = 64;
  for (let start = 0; start < n; start += height) {
    const end = Math.min(n, start + height);
    for (let c = 0; c < columns.length; c++) {
      const j = columns[c];
      const to = c * n;
      if (table) for (let i = start; i < end; i++) out[to + i] = table[data[rows[i] * d + j]];
      else if (code) {
        const scale = code.scale[j];
        const offset = code.offset[j];
        for (let i = start; i < end; i++) out[to + i] = Math.fround(scale * data[rows[i] * d + j]) + offset;
      } else for (let i = start; i < end; i++) out[to + i] = data[rows[i] * d + j];
    }
    if (pacer.due) await pacer.turn();
  }
  return Array.from(columns, (_, c) => out.subarray(c * n, (c + 1) * n));
}
