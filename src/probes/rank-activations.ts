/** Every neuron ranked, from activations and labels in one call. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import type { RowSelection } from "../data/labels.ts";
import type { Ranking, RankingOptions } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import type { ProbeLabelSets } from "./sparse-probe.ts";

export interface RankActivationsOptions extends RankingOptions, CallOptions {
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend;
  /** Rows to rank by, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /**
   * Called as a ranking that reads values goes on: with neurons done and in all; with features where all neurons are fitted
   * together, and with rows where one pass over blocks is enough.
   */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

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
  const { rankSets } = await import("./rank-source.ts");
  return rankSets(acts, labelSets, options);
}
