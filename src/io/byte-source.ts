/** Byte ranges of something that need not fit in memory: bytes, a browser's File or Blob, a URL. */
import { FormatError, OutOfMemoryError } from "../errors.ts";

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A file of known size, read by ranges. */
export interface ByteSource {
  /** What to call it in messages: a file name or URL. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Bytes [start, end), as a fresh array that the caller may keep and write to.
   * @throws FormatError when the range is not inside the source or cannot be read in full
   */
  read(start: number, end: number, options?: ReadOptions): Promise<Uint8Array>;
}

/** @throws FormatError when [start, end) is not inside a source of this size */
export function assertRange(source: Pick<ByteSource, "name" | "size">, start: number, end: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end) {
    if (end <= source.size) return;
  }
  throw new FormatError(
    `${source.name} has ${source.size} bytes, and bytes ${start} to ${end} were asked for.`,
    "The file may be cut off: download or export it again.",
  );
}

/**
 * A byte array of the given length.
 * @throws OutOfMemoryError when the engine cannot allocate it
 */
export function allocateBytes(length: number, what: string): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new OutOfMemoryError(
      `${what} needs ${length} bytes in one piece, more than this engine can allocate.`,
      "Read it in parts, for example by rows.",
      { cause },
    );
  }
}

/** Bytes that are in memory already. They are not copied until read. */
export function bytesSource(bytes: Uint8Array, name = "bytes"): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    // eslint-disable-next-line @typescript-eslint/require-await -- turns what it throws into a rejection
    async read(start, end, options = {}) {
      options.signal?.throwIfAborted();
      assertRange(this, start, end);
      const out = allocateBytes(end - start, `A range of ${name}`);
      out.set(bytes.subarray(start, end));
      return out;
    },
  };
}

/** A browser's File (a chosen or dropped file) or Blob; only the ranges read are loaded. */
export function blobSource(blob: Blob, name: string = nameOf(blob)): ByteSource {
  return {
    name,
    size: blob.size,
    async read(start, end, options = {}) {
      options.signal?.throwIfAborted();
      assertRange(this, start, end);
      let buffer: ArrayBuffer;
      try {
        buffer = await blob.slice(start, end).arrayBuffer();
      } catch (cause) {
        throw new FormatError(
          `Bytes ${start} to ${end} of ${name} could not be read: ${String(cause)}.`,
          "The file may have been changed or removed after it was chosen: choose it again.",
          { cause },
        );
      }
      options.signal?.throwIfAborted();
      if (buffer.byteLength !== end - start) {
        throw new FormatError(
          `${name} gave ${buffer.byteLength} of the ${end - start} bytes asked for.`,
          "The file may have been changed after it was chosen: choose it again.",
        );
      }
      return new Uint8Array(buffer);
    },
  };
}

function nameOf(blob: Blob): string {
  const { name } = blob as { name?: unknown };
  return typeof name === "string" && name !== "" ? name : "blob";
}
