/** Every neuron ranked, from activations and labels in one call. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { LabelMatrix, readLabelSets, type RowSelection } from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
import { rankingOf, type Ranking, type RankingOptions } from "../ranking/ranking.ts";
import { openActivations, type ActivationSource } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import { probeSettings } from "./probe-options.ts";
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
  probeSettings(options);
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const read =
    labelSets instanceof LabelMatrix ? { labels: labelSets, failures: [] } : readLabelSets(labelSets);
  const { rankSource } = await import("./rank-source.ts");
  const source = await openActivations(acts, backend, { signal });
  try {
    const failures: Omit<ProbeFailure, "k">[] = [...read.failures];
    const rankings: Ranking[] = [];
    if (read.labels.features.length === 0) return { rankings, failures };
    if (read.labels.rows !== source.rows) {
      throw new ShapeError(
        `There are ${read.labels.rows} labels for ${source.rows} rows.`,
        "Give one label per row.",
      );
    }
    const labels = rows ? read.labels.restrictedTo(rows) : read.labels;
    const { ranked } = await rankSource(backend, source, labels, { standardise: "none", ...options });
    for (const one of ranked) {
      if (one.error) failures.push({ feature: one.name, error: one.error });
      else rankings.push(rankingOf(one.name, one.scores, one.eligible, one.converged));
    }
    return { rankings, failures };
  } finally {
    source.close();
  }
}
