/** Files on a server, read range by range. */
import type { ByteSource } from "./byte-source.ts";
import type { HttpSourceOptions } from "./http-ranges.ts";

/**
 * Asks the server for the size with a range request of one byte, then reads ranges on demand.
 *
 * From another origin, a browser shows the answer only if the server allows the `Range` header and exposes
 * `Content-Range` (CORS). A file that changes its size between two reads is noticed; one that keeps its size is not.
 *
 * @throws FormatError when the request fails, the server ignores ranges, or its answer is cut off
 */
export async function httpSource(url: string | URL, options: HttpSourceOptions = {}): Promise<ByteSource> {
  const { openHttpRanges } = await import("./http-ranges.ts");
  return openHttpRanges(url, options);
}
