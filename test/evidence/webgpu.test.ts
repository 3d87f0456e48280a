/** Evidence on a GPU: what the CPU finds, and no memory left behind. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { logitEffects, neuronEvidence, weightStatistics } from "../../src/evidence/evidence.ts";
import type { NeuronEvidenceOptions } from "../../src/evidence/collect-evidence.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { TEXTS } from "../capture/texts.ts";
import { fixturePath } from "../model/fixtures.ts";
import { openTestBackend } from "../support/gpu.ts";

const OPTIONS: NeuronEvidenceOptions = {
  neurons: [
    { layer: 1, neuron: 17 },
    { layer: 0, neuron: 63 },
    { hookPoint: "blocks.1.hook_resid_post", neuron: 4 },
  ],
  labels: TEXTS.map((text) => /[а-я]/.test(text)),
  skipFirst: 1,
  top: 5,
  bottom: 5,
  batchTokens: 80,
};

describe("on a GPU", () => {
  let backend: WebGpuBackend;
  let model: LanguageModel;
  let cpu: LanguageModel;
  let resident: number;
  beforeAll(async () => {
    backend = await openTestBackend();
    model = await loadModelFolder(fixturePath("parallel"), backend);
    cpu = await loadModelFolder(fixturePath("parallel"), createCpuBackend());
    await neuronEvidence(model, TEXTS, OPTIONS);
    resident = backend.device.liveBytes;
  });
  afterAll(() => {
    backend.dispose();
  });

  it("finds the CPU's examples, means and disambiguation", async () => {
    const [got, want] = await Promise.all([model, cpu].map((on) => neuronEvidence(on, TEXTS, OPTIONS)));
    // Two float32 passes: 1e-5 of the largest activation, as for captures.
    const close = (a: number, b: number, scale: number): void => {
      expect(Math.abs(a - b)).toBeLessThan(1e-5 * scale);
    };
    expect(got.rows).toBe(want.rows);
    for (const [n, neuron] of got.neurons.entries()) {
      const other = want.neurons[n];
      const scale = Math.max(...other.classes.map(({ least, largest }) => Math.max(-least, largest)));
      for (const list of ["top", "bottom"] as const) {
        expect(neuron[list].map(({ text, position, passage }) => [text, position, passage])).toEqual(
          other[list].map(({ text, position, passage }) => [text, position, passage]),
        );
        for (const [i, { activation }] of neuron[list].entries()) {
          close(activation, other[list][i].activation, scale);
        }
      }
      for (const [c, of] of neuron.classes.entries()) {
        expect([of.label, of.rows]).toEqual([other.classes[c].label, other.classes[c].rows]);
        close(of.mean, other.classes[c].mean, scale);
      }
      const [split, otherSplit] = [neuron.disambiguation[0], other.disambiguation[0]];
      expect(split.tokens.map(({ id }) => id)).toEqual(otherSplit.tokens.map(({ id }) => id));
      close(split.within!, otherSplit.within!, scale);
      close(split.difference!, otherSplit.difference!, scale);
    }
    expect(backend.device.liveBytes).toBe(resident);
  });

  it("reads the same weights, and gives its memory back when stopped", async () => {
    expect(await weightStatistics(model)).toEqual(await weightStatistics(cpu));
    expect(await logitEffects(model, [{ layer: 1, neuron: 17 }])).toEqual(
      await logitEffects(cpu, [{ layer: 1, neuron: 17 }]),
    );
    const controller = new AbortController();
    const stopped = neuronEvidence(model, TEXTS, {
      ...OPTIONS,
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(backend.device.liveBytes).toBe(resident);
  });
});
