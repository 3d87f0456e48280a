/** What loading holds in memory at the most, what is left after models have gone, and what is foretold of both. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import type { Backend, Transformer, TransformerSpec, WeightStorage } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { requiredTensors, transformerTensors } from "../../src/backends/transformer-tensors.ts";
import { bfloatsToFloats } from "../../src/data/float16.ts";
import type { TensorInfo, TensorType } from "../../src/data/tensor.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import type { ByteSource } from "../../src/io/byte-source.ts";
import { layOutSafetensors } from "../../src/io/safetensors-header.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { readModelConfig } from "../../src/model/config.ts";
import { estimateModelMemory } from "../../src/model/estimate-model-memory.ts";
import { loadModel } from "../../src/model/language-model.ts";
import type { ModelFiles } from "../../src/model/model-files.ts";
import { loadModelFolder, openModelFolder } from "../../src/node/model.ts";
import { fixtureJson } from "../model/fixtures.ts";
import { modelPath } from "./hub-server.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const MEGABYTE = 2 ** 20;

/** Bytes without the exponents of infinities, which repeat. */
const PERIOD = 61;
const PATTERN = Uint8Array.from({ length: PERIOD << 14 }, (_, i) => (i * 37) % PERIOD);

/** Names and shapes of a GPT-NeoX model. */
const tensorsOf = (spec: TransformerSpec): ReadonlyMap<string, readonly number[]> =>
  requiredTensors(
    spec,
    transformerTensors(spec, { tensors: new Map(), read: () => Promise.reject(new Error("no values")) }),
  );

/** A checkpoint of this shape whose bytes are made up as they are read. */
function checkpoint(
  spec: TransformerSpec,
  dtype: TensorType,
  onRead: (bytes: number) => void = () => undefined,
): { source: ByteSource; tensors: ReadonlyMap<string, TensorInfo> } {
  const tensors = new Map([...tensorsOf(spec)].map(([name, shape]) => [name, { dtype, shape }]));
  const { header, places } = layOutSafetensors(tensors);
  const size = header.length + [...places.values()].at(-1)!.end;
  const source: ByteSource = {
    name: "checkpoint",
    size,
    read(start, end) {
      onRead(end - start);
      const out = new Uint8Array(end - start);
      for (let at = 0; at < out.length;) {
        const from = (start + at) % PERIOD;
        const piece = PATTERN.subarray(from, from + out.length - at);
        out.set(piece, at);
        at += piece.length;
      }
      if (start < header.length) out.set(header.subarray(start, end));
      return Promise.resolve(out);
    },
  };
  return { source, tensors };
}

function files(config: object, tensors: ModelFiles["tensors"]): ModelFiles {
  return {
    json: (name) =>
      Promise.resolve(
        name === "config.json"
          ? config
          : name === "tokenizer_config.json"
            ? undefined
            : fixtureJson(`parallel/${name}`),
      ),
    tensors,
  };
}

const shaped = (layers: number, dModel: number, vocabulary: number): object => ({
  ...(fixtureJson("parallel/config.json") as object),
  num_hidden_layers: layers,
  hidden_size: dModel,
  num_attention_heads: 8,
  intermediate_size: 4 * dModel,
  vocab_size: vocabulary,
});

/** Reads every tensor and lets it go, as a backend with memory of its own does. */
const elsewhere = {
  info: { kind: "webgpu", device: "elsewhere", threads: 1 },
  async loadTransformer(spec, weights) {
    for (const name of tensorsOf(spec).keys()) await weights.read(name);
    return { spec, dispose: () => undefined } as unknown as Transformer;
  },
} as Pick<Backend, "info" | "loadTransformer"> as Backend;

describe("memory while loading", () => {
  it("is one tensor in float32 and a block of what is stored", async () => {
    const config = shaped(1, 256, 120_000);
    const { spec } = readModelConfig(config);
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    let largestRead = 0;
    const { source } = checkpoint(spec, "BF16", (bytes) => {
      collectGarbage();
      largestRead = Math.max(largestRead, bytes);
      most = Math.max(most, process.memoryUsage().arrayBuffers - before + bytes);
    });
    await loadModel(
      files(config, () => openSafetensors(source)),
      elsewhere,
    );
    const largest = 4 * spec.vocabulary * spec.dModel;
    expect(largestRead).toBeLessThanOrEqual(8 * MEGABYTE);
    // Blocks of 8 MiB as they are stored: the one that comes, and two that suspended functions still hold; 16 MiB of the last
    // as float32; a few for code and tokenizer. Less than the half tensor that reading it whole would take besides.
    expect(most).toBeGreaterThan(largest);
    expect(most).toBeLessThan(largest + (3 * 8 + 16 + 8) * MEGABYTE);
    expect((3 * 8 + 16 + 8) * MEGABYTE).toBeLessThan(largest / 2);
  });

  it("widens blocks to what the whole would be", async () => {
    const { spec } = readModelConfig(shaped(1, 256, 120_000));
    const { source } = checkpoint(spec, "BF16");
    const file = await openSafetensors(source);
    const name = "gpt_neox.embed_in.weight";
    const raw = await file.readRaw(name);
    const want = bfloatsToFloats(raw.data as Uint16Array);
    const { data, shape } = await file.read(name);
    expect(shape).toEqual([120_000, 256]);
    expect(Buffer.from(data.buffer).equals(Buffer.from(want.buffer))).toBe(true);
  });

  it("does not grow over 20 models that come and go", async () => {
    const backend = createCpuBackend();
    const resident: number[] = [];
    for (let i = 0; i < 20; i++) {
      const model = await loadModelFolder(modelPath, backend);
      model.dispose();
      await new Promise((resolve) => setTimeout(resolve, 5));
      collectGarbage();
      resident.push(process.memoryUsage().rss);
    }
    const folder = await openModelFolder(modelPath);
    const { host } = await estimateModelMemory(folder, "cpu");
    await folder.close();
    backend.dispose();
    // A model kept in each of 16 rounds would be 16 models; allocators keep the room of some.
    expect(resident.at(-1)! - resident[3]).toBeLessThan(4 * host);
  });
});

