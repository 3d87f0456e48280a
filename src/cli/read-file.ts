/** Files and standard input as text. */
import { addAbortSignal, type Readable } from "node:stream";
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
export async function readStream(stream: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Uint8Array[] = [];
  // Input may never end: an abort ends it.
  for await (const chunk of addAbortSignal(signal, stream)) chunks.push(chunk as Uint8Array);
  return decode(Buffer.concat(chunks), "The standard input");
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`${name} is not UTF-8 text.`, "Save it as UTF-8.", { cause });
  }
}
