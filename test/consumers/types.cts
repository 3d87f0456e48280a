// The same types for a user's CommonJS module.
import { SparseProbe, type Metrics } from "sparseprobe";
import { createBackend } from "sparseprobe/node";

export async function main(): Promise<number | null> {
  const backend = await createBackend("cpu");
  const probe = await SparseProbe.fit([[1], [2]], [0, 1], 1, { backend });
  const metrics: Metrics = probe.evaluate([[1], [2]], [0, 1]);
  return metrics.f1;
}
