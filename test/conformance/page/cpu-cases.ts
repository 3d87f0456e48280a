/** What only a page can tell of the CPU backend. */
import { createCpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { createBackend } from "../../../src/backends/create-backend.ts";
import type { LogisticProblem } from "../../../src/backends/backend.ts";
import { randomActivations, randomLabels } from "../../support/random-data.ts";
import { describe, expect, it } from "vitest";

describe("the CPU backend of a page", () => {
  it("says how many threads it has", async () => {
    const threads = crossOriginIsolated ? 2 : 1;
    const backend = await createBackend("cpu", { threads: 2 });
    expect(backend.info.threads).toBe(threads);
    const x = await backend.upload(randomActivations(1, 60_000, 6));
    await backend.gatherColumns(x, Uint32Array.of(0, 5));
    expect(backend.info.threads).toBe(threads);
    expect(backend.info.device).toContain("WebAssembly");
    expect((await createBackend("cpu")).info.threads).toBe(
      crossOriginIsolated ? navigator.hardwareConcurrency : 1,
    );
    backend.dispose();
  });

  it("never blocks the page for 50 ms while it fits", async () => {
    const tasks: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    });
    const pause = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 100));
    const data = randomActivations(2, 20_000, 300);
    const labels = randomLabels(2, data, 1);
    const problems = [1, 16, 64, 256].map((k): LogisticProblem => ({
      feature: 0,
      support: Uint32Array.from({ length: k }, (_, j) => j),
    }));
    const options = { C: 1, balanced: true, tolerance: 1e-16, maxIterations: 100 };
    const backend = createCpuBackend({ kernels: "simd", threads: 2 });
    const x = await backend.upload(data);
    // Making the data was a long task of its own.
    await pause();
    observer.observe({ entryTypes: ["longtask"] });
    // Tasks are measured by the clock, and the machine may be busy with something else: one clean run of three will do.
    for (let attempt = 0; attempt < 3; attempt++) {
      tasks.length = 0;
      await backend.classMoments(x, labels);
      await backend.fitLogistic(x, labels, problems, options);
      await pause();
      if (tasks.length === 0) break;
    }
    observer.disconnect();
    expect(tasks).toEqual([]);
    backend.dispose();
  });
});
