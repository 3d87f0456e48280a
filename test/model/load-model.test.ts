import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { TensorSource } from "../../src/data/tensor.ts";
import { FormatError, MissingTensorError, NonFiniteError, UnsupportedModelError } from "../../src/errors.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { bytesSource } from "../../src/io/byte-source.ts";
import { loadModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { fixtureJson, fixturePath, loadFixture } from "./fixtures.ts";

describe("loadModelFolder", () => {
  let folder: string;
  const load = () => loadModelFolder(folder, createCpuBackend());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "model-"));
    await cp(fixturePath("parallel"), folder, { recursive: true });
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("names the model after its folder and reports progress", async () => {
    const steps: [number, number][] = [];
    const model = await loadModelFolder(fixturePath("parallel/"), createCpuBackend(), {
      onProgress: (done, total) => steps.push([done, total]),
    });
    expect(model.name).toBe("parallel");
    expect(steps.at(-1)).toEqual([28, 28]);
    expect(steps).toHaveLength(28);
    model.dispose();
  });

  it("reads the embedding twice where it is tied", async () => {
    const model = await loadFixture("relu");
    expect(model.spec.vocabulary).toBe(300);
  });

  it("says which tensors do not fit the config", async () => {
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as object;
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 3 }));
    await expect(load()).rejects.toThrow(MissingTensorError);
    await expect(load()).rejects.toThrow(/gpt_neox\.layers\.2\.input_layernorm\.weight \[32\] is missing/);
  });

  it("refuses a billion layers at once, without listing their tensors", async () => {
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as object;
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 1e9 }));
    await expect(load()).rejects.toThrow(MissingTensorError);
  });

  it("refuses another architecture", async () => {
    await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "mamba" }));
    await expect(load()).rejects.toThrow(UnsupportedModelError);
  });

  it("says what is missing or broken", async () => {
    await writeFile(join(folder, "config.json"), "{");
    await expect(load()).rejects.toThrow(/config\.json is not JSON/);
    await rm(join(folder, "config.json"));
    await expect(load()).rejects.toThrow(/config\.json cannot be read/);
    await expect(loadModelFolder(join(folder, "nowhere"), createCpuBackend())).rejects.toThrow(FormatError);
  });

  it("stops when aborted half-way", async () => {
    const controller = new AbortController();
    const loading = loadModelFolder(folder, createCpuBackend(), {
      signal: controller.signal,
      onProgress: (done) => {
        if (done === 5) controller.abort(new Error("half-way"));
      },
    });
    await expect(loading).rejects.toThrow("half-way");
  });
});

describe("loadModel", () => {
  const loadChanged = async (change: (source: TensorSource) => TensorSource) =>
    loadModel(
      {
        json: (name) =>
          Promise.resolve(name === "tokenizer_config.json" ? undefined : fixtureJson(`parallel/${name}`)),
        tensors: async () => {
          const bytes = await readFile(fixturePath("parallel/model.safetensors"));
          return change(await openSafetensors(bytesSource(new Uint8Array(bytes))));
        },
      },
      createCpuBackend(),
    );
  const NAME = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight";

  it.each([NaN, Infinity, -Infinity])("refuses a weight of %s by name", async (value) => {
    const loading = loadChanged((source) => ({
      tensors: source.tensors,
      async read(name, options) {
        const tensor = await source.read(name, options);
        if (name === NAME) tensor.data[5] = value;
        return tensor;
      },
    }));
    await expect(loading).rejects.toThrow(NonFiniteError);
    await expect(loading).rejects.toThrow(`Weight 5 of ${NAME} is ${value}`);
  });

  it("refuses tensors that are shorter than their shape", async () => {
    const loading = loadChanged((source) => ({
      tensors: source.tensors,
      async read(name, options) {
        const { shape, data } = await source.read(name, options);
        return { shape, data: name === NAME ? data.subarray(1) : data };
      },
    }));
    await expect(loading).rejects.toMatchObject({ code: "shape" });
  });

  it("refuses quantised weights", async () => {
    const loading = loadChanged((source) => ({
      tensors: new Map(source.tensors).set(NAME, { ...source.tensors.get(NAME)!, dtype: "I8" }),
      read: (name, options) => source.read(name, options),
    }));
    await expect(loading).rejects.toThrow(UnsupportedModelError);
    await expect(loading).rejects.toThrow(/I8.*F32, F16 or BF16/);
  });

  it("needs no file system", async () => {
    const bytes = await readFile(fixturePath("sequential/model.safetensors"));
    const model = await loadModel(
      {
        json: (name) =>
          Promise.resolve(name === "tokenizer_config.json" ? undefined : fixtureJson(`sequential/${name}`)),
        tensors: () => openSafetensors(bytesSource(new Uint8Array(bytes))),
      },
      createCpuBackend(),
      { name: "from memory" },
    );
    expect(model.name).toBe("from memory");
    expect(model.spec.residual.parallel).toBe(false);
  });
});
