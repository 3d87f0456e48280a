/** The gpu.js backend beyond the contract, on gpu.js' own JavaScript: its kernels, without WebGL2. */
import { GPU } from "gpu.js";
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { GpuJsBackend } from "../../src/backends/gpujs/gpujs-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { createGpuJsBackend } from "../../src/gpujs.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const open = (textureValues?: number) =>
  new GpuJsBackend(GPU, { mode: "cpu", leastProducts: 0, ...(textureValues && { textureValues }) });

describe("gpu.js backend", () => {
  it("says that there is no WebGL2 in Node", async () => {
    await expect(createGpuJsBackend()).rejects.toMatchObject({ code: "backend-unavailable" });
  });

  it("refuses what WebGL2 does not promise to compute with", async () => {
    const backend = open();
    const bad = new Activations(Float32Array.of(1, NaN, 2, 3), [2, 2]);
    await expect(backend.upload(bad)).rejects.toMatchObject({ code: "non-finite" });
    const large = await backend.upload(new Activations(Float32Array.of(1e20, 1, 2, 3), [2, 2]));
    const labels = new LabelMatrix(["f"], 2, Uint8Array.of(0, 1));
    await expect(backend.classMoments(large, labels)).rejects.toMatchObject({ code: "non-finite" });
  });

  it("refuses foreign buffers, models, foreign handles and sizes out of range", async () => {
    const backend = open();
    expect(() => backend.adopt()).toThrow(/WebGPU buffer/);
    await expect(backend.loadTransformer()).rejects.toMatchObject({ code: "unsupported-model" });
    const elsewhere = await createCpuBackend().upload(randomActivations(1, 4, 3));
    await expect(backend.gatherColumns(elsewhere, Uint32Array.of(0))).rejects.toMatchObject({
      code: "option",
    });
    expect(() => open(10)).toThrow(/textureValues/);
    const wide = new Activations(new Float32Array(100), [1, 100]);
    await expect(open(64).upload(wide)).rejects.toMatchObject({ code: "out-of-memory" });
  });

  it("computes on gpu.js' JavaScript where asked to", async () => {
    const { info } = await createGpuJsBackend({ mode: "cpu" });
    expect(info).toEqual({ kind: "gpujs", device: "gpu.js in JavaScript", threads: 1 });
  });

  it("refuses to work after it was disposed of", async () => {
    const backend = open();
    const x = await backend.upload(randomActivations(1, 4, 3));
    backend.dispose();
    backend.dispose();
    await expect(backend.upload(randomActivations(1, 4, 3))).rejects.toMatchObject({ code: "disposed" });
    await expect(backend.gatherColumns(x, Uint32Array.of(0))).rejects.toMatchObject({ code: "disposed" });
  });

  it("aggregates segments whose rows lie in several textures, in any order", async () => {
    const x = randomActivations(3, 40, 8);
    const rows = Uint32Array.of(39, 2, 17, 0, 38, 20, 1);
    const offsets = Uint32Array.of(0, 3, 5, 7);
    const cpu = createCpuBackend();
    const backend = open(64);
    for (const aggregation of ["token", "mean", "max", "last"] as const) {
      const segments = { rows, offsets };
      const want = await (await cpu.aggregateRows(await cpu.upload(x), aggregation, segments)).read();
      const got = await (await backend.aggregateRows(await backend.upload(x), aggregation, segments)).read();
      // Two float32 additions and a division, of values below 16.
      expectClose(got.data, want.data, aggregation === "mean" ? 4 * 2 ** -24 * 16 : 0, aggregation);
      expect(got.provenance).toEqual(want.provenance);
    }
  });

  it("fits wide problems like the CPU, whole and cut into textures", async () => {
    const x = randomActivations(4, 400, 40);
    const labels = randomLabels(4, x, 2, 0.1);
    const problems = [16, 24, 40].flatMap((k) =>
      [0, 1].map((feature) => ({ feature, support: Uint32Array.from({ length: k }, (_, j) => 39 - j) })),
    );
    const options = { C: 0.5, balanced: true, tolerance: 1e-16, maxIterations: 100 };
    const cpu = createCpuBackend();
    const want = await cpu.fitLogistic(await cpu.upload(x), labels, problems, options);
    for (const backend of [open(), open(2048)]) {
      const seen: number[] = [];
      const onProgress = (done: number) => seen.push(done);
      const got = await backend.fitLogistic(await backend.upload(x), labels, problems, {
        ...options,
        onProgress,
      });
      expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
      for (const [p, fit] of got.entries()) {
        expect(fit.convergence.converged).toBe(true);
        const size = Math.max(...want[p].coefficients.map(Math.abs));
        // A decrement of 1e-16 leaves about its root, over the root of the Hessian's least eigenvalue.
        expectClose(fit.coefficients, want[p].coefficients, 1e-6 * size, `problem ${p}`);
      }
    }
  });
});
