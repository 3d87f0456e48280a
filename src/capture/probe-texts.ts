/** From labelled texts to the neurons that tell them apart; the code of the study is loaded when one is run. */
import type { LanguageModel } from "../model/language-model.ts";
import type { ProbeTextsInput, ProbeTextsOptions, ProbeTextsResult } from "./text-study.ts";

/**
 * Finds the neurons that tell texts of a class from the rest.
 *
 * Texts are split by document. A first pass over the training texts gathers class moments, which choose the supports of
 * every feature, hook point and k; a second pass over all texts keeps only those neurons' columns (where all activations
 * fit in `keepBytes`, one pass does for both); all probes are fitted in batches on training rows. For each feature and k,
 * validation rows choose the hook point and test rows report once.
 *
 * @throws what `captureActivations`, `splitRows` and `SparseProbe.fitMany` throw; a feature that cannot be fitted is
 * reported under `failures` instead, unless none is left
 * @example
 * const { chosen } = await probeTexts(model, readLabelledTexts(jsonLines), { aggregation: "mean", ks: [1, 4] });
 */
export async function probeTexts(
  model: LanguageModel,
  input: ProbeTextsInput,
  options: ProbeTextsOptions = {},
): Promise<ProbeTextsResult> {
  const { runTextStudy } = await import("./text-study.ts");
  return runTextStudy(model, input, options);
}
