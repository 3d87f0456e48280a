/** Tensors of a GPT-NeoX model: Hugging Face's names, which are the canonical ones here, and their shapes. */
import type { TensorSource, TensorType } from "../data/tensor.ts";
import { MissingTensorError, UnsupportedModelError } from "../errors.ts";
import type { TransformerSpec } from "./backend.ts";

export const EMBEDDING = "gpt_neox.embed_in.weight";
export const FINAL_NORM = "gpt_neox.final_layer_norm";
export const UNEMBEDDING = "embed_out.weight";

const FLOATS: ReadonlySet<TensorType> = new Set<TensorType>(["F64", "F32", "F16", "BF16"]);
const REMEDY =
  "Check that config.json and the weights come from the same model, and that no shard is missing.";

/** Prefixes of one layer's tensors; each has a `.weight` and a `.bias`. */
export interface LayerTensors {
  readonly attentionNorm: string;
  readonly mlpNorm: string;
  /** Queries, keys and values fused head by head: the weight is [heads · 3 · dHead × dModel]. */
  readonly qkv: string;
  readonly attentionOut: string;
  readonly mlpIn: string;
  readonly mlpOut: string;
}

export function layerTensors(layer: number): LayerTensors {
  const prefix = `gpt_neox.layers.${layer}.`;
  return {
    attentionNorm: `${prefix}input_layernorm`,
    mlpNorm: `${prefix}post_attention_layernorm`,
    qkv: `${prefix}attention.query_key_value`,
    attentionOut: `${prefix}attention.dense`,
    mlpIn: `${prefix}mlp.dense_h_to_4h`,
    mlpOut: `${prefix}mlp.dense_4h_to_h`,
  };
}

/** Every tensor that a model of this shape has, with its shape. Weights of linear maps are [outputs × inputs]. */
export function requiredTensors(spec: TransformerSpec): ReadonlyMap<string, readonly number[]> {
  const { dModel, dMlp, vocabulary } = spec;
  const required = new Map<string, readonly number[]>([[EMBEDDING, [vocabulary, dModel]]]);
  const norm = (prefix: string): void => {
    required.set(`${prefix}.weight`, [dModel]).set(`${prefix}.bias`, [dModel]);
  };
  const linear = (prefix: string, outputs: number, inputs: number): void => {
    required.set(`${prefix}.weight`, [outputs, inputs]).set(`${prefix}.bias`, [outputs]);
  };
  for (let layer = 0; layer < spec.layers; layer++) {
    const names = layerTensors(layer);
    norm(names.attentionNorm);
    norm(names.mlpNorm);
    linear(names.qkv, 3 * dModel, dModel);
    linear(names.attentionOut, dModel, dModel);
    linear(names.mlpIn, dMlp, dModel);
    linear(names.mlpOut, dModel, dMlp);
  }
  norm(FINAL_NORM);
  required.set(UNEMBEDDING, [vocabulary, dModel]);
  return required;
}

/**
 * Checks names and shapes before anything is read. Further tensors (old checkpoints keep `rotary_emb.inv_freq`,
 * `attention.bias` and `masked_bias`, which are constants) are left alone.
 * @throws MissingTensorError listing every tensor that is missing or has another shape
 * @throws UnsupportedModelError when a tensor holds integers, as quantised checkpoints do
 */
export function assertTensors(spec: TransformerSpec, source: TensorSource): void {
  // A config may claim any number of layers: listing their tensors must not take longer than the checkpoint is large.
  const fewest = 12 * spec.layers + 4;
  if (fewest > 2 * source.tensors.size + 1000) {
    throw new MissingTensorError(
      `The checkpoint does not fit its config: a model of ${spec.layers} layers has ${fewest} tensors at least, ` +
        `and ${source.tensors.size} are there.`,
      REMEDY,
    );
  }
  const problems: string[] = [];
  for (const [name, shape] of requiredTensors(spec)) {
    const found = source.tensors.get(name);
    const want = `[${shape.join(", ")}]`;
    if (!found) problems.push(`${name} ${want} is missing`);
    else if (!FLOATS.has(found.dtype)) {
      throw new UnsupportedModelError(
        `The weights of ${name} are ${found.dtype}: integers, of a quantised checkpoint.`,
        "Use a checkpoint in F32, F16 or BF16.",
      );
    } else if (found.shape.length !== shape.length || found.shape.some((length, i) => length !== shape[i])) {
      problems.push(`${name} is [${found.shape.join(", ")}], not ${want}`);
    }
  }
  if (problems.length === 0) return;
  const shown =
    problems.slice(0, 6).join("; ") + (problems.length > 6 ? `; and ${problems.length - 6} more` : "");
  throw new MissingTensorError(`The checkpoint does not fit its config: ${shown}.`, REMEDY);
}

/** A checkpoint that holds its embedding once, for both ends. */
export function withTiedEmbeddings(source: TensorSource): TensorSource {
  const embedding = source.tensors.get(EMBEDDING);
  if (!embedding || source.tensors.has(UNEMBEDDING)) return source;
  return {
    tensors: new Map(source.tensors).set(UNEMBEDDING, embedding),
    read: (name, options) => source.read(name === UNEMBEDDING ? EMBEDDING : name, options),
  };
}
