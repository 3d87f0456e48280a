/** The columns of one label set's problems in the kernels' memory, cut into chunks of 64 rows of one class. */
import type { Activations } from "../../../data/activations.ts";
import type { Pacer } from "../pacer.ts";
import { classWeights } from "../reference/logistic-loss.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, inPlace, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Rows of a chunk. */
export const CHUNK_ROWS = 64;

/** Share of chunks that the rarer class has at the front, as long as it has any. */
const LEAST_SHARE = 0.3;

/** Mean over standard deviation up to which f32 sums bear a column as it is. */
const MOST_OFFSET = 4;

const NO_ROW = 0xffff_ffff;

/** Labelled rows in the order of the chunks. */
export interface RowOrder {
  /** Row of the matrix by place, 64 per chunk; {@link NO_ROW} where a chunk has no more. */
  readonly rows: Uint32Array;
  /** Rows of each chunk, and 256 for positives. */
  readonly chunks: Uint32Array;
  readonly counts: readonly [negative: number, positive: number];
}

export class LogisticDesign {
  readonly #pool: KernelPool;
  readonly #scope: Scope;
  readonly #order: RowOrder;
  /** Place of each column of the matrix. */
  readonly place: ReadonlyMap<number, number>;
  /** Columns of the matrix that are finite in the labelled rows. */
  readonly finite: ReadonlySet<number>;
  /** Address of the columns as stored; a column of ones comes last. */
  readonly raw: number;
  /** Address of the columns minus their pilots; the same where no column needs it. */
  readonly centred: number;
  readonly pilots: number;
  readonly chunkWords: number;
  /** Bytes from column to column, and from chunk to chunk of a column. */
  readonly stride: number;
  readonly advance: number;
  readonly #pilots: Float64Array;

  constructor(
    pool: KernelPool,
    scope: Scope,
    order: RowOrder,
    columns: Uint32Array,
    described: Float64Array,
    at: {
      raw: number;
      centred: number;
      chunkWords: number;
      stride: number;
      advance: number;
      pilots: Float64Array;
    },
  ) {
    this.#pool = pool;
    this.#scope = scope;
    this.#order = order;
    this.place = new Map(Array.from(columns, (j, c) => [j, c]));
    this.finite = new Set(
      columns.filter((_, c) => Number.isFinite(described[2 * c]) && Number.isFinite(described[2 * c + 1])),
    );
    this.raw = at.raw;
    this.centred = at.centred;
    this.chunkWords = at.chunkWords;
    this.stride = at.stride;
    this.advance = at.advance;
    this.#pilots = at.pilots;
    this.pilots = scope.copyOf(at.pilots);
  }

  get counts(): readonly [negative: number, positive: number] {
    return this.#order.counts;
  }

  get rows(): number {
    return this.counts[0] + this.counts[1];
  }

  get chunks(): number {
    return this.#order.chunks.length;
  }

  /** Columns, without that of ones. */
  get columns(): number {
    return this.place.size;
  }

  /** What is subtracted from a column of the matrix. */
  pilotOf(column: number): number {
    return this.#pilots[this.place.get(column)!];
  }

  /** Rows of each class in the first chunks. */
  countsOf(chunks: number): [negative: number, positive: number] {
    const counts: [number, number] = [0, 0];
    for (let c = 0; c < chunks; c++) counts[this.#order.chunks[c] >> 8] += this.#order.chunks[c] & 255;
    return counts;
  }

  /** Host copies for the reference, rows in the order of the chunks. */
  toReference(
    support: Uint32Array,
    balanced: boolean,
  ): { columns: Float32Array[]; labels: Uint8Array; weights: Float64Array } {
    const { rows, chunks } = this.#order;
    const kept: number[] = [];
    for (let i = 0; i < rows.length; i++) if (rows[i] !== NO_ROW) kept.push(i);
    const labels = Uint8Array.from(kept, (i) => chunks[Math.floor(i / CHUNK_ROWS)] >> 8);
    const all = this.#pool.memory.f32(
      this.raw,
      (this.columns * this.stride) / 4 + (this.chunks * this.advance) / 4,
    );
    const columns = Array.from(support, (j) => {
      const column = (this.place.get(j)! * this.stride) / 4;
      return Float32Array.from(
        kept,
        (i) => all[column + (Math.floor(i / CHUNK_ROWS) * this.advance) / 4 + (i % CHUNK_ROWS)],
      );
    });
    return { columns, labels, weights: classWeights(labels, balanced) };
  }

  close(): void {
    this.#scope.close();
  }
}

/**
 * Gathers columns of the labelled rows.
 *
 * @param layout "columns": one after the other, for fits that share them; "chunks": all columns of a chunk together, for one fit
 */
