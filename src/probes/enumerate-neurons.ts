/** Monosemantic enumeration: the strongest neurons of a feature, each with a probe of its own. */
import type { ActivationSource } from "./activation-source.ts";
import type { EnumerateOptions, NeuronRow } from "./enumerate-by-f1.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import type { ProbeLabelSets } from "./one-feature.ts";

/**
 * Fits a probe to each of a feature's strongest neurons alone and measures it on rows of their own (Gurnee et al. 2023): a
 * feature that one neuron tells has a first row that stands out. The probes are those of `probeNeurons`, which says how close to
 * their optimum they are.
 *
 * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
 * @param labelSets by feature name, as class names (each class against the rest), or as a matrix
 * @returns rows by feature, then by F1 descending (undefined last, ties in the ranking's order), and failures for features
 * that could not be fitted
 * @throws ShapeError | EmptyDataError | LabelError | SupportSizeError | OptionError for what concerns all features alike
 *
 * @example
 * const { rows } = await enumerateNeurons(activations, labels, { rows: train, test });
 * for (const { feature, neuron, f1 } of rows) console.log(feature, neuron, f1);
 */
export async function enumerateNeurons(
  acts: ActivationSource,
  labelSets: ProbeLabelSets,
  options: EnumerateOptions = {},
): Promise<{ readonly rows: readonly NeuronRow[]; readonly failures: readonly Omit<ProbeFailure, "k">[] }> {
  const { enumerateByF1 } = await import("./enumerate-by-f1.ts");
  return enumerateByF1(acts, labelSets, options);
}
