/** Regression probes by themselves: sources, invariances, certificates, what they refuse. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import type { TargetMoments } from "../../src/data/target-moments.ts";
import { Random } from "../../src/random.ts";
import type { RegressionOptions } from "../../src/regression/regression-options.ts";
import { RegressionProbe } from "../../src/regression/regression-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { openTestBackend } from "../support/gpu.ts";
import { normals, randomActivations } from "../support/random-data.ts";

/** A target that some neurons carry, with noise. */
function targetOf(x: Activations, weights: Readonly<Record<number, number>>, noise = 0.5): Float64Array {
  const e = normals(new Random(1, "noise"), x.rows);
  const values = x.toFloat32();
  return e.map((value, i) => {
    let sum = noise * value;
    for (const [neuron, weight] of Object.entries(weights))
      sum += weight * values[i * x.neurons + Number(neuron)];
    return sum;
  });
}

function inBlocks(x: Activations, height: number): ActivationBlocks {
  return {
    rows: x.rows,
    neurons: x.neurons,
    *blocks() {
      for (let start = 0; start < x.rows; start += height)
        yield x.slice(start, Math.min(x.rows, start + height));
    },
  };
}

const x = randomActivations(11, 600, 12);
const y = targetOf(x, { 2: 1, 7: -2, 9: 0.3 });
const rows = Array.from({ length: 450 }, (_, r) => 599 - r);
/** Ranks by index alone. */
const lowest = ({ neurons }: TargetMoments): Float64Array =>
  Float64Array.from({ length: neurons }, (_, j) => neurons - j);
const withCode = (code: string) => expect.objectContaining({ code }) as Error;

describe("what a regression probe is fitted to", () => {
  let gpu: WebGpuBackend;
  beforeAll(async () => {
    gpu = await openTestBackend();
  });
  afterAll(() => {
    gpu.dispose();
  });

  it.each(["f32", "f16", "u8"] as const)(
    "host, device, GPU and blocks give the same bits: %s",
    async (dtype) => {
      const stored = x.toStorage(dtype);
      for (const ranking of ["correlation", "mutual-information"] as const) {
        const options = { rows, ranking } as const;
        const want = await RegressionProbe.path(stored, y, [1, 3, 12], options);
        const { support, scores, coefficients, intercept, center, scale } = want[1];
        const cpu = createCpuBackend();
        const held = await cpu.upload(stored);
        expect(await RegressionProbe.path(held, y, [1, 3, 12], { ...options, backend: cpu })).toEqual(want);
        held.dispose();
        for (const height of [1, 100, 257]) {
          expect(await RegressionProbe.path(inBlocks(stored, height), y, [1, 3, 12], options)).toEqual(want);
        }
        const resident = await gpu.upload(stored);
        const probe = await RegressionProbe.fit(resident, y, 3, { ...options, backend: gpu });
        // Decoding u8 on a GPU may contract a product and a sum: an f32 rounding of a value is a change of 2⁻²³.
        if (dtype === "u8") expectClose(probe.coefficients, coefficients, 1e-5, "coefficient");
        else {
          expect(probe).toMatchObject({ support, scores, coefficients, intercept, center, scale });
          expect(probe.provenance).toEqual({ backend: "webgpu" });
        }
        const predictions = await probe.predictOnDevice(resident, gpu);
        expectClose(predictions, probe.predict(stored), 1e-4, "prediction");
        expect(await probe.evaluateOnDevice(resident, y, gpu, { rows: [1, 2, 3] })).toMatchObject({
          rows: 3,
        });
        const mute = { ...options, backend: gpu, ranking: () => new Float64Array(12).fill(NaN) };
        await expect(RegressionProbe.fit(resident, y, 3, mute)).rejects.toThrow(withCode("non-finite"));
        resident.dispose();
      }
    },
  );

  it("many targets share the pass and do not change one another", async () => {
    const other = targetOf(x, { 0: 1 }, 2);
    const { probes, failures } = await RegressionProbe.fitMany(x, { y, other }, [2, 1], { rows });
    expect(failures).toEqual([]);
    expect(probes.map(({ target, k }) => [target, k])).toEqual([
      ["y", 2],
      ["y", 1],
      ["other", 2],
      ["other", 1],
    ]);
    expect(probes.slice(2)).toEqual(await RegressionProbe.path(x, other, [2, 1], { rows, target: "other" }));
    expect(probes[0]).toEqual(await RegressionProbe.fit(x, y, 2, { rows, target: "y" }));
    // Supports that overlap share a Gram matrix, to the bit.
    const wide = await RegressionProbe.fitMany(x, { y, other }, [11], { rows });
    expect(wide.probes[1]).toEqual(await RegressionProbe.fit(x, other, 11, { rows, target: "other" }));
  });

  it("rows that are not trained on have no influence, whatever they hold", async () => {
    const data = x.toFloat32().slice();
    const spoilt = Float64Array.from(y);
    for (let i = 0; i < 150; i++) {
      data.fill(i % 2 ? NaN : 1e30, i * 12, (i + 1) * 12);
      spoilt[i] = NaN;
    }
    const bad = new Activations(data, [600, 12]);
    const probe = await RegressionProbe.fit(bad, spoilt, 4, { rows });
    expect(probe).toEqual(await RegressionProbe.fit(x, y, 4, { rows }));
    const test = rows.slice(0, 50);
    expect(probe.evaluate(bad, spoilt, { rows: test })).toEqual(probe.evaluate(x, y, { rows: test }));
    expect(() => probe.predict(bad)).toThrow(withCode("non-finite"));
    expect(() => probe.evaluate(bad, y)).toThrow(withCode("non-finite"));
  });
});

