/** Every neuron as a probe of its own: which single neurons tell a feature, measured three ways. */
import type { ActivationSource } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import type { NeuronProbes, ProbeNeuronsOptions } from "./neuron-probes.ts";
import type { ProbeLabelSets } from "./one-feature.ts";

/**
 * Fits a logistic probe to every neuron alone, and measures how well the bare activation tells the classes apart: the exact
 * area under its ROC curve (Mann and Whitney 1947; ties count half) and its best threshold (Youden 1950).
 *
 * The probe is that of {@link SparseProbe.fit} with k = 1, to a looser default tolerance: at a Newton decrement of 1e-10 a
 * coefficient lies within √(2·10⁻¹⁰·C·Σω) of its standard error from the optimum, 0.002 of it for 20,000 rows and C = 1.
 *
 * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
 * @param labelSets by feature name, as class names (each class against the rest), or as a matrix
 * @returns one entry per feature that could be fitted, and failures for the others
 * @throws ShapeError | EmptyDataError | LabelError | OptionError for what concerns all features alike
 *
 * @example
 * const { probes } = await probeNeurons(activations, labels, { rows: train });
 * for (const { neuron, auc } of probes[0].best(10)) console.log(neuron, auc);
 */
export async function probeNeurons(
  acts: ActivationSource,
  labelSets: ProbeLabelSets,
  options: ProbeNeuronsOptions = {},
): Promise<{ probes: NeuronProbes[]; failures: Omit<ProbeFailure, "k">[] }> {
  const { fitNeuronProbes } = await import("./neuron-probes.ts");
  return fitNeuronProbes(acts, labelSets, options);
}
