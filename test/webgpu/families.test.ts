/** Every family on a GPU: against torch, and in parts. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ForwardRequest, WeightStorage } from "../../src/backends/backend.ts";
import { loadCpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { FAMILIES, familyGolden, familyPath, familySpec, type Family } from "../model/families.ts";
import { worstShare } from "../model/fixtures.ts";
import { openTestBackend } from "../support/gpu.ts";

let backend: WebGpuBackend;
/** Cuts weights, groups and captured rows into several parts. */
let cut: WebGpuBackend;

beforeAll(async () => {
  backend = await openTestBackend();
  cut = new WebGpuBackend(backend.device.gpu, { maxBindingBytes: 4096, workBytes: 12_000 });
});

afterAll(() => {
  expect(backend.device.liveBytes + cut.device.liveBytes).toBe(0);
  cut.dispose();
  backend.dispose();
});

async function load(family: Family, on: WebGpuBackend, weights?: WeightStorage) {
  const source = await openTensorFolder(familyPath(family));
  try {
    return await on.loadTransformer(familySpec(family), source, { weights });
  } finally {
    await source.close();
  }
}

describe.each(FAMILIES)("%s on a GPU", (family) => {
  it("gives torch's hook points and logits, whole and in parts", async () => {
    const { batch, points, logits } = await familyGolden(family);
    const ways = [
      [backend, "auto"],
      [cut, "auto"],
      [backend, "float32"],
    ] as const;
    for (const [on, kept] of ways) {
      const model = await load(family, on, kept);
      const result = await model.forward(batch, { hookPoints: [...points.keys()], logits: "all" });
      const shares: [string, number][] = [["logits", worstShare(result.logits!, logits)]];
      for (const [point, rows] of result.activations) {
        shares.push([point, worstShare((await rows.read()).toFloat32(), points.get(point)!)]);
        rows.dispose();
      }
      expect(shares.filter(([, share]) => !(share < 1))).toEqual([]);
      model.dispose();
    }
  });

  it("gives each hook point of the last layer the same when it is asked for alone", async () => {
    const { batch, points } = await familyGolden(family);
    const model = await load(family, backend);
    for (const [point, want] of points) {
      if (!point.startsWith("blocks.1.")) continue;
      const { activations } = await model.forward(batch, { hookPoints: [point] });
      const rows = activations.get(point)!;
      expect(worstShare((await rows.read()).toFloat32(), want), point).toBeLessThan(1);
      rows.dispose();
    }
    model.dispose();
  });
});

describe("what is not asked for", () => {
  it("is not computed, and nothing but logits is read back", async () => {
    // The second layer of a gated model, layers one after the other, without norms but those before attention and MLP.
    const model = await load("mistral", backend);
    const { batch } = await familyGolden("mistral");
    const layer = ["layer-norm", "linear", "rotary", "causal-attention", "linear", "layer-norm"];
    const neurons = [...layer, "linear", "linear"];
    const whole = [...neurons, "linear"];
    const cases: readonly (readonly [ForwardRequest, readonly string[]])[] = [
      [{ hookPoints: ["blocks.0.hook_resid_pre"] }, ["gather-rows"]],
      [{ hookPoints: ["blocks.0.mlp.hook_pre_linear"] }, ["gather-rows", ...layer, "linear"]],
      [{ hookPoints: ["blocks.0.mlp.hook_pre"] }, ["gather-rows", ...layer, "linear"]],
      [{ hookPoints: ["blocks.0.mlp.hook_post"] }, ["gather-rows", ...neurons]],
      [
        { hookPoints: ["blocks.0.mlp.hook_pre", "blocks.0.mlp.hook_post"] },
        ["gather-rows", ...neurons, "gate"],
      ],
      [{ hookPoints: ["blocks.1.hook_resid_mid"] }, ["gather-rows", ...whole, ...layer.slice(0, 5)]],
      [{ hookPoints: ["blocks.1.hook_resid_post"] }, ["gather-rows", ...whole, ...whole]],
      [
        { hookPoints: [], logits: "last" },
        ["gather-rows", ...whole, ...whole, "gather-rows", "layer-norm", "linear"],
      ],
    ];
    const run = vi.spyOn(backend.device, "run");
    const read = vi.spyOn(backend.device, "read");
    for (const [request, want] of cases) {
      run.mockClear();
      read.mockClear();
      const { activations, logits } = await model.forward(batch, request);
      const dispatched = run.mock.calls.flatMap(([, commands]) =>
        commands.flatMap((command) => (command.kind === "dispatch" ? [command.kernel.label] : [])),
      );
      expect(dispatched, JSON.stringify(request)).toEqual(want);
      expect(read).toHaveBeenCalledTimes(logits ? 1 : 0);
      for (const rows of activations.values()) rows.dispose();
    }
    vi.restoreAllMocks();
    model.dispose();
  });
});

describe("sequences beyond the first table of angles", () => {
  it("give what the CPU gives, before and after shorter ones", async () => {
    const spec = { ...familySpec("gemma3"), context: 3000 };
    const weights = await openTensorFolder(familyPath("gemma3"));
    const model = await backend.loadTransformer(spec, weights);
    const reference = await loadCpuTransformer(spec, weights);
    await weights.close();
    const point = "blocks.1.hook_resid_post";
    for (const length of [3, 300, 2]) {
      const tokens = Uint32Array.from({ length }, (_, i) => (i * 31) % 96);
      const batch = { tokens, offsets: Uint32Array.of(0, length) };
      const [got, want] = await Promise.all(
        [model, reference].map(async (transformer) => {
          const { activations } = await transformer.forward(batch, { hookPoints: [point] });
          const rows = activations.get(point)!;
          const read = (await rows.read()).toFloat32();
          rows.dispose();
          return read;
        }),
      );
      expect(worstShare(got, want), `${length} tokens`).toBeLessThan(1);
    }
    model.dispose();
    reference.dispose();
  });
});
