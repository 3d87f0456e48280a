import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { EmptyDataError, LabelError, NonFiniteError, OptionError, ShapeError } from "../../src/errors.ts";
import { evaluateBinary, METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { Random } from "../../src/random.ts";
import { bootstrapMetrics, bootstrapProbe } from "../../src/statistics/statistics.ts";
import { WeightedMetrics } from "../../src/statistics/weighted-metrics.ts";
import fixture from "../fixtures/statistics/intervals.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { normals } from "../support/random-data.ts";
import { validationData } from "./fixture.ts";

const probability = (z: number): number => 1 / (1 + Math.exp(-z));

/** Scores with many ties, some at 0, and labels that go with them. */
function scored(seed: number, rows: number): { y: number[]; z: number[]; p: number[] } {
  const random = new Random(seed, "scores");
  const z = Array.from({ length: rows }, () => (random.below(21) - 10) / 4);
  const y = z.map((score) => (random.uniform() < probability(score) ? 1 : 0));
  return { y, z, p: z.map(probability) };
}

describe("metrics of weighted rows", () => {
  it("are those of rows repeated as often as their weight, undefined ones included", () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seed, "weights");
      const { y, z, p } = scored(seed, 2 + random.below(30));
      const unitOf = Uint32Array.from(z, () => random.below(8));
      const weights = Uint32Array.from({ length: 8 }, () => random.below(3));
      const rows = z.flatMap((_, i) => new Array<number>(weights[unitOf[i]]).fill(i));
      if (rows.length === 0) continue;
      const pick = (values: number[]): number[] => rows.map((i) => values[i]);
      const want = evaluateBinary(pick(y), pick(z), pick(p));
      const got = new Float64Array(METRIC_NAMES.length * 3).fill(-7);
      new WeightedMetrics(y, z, p, unitOf).evaluate(weights, got, 1, 3);
      for (const [m, name] of METRIC_NAMES.entries()) {
        expect(got[3 * m], "neighbours are left alone").toBe(-7);
        if (want[name] === null) expect(got[3 * m + 1], name).toBeNaN();
        else expectClose([got[3 * m + 1]], [want[name]], 1e-13, name);
      }
    }
  });
});

