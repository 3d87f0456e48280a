/** The SIMD kernels' fits against the float64 reference, where float32 steps on parts of the rows could go wrong. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend, LogisticFit, LogisticOptions, LogisticProblem } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { classWeights, LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { certify } from "../support/certify.ts";
import { expectClose } from "../support/expect-close.ts";

const FIT: LogisticOptions = { C: 1, balanced: true, tolerance: 1e-16, maxIterations: 100 };

/** A fast generator: a million numbers and more are needed here (Vigna's splitmix32). */
function uniforms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

interface Made {
  readonly x: Activations;
  readonly labels: LabelMatrix;
}

/** Rows sorted by label, as a concatenation of two corpora is; the label shifts neuron j by `gain`/(j + 1). */
function make(rows: number, d: number, rate: number, gain: number, seed = 1): Made {
  const next = uniforms(seed);
  const normal = (): number => (next() + next() + next() + next() - 2) * Math.sqrt(3);
  const y = Uint8Array.from({ length: rows }, (_, i) => (i < rate * rows ? 1 : 0));
  const values = new Float32Array(rows * d);
  for (let i = 0; i < rows; i++) {
    const common = normal();
    for (let j = 0; j < d; j++) {
      values[i * d + j] = (normal() + 0.4 * common + (y[i] * gain) / (j + 1)) * (1 + (j % 3));
    }
  }
  return { x: new Activations(values, [rows, d]), labels: new LabelMatrix(["f"], rows, y) };
}

function changed({ x, labels }: Made, change: (value: number, i: number, j: number) => number): Made {
  const d = x.neurons;
  const values = Float32Array.from(x.data, (v, at) => change(v, Math.floor(at / d), at % d));
  return { x: new Activations(values, [x.rows, d]), labels };
}

const first = (k: number): LogisticProblem => ({
  feature: 0,
  support: Uint32Array.from({ length: k }, (_, j) => j),
});

