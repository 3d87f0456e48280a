/** What every backend must do, one line per implementation. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type {
  Backend,
  L1Fit,
  L1Problem,
  L1Start,
  LogisticOptions,
  LogisticProblem,
  SingleNeuronFits,
  SingleNeuronOptions,
} from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { classWeights } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import type { ClassMoments, MomentSquares } from "../../src/data/class-moments.ts";
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
        // Codes may be summed as they are, or decoded in float32 first: scale·q and the value are then rounded.
        const decoding = (at: number) =>
          x.code ? 2 ** -24 * (Math.abs(x.code.offset[at % 33]) + 510 * Math.abs(x.code.scale[at % 33])) : 0;
        const off = (at: number) => gamma(at) * want.meanMagnitude[at] + decoding(at);
        expectClose(moments.mean, want.mean, off, "mean");
        expectClose(
          moments.sumOfSquares!,
          want.sumOfSquares,
          (at) =>
            4 * gamma(at) * want.sumOfSquares[at] +
            want.count[c(at)] * (2 * off(at)) ** 2 +
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
      expect([...sumOfSquares!]).toEqual(new Array(12).fill(0));
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
      expectClose(
        got.sumOfSquares!,
        want.sumOfSquares,
        (at) => 1e4 * unit * want.sumOfSquares[at],
        "squares",
      );
    });

    // Many label sets may take another path than few.
    it.each([1, 20])("have the squares that were asked for, %i label sets", async (features) => {
      const x = randomActivations(5, 150, 9);
      const labels = randomLabels(5, x, features, 0.2);
      const device = await backend.upload(x);
      const of = (squares: MomentSquares): Promise<ClassMoments> =>
        backend.classMoments(device, labels, { squares });
      const [all, within, none] = [await of("class"), await of("within"), await of("none")];
      const want = bruteMoments(x, labels);
      const inBoth = Array.from({ length: 9 * features }, (_, at) => {
        const f = Math.floor(at / 9);
        return want.sumOfSquares[(f * 2 + 0) * 9 + (at % 9)] + want.sumOfSquares[(f * 2 + 1) * 9 + (at % 9)];
      });
      const gamma = 4 * unit * (chain(150) + 16);
      expectClose(within.withinSquares!, inBoth, (at) => gamma * inBoth[at] + gamma, "within");
      expectClose(all.withinSquares!, inBoth, (at) => gamma * inBoth[at] + gamma, "within, of each class");
      expect(all.sumOfSquares).toHaveLength(2 * 9 * features);
      expect([within.sumOfSquares, none.sumOfSquares, none.withinSquares]).toEqual([null, null, null]);
      for (const { count, mean } of [all, within, none]) {
        expect([...count]).toEqual([...want.count]);
        expectClose(mean, want.mean, (at) => gamma * want.meanMagnitude[at], "mean");
      }
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

  describe("logistic fits on more columns than a Hessian has room for", () => {
    it.each(STORAGE)("satisfy the optimality conditions on %s, beside narrow ones", async (dtype) => {
      const x = randomActivations(31, 60, 640).toStorage(dtype);
      const labels = randomLabels(31, x, 2, 0.1);
      // Some columns in descending order, all of them in another order, and three.
      const supports = [
        Uint32Array.from({ length: 600 }, (_, j) => 630 - j),
        Uint32Array.from({ length: 640 }, (_, j) => (j * 7) % 640),
        Uint32Array.of(5, 1, 600),
      ];
      const problems = supports.map((support, p) => ({
        feature: p % 2,
        support,
        center: Float64Array.from(support, (j) => 0.01 * (j % 50) - 0.3),
        scale: Float64Array.from(support, (j) => 0.5 + 0.01 * (j % 90)),
      }));
      const device = await backend.upload(x);
      for (const C of dtype === "f32" ? [1, 0.01, 100] : [1]) {
        const options = { ...FIT, C };
        const seen: number[] = [];
        const fits = await backend.fitLogistic(device, labels, problems, {
          ...options,
          onProgress: (done) => seen.push(done),
        });
        expect(seen).toEqual([1, 2, 3]);
        for (const [p, fit] of fits.entries()) {
          expect(fit.convergence.converged).toBe(true);
          // The bounds of narrow fits: the decrement bounds each entry of the gradient.
          const { gradient, scale } = plainGradient(x, labels, problems[p], options, fit);
          const none = gradient.map(() => 0);
          expectClose(gradient, none, (j) => scale[j], `gradient, C = ${C}, k = ${supports[p].length}`);
        }
      }
    });

    it("do not read unlabelled rows, and say so when a labelled one is not finite", async () => {
      const x = randomActivations(32, 40, 520);
      const labels = randomLabels(32, x, 1);
      labels.values[7] = UNLABELLED;
      const spoilt = x.data.slice() as Float32Array;
      spoilt.fill(NaN, 7 * 520, 8 * 520);
      const acts = new Activations(spoilt, [40, 520]);
      const problems = [{ feature: 0, support: Uint32Array.from({ length: 520 }, (_, j) => j) }];
      if (backend.info.kind === "gpujs") {
        // It refuses a matrix with any value that is not finite.
        await expect(backend.upload(acts)).rejects.toMatchObject({ code: "non-finite" });
      } else {
        const device = await backend.upload(acts);
        const [fit] = await backend.fitLogistic(device, labels, problems, FIT);
        expect(fit.convergence.converged).toBe(true);
        labels.values[7] = 1;
        const [spoiltFit] = await backend.fitLogistic(device, labels, problems, FIT);
        expect(spoiltFit.convergence.converged).toBe(false);
        expect(spoiltFit.convergence.objective).toBeNaN();
        labels.values[7] = UNLABELLED;
      }
      const [stopped] = await backend.fitLogistic(await backend.upload(x), labels, problems, {
        ...FIT,
        maxIterations: 1,
        tolerance: 1e-30,
      });
      expect(stopped.convergence.converged).toBe(false);
      expect(stopped.coefficients.every(Number.isFinite)).toBe(true);
    });
  });

  describe("logistic fits with an L1 penalty", () => {
    const L1 = { balanced: true, tolerance: 1e-10, maxIterations: 200 };

    it.each(STORAGE)("satisfy the optimality conditions on %s", async (dtype) => {
      const x = randomActivations(33, 120, 90).toStorage(dtype);
      const labels = randomLabels(33, x, 2, 0.1);
      const center = Float64Array.from({ length: 90 }, (_, j) => 0.1 * (j % 7) - 0.3);
      const scale = Float64Array.from({ length: 90 }, (_, j) => 0.5 + 0.1 * (j % 5));
      const problems = [
        { feature: 0, C: 1, center, scale },
        { feature: 1, C: 0.1 },
        { feature: 0, C: 0.05, center, scale },
        { feature: 1, C: 1e-6 },
      ];
      const device = await backend.upload(x);
      for (const balanced of dtype === "f32" ? [true, false] : [true]) {
        const options = { ...L1, balanced };
        const fits = await backend.fitLogisticL1(device, labels, problems, options);
        for (const [p, fit] of fits.entries()) {
          expectOptimalL1(x, labels, problems[p], options, fit);
        }
        expect(fits[3].support.length).toBe(0);
        expect(fits[0].support.length).toBeGreaterThan(fits[2].support.length);
      }
    });

    it.each([0.99, 0.5, 0.05])("satisfy the elastic net's conditions, l1Ratio %s", async (l1Ratio) => {
      const x = randomActivations(36, 110, 70);
      const labels = randomLabels(36, x, 1, 0.1);
      const device = await backend.upload(x);
      const support = Uint32Array.from({ length: 40 }, (_, c) => (c * 29) % 70);
      const center = Float64Array.from({ length: 40 }, (_, c) => 0.1 * (c % 7) - 0.3);
      const scale = Float64Array.from({ length: 40 }, (_, c) => 0.5 + 0.1 * (c % 5));
      const problems: L1Problem[] = [0.05, 1, 20].flatMap((C) => [
        { feature: 0, C, l1Ratio },
        { feature: 0, C, l1Ratio, support, center, scale },
      ]);
      const fits = await backend.fitLogisticL1(device, labels, problems, L1);
      for (const [p, fit] of fits.entries()) expectOptimalL1(x, labels, problems[p], L1, fit);
      const started = problems.map((problem, p) => ({ ...problem, start: fits[(p + 3) % fits.length] }));
      const again = await backend.fitLogisticL1(device, labels, started, L1);
      for (const [p, fit] of again.entries()) {
        expectOptimalL1(x, labels, problems[p], L1, fit);
        // Both lie within their gap of the optimum, and the ridge makes the objective grow by (1 − ρ)/2·‖w − w*‖² at least.
        const gap = Math.max(fit.convergence.dualityGap, fits[p].convergence.dualityGap) + 1e-12;
        const bound = 2 * Math.sqrt((2 * gap) / (1 - l1Ratio));
        expectClose(dense(fit, 70), dense(fits[p], 70), bound, "coefficient");
      }
    });

    it("start from an earlier fit, and from none that is worse than no coefficients", async () => {
      const x = randomActivations(37, 100, 50);
      const labels = randomLabels(37, x, 1);
      const device = await backend.upload(x);
      const problem = { feature: 0, C: 0.5, l1Ratio: 0.6 };
      const fitFrom = async (start?: L1Start): Promise<L1Fit> =>
        (await backend.fitLogisticL1(device, labels, [{ ...problem, ...(start && { start }) }], L1))[0];
      const cold = await fitFrom();
      const warm = await fitFrom(cold);
      expect(warm.convergence.converged).toBe(true);
      expect(warm.convergence.iterations).toBeLessThanOrEqual(1);
      const wild = {
        support: Uint32Array.of(3, 7),
        coefficients: Float64Array.of(1e200, -1e9),
        intercept: 1e5,
      };
      const recovered = await fitFrom(wild);
      expectOptimalL1(x, labels, problem, L1, recovered);
      expectClose(
        [recovered.convergence.objective],
        [cold.convergence.objective],
        recovered.convergence.dualityGap + cold.convergence.dualityGap + 1e-12,
      );
    });

    it("leave out neurons that are not finite in a labelled row", async () => {
      const x = randomActivations(34, 80, 30);
      const labels = randomLabels(34, x, 1);
      const spoilt = x.data.slice() as Float32Array;
      for (let i = 0; i < 80; i += 9) spoilt[i * 30 + 4] = i % 2 === 0 ? NaN : Infinity;
      if (backend.info.kind === "gpujs") {
        // It refuses a matrix with any value that is not finite.
        const refused = backend.upload(new Activations(spoilt, [80, 30]));
        await expect(refused).rejects.toMatchObject({ code: "non-finite" });
        return;
      }
      const kept = Array.from({ length: 29 }, (_, j) => (j < 4 ? j : j + 1));
      const fitTo = async (acts: Activations) =>
        (await backend.fitLogisticL1(await backend.upload(acts), labels, [{ feature: 0, C: 0.3 }], L1))[0];
      const got = await fitTo(new Activations(spoilt, [80, 30]));
      const want = await fitTo(x.gatherColumns(kept));
      expect([...got.support]).toEqual(Array.from(want.support, (j) => kept[j]));
      expect(got.convergence.converged).toBe(true);
      // Each is within its gap of the optimum, where the curvature along the support is above 1 (C·Σω·p(1 − p)·x², 24/10).
      const gap = Math.max(got.convergence.dualityGap, want.convergence.dualityGap);
      expectClose(got.coefficients, want.coefficients, 2 * Math.sqrt(2 * gap) + 1e-12);
    });

    it("refuse what does not fit, stop when asked to, and say when they ran out of steps", async () => {
      const x = await backend.upload(randomActivations(35, 30, 12));
      const labels = randomLabels(35, randomActivations(35, 30, 12), 1);
      const refused = (bad: object, options: object = {}) =>
        backend.fitLogisticL1(x, labels, [{ feature: 0, C: 1, ...bad }], { ...L1, ...options });
      await expect(refused({ feature: 1 })).rejects.toMatchObject({ code: "shape" });
      await expect(refused({ C: 0 })).rejects.toMatchObject({ code: "option" });
      await expect(refused({ center: new Float64Array(3) })).rejects.toMatchObject({ code: "shape" });
      await expect(refused({ scale: new Float64Array(12) })).rejects.toMatchObject({ code: "option" });
      for (const l1Ratio of [0, 1.1, NaN]) {
        await expect(refused({ l1Ratio })).rejects.toMatchObject({ code: "option" });
      }
      await expect(refused({ support: new Uint32Array(0) })).rejects.toMatchObject({ code: "support-size" });
      for (const columns of [
        [1, 12],
        [4, 4],
      ]) {
        const support = Uint32Array.from(columns);
        await expect(refused({ support })).rejects.toMatchObject({ code: "shape" });
        const start = { support, coefficients: Float64Array.of(1, 2), intercept: 0 };
        await expect(refused({ start })).rejects.toMatchObject({ code: "shape" });
      }
      const two = Uint32Array.of(1, 4);
      await expect(refused({ support: two, scale: new Float64Array(12).fill(1) })).rejects.toMatchObject({
        code: "shape",
      });
      const short = { support: two, coefficients: Float64Array.of(1), intercept: 0 };
      await expect(refused({ start: short })).rejects.toMatchObject({ code: "shape" });
      const endless = { support: two, coefficients: Float64Array.of(1, Infinity), intercept: 0 };
      await expect(refused({ start: endless })).rejects.toMatchObject({ code: "option" });
      await expect(refused({}, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
      const [fit] = await refused({}, { maxIterations: 1, tolerance: 1e-14 });
      expect(fit.convergence.converged).toBe(false);
      expect(fit.convergence.dualityGap).toBeGreaterThan(0);
    });
  });

  describe("probes of single neurons", () => {
    it.each(STORAGE)("end where they say they do on %s", async (dtype) => {
      const x = randomActivations(41, 150, 21).toStorage(dtype);
      const labels = randomLabels(41, x, 2, 0.1);
      const center = Float64Array.from({ length: 42 }, (_, at) => 0.1 * (at % 7) - 0.3);
      const scale = Float64Array.from({ length: 42 }, (_, at) => 0.5 + 0.1 * (at % 5));
      const device = await backend.upload(x);
      const objectives = dtype === "f32" ? OBJECTIVES : OBJECTIVES.slice(0, 1);
      for (const objective of objectives) {
        for (const tolerance of [1e-10, 1e-16]) {
          const options = { ...FIT, ...objective, tolerance, center, scale };
          const fits = await backend.fitSingleNeurons(device, labels, options);
          expect([fits.features, fits.neurons]).toEqual([2, 21]);
          expect([...fits.converged]).toEqual(new Array(42).fill(1));
          expect(Math.max(...fits.newtonDecrements)).toBeLessThanOrEqual(tolerance);
          for (let f = 0; f < 2; f++) {
            const at = singleNeuronDecrements(x, labels, f, options, fits);
            // The gradient carries n·2⁻⁵³ of C·Σω·|x|, |x| ≤ 16 here, and λ is that over √H, H ≥ C·Σω/50.
            const reported = fits.newtonDecrements.subarray(f * 21, f * 21 + 21);
            expectClose(
              at.decrements.map((own, j) => Math.sqrt(Math.max(own, reported[j]))),
              reported.map(Math.sqrt),
              150 * 2 ** -53 * 16 * 8,
              "root of the decrement",
            );
            // What is left to gain is the decrement; a sum of 150 losses in blocks of f32 is known to 150·2⁻²⁴.
            expectClose(
              fits.objectives.subarray(f * 21, f * 21 + 21),
              at.objectives,
              (j) => at.objectives[j] * (tolerance + 150 * unit) * 2,
              "objective",
            );
          }
        }
      }
    });

    it("are the probes that fitLogistic fits", async () => {
      const x = randomActivations(42, 90, 5);
      const labels = randomLabels(42, x, 3, 0.2);
      const device = await backend.upload(x);
      const problems = Array.from({ length: 15 }, (_, p) => ({
        feature: Math.floor(p / 5),
        support: Uint32Array.of(p % 5),
      }));
      const want = await backend.fitLogistic(device, labels, problems, FIT);
      const seen: number[] = [];
      const onProgress = (done: number, total: number) => {
        expect(total).toBe(15);
        seen.push(done);
      };
      const got = await backend.fitSingleNeurons(device, labels, { ...FIT, onProgress });
      // Both are within √(2·C·Σω·tolerance) of the optimum, as the penalty alone gives a curvature of 1.
      const bound = 2 * Math.sqrt(2 * 90 * FIT.tolerance);
      expectClose(
        got.coefficients,
        want.map((fit) => fit.coefficients[0]),
        bound,
        "coefficients",
      );
      expect(seen.at(-1)).toBe(15);
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    });

    it("of a constant neuron, of two rows, and of separated classes are finite", async () => {
      const x = new Activations(Float32Array.of(7, -3, 1, 7, 3, 2), [2, 3]);
      const labels = new LabelMatrix(["f"], 2, Uint8Array.of(0, 1));
      const options = { ...FIT, C: 1e4, center: Float64Array.of(7, 0, 1), scale: Float64Array.of(1, 2, 0.1) };
      const fits = await backend.fitSingleNeurons(await backend.upload(x), labels, options);
      expect([...fits.converged]).toEqual([1, 1, 1]);
      expect(Math.abs(fits.coefficients[0])).toBeLessThan(1e-6);
      expect(Math.min(fits.coefficients[1], fits.coefficients[2])).toBeGreaterThan(0.1);
      const { decrements } = singleNeuronDecrements(x, labels, 0, options, fits);
      expect(Math.max(...decrements)).toBeLessThanOrEqual(FIT.tolerance);
    });

    it("refuse what does not fit", async () => {
      const x = await backend.upload(randomActivations(43, 6, 3));
      const labels = new LabelMatrix(["f"], 6, Uint8Array.of(0, 1, 0, 1, 0, 1));
      const refused = (bad: Partial<SingleNeuronOptions>, y = labels) =>
        expect(backend.fitSingleNeurons(x, y, { ...FIT, ...bad })).rejects;
      await refused({ C: -1 }).toMatchObject({ code: "option" });
      await refused({ scale: new Float64Array(3) }).toMatchObject({ code: "option" });
      await refused({ center: new Float64Array(4) }).toMatchObject({ code: "shape" });
      await refused({}, new LabelMatrix(["f"], 5, new Uint8Array(5))).toMatchObject({ code: "shape" });
      await refused({}, new LabelMatrix(["f"], 6, new Uint8Array(6))).toMatchObject({ code: "one-class" });
    });
  });

  describe("ROC curves of single neurons", () => {
    it.each(STORAGE.flatMap((dtype) => [2, 33, 180].map((rows) => [dtype, rows] as const)))(
      "are those of counting pairs, on %s, %i rows",
      async (dtype, rows) => {
        const base = randomActivations(rows, rows, 19);
        // Halves and quarters of whole numbers: many ties, both zeros, all exact in f16.
        const tied = new Activations(
          base.data.map((v, at) => (at % 3 === 0 ? v : Math.round(2 * v) / ((at % 2) + 1))),
          [rows, 19],
        );
        const x = tied.toStorage(dtype);
        const labels = twoClasses(randomLabels(rows, base, 3, 0.2));
        const got = await backend.neuronRoc(await backend.upload(x), labels);
        const want = bruteRoc(x, labels);
        expect([...got.auc]).toEqual(want.auc);
        expect([...got.informedness]).toEqual(want.informedness);
        expect([...got.threshold]).toEqual(want.threshold);
      },
    );

    it("refuse what does not fit", async () => {
      const x = await backend.upload(randomActivations(44, 6, 3));
      const refused = (labels: LabelMatrix) => expect(backend.neuronRoc(x, labels)).rejects;
      await refused(new LabelMatrix(["f"], 5, new Uint8Array(5))).toMatchObject({ code: "shape" });
      await refused(new LabelMatrix(["f"], 6, new Uint8Array(6))).toMatchObject({ code: "one-class" });
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
    await expect(backend.fitSingleNeurons(x, labels, { ...FIT, signal })).rejects.toThrow("enough");
    await expect(backend.neuronRoc(x, labels, { signal })).rejects.toThrow("enough");
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
    const cpu = createCpuBackend({ kernels: "reference" });
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

/** Coefficients by column. */
function dense({ support, coefficients }: L1Fit, d: number): Float64Array {
  const w = new Float64Array(d);
  for (const [at, j] of support.entries()) w[j] = coefficients[at];
  return w;
}

