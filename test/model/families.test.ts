/** Every family on the CPU: against torch, and that each part of its description tells. */
import { describe, expect, it } from "vitest";
import type { AttentionLayer, TransformerSpec } from "../../src/backends/backend.ts";
import { loadCpuTransformer, type CpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import { MissingTensorError, OptionError } from "../../src/errors.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { FAMILIES, familyConfig, familyGolden, familyPath, familySpec, type Family } from "./families.ts";
import { sequence, worstShare } from "./fixtures.ts";

async function load(
  family: Family,
  options: { kernels?: "wasm" | "javascript"; spec?: TransformerSpec; pool?: KernelPool } = {},
): Promise<CpuTransformer> {
  const weights = await openTensorFolder(familyPath(family));
  try {
    return await loadCpuTransformer(options.spec ?? familySpec(family), weights, options);
  } finally {
    await weights.close();
  }
}

describe.each(FAMILIES)("%s on the CPU", (family) => {
  it.each(["wasm", "javascript"] as const)(
    "gives torch's hook points and logits on %s kernels",
    async (kernels) => {
      const model = await load(family, { kernels });
      const { batch, points, logits } = await familyGolden(family);
      const { gated } = model.spec.mlp;
      const { parallel } = model.spec.residual;
      expect(points.size).toBe(2 * (5 + (gated ? 1 : 0) + (parallel ? 0 : 1)));
      const result = await model.forward(batch, { hookPoints: [...points.keys()], logits: "all" });
      const shares: [string, number][] = [["logits", worstShare(result.logits!, logits)]];
      for (const [point, want] of points) {
        const got = await result.activations.get(point)!.read();
        shares.push([point, worstShare(got.toFloat32(), want)]);
      }
      expect(shares.filter(([, share]) => !(share < 1))).toEqual([]);
      model.dispose();
    },
  );

  it("gives torch's loss of every token", async () => {
    const model = await load(family);
    const { batch, losses } = await familyGolden(family);
    const { logits } = await model.forward(batch, { hookPoints: [], logits: "all" });
    const { vocabulary } = model.spec;
    const got: number[] = [];
    for (let s = 0; s + 1 < batch.offsets.length; s++) {
      for (let t = batch.offsets[s]; t + 1 < batch.offsets[s + 1]; t++) {
        const row = logits!.subarray(t * vocabulary, (t + 1) * vocabulary);
        const high = Math.max(...row);
        const total = row.reduce((sum, value) => sum + Math.exp(value - high), 0);
        got.push(high + Math.log(total) - row[batch.tokens[t + 1]]);
      }
    }
    expect(worstShare(got, losses)).toBeLessThan(1);
    model.dispose();
  });

  it("gives each hook point, and each sequence, the same bits alone, and on several threads", async () => {
    const model = await load(family);
    const { batch, points } = await familyGolden(family);
    const hookPoints = [...points.keys()];
    const pool = await KernelPool.open(supportedVariant()!, 3, spawnWorker);
    const threaded = await load(family, { pool });
    const all = await model.forward(batch, { hookPoints, logits: "all" });
    const several = await threaded.forward(batch, { hookPoints, logits: "all" });
    expect(several.logits).toEqual(all.logits);
    const [start, end] = batch.offsets.subarray(1, 3);
    for (const point of hookPoints) {
      const want = (await all.activations.get(point)!.read()).toFloat32();
      const read = async (result: typeof all) => (await result.activations.get(point)!.read()).toFloat32();
      expect(await read(several), point).toEqual(want);
      expect(await read(await model.forward(batch, { hookPoints: [point] })), point).toEqual(want);
      const width = want.length / batch.tokens.length;
      const alone = await read(await model.forward(sequence(batch, 1), { hookPoints: [point] }));
      expect(alone, point).toEqual(want.slice(start * width, end * width));
    }
    model.dispose();
    threaded.dispose();
    pool.release();
  });
});

const withLayers = (
  spec: TransformerSpec,
  change: (layer: AttentionLayer) => AttentionLayer,
): TransformerSpec => ({
  ...spec,
  attention: { ...spec.attention, layers: spec.attention.layers.map(change) },
});
const unscaled = (spec: TransformerSpec): TransformerSpec =>
  withLayers(spec, (layer) => ({ ...layer, rotary: { ...layer.rotary!, scaling: null } }));

describe("what a description says tells in the logits", () => {
  it.each<[Family, string, (spec: TransformerSpec) => TransformerSpec]>([
    ["llama", "scaling", unscaled],
    ["llama-biases", "scaling", unscaled],
    ["qwen2", "scaling", unscaled],
    ["gemma3", "scaling", unscaled],
    [
      "qwen2",
      "magnitude",
      (spec) =>
        withLayers(spec, ({ rotary, window }) => ({
          rotary: { ...rotary!, scaling: { ...rotary!.scaling!, magnitude: 1 } as never },
          window,
        })),
    ],
    ...(["mistral", "qwen2", "gemma2", "gemma3", "phi3"] as const).map(
      (family): [Family, string, (spec: TransformerSpec) => TransformerSpec] => [
        family,
        "window one longer",
        (spec) => withLayers(spec, (layer) => ({ ...layer, window: layer.window && layer.window + 1 })),
      ],
    ),
    [
      "gemma3",
      "local frequencies",
      (spec) => withLayers(spec, (layer) => ({ ...layer, rotary: spec.attention.layers[1].rotary })),
    ],
    ["gemma2", "limit of scores", (spec) => ({ ...spec, attention: { ...spec.attention, softcap: null } })],
    [
      "gemma2",
      "limit of logits",
      (spec) => ({ ...spec, unembedding: { ...spec.unembedding, softcap: null } }),
    ],
    ["gemma2", "scale", (spec) => ({ ...spec, attention: { ...spec.attention, scale: 8 ** -0.5 } })],
    ["gemma3", "embedding's scale", (spec) => ({ ...spec, embedding: { ...spec.embedding, scale: 1 } })],
    ["gemma3", "offset of gains", (spec) => ({ ...spec, norm: { ...spec.norm, gainOffset: 0 } })],
    ["gemma2", "post-norms", (spec) => ({ ...spec, residual: { ...spec.residual, postNorms: false } })],
    ["qwen3", "head norms", (spec) => ({ ...spec, attention: { ...spec.attention, headNorms: false } })],
    ["llama-biases", "biases", (spec) => ({ ...spec, attention: { ...spec.attention, biases: false } })],
    [
      "llama-biases",
      "output bias",
      (spec) => ({ ...spec, attention: { ...spec.attention, outputBias: false } }),
    ],
    ["llama-biases", "MLP biases", (spec) => ({ ...spec, mlp: { ...spec.mlp, biases: false } })],
    ["llama-biases", "epsilon", (spec) => ({ ...spec, norm: { ...spec.norm, epsilon: 1e-6 } })],
    [
      "phi",
      "bias of the unembedding",
      (spec) => ({ ...spec, unembedding: { ...spec.unembedding, bias: false } }),
    ],
    ["phi", "parallel residual", (spec) => ({ ...spec, residual: { ...spec.residual, parallel: false } })],
    ["gpt2", "tanh form", (spec) => ({ ...spec, mlp: { ...spec.mlp, activation: "gelu" } })],
  ])("%s: %s", async (family, _, change) => {
    const model = await load(family, { spec: change(familySpec(family)) });
    const { batch, logits } = await familyGolden(family);
    const result = await model.forward(batch, { hookPoints: [], logits: "all" });
    expect(worstShare(result.logits!, logits)).toBeGreaterThan(10);
    model.dispose();
  });
});

describe("hook points of gated and parallel models", () => {
  const one = { tokens: Uint32Array.of(1), offsets: Uint32Array.of(0, 1) };

  it("has no pre_linear without a gate, and no resid_mid in parallel", async () => {
    const model = await load("phi");
    for (const name of ["mlp.hook_pre_linear", "hook_resid_mid"] as const) {
      await expect(model.forward(one, { hookPoints: [`blocks.0.${name}`] })).rejects.toThrow(OptionError);
    }
    model.dispose();
  });
});

describe("tensors of a checkpoint", () => {
  it("are looked for under the causal model's names where there are none", async () => {
    const spec = familySpec("gemma3");
    const source = { tensors: new Map(), read: () => Promise.reject(new Error("nothing may be read")) };
    const loading = loadCpuTransformer(spec, source);
    await expect(loading).rejects.toThrow(MissingTensorError);
    await expect(loading).rejects.toThrow(/model\.embed_tokens\.weight \[96, 24\] is missing/);
  });

  it.each(["", "language_model.model.", "model.language_model."])("may begin with %j", async (prefix) => {
    const weights = await openTensorFolder(familyPath("gemma3"));
    const inner = (name: string): string => `model.${name.slice(prefix.length)}`;
    const tensors = new Map(
      Array.from(weights.tensors, ([name, info]) => [prefix + name.replace("model.", ""), info]),
    );
    const model = await loadCpuTransformer(familySpec("gemma3"), {
      tensors,
      read: (name, options) => weights.read(inner(name), options),
    });
    await weights.close();
    const { batch, logits } = await familyGolden("gemma3");
    const result = await model.forward(batch, { hookPoints: [], logits: "all" });
    expect(worstShare(result.logits!, logits)).toBeLessThan(1);
    model.dispose();
  });

  it("must have the shapes of the config, in the order that the architecture stores", async () => {
    const weights = await openTensorFolder(familyPath("gpt2"));
    const spec = { ...familySpec("gpt2"), dMlp: 27 };
    const loading = loadCpuTransformer(spec, weights);
    await expect(loading).rejects.toThrow(/h\.0\.mlp\.c_fc\.weight is \[24, 28\], not \[24, 27\]/);
    await weights.close();
  });

  it("come in shards, in bfloat16, float16 and float32", async () => {
    const types = new Set<string>();
    for (const family of FAMILIES) {
      const weights = await openTensorFolder(familyPath(family));
      for (const { dtype } of weights.tensors.values()) types.add(dtype);
      await weights.close();
    }
    expect([...types].sort()).toEqual(["BF16", "F16", "F32"]);
    expect(familyConfig("llama")["rope_scaling"]).toMatchObject({ rope_type: "llama3" });
  });
});
