/** Picks the device that computes: the GPU where there is one, the CPU elsewhere. */
import { BackendUnavailableError, OptionError } from "../errors.ts";
import type { Backend } from "./backend.ts";
import { createCpuBackend } from "./cpu/cpu-backend.ts";
import { browserWorkers, type SpawnWorker } from "./cpu/wasm/worker-thread.ts";
import type { DevicePreference, WebGpuDevice } from "./webgpu/request-device.ts";

/** `"auto"` takes the GPU when there is one and says why when there is not. */
export type BackendKind = "auto" | "cpu" | "webgpu";

export interface CreateBackendOptions {
  /** The caller's own GPU device: used as it is and never destroyed. */
  readonly device?: WebGpuDevice;
  /** Which GPU of several; default: the system's choice. */
  readonly powerPreference?: DevicePreference;
  /** How to get a device instead of `navigator.gpu`; the backend owns what it returns. */
  readonly acquire?: () => Promise<WebGpuDevice>;
  /**
   * Threads of the cpu backend. Default: as many as the machine has cores, where threads can share memory (Node through
   * `sparseprobe/node`, a page that is cross-origin isolated), and 1 elsewhere.
   */
  readonly threads?: number;
  /** Kernels of the cpu backend; "reference" is the slow, readable float64 implementation. Default "simd" where it runs. */
  readonly kernels?: "simd" | "reference";
  /** How to start worker threads; default: a browser's workers. */
  readonly spawn?: SpawnWorker;
}

/** Cores of the machine, or 1 where no threads can be started. */
function availableThreads(spawn: SpawnWorker | undefined): number {
  if (!spawn && !browserWorkers()) return 1;
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  return navigator?.hardwareConcurrency ?? 1;
}

/**
 * A backend to pass to everything that computes. `await createBackend("auto")` never fails for lack of a GPU: it falls
 * back to the CPU and keeps the reason in `info.fallbackReason`. A GPU that is emulated in software (SwiftShader,
 * llvmpipe) counts as none for `"auto"`, since the CPU backend is faster. GPU code is loaded when it is first wanted.
 *
 * @throws BackendUnavailableError with `"webgpu"`, when there is no GPU device
 * @throws OptionError when the kind is unknown
 */
export async function createBackend(
  kind: BackendKind = "auto",
  options: CreateBackendOptions = {},
): Promise<Backend> {
  const cpu = {
    threads: options.threads ?? availableThreads(options.spawn),
    spawn: options.spawn,
    ...(options.kernels && { kernels: options.kernels }),
  };
  if (kind === "cpu") return createCpuBackend(cpu);
  if (!["auto", "webgpu"].includes(kind)) {
    throw new OptionError(
      `The backend ${JSON.stringify(kind)} is not known.`,
      'Use "auto", "cpu" or "webgpu".',
    );
  }
  try {
    return await createWebGpuBackend(kind, options);
  } catch (error) {
    if (kind === "webgpu" || !(error instanceof BackendUnavailableError)) throw error;
    return createCpuBackend({ ...cpu, fallbackReason: error.message });
  }
}

async function createWebGpuBackend(
  kind: BackendKind,
  { device, powerPreference, acquire }: CreateBackendOptions,
): Promise<Backend> {
  const { WebGpuBackend } = await import("./webgpu/webgpu-backend.ts");
  if (device) return new WebGpuBackend(device);
  const { isSoftwareDevice, requestDevice } = await import("./webgpu/request-device.ts");
  const gpu = await (
    acquire ?? (() => requestDevice(undefined, powerPreference ? { powerPreference } : {}))
  )();
  const backend = new WebGpuBackend(gpu, { owned: true });
  if (kind === "auto" && isSoftwareDevice(gpu)) {
    backend.dispose();
    throw new BackendUnavailableError(
      `The only GPU is emulated in software (${backend.info.device}).`,
      'Ask for "webgpu" to use it all the same.',
    );
  }
  return backend;
}