describe("invariances", () => {
  const CASES: readonly RegressionOptions[] = [
    {},
    { ranking: "f", alpha: 30 },
    { ranking: "mutual-information" },
    { penalty: "elastic-net", alpha: 0.1, l1Ratio: 0.7 },
  ];

  it.each([60, 1e-3])(
    "scaling X by %d changes no ranking, support or standardised coefficient",
    async (factor) => {
      const scaled = new Activations(
        x.toFloat32().map((value) => factor * value),
        [600, 12],
      );
      for (const options of CASES) {
        const plain = await RegressionProbe.fit(x, y, 6, options);
        const probe = await RegressionProbe.fit(scaled, y, 6, options);
        expect(probe.support).toEqual(plain.support);
        // Scaling rounds every value to 2⁻²⁴ of itself.
        expectClose(probe.coefficients, plain.coefficients, 1e-5, "coefficient");
        expectClose(probe.predict(scaled), plain.predict(x), 1e-5, "prediction");
      }
    },
  );

  it("a shift of the target moves the intercept alone, a factor goes into the coefficients", async () => {
    const moved = y.map((value) => 4 * value - 1000);
    const plain = await RegressionProbe.fit(x, y, 6, { alpha: 5 });
    const probe = await RegressionProbe.fit(x, moved, 6, { alpha: 5 });
    expect(probe.support).toEqual(plain.support);
    // The shifted target is rounded to 2⁻⁵³·1000.
    expectClose(
      probe.coefficients,
      plain.coefficients.map((w) => 4 * w),
      1e-11,
      "coefficient",
    );
    expectClose([probe.intercept], [4 * plain.intercept - 1000], 1e-11, "intercept");
    expectClose(probe.scores, plain.scores, 1e-11, "score");
  });

  it("F ranks as correlation does, and neither sees the order of the rows", async () => {
    const r = await RegressionProbe.fit(x, y, 12);
    const f = await RegressionProbe.fit(x, y, 12, { ranking: "f" });
    expect(f.support).toEqual(r.support);
    expectClose(
      f.scores,
      r.scores.map((s) => (598 * s * s) / (1 - s * s)),
      1e-9,
    );
    const order = new Random(3, "order").shuffle(Array.from({ length: 600 }, (_, i) => i));
    const shuffled = await RegressionProbe.fit(
      x.selectRows(order),
      order.map((i) => y[i]),
      12,
    );
    expect(shuffled.support).toEqual(r.support);
    expectClose(shuffled.coefficients, r.coefficients, 1e-11, "coefficient");
  });

  it("raw and preprocessed coefficients predict the same", async () => {
    for (const standardise of ["standard", "none", "tenth-deviation"] as const) {
      const probe = await RegressionProbe.fit(x, y, 5, { standardise });
      const raw = probe.rawCoefficients();
      const values = x.toFloat32();
      const want = Float64Array.from({ length: 600 }, (_, i) =>
        probe.support.reduce((sum, j, c) => sum + raw.coefficients[c] * values[i * 12 + j], raw.intercept),
      );
      expectClose(probe.predict(x), want, 1e-12, standardise);
      expect(probe.options.standardise).toBe(standardise);
    }
  });
});

