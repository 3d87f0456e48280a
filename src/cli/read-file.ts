/** Files and standard input as text. */
import { FormatError } from "../errors.ts";
import { fileSource } from "../node/files.ts";

/**
 * @throws FormatError when there is no such file, it cannot be read or it is not UTF-8
 */
export async function readTextFile(path: string, signal: AbortSignal): Promise<string> {
  return decode(await readBytes(path, signal), path);
}

/** @throws FormatError when there is no such file or it cannot be read */
export async function readBytes(path: string, signal: AbortSignal): Promise<Uint8Array> {
  const source = await fileSource(path);
  try {
    return await source.read(0, source.size, { signal });
  } finally {
    await source.close();
  }
}

/** Everything that comes, until the end. */
export async function readStream(stream: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string> {
  const chunks: Uint8Array[] = [];
  const iterator = stream[Symbol.asyncIterator]();
  // Input may never end: an abort must not wait for it.
  const aborted = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(signal.reason as Error);
    if (signal.aborted) refuse();
    else signal.addEventListener("abort", refuse, { once: true });
  });
  aborted.catch(() => undefined);
  try {
    for (;;) {
      const { value, done } = (await Promise.race([iterator.next(), aborted])) as IteratorResult<
        Uint8Array,
        undefined
      >;
      if (done) break;
      chunks.push(value);
    }
  } finally {
    if (signal.aborted) void iterator.return?.();
  }
  return decode(Buffer.concat(chunks), "The standard input");
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`${name} is not UTF-8 text.`, "Save it as UTF-8.", { cause });
  }
}
