/** The SIMD kernels for every neuron alone, on data that they may trip over: against float64, counting, and themselves. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend, SingleNeuronOptions } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { sampledRows } from "../../src/backends/cpu/wasm/kernel-columns.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals, randomActivations, randomLabels } from "../support/random-data.ts";

const OPTIONS: SingleNeuronOptions = { C: 1, balanced: true, tolerance: 1e-10, maxIterations: 100 };

let reference: Backend;
let one: Backend;
let two: Backend;
beforeAll(() => {
  reference = createCpuBackend({ kernels: "reference" });
  one = createCpuBackend({ kernels: "simd" });
  two = createCpuBackend({ kernels: "simd", threads: 2, spawn: spawnWorker });
});
afterAll(() => {
  for (const backend of [reference, one, two]) backend.dispose();
});

const fit = async (backend: Backend, x: Activations, labels: LabelMatrix, options = OPTIONS) =>
  backend.fitSingleNeurons(await backend.upload(x), labels, options);
const roc = async (backend: Backend, x: Activations, labels: LabelMatrix) =>
  backend.neuronRoc(await backend.upload(x), labels);

/** A matrix of some columns. */
const matrix = (rows: number, columns: ((row: number) => number)[]): Activations =>
  new Activations(
    Float32Array.from({ length: rows * columns.length }, (_, at) =>
      columns[at % columns.length](Math.floor(at / columns.length)),
    ),
    [rows, columns.length],
  );

/** Each probe as near to the optimum as the two decrements say: the penalty gives w a curvature of 1 at least. */
async function expectOptimal(x: Activations, labels: LabelMatrix, options = OPTIONS): Promise<void> {
  const got = await fit(one, x, labels, options);
  const want = await fit(reference, x, labels, { ...options, tolerance: 1e-16 });
  expect([...got.converged]).toEqual([...want.converged]);
  const total = (f: number) => {
    const [negative, positive] = labels.counts(Math.floor(f / x.neurons));
    return 2 * options.C * (negative + positive);
  };
  const scale = (at: number) => Math.abs(options.scale?.[at] ?? 1);
  expectClose(
    got.coefficients,
    want.coefficients,
    (at) => (Math.sqrt(total(at) * got.newtonDecrements[at]) + 1e-8) * Math.max(1, scale(at)),
    "coefficients",
  );
  // A row's loss comes from a product of numbers near 1 in f32, so it is known to some 2⁻²⁴, not to its own share of that.
  expectClose(
    got.objectives,
    want.objectives,
    (at) => total(at) * (got.newtonDecrements[at] + 2 ** -22),
    "objectives",
  );
}

describe("samples of rows", () => {
  it("hold every labelled row once, classes apart, each sample ascending", () => {
    const random = new Random(1, "labels");
    for (const [n, rate] of [
      [10, 0.5],
      [5000, 0.01],
      [30_000, 0.4],
    ] as const) {
      const values = Uint8Array.from({ length: n }, () =>
        random.uniform() < 0.1 ? UNLABELLED : random.uniform() < rate ? 1 : 0,
      );
      values.set([0, 1]);
      const { rows, negatives, positives, samples } = sampledRows(values);
      expect(rows.length).toBe(negatives + positives);
      expect(new Set(rows).size).toBe(rows.length);
      expect(rows.subarray(0, negatives).every((i) => values[i] === 0)).toBe(true);
      expect(rows.subarray(negatives).every((i) => values[i] === 1)).toBe(true);
      expect(samples.at(-1)).toEqual([negatives, positives]);
      for (const [c, start] of [0, negatives].entries()) {
        let from = 0;
        for (const sample of samples) {
          const own = [...rows.subarray(start + from, start + sample[c])];
          expect(own).toEqual(own.toSorted((a, b) => a - b));
          from = sample[c];
        }
      }
    }
  });
});

