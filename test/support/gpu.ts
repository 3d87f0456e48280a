/**
 * Devices for tests. On linux-x64 they run on SwiftShader (see software-gpu.ts), elsewhere on the machine's GPU. A
 * device that cannot be had is a failure, never a skip.
 */
import { ComputeDevice } from "../../src/backends/webgpu/device.ts";
import { WebGpuBackend, type WebGpuBackendOptions } from "../../src/backends/webgpu/webgpu-backend.ts";
import { requestNodeDevice } from "../../src/node/gpu.ts";
import { create } from "webgpu";

let shared: Promise<ComputeDevice> | undefined;

/** The device that the tests of one file share. */
export function openTestDevice(): Promise<ComputeDevice> {
  shared ??= freshTestDevice();
  return shared;
}

/** A device of its own, for tests that break it. */
export async function freshTestDevice(): Promise<ComputeDevice> {
  return new ComputeDevice(await requestNodeDevice(), { owned: true });
}

/** Dawn's null backend: compiles and validates everything, executes nothing, and has WebGPU's default limits. */
export async function openNullDevice(): Promise<ComputeDevice> {
  return new ComputeDevice(await requestNodeDevice({ dawn: ["backend=null"] }), { owned: true });
}

/**
 * The WebGPU backend on a device of its own. Fails when there is none.
 * @param options smaller limits, to drive a small matrix through the paths of a large one
 */
export async function openTestBackend(
  options: Pick<WebGpuBackendOptions, "maxBindingBytes" | "workBytes"> = {},
): Promise<WebGpuBackend> {
  return new WebGpuBackend(await requestNodeDevice(), { ...options, owned: true });
}

// Kept for good: see src/node/gpu.ts.
let plain: GPU | undefined;

/** The WebGPU backend on a device that asked for nothing: 8 storage buffers, 16 KiB of workgroup memory. */
export async function openDefaultLimitsBackend(
  options: Pick<WebGpuBackendOptions, "maxBindingBytes" | "workBytes"> = {},
): Promise<WebGpuBackend> {
  plain ??= create([]);
  const adapter = await plain.requestAdapter();
  return new WebGpuBackend(await adapter!.requestDevice(), { ...options, owned: true });
}
