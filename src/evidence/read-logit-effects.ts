/** What neurons write to the logits on the straight path; the work of `logitEffects`. */
import type { CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { OptionError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { BestRows } from "./best-rows.ts";
import { centre, readOutput, withWeights } from "./mlp-weights.ts";
import { resolveNeurons, type NeuronPlace, type ResolvedNeuron } from "./neuron-places.ts";

export interface LogitEffectsOptions extends CallOptions {
  /** Tokens to list at each end. Default 10. */
  readonly tokens?: number | undefined;
  /** Give the effect on every token too. Default false. */
  readonly values?: boolean | undefined;
  /** Called after each layer's weights, and after the unembedding. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A token and how its logit changes with the neuron, against the mean of all tokens. */
export interface TokenEffect {
  readonly id: number;
  readonly token: string;
  readonly effect: number;
}

/** The effect on all logits, less its mean over the vocabulary, which the softmax does not see. */
export interface LogitEffect {
  /** Largest first; of equals the lower id first. Ids that the tokenizer does not know are left out. */
  readonly top: readonly TokenEffect[];
  /** Smallest first. */
  readonly bottom: readonly TokenEffect[];
  /** The mean that was taken away. */
  readonly mean: number;
  /** Standard deviation over the vocabulary. */
  readonly deviation: number;
  /** Third standardised moment: positive where few tokens are raised. Null where all effects are equal. */
  readonly skewness: number | null;
  /** Fourth standardised moment; 3 for a normal distribution, large where few tokens are meant. */
  readonly kurtosis: number | null;
  /** By token id; null unless asked for. */
  readonly values: Float64Array | null;
}

/** A neuron's direct effect per unit of activation. */
export interface NeuronLogitEffect extends ResolvedNeuron {
  /** W_U·W_out of the weights as they are stored. */
  readonly stored: LogitEffect;
  /** With the gain of the final norm folded into W_U, and that of the norm behind the MLP into W_out. */
  readonly folded: LogitEffect;
}

export async function readLogitEffects(
  model: LanguageModel,
  neurons: readonly NeuronPlace[],
  options: LogitEffectsOptions,
): Promise<NeuronLogitEffect[]> {
  const { tokens = 10, values = false, signal, onProgress } = options;
  if (!Number.isInteger(tokens) || tokens < 0) {
    throw new OptionError(`tokens is ${tokens}.`, "Give a whole number from 0.");
  }
  const places = resolveNeurons(model.spec, neurons);
  const wrong = places.find(({ hookPoint }) => !hookPoint.endsWith(".mlp.hook_post"));
  if (wrong) {
    throw new OptionError(
      `${wrong.hookPoint} writes nothing to the residual stream on its own.`,
      "Give neurons of mlp.hook_post.",
    );
  }
  const pacer = new Pacer(signal);
  return withWeights(model, options, async (reader, { norm, dModel, dMlp, vocabulary }) => {
    const layers = [...new Set(places.map(({ layer }) => layer))];
    const { gain } = await reader.norm(reader.tensors.finalNorm);
    // What each neuron writes, as it is stored and as the unembedding sees it: [neuron][stored, folded].
    const directions: [Float64Array, Float64Array][] = new Array<[Float64Array, Float64Array]>(places.length);
    for (const [done, layer] of layers.entries()) {
      const { output, postGain } = await readOutput(reader, layer);
      for (const [i, place] of places.entries()) {
        if (place.layer !== layer) continue;
        const stored = Float64Array.from({ length: dModel }, (_, r) => output[r * dMlp + place.neuron]);
        const folded = stored.map((value, r) => (postGain ? value * postGain[r] : value));
        if (norm.kind === "layer") centre(folded);
        for (let r = 0; r < dModel; r++) folded[r] *= gain[r];
        directions[i] = [stored, folded];
      }
      onProgress?.(done + 1, layers.length + 1);
    }
    const { weight } = await reader.linear({ ...reader.tensors.unembedding, bias: false });
    const effects = directions.map(() => [new Float64Array(vocabulary), new Float64Array(vocabulary)]);
    for (let id = 0; id < vocabulary; id++) {
      const row = weight.subarray(id * dModel, (id + 1) * dModel);
      for (const [i, pair] of directions.entries()) {
        for (const [p, direction] of pair.entries()) {
          let sum = 0;
          for (let r = 0; r < dModel; r++) sum += row[r] * direction[r];
          effects[i][p][id] = sum;
        }
        if (pacer.due) await pacer.turn();
      }
    }
    const known = await knownTokens(model.tokenizer, vocabulary, pacer);
    const described: NeuronLogitEffect[] = [];
    for (const [i, place] of places.entries()) {
      const [stored, folded] = effects[i].map((effect) =>
        describe(effect, { known, tokens, values, tokenizer: model.tokenizer }),
      );
      described.push(deepFreeze({ ...place, stored, folded }));
      if (pacer.due) await pacer.turn();
    }
    onProgress?.(layers.length + 1, layers.length + 1);
    return deepFreeze(described);
  });
}

/** Ids that the tokenizer has: an embedding is often padded to a round number of rows. */
async function knownTokens(tokenizer: Tokenizer, vocabulary: number, pacer: Pacer): Promise<Uint32Array> {
  const known: number[] = [];
  for (let id = 0; id < vocabulary; id++) {
    if (tokenizer.has(id)) known.push(id);
    if (pacer.due) await pacer.turn();
  }
  return Uint32Array.from(known);
}

function describe(
  effects: Float64Array,
  {
    known,
    tokens,
    values,
    tokenizer,
  }: {
    readonly known: Uint32Array;
    readonly tokens: number;
    readonly values: boolean;
    readonly tokenizer: Tokenizer;
  },
): LogitEffect {
  const n = effects.length;
  let mean = 0;
  for (const value of effects) mean += value / n;
  let [second, third, fourth] = [0, 0, 0];
  for (let id = 0; id < n; id++) {
    const value = (effects[id] -= mean);
    const square = value * value;
    second += square / n;
    third += (square * value) / n;
    fourth += (square * square) / n;
  }
  const top = new BestRows<number>("largest", tokens, Infinity);
  const bottom = new BestRows<number>("smallest", tokens, Infinity);
  for (const id of known) {
    top.offer(effects[id], null, () => id);
    bottom.offer(effects[id], null, () => id);
  }
  const list = (ids: readonly number[]): TokenEffect[] =>
    ids.map((id) => ({ id, token: tokenizer.tokenText(id), effect: effects[id] + 0 }));
  return {
    top: list(top.rows()),
    bottom: list(bottom.rows()),
    mean,
    deviation: Math.sqrt(second),
    skewness: second > 0 ? third / second ** 1.5 : null,
    kurtosis: second > 0 ? fourth / second ** 2 : null,
    values: values ? effects : null,
  };
}
