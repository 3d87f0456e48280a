/** The CPU backend as a browser page has it: threads when the page is cross-origin isolated, one otherwise. */
import { createCpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import type { Implementation } from "../implementations.ts";

export const IMPLEMENTATIONS: Readonly<Record<string, Implementation>> = {
  [crossOriginIsolated ? "cpu, 2 threads" : "cpu, 1 thread"]: {
    open: () => createCpuBackend({ kernels: "simd", threads: 2 }),
    unit: 2 ** -24,
    chain: (n) => n,
  },
};
