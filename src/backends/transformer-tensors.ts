/**
 * Where the weights of a transformer lie in a checkpoint: one table per architecture, of Hugging Face's names. Linear maps
 * come out as [outputs × inputs], whatever way they are stored.
 */
import type { TensorSource, TensorType } from "../data/tensor.ts";
import { MissingTensorError, UnsupportedModelError } from "../errors.ts";
import type { Architecture, TransformerSpec } from "./backend.ts";

const FLOATS: ReadonlySet<TensorType> = new Set<TensorType>(["F64", "F32", "F16", "BF16"]);
const REMEDY =
  "Check that config.json and the weights come from the same model, and that no shard is missing.";

/** A linear map's tensor: its own, or one that several maps share. */
type Stored =
  | string
  /** Queries, keys and values in one: [heads × 3 × dHead] rows, or all queries, then keys, then values. */
  | { readonly fused: string; readonly byHead: boolean }
  /** The first or the second half of the rows. */
  | { readonly halves: string; readonly half: 0 | 1 };

/** Names of one architecture's tensors, without `.weight` and `.bias`. */
interface TensorTable {
  /** What all names but the unembedding's may begin with: the first under which the embedding is found holds. */
  readonly prefixes: readonly string[];
  readonly embedding: string;
  readonly positions?: string;
  readonly finalNorm: string;
  /** Its whole name, but for what stands before the model's own prefix. */
  readonly unembedding: string;
  /** What a layer's names begin with; its number follows. */
  readonly layers: string;
  readonly attentionNorm: string;
  readonly mlpNorm: string;
  readonly attentionPostNorm?: string;
  readonly mlpPostNorm?: string;
  readonly queryNorm?: string;
  readonly keyNorm?: string;
  /** Queries, keys and values. */
  readonly qkv: Stored | readonly [string, string, string];
  readonly attentionOut: string;
  readonly gate?: Stored;
  readonly mlpIn: Stored;
  readonly mlpOut: string;
  /** Linear maps are stored [inputs × outputs]. */
  readonly inputsFirst?: boolean;
}

const LLAMA: TensorTable = {
  prefixes: ["model.", ""],
  embedding: "embed_tokens",
  finalNorm: "norm",
  unembedding: "lm_head",
  layers: "layers.",
  attentionNorm: "input_layernorm",
  mlpNorm: "post_attention_layernorm",
  qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  attentionOut: "self_attn.o_proj",
  gate: "mlp.gate_proj",
  mlpIn: "mlp.up_proj",
  mlpOut: "mlp.down_proj",
};
const HEAD_NORMS = { queryNorm: "self_attn.q_norm", keyNorm: "self_attn.k_norm" };
const GEMMA2: TensorTable = {
  ...LLAMA,
  attentionPostNorm: "post_attention_layernorm",
  mlpNorm: "pre_feedforward_layernorm",
  mlpPostNorm: "post_feedforward_layernorm",
};

const TABLES: Readonly<Record<Architecture, TensorTable>> = {
  gpt_neox: {
    prefixes: ["gpt_neox.", ""],
    embedding: "embed_in",
    finalNorm: "final_layer_norm",
    unembedding: "embed_out",
    layers: "layers.",
    attentionNorm: "input_layernorm",
    mlpNorm: "post_attention_layernorm",
    qkv: { fused: "attention.query_key_value", byHead: true },
    attentionOut: "attention.dense",
    mlpIn: "mlp.dense_h_to_4h",
    mlpOut: "mlp.dense_4h_to_h",
  },
  gpt2: {
    prefixes: ["transformer.", ""],
    embedding: "wte",
    positions: "wpe",
    finalNorm: "ln_f",
    unembedding: "lm_head",
    layers: "h.",
    attentionNorm: "ln_1",
    mlpNorm: "ln_2",
    qkv: { fused: "attn.c_attn", byHead: false },
    attentionOut: "attn.c_proj",
    mlpIn: "mlp.c_fc",
    mlpOut: "mlp.c_proj",
    inputsFirst: true,
  },
  llama: LLAMA,
  mistral: LLAMA,
  qwen2: LLAMA,
  qwen3: { ...LLAMA, ...HEAD_NORMS },
  gemma2: GEMMA2,
  gemma3_text: {
    ...GEMMA2,
    ...HEAD_NORMS,
    // The last two: within a model of images and text.
    prefixes: [...GEMMA2.prefixes, "language_model.model.", "model.language_model."],
  },
  phi: {
    ...LLAMA,
    finalNorm: "final_layernorm",
    attentionOut: "self_attn.dense",
    mlpIn: "mlp.fc1",
    mlpOut: "mlp.fc2",
  },
  phi3: {
    ...LLAMA,
    qkv: { fused: "self_attn.qkv_proj", byHead: false },
    gate: { halves: "mlp.gate_up_proj", half: 0 },
    mlpIn: { halves: "mlp.gate_up_proj", half: 1 },
  },
};

