/** `createBackend` for Node: the same, with a GPU from the package `webgpu`. */
import type { Backend } from "../backends/backend.ts";
import {
  createBackend as createBackendAnywhere,
  type BackendKind,
  type CreateBackendOptions,
} from "../backends/create-backend.ts";
import { requestNodeDevice, type NodeDeviceOptions } from "./gpu.ts";

export interface NodeBackendOptions extends Omit<CreateBackendOptions, "acquire">, NodeDeviceOptions {}

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
  return createBackendAnywhere(kind, { ...options, acquire: () => requestNodeDevice(options) });
}
