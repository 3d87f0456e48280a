/**
 * Fits that a GPU backend leaves to the host: the activations are read back and the CPU backend's kernels do the rest, on the
 * calling thread.
 */
import type {
  Backend,
  DeviceActivations,
  L1Fit,
  L1Options,
  L1Problem,
  LogisticFit,
  LogisticOptions,
  LogisticProblem,
} from "./backend.ts";
import type { LabelMatrix } from "../data/labels.ts";

/** `fitLogistic` on the host. */
export async function fitLogisticOnHost(
  x: DeviceActivations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
): Promise<LogisticFit[]> {
  return onHost(x, options, (cpu, host) => cpu.fitLogistic(host, labels, problems, options));
}

/** `fitLogisticL1` on the host. */
export async function fitLogisticL1OnHost(
  x: DeviceActivations,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
): Promise<L1Fit[]> {
  return onHost(x, options, (cpu, host) => cpu.fitLogisticL1(host, labels, problems, options));
}

async function onHost<T>(
  x: DeviceActivations,
  { signal }: { readonly signal?: AbortSignal | undefined },
  fit: (cpu: Backend, host: DeviceActivations) => Promise<T>,
): Promise<T> {
  const { createCpuBackend } = await import("./cpu/cpu-backend.ts");
  const cpu = createCpuBackend();
  try {
    return await fit(cpu, await cpu.upload(await x.read({ signal }), { signal }));
  } finally {
    cpu.dispose();
  }
}