describe("certificates", () => {
  /** Zᵀ(y − prediction) of a probe, and its coefficients. */
  function gradientOf(probe: RegressionProbe): { gradient: Float64Array; w: readonly number[] } {
    const predictions = probe.predict(x);
    const residual = y.map((value, i) => value - predictions[i]);
    const values = x.toFloat32();
    const gradient = Float64Array.from(probe.support, (j, c) => {
      let sum = 0;
      for (let i = 0; i < 600; i++)
        sum += ((values[i * 12 + j] - probe.center[c]) / probe.scale[c]) * residual[i];
      return sum;
    });
    return { gradient, w: probe.coefficients };
  }

  it("ridge: the gradient vanishes", async () => {
    for (const alpha of [1e-6, 1, 1e4]) {
      const probe = await RegressionProbe.fit(x, y, 12, { alpha });
      const { gradient, w } = gradientOf(probe);
      expectClose(
        gradient,
        w.map((value) => alpha * value),
        1e-8,
        "gradient",
      );
      expect(probe.convergence).toMatchObject({ converged: true });
    }
  });

  it("elastic net: the subgradient holds zero", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0.01, max: 2, noNaN: true }),
        fc.constantFrom(0, 0.2, 0.9, 1),
        async (alpha, l1Ratio) => {
          const probe = await RegressionProbe.fit(x, y, 12, { penalty: "elastic-net", alpha, l1Ratio });
          expect(probe.convergence.converged).toBe(true);
          const { gradient, w } = gradientOf(probe);
          // A gap of 1e-14·‖y‖²/2 leaves a gradient of √(2·L·gap), with L ≤ 12·600 + l2.
          const bound = Math.sqrt(1e-14 * 600 * 9 * (12 * 600 + 600 * alpha));
          for (const [c, value] of w.entries()) {
            const slope = gradient[c] - 600 * alpha * (1 - l1Ratio) * value;
            const l1 = 600 * alpha * l1Ratio;
            if (value === 0) expect(Math.abs(slope)).toBeLessThanOrEqual(l1 + bound);
            else expectClose([slope], [l1 * Math.sign(value)], bound, "slope");
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it("elastic net: columns that repeat or nearly repeat each other, and more of them than rows", async () => {
    const few = 60;
    const base = randomActivations(31, few, 5).toFloat32();
    const noise = normals(new Random(31, "copies"), few * 90);
    const near = Float32Array.from(
      { length: few * 90 },
      (_, at) => base[Math.floor(at / 90) * 5 + (at % 5)] + (at % 90 < 10 ? 0 : 0.02 * noise[at]),
    );
    const copies = new Activations(near, [few, 90]);
    const target = targetOf(copies, { 1: 1, 22: -0.7, 43: 0.4 }, 0.3);
    for (const [alpha, l1Ratio] of [
      [0.05, 1],
      [0.002, 1],
      [0.01, 0.9],
      [1e-4, 0.5],
    ]) {
      const options = { penalty: "elastic-net", alpha, l1Ratio } as const;
      const probe = await RegressionProbe.fit(copies, target, 90, options);
      expect(probe.convergence, JSON.stringify(options)).toMatchObject({ converged: true });
      // The optimum does not change when the columns without a coefficient are left out.
      const kept = probe.support.filter((_, c) => probe.coefficients[c] !== 0);
      const again = await RegressionProbe.fit(copies.gatherColumns(kept), target, kept.length, options);
      const gaps = probe.convergence.dualityGap + again.convergence.dualityGap;
      expectClose(
        [again.convergence.objective],
        [probe.convergence.objective],
        gaps + 1e-14 * probe.convergence.objective,
        "objective",
      );
    }
  });

  it("a fit that is cut short says so, and its gap bounds what is left", async () => {
    const options = { penalty: "elastic-net", alpha: 0.01, l1Ratio: 0.5 } as const;
    const best = await RegressionProbe.fit(x, y, 12, options);
    const cut = await RegressionProbe.fit(x, y, 12, { ...options, maxIterations: 1 });
    expect(cut.convergence).toMatchObject({ converged: false, iterations: 1 });
    const left = cut.convergence.objective - best.convergence.objective;
    expect(left).toBeGreaterThan(0);
    expect(cut.convergence.dualityGap).toBeGreaterThanOrEqual(left);
  });
});

describe("wide probes", () => {
  const wide = randomActivations(21, 80, 1100);
  const target = targetOf(wide, { 5: 1, 900: -1, 1099: 0.5 });
  const rowsOfWide = Float64Array.from({ length: 80 }, (_, i) => i);

  it("ridge without a Gram matrix finds what the dual problem finds", async () => {
    const alpha = 50;
    const probe = await RegressionProbe.fit(wide, target, 1100, { alpha });
    expect(probe.convergence.converged).toBe(true);
    expect(probe.convergence.iterations).toBeGreaterThan(1);
    // w = Zᵀa with (ZZᵀ + αI)·a = y − ȳ, so that the residual is α·a.
    const mean = target.reduce((sum, value) => sum + value / 80, 0);
    const predicted = probe.predict(wide);
    const values = wide.toFloat32();
    const dual = rowsOfWide.map((i) => (target[i] - predicted[i]) / alpha);
    const want = Float64Array.from(probe.support, (j, c) => {
      let sum = 0;
      for (let i = 0; i < 80; i++)
        sum += ((values[i * 1100 + j] - probe.center[c]) / probe.scale[c]) * dual[i];
      return sum;
    });
    // A gap of 1e-14·‖y‖² is ‖Zᵀr − αw‖²/α.
    const square = target.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    expectClose(probe.coefficients, want, Math.sqrt((1e-14 * square) / alpha), "coefficient");
  });

  it("elastic net without a Gram matrix finds what it finds with one", async () => {
    const options = { penalty: "elastic-net", alpha: 0.3, l1Ratio: 0.5 } as const;
    const probe = await RegressionProbe.fit(wide, target, 1100, options);
    expect(probe.convergence.converged).toBe(true);
    // Neurons without a coefficient may be left out: the optimum is the same.
    const kept = probe.support.filter((_, c) => probe.coefficients[c] !== 0);
    expect(kept.length).toBeLessThan(200);
    const small = await RegressionProbe.fit(wide.gatherColumns(kept), target, kept.length, options);
    const byNeuron = new Map(small.support.map((c, at) => [kept[c], small.coefficients[at]]));
    const got = probe.support.flatMap((j, c) => (byNeuron.has(j) ? [probe.coefficients[c]] : []));
    const want = probe.support.flatMap((j) => byNeuron.get(j) ?? []);
    // Strong convexity: n·λ₂/2·‖Δw‖² is at most the gap of 1e-14·‖y‖²/2, on either side.
    expectClose(got, want, 2 * Math.sqrt((1e-14 * 80 * 25) / (80 * 0.15)), "coefficient");
  });
});

describe("rankings", () => {
  it("take a function of the moments, and keep its name and signs", async () => {
    function covariance({ products, neurons }: TargetMoments, target: number): Float64Array {
      return products.slice(target * neurons, (target + 1) * neurons);
    }
    const probe = await RegressionProbe.fit(x, y, 12, { ranking: covariance });
    expect(probe.options.ranking).toBe("covariance");
    expect(probe.scores).toEqual([...probe.scores].sort((a, b) => Math.abs(b) - Math.abs(a)));
    expect(probe.scores[probe.support.indexOf(7)]).toBeLessThan(0);
    await expect(RegressionProbe.fit(x, y, 1, { ranking: () => new Float64Array(3) })).rejects.toThrow(
      withCode("shape"),
    );
    const nan = () => new Float64Array(12).fill(NaN);
    await expect(RegressionProbe.fit(x, y, 1, { ranking: nan })).rejects.toThrow(withCode("non-finite"));
  });

  it("mutual information finds what correlation cannot, among its candidates", async () => {
    const curved = x.toFloat32().filter((_, at) => at % 12 === 4);
    const mean = curved.reduce((sum, value) => sum + value / 600, 0);
    const square = Float64Array.from(curved, (value) => (value - mean) ** 2);
    const probe = await RegressionProbe.fit(x, square, 1, { ranking: "mutual-information" });
    expect(probe.support).toEqual([4]);
    expect(probe.options).toMatchObject({ prefilter: 12, neighbours: 3, seed: 0 });
    const few = await RegressionProbe.fit(x, square, 5, { ranking: "mutual-information", prefilter: 5 });
    const strong = await RegressionProbe.fit(x, square, 5);
    expect([...few.support].sort((a, b) => a - b)).toEqual([...strong.support].sort((a, b) => a - b));
    for (const ranking of ["mutual-information", "correlation", lowest] as const) {
      await expect(RegressionProbe.fit(x, square, 5, { ranking, prefilter: 4 })).rejects.toThrow(
        withCode("support-size"),
      );
    }
  });

  it("leaves every ranking only the neurons that the pre-filter keeps", async () => {
    const strong = await RegressionProbe.fit(x, y, 4);
    const own = await RegressionProbe.fit(x, y, 4, { ranking: lowest, prefilter: 4 });
    expect(own.support).toEqual([...strong.support].sort((a, b) => a - b));
    expect(own.options.prefilter).toBe(4);
    // Sizes that are not given go as far as there are neurons to choose from.
    const path = await RegressionProbe.path(x, y, undefined, { prefilter: 4 });
    expect(path.map(({ k }) => k)).toEqual([1, 2, 3, 4]);
  });

  it("a neuron that never varies comes last; equal ones by index", async () => {
    const values = x.toFloat32().slice();
    for (let i = 0; i < 600; i++) {
      values[i * 12] = 3;
      values[i * 12 + 8] = values[i * 12 + 7];
    }
    const probe = await RegressionProbe.fit(new Activations(values, [600, 12]), y, 12);
    expect(probe.support.slice(0, 2)).toEqual([7, 8]);
    expect(probe.support[11]).toBe(0);
    expect([probe.scores[11], probe.coefficients[11], probe.scale[11]]).toEqual([0, 0, 1]);
    // The penalty shares the weight among equals.
    expectClose([probe.coefficients[0]], [probe.coefficients[1]], 1e-12);
  });

  it("F has no value for two rows, and a neuron that determines the target has the largest", async () => {
    const two = { rows: [0, 1], ranking: "f" } as const;
    await expect(RegressionProbe.fit(x, y, 1, two)).rejects.toThrow(withCode("option"));
    const exact = Float64Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? 1 : -1));
    const probe = await RegressionProbe.fit(
      { data: Float32Array.from(exact), shape: [64, 1] },
      exact.map((value) => 2 * value),
      1,
      { ranking: "f" },
    );
    expect(probe.scores).toEqual([Number.MAX_VALUE]);
  });
});