/**
 * The problem's conditions by their formula, in float64: the objective is what the fit says, the gap is within the tolerance,
 * and each gradient entry of the smooth part is ±ρ on the support and within it elsewhere. An entry that is off by v leaves
 * v²/(2L) to be gained along its coordinate, L = C·Σω·x̃²/4 + 1 − ρ being the most its curvature can be, so v ≤ √(2·L·gap).
 */
function expectOptimalL1(
  x: Activations,
  labels: LabelMatrix,
  { feature, C, l1Ratio = 1, support, center, scale }: L1Problem,
  { balanced, tolerance }: { readonly balanced: boolean; readonly tolerance: number },
  fit: L1Fit,
): void {
  const { intercept, convergence } = fit;
  const values = x.toFloat32();
  const y = labels.of(feature);
  const weights = classWeights(y, balanced);
  const columns = support ?? Uint32Array.from({ length: x.neurons }, (_, j) => j);
  const d = columns.length;
  expect(fit.support.every((j, at) => columns.includes(j) && (at === 0 || j > fit.support[at - 1]))).toBe(
    true,
  );
  const all = dense(fit, x.neurons);
  const w = Float64Array.from(columns, (j) => all[j]);
  const gradient = Float64Array.from({ length: d + 1 }, (_, j) => (j < d ? (1 - l1Ratio) * w[j] : 0));
  const curvature = Float64Array.from({ length: d + 1 }, (_, j) => (j < d ? 1 - l1Ratio : 0));
  let objective = w.reduce((sum, v) => sum + l1Ratio * Math.abs(v) + ((1 - l1Ratio) / 2) * v * v, 0);
  let total = 0;
  for (const [i, label] of y.entries()) {
    if (label === UNLABELLED) continue;
    const row = Array.from(
      columns,
      (j, c) => (values[i * x.neurons + j] - (center?.[c] ?? 0)) / (scale?.[c] ?? 1),
    );
    row.push(1);
    const z = row.reduce((sum, v, j) => sum + v * (j < d ? w[j] : intercept), 0);
    total += C * weights[i];
    objective += C * weights[i] * Math.log1p(Math.exp(label === 1 ? -z : z));
    for (const [j, v] of row.entries()) {
      gradient[j] += C * weights[i] * (1 / (1 + Math.exp(-z)) - label) * v;
      curvature[j] += (C * weights[i] * v * v) / 4;
    }
  }
  expect(convergence.converged).toBe(true);
  expect(convergence.dualityGap).toBeGreaterThanOrEqual(0);
  expect(convergence.dualityGap).toBeLessThanOrEqual(tolerance * total);
  expectClose([convergence.objective], [objective], 1e-12 * objective, "objective");
  const off = Array.from(gradient, (g, j) => {
    if (j === d) return g;
    return w[j] === 0 ? Math.max(0, Math.abs(g) - l1Ratio) : g + l1Ratio * Math.sign(w[j]);
  });
  const gap = convergence.dualityGap + 1e-13 * objective;
  expectClose(
    off,
    off.map(() => 0),
    (j) => Math.sqrt(2 * curvature[j] * gap),
    "condition",
  );
}

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

