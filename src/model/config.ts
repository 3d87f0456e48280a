/** Reads a Hugging Face `config.json` into the shape of a transformer, and refuses what would run wrongly. */
import type { TransformerSpec } from "../backends/backend.ts";
import { FormatError, UnsupportedModelError } from "../errors.ts";

const SUPPORTED = ["gpt_neox"] as const;

/** Hugging Face's names for the activations that the backends compute. `gelu_fast` is another way to write the tanh form. */
const ACTIVATIONS: Readonly<Record<string, TransformerSpec["activation"]>> = {
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
};

/**
 * No tensor holds the context's length, so nothing else bounds it; the tables of rotary angles grow with it. Ten times
 * the longest of this architecture is more than enough.
 */
const MOST_CONTEXT = 2 ** 20;

/** What a config says beyond the arithmetic. */
export interface ModelConfig {
  readonly spec: TransformerSpec;
  /** The unembedding is the embedding: the checkpoint may hold it once. */
  readonly tiedEmbeddings: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the config of a GPT-NeoX model (Pythia and its kin). Both spellings of the rotary settings are read:
 * `rotary_pct` with `rotary_emb_base`, and `rope_parameters` with `rope_theta` and `partial_rotary_factor`.
 *
 * @param config the parsed JSON
 * @throws FormatError when a field is missing or has the wrong type or range
 * @throws UnsupportedModelError for another architecture, or a variant of this one that is not implemented
 */
export function readModelConfig(config: unknown): ModelConfig {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new FormatError("The model config is not a JSON object.", "Give the contents of config.json.");
  }
  const json = config as Json;
  const type = json["model_type"];
  if (type !== "gpt_neox") {
    throw new UnsupportedModelError(
      `The model type is ${show(type)}.`,
      `Supported: ${SUPPORTED.join(", ")}. For other models, compute activations elsewhere and load them from a file.`,
    );
  }
  const dModel = whole(json, "hidden_size");
  const heads = whole(json, "num_attention_heads");
  if (dModel % heads !== 0) {
    throw new FormatError(
      `hidden_size ${dModel} is not a multiple of num_attention_heads ${heads}.`,
      "Check config.json.",
    );
  }
  if (json["attention_bias"] === false) {
    throw unsupported("attention_bias false", "attention with biases");
  }
  const context = whole(json, "max_position_embeddings");
  if (context > MOST_CONTEXT) {
    throw new FormatError(
      `max_position_embeddings in the model config is ${context}.`,
      `It is at most ${MOST_CONTEXT}: check config.json.`,
    );
  }
  const rotary = readRotary(json);
  const dHead = dModel / heads;
  const rotaryDims = Math.trunc(dHead * rotary.fraction);
  if (rotaryDims % 2 !== 0) {
    throw unsupported(`${rotaryDims} rotary dimensions in each head`, "an even number of them");
  }
  const spec: TransformerSpec = {
    architecture: "gpt_neox",
    layers: whole(json, "num_hidden_layers"),
    dModel,
    heads,
    dHead,
    dMlp: whole(json, "intermediate_size"),
    vocabulary: whole(json, "vocab_size"),
    context,
    rotaryDims,
    rotaryBase: rotary.base,
    parallelResidual: flag(json, "use_parallel_residual", true),
    layerNormEpsilon: positive(json, "layer_norm_eps", 1e-5),
    activation: readActivation(json["hidden_act"] ?? "gelu"),
  };
  return { spec, tiedEmbeddings: flag(json, "tie_word_embeddings", false) };
}

function readActivation(name: unknown): TransformerSpec["activation"] {
  if (typeof name === "string" && Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name];
  throw unsupported(`hidden_act ${show(name)}`, Object.keys(ACTIVATIONS).join(", "));
}

function readRotary(json: Json): { fraction: number; base: number } {
  const scaling = json["rope_scaling"];
  if (scaling !== undefined && scaling !== null) {
    throw unsupported(`rope_scaling ${JSON.stringify(scaling)}`, "plain rotary embeddings");
  }
  const parameters = json["rope_parameters"] ?? {};
  if (typeof parameters !== "object" || Array.isArray(parameters)) {
    throw new FormatError("rope_parameters is not an object.", "Check config.json.");
  }
  const rope = parameters as Json;
  const kind = rope["rope_type"] ?? "default";
  if (kind !== "default") throw unsupported(`rope_type ${JSON.stringify(kind)}`, 'rope_type "default"');
  const fraction = first(
    [rope, "partial_rotary_factor"],
    [json, "partial_rotary_factor"],
    [json, "rotary_pct"],
  );
  const base = first([rope, "rope_theta"], [json, "rope_theta"], [json, "rotary_emb_base"]);
  const read = { fraction: fraction ?? 0.25, base: base ?? 10000 };
  if (read.fraction > 1) {
    throw new FormatError(
      `The rotary fraction is ${read.fraction}.`,
      "It is a share of the head size: at most 1.",
    );
  }
  return read;
}

/** The first of these fields that is there, a number above 0. */
function first(...places: readonly (readonly [Json, string])[]): number | undefined {
  for (const [json, name] of places) {
    if (json[name] !== undefined && json[name] !== null) return positive(json, name, 1);
  }
  return undefined;
}

function whole(json: Json, name: string): number {
  const value = json[name];
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw new FormatError(`${name} in the model config is ${show(value)}.`, "It is a whole number above 0.");
}

function positive(json: Json, name: string, fallback: number): number {
  const value = json[name] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw new FormatError(
    `${name} in the model config is ${JSON.stringify(value)}.`,
    "It is a number above 0.",
  );
}

function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

function flag(json: Json, name: string, fallback: boolean): boolean {
  const value = json[name] ?? fallback;
  if (typeof value === "boolean") return value;
  throw new FormatError(`${name} in the model config is ${JSON.stringify(value)}.`, "It is true or false.");
}

function unsupported(what: string, supported: string): UnsupportedModelError {
  return new UnsupportedModelError(
    `This GPT-NeoX model has ${what}, which is not implemented.`,
    `Supported: ${supported}. Compute activations elsewhere and load them from a file.`,
  );
}
