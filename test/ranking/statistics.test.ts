/** Rankings from moments against SciPy, and what holds among them. */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { emptyClassMoments, type ClassMoments } from "../../src/data/class-moments.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { fStatistic, pointBiserial, welchT } from "../../src/ranking/class-statistics.ts";
import { rankNeurons } from "../../src/ranking/ranking.ts";
import probes from "../fixtures/sklearn/probes.json" with { type: "json" };
import { probes as want } from "../fixtures/sklearn/rankings.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { fixtureActivations } from "../support/sklearn-probes.ts";

const labels = new LabelMatrix(["f"], probes.rows, Uint8Array.from(probes.labels)).restrictedTo(
  Array.from({ length: probes.train }, (_, i) => i),
);

async function momentsOf(kernels: "reference" | "simd", x: Activations): Promise<ClassMoments> {
  const backend = createCpuBackend({ kernels });
  return backend.classMoments(await backend.upload(x), labels);
}

/** Rows of two neurons and more, by hand. */
async function momentsOfRows(rows: number[][], classes: number[]): Promise<ClassMoments> {
  const backend = createCpuBackend({ kernels: "reference" });
  const matrix = new LabelMatrix(["f"], rows.length, Uint8Array.from(classes));
  return backend.classMoments(await backend.upload(Activations.from(rows)), matrix);
}

describe("test statistics", () => {
  it("are SciPy's", async () => {
    const moments = await momentsOf("reference", fixtureActivations());
    // Float64 sums over 200 rows, of values whose mean is up to 1000/3 deviations from 0 (neuron 9) on SciPy's side.
    const bound = (values: number[]) => (j: number) =>
      200 * Number.EPSILON * (j === 9 ? 1000 / 3 : 10) * Math.max(1, Math.abs(values[j]));
    expectClose(welchT(moments, 0), want.t, bound(want.t), "t");
    expectClose(fStatistic(moments, 0), want.f, bound(want.f), "F");
    expectClose(pointBiserial(moments, 0), want.r, bound(want.r), "r");
  });

  it("rank alike where they are functions of each other: standardised mean difference, F, correlation", async () => {
    for (const kernels of ["reference", "simd"] as const) {
      const moments = await momentsOf(kernels, fixtureActivations());
      const order = [...rankNeurons(moments, 0, "f", "standardised-mean-difference").order];
      expect([...rankNeurons(moments, 0, "f", "f").order]).toEqual(order);
      expect([...rankNeurons(moments, 0, "f", "point-biserial").order]).toEqual(order);
    }
  });

  it("the mean difference of standardised columns ranks as F does", async () => {
    const x = fixtureActivations();
    const values = x.toFloat32();
    const { neurons: d } = x;
    const scaled = new Float32Array(values.length);
    for (let j = 0; j < d; j++) {
      const column = Array.from({ length: probes.train }, (_, i) => values[i * d + j]);
      const mean = column.reduce((a, b) => a + b, 0) / probes.train;
      const sd = Math.sqrt(column.reduce((a, b) => a + (b - mean) ** 2, 0) / probes.train) || 1;
      for (let i = 0; i < x.rows; i++) scaled[i * d + j] = (values[i * d + j] - mean) / sd;
    }
    const byDifference = rankNeurons(await momentsOf("simd", new Activations(scaled, [x.rows, d])), 0, "f");
    const byF = rankNeurons(await momentsOf("simd", x), 0, "f", "f");
    // No two of the fixture's scores lie closer than float32 tells apart.
    expect([...byDifference.order]).toEqual([...byF.order]);
  });

  it("give 0 to a constant neuron, and the first place to one that is constant in each class", async () => {
    const moments = await momentsOfRows(
      [
        [0.1, 1, 7, 3],
        [0.1, 1, 9, 3],
        [0.1, 2, 1, 3.5],
        [0.1, 2, 2, 2.5],
      ],
      [1, 1, 0, 0],
    );
    expect([...fStatistic(moments, 0).subarray(0, 2)]).toEqual([0, Number.MAX_VALUE]);
    expect([...welchT(moments, 0).subarray(0, 2)]).toEqual([0, -Number.MAX_VALUE]);
    expect([...pointBiserial(moments, 0).subarray(0, 2)]).toEqual([0, -1]);
    for (const ranking of ["f", "welch-t", "point-biserial", "standardised-mean-difference"] as const) {
      // Neurons 0 and 3 have equal means in both classes: the lower index comes first.
      expect([...rankNeurons(moments, 0, "f", ranking).order]).toEqual([1, 2, 0, 3]);
    }
  });

  it("say which moments and rows they lack", async () => {
    const without = emptyClassMoments(1, 3, "none");
    const within = emptyClassMoments(1, 3, "within");
    expect(() => welchT(within, 0)).toThrow(expect.objectContaining({ code: "option" }) as Error);
    expect(() => fStatistic(without, 0)).toThrow(expect.objectContaining({ code: "option" }) as Error);
    const few = await momentsOfRows([[1], [2]], [0, 1]);
    expect(() => welchT(few, 0)).toThrow(expect.objectContaining({ code: "empty-data" }) as Error);
    expect(() => fStatistic(few, 0)).toThrow(expect.objectContaining({ code: "empty-data" }) as Error);
  });
});

describe("the pre-filter and the seed", () => {
  it("rank what the mean difference puts first, and leave out the others", async () => {
    const moments = await momentsOf("simd", fixtureActivations());
    const all = rankNeurons(moments, 0, "f");
    const by = rankNeurons(moments, 0, "f", "f", { prefilter: 6 });
    expect([...by.order].sort()).toEqual([...all.order.subarray(0, 6)].sort());
    const f = fStatistic(moments, 0);
    expect([...by.order]).toEqual([...by.order].sort((a, b) => f[b] - f[a] || a - b));
    for (let j = 0; j < moments.neurons; j++) expect(by.scores[j]).toBe(by.order.includes(j) ? f[j] : 0);
    expect(rankNeurons(moments, 0, "f", "f", { prefilter: 99 })).toEqual(rankNeurons(moments, 0, "f", "f"));
  });

  it("random scores depend on the seed and the feature's name alone", async () => {
    const moments = await momentsOf("simd", fixtureActivations());
    const scores = (name: string, seed?: number, prefilter?: number) =>
      rankNeurons(moments, 0, name, "random", {
        ...(seed !== undefined && { seed }),
        ...(prefilter !== undefined && { prefilter }),
      }).scores;
    expect(scores("a")).toEqual(scores("a", 0));
    expect(scores("a", 1)).not.toEqual(scores("a"));
    expect(scores("b")).not.toEqual(scores("a"));
    const all = scores("a");
    const some = scores("a", 0, 5);
    for (const [j, score] of some.entries()) expect(score === 0 || score === all[j]).toBe(true);
  });
});
