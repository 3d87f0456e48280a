import { describe, expect, it } from "vitest";
import { FormatError, UnsupportedModelError } from "../../src/errors.ts";
import { readModelConfig } from "../../src/model/config.ts";
import { fixtureSpec } from "./fixtures.ts";

/** The config of Pythia 70M, as its publisher writes it. */
const PYTHIA = {
  architectures: ["GPTNeoXForCausalLM"],
  bos_token_id: 0,
  eos_token_id: 0,
  hidden_act: "gelu",
  hidden_size: 512,
  initializer_range: 0.02,
  intermediate_size: 2048,
  layer_norm_eps: 1e-5,
  max_position_embeddings: 2048,
  model_type: "gpt_neox",
  num_attention_heads: 8,
  num_hidden_layers: 6,
  rotary_emb_base: 10000,
  rotary_pct: 0.25,
  tie_word_embeddings: false,
  use_parallel_residual: true,
  vocab_size: 50304,
};

describe("readModelConfig", () => {
  it("reads Pythia", () => {
    expect(readModelConfig(PYTHIA).spec).toEqual({
      architecture: "gpt_neox",
      layers: 6,
      dModel: 512,
      heads: 8,
      kvHeads: 8,
      dHead: 64,
      dMlp: 2048,
      vocabulary: 50304,
      context: 2048,
      embedding: { scale: 1, learnedPositions: false },
      norm: { kind: "layer", epsilon: 1e-5, gainOffset: 0 },
      attention: {
        scale: 1 / 8,
        softcap: null,
        biases: true,
        outputBias: true,
        headNorms: false,
        layers: [{ rotary: { dims: 16, base: 10000, scaling: null }, window: null }],
      },
      mlp: { gated: false, activation: "gelu", biases: true },
      residual: { parallel: true, sharedNorm: false, postNorms: false },
      unembedding: { tied: false, bias: false, softcap: null },
    });
  });

  it("reads every spelling of the rotary settings", () => {
    const bare = { ...PYTHIA, rotary_pct: undefined, rotary_emb_base: undefined };
    const newest = {
      ...bare,
      rope_parameters: { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.5 },
    };
    const between = { ...bare, rope_theta: 500, partial_rotary_factor: 0.5, rope_scaling: null };
    const old = { ...bare, rotary_emb_base: 500, rotary_pct: 0.5 };
    const rotary = (config: object) => readModelConfig(config).spec.attention.layers[0].rotary;
    for (const config of [newest, between, old]) {
      expect(rotary(config)).toEqual({ dims: 32, base: 500, scaling: null });
    }
    expect(rotary(bare)).toEqual({ dims: 16, base: 10000, scaling: null });
  });

  it("reads the fixtures' configs", () => {
    expect(fixtureSpec("sequential")).toMatchObject({
      residual: { parallel: false },
      mlp: { activation: "gelu-tanh" },
    });
    expect(fixtureSpec("relu")).toMatchObject({ dHead: 6, mlp: { activation: "relu" } });
  });

  it.each([
    [
      { model_type: "mamba" },
      /model type is "mamba".*Supported: gpt_neox, gpt2, llama, mistral, qwen2, qwen3, gemma2/,
    ],
    [{ model_type: "toString" }, /model type is "toString"/],
    [{ quantization_config: { quant_method: "gptq" } }, /quantised weights/],
    [{ model_type: undefined }, /model type is missing/],
    [{ hidden_act: "quick_gelu" }, /GPT-NeoX model has hidden_act "quick_gelu".*gelu, gelu_new/],
    [{ hidden_act: "constructor" }, /hidden_act "constructor"/],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, /rope_type "dynamic".*default, linear, llama3, yarn/],
    [{ rope_parameters: { rope_type: "longrope" } }, /rope_type "longrope"/],
    [{ attention_bias: false }, /attention_bias false/],
    [{ rotary_pct: 0.05 }, /3 rotary dimensions/],
  ])("refuses %o by name", (change, message) => {
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(message);
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(UnsupportedModelError);
  });

  it.each([
    [{ hidden_size: undefined }, /hidden_size .* missing/],
    [{ hidden_size: 512.5 }, /hidden_size/],
    [{ hidden_size: 500 }, /not a multiple/],
    [{ vocab_size: "50304" }, /vocab_size/],
    [{ num_hidden_layers: 0 }, /num_hidden_layers/],
    [{ layer_norm_eps: -1 }, /layer_norm_eps/],
    [{ use_parallel_residual: "yes" }, /use_parallel_residual/],
    [{ rotary_pct: 1.5 }, /rotary fraction/],
    [{ rope_parameters: [] }, /rope_parameters/],
    [{ num_attention_heads: 0 }, /num_attention_heads/],
    [{ max_position_embeddings: 1e9 }, /max_position_embeddings .* 1000000000.*at most 16777216/],
  ])("reports the broken field of %o", (change, message) => {
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(message);
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(FormatError);
  });

  it.each([null, [], "{}", 3])("refuses %o", (config) => {
    expect(() => readModelConfig(config)).toThrow(FormatError);
  });
});

