/** Reads a Hugging Face `config.json` into the description of a transformer, and refuses what would run wrongly. */
import type {
  Architecture,
  AttentionLayer,
  MlpActivation,
  RotaryScaling,
  RotarySpec,
  TransformerSpec,
} from "../backends/backend.ts";
import { FormatError, UnsupportedModelError } from "../errors.ts";
import { ConfigFields, show } from "./config-fields.ts";

/** How each architecture's config is read, and what its models are called. */
const READERS: Readonly<
  Record<Architecture, { readonly family: string; readonly read: (config: ConfigFields) => TransformerSpec }>
> = {
  gpt_neox: { family: "GPT-NeoX", read: readGptNeoX },
  gpt2: { family: "GPT-2", read: readGpt2 },
  llama: { family: "Llama", read: readLlama },
  mistral: { family: "Mistral", read: readMistral },
  qwen2: { family: "Qwen 2", read: readQwen2 },
  qwen3: { family: "Qwen 3", read: readQwen3 },
  gemma2: { family: "Gemma 2", read: readGemma2 },
  gemma3_text: { family: "Gemma 3", read: readGemma3 },
  phi: { family: "Phi", read: readPhi },
  phi3: { family: "Phi 3", read: readPhi3 },
};

/** Hugging Face's names for the activations that the backends compute. `gelu_fast` is another way to write the tanh form. */
const ACTIVATIONS: Readonly<Record<string, MlpActivation>> = {
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
  silu: "silu",
  swish: "silu",
};

/** No tensor of a model with rotary embeddings holds the context's length, so nothing else bounds it. */
const MOST_CONTEXT = 2 ** 24;
/** Layers of which each may be of another kind. */
const MOST_KINDS = 4096;

/** What a config says. */
export interface ModelConfig {
  readonly spec: TransformerSpec;
}

/**
 * Reads the config of a model of a supported family. Both spellings of the rotary settings are read: `rope_theta`,
 * `rope_scaling` and `partial_rotary_factor` (for GPT-NeoX also `rotary_emb_base` and `rotary_pct`), and `rope_parameters`.
 *
 * @param config the parsed JSON
 * @throws FormatError when a field is missing or has the wrong type or range
 * @throws UnsupportedModelError for another architecture, or a variant of a supported one that is not implemented
 */
export function readModelConfig(config: unknown): ModelConfig {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new FormatError("The model config is not a JSON object.", "Give the contents of config.json.");
  }
  const whole = config as Readonly<Record<string, unknown>>;
  const json = textConfig(whole) ?? whole;
  const type = json["model_type"];
  if (typeof type !== "string" || !Object.hasOwn(READERS, type)) {
    throw new UnsupportedModelError(
      `The model type is ${show(type)}.`,
      `Supported: ${Object.keys(READERS).join(", ")}. For other models, compute activations elsewhere and load them from a file.`,
    );
  }
  const { family, read } = READERS[type as Architecture];
  const fields = new ConfigFields(json, family);
  if ((whole["quantization_config"] ?? null) !== null) {
    throw fields.unsupported("quantised weights", "weights in F32, F16 or BF16");
  }
  return { spec: read(fields) };
}

/**
 * The config of the text model within a Gemma 3 of images and text. Published ones leave out what is at Hugging Face's
 * defaults.
 */
