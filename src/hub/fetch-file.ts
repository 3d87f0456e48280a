/** Fetches one file into a store: goes on where an earlier try stopped, and verifies it before it takes its place. */
import { FormatError, HubError } from "../errors.ts";
import { describeError, TryAgain, type HubClient } from "./hub-client.ts";
import type { Draft, HubFile, HubStore } from "./hub-store.ts";

/** Bytes that are hashed between two turns of the event loop. */
const BLOCK = 2 ** 20;

/**
 * @param onBytes called with the bytes that the file has by now; the number falls when a server makes it start again
 * @throws HubError when the file cannot be had, is not what the hub said, or cannot be stored
 */
export async function fetchFile(
  client: HubClient,
  store: HubStore,
  file: HubFile,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<void> {
  const draft = await store.draft(file, client.signal);
  if (!draft) return;
  try {
    const resumed = draft.size > 0;
    if (!(await fetchAndVerify(client, store, file, draft, onBytes))) {
      // What an earlier run left may be what is damaged: once more from the start.
      await draft.restart();
      if (!resumed || !(await fetchAndVerify(client, store, file, draft, onBytes))) {
        await draft.restart();
        throw new HubError(
          "checksum",
          `${file.path} of ${client.what} arrived with another checksum than the hub gives.`,
          "A proxy or mirror may have changed it: try again, or use another endpoint.",
        );
      }
    }
    client.signal?.throwIfAborted();
    await draft.commit();
  } finally {
    await draft.close();
  }
}

/** False when the checksum is wrong. */
async function fetchAndVerify(
  client: HubClient,
  store: HubStore,
  file: HubFile,
  draft: Draft,
  onBytes: (bytes: number) => void,
): Promise<boolean> {
  let furthest = draft.size;
  let complete = false;
  if (file.size !== undefined && draft.size > file.size) await draft.restart();
  while (!complete && (file.size === undefined || draft.size < file.size)) {
    complete = await client.persist(
      `${file.path} of ${client.what}`,
      () => fetchRest(client, file, draft, onBytes),
      () => {
        const moved = draft.size > furthest;
        furthest = Math.max(furthest, draft.size);
        return moved;
      },
    );
  }
  if (file.size !== undefined && draft.size !== file.size) {
    const got = draft.size;
    await draft.restart();
    throw new HubError(
      "size",
      `${file.path} of ${client.what} arrived with ${got} bytes or more, and the hub says ${file.size}.`,
      "A proxy or mirror may have changed it: try again, or use another endpoint.",
    );
  }
  return matches(client, store, file, draft);
}

/**
 * One request for the bytes that the draft lacks.
 * @returns true when the body came to its end
 * @throws TryAgain when it did not
 */
async function fetchRest(
  client: HubClient,
  file: HubFile,
  draft: Draft,
  onBytes: (bytes: number) => void,
): Promise<boolean> {
  const controller = new AbortController();
  const start = draft.size;
  const headers: Record<string, string> = {};
  if (start > 0) {
    headers["range"] = `bytes=${start}-`;
    // With a checksum, a file that has changed is noticed without this; hosts that are redirected to have tags of their own.
    if (!file.checksum && file.etag !== "") headers["if-range"] = `"${file.etag}"`;
  }
  const response = await client.send(client.url("resolve", file.commit, file.path), {
    headers,
    redirect: "all",
    signal: controller.signal,
  });
  try {
    if (response.status === 416) {
      await draft.restart();
      throw new TryAgain("the server has fewer bytes than were fetched before");
    }
    if (!response.ok) throw client.refusal(response, file.path);
    if (start > 0 && !continues(response, start)) await draft.restart();
    for await (const bytes of body(response, client)) {
      await draft.append(bytes);
      onBytes(draft.size);
      if (file.size !== undefined && draft.size > file.size) return true;
    }
  } finally {
    // Ends a body that nobody reads to its end.
    controller.abort();
  }
  if (file.size !== undefined && draft.size < file.size) {
    throw new TryAgain(`the server sent ${draft.size} of ${file.size} bytes`);
  }
  return true;
}

/** Whether an answer goes on at byte `start`, rather than begin again. */
function continues(response: Response, start: number): boolean {
  if (response.status !== 206) return false;
  // Hidden by a browser where the host does not expose it: it was asked for, and the checksum will tell.
  const range = response.headers.get("content-range");
  return range === null || range.startsWith(`bytes ${start}-`);
}

/**
 * Pieces of a body.
 * @throws TryAgain when it breaks off or nothing comes for too long
 */
async function* body(response: Response, client: HubClient): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stalled = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new TryAgain(`nothing arrived for ${client.stallTimeout / 1000} s`)),
        client.stallTimeout,
      );
    });
    let piece: { done: boolean; value?: Uint8Array };
    try {
      piece = await Promise.race([reader.read() as Promise<typeof piece>, stalled]);
    } catch (error) {
      client.signal?.throwIfAborted();
      if (error instanceof TryAgain) throw error;
      throw new TryAgain(`the transfer broke off (${client.redact(describeError(error))})`);
    } finally {
      clearTimeout(timer);
    }
    if (piece.done || !piece.value) return;
    yield piece.value;
  }
}

/** Whether the bytes have the checksum that the hub gave; true where it gave none. */
async function matches(
  client: HubClient,
  store: HubStore,
  { checksum }: HubFile,
  draft: Draft,
): Promise<boolean> {
  if (!checksum) return true;
  const digest = store.digest(checksum.kind === "git" ? "sha1" : "sha256");
  if (checksum.kind === "git") digest.update(new TextEncoder().encode(`blob ${draft.size}\0`));
  for (let at = 0; at < draft.size; at += BLOCK) {
    client.signal?.throwIfAborted();
    const end = Math.min(at + BLOCK, draft.size);
    const bytes = await draft.read(at, end);
    if (bytes.length !== end - at) {
      throw new FormatError("A file changed while it was fetched.", "Leave the cache alone meanwhile.");
    }
    digest.update(bytes);
  }
  return digest.hex() === checksum.hex;
}
