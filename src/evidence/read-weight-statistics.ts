/** Lengths, biases and angles of neurons' weights; the work of `weightStatistics`. */
import type { CallOptions } from "../backends/backend.ts";
import type { LinearValues } from "../backends/transformer-weights.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { EmptyDataError, OptionError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { quantile } from "../statistics/bootstrap.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { centre, readMlp, withWeights, type MlpWeights } from "./mlp-weights.ts";

export interface WeightStatisticsOptions extends CallOptions {
  /** Default: all. */
  readonly layers?: readonly number[] | undefined;
  /** Called after each layer. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A number per neuron; a cosine with a vector of zeros is null. */
export type NeuronValues = readonly (number | null)[];

/** What one of the MLP's input maps does for each neuron. */
export interface InputStatistics {
  /** ‖W_in‖ */
  readonly norm: NeuronValues;
  /** b_in; null where the model has none. */
  readonly bias: NeuronValues | null;
  /** ‖W_in‖·b_in: strongly negative where many features share neurons. */
  readonly normTimesBias: NeuronValues | null;
  /** cos(W_in, W_out) */
  readonly cosine: NeuronValues;
}

/** A layer's neurons, one value each. */
export interface NeuronWeightStatistics {
  /** Of the weights whose product with the stream makes the neuron; of a gated MLP those that the gate multiplies. */
  readonly input: InputStatistics;
  /** Of gated MLPs: of the weights in front of the non-linearity. */
  readonly gate: InputStatistics | null;
  /** cos(W_gate, W_in) of gated MLPs. */
  readonly gateCosine: NeuronValues | null;
  /** ‖W_out‖ */
  readonly outputNorm: NeuronValues;
}

/** How the values of a layer's neurons are distributed. */
export interface WeightSummary {
  readonly neurons: number;
  readonly mean: number;
  readonly least: number;
  readonly q05: number;
  readonly q25: number;
  readonly median: number;
  readonly q75: number;
  readonly q95: number;
  readonly largest: number;
}

/** Summaries by the name of the statistic, such as `input.norm` or `gateCosine`; what the model does not have is left out. */
export type WeightSummaries = Readonly<Record<string, WeightSummary>>;

/** One layer. Plain data. */
export interface LayerWeightStatistics {
  readonly layer: number;
  /** Of the weights as they are stored. */
  readonly stored: NeuronWeightStatistics;
  /** With the norms around the MLP folded into them. */
  readonly folded: NeuronWeightStatistics;
  readonly summary: { readonly stored: WeightSummaries; readonly folded: WeightSummaries };
}

export async function readWeightStatistics(
  model: LanguageModel,
  options: WeightStatisticsOptions,
): Promise<LayerWeightStatistics[]> {
  const { spec } = model;
  const layers = options.layers ?? Array.from({ length: spec.layers }, (_, layer) => layer);
  if (layers.length === 0) throw new EmptyDataError("There are no layers.", "Give at least one.");
  for (const layer of layers) {
    if (Number.isInteger(layer) && layer >= 0 && layer < spec.layers) continue;
    throw new OptionError(`Layer ${layer} does not exist.`, `Layers run from 0 to ${spec.layers - 1}.`);
  }
  const pacer = new Pacer(options.signal);
  return withWeights(model, options, async (reader) => {
    const result: LayerWeightStatistics[] = [];
    for (const layer of layers) {
      const mlp = await readMlp(reader, layer);
      const stored = await neuronStatistics(mlp, undefined, pacer);
      const folded = await neuronStatistics(mlp, spec.norm.kind, pacer);
      const summary = { stored: summarise(stored), folded: summarise(folded) };
      result.push(deepFreeze({ layer, stored, folded, summary }));
      options.onProgress?.(result.length, layers.length);
    }
    return deepFreeze(result);
  });
}

/** Neurons whose weights are in the processor's cache at a time: columns of W_out are read as lines of so many. */
const TILE = 16;

/**
 * @param fold kind of the norms to fold in; undefined: none. Into W_in and W_gate goes the norm's gain, into their biases
 * its bias, into W_out the gain of the norm behind the MLP. A layer norm takes the mean of the stream away, so what is read or written along
 * (1, …, 1) is taken out of the weights.
 */
async function neuronStatistics(
  mlp: MlpWeights,
  fold: "layer" | "rms" | undefined,
  pacer: Pacer,
): Promise<NeuronWeightStatistics> {
  const { output, norm, postGain } = mlp;
  const dModel = norm.gain.length;
  const dMlp = output.length / dModel;
  const maps = [mlp.input, ...(mlp.gate ? [mlp.gate] : [])];
  const vectors = Array.from({ length: 1 + maps.length }, () => new Float64Array(TILE * dModel));
  const [outputs, inputs, gates] = vectors;
  const statistics = maps.map(({ bias }) => ({
    norm: [] as number[],
    bias: bias || (fold && norm.bias) ? ([] as number[]) : null,
    normTimesBias: bias || (fold && norm.bias) ? ([] as number[]) : null,
    cosine: [] as (number | null)[],
  }));
  const outputNorm: number[] = [];
  const gateCosine: (number | null)[] | null = mlp.gate ? [] : null;
  for (let start = 0; start < dMlp; start += TILE) {
    const count = Math.min(TILE, dMlp - start);
    for (let r = 0; r < dModel; r++) {
      const gain = fold && postGain ? postGain[r] : 1;
      for (let n = 0; n < count; n++) outputs[n * dModel + r] = output[r * dMlp + start + n] * gain;
    }
    for (let n = 0; n < count; n++) {
      const neuron = start + n;
      const out = outputs.subarray(n * dModel, (n + 1) * dModel);
      if (fold === "layer") centre(out);
      const outLength = Math.sqrt(dot(out, out));
      outputNorm.push(outLength);
      for (const [m, map] of maps.entries()) {
        const vector = vectors[1 + m].subarray(n * dModel, (n + 1) * dModel);
        const bias = readInput(map, neuron, vector, fold && norm);
        if (fold === "layer") centre(vector);
        const length = Math.sqrt(dot(vector, vector));
        const of = statistics[m];
        of.norm.push(length);
        of.bias?.push(bias);
        of.normTimesBias?.push(length * bias);
        of.cosine.push(cosine(dot(vector, out), length, outLength));
      }
      if (gateCosine) {
        const [a, b] = [inputs, gates].map((v) => v.subarray(n * dModel, (n + 1) * dModel));
        const [input, gate] = statistics;
        gateCosine.push(cosine(dot(a, b), input.norm[neuron], gate.norm[neuron]));
      }
    }
    if (pacer.due) await pacer.turn();
  }
  return { input: statistics[0], gate: statistics.at(1) ?? null, gateCosine, outputNorm };
}

/** Writes a neuron's input weights to `vector` and returns its bias. */
function readInput(
  { weight, bias }: LinearValues,
  neuron: number,
  vector: Float64Array,
  norm: { readonly gain: Float32Array; readonly bias: Float32Array | null } | undefined,
): number {
  let constant = bias ? bias[neuron] : 0;
  const at = neuron * vector.length;
  for (let i = 0; i < vector.length; i++) {
    const value = weight[at + i];
    vector[i] = norm ? value * norm.gain[i] : value;
    if (norm?.bias) constant += value * norm.bias[i];
  }
  return constant;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function cosine(product: number, a: number, b: number): number | null {
  return a > 0 && b > 0 ? Math.min(1, Math.max(-1, product / (a * b))) : null;
}

function summarise({ input, gate, gateCosine, outputNorm }: NeuronWeightStatistics): WeightSummaries {
  const named: [name: string, values: NeuronValues | null | undefined][] = [];
  for (const [map, of] of Object.entries({ input, gate })) {
    for (const name of ["norm", "bias", "normTimesBias", "cosine"] as const) {
      named.push([`${map}.${name}`, of?.[name]]);
    }
  }
  named.push(["gateCosine", gateCosine], ["outputNorm", outputNorm]);
  return Object.fromEntries(
    named.flatMap(([name, values]) => {
      const defined = (values ?? []).filter((value) => value !== null).sort((a, b) => a - b);
      return defined.length > 0 ? [[name, summary(defined)]] : [];
    }),
  );
}

function summary(sorted: readonly number[]): WeightSummary {
  const at = (q: number): number => quantile(sorted, q);
  return {
    neurons: sorted.length,
    mean: sorted.reduce((sum, value) => sum + value / sorted.length, 0),
    least: sorted[0],
    q05: at(0.05),
    q25: at(0.25),
    median: at(0.5),
    q75: at(0.75),
    q95: at(0.95),
    largest: sorted[sorted.length - 1],
  };
}
