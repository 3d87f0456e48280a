/** Some columns of a matrix, row-major f32, by the SIMD kernels. */
import { Activations } from "../../../data/activations.ts";
import { ShapeError } from "../../../errors.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Rows of an item of `gatherRows`. */
const ITEM_ROWS = 64;

/** Bytes of gathered values in the kernels' memory. */
const STRETCH_BYTES = 8 * 2 ** 20;

/**
 * The columns given, in that order; groups and provenance are kept.
 * @throws ShapeError when a column does not exist
 */
export async function gatherColumns(
  pool: KernelPool,
  x: Activations,
  columns: Uint32Array,
  signal?: AbortSignal,
): Promise<Activations> {
  const { rows, neurons: d } = x;
  const k = columns.length;
  for (const j of columns) {
    if (j >= d) throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${d - 1}.`);
  }
  const out = new Float32Array(rows * k);
  const scope = new Scope(pool.memory);
  try {
    const { scale, offset } = copyCode(scope, x);
    const from = scope.copyOf(columns);
    // A matrix in place is one block: what is gathered of it leaves the kernels' memory stretch by stretch.
    const stretch = ITEM_ROWS * Math.max(1, Math.floor(STRETCH_BYTES / (4 * ITEM_ROWS * k)));
    const to = scope.allocate(4 * Math.min(stretch, rows) * k);
    const rowBytes = d * x.data.BYTES_PER_ELEMENT;
    await forEachRowBlock(
      pool,
      x,
      ITEM_ROWS,
      async (block) => {
        for (let start = 0; start < block.rows; start += stretch) {
          const count = Math.min(stretch, block.rows - start);
          await pool.run(
            "gatherRows",
            Math.ceil(count / ITEM_ROWS),
            [block.at + start * rowBytes, STORAGE_CODES[x.dtype], d, count, from, k, scale, offset, to],
            { signal, operations: 4 * count * k },
          );
          out.set(pool.memory.f32(to, count * k), (block.first + start) * k);
        }
      },
      signal,
    );
  } finally {
    scope.close();
  }
  const { provenance, groups } = x;
  return new Activations(out, [rows, k], { provenance, ...(groups && { groups }) });
}
