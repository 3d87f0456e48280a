/** The probe of TransformerLens' `fit_sparse_probe`, and the promises that its tests keep. */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { bfloatsToFloats, floatsToBfloats } from "../../src/data/float16.ts";
import { OneClassError } from "../../src/errors.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { probeControls } from "../../src/statistics/statistics.ts";
import fixture from "../fixtures/statistics/transformer-lens.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

type Name = keyof typeof fixture.sets;

function activations(name: Name, dtype = "float32"): Activations {
  const { rows, neurons, activations: base64 } = fixture.sets[name];
  const values = new Float32Array(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
  if (dtype === "bfloat16") {
    return new Activations(bfloatsToFloats(floatsToBfloats(values)), [rows, neurons]);
  }
  const x = new Activations(values, [rows, neurons]);
  return dtype === "float16" ? x.toStorage("f16") : x;
}

const plain = (): { x: Activations; y: number[] } => ({
  x: activations("plain"),
  y: fixture.sets.plain.labels,
});

describe("TransformerLens' sparse probes", () => {
  it.each(fixture.cases)(
    "$set, $dtype, $preprocess, $classWeight: same supports, coefficients within 1e-6",
    async (c) => {
      const x = activations(c.set as Name, c.dtype);
      const labels = fixture.sets[c.set as Name].labels;
      const probes = await SparseProbe.path(
        x,
        labels,
        c.probes.map(({ k }) => k),
        {
          rows: c.train,
          // Theirs is a mean of losses plus λ/2·‖w‖²: ours divided by C·n.
          C: 1 / (c.l2Strength * c.train.length),
          standardise: c.preprocess === "none" ? "none" : "standard",
          classWeight: c.classWeight === null ? "none" : "balanced",
        },
      );
      for (const [p, want] of c.probes.entries()) {
        const probe = probes[p];
        expect(probe.support).toEqual(want.support);
        expectClose(probe.coefficients, want.coefficients, 1e-6, "coefficient");
        expectClose([probe.intercept], [want.intercept], 1e-6, "intercept");
        // Their scores are float32 means, except of float64 activations.
        expectClose(probe.scores, want.scores, (i) => 1e-5 * Math.max(1, Math.abs(want.scores[i])), "score");
        const { f1, rocAuc, averagePrecision } = probe.evaluate(x, labels, { rows: c.test });
        expectClose(
          [f1!, rocAuc!, averagePrecision!],
          [want.f1, want.rocAuc, want.averagePrecision],
          1e-12,
          "metric",
        );
      }
    },
  );

  it("held-out rows change neither selection nor coefficients", async () => {
    const { x, y } = plain();
    const { train, test } = fixture.cases[0];
    const changed = new Float32Array(x.data as Float32Array);
    const flipped = [...y];
    for (const i of test) {
      flipped[i] = 1 - flipped[i];
      for (let j = 0; j < x.neurons; j++) changed[i * x.neurons + j] = j % 2 ? NaN : 1e30;
    }
    const [before, after] = await Promise.all(
      [x, new Activations(changed, [x.rows, x.neurons])].map((acts, a) =>
        SparseProbe.path(acts, a === 0 ? y : flipped, [1, 5, 20], { rows: train }),
      ),
    );
    expect(after.map((probe) => probe.toJSON())).toEqual(before.map((probe) => probe.toJSON()));
  });

  it("global randomness is not touched", async () => {
    const { x, y } = plain();
    const random = Math.random;
    Math.random = () => {
      throw new Error("Math.random was called");
    };
    try {
      await probeControls(x, y, [1, 2], { draws: 3 });
    } finally {
      Math.random = random;
    }
  });

  it("ties take the lower index, whatever else is in the grid", async () => {
    const { x, y } = plain();
    const [one, three] = await SparseProbe.path(x, y, [1, 3]);
    // Neurons 3 and 7 are the same column.
    expect(one.support).toEqual([11]);
    expect(three.support).toEqual([11, 3, 7]);
    expect(three.scores[1]).toBe(three.scores[2]);
    const [two] = await SparseProbe.path(x, y, [2, 20]);
    expect(two.support).toEqual([11, 3]);
  });

  it("one class is refused", async () => {
    const { x, y } = plain();
    const rows = y.flatMap((label, i) => (label === 1 ? [i] : []));
    await expect(SparseProbe.fit(x, y, 1, { rows })).rejects.toThrow(OneClassError);
    await expect(probeControls(x, y, [1], { rows })).rejects.toThrow(OneClassError);
  });

  it("results cannot be changed", async () => {
    const { x, y } = plain();
    const result = await probeControls(x, y, [1], { draws: 2 });
    expect(everyObjectFrozen(result)).toBe(true);
    const probe = await SparseProbe.fit(x, y, 2);
    expect([probe, probe.support, probe.coefficients, probe.convergence].every(Object.isFrozen)).toBe(true);
  });

  it.each(["simd", "reference"] as const)(
    "scaling X by 60 or 1/1000 changes nothing but the scale of raw coefficients (%s)",
    async (kernels) => {
      const { x, y } = plain();
      const backend = createCpuBackend({ kernels });
      const fit = (factor: number): Promise<SparseProbe[]> =>
        SparseProbe.path(
          new Activations(
            (x.data as Float32Array).map((value) => value * factor),
            [x.rows, x.neurons],
          ),
          y,
          [1, 4, 20],
          { backend },
        );
      const plainly = await fit(1);
      for (const factor of [60, 1e-3]) {
        for (const [p, probe] of (await fit(factor)).entries()) {
          const want = plainly[p];
          expect(probe.support).toEqual(want.support);
          // float32 activations are rounded anew by each factor: 2⁻²⁴ each, over a condition of a few hundred.
          expectClose(probe.coefficients, want.coefficients, 1e-5, "coefficient");
          expectClose(
            probe.rawCoefficients().coefficients,
            want.rawCoefficients().coefficients.map((w) => w / factor),
            (i) => 1e-4 * Math.abs(want.rawCoefficients().coefficients[i] / factor) + 1e-5 / factor,
            "raw coefficient",
          );
        }
      }
    },
  );
});

function everyObjectFrozen(value: unknown): boolean {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return true;
  return Object.isFrozen(value) && Object.values(value).every(everyObjectFrozen);
}