describe("JSON", () => {
  it("comes back as the same probe", async () => {
    const all: RegressionOptions[] = [
      {},
      { penalty: "elastic-net" },
      { ranking: "mutual-information", seed: 5, prefilter: 8 },
      { prefilter: 8 },
    ];
    for (const options of all) {
      const provenance = { model: "m", hookPoint: "blocks.0.mlp.hook_post" };
      const probe = await RegressionProbe.fit(x, y, 3, { ...options, provenance });
      const read = await RegressionProbe.fromJSON(JSON.parse(JSON.stringify(probe)));
      expect(read).toEqual(probe);
      expect(read.predict(x)).toEqual(probe.predict(x));
      expect(read.provenance).toEqual({ backend: "cpu", ...provenance });
      expect(Object.isFrozen(read) && Object.isFrozen(read.coefficients)).toBe(true);
    }
  });

  it("is refused when a field is wrong", async () => {
    const json = (await RegressionProbe.fit(x, y, 2, { penalty: "elastic-net" })).toJSON();
    const wrong: Record<string, unknown>[] = [
      { schema: "sparseprobe/probe" },
      { version: 2 },
      { neurons: 0 },
      { support: [] },
      { support: [1, 1] },
      { support: [1, 12] },
      { scale: [1, 0] },
      { coefficients: [1] },
      { intercept: null },
      { target: 3 },
      { convergence: {} },
      { options: { ...json.options, penalty: "lasso" } },
      { options: { ...json.options, l1Ratio: 2 } },
      { options: { ...json.options, alpha: 0 } },
      { provenance: { backend: "abacus" } },
    ];
    for (const change of wrong) {
      await expect(RegressionProbe.fromJSON({ ...json, ...change })).rejects.toThrow(withCode("format"));
    }
    await expect(RegressionProbe.fromJSON(null)).rejects.toThrow(withCode("format"));
  });
});

