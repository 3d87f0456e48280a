/** What only WebGL2 can do to the gpu.js backend. */
import { GPU } from "gpu.js";
import { createCpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../../src/data/activations.ts";
import { createGpuJsBackend } from "../../../src/gpujs.ts";
import { expectClose } from "../../support/expect-close.ts";
import { randomActivations, randomLabels } from "../../support/random-data.ts";
import { describe, expect, it } from "vitest";

describe("WebGL2", () => {
  it("reports a context that is lost", async () => {
    let context: WebGL2RenderingContext | undefined;
    class Observed extends GPU {
      constructor(settings: ConstructorParameters<typeof GPU>[0]) {
        super(settings);
        queueMicrotask(() => (context = this.context as WebGL2RenderingContext));
      }
    }
    const backend = await createGpuJsBackend({ GPU: Observed });
    const x = await backend.upload(randomActivations(1, 20, 5));
    context!.getExtension("WEBGL_lose_context")!.loseContext();
    await expect(backend.gatherColumns(x, Uint32Array.of(0))).rejects.toMatchObject({ code: "device-lost" });
    await expect(backend.upload(randomActivations(1, 20, 5))).rejects.toMatchObject({ code: "device-lost" });
    backend.dispose();
  });

  it("names its renderer, and takes GPU instances as they come and go", async () => {
    // Browsers keep about 16 WebGL contexts: a backend that does not give its own back would take them from others.
    for (let i = 0; i < 20; i++) {
      const backend = await createGpuJsBackend();
      expect(backend.info.kind).toBe("gpujs");
      expect(backend.info.device).toMatch(/^gpu\.js on WebGL2: ./);
      backend.dispose();
    }
  });

  it("sums rows of one class across textures to the bound that holds for a block", async () => {
    // 3000 rows of a neuron far from zero: one float32 sum would be off by 3000 · 2⁻²⁴ of its magnitude.
    const x = randomActivations(2, 3000, 7);
    const labels = randomLabels(2, x, 2);
    const matrix = new Activations(
      x.toFloat32().map((v) => v + 500),
      [3000, 7],
    );
    const cpu = createCpuBackend();
    const backend = await createGpuJsBackend();
    const want = await cpu.classMoments(await cpu.upload(matrix), labels);
    const got = await backend.classMoments(await backend.upload(matrix), labels);
    const gamma = (128 + 6) * 2 ** -24;
    const spread = (at: number) => Math.sqrt(want.sumOfSquares![at] / want.count[Math.floor(at / 7)]);
    // A block's first row lies within 6 standard deviations, so the mean of |x − x₁| stays below 7 of them.
    const off = (at: number) => gamma * 7 * spread(at) + 2 ** -24 * Math.abs(want.mean[at]);
    expectClose(got.mean, want.mean, off, "mean");
    expectClose(
      got.sumOfSquares!,
      want.sumOfSquares!,
      (at) => 2 * gamma * want.sumOfSquares![at] + want.count[Math.floor(at / 7)] * off(at) ** 2,
      "sumOfSquares",
    );
    backend.dispose();
  });
});
