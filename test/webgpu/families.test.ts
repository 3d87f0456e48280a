/** Every family on a GPU: against torch, and in parts. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

async function load(family: Family, on: WebGpuBackend) {
  const weights = await openTensorFolder(familyPath(family));
  try {
    return await on.loadTransformer(familySpec(family), weights);
  } finally {
    await weights.close();
  }
}

describe.each(FAMILIES)("%s on a GPU", (family) => {
  it("gives torch's hook points and logits, whole and in parts", async () => {
    const { batch, points, logits } = await familyGolden(family);
    for (const on of [backend, cut]) {
      const model = await load(family, on);
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

  it("gives each hook point the same when it is asked for alone", async () => {
    const { batch, points } = await familyGolden(family);
    const model = await load(family, backend);
    for (const [point, want] of points) {
      const { activations } = await model.forward(batch, { hookPoints: [point] });
      const rows = activations.get(point)!;
      expect(worstShare((await rows.read()).toFloat32(), want), point).toBeLessThan(1);
      rows.dispose();
    }
    model.dispose();
  });
});