describe("what is refused", () => {
  it.each([
    ["a target that does not vary", new Float64Array(600).fill(2), 1, {}, "one-class"],
    ["a target that is NaN", y.map((value, i) => (i === 9 ? NaN : value)), 1, {}, "non-finite"],
    ["a target that is infinite", y.map((value, i) => (i === 9 ? Infinity : value)), 1, {}, "non-finite"],
    ["a target too large to square", y.map((value) => 1e200 * value), 1, {}, "non-finite"],
    ["too few targets", y.subarray(1), 1, {}, "shape"],
    ["no targets at all", undefined as unknown as Float64Array, 1, {}, "shape"],
    ["k = 0", y, 0, {}, "support-size"],
    ["k above the number of neurons", y, 13, {}, "support-size"],
    ["no rows", y, 1, { rows: [] }, "empty-data"],
    ["one row", y, 1, { rows: [3] }, "one-class"],
    ["a row twice", y, 1, { rows: [3, 3] }, "shape"],
    ["a row that does not exist", y, 1, { rows: [600] }, "shape"],
    ["α = 0", y, 1, { alpha: 0 }, "option"],
    ["ρ above 1", y, 1, { l1Ratio: 1.5 }, "option"],
    ["a penalty that is not known", y, 1, { penalty: "lasso" as "ridge" }, "option"],
    ["a ranking that is not known", y, 1, { ranking: "mean-difference" as "f" }, "option"],
    ["a preprocessing that is not known", y, 1, { standardise: "z" as "none" }, "option"],
    ["a tolerance of 0", y, 1, { tolerance: 0 }, "option"],
    ["half a step", y, 1, { maxIterations: 0.5 }, "option"],
    ["no neighbours", y, 1, { neighbours: 0 }, "option"],
    ["a negative seed", y, 1, { ranking: "mutual-information", seed: -1 }, "option"],
  ] as const)("%s", async (_, target, k, options, code) => {
    await expect(RegressionProbe.fit(x, target, k, options)).rejects.toThrow(withCode(code));
  });

  it("activations that are not finite, and evaluation on others", async () => {
    const values = x.toFloat32().slice();
    values[5 * 12 + 3] = Infinity;
    const bad = new Activations(values, [600, 12]);
    await expect(RegressionProbe.fit(bad, y, 1)).rejects.toThrow(withCode("non-finite"));
    await expect(RegressionProbe.fitMany(x, {}, [1])).rejects.toThrow(withCode("empty-data"));
    const probe = await RegressionProbe.fit(x, y, 1);
    expect(() => probe.predict(randomActivations(1, 5, 11))).toThrow(withCode("shape"));
    expect(() => probe.evaluate(x, y.subarray(1))).toThrow(withCode("shape"));
    expect(() => probe.evaluate(x, y, { rows: [600] })).toThrow(withCode("shape"));
    expect(() => probe.evaluate(x, y, { rows: [] })).toThrow(withCode("empty-data"));
  });

  it("one target of many is reported, and the others are fitted", async () => {
    const flat = new Float64Array(600);
    const { probes, failures } = await RegressionProbe.fitMany(x, { flat, y, short: [1, 2] }, [1, 2]);
    expect(probes).toHaveLength(2);
    expect(failures.map(({ target, k, error }) => [target, k, error.code])).toEqual([
      ["flat", 1, "one-class"],
      ["flat", 2, "one-class"],
      ["short", 1, "shape"],
      ["short", 2, "shape"],
    ]);
    expect((await RegressionProbe.fitMany(x, { flat }, [1])).probes).toEqual([]);
  });
});

