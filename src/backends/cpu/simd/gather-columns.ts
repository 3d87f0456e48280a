/** Some columns of a matrix, row-major f32, by the SIMD kernels. */
import { Activations } from "../../../data/activations.ts";
import { ShapeError } from "../../../errors.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Rows of an item of `gatherRows`. */
const ITEM_ROWS = 64;

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
    await forEachRowBlock(
      pool,
      x,
      ITEM_ROWS,
      async (block) => {
        const part = new Scope(pool.memory);
        try {
          const to = part.allocate(4 * block.rows * k);
          await pool.run(
            "gatherRows",
            Math.ceil(block.rows / ITEM_ROWS),
            [block.at, STORAGE_CODES[x.dtype], d, block.rows, from, k, scale, offset, to],
            { signal, operations: 4 * block.rows * k },
          );
          out.set(pool.memory.f32(to, block.rows * k), block.first * k);
        } finally {
          part.close();
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