/** Objective and Newton decrement of feature f's probes, by their formulas, row by row. */
function singleNeuronDecrements(
  x: Activations,
  labels: LabelMatrix,
  f: number,
  { C, balanced, center, scale }: SingleNeuronOptions,
  fits: SingleNeuronFits,
) {
  const values = x.toFloat32();
  const d = x.neurons;
  const y = labels.of(f);
  const weights = classWeights(y, balanced);
  const total = weights.reduce((sum, weight) => sum + C * weight, 0);
  const decrements: number[] = [];
  const objectives: number[] = [];
  for (let j = 0; j < d; j++) {
    const w = fits.coefficients[f * d + j];
    const b = fits.intercepts[f * d + j];
    let objective = (w * w) / 2;
    let [g0, g1, h00, h01, h11] = [0, w, 0, 0, 1];
    for (const [i, label] of y.entries()) {
      if (label === UNLABELLED) continue;
      const v = (values[i * d + j] - (center?.[f * d + j] ?? 0)) / (scale?.[f * d + j] ?? 1);
      const side = label === 1 ? 1 : -1;
      const miss = 1 / (1 + Math.exp(side * (w * v + b)));
      const weight = C * weights[i];
      objective += weight * -Math.log1p(-miss);
      g0 -= weight * side * miss;
      g1 -= weight * side * miss * v;
      const curvature = weight * miss * (1 - miss);
      h00 += curvature;
      h01 += curvature * v;
      h11 += curvature * v * v;
    }
    decrements.push(
      (h11 * g0 * g0 - 2 * h01 * g0 * g1 + h00 * g1 * g1) / (h00 * h11 - h01 * h01) / (2 * total),
    );
    objectives.push(objective);
  }
  return { decrements, objectives };
}

