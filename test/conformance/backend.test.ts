/** What every backend must do, one line per implementation. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend, LogisticOptions, LogisticProblem } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { classWeights } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { rankNeurons } from "../../src/ranking/ranking.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";
import { IMPLEMENTATIONS } from "./implementations.ts";

const STORAGE: readonly StorageType[] = ["f32", "f16", "u8"];
const OBJECTIVES: readonly Pick<LogisticOptions, "C" | "balanced">[] = [
  { C: 1, balanced: true },
  { C: 0.01, balanced: true },
  { C: 100, balanced: true },
  { C: 1, balanced: false },
];
const FIT: LogisticOptions = { C: 1, balanced: true, tolerance: 1e-16, maxIterations: 100 };

describe.each(Object.entries(IMPLEMENTATIONS))("%s backend", (_, { open, unit, chain }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open();
  });
  afterAll(() => backend.dispose());

  describe("class moments", () => {
    it.each(STORAGE.flatMap((dtype) => [1, 5, 64, 130].map((rows) => [dtype, rows] as const)))(
      "agree with two passes in float64 over %s, %i rows",
      async (dtype, rows) => {
        const x = randomActivations(rows, rows, 33).toStorage(dtype);
        const labels = randomLabels(rows, x, 5, 0.2);
        const device = await backend.upload(x);
        const moments = await backend.classMoments(device, labels);
        const want = bruteMoments(x, labels);
        expect([...moments.count]).toEqual([...want.count]);
        // A mean of n terms carries γ(chain) of the mean magnitude; f32 results are rounded once more. Squares are
        // sums of (x − mean)², each with twice the relative error, plus what the mean's own error adds.
        const c = (at: number) => Math.floor(at / 33);
        const gamma = (at: number) => unit * (chain(want.count[c(at)]) + 16);
        expectClose(moments.mean, want.mean, (at) => gamma(at) * want.meanMagnitude[at], "mean");
        expectClose(
          moments.sumOfSquares,
          want.sumOfSquares,
          (at) =>
            4 * gamma(at) * want.sumOfSquares[at] +
            want.count[c(at)] * (2 * gamma(at) * want.meanMagnitude[at]) ** 2 +
            2 * unit * want.count[c(at)] * want.meanMagnitude[at] ** 2,
          "sumOfSquares",
        );
        device.dispose();
      },
    );

    it("of a class without rows are zero", async () => {
      const x = randomActivations(1, 4, 3);
      const labels = new LabelMatrix(["all", "none"], 4, Uint8Array.of(1, 1, 1, 1, 255, 255, 255, 255));
      const moments = await backend.classMoments(await backend.upload(x), labels);
      expect([...moments.count]).toEqual([0, 4, 0, 0]);
      expect([...moments.mean.subarray(0, 3)]).toEqual([0, 0, 0]);
      expect([...moments.mean.subarray(6)]).toEqual([0, 0, 0, 0, 0, 0]);
    });

    it("of a constant neuron have no spread, far from zero too", async () => {
      const x = new Activations(new Float32Array(300).fill(4096.5), [100, 3]);
      const labels = randomLabels(3, randomActivations(3, 100, 3), 2);
      const { sumOfSquares, mean } = await backend.classMoments(await backend.upload(x), labels);
      expect([...sumOfSquares]).toEqual(new Array(12).fill(0));
      expectClose(mean, new Array(12).fill(4096.5), 4096.5 * unit * 2);
    });

    it("keep a small spread on a large offset", async () => {
      const base = randomActivations(4, 200, 4).toFloat32();
      const x = new Activations(
        base.map((v) => 1000 + v),
        [200, 4],
      );
      const labels = randomLabels(4, x, 1);
      const got = await backend.classMoments(await backend.upload(x), labels);
      const want = bruteMoments(x, labels);
      expectClose(got.sumOfSquares, want.sumOfSquares, (at) => 1e4 * unit * want.sumOfSquares[at], "squares");
    });

    it("refuse labels for another number of rows", async () => {
      const x = await backend.upload(randomActivations(1, 4, 3));
      const labels = new LabelMatrix(["a"], 3, new Uint8Array(3));
      await expect(backend.classMoments(x, labels)).rejects.toMatchObject({ code: "shape" });
    });
  });

  it.each(STORAGE)("gathers columns of %s exactly", async (dtype) => {
    const x = randomActivations(7, 70, 19).toStorage(dtype);
    const columns = Uint32Array.of(18, 0, 3, 3, 7);
    const got = await backend.gatherColumns(await backend.upload(x), columns);
    const all = x.toFloat32();
    expect([got.rows, got.neurons, got.dtype]).toEqual([70, 5, "f32"]);
    const want = Array.from({ length: 350 }, (_, at) => all[Math.floor(at / 5) * 19 + columns[at % 5]]);
    expectClose(got.data, want, (at) => (dtype === "u8" ? 2 ** -22 * Math.max(1, Math.abs(want[at])) : 0));
  });

  it.each(STORAGE)("reads %s activations back as they were", async (dtype) => {
    const x = randomActivations(8, 21, 5).toStorage(dtype);
    const back = await (await backend.upload(x)).read();
    expect(back.dtype).toBe(dtype);
    expect([...back.data]).toEqual([...x.data]);
  });

  describe("row aggregation", () => {
    const rows = Uint32Array.of(2, 3, 9, 0, 1, 1, 5);
    const offsets = Uint32Array.of(0, 3, 4, 7);

    it.each(["token", "mean", "max", "last"] as const)(
      "takes the %s of each segment",
      async (aggregation) => {
        const x = randomActivations(9, 10, 37);
        const device = await backend.aggregateRows(await backend.upload(x), aggregation, { rows, offsets });
        const got = await device.read();
        const segments = aggregation === "token" ? [...rows].map((i) => [i]) : [[2, 3, 9], [0], [1, 1, 5]];
        const want = segments.flatMap((members) =>
          Array.from({ length: 37 }, (_, j) => {
            const values = members.map((i) => x.data[i * 37 + j]);
            if (aggregation === "mean") return values.reduce((a, b) => a + b) / values.length;
            return aggregation === "max" ? Math.max(...values) : values.at(-1)!;
          }),
        );
        expect([got.rows, got.neurons]).toEqual([segments.length, 37]);
        // Three f32 additions and a division at most, of values below 16.
        expectClose(got.toFloat32(), want, aggregation === "mean" ? 4 * 2 ** -24 * 16 : 0);
      },
    );

    it("refuses rows that do not exist and empty segments", async () => {
      const x = await backend.upload(randomActivations(9, 10, 4));
      const outside = { rows: Uint32Array.of(10), offsets: Uint32Array.of(0, 1) };
      await expect(backend.aggregateRows(x, "mean", outside)).rejects.toMatchObject({ code: "shape" });
      const empty = { rows: Uint32Array.of(1), offsets: Uint32Array.of(0, 0, 1) };
      await expect(backend.aggregateRows(x, "max", empty)).rejects.toMatchObject({ code: "empty-data" });
    });
  });

  describe("logistic fits", () => {
    it.each(STORAGE)("satisfy the optimality conditions on %s", async (dtype) => {
      const x = randomActivations(11, 150, 20).toStorage(dtype);
      const labels = randomLabels(11, x, 2, 0.1);
      const problems = [1, 3, 17].flatMap((k) => [0, 1].map((feature) => problem(feature, k)));
      const device = await backend.upload(x);
      // The objective does not know how the values were stored: once is enough for the other types.
      const objectives = dtype === "f32" ? OBJECTIVES : OBJECTIVES.slice(0, 1);
      for (const objective of objectives) {
        const options = { ...FIT, ...objective };
        const fits = await backend.fitLogistic(device, labels, problems, options);
        for (const [p, fit] of fits.entries()) {
          expect(fit.convergence.converged).toBe(true);
          const { gradient, scale } = plainGradient(x, labels, problems[p], options, fit);
          // The Newton decrement bounds the gradient: |g_j| ≤ λ·√H_jj, λ² ≤ 2·C·Σω·tolerance; sums of n terms in
          // f64 add n·ε of their magnitude.
          expectClose(
            gradient,
            gradient.map(() => 0),
            (j) => scale[j],
            "gradient",
          );
        }
      }
    });

    it("recover the coefficients of a constructed optimum", async () => {
      // At w* = C·Σ ω s σ(−m) x̃ the gradient is zero by construction: one neuron, two rows ±a, symmetric classes.
      const a = 1.5;
      const x = new Activations(Float32Array.of(a, -a), [2, 1]);
      const labels = new LabelMatrix(["f"], 2, Uint8Array.of(1, 0));
      const [fit] = await backend.fitLogistic(
        await backend.upload(x),
        labels,
        [{ feature: 0, support: Uint32Array.of(0) }],
        FIT,
      );
      const w = fit.coefficients[0];
      expect(w).toBeCloseTo((2 * a) / (1 + Math.exp(w * a)), 12);
      expect(fit.intercept).toBeCloseTo(0, 12);
      expect(fit.convergence.separated).toBe(true);
    });

    it("treat duplicate rows as weight, and unlabelled rows as absent", async () => {
      const x = randomActivations(13, 40, 6);
      const labels = randomLabels(13, x, 1);
      const rows = Array.from({ length: 80 }, (_, i) => i % 40);
      const twice = x.selectRows(rows);
      const values = Uint8Array.from(rows, (i) => labels.values[i]);
      const half = values.map((label, i) => (i < 40 ? label : UNLABELLED));
      const problems = [problem(0, 4)];
      const fit = async (acts: Activations, y: Uint8Array, C: number) =>
        (
          await backend.fitLogistic(
            await backend.upload(acts),
            new LabelMatrix(["f"], acts.rows, y),
            problems,
            { ...FIT, balanced: false, C },
          )
        )[0];
      const once = await fit(x, labels.values, 2);
      const doubled = await fit(twice, values, 1);
      const masked = await fit(twice, half, 2);
      expectClose(doubled.coefficients, once.coefficients, 1e-9, "duplicates");
      expectClose(masked.coefficients, once.coefficients, 1e-9, "unlabelled");
    });

    it("do not depend on the other problems of the batch", async () => {
      const x = await backend.upload(randomActivations(14, 90, 24));
      const labels = randomLabels(14, randomActivations(14, 90, 24), 2);
      const problems = [1, 2, 8, 24].flatMap((k) => [problem(0, k), problem(1, k)]);
      const together = await backend.fitLogistic(x, labels, problems, FIT);
      for (const [p, single] of problems.entries()) {
        const [alone] = await backend.fitLogistic(x, labels, [single], FIT);
        expectClose(alone.coefficients, together[p].coefficients, 1e-9);
      }
    });

    it("flag separable data instead of diverging", async () => {
      const x = new Activations(Float32Array.of(-3, -2, -1, 1, 2, 3), [6, 1]);
      const labels = new LabelMatrix(["f"], 6, Uint8Array.of(0, 0, 0, 1, 1, 1));
      const problems = [{ feature: 0, support: Uint32Array.of(0) }];
      const device = await backend.upload(x);
      for (const C of [1, 1e6]) {
        const [fit] = await backend.fitLogistic(device, labels, problems, { ...FIT, C });
        expect(fit.convergence.separated).toBe(true);
        expect(Number.isFinite(fit.coefficients[0])).toBe(true);
        expect(fit.convergence.converged).toBe(true);
      }
    });

    it("report a fit that ran out of steps as unconverged", async () => {
      const x = randomActivations(15, 60, 4);
      const labels = randomLabels(15, x, 1);
      const options = { ...FIT, maxIterations: 1, tolerance: 1e-30 };
      const [fit] = await backend.fitLogistic(await backend.upload(x), labels, [problem(0, 4)], options);
      expect(fit.convergence.converged).toBe(false);
      expect(fit.coefficients.every(Number.isFinite)).toBe(true);
    });

    it("refuse what does not fit", async () => {
      const x = await backend.upload(randomActivations(16, 6, 3));
      const labels = new LabelMatrix(["f", "one"], 6, Uint8Array.of(0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1));
      const refused = (bad: LogisticProblem, options = FIT) => backend.fitLogistic(x, labels, [bad], options);
      const good = { feature: 0, support: Uint32Array.of(0) };
      await expect(refused({ ...good, feature: 2 })).rejects.toMatchObject({ code: "shape" });
      await expect(refused({ ...good, feature: 1 })).rejects.toMatchObject({ code: "one-class" });
      await expect(refused({ ...good, support: Uint32Array.of(3) })).rejects.toMatchObject({ code: "shape" });
      await expect(refused({ ...good, support: new Uint32Array() })).rejects.toMatchObject({
        code: "support-size",
      });
      await expect(refused({ ...good, scale: Float64Array.of(0) })).rejects.toMatchObject({ code: "option" });
      await expect(refused({ ...good, center: new Float64Array(2) })).rejects.toMatchObject({
        code: "shape",
      });
      await expect(refused(good, { ...FIT, C: 0 })).rejects.toMatchObject({ code: "option" });
    });
  });

  it("stops when asked to, with the signal's reason", async () => {
    const x = await backend.upload(randomActivations(17, 50, 8));
    const labels = randomLabels(17, randomActivations(17, 50, 8), 2);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(backend.classMoments(x, labels, { signal })).rejects.toThrow("enough");
    await expect(backend.fitLogistic(x, labels, [problem(0, 2)], { ...FIT, signal })).rejects.toThrow(
      "enough",
    );
    await expect(backend.gatherColumns(x, Uint32Array.of(0), { signal })).rejects.toThrow("enough");
    const controller = new AbortController();
    const many = Array.from({ length: 8000 }, () => problem(0, 8));
    setTimeout(() => controller.abort(new Error("later")), 5);
    await expect(backend.fitLogistic(x, labels, many, { ...FIT, signal: controller.signal })).rejects.toThrow(
      "later",
    );
  });

  it("counts progress up to the number of problems", async () => {
    const x = await backend.upload(randomActivations(18, 50, 8));
    const labels = randomLabels(18, randomActivations(18, 50, 8), 2);
    const seen: number[] = [];
    const onProgress = (done: number, total: number) => {
      expect(total).toBe(6);
      seen.push(done);
    };
    const problems = Array.from({ length: 6 }, (_, p) => problem(p % 2, 1 + p));
    await backend.fitLogistic(x, labels, problems, { ...FIT, onProgress });
    expect(seen.at(-1)).toBe(6);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("refuses activations after they were disposed of, and disposes twice in peace", async () => {
    const x = await backend.upload(randomActivations(19, 5, 3));
    x.dispose();
    x.dispose();
    await expect(backend.gatherColumns(x, Uint32Array.of(0))).rejects.toMatchObject({ code: "disposed" });
  });

  it("finds the supports, coefficients and metrics that the cpu backend finds", async () => {
    const x = randomActivations(20, 160, 48);
    const labels = randomLabels(20, x, 3, 0.1);
    const cpu = createCpuBackend();
    const here = await backend.classMoments(await backend.upload(x), labels);
    const there = await cpu.classMoments(await cpu.upload(x), labels);
    for (let f = 0; f < 3; f++) {
      const want = rankNeurons(there, f, "f");
      const got = rankNeurons(here, f, "f");
      // Order is certain where neighbouring scores differ by more than both can be off.
      const bound = 2 * unit * (chain(160) + 16) * 8;
      for (let r = 0; r + 1 < 48; r++) {
        const gap = (q: number) =>
          Math.abs(Math.abs(want.scores[want.order[q]]) - Math.abs(want.scores[want.order[q + 1]]));
        if (gap(r) > bound && (r === 0 || gap(r - 1) > bound)) expect(got.order[r]).toBe(want.order[r]);
      }
    }
    const ks = [1, 4, 16];
    const want = await SparseProbe.fitMany(x, labels, ks, { backend: cpu });
    const got = await SparseProbe.fitMany(x, labels, ks, { backend });
    expect(got.failures).toEqual([]);
    for (const [p, probe] of want.probes.entries()) {
      expect(got.probes[p].support).toEqual(probe.support);
      const wantRaw = probe.rawCoefficients();
      const gotRaw = got.probes[p].rawCoefficients();
      // Standardisation comes from the backend's own moments, and a probe moves with them to first order.
      const relative = unit * (chain(160) + 16) * 16 + 1e-9;
      const size = Math.max(...wantRaw.coefficients.map(Math.abs));
      expectClose(gotRaw.coefficients, wantRaw.coefficients, relative * size, `coefficients, k = ${probe.k}`);
      const y = Array.from(labels.of(Math.floor(p / ks.length)), (label) => (label === 1 ? 1 : 0));
      expect(got.probes[p].evaluate(x, y).f1).toBeCloseTo(probe.evaluate(x, y).f1!, 12);
    }
  });
});

/** A problem on columns 0 … k − 1 with a centre and a scale. */
function problem(feature: number, k: number): Required<LogisticProblem> {
  return {
    feature,
    support: Uint32Array.from({ length: k }, (_, j) => j),
    center: Float64Array.from({ length: k }, (_, j) => 0.1 * j - 0.3),
    scale: Float64Array.from({ length: k }, (_, j) => 0.5 + 0.1 * j),
  };
}