describe("bootstrap intervals", () => {
  it.each(fixture.cases)("of $metric, $method, are SciPy's", async (want) => {
    const resamples = 20000;
    const { metrics } = await bootstrapMetrics(fixture.labels, fixture.scores, {
      resamples,
      level: 0.9,
      method: want.method as "bca",
      seed: 3,
    });
    const got = metrics[want.metric as "rocAuc"];
    // The spread of one of SciPy's runs, of which the fixture has eight, bounds that of ours (as many resamples or more); accuracy
    // moves in steps of 1/120, and a quantile may fall on either side of one.
    const step = want.metric === "accuracy" ? 1 / 120 : 0;
    expectClose(
      [got.low!, got.high!, got.standardError!],
      [want.low, want.high, want.standardError],
      (i) => 5 * want.spread[i] + (i < 2 ? step : 2e-4),
    );
    expect(got.undefinedResamples).toBe(0);
  });

  it("estimates are those of evaluateBinary, and every metric has an interval around its estimate", async () => {
    const { y, z, p } = scored(1, 300);
    const want = evaluateBinary(y, z, p);
    for (const method of ["percentile", "bca"] as const) {
      const result = await bootstrapMetrics(y, z, { probabilities: p, resamples: 400, method });
      expect(Object.keys(result.metrics)).toEqual([...METRIC_NAMES]);
      expect(result).toMatchObject({ unit: "row", units: 300, positives: want.positives, level: 0.95 });
      for (const name of METRIC_NAMES) {
        const { estimate, low, high } = result.metrics[name];
        expect(estimate).toBe(want[name]);
        expect(low! < estimate! && estimate! < high!, name).toBe(true);
      }
      expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    }
  });

  it.each(["percentile", "bca"] as const)(
    "cover the truth about as often as they say, by group too (%s)",
    async (method) => {
      // Groups of four equal rows: treated as single rows they would claim half the width.
      const share = { rows: 0, groups: 0 };
      const trials = 160;
      for (let trial = 0; trial < trials; trial++) {
        const random = new Random(trial, "coverage");
        const right = Array.from({ length: 60 }, () => random.uniform() < 0.7);
        const rows = Array.from({ length: 240 }, (_, i) => i);
        const y = rows.map((i) => ((i >> 2) % 2 ? 1 : 0));
        const z = rows.map((i) => (right[i >> 2] === (y[i] === 1) ? 1 : -1));
        const options = { resamples: 199, level: 0.9, seed: trial, method, metrics: ["accuracy"] as const };
        for (const unit of ["rows", "groups"] as const) {
          const groups = unit === "groups" ? { groups: rows.map((i) => i >> 2) } : {};
          const { low, high } = (await bootstrapMetrics(y, z, { ...options, ...groups })).metrics.accuracy;
          if (low! <= 0.7 && 0.7 <= high!) share[unit] += 1 / trials;
        }
      }
      // 90 % ± four standard errors of 160 trials, less the few per cent that bootstrap intervals of 60 units lack.
      expect(share.groups).toBeGreaterThan(0.9 - 4 * 0.0237 - 0.03);
      expect(share.groups).toBeLessThan(0.9 + 4 * 0.0237);
      expect(share.rows).toBeLessThan(0.77);
    },
  );

  it("draws depend on the seed and not on the metrics asked for", async () => {
    const { y, z } = scored(2, 100);
    const all = await bootstrapMetrics(y, z, { seed: 9, resamples: 50 });
    const one = await bootstrapMetrics(y, z, { seed: 9, resamples: 50, metrics: ["f1"] });
    expect(one.metrics).toEqual({ f1: all.metrics.f1 });
    expect((await bootstrapMetrics(y, z, { seed: 10, resamples: 50 })).metrics.f1).not.toEqual(
      all.metrics.f1,
    );
  });

  it("what is undefined is null and says why; a few undefined resamples are counted", async () => {
    const one = await bootstrapMetrics([1, 1, 1], [2, 1, -1]);
    expect(one.metrics.rocAuc).toEqual({
      estimate: null,
      low: null,
      high: null,
      standardError: null,
      undefinedResamples: 0,
      undefinedBecause: "all rows have one class",
    });
    expect(one.metrics.logLoss.undefinedBecause).toBe("no probabilities were given");
    // One positive row of three is missing from (2/3)³ of the resamples.
    const few = await bootstrapMetrics([1, 0, 0], [1, -1, -2]);
    expect(few.metrics.rocAuc).toMatchObject({ estimate: 1, low: null, high: null, standardError: null });
    expect(few.metrics.rocAuc.undefinedResamples / 1000).toBeCloseTo(8 / 27 + 1 / 27, 1);
    expect(few.metrics.rocAuc.undefinedBecause).toMatch(/^undefined in \d+ of 1000 resamples$/);
    expect(few.metrics.accuracy).toMatchObject({ low: 1, high: 1, undefinedResamples: 0 });
    const y = Array.from({ length: 40 }, (_, i) => (i < 5 ? 1 : 0));
    const some = await bootstrapMetrics(
      y,
      y.map((label, i) => label - 0.5 + (i % 7) / 5),
    );
    expect(some.metrics.rocAuc.undefinedResamples).toBeGreaterThan(0);
    expect(some.metrics.rocAuc.low).toBeGreaterThan(0);
    const alone = await bootstrapMetrics([1, 0, 0], [1, -1, -2], { groups: ["a", "a", "a"] });
    expect(alone).toMatchObject({ unit: "group", units: 1 });
    expect(alone.metrics.f1).toMatchObject({
      estimate: 1,
      low: null,
      undefinedBecause: "there is one group alone",
    });
  });

  it("of a probe are those of its decisions, on the host and on a device, with and without rows", async () => {
    const { x, y, groups } = validationData();
    const probe = await SparseProbe.fit(x, y, 3);
    const options = { groups, resamples: 100, method: "bca" as const };
    const want = await bootstrapMetrics(y, probe.decisionFunction(x), {
      ...options,
      probabilities: probe.predictProbability(x),
    });
    expect(await bootstrapProbe(probe, x, y, options)).toEqual(want);
    const backend = createCpuBackend();
    const device = await backend.upload(x);
    const values = Uint8Array.from(y);
    expect(
      await bootstrapProbe(probe, device, new LabelMatrix(["f"], x.rows, values), { ...options, backend }),
    ).toEqual(want);
    const rows = Array.from({ length: 80 }, (_, i) => 2 * i);
    for (const i of values.keys()) if (i % 2) values[i] = UNLABELLED;
    const half = await bootstrapProbe(probe, x, y, { ...options, rows });
    expect(half.metrics.f1.estimate).toBe(probe.evaluate(x, y, { rows }).f1);
    expect(await bootstrapProbe(probe, x, new LabelMatrix(["f"], x.rows, values), options)).toEqual(half);
    await expect(bootstrapProbe(probe, x, y, { rows: [0, 0] })).rejects.toThrow(ShapeError);
    await expect(bootstrapProbe(probe, x, y, { groups: [1] })).rejects.toThrow(ShapeError);
    await expect(bootstrapProbe(probe, x.gatherColumns([0]), y)).rejects.toThrow(ShapeError);
  });

  it("says what is wrong, and stops", async () => {
    const { y, z } = scored(3, 50);
    await expect(bootstrapMetrics([], [])).rejects.toThrow(EmptyDataError);
    await expect(bootstrapMetrics(y, z.slice(1))).rejects.toThrow(ShapeError);
    await expect(bootstrapMetrics([2], [1])).rejects.toThrow(LabelError);
    await expect(bootstrapMetrics([1], [NaN])).rejects.toThrow(NonFiniteError);
    for (const wrong of [
      { resamples: 1 },
      { resamples: 2.5 },
      { level: 1 },
      { level: 0 },
      { method: "normal" as "bca" },
      { metrics: ["f3" as "f1"] },
      { seed: 0.5 },
    ]) {
      await expect(bootstrapMetrics(y, z, wrong)).rejects.toThrow(OptionError);
    }
    await expect(bootstrapMetrics(y, z, { groups: ["a"] })).rejects.toThrow(ShapeError);
    const stop = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const call = bootstrapMetrics(
      normals(new Random(1), 20000).map((v) => (v > 0 ? 1 : 0)),
      normals(new Random(1), 20000),
      {
        resamples: 100000,
        signal: stop.signal,
        onProgress: (done) => {
          seen.push(done);
          if (done === 30) stop.abort(reason);
        },
      },
    );
    await expect(call).rejects.toBe(reason);
    expect(seen.at(-1)).toBeLessThan(2000);
  });
});
