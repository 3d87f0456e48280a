/** Changing a model's activations and seeing what becomes of its losses; the code of each call is loaded when it is called. */
import type { LanguageModel } from "../model/language-model.ts";
import type { AblationEffect, AblationOptions } from "./ablation-effect.ts";
import type { CaptureLossesOptions, TokenLosses } from "./capture-losses.ts";

/**
 * Cross-entropy of every token that has one before it in its text, with activations as they are or changed on the way. Logits
 * are summed as they are computed, never kept.
 *
 * @throws EmptyDataError when there is no text, or none has a loss that counts
 * @throws ContextLengthError when a text is longer than the context and `truncate` is not set
 * @throws OptionError | ShapeError | NonFiniteError when an intervention does not fit the model
 * @example
 * const { mean } = await captureLosses(model, texts, {
 *   interventions: [{ hookPoint: "blocks.3.mlp.hook_post", neurons: [609], kind: "set", values: 0 }],
 * });
 */
export async function captureLosses(
  model: LanguageModel,
  texts: readonly string[],
  options: CaptureLossesOptions = {},
): Promise<TokenLosses> {
  const { runCaptureLosses } = await import("./capture-losses.ts");
  return runCaptureLosses(model, texts, options);
}

/**
 * What ablating neurons does to the loss: overall, by class of text, and for each class against all others, with bootstrap
 * intervals over documents; beside it, if asked for, the same of random neurons of the same layer whose ablation takes away as
 * much.
 *
 * @throws what {@link captureLosses} throws
 * @throws ShapeError when classes or groups do not match the texts
 * @throws OptionError when there are not enough neurons for controls, or a number is out of range
 * @example
 * const { classes } = await measureAblation(model, texts, {
 *   hookPoint: "blocks.3.mlp.hook_post",
 *   neurons: [609],
 *   classes: languages,
 *   groups: documents,
 *   controls: { draws: 20 },
 * });
 */
export async function measureAblation(
  model: LanguageModel,
  texts: readonly string[],
  options: AblationOptions,
): Promise<AblationEffect> {
  const { runMeasureAblation } = await import("./ablation-effect.ts");
  return runMeasureAblation(model, texts, options);
}
