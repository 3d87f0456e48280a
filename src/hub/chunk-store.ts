/**
 * Files in pieces, for browsers: each piece is an entry of the Cache Storage, so that a download goes on after a reload and
 * reading a tensor loads the pieces that it lies in. A file counts as there when the entry that lists its pieces is, and that is
 * written last.
 */
import { HubError } from "../errors.ts";
import { allocateBytes, assertRange } from "../io/byte-source.ts";
import { streamingDigest } from "./digests.ts";
import type { Draft, HubFile, HubStore, StoredFile } from "./hub-store.ts";
import { oneAtATime } from "./one-at-a-time.ts";

/** Bytes of a piece: browsers limit entries to about 2 GiB, and a piece is in memory while it is put away. */
const PIECE_BYTES = 2 ** 25;

/** Named blobs. */
export interface BlobCache {
  get(key: string): Promise<Blob | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
}

/** What the list of a file's pieces says. */
interface Contents {
  readonly size: number;
  /** Which pieces: those of another etag belong to another file. */
  readonly pieces: string;
}

export class ChunkStore implements HubStore {
  readonly #cache: BlobCache;
  readonly #model: string;
  readonly #pieceBytes: number;

  /** @param model address of the model on its hub: entries are named after it */
  constructor(cache: BlobCache, model: string, pieceBytes: number = PIECE_BYTES) {
    this.#cache = cache;
    this.#model = model;
    this.#pieceBytes = pieceBytes;
  }

  async #text(key: string): Promise<string | undefined> {
    return (await this.#cache.get(key))?.text();
  }