function textConfig(json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined {
  const text = json["text_config"];
  if (json["model_type"] !== "gemma3" || typeof text !== "object" || text === null) return undefined;
  return {
    vocab_size: 262208,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    max_position_embeddings: 131072,
    ...text,
    model_type: "gemma3_text",
  };
}

function readGptNeoX(config: ConfigFields): TransformerSpec {
  const shape = readShape(config);
  config.only("attention_bias", true, "attention with biases");
  const rotary = readRotary(config, shape.dHead, {
    fraction: ["rotary_pct", 0.25],
    base: ["rotary_emb_base", 10000],
  });
  return {
    architecture: "gpt_neox",
    ...shape,
    kvHeads: shape.heads,
    embedding: { scale: 1, learnedPositions: false },
    norm: layerNorm(config, "layer_norm_eps"),
    attention: {
      ...plainAttention(shape.dHead, rotary),
      biases: true,
      outputBias: true,
    },
    mlp: { gated: false, activation: config.choice("hidden_act", ACTIVATIONS, "gelu"), biases: true },
    residual: {
      parallel: config.flag("use_parallel_residual", true),
      sharedNorm: false,
      postNorms: false,
    },
    unembedding: { tied: config.flag("tie_word_embeddings", false), bias: false, softcap: null },
  };
}

function readGpt2(config: ConfigFields): TransformerSpec {
  const dModel = config.whole("n_embd");
  const heads = config.whole("n_head");
  const dHead = share(dModel, heads, "n_embd", "n_head");
  config.only("scale_attn_by_inverse_layer_idx", false, "scores scaled alike in all layers");
  config.only("add_cross_attention", false, "self-attention alone");
  return {
    architecture: "gpt2",
    layers: config.whole("n_layer"),
    dModel,
    heads,
    kvHeads: heads,
    dHead,
    dMlp: config.whole("n_inner", 4 * dModel),
    vocabulary: config.whole("vocab_size"),
    context: readContext(config, "n_positions"),
    embedding: { scale: 1, learnedPositions: true },
    norm: layerNorm(config, "layer_norm_epsilon"),
    attention: {
      ...plainAttention(dHead, null),
      scale: config.flag("scale_attn_weights", true) ? 1 / Math.sqrt(dHead) : 1,
      biases: true,
      outputBias: true,
    },
    mlp: {
      gated: false,
      activation: config.choice("activation_function", ACTIVATIONS, "gelu_new"),
      biases: true,
    },
    residual: SEQUENTIAL,
    unembedding: { tied: config.flag("tie_word_embeddings", true), bias: false, softcap: null },
  };
}

/** What the families after Llama have in common: RMS norms, rotary embeddings, gated MLPs, grouped queries, no biases. */
function llamaLike(
  architecture: Architecture,
  config: ConfigFields,
  defaults: { readonly dHead?: number; readonly epsilon?: number; readonly base?: number } = {},
): TransformerSpec {
  const shape = readShape(config, defaults.dHead);
  return {
    architecture,
    ...shape,
    kvHeads: readKeyHeads(config, shape.heads, architecture === "llama"),
    embedding: { scale: 1, learnedPositions: false },
    norm: { kind: "rms", epsilon: config.positive("rms_norm_eps", defaults.epsilon ?? 1e-6), gainOffset: 0 },
    attention: plainAttention(
      shape.dHead,
      readRotary(config, shape.dHead, { base: ["rope_theta", defaults.base ?? 10000] }),
    ),
    mlp: { gated: true, activation: config.choice("hidden_act", ACTIVATIONS, "silu"), biases: false },
    residual: SEQUENTIAL,
    unembedding: { tied: config.flag("tie_word_embeddings", false), bias: false, softcap: null },
  };
}

function readLlama(config: ConfigFields): TransformerSpec {
  const spec = llamaLike("llama", config);
  const biases = config.flag("attention_bias", false);
  return {
    ...spec,
    attention: { ...spec.attention, biases, outputBias: biases },
    mlp: { ...spec.mlp, biases: config.flag("mlp_bias", false) },
  };
}

function readMistral(config: ConfigFields): TransformerSpec {
  const spec = llamaLike("mistral", config);
  const window = readWindow(config, 4096);
  return { ...spec, attention: { ...spec.attention, layers: withWindow(spec, window) } };
}

function readQwen2(config: ConfigFields): TransformerSpec {
  const spec = llamaLike("qwen2", config);
  return { ...spec, attention: { ...spec.attention, biases: true, layers: qwenLayers(config, spec) } };
}

function readQwen3(config: ConfigFields): TransformerSpec {
  const spec = llamaLike("qwen3", config, { dHead: 128 });
  const biases = config.flag("attention_bias", false);
  return {
    ...spec,
    attention: {
      ...spec.attention,
      biases,
      outputBias: biases,
      headNorms: true,
      layers: qwenLayers(config, spec),
    },
  };
}

/** Windows in the layers from `max_window_layers` on, or where `layer_types` says so. */
function qwenLayers(config: ConfigFields, spec: TransformerSpec): readonly AttentionLayer[] {
  if (!config.flag("use_sliding_window", false)) return spec.attention.layers;
  const window = readWindow(config, 4096);
  const first = config.whole("max_window_layers", 28, 0);
  return readLayerKinds(config, spec.layers, (layer) => layer >= first).map((sliding): AttentionLayer => ({
    ...spec.attention.layers[0],
    window: sliding ? window : null,
  }));
}

/** What Gemma 2 and 3 have in common: gains stored as differences from 1, norms on both sides, scaled embeddings. */
function gemmaLike(
  architecture: "gemma2" | "gemma3_text",
  config: ConfigFields,
  base: number,
): TransformerSpec {
  const spec = llamaLike(architecture, config, { dHead: 256, base });
  const biases = config.flag("attention_bias", false);
  config.only("use_bidirectional_attention", false, "causal attention");
  return {
    ...spec,
    // As it is rounded where the model runs in float32.
    embedding: { scale: Math.fround(Math.sqrt(spec.dModel)), learnedPositions: false },
    norm: { ...spec.norm, gainOffset: 1 },
    attention: {
      ...spec.attention,
      scale: config.positive("query_pre_attn_scalar", 256) ** -0.5,
      biases,
      outputBias: biases,
    },
    mlp: {
      ...spec.mlp,
      activation: config.choice("hidden_activation", ACTIVATIONS, "gelu_pytorch_tanh"),
    },
    residual: { parallel: false, sharedNorm: false, postNorms: true },
    unembedding: {
      tied: config.flag("tie_word_embeddings", true),
      bias: false,
      softcap: config.optional("final_logit_softcapping", architecture === "gemma2" ? 30 : undefined),
    },
  };
}

function readGemma2(config: ConfigFields): TransformerSpec {
  const spec = gemmaLike("gemma2", config, 1e4);
  const window = config.whole("sliding_window", 4096);
  const [full] = spec.attention.layers;
  const kinds = readLayerKinds(config, spec.layers, (layer) => layer % 2 === 0, 2);
  return {
    ...spec,
    attention: {
      ...spec.attention,
      softcap: config.optional("attn_logit_softcapping", 50),
      layers: kinds.map((sliding) => (sliding ? { ...full, window } : full)),
    },
  };
}

function readGemma3(config: ConfigFields): TransformerSpec {
  const spec = gemmaLike("gemma3_text", config, 1e6);
  if (config.value("attn_logit_softcapping") !== undefined) {
    throw config.unsupported("attn_logit_softcapping", "scores without a limit, as Gemma 3's are");
  }
  const window = config.whole("sliding_window", 4096);
  const [global] = spec.attention.layers;
  // The local layers' context is short: their frequencies are never scaled.
  const rotary: RotarySpec = {
    dims: spec.dHead,
    base:
      config.object("rope_parameters")?.object("sliding_attention")?.optional("rope_theta") ??
      config.positive("rope_local_base_freq", 10000),
    scaling: null,
  };
  const period = config.whole("sliding_window_pattern", config.whole("_sliding_window_pattern", 6));
  const kinds = readLayerKinds(config, spec.layers, (layer) => (layer + 1) % period !== 0, period);
  return {
    ...spec,
    attention: {
      ...spec.attention,
      headNorms: true,
      layers: kinds.map((local) => (local ? { rotary, window } : global)),
    },
  };
}

function readPhi(config: ConfigFields): TransformerSpec {
  const shape = readShape(config);
  config.only("qk_layernorm", false, "queries and keys without norms");
  config.only("tie_word_embeddings", false, "an unembedding of its own");
  return {
    architecture: "phi",
    ...shape,
    kvHeads: readKeyHeads(config, shape.heads, true),
    embedding: { scale: 1, learnedPositions: false },
    norm: layerNorm(config, "layer_norm_eps"),
    attention: {
      ...plainAttention(
        shape.dHead,
        readRotary(config, shape.dHead, { fraction: ["partial_rotary_factor", 0.5] }),
      ),
      biases: true,
      outputBias: true,
    },
    mlp: { gated: false, activation: config.choice("hidden_act", ACTIVATIONS, "gelu_new"), biases: true },
    residual: { parallel: true, sharedNorm: true, postNorms: false },
    unembedding: { tied: false, bias: true, softcap: null },
  };
}

function readPhi3(config: ConfigFields): TransformerSpec {
  const spec = llamaLike("phi3", config, { epsilon: 1e-5 });
  return { ...spec, attention: { ...spec.attention, layers: withWindow(spec, readWindow(config)) } };
}

const SEQUENTIAL: TransformerSpec["residual"] = { parallel: false, sharedNorm: false, postNorms: false };

/** Attention without biases and norms, and with the usual scale. */
function plainAttention(dHead: number, rotary: RotarySpec | null): TransformerSpec["attention"] {
  return {
    scale: 1 / Math.sqrt(dHead),
    softcap: null,
    biases: false,
    outputBias: false,
    headNorms: false,
    layers: [{ rotary, window: null }],
  };
}

function layerNorm(config: ConfigFields, epsilon: string): TransformerSpec["norm"] {
  return { kind: "layer", epsilon: config.positive(epsilon, 1e-5), gainOffset: 0 };
}

/** The sizes that most families spell alike. */
function readShape(
  config: ConfigFields,
  headDefault?: number,
): Pick<TransformerSpec, "layers" | "dModel" | "heads" | "dHead" | "dMlp" | "vocabulary" | "context"> {
  const dModel = config.whole("hidden_size");
  const heads = config.whole("num_attention_heads");
  return {
    layers: config.whole("num_hidden_layers"),
    dModel,
    heads,
    dHead:
      config.value("head_dim") === undefined && headDefault === undefined
        ? share(dModel, heads, "hidden_size", "num_attention_heads")
        : config.whole("head_dim", headDefault),
    dMlp: config.whole("intermediate_size"),
    vocabulary: config.whole("vocab_size"),
    context: readContext(config, "max_position_embeddings"),
  };
}

/** What one of `parts` gets of `whole`. */
function share(whole: number, parts: number, name: string, partsName: string): number {
  if (whole % parts === 0) return whole / parts;
  throw new FormatError(`${name} ${whole} is not a multiple of ${partsName} ${parts}.`, "Check config.json.");
}

function readContext(config: ConfigFields, name: string): number {
  const context = config.whole(name);
  if (context <= MOST_CONTEXT) return context;
  throw new FormatError(
    `${name} in the model config is ${context}.`,
    `It is at most ${MOST_CONTEXT}: check config.json.`,
  );
}

/** @param all a config without the field means one for each head of queries, as null does everywhere */
function readKeyHeads(config: ConfigFields, heads: number, all: boolean): number {
  const fallback = all || config.isNull("num_key_value_heads") ? heads : undefined;
  const kvHeads = config.whole("num_key_value_heads", fallback);
  share(heads, kvHeads, "num_attention_heads", "num_key_value_heads");
  return kvHeads;
}

/** The window of the layers that have one; null where there is none. */
function readWindow(config: ConfigFields, fallback?: number): number | null {
  const missing = config.value("sliding_window") === undefined;
  return config.isNull("sliding_window") || (missing && fallback === undefined)
    ? null
    : config.whole("sliding_window", fallback);
}

function withWindow(spec: TransformerSpec, window: number | null): readonly AttentionLayer[] {
  return spec.attention.layers.map((layer) => ({ ...layer, window }));
}

/**
 * Which layers have a window: as `layer_types` says, else by a rule that repeats after `period` layers.
 * @throws FormatError when `layer_types` does not name every layer
 */
function readLayerKinds(
  config: ConfigFields,
  layers: number,
  sliding: (layer: number) => boolean,
  period?: number,
): boolean[] {
  const types = config.value("layer_types");
  if (types === undefined) {
    const count = period ?? layers;
    if (count > MOST_KINDS) {
      throw new FormatError(`The model config has ${count} kinds of layers.`, `At most ${MOST_KINDS}.`);
    }
    return Array.from({ length: count }, (_, layer) => sliding(layer));
  }
  if (!Array.isArray(types) || types.length !== layers) {
    throw new FormatError(
      `layer_types in the model config does not name the kind of each of the ${layers} layers.`,
      "Check config.json.",
    );
  }
  return types.map((type: unknown) => {
    if (type === "sliding_attention") return true;
    if (type === "full_attention") return false;
    throw config.unsupported(`a layer of type ${show(type)}`, "full_attention, sliding_attention");
  });
}

/** Where a family looks for its rotary settings, besides the usual fields, and what holds when they are not there. */
interface RotaryDefaults {
  readonly fraction?: readonly [name: string, fallback: number];
  readonly base?: readonly [name: string, fallback: number];
}

function readRotary(config: ConfigFields, dHead: number, defaults: RotaryDefaults = {}): RotarySpec {
  const allParameters = config.object("rope_parameters");
  // Gemma 3 has settings of its own for each kind of layer.
  const parameters = allParameters?.object("full_attention") ?? allParameters;
  const { fraction: [fractionName, noFraction] = ["partial_rotary_factor", 1] } = defaults;
  const { base: [baseName, noBase] = ["rope_theta", 10000] } = defaults;
  const fraction =
    parameters?.optional("partial_rotary_factor") ??
    config.optional("partial_rotary_factor") ??
    config.positive(fractionName, noFraction);
  const base =
    parameters?.optional("rope_theta") ?? config.optional("rope_theta") ?? config.positive(baseName, noBase);
  if (fraction > 1) {
    throw new FormatError(
      `The rotary fraction is ${fraction}.`,
      "It is a share of the head size: at most 1.",
    );
  }
  const dims = Math.trunc(dHead * fraction);
  if (dims % 2 !== 0) {
    throw config.unsupported(`${dims} rotary dimensions in each head`, "an even number of them");
  }
  const scaling = parameters ?? config.object("rope_scaling");
  return { dims, base, scaling: scaling ? readScaling(config, scaling) : null };
}

function readScaling(config: ConfigFields, scaling: ConfigFields): RotaryScaling | null {
  const kind = scaling.value("rope_type") ?? scaling.value("type") ?? "default";
  switch (kind) {
    case "default":
      return null;
    case "linear":
      return { kind: "linear", factor: scaling.positive("factor") };
    case "llama3":
      return {
        kind: "llama3",
        factor: scaling.positive("factor"),
        lowFrequencyFactor: scaling.positive("low_freq_factor"),
        highFrequencyFactor: scaling.positive("high_freq_factor"),
        originalContext: scaling.positive("original_max_position_embeddings"),
      };
    case "yarn": {
      const factor = scaling.positive("factor");
      const mscale = scaling.optional("mscale");
      const mscaleAll = scaling.optional("mscale_all_dim");
      const grown = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
      return {
        kind: "yarn",
        factor,
        originalContext:
          scaling.optional("original_max_position_embeddings") ?? config.whole("max_position_embeddings"),
        betaFast: scaling.positive("beta_fast", 32),
        betaSlow: scaling.positive("beta_slow", 1),
        truncate: scaling.flag("truncate", true),
        magnitude:
          scaling.optional("attention_factor") ??
          (mscale && mscaleAll ? grown(mscale) / grown(mscaleAll) : grown(1)),
      };
    }
    default:
      throw config.unsupported(`rope_type ${show(kind)}`, "default, linear, llama3, yarn");
  }
}
