/** A device with the adapter's full limits from any WebGPU entry point (`navigator.gpu` or Dawn's). */
import { BackendUnavailableError } from "../../errors.ts";

export interface DeviceRequest {
  /** Which GPU of several; default: the system's choice. */
  readonly powerPreference?: GPUPowerPreference;
}

/** Limits that the default device keeps far below what adapters have. */
const RAISED = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Features that some kernels can use; a device is asked only for those that its adapter has. */
const OPTIONAL: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query"];

/** @throws BackendUnavailableError when there is no adapter or it refuses a device */
export async function requestDevice(gpu: GPU, options: DeviceRequest = {}): Promise<GPUDevice> {
  const { powerPreference } = options;
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  } catch (error) {
    throw new BackendUnavailableError("Asking for a GPU adapter failed.", REMEDY, { cause: error });
  }
  if (!adapter) throw new BackendUnavailableError("WebGPU is there, but it found no usable GPU adapter.", REMEDY);
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures = OPTIONAL.filter((feature) => adapter.features.has(feature));
  try {
    return await adapter.requestDevice({ label: "sparseprobe", requiredLimits, requiredFeatures });
  } catch (error) {
    throw new BackendUnavailableError("The GPU adapter refused a device.", REMEDY, { cause: error });
  }
}

const REMEDY = "Check the graphics driver (Vulkan, Metal or Direct3D 12), or use the CPU backend.";
