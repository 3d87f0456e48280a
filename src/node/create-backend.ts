/** `createBackend` for Node: the same, with a GPU from the package `webgpu` and threads from `worker_threads`. */
import { availableParallelism } from "node:os";
import type { Backend } from "../backends/backend.ts";
import {
  createBackend as createBackendAnywhere,
  type BackendKind,
  type CreateBackendOptions,
} from "../backends/create-backend.ts";
import { requestNodeDevice, type NodeDeviceOptions } from "./gpu.ts";
import { spawnWorker } from "./spawn-worker.ts";

export interface NodeBackendOptions
  extends Omit<CreateBackendOptions, "acquire" | "spawn">, NodeDeviceOptions {}

/**
 * Makes a backend.
 *
 * @param kind `"auto"` (default) takes the GPU where there is one and otherwise the CPU, with the reason in
 *   `info.fallbackReason`
 * @throws BackendUnavailableError for `"webgpu"` where the package is not installed or finds no adapter
 */
export function createBackend(
  kind: BackendKind = "auto",
  options: NodeBackendOptions = {},
): Promise<Backend> {
  return createBackendAnywhere(kind, {
    ...options,
    threads: options.threads ?? availableParallelism(),
    spawn: spawnWorker,
    acquire: () => requestNodeDevice(options),
  });
}
