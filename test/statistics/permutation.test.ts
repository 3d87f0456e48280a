import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import type { ClassMoments } from "../../src/data/class-moments.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { NonFiniteError, OneClassError, OptionError, ShapeError } from "../../src/errors.ts";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import { Random } from "../../src/random.ts";
import { benjaminiHochberg } from "../../src/statistics/benjamini-hochberg.ts";
import { LabelPermuter } from "../../src/statistics/permute-labels.ts";
import { permutationTest, permutationTestScore } from "../../src/statistics/statistics.ts";
import fixture from "../fixtures/statistics/validation.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { normals, randomActivations } from "../support/random-data.ts";
import { validationData, validationFolds } from "./fixture.ts";

/** Label sets written as strings of 0 and 1. */
function labelStrings(sets: readonly string[]): LabelMatrix {
  return new LabelMatrix(
    sets.map((_, s) => `set ${s}`),
    sets[0].length,
    Uint8Array.from(sets.flatMap((set) => Array.from(set, Number))),
  );
}

/** Welch's t: reads the squares of each class. */
function welchT(moments: ClassMoments, feature: number): Float64Array {
  const { neurons: d, mean, count, sumOfSquares } = moments;
  return Float64Array.from({ length: d }, (_, j) => {
    const [at0, at1] = [2 * feature * d + j, (2 * feature + 1) * d + j];
    const [n0, n1] = [count[2 * feature], count[2 * feature + 1]];
    const variance = sumOfSquares![at0] / (n0 * (n0 - 1)) + sumOfSquares![at1] / (n1 * (n1 - 1));
    return (mean[at1] - mean[at0]) / Math.sqrt(variance);
  });
}

describe("permuting labels", () => {
  const groups = Uint32Array.from({ length: 30 }, (_, i) => Math.floor(i / 3));

  it("by row keeps the number of each class, and every arrangement is as likely as another", () => {
    const permuter = new LabelPermuter(Uint8Array.from([1, 1, 0, UNLABELLED, 0]), undefined);
    expect(permuter).toMatchObject({ scheme: "rows", units: 4, movableRows: 4 });
    expect(10 ** permuter.log10Arrangements).toBeCloseTo(6, 12);
    const seen = new Map<string, number>();
    for (let r = 0; r < 6000; r++) {
      const key = permuter.permute(new Random(1, `draw ${r}`)).join("");
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    // 1000 each, five standard deviations of a binomial count.
    for (const [key, count] of seen) {
      expect(key[3], "rows that take no part stay out").toBe("2");
      expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000));
    }
  });

  it("by group moves whole groups", () => {
    const labels = Uint8Array.from(groups, (group) => (group < 3 ? 1 : 0));
    const permuter = new LabelPermuter(labels, groups);
    expect(permuter).toMatchObject({ scheme: "groups", units: 10, movableRows: 30 });
    expect(10 ** permuter.log10Arrangements).toBeCloseTo(120, 9);
    for (let r = 0; r < 50; r++) {
      const drawn = permuter.permute(new Random(2, `draw ${r}`));
      expect(drawn.every((label, i) => label === drawn[3 * groups[i]])).toBe(true);
      expect(drawn.filter((label) => label === 1).length).toBe(9);
    }
  });

  it("within groups keeps each group's classes, and groups of one class as they are", () => {
    const labels = Uint8Array.from(groups, (group, i) => (group < 4 ? Number(i % 3 === 0) : 0));
    const permuter = new LabelPermuter(labels, groups);
    expect(permuter).toMatchObject({ scheme: "within-groups", units: 12, movableRows: 12 });
    expect(10 ** permuter.log10Arrangements).toBeCloseTo(81, 9);
    for (let r = 0; r < 50; r++) {
      const drawn = permuter.permute(new Random(3, `draw ${r}`));
      for (let group = 0; group < 10; group++) {
        expect(drawn.subarray(3 * group, 3 * group + 3).reduce((a, b) => a + b)).toBe(group < 4 ? 1 : 0);
      }
    }
  });

  it("refuses what has no permutation", () => {
    const labels = Uint8Array.from(groups, (group) => group % 2);
    expect(() => new LabelPermuter(labels, undefined, "groups")).toThrow(OptionError);
    expect(() => new LabelPermuter(labels, groups, "within-groups")).toThrow(OneClassError);
    expect(() => new LabelPermuter(labels, groups, "cells" as "rows")).toThrow(OptionError);
    expect(() => new LabelPermuter(new Uint8Array(30), groups)).toThrow(OneClassError);
    const mixed = labels.map((label, i) => (i === 0 ? 1 - label : label));
    expect(() => new LabelPermuter(mixed, groups, "groups")).toThrow(OptionError);
    expect(new LabelPermuter(mixed, groups, "rows").units).toBe(30);
  });
});

