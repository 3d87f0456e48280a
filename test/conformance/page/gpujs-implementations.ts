/** The backends that the conformance suite holds to the contract in a browser page. */
import { GPU } from "gpu.js";
import { GpuJsBackend } from "../../../src/backends/gpujs/gpujs-backend.ts";
import { createGpuJsBackend } from "../../../src/gpujs.ts";
import type { Implementation } from "../implementations.ts";

export const IMPLEMENTATIONS: Readonly<Record<string, Implementation>> = {
  "gpu.js (WebGL2)": { open: () => createGpuJsBackend(), unit: 2 ** -24, chain: (n) => n },
  // Small textures cut most matrices by rows, and the columns of a wide fit as well; no fit is too small for the device.
  "gpu.js (WebGL2, cut small)": {
    open: () => new GpuJsBackend(GPU, { mode: "webgl2", textureValues: 2048, leastProducts: 0 }),
    unit: 2 ** -24,
    chain: (n) => n,
  },
};
