/** The columns of one label set's problems in the kernels' memory, cut into chunks of 64 rows of one class. */
import type { Activations } from "../../../data/activations.ts";
import { classWeights } from "../reference/logistic-loss.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { copyCode, forEachRowBlock, STORAGE_CODES } from "../wasm/kernel-rows.ts";

/** Rows of a chunk. */
export const CHUNK_ROWS = 64;

/** Share of chunks that the rarer class has at the front, as long as it has any. */
const LEAST_SHARE = 0.3;

/** Mean over standard deviation up to which f32 sums bear a column as it is. */
const MOST_OFFSET = 4;

const NO_ROW = 0xffff_ffff;

/** Labelled rows in the order of the chunks. */
interface RowOrder {
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
  /** Bytes from column to column. */
  readonly stride: number;
  readonly #pilots: Float64Array;

  constructor(
    pool: KernelPool,
    scope: Scope,
    order: RowOrder,
    columns: Uint32Array,
    described: Float64Array,
    at: { raw: number; centred: number; chunkWords: number; stride: number; pilots: Float64Array },
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
    const columns = Array.from(support, (j) => {
      const column = this.#pool.memory.f32(this.raw + this.place.get(j)! * this.stride, rows.length);
      return Float32Array.from(kept, (i) => column[i]);
    });
    return { columns, labels, weights: classWeights(labels, balanced) };
  }

  close(): void {
    this.#scope.close();
  }
}

/** Gathers columns of the labelled rows. */
export async function gatherDesign(
  pool: KernelPool,
  x: Activations,
  y: Uint8Array,
  columns: Uint32Array,
  signal?: AbortSignal,
): Promise<LogisticDesign> {
  const { memory } = pool;
  const order = orderOfRows(y);
  const count = order.chunks.length;
  const k = columns.length;
  // An odd number of cache lines from column to column: no two columns fight for the same set of the cache.
  const stride = 64 * ((4 * count) | 1);
  const scope = new Scope(memory);
  try {
    const raw = scope.allocate((k + 1) * stride);
    const chunkWords = scope.copyOf(order.chunks);
    // What the chunks lack is zero; the column of ones has no pads to be read.
    memory.f32(raw + k * stride, CHUNK_ROWS * count).fill(1);
    const short = [...order.chunks.keys()].filter((c) => (order.chunks[c] & 255) < CHUNK_ROWS);
    for (let j = 0; j < k; j++)
      for (const c of short) memory.f32(raw + j * stride + 256 * c, CHUNK_ROWS).fill(0);
    const part = new Scope(memory);
    try {
      const { scale, offset } = copyCode(part, x);
      const from = part.copyOf(columns);
      const rows = part.copyOf(order.rows);
      await forEachRowBlock(
        pool,
        x,
        1,
        (block) =>
          pool.run(
            "gatherLogisticColumns",
            count,
            [
              block.at,
              STORAGE_CODES[x.dtype],
              x.neurons,
              block.first,
              block.rows,
              from,
              k,
              scale,
              offset,
              rows,
              raw,
              stride,
            ],
            { signal, operations: 4 * block.rows * k },
          ),
        signal,
      );
      const out = part.allocate(16 * k);
      const n = order.counts[0] + order.counts[1];
      await pool.run("describeColumns", k, [raw, stride, count, chunkWords, n, out], {
        signal,
        operations: n * k,
      });
      const described = memory.f64(out, 2 * k).slice();
      const pilots = new Float64Array(k + 1);
      let centred = raw;
      const far = columns.some((_, c) => Math.abs(described[2 * c]) > MOST_OFFSET * described[2 * c + 1]);
      if (far) {
        for (let c = 0; c < k; c++) {
          const pilot = Math.fround(described[2 * c]);
          if (Number.isFinite(pilot)) pilots[c] = pilot;
        }
        centred = scope.allocate((k + 1) * stride);
        memory.f32(centred + k * stride, CHUNK_ROWS * count).fill(1);
        await pool.run("centreColumns", k, [raw, centred, stride, count, chunkWords, part.copyOf(pilots)], {
          signal,
          operations: n * k,
        });
      }
      return new LogisticDesign(pool, scope, order, columns, described, {
        raw,
        centred,
        chunkWords,
        stride,
        pilots,
      });
    } finally {
      part.close();
    }
  } catch (error) {
    scope.close();
    throw error;
  }
}

/**
 * Chunks of one class each, in an order of which every beginning is a sample: the rows of a class are taken at steps of the
 * golden ratio of their number, so that neighbours, which come from one text, do not stay together; and the rarer class has
 * at least {@link LEAST_SHARE} of the chunks as long as it lasts.
 */
function orderOfRows(y: Uint8Array): RowOrder {
  const counts: [number, number] = [0, 0];
  for (const label of y) if (label < 2) counts[label]++;
  const rows = counts.map((count) => new Uint32Array(count));
  const seen = [0, 0];
  for (let i = 0; i < y.length; i++) if (y[i] < 2) rows[y[i]][seen[y[i]]++] = i;
  const left = counts.map((count) => Math.ceil(count / CHUNK_ROWS));
  const total = left[0] + left[1];
  const rarer = left[1] < left[0] ? 1 : 0;
  const share = Math.max(left[rarer] / total, LEAST_SHARE);
  const steps = counts.map(coprimeStep);
  const order = {
    rows: new Uint32Array(total * CHUNK_ROWS).fill(NO_ROW),
    chunks: new Uint32Array(total),
    counts,
  };
  const taken = [0, 0];
  const position = [0, 0];
  for (let c = 0, owed = share; c < total; c++, owed += share) {
    const wanted = owed >= 1 ? rarer : 1 - rarer;
    const kind = left[wanted] > 0 ? wanted : 1 - wanted;
    if (kind === rarer) owed -= 1;
    left[kind]--;
    const size = Math.min(CHUNK_ROWS, counts[kind] - taken[kind]);
    for (let i = 0; i < size; i++) {
      order.rows[c * CHUNK_ROWS + i] = rows[kind][position[kind]];
      position[kind] = (position[kind] + steps[kind]) % counts[kind];
    }
    taken[kind] += size;
    order.chunks[c] = size + 256 * kind;
  }
  return order;
}

/** The number nearest to n/φ, from above, that has no divisor in common with n. */
function coprimeStep(n: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let step = Math.max(1, Math.round(n * 0.6180339887498949));
  while (divisor(step, n) > 1) step++;
  return step;
}
