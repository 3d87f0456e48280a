import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { emptyClassMoments, type ClassMoments } from "../../src/data/class-moments.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { meanDifference, standardisedMeanDifference } from "../../src/ranking/mean-difference.ts";
import { rankNeurons, strongest, type MomentRankingName } from "../../src/ranking/ranking.ts";
import fixture from "../fixtures/sklearn/probes.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { fixtureActivations } from "../support/sklearn-probes.ts";

/** In float64, as NumPy and scikit-learn compute. */
async function fixtureMoments(): Promise<ClassMoments> {
  const backend = createCpuBackend({ kernels: "reference" });
  const labels = new LabelMatrix(["f"], fixture.rows, Uint8Array.from(fixture.labels));
  const train = Array.from({ length: fixture.train }, (_, i) => i);
  return backend.classMoments(await backend.upload(fixtureActivations()), labels.restrictedTo(train));
}

describe("rankings", () => {
  it("mean differences equal numpy's", async () => {
    const got = meanDifference(await fixtureMoments(), 0);
    // Means of 200 values near 1000 at most, on both sides: γ(200) of that.
    const size = (j: number) => (j === 9 ? 1010 : 40);
    expectClose(got, fixture.meanDifference, (j) => 4 * 200 * 2 ** -53 * size(j), "mean difference");
  });

  it("standardised mean differences rank as scikit-learn's F does", async () => {
    const moments = await fixtureMoments();
    const { order } = rankNeurons(moments, 0, "f", "standardised-mean-difference");
    const byF = [...fixture.f.keys()].sort((a, b) => fixture.f[b] - fixture.f[a] || a - b);
    expect([...order]).toEqual(byF);
    // F = (n − 2)·r²/(1 − r²) with r = Δ/σ·√(p(1 − p)).
    const [n0, n1] = moments.count;
    const share = (n0 * n1) / (n0 + n1) ** 2;
    const f = standardisedMeanDifference(moments, 0).map((score) => {
      const r2 = score * score * share;
      return ((n0 + n1 - 2) * r2) / (1 - r2);
    });
    // scikit-learn's F takes Σx² − (Σx)²/n: γ(200) of it is lost times (mean/σ)², which is (1000/3)² for neuron 9.
    const lost = (j: number) => 200 * Number.EPSILON * (j === 9 ? (1000 / 3) ** 2 : 10);
    expectClose(f, fixture.f, (j) => lost(j) * Math.max(1, fixture.f[j]), "F");
  });

  it("keep the sign and give a constant neuron the score 0", async () => {
    const x = Activations.from([
      [1, 5, 3],
      [2, 5, 9],
    ]);
    const backend = createCpuBackend();
    const labels = new LabelMatrix(["f"], 2, Uint8Array.of(1, 0));
    const moments = await backend.classMoments(await backend.upload(x), labels);
    expect([...meanDifference(moments, 0)]).toEqual([-1, 0, -6]);
    expect([...standardisedMeanDifference(moments, 0)]).toEqual([-2, 0, -2]);
    expect([...rankNeurons(moments, 0, "f").order]).toEqual([2, 0, 1]);
  });

  it("selecting k equals sorting everything; ties have the lower index first", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 1, maxLength: 60 }), (values) => {
        const sorted = [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
        for (const k of new Set([1, Math.ceil(values.length / 2), values.length])) {
          expect([...strongest(Float64Array.from(values), k)]).toEqual(sorted.slice(0, k));
        }
      }),
    );
  });

  it("take functions, and refuse unknown names, wrong lengths and scores that are not finite", () => {
    const moments = emptyClassMoments(1, 3);
    for (const feature of [-1, 1, 0.5])
      expect(() => rankNeurons(moments, feature, "f")).toThrow(/does not exist/);
    const rank = (ranking: Parameters<typeof rankNeurons>[3]) => () => rankNeurons(moments, 0, "f", ranking);
    expect([...rank(() => Float64Array.of(0, -2, 1))().order]).toEqual([1, 2, 0]);
    expect(rank("nope" as MomentRankingName)).toThrow(/not known/);
    expect(rank("toString" as MomentRankingName)).toThrow(/not known/);
    expect(rank(() => new Float64Array(2))).toThrow(/2 scores for 3 neurons/);
    expect(rank(() => Float64Array.of(1, NaN, 0))).toThrow(/neuron 1 is NaN/);
  });

  it.each([0, -1, 1.5, 4, NaN])("refuse k = %s of 3 neurons", (k) => {
    expect(() => strongest(new Float64Array(3), k)).toThrow(
      expect.objectContaining({ code: "support-size" }) as Error,
    );
  });
});