describe("a long call", () => {
  it("reports progress and stops on abort, at every stage", async () => {
    const seen: [number, number][] = [];
    await RegressionProbe.fitMany(x, { y, other: y }, [1, 2, 3], {
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen).toEqual(Array.from({ length: 6 }, (_, i) => [i + 1, 6]));
    const reason = new Error("enough");
    await expect(RegressionProbe.fit(x, y, 1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const stop = new AbortController();
    const blocks = inBlocks(x, 50);
    let served = 0;
    const source: ActivationBlocks = {
      ...blocks,
      *blocks() {
        for (const block of blocks.blocks() as Iterable<Activations>) {
          if (++served === 15) stop.abort(reason);
          yield block;
        }
      },
    };
    await expect(RegressionProbe.fit(source, y, 1, { signal: stop.signal })).rejects.toBe(reason);
    // The first pass takes 12 blocks.
    expect(served).toBe(15);
  });

  it("lets the event loop turn", async () => {
    const big = randomActivations(5, 4000, 300);
    const target = targetOf(big, { 1: 1 });
    let longest = 0;
    let last = performance.now();
    let over = false;
    const watch = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (!over) setImmediate(watch);
    };
    watch();
    await RegressionProbe.path(big, target, [64, 300], { penalty: "elastic-net", alpha: 0.01 });
    over = true;
    // 50 ms is the promise; a machine that is busy with other tests has its own pauses.
    expect(longest).toBeLessThan(250);
  });
});