  #put(key: string, text: string): Promise<void> {
    return this.#cache.put(key, new TextEncoder().encode(text));
  }

  #reference(revision: string): string {
    return `${this.#model}/refs/${encodeURIComponent(revision)}`;
  }

  #file(commit: string, path: string): string {
    return `${this.#model}/resolve/${commit}/${path}`;
  }

  readReference(revision: string): Promise<string | undefined> {
    return this.#text(this.#reference(revision));
  }

  writeReference(revision: string, commit: string): Promise<void> {
    return this.#put(this.#reference(revision), commit);
  }

  noteAbsent(commit: string, path: string): Promise<void> {
    return this.#put(this.#file(commit, path), "null");
  }

  async open(commit: string, path: string): Promise<StoredFile | "absent" | undefined> {
    const text = await this.#text(this.#file(commit, path));
    if (text === undefined) return undefined;
    const contents = JSON.parse(text) as Contents | null;
    if (contents === null) return "absent";
    const { size, pieces } = contents;
    const name = this.#file(commit, path);
    const read = (start: number, end: number): Promise<Uint8Array> => this.#read(pieces, start, end);
    return {
      name,
      size,
      async read(start, end, { signal } = {}) {
        signal?.throwIfAborted();
        assertRange({ name, size }, start, end);
        return read(start, end);
      },
      close: () => Promise.resolve(),
    };
  }

  /** @throws HubError when the browser has dropped a piece */
  async #read(pieces: string, start: number, end: number): Promise<Uint8Array> {
    const out = allocateBytes(end - start, "A range of a cached file");
    for (let at = start; at < end;) {
      const index = Math.floor(at / this.#pieceBytes);
      const from = at - index * this.#pieceBytes;
      const to = Math.min(this.#pieceBytes, from + end - at);
      const blob = await this.#cache.get(`${pieces}${index}`);
      if (!blob || blob.size < to) {
        throw new HubError(
          "storage",
          `Piece ${index} of a cached file is missing.`,
          'Delete the cache with `caches.delete("sparseprobe")` and load the model again.',
        );
      }
      out.set(new Uint8Array(await blob.slice(from, to).arrayBuffer()), at - start);
      at += to - from;
    }
    return out;
  }

  async draft(file: HubFile, signal: AbortSignal | undefined): Promise<Draft | undefined> {
    const name = this.#file(file.commit, file.path);
    const release = await exclusive(name, signal);
    try {
      const known = await this.open(file.commit, file.path);
      if (known !== undefined && known !== "absent") {
        release();
        return undefined;
      }
      // Another file's pieces are never taken for this one's.
      const pieces = `${name}?etag=${encodeURIComponent(file.etag)}&piece=`;
      return await this.#openDraft(name, pieces, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  async #openDraft(name: string, pieces: string, release: () => void): Promise<Draft> {
    const pieceBytes = this.#pieceBytes;
    const cache = this.#cache;
    let buffer = new Uint8Array(0);
    const reserve = (bytes: number): void => {
      if (buffer.length >= bytes) return;
      const grown = new Uint8Array(Math.min(pieceBytes, Math.max(bytes, 4 * buffer.length)));
      grown.set(buffer);
      buffer = grown;
    };
    let stored = 0;
    let filled = 0;
    for (;;) {
      const blob = await cache.get(`${pieces}${stored / pieceBytes}`);
      if (blob?.size === pieceBytes) {
        stored += pieceBytes;
        continue;
      }
      if (blob && blob.size < pieceBytes) {
        buffer = new Uint8Array(await blob.arrayBuffer());
        filled = blob.size;
      }
      break;
    }
    const flush = async (): Promise<void> => {
      if (filled > 0) await cache.put(`${pieces}${stored / pieceBytes}`, buffer.slice(0, filled));
    };
    let open = true;
    return {
      get size() {
        return stored + filled;
      },
      append: async (bytes) => {
        for (let at = 0; at < bytes.length;) {
          const part = bytes.subarray(at, at + pieceBytes - filled);
          reserve(filled + part.length);
          buffer.set(part, filled);
          filled += part.length;
          at += part.length;
          if (filled < pieceBytes) continue;
          await flush();
          stored += pieceBytes;
          filled = 0;
        }
      },
      read: async (start, end) => {
        const split = Math.min(end, Math.max(start, stored));
        const out = new Uint8Array(end - start);
        if (split > start) out.set(await this.#read(pieces, start, split));
        out.set(buffer.subarray(split - stored, end - stored), split - start);
        return out;
      },
      restart: async () => {
        for (let at = 0; at <= stored; at += pieceBytes) await cache.delete(`${pieces}${at / pieceBytes}`);
        stored = 0;
        filled = 0;
      },
      commit: async () => {
        await flush();
        await this.#put(name, JSON.stringify({ size: stored + filled, pieces } satisfies Contents));
        open = false;
      },
      close: async () => {
        try {
          if (open) await flush();
        } finally {
          open = false;
          release();
        }
      },
    };
  }

  digest: HubStore["digest"] = streamingDigest;
}

/** One download of a file at a time, over all pages of the site where the browser has locks for that. */
async function exclusive(name: string, signal: AbortSignal | undefined): Promise<() => void> {
  const { navigator } = globalThis as { navigator?: { locks?: LockManager } };
  const locks = navigator?.locks;
  if (!locks) return oneAtATime(name, signal);
  return new Promise((resolve, reject) => {
    locks
      .request(name, signal ? { signal } : {}, () => new Promise<void>((release) => resolve(() => release())))
      .catch(reject);
  });
}

/**
 * The page's Cache Storage; where there is none (a page that is not served from https or localhost, or an engine that is no
 * browser), memory, until the model is closed.
 */
export async function openBlobCache(): Promise<BlobCache> {
  const { caches } = globalThis as { caches?: CacheStorage };
  if (!caches) {
    const blobs = new Map<string, Blob>();
    return {
      get: (key) => Promise.resolve(blobs.get(key)),
      put: (key, bytes) => {
        blobs.set(key, new Blob([bytes as Uint8Array<ArrayBuffer>]));
        return Promise.resolve();
      },
      delete: (key) => {
        blobs.delete(key);
        return Promise.resolve();
      },
    };
  }
  const cache = await caches.open("sparseprobe");
  return {
    get: async (key) => (await cache.match(key))?.blob(),
    put: async (key, bytes) => {
      try {
        await cache.put(key, new Response(bytes as Uint8Array<ArrayBuffer>));
      } catch (cause) {
        throw new HubError(
          "storage",
          `The browser did not store a file: ${String(cause)}.`,
          "Free space, or allow the site more of it (`navigator.storage.persist()`), and load the model again.",
          { cause },
        );
      }
    },
    delete: async (key) => {
      await cache.delete(key);
    },
  };
}
