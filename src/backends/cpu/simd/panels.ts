/** Columns gathered into panels of eight in the kernels' memory, and weighted products of all pairs of them. */
import type { Activations } from "../../../data/activations.ts";
import { Scope } from "../wasm/kernel-memory.ts";
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

/** n rows × (1 + k) columns, the first of them all ones, in memory of their own. */
export interface Panels {
  readonly at: number;
  readonly rows: number;
  readonly count: number;
  /** Columns of x in columns 1 … k. */
  readonly columns: Uint32Array;
}

/**
 * Copies columns of the listed rows, as they are stored.
 * @param other panels of the same rows; what they have is taken from there, which is ten times as fast as from x
 */
export async function gatherPanels(
  pool: KernelPool,
  scope: Scope,
  x: Activations,
  list: Uint32Array,
  columns: Uint32Array,
  other?: Panels,
  signal?: AbortSignal,
): Promise<Panels> {
  const rows = list.length;
  const count = Math.ceil((columns.length + 1) / PANEL);
  const had = new Map<number, number>(other && Array.from(other.columns, (j, c) => [j, c + 1]));
  const [kept, added] = [true, false].map((has) =>
    Uint32Array.from(columns.keys()).filter((c) => had.has(columns[c]) === has),
  );
  const work = new Scope(pool.memory);
  try {
    // Zeros beyond the last column.
    const at = scope.zeros(4 * PANEL * count * rows);
    const copyOf = (values: Uint32Array, of: (c: number) => number): number => work.copyOf(values.map(of));
    await pool.run(
      "movePanels",
      Math.ceil(rows / BLOCK_ROWS),
      [
        at,
        rows,
        other?.at ?? 0,
        kept.length,
        copyOf(kept, (c) => had.get(columns[c])!),
        copyOf(kept, (c) => c + 1),
      ],
      { signal, operations: 4 * rows * (kept.length + 1) },
    );
    if (added.length > 0) {
      const places = new Uint32Array(x.rows).fill(NO_PLACE);
      for (const [place, i] of list.entries()) places[i] = place;
      const placesAt = work.copyOf(places);
      const from = copyOf(added, (c) => columns[c]);
      const to = copyOf(added, (c) => c + 1);
      const { scale, offset } = copyCode(work, x);
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
              from,
              added.length,
              scale,
              offset,
              at,
              rows,
              to,
            ],
            { signal, operations: 16 * block.rows * added.length },
          ),
        signal,
      );
    }
    return { at, rows, count, columns };
  } finally {
    work.close();
  }
}

/**
 * Σ_i weights[i]·(x_ir − center_r)·x_ic for all pairs of columns with c ≤ r, and those of r's own panel: [size × size] row-major,
 * size = 8·count. A view of the kernels' memory.
 * @param weights f64[rows] in the kernels' memory
 */
export async function panelGram(
  pool: KernelPool,
  scope: Scope,
  { at, rows, count }: Pick<Panels, "at" | "rows" | "count">,
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
