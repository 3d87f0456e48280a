/**
 * A backend on gpu.js, for browsers that have WebGL2 and no WebGPU. Needs the package `gpu.js`, an optional peer.
 *
 * @example
 * import { createGpuJsBackend } from "sparseprobe/gpujs";
 * import { SparseProbe } from "sparseprobe";
 *
 * const backend = await createGpuJsBackend();
 * const probe = await SparseProbe.fit(activations, labels, 4, { backend });
 *
 * @module
 */
import type { Backend } from "./backends/backend.ts";
import type { GpuJsConstructor, GpuJsMode } from "./backends/gpujs/device.ts";
import { GpuJsBackend } from "./backends/gpujs/gpujs-backend.ts";
import { BackendUnavailableError } from "./errors.ts";

export type { GpuJsConstructor, GpuJsMode } from "./backends/gpujs/device.ts";

export interface CreateGpuJsOptions {
  /** gpu.js' `GPU` class, where a script tag brought it; default: the installed package. */
  readonly GPU?: GpuJsConstructor;
  /**
   * "webgl2" (the default), or "cpu" for gpu.js' own JavaScript: a check of the shaders that runs in Node too, slower
   * than the CPU backend.
   */
  readonly mode?: GpuJsMode;
}

/**
 * A backend for class moments, gathered columns and fits in WebGL2. It runs no models. Uploads must be finite.
 * @throws BackendUnavailableError when gpu.js is not installed, or there is no WebGL2 with float32 textures
 */
export async function createGpuJsBackend(options: CreateGpuJsOptions = {}): Promise<Backend> {
  return new GpuJsBackend(options.GPU ?? (await importGpuJs()), { mode: options.mode ?? "webgl2" });
}

async function importGpuJs(): Promise<GpuJsConstructor> {
  try {
    const module = (await import("gpu.js")) as unknown as GpuJsModule;
    return module.GPU ?? module.default!.GPU!;
  } catch (cause) {
    throw new BackendUnavailableError(
      "The package gpu.js cannot be loaded.",
      "Install it: npm install gpu.js. Or pass its GPU class.",
      { cause },
    );
  }
}

/** The package as bundlers and Node present it: named exports or a default export with them. */
interface GpuJsModule {
  readonly GPU?: GpuJsConstructor;
  readonly default?: { readonly GPU?: GpuJsConstructor };
}