describe("estimateModelMemory", () => {
  const estimate = (
    config: object,
    kind: "cpu" | "webgpu",
    options: { hostMemory?: number; gpuMemory?: number; weights?: WeightStorage } = {},
  ): ReturnType<typeof estimateModelMemory> => {
    const { source } = checkpoint(readModelConfig(config).spec, "F16");
    return estimateModelMemory(
      files(config, () => openSafetensors(source)),
      kind,
      options,
    );
  };
  // The shapes of Pythia 1B and 1.4B.
  const ONE = shaped(16, 2048, 50_304);
  const MORE = shaped(24, 2048, 50_304);

  it("counts what the checkpoint has", async () => {
    // Published: 1 011 781 632 and 1 414 647 808 parameters.
    expect(await estimate(ONE, "cpu")).toMatchObject({ parameters: 1_011_781_632, gpu: 0 });
    const memory = await estimate(MORE, "webgpu");
    expect(memory).toMatchObject({ parameters: 1_414_647_808, host: 0, problem: null });
    // Biases and norms: 13·dModel in each layer, 2·dModel at the end.
    const vectors = (24 * 13 + 2) * 2048;
    expect(memory.gpu).toBe(2 * (1_414_647_808 - vectors) + 4 * vectors);
    expect((await estimate(MORE, "webgpu", { weights: "float32" })).gpu).toBe(4 * 1_414_647_808);
    expect(memory.hostPeak).toBe(4 * 50_304 * 2048);
  });

  it("says that 32-bit WebAssembly holds Pythia 1B and not 1.4B", async () => {
    expect((await estimate(ONE, "cpu")).problem).toBeNull();
    expect((await estimate(MORE, "cpu")).problem).toMatch(/WebAssembly's memory, which ends at 4\.29 GB/);
  });

  it("compares with the memory that is said to be there", async () => {
    expect((await estimate(ONE, "cpu", { hostMemory: 4e9 })).problem).toMatch(/host's memory.* 4\.00 GB/);
    expect((await estimate(ONE, "webgpu", { gpuMemory: 2e9 })).problem).toMatch(/GPU's memory.* 2\.00 GB/);
    expect((await estimate(ONE, "webgpu", { gpuMemory: 3e9, hostMemory: 1e9 })).problem).toBeNull();
    const whole = await estimate(ONE, "webgpu", { gpuMemory: 4e9, weights: "float32" });
    expect(whole.problem).toMatch(/GPU's memory.* 4\.00 GB/);
  });

  it("counts a tied embedding once, and no masks", async () => {
    const { tensors } = checkpoint(readModelConfig(ONE).spec, "F32");
    const stored = new Map(tensors);
    stored.delete("embed_out.weight");
    stored.set("gpt_neox.layers.0.attention.bias", { dtype: "F32", shape: [1, 1, 2048, 2048] });
    stored.set("gpt_neox.layers.0.attention.masked", { dtype: "U8", shape: [2048, 2048] });
    const tied = files({ ...ONE, tie_word_embeddings: true }, () => Promise.reject(new Error("not read")));
    const memory = await estimateModelMemory({ ...tied, headers: () => Promise.resolve(stored) }, "webgpu");
    expect(memory.parameters).toBe(1_011_781_632 - 50_304 * 2048);
    expect(memory.gpu).toBe(4 * memory.parameters);
    const rounded = await estimateModelMemory({ ...tied, headers: () => Promise.resolve(stored) }, "webgpu", {
      weights: "float16",
    });
    expect(rounded.gpu).toBeLessThan(2.01 * memory.parameters);
  });

  it("stops a load before a tensor is read", async () => {
    const { source } = checkpoint(readModelConfig(MORE).spec, "F16");
    const reads: number[] = [];
    const watched: ByteSource = {
      ...source,
      read: (start, end, options) => {
        reads.push(end - start);
        return source.read(start, end, options);
      },
    };
    const loading = loadModel(
      files(MORE, () => openSafetensors(watched)),
      createCpuBackend(),
    );
    await expect(loading).rejects.toThrow(OutOfMemoryError);
    await expect(loading).rejects.toThrow(/1415 million parameters.*Use a GPU/);
    expect(reads).toHaveLength(2);
  });
});