export async function gatherDesign(
  pool: KernelPool,
  x: Activations,
  order: RowOrder,
  columns: Uint32Array,
  layout: "columns" | "chunks",
  signal?: AbortSignal,
): Promise<LogisticDesign> {
  const { memory } = pool;
  const count = order.chunks.length;
  const k = columns.length;
  const n = order.counts[0] + order.counts[1];
  const chunk = 4 * CHUNK_ROWS;
  // An odd number of cache lines from column to column: no two columns fight for the same set of the cache.
  const stride = layout === "chunks" ? chunk : CHUNK_ROWS * ((4 * count) | 1);
  const advance = layout === "chunks" ? chunk * (k + 1) : chunk;
  const bytes = (k + 1) * (layout === "chunks" ? count * chunk : stride);
  const scope = new Scope(memory);
  const part = new Scope(memory);
  try {
    const withOnes = (): number => {
      const at = scope.allocate(bytes);
      const all = memory.f32(at, bytes / 4);
      for (let c = 0; c < count; c++) {
        const from = (k * stride + c * advance) / 4;
        all.fill(1, from, from + CHUNK_ROWS);
      }
      return at;
    };
    const raw = withOnes();
    // What the chunks lack is zero.
    const all = memory.f32(raw, bytes / 4);
    for (let c = 0; c < count; c++) {
      const rows = order.chunks[c] & 255;
      if (rows === CHUNK_ROWS) continue;
      for (let j = 0; j < k; j++) {
        const from = (j * stride + c * advance) / 4;
        all.fill(0, from + rows, from + CHUNK_ROWS);
      }
    }
    const chunkWords = scope.copyOf(order.chunks);
    const { scale, offset } = copyCode(part, x);
    const from = part.copyOf(columns);
    const list = part.allocate(512 * pool.threads);
    // In place, values are written where they belong together; of a block of rows, they are read together.
    const byPlace = inPlace(pool, x);
    const table = part.copyOf(byPlace ? order.rows : placesOf(order, x.rows));
    await forEachRowBlock(
      pool,
      x,
      CHUNK_ROWS,
      ({ at, first, rows }) =>
        pool.run(
          "gatherLogisticColumns",
          byPlace ? count : Math.ceil(rows / CHUNK_ROWS),
          [
            ...[at, STORAGE_CODES[x.dtype], x.neurons, first, rows, from, k, scale, offset],
            ...[byPlace ? 1 : 0, table, raw, stride, advance, list],
          ],
          { signal, operations: 8 * rows * k },
        ),
      signal,
    );
    const out = part.allocate(16 * k);
    await pool.run("describeColumns", k, [raw, stride, advance, count, chunkWords, n, out], {
      signal,
      operations: n * k,
    });
    const described = memory.f64(out, 2 * k).slice();
    const pilots = new Float64Array(k + 1);
    let centred = raw;
    if (columns.some((_, c) => Math.abs(described[2 * c]) > MOST_OFFSET * described[2 * c + 1])) {
      for (let c = 0; c < k; c++) {
        const pilot = Math.fround(described[2 * c]);
        if (Number.isFinite(pilot)) pilots[c] = pilot;
      }
      centred = withOnes();
      const at = part.copyOf(pilots);
      await pool.run("centreColumns", k, [raw, stride, advance, count, chunkWords, centred, at], {
        signal,
        operations: n * k,
      });
    }
    const at = { raw, centred, chunkWords, stride, advance, pilots };
    return new LogisticDesign(pool, scope, order, columns, described, at);
  } catch (error) {
    scope.close();
    throw error;
  } finally {
    part.close();
  }
}

/** The place of each row of the matrix. */
function placesOf(order: RowOrder, rows: number): Uint32Array {
  const places = new Uint32Array(rows).fill(NO_ROW);
  for (let place = 0; place < order.rows.length; place++) {
    if (order.rows[place] !== NO_ROW) places[order.rows[place]] = place;
  }
  return places;
}

/**
 * Chunks of one class each, in an order of which every beginning is a sample: the rows of a class are taken at steps of the
 * golden ratio of their number, so that neighbours, which come from one text, do not stay together; and the rarer class has
 * at least {@link LEAST_SHARE} of the chunks as long as it lasts.
 */
export async function orderOfRows(y: Uint8Array, pacer: Pacer): Promise<RowOrder> {
  const counts: [number, number] = [0, 0];
  for (const label of y) if (label < 2) counts[label]++;
  const rows = counts.map((count) => new Uint32Array(count));
  if (pacer.due) await pacer.turn();
  const seen = [0, 0];
  for (let i = 0; i < y.length; i++) if (y[i] < 2) rows[y[i]][seen[y[i]]++] = i;
  if (pacer.due) await pacer.turn();
  const left = counts.map((count) => Math.ceil(count / CHUNK_ROWS));
  const total = left[0] + left[1];
  const rarer = left[1] < left[0] ? 1 : 0;
  const share = Math.max(left[rarer] / total, LEAST_SHARE);
  const steps = counts.map(coprimeStep);
  const places = new Uint32Array(total * CHUNK_ROWS).fill(NO_ROW);
  const chunks = new Uint32Array(total);
  const taken = [0, 0];
  const position = [0, 0];
  for (let c = 0, owed = share; c < total; c++, owed += share) {
    if ((c & 255) === 0 && pacer.due) await pacer.turn();
    const wanted = owed >= 1 ? rarer : 1 - rarer;
    const kind = left[wanted] > 0 ? wanted : 1 - wanted;
    if (kind === rarer) owed -= 1;
    left[kind]--;
    const size = Math.min(CHUNK_ROWS, counts[kind] - taken[kind]);
    const ofKind = rows[kind];
    let at = position[kind];
    for (let i = c * CHUNK_ROWS, end = i + size; i < end; i++) {
      places[i] = ofKind[at];
      at += steps[kind];
      if (at >= ofKind.length) at -= ofKind.length;
    }
    position[kind] = at;
    taken[kind] += size;
    chunks[c] = size + 256 * kind;
  }
  return { rows: places, chunks, counts };
}

/** The number nearest to n/φ, from above, that has no divisor in common with n. */
function coprimeStep(n: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let step = Math.max(1, Math.round(n * 0.6180339887498949));
  while (divisor(step, n) > 1) step++;
  return step % n;
}
