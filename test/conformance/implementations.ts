/** The backends that the conformance suite holds to the contract in Node; a page has its own list (page/). */
import { GPU } from "gpu.js";
import type { Backend } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { GpuJsBackend } from "../../src/backends/gpujs/gpujs-backend.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { openDefaultLimitsBackend, openTestBackend } from "../support/gpu.ts";

export interface Implementation {
  readonly open: () => Backend | Promise<Backend>;
  /** Unit roundoff of its sums. */
  readonly unit: number;
  /** Additions that one term of a sum of n goes through, at most. */
  readonly chain: (n: number) => number;
}

export const IMPLEMENTATIONS: Readonly<Record<string, Implementation>> = {
  "cpu, reference": {
    open: () => createCpuBackend({ kernels: "reference" }),
    unit: 2 ** -53,
    chain: (n) => n,
  },
  "cpu, 1 thread": { open: () => createCpuBackend({ kernels: "simd" }), unit: 2 ** -24, chain: (n) => n },
  "cpu, 2 threads": {
    open: () => createCpuBackend({ kernels: "simd", threads: 2, spawn: spawnWorker }),
    unit: 2 ** -24,
    chain: (n) => n,
  },
  webgpu: { open: () => openTestBackend(), unit: 2 ** -24, chain: (n) => n },
  // A small binding cuts most matrices into row chunks, and the problems of a fit into batches.
  "webgpu (default limits, cut small)": {
    open: () => openDefaultLimitsBackend({ maxBindingBytes: 12_288, workBytes: 4096 }),
    unit: 2 ** -24,
    chain: (n) => n,
  },
  "gpu.js (JavaScript)": {
    open: () => new GpuJsBackend(GPU, { mode: "cpu", leastProducts: 0 }),
    unit: 2 ** -24,
    chain: (n) => n,
  },
};
