/** Ranges of a file that stays on the hub: enough to read a header of some kilobytes from gigabytes of weights. */
import { HubError } from "../errors.ts";
import { allocateBytes, assertRange, type ByteSource } from "../io/byte-source.ts";
import { TryAgain, type HubClient } from "./hub-client.ts";
import type { HubFile } from "./hub-store.ts";

/** Fetched at the first read: most headers lie in it whole. */
const FIRST_BYTES = 2 ** 17;

/** @throws HubError when the hub does not tell the file's size */
export function remoteSource(client: HubClient, file: HubFile): ByteSource {
  const name = `${file.path} of ${client.what}`;
  const { size } = file;
  if (size === undefined) {
    throw new HubError("size", `The size of ${name} is not known.`, "Use a hub that tells it.");
  }
  let start: Promise<Uint8Array> | undefined;
  const fetchRange = (from: number, to: number, signal?: AbortSignal): Promise<Uint8Array> =>
    client.persist(name, async () => {
      signal?.throwIfAborted();
      const controller = new AbortController();
      const deadline = setTimeout(() => controller.abort(), client.stallTimeout + (to - from) / 1000);
      try {
        const response = await client.send(client.url("resolve", file.commit, file.path), {
          headers: { range: `bytes=${from}-${to - 1}` },
          redirect: "all",
          signal: controller.signal,
        });
        if (!response.ok) throw client.refusal(response, file.path);
        return await readRange(response, from, to);
      } finally {
        clearTimeout(deadline);
        controller.abort();
      }
    });
  return {
    name,
    size,
    async read(from, to, { signal } = {}) {
      assertRange({ name, size }, from, to);
      if (from === to) return new Uint8Array(0);
      if (to > FIRST_BYTES) return fetchRange(from, to, signal);
      start ??= fetchRange(0, Math.min(FIRST_BYTES, size), signal);
      return (await start).slice(from, to);
    },
  };
}

/** Bytes [from, to) out of a body that starts there, or at the file's start where the server ignores ranges. */
async function readRange(response: Response, from: number, to: number): Promise<Uint8Array> {
  const out = allocateBytes(to - from, "A header");
  const reader = response.body?.getReader();
  let at = response.status === 206 ? from : 0;
  try {
    while (reader && at < to) {
      const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
      if (done || !value) break;
      const piece = at < from ? value.subarray(from - at) : value;
      const place = Math.max(at, from) - from;
      out.set(piece.subarray(0, out.length - place), place);
      at += value.length;
    }
  } catch (error) {
    throw new TryAgain(`the transfer broke off (${String(error)})`);
  }
  if (at < to) throw new TryAgain("the transfer ended early");
  return out;
}
