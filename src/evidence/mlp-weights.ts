/** A layer's MLP as it lies in the checkpoint, and what the norms around it amount to when they are folded in. */
import type { CallOptions, TransformerSpec } from "../backends/backend.ts";
import {
  TransformerWeightReader,
  type LinearValues,
  type NormValues,
} from "../backends/transformer-weights.ts";
import type { LanguageModel } from "../model/language-model.ts";

/** What a layer's MLP writes with. */
export interface OutputWeights {
  /** W_out [dModel × dMlp]: a neuron's is a column. */
  readonly output: Float32Array;
  /** The gain of the norm through which it writes to the residual stream (Gemma). */
  readonly postGain: Float32Array | null;
}

/** A layer's MLP. */
export interface MlpWeights extends OutputWeights {
  /** W_in [dMlp × dModel] and its bias. */
  readonly input: LinearValues;
  /** W_gate of gated MLPs. */
  readonly gate: LinearValues | null;
  /** The norm through which the MLP reads the residual stream. */
  readonly norm: NormValues;
}

/** Reads a layer's MLP. */
export async function readMlp(reader: TransformerWeightReader, layer: number): Promise<MlpWeights> {
  const { mlpNorm, attentionNorm, gate, mlpIn } = reader.tensors.layer(layer);
  return {
    // Phi's MLP reads through the attention's norm.
    norm: await reader.norm(mlpNorm ?? attentionNorm),
    gate: gate ? await reader.linear(gate) : null,
    input: await reader.linear(mlpIn),
    ...(await readOutput(reader, layer)),
  };
}

/** Reads what a layer's MLP writes with. */
export async function readOutput(reader: TransformerWeightReader, layer: number): Promise<OutputWeights> {
  const { mlpPostNorm, mlpOut } = reader.tensors.layer(layer);
  return {
    postGain: mlpPostNorm ? (await reader.norm(mlpPostNorm)).gain : null,
    output: (await reader.linear({ ...mlpOut, bias: false })).weight,
  };
}

/** Opens the checkpoint of a loaded model, and closes it again whatever happens. */
export async function withWeights<T>(
  model: LanguageModel,
  options: CallOptions,
  use: (reader: TransformerWeightReader, spec: TransformerSpec) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  signal?.throwIfAborted();
  const weights = await model.reopenWeights({ signal });
  try {
    return await use(new TransformerWeightReader(model.spec, weights, { signal }), model.spec);
  } finally {
    await weights.close?.();
  }
}

/** v − mean(v), in place: what a layer norm, or a softmax, leaves of v. */
export function centre(v: Float64Array): Float64Array {
  let mean = 0;
  for (const value of v) mean += value / v.length;
  for (let i = 0; i < v.length; i++) v[i] -= mean;
  return v;
}
