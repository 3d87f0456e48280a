/** Per-token losses of texts; the work of `captureLosses`. */
import type { PassOptions } from "../capture/visit-batches.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { interventionsIn, layOutTexts, type LossTextsOptions, type TextIntervention } from "./text-passes.ts";

export interface CaptureLossesOptions extends LossTextsOptions, PassOptions {
  /** What is changed on the way. Default: nothing. */
  readonly interventions?: readonly TextIntervention[] | undefined;
}

/** Losses of the tokens that count, text by text. */
export interface TokenLosses {
  /** Nats: −log of the probability of the token given those before it. */
  readonly losses: Float32Array;
  /** Text of each token. */
  readonly texts: Uint32Array;
  /** Its position in the text, from 1. */
  readonly positions: Uint32Array;
  /** Over all of these tokens. */
  readonly mean: number;
}

export async function runCaptureLosses(
  model: LanguageModel,
  texts: readonly string[],
  options: CaptureLossesOptions,
): Promise<TokenLosses> {
  const { signal, onProgress, interventions = [] } = options;
  const batches = await layOutTexts(model, texts, options);
  const count = batches.reduce((sum, { counting }) => sum + counting.length, 0);
  const total = batches.reduce((sum, { tokens }) => sum + tokens.tokens.length, 0);
  const losses = new Float32Array(count);
  const textOf = new Uint32Array(count);
  const positions = new Uint32Array(count);
  let at = 0;
  let done = 0;
  let sum = 0;
  for (const batch of batches) {
    signal?.throwIfAborted();
    const { tokens, counting, sequences } = batch;
    const result = await model.transformer.forward(tokens, {
      hookPoints: [],
      losses: true,
      interventions: interventionsIn(batch, interventions),
      signal,
    });
    for (const [i, token] of counting.entries()) {
      losses[at] = result.losses![token];
      textOf[at] = batch.texts[sequences[i]];
      positions[at] = token - tokens.offsets[sequences[i]];
      sum += losses[at++];
    }
    onProgress?.((done += tokens.tokens.length), total);
  }
  return Object.freeze({ losses, texts: textOf, positions, mean: sum / count });
}
