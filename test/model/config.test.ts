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
    expect(readModelConfig(PYTHIA)).toEqual({
      tiedEmbeddings: false,
      spec: {
        architecture: "gpt_neox",
        layers: 6,
        dModel: 512,
        heads: 8,
        dHead: 64,
        dMlp: 2048,
        vocabulary: 50304,
        context: 2048,
        rotaryDims: 16,
        rotaryBase: 10000,
        parallelResidual: true,
        layerNormEpsilon: 1e-5,
        activation: "gelu",
      },
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
    for (const config of [newest, between, old]) {
      expect(readModelConfig(config).spec).toMatchObject({ rotaryDims: 32, rotaryBase: 500 });
    }
    expect(readModelConfig(bare).spec).toMatchObject({ rotaryDims: 16, rotaryBase: 10000 });
  });

  it("reads the fixtures' configs", () => {
    expect(fixtureSpec("sequential")).toMatchObject({ parallelResidual: false, activation: "gelu-tanh" });
    expect(fixtureSpec("relu")).toMatchObject({ rotaryDims: 6, dHead: 6, activation: "relu" });
  });

  it.each([
    [{ model_type: "llama" }, /model type is "llama".*Supported: gpt_neox/],
    [{ model_type: undefined }, /model type is missing/],
    [{ hidden_act: "silu" }, /hidden_act "silu"/],
    [{ hidden_act: "constructor" }, /hidden_act "constructor"/],
    [{ rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling/],
    [{ rope_parameters: { rope_type: "yarn" } }, /rope_type "yarn"/],
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
    [{ max_position_embeddings: 1e9 }, /max_position_embeddings .* 1000000000.*at most 1048576/],
  ])("reports the broken field of %o", (change, message) => {
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(message);
    expect(() => readModelConfig({ ...PYTHIA, ...change })).toThrow(FormatError);
  });

  it.each([null, [], "{}", 3])("refuses %o", (config) => {
    expect(() => readModelConfig(config)).toThrow(FormatError);
  });
});
