import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HookPoint } from "../../src/backends/backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { readActivations } from "../../src/io/activations-file.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { captureToFolder } from "../../src/node/capture.ts";
import { fileSource } from "../../src/node/files.ts";
import { loadFixture } from "../model/fixtures.ts";
import { TEXTS } from "./texts.ts";

const POINTS: HookPoint[] = ["blocks.0.mlp.hook_post", "blocks.1.hook_resid_post"];

describe("captureToFolder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "capture-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it.each(["f32", "f16", "u8"] as const)("writes what captureActivations gives: %s", async (storage) => {
    const model = await loadFixture("parallel");
    const options = {
      hookPoints: POINTS,
      storage,
      batchTokens: 30,
      groups: TEXTS.map((_, i) => `d${i % 2}`),
    };
    const paths = await captureToFolder(model, TEXTS, join(folder, "new"), options);
    const expected = await captureActivations(model, TEXTS, options);
    expect(await readdir(join(folder, "new"))).toEqual(POINTS.map((point) => `${point}.safetensors`).sort());
    for (const point of POINTS) {
      const source = await fileSource(paths.get(point)!);
      const activations = await readActivations(await openSafetensors(source));
      await source.close();
      const want = expected.get(point)!;
      expect(activations.data).toEqual(want.data);
      expect(activations.code).toEqual(want.code);
      expect(activations.groups).toEqual(want.groups);
      expect(activations.provenance).toEqual(want.provenance);
    }
  });

  it("leaves nothing behind when it is stopped", async () => {
    const model = await loadFixture("parallel");
    const controller = new AbortController();
    const capture = captureToFolder(model, TEXTS, folder, {
      hookPoints: POINTS,
      batchTokens: 20,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("stopped")),
    });
    await expect(capture).rejects.toThrow("stopped");
    expect(await readdir(folder)).toEqual([]);
  });
});
