/** The GPU that ours computes on, and how fast it copies and multiplies: the limits that its results are held against. */
import { createBackend, requestNodeDevice } from "sparseprobe/node";
import type { Rival } from "./rival.ts";

export interface GpuLimits {
  readonly device: string;
  /** Emulated on the CPU: no time measured on it is a GPU's. */
  readonly software: boolean;
  /** Device to device, bytes read and bytes written counted. */
  readonly gigabytesPerSecond: number;
  /** Of float32 products, where something on this machine tells. */
  readonly gigaflopsPerSecond?: number;
  readonly method: string;
}

const COPY_BYTES = 2 ** 28;
const SOFTWARE_BYTES = 2 ** 22;
const TRIES = 7;
const COPIES = 8;

/**
 * Measures the GPU: through PyTorch where that has CUDA here, else with copies of our own through WebGPU.
 * @throws BackendUnavailableError when there is no GPU
 */
export async function measureGpu(rival: Rival): Promise<GpuLimits> {
  const backend = await createBackend("webgpu");
  const { device } = backend.info;
  backend.dispose();
  // "auto" refuses a GPU that is emulated in software.
  const auto = await createBackend("auto");
  const software = auto.info.kind !== "webgpu";
  auto.dispose();
  if (rival.cuda !== undefined && !software) {
    await rival.load("gpu_limits", { bytes: COPY_BYTES });
    const limits = await rival.answer<{ copy: number; multiply: number }>("limits", {});
    return {
      device,
      software,
      gigabytesPerSecond: limits.copy,
      gigaflopsPerSecond: limits.multiply,
      method: `PyTorch on ${rival.cuda}: copies of 256 MiB, device to device, and a float32 product of 8,192² matrices without TF32`,
    };
  }
  const bytes = software ? SOFTWARE_BYTES : COPY_BYTES;
  return {
    device,
    software,
    gigabytesPerSecond: await copyRate(bytes),
    method: `WebGPU: ${COPIES} copies of ${bytes / 2 ** 20} MiB in one submission, buffer to buffer, best of ${TRIES}`,
  };
}

/** Gigabytes per second read and written by copies from buffer to buffer. */
async function copyRate(bytes: number): Promise<number> {
  const device = await requestNodeDevice();
  // GPUBufferUsage COPY_SRC | COPY_DST, whose names Node does not have.
  const buffers = ["from", "to"].map((label) => device.createBuffer({ label, size: bytes, usage: 4 | 8 }));
  let best = Infinity;
  for (let i = 0; i <= TRIES; i++) {
    const commands = device.createCommandEncoder({ label: "copies" });
    for (let copy = 0; copy < COPIES; copy++) {
      commands.copyBufferToBuffer(buffers[copy % 2], 0, buffers[(copy + 1) % 2], 0, bytes);
    }
    const start = performance.now();
    device.queue.submit([commands.finish()]);
    await device.queue.onSubmittedWorkDone();
    // The first submission touches the memory.
    if (i > 0) best = Math.min(best, (performance.now() - start) / 1000);
  }
  for (const buffer of buffers) buffer.destroy();
  device.destroy();
  return (2 * COPIES * bytes) / best / 1e9;
}
