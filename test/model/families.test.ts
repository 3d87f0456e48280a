import { describe, expect, it } from "vitest";
import { loadCpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { FAMILIES, familyGolden, familyPath, familySpec } from "./families.ts";
import { worstShare } from "./fixtures.ts";

describe.each(FAMILIES)("%s on the CPU against torch", (family) => {
  it.each(["wasm", "javascript"] as const)(
    "gives every hook point and all logits on %s kernels",
    async (kernels) => {
      const weights = await openTensorFolder(familyPath(family));
      const model = await loadCpuTransformer(familySpec(family), weights, { kernels });
      await weights.close();
      const { batch, points, logits } = await familyGolden(family);
      const result = await model.forward(batch, { hookPoints: [...points.keys()], logits: "all" });
      const shares: Record<string, number> = { logits: worstShare(result.logits!, logits) };
      for (const [point, want] of points) {
        const got = await result.activations.get(point)!.read();
        shares[point] = worstShare(got.toFloat32(), want);
      }
      expect(Object.entries(shares).filter(([, share]) => !(share < 1))).toEqual([]);
      model.dispose();
    },
  );
});
