/** Columns gathered into panels of eight in the kernels' memory, and weighted products of all pairs of them. */
import type { Activations } from "../../../data/activations.ts";
import type { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Columns of a panel. */
export const PANEL = 8;

/** Rows of an item of `gatherPanels`, and of a float32 sum of `panelGram`. */
const GATHER_ROWS = 64;
export const BLOCK_ROWS = 512;

/** Products in an item of `panelGram`, at most: about 4 ms. */
const ITEM_PRODUCTS = 1e8;

const NO_PLACE = 0xffffffff;

/** n rows × (1 + k) columns, the first of them all ones. */
export interface Panels {
  readonly at: number;
  readonly rows: number;
  readonly count: number;
}

/** Copies columns of the listed rows, as they are stored; the memory is the scope's. */
export async function gatherPanels(
  pool: KernelPool,
  scope: Scope,
  x: Activations,
  list: Uint32Array,
  columns: Uint32Array,
  signal?: AbortSignal,
): Promise<Panels> {
  const k = columns.length;
  const count = Math.ceil((k + 1) / PANEL);
  const places = new Uint32Array(x.rows).fill(NO_PLACE);
  for (const [place, i] of list.entries()) places[i] = place;
  const at = scope.allocate(4 * PANEL * count * list.length);
  const placesAt = scope.copyOf(places);
  const columnsAt = scope.copyOf(columns);
  const { scale, offset } = copyCode(scope, x);
  await forEachRowBlock(
    pool,
    x,
    GATHER_ROWS,
    (block) =>
      pool.run(
        "gatherPanels",
        Math.ceil(block.rows / GATHER_ROWS),
        [
          block.at,
          STORAGE_CODES[x.dtype],
          x.neurons,
          block.rows,
          block.first,
          placesAt,
          columnsAt,
          k,
          scale,
          offset,
          at,
          list.length,
        ],
        { signal, operations: 8 * block.rows * (k + 1) },
      ),
    signal,
  );
  return { at, rows: list.length, count };
}

/**
 * Σ_i weights[i]·(x_ir − center_r)·x_ic for all pairs of columns with c ≤ r, and those of r's own panel: [size × size] row-major,
 * size = 8·count. A view of the kernels' memory.
 * @param weights f64[rows] in the kernels' memory
 */
export async function panelGram(
  pool: KernelPool,
  scope: Scope,
  { at, rows, count }: Panels,
  weights: number,
  center: Float32Array,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const size = PANEL * count;
  const centerAt = scope.copyOf(center);
  const out = scope.zeros(8 * size * size);
  const scratch = scope.allocate(pool.threads * 4 * PANEL * BLOCK_ROWS);
  const height = BLOCK_ROWS * Math.max(1, Math.floor(ITEM_PRODUCTS / (PANEL * size * BLOCK_ROWS)));
  for (let first = 0; first < rows; first += height) {
    const end = Math.min(rows, first + height);
    await pool.run("panelGram", count, [at, count, rows, first, end, weights, centerAt, out, scratch], {
      signal,
      operations: (end - first) * size * size,
    });
  }
  return pool.memory.f64(out, size * size);
}
