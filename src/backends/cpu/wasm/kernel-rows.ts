/** Rows of a matrix where the kernels can read them: in place when they lie in the kernels' memory, else copied block by block. */
import type { Activations } from "../../../data/activations.ts";
import { Scope } from "./kernel-memory.ts";
import type { KernelPool } from "./kernel-pool.ts";

/** Storage types as the kernels number them (assembly/storage.ts). */
export const STORAGE_CODES = { f32: 0, f16: 1, u8: 2 } as const;

/** Bytes copied at a time: for one thread what stays in its cache, for several enough work to share. */
const BLOCK_BYTES = 2 ** 20;
const SHARED_BLOCK_BYTES = 8 * 2 ** 20;

/** Rows in the kernels' memory. */
export interface RowBlock {
  /** Byte offset of its first row. */
  readonly at: number;
  /** Index of its first row in the matrix. */
  readonly first: number;
  readonly rows: number;
}

/** Whether the kernels can read the matrix without a copy. */
export function inPlace(pool: KernelPool, x: Activations): boolean {
  return pool.memory.addressOf(x.data) !== undefined;
}

/**
 * Visits all rows in order: in one block when the matrix lies in the kernels' memory, else in blocks of a multiple of
 * `multiple` rows. While one block's jobs run on worker threads, the next is copied. Visits never overlap.
 */
export async function forEachRowBlock(
  pool: KernelPool,
  x: Activations,
  multiple: number,
  visit: (block: RowBlock) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const address = pool.memory.addressOf(x.data);
  if (address !== undefined) return visit({ at: address, first: 0, rows: x.rows });
  const rowBytes = x.neurons * x.data.BYTES_PER_ELEMENT;
  const room = pool.threads === 1 ? BLOCK_BYTES : SHARED_BLOCK_BYTES;
  const height = Math.min(
    Math.ceil(x.rows / multiple) * multiple,
    multiple * Math.max(1, Math.floor(room / (multiple * rowBytes))),
  );
  const scope = new Scope(pool.memory);
  const bytes = new Uint8Array(x.data.buffer, x.data.byteOffset, x.data.byteLength);
  let running: Promise<void> = Promise.resolve();
  try {
    const buffers = [scope.allocate(height * rowBytes), scope.allocate(height * rowBytes)];
    for (let first = 0, b = 0; first < x.rows; first += height, b ^= 1) {
      const rows = Math.min(height, x.rows - first);
      const size = rows * rowBytes;
      pool.memory.u8(buffers[b], size).set(bytes.subarray(first * rowBytes, first * rowBytes + size));
      await running;
      signal?.throwIfAborted();
      running = visit({ at: buffers[b], first, rows });
      // Handled below; a failure must not count as unhandled while the next block is copied.
      running.catch(() => undefined);
    }
    await running;
  } finally {
    await running.catch(() => undefined);
    scope.close();
  }
}

/** A u8 matrix's scale and offset in the kernels' memory; zeros for other storage, which has none. */
export function copyCode(scope: Scope, x: Activations): { scale: number; offset: number } {
  return x.code
    ? { scale: scope.copyOf(x.code.scale), offset: scope.copyOf(x.code.offset) }
    : { scale: 0, offset: 0 };
}
