/** Every neuron ranked, from activations and labels in one call. */
import { LabelMatrix, readLabelSets } from "../data/labels.ts";
import type { Ranking } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import type { RankActivationsOptions } from "./rank-source.ts";
import type { ProbeLabelSets } from "./one-feature.ts";

/**
 * Ranks the neurons of every feature, by any ranking.
 *
 * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
 * @param labelSets by feature name, as class names (each class against the rest), or as a matrix
 * @returns one ranking per feature that has one, and failures for the others
 * @throws ShapeError | EmptyDataError | LabelError | OptionError for what concerns all features alike
 *
 * @example
 * const { rankings } = await rankActivations(activations, labels, { ranking: "mutual-information", rows: train });
 * console.log(rankings[0].order.slice(0, 10));
 */
export async function rankActivations(
  acts: ActivationSource,
  labelSets: ProbeLabelSets,
  options: RankActivationsOptions = {},
): Promise<{ rankings: Ranking[]; failures: Omit<ProbeFailure, "k">[] }> {
  const sets =
    labelSets instanceof LabelMatrix ? { labels: labelSets, failures: [] } : readLabelSets(labelSets);
  const { rankSets } = await import("./rank-source.ts");
  return rankSets(acts, sets, options);
}
