/** Models from a hub, through the disk's cache: the whole way, and everything that may go wrong on it. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { HubError } from "../../src/errors.ts";
import type { LoadFromHubOptions } from "../../src/hub/hub-options.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFromHub, openHubModel, type CacheFolderOptions } from "../../src/node/hub.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { COMMIT, HubServer, modelPath, NAME } from "./hub-server.ts";

let hub: HubServer;
let cacheFolder: string;
beforeEach(async () => {
  hub = await HubServer.start();
  cacheFolder = await mkdtemp(join(tmpdir(), "hub-"));
});
afterEach(async () => {
  await hub.stop();
  await rm(cacheFolder, { recursive: true });
});

const load = (options: LoadFromHubOptions & CacheFolderOptions = {}): Promise<LanguageModel> =>
  loadModelFromHub(NAME, createCpuBackend(), {
    endpoint: hub.endpoint,
    cacheFolder,
    retries: 3,
    stallTimeout: 500,
    ...options,
  });

async function logits(model: LanguageModel): Promise<Float32Array> {
  const tokens = Uint32Array.of(5, 100, 42, 7);
  const result = await model.transformer.forward(
    { tokens, offsets: Uint32Array.of(0, tokens.length) },
    { hookPoints: [], logits: "all" },
  );
  return result.logits!;
}

describe("loadModelFromHub", () => {
  it("gives the model that the folder gives, bit for bit", async () => {
    const model = await load();
    expect(model.name).toBe(`${NAME}@${COMMIT}`);
    const local = await loadModelFolder(modelPath, createCpuBackend());
    expect(await logits(model)).toEqual(await logits(local));
  });
});
