/** One pass over all columns of a matrix's labelled rows: decision values, what follows from them, and Xᵀ times that. */
import type { Activations } from "../../../data/activations.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, inPlace, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Sums of a pass are kept in this many parts, which bounds their memory and the items that run at once. */
const SLABS = 32;

/** Bytes of rows in an item: about 2 ms of reading in place; what stays in the second-level cache where rows are copied. */
const ITEM_BYTES = 8 * 2 ** 20;
const COPIED_ITEM_BYTES = 2 ** 20;

/** Bytes before the gradient in a slab (assembly/logistic-row.ts). */
const HEAD = 32;

/** What follows from a row's decision value, as the kernel numbers it. */
const FOLLOW_UP = { residual: 0, product: 1, given: 2 } as const;

/** Sums over the rows of a pass. */
export interface PassSums {
  /** Σ over the rows of what followed. */
  readonly total: number;
  readonly loss: number;
  /** Least margin of a row; Infinity where no losses were asked for. */
  readonly margin: number;
  /** Σ of the rows' curvatures; 0 where no losses were asked for. */
  readonly curvature: number;
  /** Xᵀ times what followed, by column; not centred, not scaled. */
  readonly products: Float64Array;
}

/**
 * Results do not depend on the number of threads: rows are cut into items by their index alone, the sums of item i belong to
 * part i mod 32, which one item at a time adds to, in ascending order, and the parts are added in order.
 */
export class DensePass {
  /** Labelled rows. */
  readonly rows: number;
  /** Where the pass writes the rows' curvatures, f64[rows], and where a caller may leave values by row. */
  readonly curvature: number;
  readonly #pool: KernelPool;
  readonly #x: Activations;
  readonly #scope: Scope;
  readonly #itemRows: number;
  readonly #list: number;
  readonly #starts: number;
  readonly #factors: number;
  readonly #shift: number;
  readonly #slabs: number;
  readonly #slabBytes: number;
  readonly #scratch: number;
  readonly #scratchBytes: number;
  readonly #code: { readonly scale: number; readonly offset: number };

  /** @param list indices of the labelled rows, ascending */
  constructor(pool: KernelPool, x: Activations, list: Uint32Array) {
    const d = x.neurons;
    const scope = new Scope(pool.memory);
    const rowBytes = d * x.data.BYTES_PER_ELEMENT;
    const room = Math.max(4, Math.floor((inPlace(pool, x) ? ITEM_BYTES : COPIED_ITEM_BYTES) / rowBytes));
    // As many waves of items as the room asks for, all of them full.
    const waves = Math.ceil(x.rows / (SLABS * room));
    this.#itemRows = 4 * Math.ceil(x.rows / (4 * SLABS * waves));
    const items = Math.ceil(x.rows / this.#itemRows);
    const starts = new Uint32Array(items + 1);
    for (const i of list) starts[Math.floor(i / this.#itemRows) + 1]++;
    for (let item = 0; item < items; item++) starts[item + 1] += starts[item];
    const lines = (bytes: number): number => Math.ceil(bytes / 64) * 64;
    this.#pool = pool;
    this.#x = x;
    this.#scope = scope;
    this.rows = list.length;
    try {
      this.curvature = scope.zeros(8 * list.length);
      this.#list = scope.copyOf(list);
      this.#starts = scope.copyOf(starts);
      this.#factors = scope.allocate(8 * d);
      this.#shift = scope.allocate(8);
      this.#slabBytes = lines(HEAD + 8 * d);
      this.#slabs = scope.allocate(SLABS * this.#slabBytes);
      // Float32 sums, and four rows decoded.
      this.#scratchBytes = lines(4 * d) * (x.dtype === "f32" ? 1 : 5);
      this.#scratch = scope.allocate(pool.threads * this.#scratchBytes);
      this.#code = copyCode(scope, x);
    } catch (error) {
      scope.close();
      throw error;
    }
  }

  /**
   * @param followUp what a row adds to the sums: its logistic residual, its decision value times `byRow`, or `byRow` itself
   * @param byRow f64[rows] in the kernels' memory: signed weights (C·ω, negative for positive rows), or factors
   * @param factors by column; ignored where `byRow` itself is added
   */
  async run(
    followUp: keyof typeof FOLLOW_UP,
    byRow: number,
    factors: Float64Array,
    shift: number,
    exact: boolean,
    signal?: AbortSignal,
  ): Promise<PassSums> {
    const { memory } = this.#pool;
    const d = this.#x.neurons;
    const slabs = memory.f64(this.#slabs, (SLABS * this.#slabBytes) / 8).fill(0);
    for (let s = 0; s < SLABS; s++) slabs[(s * this.#slabBytes) / 8 + 2] = Infinity;
    if (exact) memory.f64(this.#factors, d).set(factors);
    else memory.f32(this.#factors, d).set(factors);
    memory.f64(this.#shift, 1)[0] = shift;
    const operations = 4 * d * this.rows;
    await forEachRowBlock(
      this.#pool,
      this.#x,
      this.#itemRows,
      async ({ at, first, rows }) => {
        const from = first / this.#itemRows;
        const to = Math.ceil((first + rows) / this.#itemRows);
        // A wave has one item for each part at most.
        for (let item = from; item < to; item += SLABS) {
          const items = Math.min(SLABS, to - item);
          await this.#pool.run(
            exact ? "denseDouble" : "denseFloat",
            items,
            [
              at,
              STORAGE_CODES[this.#x.dtype],
              d,
              first,
              this.#list,
              this.#starts,
              item,
              this.#factors,
              this.#shift,
              FOLLOW_UP[followUp],
              byRow,
              this.curvature,
              this.#slabs,
              this.#slabBytes,
              SLABS,
              this.#code.scale,
              this.#code.offset,
              this.#scratch,
              this.#scratchBytes,
            ],
            { signal, operations: (operations * items * this.#itemRows) / this.#x.rows },
          );
        }
      },
      signal,
    );
    return this.#sums(d);
  }

  #sums(d: number): PassSums {
    const products = new Float64Array(d);
    let total = 0;
    let loss = 0;
    let margin = Infinity;
    let curvature = 0;
    for (let s = 0; s < SLABS; s++) {
      const slab = this.#pool.memory.f64(this.#slabs + s * this.#slabBytes, HEAD / 8 + d);
      total += slab[0];
      loss += slab[1];
      margin = Math.min(margin, slab[2]);
      curvature += slab[3];
      for (let j = 0; j < d; j++) products[j] += slab[HEAD / 8 + j];
    }
    return { total, loss, margin, curvature, products };
  }

  /** Gives the memory back. */
  close(): void {
    this.#scope.close();
  }
}