/** Class moments by the definition, two passes in float64. */
function bruteMoments(x: Activations, labels: LabelMatrix) {
  const values = x.toFloat32();
  const d = x.neurons;
  const size = labels.features.length * 2;
  const count = new Float64Array(size);
  const mean = new Float64Array(size * d);
  const meanMagnitude = new Float64Array(size * d);
  const sumOfSquares = new Float64Array(size * d);
  const visit = (use: (c: number, i: number) => void) => {
    for (let f = 0; f < labels.features.length; f++) {
      for (const [i, label] of labels.of(f).entries()) if (label !== UNLABELLED) use(2 * f + label, i);
    }
  };
  visit((c) => count[c]++);
  visit((c, i) => {
    for (let j = 0; j < d; j++) {
      mean[c * d + j] += values[i * d + j] / count[c];
      meanMagnitude[c * d + j] += Math.abs(values[i * d + j]) / count[c];
    }
  });
  visit((c, i) => {
    for (let j = 0; j < d; j++) sumOfSquares[c * d + j] += (values[i * d + j] - mean[c * d + j]) ** 2;
  });
  return { count, mean, meanMagnitude, sumOfSquares };
}

/** Gradient of the objective by its formula, row by row, and how far from zero the stopping rule lets it be. */
function plainGradient(
  x: Activations,
  labels: LabelMatrix,
  { feature, support, center, scale }: Required<LogisticProblem>,
  { C, balanced, tolerance }: LogisticOptions,
  fit: { coefficients: Float64Array; intercept: number },
) {
  const values = x.toFloat32();
  const y = labels.of(feature);
  const weights = classWeights(y, balanced);
  const k = support.length;
  const gradient = [...fit.coefficients, 0];
  const curvature = [...fit.coefficients.map(() => 1), 0];
  const magnitude = new Array<number>(k + 1).fill(0);
  let total = 0;
  for (const [i, label] of y.entries()) {
    if (label === UNLABELLED) continue;
    const row = [...support].map((j, c) => (values[i * x.neurons + j] - center[c]) / scale[c]);
    row.push(1);
    const z = row.reduce((sum, v, c) => sum + v * (c < k ? fit.coefficients[c] : fit.intercept), 0);
    const p = 1 / (1 + Math.exp(-z));
    total += C * weights[i];
    for (let c = 0; c <= k; c++) {
      gradient[c] += C * weights[i] * (p - label) * row[c];
      magnitude[c] += C * weights[i] * Math.abs(row[c]);
      curvature[c] += C * weights[i] * p * (1 - p) * row[c] * row[c];
    }
  }
  const lambda = Math.sqrt(2 * total * tolerance);
  const rounding = (k + 8) * 2 ** -50;
  return {
    gradient,
    scale: curvature.map((h, c) => lambda * Math.sqrt(h) + rounding * magnitude[c]),
  };
}
