/** A device with the adapter's full limits from any WebGPU entry point (`navigator.gpu` or Dawn's). */
import { BackendUnavailableError } from "../../errors.ts";

/** A GPU device, for modules that may not name GPU types. */
export type WebGpuDevice = GPUDevice;

/** Which GPU of several. */
export type DevicePreference = GPUPowerPreference;

export interface DeviceRequest {
  /** Which GPU of several; default: the system's choice. */
  readonly powerPreference?: DevicePreference;
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

/**
 * @param gpu the entry point; default: the browser's `navigator.gpu`
 * @throws BackendUnavailableError when there is no WebGPU, no adapter, or the adapter refuses a device
 */
export async function requestDevice(
  gpu: GPU | undefined = browserEntry(),
  options: DeviceRequest = {},
): Promise<GPUDevice> {
  if (!gpu) {
    throw new BackendUnavailableError(
      "This environment has no WebGPU (`navigator.gpu` is missing).",
      "In Node import createBackend from the package's /node entry and install the package `webgpu`; in a browser " +
        "use a recent one over https; or use the CPU backend.",
    );
  }
  const { powerPreference } = options;
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  } catch (error) {
    throw new BackendUnavailableError("Asking for a GPU adapter failed.", REMEDY, { cause: error });
  }
  if (!adapter)
    throw new BackendUnavailableError("WebGPU is there, but it found no usable GPU adapter.", REMEDY);
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED) requiredLimits[name] = adapter.limits[name];
  try {
    return await adapter.requestDevice({ label: "sparseprobe", requiredLimits });
  } catch (error) {
    throw new BackendUnavailableError("The GPU adapter refused a device.", REMEDY, { cause: error });
  }
}

const REMEDY = "Check the graphics driver (Vulkan, Metal or Direct3D 12), or use the CPU backend.";

function browserEntry(): GPU | undefined {
  return (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
}

/** Whether a device is a CPU in disguise. */
export function isSoftwareDevice(device: GPUDevice): boolean {
  const info = (device as Partial<Pick<GPUDevice, "adapterInfo">>).adapterInfo;
  return info?.isFallbackAdapter === true || /swiftshader|llvmpipe|softpipe/i.test(info?.description ?? "");
}
