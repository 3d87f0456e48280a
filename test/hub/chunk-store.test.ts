/** Files in pieces, as browsers keep them, on a cache in memory. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { ChunkStore, type BlobCache } from "../../src/hub/chunk-store.ts";
import { openModel } from "../../src/hub/hub-model.ts";
import type { HubModel, HubOptions } from "../../src/hub/hub-options.ts";
import { loadModelFromHub } from "../../src/hub/load-from-hub.ts";
import { COMMIT, HubServer, NAME, sha256 } from "./hub-server.ts";

const PIECE = 1_000_000;
const WEIGHTS = "model.safetensors";

let hub: HubServer;
let blobs: Map<string, Blob>;
beforeEach(async () => {
  hub = await HubServer.start();
  blobs = new Map();
});
afterEach(() => hub.stop());

const cache: BlobCache = {
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
const openStore = (): ChunkStore => new ChunkStore(cache, `${hub.endpoint}/${NAME}`, PIECE);
const open = (options: HubOptions = {}): Promise<HubModel> =>
  openModel(NAME, { endpoint: hub.endpoint, retries: 1, stallTimeout: 400, ...options }, () =>
    Promise.resolve(openStore()),
  );
const weights = (): Buffer => hub.files.get(WEIGHTS)!;
const downloads = (): (string | undefined)[] => hub.bodies(sha256(weights())).map(({ range }) => range);

describe("the store in pieces", () => {
  it("gives back any range of a file, over the borders of pieces", async () => {
    await (await open()).tensors();
    const file = await openStore().open(COMMIT, WEIGHTS);
    if (file === undefined || file === "absent") throw new Error("not stored");
    expect(file.size).toBe(weights().length);
    for (const [start, end] of [
      [0, 8],
      [PIECE - 3, PIECE + 3],
      [PIECE, 2 * PIECE],
      [17, 3 * PIECE + 1],
      [file.size - 5, file.size],
      [4, 4],
    ]) {
      expect(Buffer.from(await file.read(start, end)).equals(weights().subarray(start, end))).toBe(true);
    }
    await expect(file.read(0, file.size + 1)).rejects.toMatchObject({ code: "format" });
    const [key] = [...blobs.keys()].filter((name) => name.endsWith("piece=2"));
    blobs.delete(key);
    await expect(file.read(0, file.size)).rejects.toMatchObject({ reason: "storage" });
  });

  it("goes on after a page was left, piece and part of a piece alike", async () => {
    const controller = new AbortController();
    const aborted = (
      await open({
        signal: controller.signal,
        onProgress: (done) => {
          if (done > 2_500_000) controller.abort(new Error("left"));
        },
      })
    ).tensors();
    await expect(aborted).rejects.toThrow("left");
    expect(await openStore().open(COMMIT, WEIGHTS)).toBeUndefined();
    hub.requests.length = 0;
    await (await open()).tensors();
    expect(Number(/^bytes=(\d+)-$/.exec(downloads()[0]!)![1])).toBeGreaterThan(2_500_000);
    hub.requests.length = 0;
    await (await open({ offline: true })).tensors();
    expect(hub.requests).toEqual([]);
  });

  it("forgets pieces that turn out damaged, and fetches them again", async () => {
    hub.trouble = ({ host }) => (host === "content" ? { kind: "cut", after: 2_500_000 } : undefined);
    await expect((await open({ retries: 0 })).tensors()).rejects.toMatchObject({ reason: "network" });
    hub.trouble = () => undefined;
    const [key] = [...blobs.keys()].filter((name) => name.endsWith("piece=1"));
    blobs.set(key, new Blob([new Uint8Array(PIECE)]));
    await (await open()).tensors();
    expect(downloads().at(-1)).toBeUndefined();
  });

  it("refuses bytes with another checksum and keeps none of them", async () => {
    hub.trouble = ({ host }) => (host === "content" ? { kind: "changed" } : undefined);
    await expect((await open()).tensors()).rejects.toMatchObject({ reason: "checksum" });
    expect([...blobs.keys()].filter((name) => name.includes("piece") && name.includes(WEIGHTS))).toEqual([]);
  });

  it("fetches a file once for two that want it", async () => {
    await Promise.all([(await open()).tensors(), (await open()).tensors()]);
    expect(downloads()).toHaveLength(1);
  });

  it("is in memory where there is no Cache Storage", async () => {
    const model = await loadModelFromHub(NAME, createCpuBackend(), { endpoint: hub.endpoint });
    expect(model.name).toBe(`${NAME}@${COMMIT}`);
    model.dispose();
  });
});