/** Configs as the publishers write them, cut down to what says how the model computes. */
const GEMMA_2 = {
  model_type: "gemma2",
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  head_dim: 256,
  hidden_act: "gelu_pytorch_tanh",
  hidden_activation: "gelu_pytorch_tanh",
  hidden_size: 2304,
  intermediate_size: 9216,
  max_position_embeddings: 8192,
  num_attention_heads: 8,
  num_hidden_layers: 26,
  num_key_value_heads: 4,
  query_pre_attn_scalar: 256,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  sliding_window: 4096,
  vocab_size: 256000,
};
const GEMMA_3 = {
  model_type: "gemma3_text",
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
  head_dim: 256,
  hidden_activation: "gelu_pytorch_tanh",
  hidden_size: 1152,
  intermediate_size: 6912,
  max_position_embeddings: 32768,
  num_attention_heads: 4,
  num_hidden_layers: 26,
  num_key_value_heads: 1,
  query_pre_attn_scalar: 256,
  rms_norm_eps: 1e-6,
  rope_local_base_freq: 10000,
  rope_scaling: null,
  rope_theta: 1000000,
  sliding_window: 512,
  sliding_window_pattern: 6,
  vocab_size: 262144,
};
const LLAMA_3 = {
  model_type: "llama",
  attention_bias: false,
  head_dim: 64,
  hidden_act: "silu",
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32,
    high_freq_factor: 4,
    low_freq_factor: 1,
    original_max_position_embeddings: 8192,
    rope_type: "llama3",
  },
  rope_theta: 500000,
  tie_word_embeddings: true,
  vocab_size: 128256,
};
const MISTRAL = {
  model_type: "mistral",
  hidden_act: "silu",
  hidden_size: 4096,
  intermediate_size: 14336,
  max_position_embeddings: 32768,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  sliding_window: 4096,
  tie_word_embeddings: false,
  vocab_size: 32000,
};
const QWEN_2 = {
  model_type: "qwen2",
  hidden_act: "silu",
  hidden_size: 896,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 21,
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  sliding_window: 32768,
  tie_word_embeddings: true,
  use_sliding_window: false,
  vocab_size: 151936,
};
const PHI = {
  model_type: "phi",
  hidden_act: "gelu_new",
  hidden_size: 2560,
  intermediate_size: 10240,
  layer_norm_eps: 1e-5,
  max_position_embeddings: 2048,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: null,
  partial_rotary_factor: 0.4,
  qk_layernorm: false,
  rope_theta: 10000,
  tie_word_embeddings: false,
  vocab_size: 51200,
};
const GPT_2 = {
  model_type: "gpt2",
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  n_ctx: 1024,
  n_embd: 768,
  n_head: 12,
  n_layer: 12,
  n_positions: 1024,
  vocab_size: 50257,
};