/** The first two labelled rows of every feature in a class each, so that no feature lacks one. */
function twoClasses(labels: LabelMatrix): LabelMatrix {
  const values = labels.values.slice();
  for (let f = 0; f < labels.features.length; f++) {
    values[f * labels.rows] = f % 2;
    values[f * labels.rows + 1] = 1 - (f % 2);
  }
  return new LabelMatrix(labels.features, labels.rows, values);
}

/** ROC curves by comparing every positive with every negative row, and every value as a threshold. */
function bruteRoc(x: Activations, labels: LabelMatrix) {
  const values = x.toFloat32();
  const d = x.neurons;
  const result = { auc: [] as number[], threshold: [] as number[], informedness: [] as number[] };
  for (let f = 0; f < labels.features.length; f++) {
    const y = labels.of(f);
    const rowsOf = (label: number) => [...y.keys()].filter((i) => y[i] === label);
    const [negative, positive] = [rowsOf(0), rowsOf(1)];
    const pairs = negative.length * positive.length;
    for (let j = 0; j < d; j++) {
      const value = (i: number) => values[i * d + j];
      let twice = 0;
      for (const p of positive) for (const q of negative) twice += 1 + Math.sign(value(p) - value(q));
      const candidates = [...negative, ...positive].map(value).sort((a, b) => b - a);
      const gain = (t: number) =>
        positive.filter((i) => value(i) >= t).length * negative.length -
        negative.filter((i) => value(i) >= t).length * positive.length;
      let best = candidates[0];
      for (const t of candidates) if (Math.abs(gain(t)) > Math.abs(gain(best))) best = t;
      result.auc.push(twice / (2 * pairs));
      result.threshold.push(best + 0);
      result.informedness.push(gain(best) / pairs);
    }
  }
  return result;
}