describe("permutation test of every neuron", () => {
  const { x, y } = validationData();
  const sets = Array.from({ length: 150 }, (_, r) => {
    const labels = Uint8Array.from(y);
    return new Random(5, `given ${r}`).shuffle(labels);
  });
  const given = new LabelMatrix(
    sets.map((_, s) => String(s)),
    x.rows,
    Uint8Array.from(sets.flatMap((set) => [...set])),
  );

  /** A statistic of every neuron by two plain passes in float64. */
  function plain(labels: ArrayLike<number>, statistic: "difference" | "standardised" | "t"): number[] {
    return Array.from({ length: x.neurons }, (_, j) => {
      const of = (c: number): number[] =>
        Array.from({ length: x.rows }, (_, i) => i)
          .filter((i) => labels[i] === c)
          .map((i) => x.data[i * x.neurons + j]);
      const mean = (v: number[]): number => v.reduce((a, b) => a + b) / v.length;
      const squares = (v: number[]): number => v.reduce((sum, a) => sum + (a - mean(v)) ** 2, 0);
      const [a, b] = [of(0), of(1)];
      const delta = mean(b) - mean(a);
      if (statistic === "difference") return delta;
      if (statistic === "standardised") return delta / Math.sqrt(squares([...a, ...b]) / x.rows);
      return (
        delta / Math.sqrt(squares(a) / (a.length * (a.length - 1)) + squares(b) / (b.length * (b.length - 1)))
      );
    });
  }

  it.each([
    ["difference", "simd", "mean-difference"],
    ["standardised", "simd", "standardised-mean-difference"],
    ["standardised", "reference", "standardised-mean-difference"],
    ["t", "simd", welchT],
  ] as const)(
    "counts, maxima and step-down p-values are those of plain sums (%s, %s)",
    async (kind, kernels, ranking) => {
      const result = await permutationTest(x, y, {
        permutations: given,
        ranking,
        backend: createCpuBackend({ kernels }),
      });
      const observed = plain(y, kind);
      const permuted = sets.map((set) => plain(set, kind).map(Math.abs));
      expectClose(
        result.statistics,
        observed,
        (j) => 1e-5 * Math.max(0.1, Math.abs(observed[j])),
        "statistic",
      );
      const p = observed.map(
        (value, j) => (1 + permuted.filter((drawn) => drawn[j] >= Math.abs(value)).length) / 151,
      );
      expectClose(result.pValues, p, 0, "p-value");
      expectClose(
        result.maxima,
        permuted.map((drawn) => Math.max(...drawn)),
        1e-4,
        "maximum",
      );
      expect(result.qValues).toEqual(benjaminiHochberg(p));
      // Free step-down resampling (Westfall and Young 1993, algorithm 2.8), written out.
      const order = observed.map((_, j) => j).sort((a, b) => Math.abs(observed[b]) - Math.abs(observed[a]));
      let before = 0;
      for (const [r, j] of order.entries()) {
        const rest = order.slice(r);
        const reached = permuted.filter(
          (drawn) => Math.max(...rest.map((l) => drawn[l])) >= Math.abs(observed[j]),
        );
        before = Math.max(before, (1 + reached.length) / 151);
        expect(result.adjustedPValues[j]).toBe(before);
      }
      expect(result).toMatchObject({ permutations: 150, scheme: null, rows: 160 });
    },
  );

  it("a permutation that is the labels themselves counts, on every path", async () => {
    const same = new LabelMatrix(
      Array.from({ length: 70 }, (_, s) => String(s)),
      x.rows,
      Uint8Array.from({ length: 70 * x.rows }, (_, i) => y[i % x.rows]),
    );
    for (const kernels of ["simd", "reference"] as const) {
      const backend = createCpuBackend({ kernels });
      for (const ranking of ["mean-difference", "standardised-mean-difference", welchT] as const) {
        const { pValues } = await permutationTest(x, y, { permutations: same, backend, ranking });
        expect(pValues.every((p) => p === 1)).toBe(true);
      }
    }
  });

  it("p-values are uniform where labels mean nothing, and a planted neuron is found at any error rate", async () => {
    const rows = 80;
    const noise = new Activations(Float32Array.from(normals(new Random(6, "noise"), rows * 400)), [
      rows,
      400,
    ]);
    const labels = Array.from({ length: rows }, (_, i) => i % 4 === 0);
    const { pValues, qValues, adjustedPValues } = await permutationTest(noise, labels, {
      permutations: 199,
    });
    // Kolmogorov's distance of 400 independent p-values at a level of 1e-4, and the grid of 1/200.
    const sorted = [...pValues].sort();
    for (const [r, p] of sorted.entries()) {
      expect(Math.abs(p - (r + 0.5) / 400)).toBeLessThan(2.23 / Math.sqrt(400) + 1 / 200);
    }
    expect(qValues.filter((q) => q <= 0.05).length).toBe(0);
    expect(Math.min(...adjustedPValues)).toBeGreaterThan(0.01);
    const planted = (noise.data as Float32Array).slice();
    for (const i of labels.keys()) planted[i * 400 + 17] += labels[i] ? 2 : 0;
    const found = await permutationTest(new Activations(planted, [rows, 400]), labels, { permutations: 499 });
    expect([found.pValues[17], found.adjustedPValues[17]]).toEqual([1 / 500, 1 / 500]);
    expect(found.qValues[17]).toBeGreaterThanOrEqual(1 / 500);
  });

  it("whole groups are exchanged where labels are those of groups: rows alone would find what is not there", async () => {
    // Ten rows of a document share most of their activation, and labels are the documents'.
    const [rows, neurons] = [400, 200];
    const random = new Random(7, "documents");
    const shared = normals(random, 40 * neurons);
    const own = normals(random, rows * neurons);
    const data = Float32Array.from(own, (v, at) => {
      const [i, j] = [Math.floor(at / neurons), at % neurons];
      return 0.3 * v + shared[Math.floor(i / 10) * neurons + j];
    });
    const groups = Array.from({ length: rows }, (_, i) => `d${Math.floor(i / 10)}`);
    const labels = groups.map((_, i) => Math.floor(i / 10) % 2 === 0);
    const documents = new Activations(data, [rows, neurons], { groups });
    const byGroup = await permutationTest(documents, labels, { permutations: 199 });
    const byRow = await permutationTest(documents, labels, { permutations: 199, scheme: "rows" });
    expect(byGroup).toMatchObject({ scheme: "groups", movableRows: 400 });
    expect(10 ** byGroup.log10Arrangements!).toBeCloseTo(137846528820, -3);
    const share = (p: Float64Array): number => p.filter((value) => value <= 0.05).length / neurons;
    expect(share(byGroup.pValues)).toBeLessThan(0.12);
    expect(share(byRow.pValues)).toBeGreaterThan(0.5);
    expect(byRow.qValues.some((q) => q < 0.05)).toBe(true);
    expect(byGroup.qValues.some((q) => q < 0.05)).toBe(false);
  });

  it("labels move within documents where these hold both classes: what documents share is not found", async () => {
    // Each document has a level of its own in every neuron, and a share of positive rows that follows the first level.
    const [documents, each, neurons] = [24, 10, 300];
    const random = new Random(8, "levels");
    const levels = normals(random, documents * neurons);
    const own = normals(random, documents * each * neurons);
    const groups = Array.from({ length: documents * each }, (_, i) => Math.floor(i / each));
    const data = Float32Array.from(
      own,
      (v, at) => v + 2 * levels[groups[Math.floor(at / neurons)] * neurons + (at % neurons)],
    );
    const labels = groups.map((g, i) => i % each < (levels[g * neurons] > 0 ? 8 : 2));
    const acts = new Activations(data, [groups.length, neurons], { groups });
    const within = await permutationTest(acts, labels, { permutations: 199 });
    const rows = await permutationTest(acts, labels, { permutations: 199, scheme: "rows" });
    expect(within).toMatchObject({ scheme: "within-groups", movableRows: 240 });
    // Kolmogorov's distance at a level of 1e-4, and the grid of 1/200.
    for (const [r, p] of [...within.pValues].sort((a, b) => a - b).entries()) {
      expect(Math.abs(p - (r + 0.5) / neurons)).toBeLessThan(2.23 / Math.sqrt(neurons) + 1 / 200);
    }
    expect(within.adjustedPValues[0]).toBeGreaterThan(0.05);
    expect(rows.adjustedPValues[0]).toBe(1 / 200);
    expect(rows.pValues.filter((p) => p <= 0.05).length).toBeGreaterThan(0.2 * neurons);
  });

  it("depends on the seed, and not on how the work is cut or where it is done", async () => {
    const wide = randomActivations(8, 120, 50);
    const labels = Array.from({ length: 120 }, (_, i) => i % 3 === 0);
    const options = { permutations: 130, seed: 4 };
    const want = await permutationTest(wide, labels, options);
    const reference = createCpuBackend({ kernels: "reference" });
    const blocks: ActivationBlocks = {
      rows: 120,
      neurons: 50,
      *blocks() {
        for (let start = 0; start < 120; start += 50) yield wide.slice(start, Math.min(120, start + 50));
      },
    };
    for (const [source, backend] of [
      [wide, reference],
      [blocks, createCpuBackend()],
      [await reference.upload(wide), reference],
    ] as const) {
      const got = await permutationTest(source, labels, { ...options, backend });
      expect(got.pValues).toEqual(want.pValues);
      expect(got.adjustedPValues).toEqual(want.adjustedPValues);
      expectClose(got.maxima, want.maxima, 1e-5, "maximum");
    }
    // Twice as many permutations start with the same ones.
    const more = await permutationTest(wide, labels, { ...options, permutations: 260 });
    expectClose(more.maxima.subarray(0, 130), want.maxima, 1e-6, "maximum");
    const other = await permutationTest(wide, labels, { ...options, seed: 5 });
    expect(other.maxima).not.toEqual(want.maxima);
  });

  it("constant neurons have p = 1; rows that take no part may be anything", async () => {
    const data = (x.data as Float32Array).slice();
    for (let i = 0; i < x.rows; i++) data[i * x.neurons + 4] = 0.1;
    data.fill(NaN, 0, x.neurons);
    const rows = Array.from({ length: x.rows - 1 }, (_, i) => i + 1);
    const acts = new Activations(data, [x.rows, x.neurons]);
    const { pValues } = await permutationTest(acts, y, { rows, permutations: 50 });
    expect(pValues[4]).toBe(1);
    await expect(permutationTest(acts, y, { permutations: 50 })).rejects.toThrow(NonFiniteError);
  });

  it("says what is wrong, reports progress and stops", async () => {
    await expect(permutationTest(x, y, { permutations: 0 })).rejects.toThrow(OptionError);
    await expect(permutationTest(x, y, { scheme: "groups" })).rejects.toThrow(OptionError);
    await expect(permutationTest(x, y, { ranking: "best" as "mean-difference" })).rejects.toThrow(
      OptionError,
    );
    const short = labelStrings(["0101"]);
    await expect(permutationTest(x, y, { permutations: short })).rejects.toThrow(ShapeError);
    const ones = new LabelMatrix(["ones"], x.rows, new Uint8Array(x.rows).fill(1));
    await expect(permutationTest(x, y, { permutations: ones })).rejects.toThrow(OptionError);
    const none = new LabelMatrix([], x.rows, new Uint8Array(0));
    await expect(permutationTest(x, y, { permutations: none })).rejects.toThrow(OptionError);
    const seen: number[][] = [];
    await permutationTest(x, y, { permutations: 100, onProgress: (...at) => seen.push(at) });
    expect(seen).toEqual([
      [64, 100],
      [100, 100],
    ]);
    const stop = new AbortController();
    const reason = new Error("enough");
    const call = permutationTest(x, y, {
      permutations: 10000,
      signal: stop.signal,
      onProgress: () => {
        stop.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
  });
});

describe("permutation test of a whole probe", () => {
  it.each(fixture.permutations)(
    "equals scikit-learn's permutation_test_score (k $k, $metric)",
    async (want) => {
      const { x, y } = validationData();
      const got = await permutationTestScore(x, y, want.k, {
        folds: validationFolds(),
        permutations: labelStrings(want.labels),
        metric: want.metric as "accuracy",
      });
      // Decision values agree to 1e-6 at least, and no score changes by as little.
      expectClose([got.score!], [want.score], 1e-12, "score");
      expectClose(got.permutationScores as number[], want.permutationScores, 1e-12, "permuted score");
      expect(got.pValue).toBe(want.pValue);
      expect(got.rejections).toEqual([]);
    },
  );

  it("draws its own permutations by the scheme, and a loss is better when small", async () => {
    const { x, y, groups } = validationData();
    for (const metric of ["f1", "logLoss"] as const) {
      const got = await permutationTestScore(x, y, 2, { groups, scheme: "rows", permutations: 19, metric });
      expect(got.pValue).toBe(1 / 20);
      expect(got).toMatchObject({ permutations: 19, folds: 5, scheme: "rows", C: 1, k: 2 });
      expect(JSON.parse(JSON.stringify(got))).toEqual(got);
    }
  });

  it("p-values are uniform where labels mean nothing", async () => {
    const trials = 60;
    const ps: number[] = [];
    for (let trial = 0; trial < trials; trial++) {
      const random = new Random(trial, "nothing");
      const acts = new Activations(Float32Array.from(normals(random, 40 * 6)), [40, 6]);
      const labels = Array.from({ length: 40 }, (_, i) => i % 2);
      const { pValue } = await permutationTestScore(acts, labels, 2, {
        permutations: 19,
        folds: 2,
        metric: "rocAuc",
        seed: trial,
        tolerance: 1e-6,
      });
      ps.push(pValue!);
    }
    // Shares below each quarter: four standard errors of 60 trials. Ties between scores can only make p-values larger.
    for (const share of [0.25, 0.5, 0.75]) {
      const seen = ps.filter((p) => p <= share).length / trials;
      expect(Math.abs(seen - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / trials));
    }
  });

  it("a permutation that leaves a fold without a class is listed, and counts against the probe", async () => {
    const { x } = validationData();
    const y = Array.from({ length: x.rows }, (_, i) => (i === 0 || i === 90 ? 1 : 0));
    const folds = [
      { train: [0, 1, 2, 3, 4], test: [90, 91, 92, 93] },
      { train: [90, 91, 92, 93], test: [0, 1, 2, 3, 4] },
    ];
    const moved = labelStrings([
      Array.from(y, (_, i) => (i === 1 || i === 91 ? 1 : 0)).join(""),
      Array.from(y, (_, i) => (i < 2 ? 1 : 0)).join(""),
    ]);
    const got = await permutationTestScore(x, y, 1, { folds, permutations: moved, metric: "rocAuc" });
    expect(got.permutationScores[1]).toBeNull();
    expect(got.rejections).toEqual([
      { permutation: 1, reason: expect.stringMatching(/^fold [01]: /) as string },
    ]);
    const own = await permutationTestScore(x, y, 1, {
      folds: [{ train: [0, 1, 2], test: [3, 4] }],
      permutations: 3,
      metric: "rocAuc",
    });
    expect(own).toMatchObject({
      score: null,
      pValue: null,
      undefinedBecause: "fold 0: all rows have one class",
    });
  });
});
