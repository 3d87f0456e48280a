/** A WebGPU device in Node, through the optional package `webgpu` (Dawn). */
import { BackendUnavailableError } from "../errors.ts";
import { requestDevice, type DeviceRequest } from "../backends/webgpu/request-device.ts";

export interface NodeDeviceOptions extends DeviceRequest {
  /** Dawn's own switches, e.g. `["backend=vulkan"]`; default none. */
  readonly dawn?: readonly string[];
}

// Dawn crashes the process when the object from `create()` is collected while one of its devices lives, and a device
// cannot say when its last user has gone: so the objects are kept for good, one per set of switches.
const entries = new Map<string, GPU>();

async function entry(dawn: readonly string[]): Promise<GPU> {
  const key = JSON.stringify(dawn);
  const known = entries.get(key);
  if (known) return known;
  let create: (options: string[]) => GPU;
  try {
    ({ create } = await import("webgpu"));
  } catch (error) {
    throw new BackendUnavailableError(
      "The package `webgpu`, which gives Node a GPU, could not be loaded.",
      "Install it with `npm install webgpu`, or use the CPU backend.",
      { cause: error },
    );
  }
  // Another call may have come here during the import: a second object would push out the first, which has a device.
  const meanwhile = entries.get(key);
  if (meanwhile) return meanwhile;
  const gpu = create([...dawn]);
  entries.set(key, gpu);
  return gpu;
}

/**
 * A device on this machine's GPU, with the adapter's full limits.
 *
 * @throws BackendUnavailableError when the package is not installed or the machine has no usable GPU
 */
export async function requestNodeDevice(options: NodeDeviceOptions = {}): Promise<GPUDevice> {
  return requestDevice(await entry(options.dawn ?? []), options);
}