const CASES: Record<string, { made: () => Made; ks: number[]; options?: Partial<LogisticOptions> }> = {
  "two rows": { made: () => make(2, 3, 0.5, 1), ks: [1, 3] },
  "two positives": { made: () => make(3000, 12, 2 / 3000, 2), ks: [1, 2, 12] },
  "two positives among many rows": { made: () => make(20_000, 8, 1e-4, 2), ks: [1, 8] },
  "one positive in a hundred": { made: () => make(20_000, 24, 0.01, 1), ks: [3, 24] },
  "unbalanced weights": { made: () => make(9000, 10, 0.05, 1), ks: [1, 10], options: { balanced: false } },
  "separable rows": { made: () => make(600, 10, 0.5, 14), ks: [1, 4, 10] },
  "separable rows and hardly a penalty": {
    made: () => make(600, 10, 0.5, 14),
    ks: [1, 4, 10],
    options: { C: 1e4 },
  },
  "nearly separable rows": { made: () => make(12_000, 40, 0.4, 5.5), ks: [1, 2, 8, 40] },
  "nearly separable rows and hardly a penalty": {
    made: () => make(12_000, 16, 0.4, 6),
    ks: [2, 16],
    options: { C: 1e4 },
  },
  "a strong penalty": { made: () => make(9000, 20, 0.3, 1), ks: [1, 20], options: { C: 1e-4 } },
  "more columns than rows": { made: () => make(60, 130, 0.5, 1), ks: [100, 130] },
  "a constant column and copies of one": {
    made: () => {
      const base = make(9000, 6, 0.3, 1);
      return changed(base, (v, i, j) => (j === 1 ? 7 : j === 3 ? base.x.data[6 * i + 2] : v));
    },
    ks: [2, 4, 6],
  },
  "columns far from zero": {
    made: () => changed(make(9000, 6, 0.3, 1), (v, _, j) => v + 1000 * (j % 2)),
    ks: [1, 2, 6],
  },
  "columns of very different sizes": {
    made: () => changed(make(9000, 6, 0.3, 1), (v, _, j) => v * 10 ** (2 * j - 5)),
    ks: [2, 6],
    options: { C: 100 },
  },
  "a neuron that is active in few rows": {
    made: () => changed(make(20_000, 12, 0.3, 1), (v, i, j) => (j < 3 && i % 1009 !== j ? 0 : v)),
    ks: [1, 3, 12],
  },
  "a few columns of many rows": { made: () => make(20_000, 9, 0.2, 1.5), ks: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
  "rows far on the wrong side": {
    made: () => changed(make(9000, 3, 0.3, 2), (v, i, j) => (i < 2 && j === 0 ? -150 : v)),
    ks: [1, 2, 3],
  },
  "a size that is no multiple of anything": { made: () => make(8321, 67, 0.37, 1), ks: [66, 67] },
};

const THREADS = [1, 2];

describe.each(THREADS)("logistic fits with %i threads", (threads) => {
  let backend: Backend;
  beforeAll(() => {
    backend = createCpuBackend({ kernels: "simd", threads, spawn: spawnWorker });
  });
  afterAll(() => backend.dispose());
  const fit = async ({ x, labels }: Made, problems: readonly LogisticProblem[], options = FIT) =>
    backend.fitLogistic(await backend.upload(x), labels, problems, options);

  it.each(Object.entries(CASES))("of %s are optimal, and say so truly", async (_, { made, ks, options }) => {
    const data = made();
    for (const tolerance of [1e-10, 1e-16]) {
      const all = { ...FIT, ...options, tolerance };
      const fits = await fit(data, ks.map(first), all);
      for (const [at, k] of ks.entries()) assertOptimal(data, first(k), all, fits[at]);
    }
  });

  it("keep their own centre and scale", async () => {
    const data = make(9000, 5, 0.3, 1);
    const center = Float64Array.of(3, -2, 0.5, 0, 11);
    const scale = Float64Array.of(2, 0.5, -1, 30, 1e-2);
    const problems = [
      { ...first(5), center, scale },
      { ...first(3), center: center.slice(0, 3) },
      { ...first(3), scale: scale.slice(0, 3) },
      first(3),
    ];
    const fits = await fit(data, problems);
    for (const [p, problem] of problems.entries()) assertOptimal(data, problem, FIT, fits[p]);
  });

  it("leave unlabelled rows out, and tell label sets apart", async () => {
    const { x, labels } = make(700, 6, 0.4, 1);
    const values = new Uint8Array(1400);
    values.set(labels.values);
    for (let i = 0; i < 700; i++) values[700 + i] = i % 3 === 0 ? UNLABELLED : i % 2;
    const both = new LabelMatrix(["f", "g"], 700, values);
    const problems = [0, 1, 0, 1].map((feature, at) => ({ ...first(2 + at), feature }));
    const fits = await fit({ x, labels: both }, problems);
    for (const [p, problem] of problems.entries()) assertOptimal({ x, labels: both }, problem, FIT, fits[p]);
  });

  it.each(["f16", "u8"] as const)("are those of the decoded values of %s", async (dtype) => {
    const { x, labels } = make(1000, 6, 0.4, 1);
    const stored = x.toStorage(dtype);
    const decoded = { x: new Activations(stored.toFloat32(), [1000, 6]), labels };
    const [got] = await fit({ x: stored, labels }, [first(6)]);
    assertOptimal(decoded, first(6), FIT, got);
  });

  it("fail alone where a column is not finite", async () => {
    const data = make(300, 4, 0.4, 1);
    const values = Float32Array.from(data.x.data);
    values[4 * 17 + 2] = NaN;
    const problems = [first(2), first(3), { feature: 0, support: Uint32Array.of(3) }];
    const fits = await fit({ x: new Activations(values, [300, 4]), labels: data.labels }, problems);
    expect(fits.map(({ convergence }) => convergence.converged)).toEqual([true, false, true]);
    assertOptimal(data, problems[0], FIT, fits[0]);
  });

  it.each([NaN, Infinity])("fail alone where a center is %s", async (center) => {
    const data = make(300, 4, 0.4, 1);
    const problems = [first(2), { ...first(2), center: Float64Array.of(0, center) }];
    const fits = await fit(data, problems);
    expect(fits.map(({ convergence }) => convergence.converged)).toEqual([true, false]);
    expect(fits[1].convergence.objective).toBeNaN();
    assertOptimal(data, problems[0], FIT, fits[0]);
  });

  it("of few parameters, which keep more than somewhat wider ones, have room beside them", async () => {
    const data = make(20_000, 9, 0.2, 1.5);
    const alone = await Promise.all([8, 9].map((k) => fit(data, [first(k)])));
    const together = await fit(
      data,
      Array.from({ length: 80 }, (_, at) => first(at % 2 === 0 ? 9 : 8)),
    );
    for (const [at, got] of together.entries()) expect(got).toEqual(alone[at % 2 === 0 ? 1 : 0][0]);
  });

  it("of more columns than rows, far apart, are optimal where they say so", async () => {
    for (const [rows, k, C] of [
      [3, 80, 1e4],
      [12, 66, 1e6],
      [30, 73, 1e6],
      [39, 79, 1e5],
    ]) {
      const options = { ...FIT, C, tolerance: 1e-8 };
      const data = make(rows, k, 0.3, 2, rows);
      const [got] = await fit(data, [first(k)], options);
      assertOptimal(data, first(k), options, got);
    }
  });

  it("spread over rows are as good as in one piece", async () => {
    const data = make(70_000, 12, 0.3, 1);
    const problems = [first(12), first(11)];
    const fits = await fit(data, problems);
    for (const [p, problem] of problems.entries()) assertOptimal(data, problem, FIT, fits[p]);
  });

  it("stop within one item, and count what is done", async () => {
    const data = make(70_000, 12, 0.3, 1);
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error("enough")), 20);
    const many = new Array<LogisticProblem>(200).fill(first(12));
    await expect(fit(data, many, { ...FIT, signal: controller.signal })).rejects.toThrow("enough");
    const seen: number[] = [];
    await fit(make(100, 12, 0.3, 1), many, { ...FIT, onProgress: (done) => seen.push(done) });
    expect(seen.at(-1)).toBe(200);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
});

it("do not depend on the number of threads", async () => {
  const data = make(9000, 80, 0.3, 1);
  const large = make(70_000, 12, 0.3, 1);
  const problems = Array.from({ length: 30 }, (_, at) => first(1 + at * 2));
  const results: LogisticFit[][] = [];
  for (const threads of [1, 2, 3]) {
    const backend = createCpuBackend({ kernels: "simd", threads, spawn: spawnWorker });
    const fits = await backend.fitLogistic(await backend.upload(data.x), data.labels, problems, FIT);
    fits.push(...(await backend.fitLogistic(await backend.upload(large.x), large.labels, [first(12)], FIT)));
    results.push(fits);
    backend.dispose();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

/** Holds a fit to the certificate that float64 computes for it. */
function assertOptimal(
  { x, labels }: Made,
  { feature, support, center, scale }: LogisticProblem,
  { C, balanced, tolerance }: LogisticOptions,
  got: LogisticFit,
): void {
  const kept = Array.from(labels.of(feature).keys()).filter((i) => labels.of(feature)[i] !== UNLABELLED);
  const y = Uint8Array.from(kept, (i) => labels.of(feature)[i]);
  const columns = Array.from(support, (j) => Float32Array.from(kept, (i) => x.data[i * x.neurons + j]));
  const loss = new LogisticLoss({ columns, labels: y, weights: classWeights(y, balanced), C, center, scale });
  const want = certify(loss, Float64Array.of(...got.coefficients, got.intercept));
  const { convergence } = got;
  expect(convergence.converged).toBe(true);
  expect(convergence.newtonDecrement).toBeLessThanOrEqual(tolerance);
  // The kernels' estimate comes from a Hessian near by and is asked to be half the tolerance.
  expect(want.newtonDecrement).toBeLessThanOrEqual(tolerance);
  expect(convergence.separated).toBe(want.separated);
  // n non-negative terms, each with the relative error of its exponential: that of z, a sum of k + 1 products.
  const spread = (i: number): number =>
    columns.reduce(
      (sum, column, j) =>
        sum +
        (Math.abs(column[i]) + Math.abs(center?.[j] ?? 0)) *
          Math.abs(got.coefficients[j] / (scale?.[j] ?? 1)),
      Math.abs(got.intercept),
    );
  let widest = 0;
  for (let i = 0; i < kept.length; i++) widest = Math.max(widest, spread(i));
  const unit = Number.EPSILON;
  // The loss is the logarithm of a product of factors 1 + e, each known to ε.
  const noise = (kept.length + 64 + (support.length + 2) * widest) * unit;
  const heaviest = C * Math.max(...classWeights(y, balanced));
  const ofObjective = noise * want.objective + kept.length * unit * heaviest;
  expectClose([convergence.objective], [want.objective], ofObjective, "objective");
  // Sums of n terms of size C·ω·|x̃| at most.
  const size = columns.reduce(
    (sum, column, j) =>
      sum +
      column.reduce((total, v) => total + Math.abs((v - (center?.[j] ?? 0)) / (scale?.[j] ?? 1)), 0) ** 2,
    kept.length ** 2,
  );
  const allowed = noise * heaviest * Math.sqrt(size);
  expectClose([convergence.gradientNorm], [want.gradientNorm], allowed, "gradient norm");
}
