/** What a neuron responds to and what it writes; the code of each call is loaded when it is called. */
import type { CaptureInput } from "../capture/visit-batches.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { NeuronEvidenceOptions, NeuronEvidenceResult } from "./collect-evidence.ts";
import type { NeuronPlace } from "./neuron-places.ts";
import type { LogitEffectsOptions, NeuronLogitEffect } from "./read-logit-effects.ts";
import type { LayerWeightStatistics, WeightStatisticsOptions } from "./read-weight-statistics.ts";

/**
 * What neurons respond to, many at once, in one pass over texts: the examples with the largest activations, a histogram
 * for each class, and how much of the difference between classes remains on one and the same token.
 *
 * Nothing is kept that grows with the texts but their tokens: lists of the best examples, 2048 counts per neuron and class,
 * and means by token and class. Results do not depend on `batchTokens`.
 *
 * @param texts texts, or `TokenRows`. Texts without a token are left out and listed
 * @throws EmptyDataError without neurons, or when no text has a token that counts
 * @throws OptionError when a layer, a hook point or a class does not exist, or a setting is out of range
 * @throws ShapeError when a neuron does not exist, or labels do not match the texts
 * @throws LabelError when labels are of several kinds
 * @throws ContextLengthError when a text is longer than the context and `truncate` is not set
 * @throws NonFiniteError when an activation is NaN or infinite
 * @example
 * const { neurons } = await neuronEvidence(model, texts, { labels, neurons: [{ layer: 3, neuron: 609 }] });
 * for (const { token, activation, passage } of neurons[0].top) console.log(activation, token, passage);
 */
export async function neuronEvidence(
  model: LanguageModel,
  texts: CaptureInput,
  options: NeuronEvidenceOptions,
): Promise<NeuronEvidenceResult> {
  const { collectEvidence } = await import("./collect-evidence.ts");
  return collectEvidence(model, texts, options);
}

/**
 * Lengths, biases and angles of every neuron's weights, layer by layer, read from the checkpoint that the model was loaded
 * from, in float64: ‖W_in‖, b_in, ‖W_out‖, cos(W_in, W_out) and ‖W_in‖·b_in, of gated MLPs for the gate too; as stored, and with
 * the norms around the MLP folded in. Three tensors of one layer are held at a time.
 *
 * @throws OptionError when a layer does not exist
 * @throws EmptyDataError without layers
 * @throws what opening the checkpoint throws when it is no longer there
 * @example
 * const [first] = await weightStatistics(model, { layers: [0] });
 * console.log(first.summary.folded["input.normTimesBias"].median);
 */
export async function weightStatistics(
  model: LanguageModel,
  options: WeightStatisticsOptions = {},
): Promise<LayerWeightStatistics[]> {
  const { readWeightStatistics } = await import("./read-weight-statistics.ts");
  return readWeightStatistics(model, options);
}

/**
 * What neurons write to the logits on the straight path, per unit of activation: W_U·W_out, as stored and with the final norm's
 * gain folded in, less the mean over the vocabulary. The weights are read from the checkpoint that the model was loaded from.
 *
 * Left out are: what later layers do with what the neuron writes, the division by the length of the stream in the norms (a
 * positive factor of each token), their biases, and a limit of the logits (Gemma), which keeps their order.
 *
 * @returns in the order of `neurons`
 * @throws EmptyDataError without neurons
 * @throws OptionError when a layer does not exist, or the hook point is not `mlp.hook_post`
 * @throws ShapeError when a neuron does not exist
 * @throws what opening the checkpoint throws when it is no longer there
 * @example
 * const [effect] = await logitEffects(model, [{ layer: 3, neuron: 609 }]);
 * console.log(effect.folded.top.map(({ token }) => token));
 */
export async function logitEffects(
  model: LanguageModel,
  neurons: readonly NeuronPlace[],
  options: LogitEffectsOptions = {},
): Promise<NeuronLogitEffect[]> {
  const { readLogitEffects } = await import("./read-logit-effects.ts");
  return readLogitEffects(model, neurons, options);
}
