/** Byte ranges of a URL, with HTTP range requests (RFC 9110, section 14); the work of `httpSource`. */
import { FormatError } from "../errors.ts";
import { allocateBytes, assertRange, type ByteSource, type ReadOptions } from "./byte-source.ts";

/** Options of {@link httpSource}. */
export interface HttpSourceOptions extends ReadOptions {
  /** Sent with every request, e.g. `{ authorization: "Bearer …" }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: the browser's own, `"same-origin"`. */
  readonly credentials?: RequestCredentials;
  /** Used in place of the global `fetch`. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** What to call the source in messages; default: the URL without its query. */
  readonly name?: string;
}

const NEEDS_RANGES =
  "Serve it from a host that answers range requests, or download it and open the file instead.";
const TRY_AGAIN = "Check the connection and try again.";

export async function openHttpRanges(url: string | URL, options: HttpSourceOptions): Promise<ByteSource> {
  const address = String(url);
  const name = options.name ?? address.replace(/[?#].*$/s, "");
  const request = async (start: number, end: number, signal: AbortSignal | undefined) => {
    const init: RequestInit = {
      headers: { ...options.headers, range: `bytes=${start}-${end - 1}` },
      ...(options.credentials && { credentials: options.credentials }),
      ...(signal && { signal }),
    };
    try {
      return await (options.fetch ?? fetch)(address, init);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new FormatError(`${name} could not be fetched: ${String(cause)}.`, TRY_AGAIN, { cause });
    }
  };

  const first = await request(0, 1, options.signal);
  // Nobody waits for the one byte; a body left unread would hold the connection.
  await first.body?.cancel().catch(() => undefined);
  const size = sizeOf(first, name);
  return {
    name,
    size,
    async read(start, end, readOptions = {}) {
      const signal = readOptions.signal ?? options.signal;
      signal?.throwIfAborted();
      assertRange({ name, size }, start, end);
      if (start === end) return new Uint8Array(0);
      const response = await request(start, end, signal);
      const expected = `bytes ${start}-${end - 1}/${size}`;
      if (response.status !== 206 || response.headers.get("content-range") !== expected) {
        await response.body?.cancel().catch(() => undefined);
        throw refusal(response, name, expected);
      }
      return readBody(response, end - start, name, signal);
    },
  };
}

function refusal(response: Response, name: string, expected: string): FormatError {
  const range = response.headers.get("content-range");
  if (response.status === 206) {
    return new FormatError(
      `${name} answered with "${range}" where "${expected}" was asked for.`,
      "The file may have changed since it was opened: open it again.",
    );
  }
  if (response.ok) {
    return new FormatError(`${name} ignores range requests (status ${response.status}).`, NEEDS_RANGES);
  }
  return new FormatError(
    `${name} answered ${`${response.status} ${response.statusText}`.trim()}.`,
    "Check the address and the access rights.",
  );
}

/** Size of the whole file from the answer to a request for its first byte. */
function sizeOf(response: Response, name: string): number {
  const range = response.headers.get("content-range");
  if (response.status === 416 && range === "bytes */0") return 0;
  if (response.status !== 206) throw refusal(response, name, "bytes 0-0");
  const size = Number(/^bytes 0-0\/(\d{1,16})$/.exec(range ?? "")?.[1] ?? NaN);
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new FormatError(
      range === null
        ? `${name} answers range requests, but its Content-Range header is missing or hidden.`
        : `${name} does not tell its size: its Content-Range is "${range}".`,
      `The server must send it, and expose it to other origins with Access-Control-Expose-Headers. ${NEEDS_RANGES}`,
    );
  }
  return size;
}

/** Reads exactly `length` bytes; a server cannot make it read or store more. */
async function readBody(
  response: Response,
  length: number,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const out = allocateBytes(length, `A range of ${name}`);
  const reader = response.body?.getReader();
  let at = 0;
  try {
    while (reader) {
      const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
      if (done || !value) break;
      if (at + value.length > length) {
        await reader.cancel().catch(() => undefined);
        at = Infinity;
        break;
      }
      out.set(value, at);
      at += value.length;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw new FormatError(`The transfer of ${name} broke off: ${String(cause)}.`, TRY_AGAIN, { cause });
  }
  if (at === length) return out;
  throw new FormatError(
    at === Infinity
      ? `${name} sent more than the ${length} bytes asked for.`
      : `${name} sent ${at} of the ${length} bytes asked for.`,
    TRY_AGAIN,
  );
}
