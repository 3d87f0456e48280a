/** Files on disk, for Node: byte sources, atomic writes and folders of tensors. */
import { randomUUID } from "node:crypto";
import { open, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { TensorSource } from "../data/tensor.ts";
import { FormatError, MissingTensorError, OptionError } from "../errors.ts";
import { allocateBytes, assertRange, type ByteSource } from "../io/byte-source.ts";
import { openSafetensors, type ByteSink } from "../io/safetensors.ts";
import { openShardedSafetensors } from "../io/sharded-safetensors.ts";

/** What must be closed to free a file. A second call does nothing. */
export interface Closable {
  close(): Promise<void>;
}

/** Node reads at most 2 GiB − 1 at once. */
const READ_BLOCK = 2 ** 30;

/**
 * Opens a file for reading by ranges.
 * @throws FormatError when it does not exist, is a folder, or may not be read
 */
export async function fileSource(path: string): Promise<ByteSource & Closable> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    throw unreadable(path, cause);
  }
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw new FormatError(`${path} is not a file.`, "Give the path of a file.");
  }
  const { size } = stat;
  let closed: Promise<void> | undefined;
  return {
    name: path,
    size,
    async read(start, end, { signal } = {}) {
      assertRange({ name: path, size }, start, end);
      const out = allocateBytes(end - start, `A range of ${path}`);
      for (let at = 0; at < out.length;) {
        signal?.throwIfAborted();
        let read: number;
        try {
          ({ bytesRead: read } = await handle.read(
            out,
            at,
            Math.min(READ_BLOCK, out.length - at),
            start + at,
          ));
        } catch (cause) {
          throw unreadable(path, cause);
        }
        if (read === 0) {
          throw new FormatError(
            `${path} ends at byte ${start + at}; it had ${size} bytes when it was opened.`,
            "Do not write to a file while it is read: open it again.",
          );
        }
        at += read;
      }
      return out;
    },
    close: () => (closed ??= handle.close()),
  };
}

function unreadable(path: string, cause: unknown): FormatError {
  const code = codeOf(cause);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new FormatError(`${path} does not exist.`, "Check the path.", { cause });
  }
  return new FormatError(`${path} cannot be read: ${String(cause)}.`, "Check the path and the permissions.", {
    cause,
  });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** A file that is being written and takes its place only when complete. */
export interface FileSink {
  /** Appends bytes. Await each call before the next. */
  readonly write: ByteSink;
  /** Flushes the file to disk and gives it its name, replacing a file of that name. */
  commit(): Promise<void>;
  /** Deletes what was written; after `commit` it does nothing. */
  discard(): Promise<void>;
}

/**
 * Starts a file at `path` that appears there only with `commit()`: until then it lies beside it under a temporary name.
 *
 * @example
 * const file = await openFileSink("layer-3.safetensors");
 * try {
 *   const writer = await ActivationsWriter.open(file.write, header);
 *   …
 *   await writer.close();
 *   await file.commit();
 * } finally {
 *   await file.discard();
 * }
 *
 * @throws OptionError when the folder does not exist or may not be written to
 */
export async function openFileSink(path: string): Promise<FileSink> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  let handle: FileHandle;
  try {
    handle = await open(temporary, "wx");
  } catch (cause) {
    throw new OptionError(
      `${path} cannot be written: ${String(cause)}.`,
      "Check that its folder exists and may be written to.",
      { cause },
    );
  }
  let done = false;
  const discard = async () => {
    if (done) return;
    done = true;
    await handle.close();
    await rm(temporary, { force: true });
  };
  return {
    async write(bytes) {
      for (let at = 0; at < bytes.length;) {
        at += (await handle.write(bytes, at, Math.min(READ_BLOCK, bytes.length - at))).bytesWritten;
      }
    },
    async commit() {
      try {
        await handle.sync();
        await handle.close();
        await rename(temporary, path);
        done = true;
      } catch (error) {
        await discard();
        throw error;
      }
    },
    discard,
  };
}

/**
 * Writes a whole file, or nothing: readers see the old file or the new one, never a part.
 * @throws OptionError when the folder does not exist or may not be written to
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array): Promise<void> {
  const sink = await openFileSink(path);
  try {
    await sink.write(bytes);
    await sink.commit();
  } finally {
    await sink.discard();
  }
}

/**
 * Opens a checkpoint's folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
 * @throws MissingTensorError when the folder has neither
 * @throws FormatError when a file is damaged or a shard is missing
 */
export async function openTensorFolder(folder: string): Promise<TensorSource & Closable> {
  const opened: (ByteSource & Closable)[] = [];
  const openFile = async (name: string): Promise<ByteSource> => {
    const source = await fileSource(join(folder, name));
    opened.push(source);
    return source;
  };
  const close = async () => {
    await Promise.all(opened.map((source) => source.close()));
  };
  try {
    const index = await readIndex(folder);
    const tensors =
      index === undefined
        ? await openSafetensors(await openFile("model.safetensors"))
        : await openShardedSafetensors(index, openFile);
    return { tensors: tensors.tensors, read: (name, options) => tensors.read(name, options), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Text of the index; undefined where one file holds everything. */
async function readIndex(folder: string): Promise<string | undefined> {
  try {
    await (await open(join(folder, "model.safetensors"), "r")).close();
    return undefined;
  } catch (cause) {
    const code = codeOf(cause);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw unreadable(join(folder, "model.safetensors"), cause);
  }
  const path = join(folder, "model.safetensors.index.json");
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = codeOf(cause);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw unreadable(path, cause);
    throw new MissingTensorError(
      `${folder} has neither model.safetensors nor model.safetensors.index.json.`,
      "Give the folder of a checkpoint in safetensors form; convert pickled checkpoints first.",
      { cause },
    );
  }
}
