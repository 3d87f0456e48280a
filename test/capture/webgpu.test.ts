/** Captures on a GPU: what the CPU captures, and no memory left behind. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HookPoint } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { probeTexts } from "../../src/capture/probe-texts.ts";
import type { ProbeTextsOptions } from "../../src/capture/text-study.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { fixturePath, worstShare } from "../model/fixtures.ts";
import { openTestBackend } from "../support/gpu.ts";
import { TEXTS } from "./texts.ts";

const POINTS: HookPoint[] = ["blocks.0.mlp.hook_post", "blocks.1.mlp.hook_post"];
const texts = [...TEXTS, ...TEXTS.map((text) => `${text} ${text}`)];
const labels = texts.map((text) => (/[а-я]/.test(text) ? "cyrillic" : "latin"));
const OPTIONS: ProbeTextsOptions = {
  hookPoints: POINTS,
  aggregation: "mean",
  ks: [1, 3],
  batchTokens: 120,
  fractions: { train: 0.5, validation: 0.25, test: 0.25 },
};

describe("on a GPU", () => {
  let backend: WebGpuBackend;
  let model: LanguageModel;
  /** Bytes that the loaded model takes once it has run. */
  let resident: number;
  beforeAll(async () => {
    backend = await openTestBackend();
    model = await loadModelFolder(fixturePath("parallel"), backend);
    await captureActivations(model, texts, { hookPoints: POINTS });
    resident = backend.device.liveBytes;
  });
  afterAll(() => {
    backend.dispose();
  });

  it.each(["f32", "f16"] as const)("captures what the CPU captures, in any batches: %s", async (storage) => {
    const cpu = await loadModelFolder(fixturePath("parallel"), createCpuBackend());
    const options = { hookPoints: POINTS, storage };
    const want = await captureActivations(cpu, texts, options);
    const captures = (storage === "f32" ? [60, 4096] : [4096]).map((batchTokens) =>
      captureActivations(model, texts, { ...options, batchTokens }),
    );
    for (const got of await Promise.all(captures)) {
      for (const point of POINTS) {
        const [a, b] = [got.get(point)!.toFloat32(), want.get(point)!.toFloat32()];
        // Halves are spaced by 2⁻¹¹ of a value: a difference of float32 size may round to the next.
        if (storage === "f32") expect(worstShare(a, b)).toBeLessThan(1);
        else expect(worstShare(a, b)).toBeLessThan(2 ** -11 / 1e-5);
      }
    }
    expect(backend.device.liveBytes).toBe(resident);
  });

  it.each([0, 2 ** 28])(
    "probes texts as the CPU does, also a second time, and keeps nothing: keepBytes %i",
    async (keepBytes) => {
      const cpu = await loadModelFolder(fixturePath("parallel"), createCpuBackend());
      const want = await probeTexts(cpu, { texts, labels }, { ...OPTIONS, keepBytes });
      for (let run = 0; run < (keepBytes === 0 ? 2 : 1); run++) {
        const got = await probeTexts(model, { texts, labels }, { ...OPTIONS, keepBytes });
        expect(got.failures).toEqual([]);
        expect(got.split).toEqual(want.split);
        expect(
          got.rows.map(({ feature, k, hookPoint, neurons }) => [feature, k, hookPoint, neurons]),
        ).toEqual(want.rows.map(({ feature, k, hookPoint, neurons }) => [feature, k, hookPoint, neurons]));
        expect(backend.device.liveBytes).toBe(resident);
      }
    },
  );

  it.each([
    [0, ["moments", "columns", "fit", "evaluate"]],
    [2 ** 28, ["moments", "fit", "evaluate"]],
  ] as const)("gives its memory back wherever it is stopped: keepBytes %i", async (keepBytes, stages) => {
    for (const stage of stages) {
      const controller = new AbortController();
      const probing = probeTexts(
        model,
        { texts, labels },
        {
          ...OPTIONS,
          keepBytes,
          signal: controller.signal,
          onProgress: (now) => {
            if (now === stage) controller.abort(stage);
          },
        },
      );
      await expect(probing).rejects.toBe(stage);
      expect(backend.device.liveBytes, stage).toBe(resident);
    }
  });

  it("ends with a typed error when the device is lost between batches, which breaks it for good", async () => {
    const capture = captureActivations(model, texts, {
      hookPoints: POINTS,
      batchTokens: 40,
      onProgress: () => {
        backend.device.gpu.destroy();
      },
    });
    await expect(capture).rejects.toMatchObject({ code: "device-lost" });
    await expect(captureActivations(model, texts, { hookPoints: POINTS })).rejects.toMatchObject({
      code: "device-lost",
    });
  });
});