/** A stored tensor that gives some of a linear map's outputs. */
interface Piece {
  /** Without `.weight` and `.bias`. */
  readonly name: string;
  /** Outputs that are stored in it, and those that are taken. */
  readonly stored: number;
  readonly first: number;
  readonly count: number;
}

/** A linear map [outputs × inputs], its pieces on top of each other. */
export interface LinearTensors {
  /** Of the first piece. */
  readonly name: string;
  readonly outputs: number;
  readonly inputs: number;
  readonly pieces: readonly Piece[];
  readonly bias: boolean;
  readonly inputsFirst: boolean;
  /** Rows are stored head by head: query, key, value. */
  readonly byHead: boolean;
}

/** A norm's gain, and its bias where it has one. */
export interface NormTensors {
  readonly name: string;
  readonly width: number;
  readonly bias: boolean;
}

/** Tensors of one layer; what the model does not have is null. */
export interface LayerTensors {
  readonly attentionNorm: NormTensors;
  readonly mlpNorm: NormTensors | null;
  readonly attentionPostNorm: NormTensors | null;
  readonly mlpPostNorm: NormTensors | null;
  readonly queryNorm: NormTensors | null;
  readonly keyNorm: NormTensors | null;
  /** All queries, then all keys, then all values, each head by head. */
  readonly qkv: LinearTensors;
  readonly attentionOut: LinearTensors;
  readonly gate: LinearTensors | null;
  readonly mlpIn: LinearTensors;
  readonly mlpOut: LinearTensors;
}

/** Tensors of a whole model, by what they are. */
export interface TransformerTensors {
  /** [vocabulary × dModel] */
  readonly embedding: string;
  /** [context × dModel] */
  readonly positions: string | null;
  layer(index: number): LayerTensors;
  readonly finalNorm: NormTensors;
  /** The embedding itself where they are tied. */
  readonly unembedding: LinearTensors;
}

/** The tensors of a model of this shape, by the names that this checkpoint uses. */
export function transformerTensors(spec: TransformerSpec, source: TensorSource): TransformerTensors {
  const table = TABLES[spec.architecture];
  const { dModel, dMlp, dHead, heads, kvHeads, vocabulary, residual } = spec;
  const prefix =
    table.prefixes.find((start) => source.tensors.has(`${start}${table.embedding}.weight`)) ??
    table.prefixes[0];
  const bias = spec.norm.kind === "layer";
  const inputsFirst = table.inputsFirst ?? false;
  const map = (
    stored: Stored | readonly string[],
    start: string,
    inputs: number,
    rows: readonly number[],
    biased: boolean,
  ): LinearTensors => {
    const outputs = rows.reduce((sum, count) => sum + count);
    let pieces: Piece[];
    if (typeof stored === "string") {
      pieces = [{ name: start + stored, stored: outputs, first: 0, count: outputs }];
    } else if ("fused" in stored) {
      pieces = [{ name: start + stored.fused, stored: outputs, first: 0, count: outputs }];
    } else if ("halves" in stored) {
      const first = stored.half * outputs;
      pieces = [{ name: start + stored.halves, stored: 2 * outputs, first, count: outputs }];
    } else {
      pieces = rows.map((count, i) => ({ name: start + stored[i], stored: count, first: 0, count }));
    }
    const byHead = typeof stored === "object" && "byHead" in stored && stored.byHead;
    return { name: pieces[0].name, outputs, inputs, pieces, bias: biased, inputsFirst, byHead };
  };
  return {
    embedding: `${prefix}${table.embedding}.weight`,
    positions: table.positions === undefined ? null : `${prefix}${table.positions}.weight`,
    layer(index) {
      const start = `${prefix}${table.layers}${index}.`;
      const norm = (name: string, width = dModel): NormTensors => ({ name: start + name, width, bias });
      const optional = (name: string | undefined, wanted: boolean, width = dModel): NormTensors | null =>
        wanted && name !== undefined ? { name: start + name, width, bias: bias && width === dModel } : null;
      const { attention, mlp } = spec;
      return {
        attentionNorm: norm(table.attentionNorm),
        mlpNorm: residual.sharedNorm ? null : norm(table.mlpNorm),
        attentionPostNorm: optional(table.attentionPostNorm, residual.postNorms),
        mlpPostNorm: optional(table.mlpPostNorm, residual.postNorms),
        queryNorm: optional(table.queryNorm, attention.headNorms, dHead),
        keyNorm: optional(table.keyNorm, attention.headNorms, dHead),
        qkv: map(
          table.qkv,
          start,
          dModel,
          [heads * dHead, kvHeads * dHead, kvHeads * dHead],
          attention.biases,
        ),
        attentionOut: map(table.attentionOut, start, heads * dHead, [dModel], attention.outputBias),
        gate:
          mlp.gated && table.gate !== undefined ? map(table.gate, start, dModel, [dMlp], mlp.biases) : null,
        mlpIn: map(table.mlpIn, start, dModel, [dMlp], mlp.biases),
        mlpOut: map(table.mlpOut, start, dMlp, [dModel], mlp.biases),
      };
    },
    finalNorm: { name: prefix + table.finalNorm, width: dModel, bias },
    unembedding: {
      ...map(
        spec.unembedding.tied ? table.embedding : table.unembedding,
        spec.unembedding.tied ? prefix : "",
        dModel,
        [vocabulary],
        spec.unembedding.bias,
      ),
      inputsFirst: false,
    },
  };
}