describe("fits of single neurons", () => {
  it.each([3, 40, 700, 9000])("are optimal for %i rows of columns of many kinds", async (rows) => {
    const random = new Random(rows, "columns");
    const z = normals(random, rows);
    const y = Uint8Array.from(z, (v, i) => (i < 2 ? i : v + 2 * (random.uniform() - 0.5) > 0.4 ? 1 : 0));
    const x = matrix(rows, [
      (i) => z[i],
      (i) => z[i] * Math.exp(2 * z[i]),
      (i) => 1000 + z[i],
      (i) => 1e-6 * z[i],
      (i) => 1e6 * (z[i] + 3),
      () => 4.5,
      (i) => (y[i] === 1 ? 1 : -1) * (1 + (i % 7)),
      (i) => (i === 0 ? 1e4 : z[i]),
      (i) => (i % 97 === 0 ? 1 : 0),
      (i) => Math.max(0, z[i]),
      (i) => -z[i] + (i % 2),
    ]);
    const labels = new LabelMatrix(["f"], rows, y);
    for (const C of [1e-4, 1, 1e4]) await expectOptimal(x, labels, { ...OPTIONS, C, balanced: C !== 1 });
  });

  it("are optimal with one positive row, and with unlabelled ones", async () => {
    const x = randomActivations(2, 1200, 7);
    const values = new Uint8Array(3600).fill(UNLABELLED, 2400);
    values[700] = 1;
    values.set(randomLabels(2, x, 1, 0.5).values, 1200);
    values.set([0, 1, 0, 1, 1], 2400);
    await expectOptimal(x, new LabelMatrix(["one", "half", "five"], 1200, values));
  });

  it("have the same bits on one thread and on two", async () => {
    const x = randomActivations(3, 3000, 70);
    const labels = randomLabels(3, x, 2, 0.2);
    for (const tolerance of [1e-10, 1e-16]) {
      const options = { ...OPTIONS, tolerance };
      expect(await fit(two, x, labels, options)).toEqual(await fit(one, x, labels, options));
    }
  });

  it("leave neurons alone that are not finite, and the others notice nothing", async () => {
    const x = randomActivations(4, 400, 9);
    const labels = randomLabels(4, x, 2);
    labels.values[20] = UNLABELLED;
    const spoilt = new Activations(x.toFloat32().slice(), [400, 9]);
    spoilt.data[20 * 9 + 3] = NaN;
    spoilt.data[300 * 9 + 5] = -Infinity;
    const clean = await fit(one, x, labels);
    const got = await fit(one, spoilt, labels);
    for (let at = 0; at < 18; at++) {
      // Row 20 is labelled for the second feature alone.
      if (at === 5 || at === 14 || at === 12) {
        expect([got.coefficients[at], got.intercepts[at], got.objectives[at]]).toEqual([NaN, NaN, NaN]);
        expect([got.newtonDecrements[at], got.converged[at]]).toEqual([NaN, 0]);
      } else {
        expect(got.coefficients[at]).toBeCloseTo(clean.coefficients[at], 6);
        expect(got.converged[at]).toBe(1);
      }
    }
    const scale = new Float64Array(18).fill(1);
    scale[7] = NaN;
    const scaled = await fit(one, x, labels, { ...OPTIONS, scale });
    expect([...scaled.converged]).toEqual(Array.from({ length: 18 }, (_, at) => (at === 7 ? 0 : 1)));
  });

  it("read their own memory and copies of it alike", async () => {
    const x = randomActivations(5, 500, 33);
    const labels = randomLabels(5, x, 1);
    const own = await one.allocate(500, 33);
    own.data.set(x.data);
    expect(await fit(one, own, labels)).toEqual(await fit(one, x, labels));
    expect(await roc(one, own, labels)).toEqual(await roc(one, x, labels));
    await one.release(own);
  });
});

describe("ROC curves of single neurons", () => {
  it("are those of float64 sorting, whatever the values", async () => {
    const random = new Random(6, "columns");
    const rows = 5000;
    const z = normals(random, rows);
    const x = matrix(rows, [
      (i) => z[i],
      (i) => Math.round(3 * z[i]),
      (i) => Math.round(z[i]) * -0,
      (i) => z[i] * 10 ** (60 * (random.uniform() - 0.5)),
      (i) => (i % 3 === 0 ? 1e-45 : i % 3 === 1 ? 3e38 : z[i]),
      (i) => (i % 2 === 0 ? 1 + z[i] * 2e-7 : -1e-30),
      (i) => (i === 7 ? -1e30 : 1 + Math.abs(z[i]) * 1e-6),
      () => -2.5,
      (i) => (i === 9 ? NaN : z[i]),
      (i) => (i === 9 ? Infinity : z[i]),
    ]);
    const labels = new LabelMatrix(
      ["a", "b"],
      rows,
      Uint8Array.from({ length: 2 * rows }, (_, at) =>
        at % 11 === 0 ? UNLABELLED : z[at % rows] + 3 * (random.uniform() - 0.5) > 0.5 ? 1 : 0,
      ),
    );
    const want = await roc(reference, x, labels);
    expect(want.auc.map((area) => (Number.isNaN(area) ? 1 : 0)).reduce((a, b) => a + b)).toBe(4);
    expect(await roc(one, x, labels)).toEqual(want);
    expect(await roc(two, x, labels)).toEqual(want);
  });

  it("do not change with monotone maps, and turn over with the labels", async () => {
    const x = randomActivations(7, 900, 5);
    const labels = randomLabels(7, x, 2, 0.1);
    const plain = await roc(one, x, labels);
    const mapped = await roc(
      one,
      new Activations(
        x.toFloat32().map((v) => v * 8),
        [900, 5],
      ),
      labels,
    );
    expect(mapped.auc).toEqual(plain.auc);
    expect(mapped.threshold).toEqual(plain.threshold.map((t) => 8 * t));
    const flipped = new LabelMatrix(
      ["a", "b"],
      900,
      labels.values.map((label) => (label === UNLABELLED ? label : 1 - label)),
    );
    const turned = await roc(one, x, flipped);
    expectClose(
      turned.auc,
      plain.auc.map((area) => 1 - area),
      2 ** -52,
    );
    expect(turned.informedness).toEqual(plain.informedness.map((gain) => -gain));
  });

  it("count a million rows exactly", async () => {
    const n = 1_000_000;
    // 20 bits of a multiplicative hash: about as many values as rows, with ties.
    const values = Uint32Array.from({ length: n }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 12);
    const y = Uint8Array.from(values, (v, i) => (v + (i % 5) * 2e5 > 9e5 ? 1 : 0));
    const x = new Activations(Float32Array.from(values), [n, 1]);
    const labels = new LabelMatrix(["f"], n, y);
    const got = await roc(one, x, labels);
    expect(got).toEqual(await roc(reference, x, labels));
    expect(got.auc[0]).toBeGreaterThan(0.8);
  }, 30_000);
});
