/** Iterative pruning: how many times over a feature is written in the neurons. */
import type { ActivationSource } from "./activation-source.ts";
import type { PruneOptions, PruneStep } from "./prune-by-f1.ts";
import type { ProbeLabels } from "./one-feature.ts";

/**
 * Fits a k-sparse probe, removes the neuron of its support that alone has the best F1, and goes on with the others (Gurnee et
 * al. 2023): metrics that hold over the steps show a feature that many neurons carry.
 *
 * Supports follow the ranking: the k strongest neurons of those that are left. All probes are fitted in one batch.
 *
 * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
 * @returns one entry per step
 * @throws SupportSizeError when fewer than k + steps − 1 neurons are there
 * @throws what `SparseProbe.fit` throws
 *
 * @example
 * for (const { removed, metrics } of await pruneNeurons(activations, labels, { rows: train, validation })) {
 *   console.log(removed, metrics.f1);
 * }
 */
export async function pruneNeurons(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: PruneOptions = {},
): Promise<readonly PruneStep[]> {
  const { pruneByF1 } = await import("./prune-by-f1.ts");
  return pruneByF1(acts, labels, options);
}
