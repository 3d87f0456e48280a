/** What a model takes on a device, and that models that come and go leave nothing behind. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { WeightStorage } from "../../src/backends/backend.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { floatsToHalves, halvesToFloats } from "../../src/data/float16.ts";
import type { TensorSource } from "../../src/data/tensor.ts";
import { OptionError } from "../../src/errors.ts";
import { estimateModelMemory } from "../../src/model/estimate-model-memory.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { loadModelFolder, openModelFolder } from "../../src/node/model.ts";
import { familyGolden, familyPath, familySpec } from "../model/families.ts";
import { worstShare } from "../model/fixtures.ts";
import { openTestBackend } from "../support/gpu.ts";

const FOLDER = fileURLToPath(new URL("../../examples/model/haystack-4m", import.meta.url));

let backend: WebGpuBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => {
  expect(backend.device.liveBytes).toBe(0);
  backend.dispose();
});

it("is two bytes for each weight of a matrix in 16 bits, four otherwise, as foretold", async () => {
  const files = await openModelFolder(FOLDER);
  const held = async (weights?: WeightStorage): Promise<number> => {
    const model = await loadModelFolder(FOLDER, backend, { weights });
    const { liveBytes } = backend.device;
    const { gpu, parameters } = await estimateModelMemory(files, "webgpu", { weights });
    // Beside the weights: angles of 256 positions, and zeros for the biases that are not there.
    const besides = 4 * (256 * model.spec.dHead + model.spec.vocabulary);
    expect(liveBytes).toBeGreaterThanOrEqual(gpu);
    expect(liveBytes).toBeLessThanOrEqual(gpu + besides);
    model.dispose();
    expect(backend.device.liveBytes).toBe(0);
    return gpu / parameters;
  };
  expect(await held()).toBeLessThan(2.02);
  expect(await held("float16")).toBe(await held("auto"));
  expect(await held("float32")).toBe(4);
  await files.close();
});

it("does not grow over 20 models that come and go", async () => {
  // The memory of a software GPU is the process's own, so that it shows there.
  const resident: number[] = [];
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const model = await loadModelFolder(FOLDER, backend);
    bytes = backend.device.liveBytes;
    model.dispose();
    await new Promise((resolve) => setTimeout(resolve, 5));
    resident.push(process.memoryUsage().rss);
  }
  // A model kept in each of 14 rounds would be 14 models; allocators and what is yet to be collected take the room of some.
  expect(resident.at(-1)! - resident[5]).toBeLessThan(7 * bytes);
});

/** Logits of a family's checkpoint whose values have been changed, and the bytes that it took. */
async function changed(
  family: "gpt2" | "llama-biases",
  weights: WeightStorage,
  change: (data: Float32Array, name: string) => Float32Array = (data) => data,
): Promise<{ logits: Float32Array; bytes: number }> {
  const stored = await openTensorFolder(familyPath(family));
  const source: TensorSource = {
    tensors: stored.tensors,
    read: async (name, options) => {
      const { shape, data } = await stored.read(name, options);
      return { shape, data: shape.length === 2 ? change(data, name) : data };
    },
  };
  const model = await backend.loadTransformer(familySpec(family), source, { weights });
  await stored.close();
  const bytes = backend.device.liveBytes;
  const { batch } = await familyGolden(family);
  const { logits } = await model.forward(batch, { hookPoints: [], logits: "all" });
  model.dispose();
  return { logits: logits!, bytes };
}

it("rounds float32 to 16 bits when it is told to, and only then", async () => {
  const rounded = await changed("llama-biases", "float16");
  const want = await changed("llama-biases", "auto", (data) => halvesToFloats(floatsToHalves(data)));
  expect(rounded.bytes).toBeLessThan(0.7 * want.bytes);
  expect(worstShare(rounded.logits, want.logits)).toBeLessThan(1);
  const { logits } = await familyGolden("llama-biases");
  expect(worstShare(rounded.logits, logits)).toBeGreaterThan(1);
});

it("keeps a matrix in float32 where 16 bits do not hold one of its values", async () => {
  const plain = await changed("gpt2", "auto");
  // Values that the header does not foretell, as a source of one's own may give them.
  const third = (data: Float32Array, name: string): Float32Array =>
    name.includes("mlp.c_fc") ? data.map((value) => value / 3) : data;
  const got = await changed("gpt2", "auto", third);
  const want = await changed("gpt2", "float32", third);
  expect(got.bytes).toBeGreaterThan(plain.bytes);
  expect(got.bytes).toBeLessThan(want.bytes);
  expect(worstShare(got.logits, want.logits)).toBeLessThan(1);
  const large = await changed("llama-biases", "float16", (data, name) =>
    name.includes("layers.0.mlp.gate_proj") ? data.map((value, i) => (i === 7 ? 65_520 : value)) : data,
  );
  expect(large.bytes).toBeGreaterThan((await changed("llama-biases", "float16")).bytes);
  expect(large.logits.every((value) => Number.isFinite(value))).toBe(true);
});

it("keeps a matrix in float32 whose parts are stored in several types", async () => {
  const stored = await openTensorFolder(familyPath("mistral"));
  const tensors = new Map(stored.tensors);
  const mixed = "model.layers.0.self_attn.k_proj.weight";
  tensors.set(mixed, { ...tensors.get(mixed)!, dtype: "F32" });
  const spec = familySpec("mistral");
  const { batch, logits } = await familyGolden("mistral");
  const plain = await backend.loadTransformer(spec, stored);
  const before = backend.device.liveBytes;
  const model = await backend.loadTransformer(spec, { tensors, read: (name) => stored.read(name) });
  const { heads, kvHeads, dHead, dModel } = spec;
  expect(dModel % 8).toBe(0);
  expect(backend.device.liveBytes - before).toBe(before + 2 * (heads + 2 * kvHeads) * dHead * dModel);
  const got = await model.forward(batch, { hookPoints: [], logits: "all" });
  expect(worstShare(got.logits!, logits)).toBeLessThan(1);
  model.dispose();
  plain.dispose();
  await stored.close();
});

it("refuses a storage that does not exist", async () => {
  const before = backend.device.liveBytes;
  await expect(changed("gpt2", "int4" as WeightStorage)).rejects.toThrow(OptionError);
  expect(backend.device.liveBytes).toBe(before);
});