/** Every tensor that is read, with its shape. */
export function requiredTensors(
  spec: TransformerSpec,
  tensors: TransformerTensors,
): ReadonlyMap<string, readonly number[]> {
  const { dModel, vocabulary, context } = spec;
  const required = new Map<string, readonly number[]>([[tensors.embedding, [vocabulary, dModel]]]);
  if (tensors.positions !== null) required.set(tensors.positions, [context, dModel]);
  for (let layer = 0; layer < spec.layers; layer++) addLayer(required, tensors.layer(layer));
  addNorm(required, tensors.finalNorm);
  addLinear(required, tensors.unembedding);
  return required;
}

type Required = Map<string, readonly number[]>;

function addLayer(required: Required, layer: LayerTensors): void {
  const { attentionNorm, mlpNorm, attentionPostNorm, mlpPostNorm, queryNorm, keyNorm } = layer;
  for (const norm of [attentionNorm, mlpNorm, attentionPostNorm, mlpPostNorm, queryNorm, keyNorm]) {
    if (norm) addNorm(required, norm);
  }
  const { qkv, attentionOut, gate, mlpIn, mlpOut } = layer;
  for (const map of [qkv, attentionOut, gate, mlpIn, mlpOut]) if (map) addLinear(required, map);
}

function addNorm(required: Required, { name, width, bias }: NormTensors): void {
  required.set(`${name}.weight`, [width]);
  if (bias) required.set(`${name}.bias`, [width]);
}

function addLinear(required: Required, { pieces, inputs, bias, inputsFirst }: LinearTensors): void {
  for (const { name, stored } of pieces) {
    required.set(`${name}.weight`, inputsFirst ? [inputs, stored] : [stored, inputs]);
    if (bias) required.set(`${name}.bias`, [stored]);
  }
}

/**
 * Checks names and shapes before anything is read. Further tensors (old checkpoints keep `rotary_emb.inv_freq`,
 * `attention.bias` and `masked_bias`, which are constants) are left alone.
 * @throws MissingTensorError listing every tensor that is missing or has another shape
 * @throws UnsupportedModelError when a tensor holds integers, as quantised checkpoints do
 */
export function assertTensors(spec: TransformerSpec, source: TensorSource): TransformerTensors {
  const tensors = transformerTensors(spec, source);
  // A config may claim any number of layers: listing their tensors must not take longer than the checkpoint is large.
  const ofLayer: Required = new Map();
  addLayer(ofLayer, tensors.layer(0));
  const fewest = ofLayer.size * spec.layers;
  if (fewest > 2 * source.tensors.size + 1000) {
    throw new MissingTensorError(
      `The checkpoint does not fit its config: a model of ${spec.layers} layers has ${fewest} tensors at least, ` +
        `and ${source.tensors.size} are there.`,
      REMEDY,
    );
  }
  const problems: string[] = [];
  for (const [name, shape] of requiredTensors(spec, tensors)) {
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
  if (problems.length === 0) return tensors;
  const shown =
    problems.slice(0, 6).join("; ") + (problems.length > 6 ? `; and ${problems.length - 6} more` : "");
  throw new MissingTensorError(`The checkpoint does not fit its config: ${shown}.`, REMEDY);
}