const attentionOf = (config: object) => readModelConfig(config).spec.attention;

describe("the other families", () => {
  it("GPT-2: learned positions, tied embeddings, four times as many neurons unless it says otherwise", () => {
    expect(readModelConfig(GPT_2).spec).toMatchObject({
      dHead: 64,
      dMlp: 3072,
      context: 1024,
      embedding: { learnedPositions: true },
      attention: { layers: [{ rotary: null, window: null }] },
      mlp: { activation: "gelu-tanh", gated: false },
      unembedding: { tied: true },
    });
    expect(attentionOf({ ...GPT_2, scale_attn_weights: false }).scale).toBe(1);
  });

  it("Llama 3: grouped queries, scaled frequencies, tied embeddings", () => {
    expect(readModelConfig(LLAMA_3).spec).toMatchObject({
      kvHeads: 8,
      norm: { kind: "rms", epsilon: 1e-5, gainOffset: 0 },
      mlp: { gated: true, activation: "silu", biases: false },
      unembedding: { tied: true },
    });
    expect(attentionOf(LLAMA_3).layers).toEqual([
      {
        rotary: {
          dims: 64,
          base: 500000,
          scaling: {
            kind: "llama3",
            factor: 32,
            lowFrequencyFactor: 1,
            highFrequencyFactor: 4,
            originalContext: 8192,
          },
        },
        window: null,
      },
    ]);
  });

  it("Mistral: a window where it is not turned off", () => {
    expect(attentionOf(MISTRAL).layers[0].window).toBe(4096);
    expect(attentionOf({ ...MISTRAL, sliding_window: null }).layers[0].window).toBeNull();
    expect(attentionOf({ ...MISTRAL, sliding_window: undefined }).layers[0].window).toBe(4096);
    expect(attentionOf({ ...MISTRAL, head_dim: 64 }).scale).toBe(1 / 8);
  });

  it("Qwen: biases of queries, keys and values or norms, windows in the last layers if at all", () => {
    expect(attentionOf(QWEN_2)).toMatchObject({ biases: true, outputBias: false, headNorms: false });
    expect(attentionOf(QWEN_2).layers).toHaveLength(1);
    expect(attentionOf(QWEN_2).layers[0].window).toBeNull();
    const { layers } = attentionOf({ ...QWEN_2, use_sliding_window: true });
    expect(layers.map(({ window }) => window)).toEqual([...Array<null>(21).fill(null), 32768, 32768, 32768]);
    const third = { ...QWEN_2, model_type: "qwen3" };
    expect(readModelConfig(third).spec).toMatchObject({
      dHead: 128,
      attention: { biases: false, headNorms: true },
    });
  });

  it("Gemma 2: every other layer has a window, scores and logits have limits", () => {
    const { spec } = readModelConfig(GEMMA_2);
    expect(spec).toMatchObject({
      embedding: { scale: 48 },
      norm: { gainOffset: 1 },
      attention: { softcap: 50, scale: 1 / 16 },
      mlp: { activation: "gelu-tanh" },
      residual: { postNorms: true },
      unembedding: { tied: true, softcap: 30 },
    });
    expect(spec.attention.layers.map(({ window }) => window)).toEqual([4096, null]);
  });

  it("Gemma 3: five local layers with frequencies of their own to one global", () => {
    const { layers, headNorms, softcap } = attentionOf(GEMMA_3);
    expect(layers.map(({ window, rotary }) => [window, rotary!.base])).toEqual([
      ...Array<[number, number]>(5).fill([512, 10000]),
      [null, 1000000],
    ]);
    expect([headNorms, softcap]).toEqual([true, null]);
    const newest = {
      ...GEMMA_3,
      rope_theta: undefined,
      rope_local_base_freq: undefined,
      rope_parameters: {
        full_attention: { rope_type: "linear", factor: 8, rope_theta: 1000000 },
        sliding_attention: { rope_type: "default", rope_theta: 10000 },
      },
    };
    expect(attentionOf(newest).layers[0].rotary).toEqual(layers[0].rotary);
    expect(attentionOf(newest).layers[5].rotary).toEqual({
      ...layers[5].rotary,
      scaling: { kind: "linear", factor: 8 },
    });
  });

  it("Gemma 3 of images and text: its text model, at the defaults where nothing is said", () => {
    const { spec } = readModelConfig({
      model_type: "gemma3",
      text_config: {
        hidden_size: 2560,
        intermediate_size: 10240,
        model_type: "gemma3_text",
        num_hidden_layers: 34,
        rope_scaling: { factor: 8, rope_type: "linear" },
        sliding_window: 1024,
      },
      vision_config: { hidden_size: 1152 },
    });
    expect(spec).toMatchObject({
      architecture: "gemma3_text",
      heads: 8,
      kvHeads: 4,
      dHead: 256,
      vocabulary: 262208,
      context: 131072,
    });
    expect(spec.attention.layers[5].rotary).toEqual({
      dims: 256,
      base: 1e6,
      scaling: { kind: "linear", factor: 8 },
    });
    expect(() => readModelConfig({ model_type: "gemma3" })).toThrow(UnsupportedModelError);
  });

  it("Phi: one norm for attention and MLP side by side, part of each head rotated", () => {
    const { spec } = readModelConfig(PHI);
    expect(spec).toMatchObject({
      kvHeads: 32,
      residual: { parallel: true, sharedNorm: true },
      unembedding: { bias: true },
    });
    expect(spec.attention.layers[0].rotary!.dims).toBe(32);
  });

  it.each([
    [
      GPT_2,
      { scale_attn_by_inverse_layer_idx: true },
      /GPT-2 model has scale_attn_by_inverse_layer_idx true/,
    ],
    [GPT_2, { add_cross_attention: true }, /add_cross_attention true/],
    [PHI, { tie_word_embeddings: true }, /Phi model has tie_word_embeddings true/],
    [PHI, { qk_layernorm: true }, /Phi model has qk_layernorm true/],
    [LLAMA_3, { rope_scaling: { type: "longrope" } }, /Llama model has rope_type "longrope"/],
    [{ ...PHI, model_type: "phi3" }, { rope_scaling: { type: "su" } }, /Phi 3 model has rope_type "su"/],
    [GEMMA_3, { attn_logit_softcapping: 50 }, /attn_logit_softcapping/],
    [GEMMA_3, { use_bidirectional_attention: true }, /use_bidirectional_attention true/],
    [
      GEMMA_2,
      { layer_types: Array<string>(26).fill("linear_attention") },
      /layer of type "linear_attention"/,
    ],
  ])("refuses variants by name: %#", (config, change, message) => {
    expect(() => readModelConfig({ ...config, ...change })).toThrow(message);
    expect(() => readModelConfig({ ...config, ...change })).toThrow(UnsupportedModelError);
  });

  it.each([
    [
      LLAMA_3,
      { num_key_value_heads: 5 },
      /num_attention_heads 32 is not a multiple of num_key_value_heads 5/,
    ],
    [MISTRAL, { num_key_value_heads: undefined }, /num_key_value_heads .* missing/],
    [GPT_2, { n_head: 7 }, /n_embd 768 is not a multiple of n_head 7/],
    [GEMMA_2, { layer_types: ["full_attention"] }, /layer_types .* 26 layers/],
    [LLAMA_3, { rope_scaling: { rope_type: "llama3", factor: 8 } }, /low_freq_factor .* missing/],
    [LLAMA_3, { rope_scaling: [] }, /rope_scaling .* \[\]/],
    [QWEN_2, { use_sliding_window: true, num_hidden_layers: 1e9 }, /1000000000 kinds of layers/],
  ])("reports the broken field: %#", (config, change, message) => {
    expect(() => readModelConfig({ ...config, ...change })).toThrow(message);
    expect(() => readModelConfig({ ...config, ...change })).toThrow(FormatError);
  });
});
