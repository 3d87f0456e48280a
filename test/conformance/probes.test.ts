/** Awkward data through `SparseProbe` on every backend. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";
import { IMPLEMENTATIONS } from "./implementations.ts";

// gpu.js refuses a matrix with any value that is not finite, which some cases here need.
const BACKENDS = Object.entries(IMPLEMENTATIONS).filter(([name]) => !name.startsWith("gpu.js"));
const STORAGE: readonly StorageType[] = ["f32", "f16", "u8"];

const reference = createCpuBackend({ kernels: "reference" });

/** The same matrix with some columns replaced. */
function withColumns(
  x: Activations,
  columns: Readonly<Record<number, (row: number) => number>>,
): Activations {
  const data = x.toFloat32().map((value, at) => {
    const column = columns[at % x.neurons] as ((row: number) => number) | undefined;
    return column ? column(Math.floor(at / x.neurons)) : value;
  });
  return new Activations(data, [x.rows, x.neurons]);
}

describe.each(BACKENDS)("probes on the %s backend", (_, { open, unit }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open();
  });
  afterAll(() => backend.dispose());

  /**
   * Fits are certified in float64, so two backends differ by what their moments differ: the standardisation, whose
   * relative error of 16·n·u a probe follows to first order, and 1e-8, the root of the tolerance, by which either may
   * have stopped early.
   */
  function expectSame(got: SparseProbe, want: SparseProbe, x: Activations, rows: number): void {
    expect(got.convergence.converged).toBe(true);
    const decisions = want.decisionFunction(x);
    const size = Math.max(1, ...decisions.map(Math.abs));
    expectClose(got.decisionFunction(x), decisions, (16 * (rows + 16) * unit + 1e-8) * size, "decision");
  }

  it("copies of a neuron share the weight, and constant neurons get none", async () => {
    const base = randomActivations(31, 90, 8);
    const values = base.toFloat32();
    const x = withColumns(base, { 2: (i) => values[i * 8 + 5], 3: () => 0, 6: () => 1000.1 });
    const labels = randomLabels(31, base, 6).of(5);
    const probe = await SparseProbe.fit(x, Array.from(labels), 8, { backend });
    const weight = (neuron: number) => probe.coefficients[probe.support.indexOf(neuron)];
    expect(weight(5)).toBeGreaterThan(0.1);
    expect(Math.abs(weight(2) - weight(5))).toBeLessThan(1e-7 * weight(5));
    // Ties have the lower index first.
    expect(probe.support.indexOf(2)).toBe(probe.support.indexOf(5) - 1);
    for (const neuron of [3, 6]) {
      // A mean that is off by u·1000 leaves a column of that constant, which the free intercept takes over.
      expect(Math.abs(weight(neuron))).toBeLessThanOrEqual(unit * 1000.1 * 90 * 2);
      expect(probe.scale[probe.support.indexOf(neuron)]).toBe(1);
    }
    expectSame(probe, await SparseProbe.fit(x, Array.from(labels), 8, { backend: reference }), x, 90);
  });

  it("adaptive thresholding and the dense probe find what the reference finds", async () => {
    const x = randomActivations(38, 110, 30);
    const labels = Array.from(randomLabels(38, x, 1).of(0));
    const [got, want] = await Promise.all(
      [backend, reference].map((on) =>
        SparseProbe.adaptive(x, labels, [2, 6], { schedule: [20, 6, 2], backend: on }),
      ),
    );
    for (const [p, probe] of got.entries()) {
      expect(probe.support).toEqual(want[p].support);
      expectSame(probe, want[p], x, 110);
    }
    const dense = await SparseProbe.dense(x, labels, { backend });
    expectSame(dense, await SparseProbe.dense(x, labels, { backend: reference }), x, 110);
  });

  it("one positive row is enough", async () => {
    const x = randomActivations(32, 70, 12);
    const labels = Array.from({ length: 70 }, (__, i) => i === 41);
    for (const classWeight of ["balanced", "none"] as const) {
      const options = { classWeight, backend };
      const probe = await SparseProbe.fit(x, labels, 4, options);
      expectSame(probe, await SparseProbe.fit(x, labels, 4, { classWeight, backend: reference }), x, 70);
    }
  });

  it("fewer rows than neurons in the support", async () => {
    const x = randomActivations(33, 5, 40);
    const labels = [0, 1, 0, 1, 1];
    const probe = await SparseProbe.fit(x, labels, 40, { backend });
    expect(probe.convergence.separated).toBe(true);
    expectSame(probe, await SparseProbe.fit(x, labels, 40, { backend: reference }), x, 5);
  });

  it.each(STORAGE)("blocks of rows give the probes of the whole matrix: %s", async (dtype) => {
    const whole = randomActivations(34, 130, 20).toStorage(dtype);
    const labels = randomLabels(34, whole, 3, 0.2);
    const source: ActivationBlocks = {
      rows: 130,
      neurons: 20,
      *blocks() {
        for (const [start, end] of [
          [0, 1],
          [1, 64],
          [64, 65],
          [65, 130],
        ])
          yield whole.slice(start, end);
      },
    };
    const want = await SparseProbe.fitMany(whole, labels, [1, 6], { backend });
    const got = await SparseProbe.fitMany(source, labels, [1, 6], { backend });
    expect(got.probes.map((probe) => probe.support)).toEqual(want.probes.map((probe) => probe.support));
    for (const [p, probe] of got.probes.entries()) expectSame(probe, want.probes[p], whole, 130);
  });

  it("rows without a label count no more than rows that are not there, whatever they hold", async () => {
    const all = randomActivations(35, 100, 10);
    const kept = Uint32Array.from({ length: 75 }, (__, i) => Math.floor(i / 3) * 4 + (i % 3));
    const y = randomLabels(35, all, 1).of(0);
    const holes = withColumns(all, {});
    const data = holes.data as Float32Array;
    for (let i = 3; i < 100; i += 4) data.fill(i % 8 === 3 ? NaN : Infinity, i * 10, (i + 1) * 10);
    const masked = y.map((label, i) => (i % 4 === 3 ? UNLABELLED : label));
    const got = await SparseProbe.fit(holes, new LabelMatrix(["f"], 100, masked), 4, { backend });
    const few = all.selectRows(kept);
    const want = await SparseProbe.fit(
      few,
      Array.from(kept, (i) => y[i]),
      4,
      { backend },
    );
    expect(got.support).toEqual(want.support);
    expectSame(got, want, few, 100);
  });

  it("a row that is not finite fails the features that label it, and no other", async () => {
    const x = randomActivations(37, 60, 6);
    const data = x.toFloat32().slice();
    data[7 * 6 + 2] = NaN;
    const values = randomLabels(37, x, 2).values.slice();
    values[7] = UNLABELLED;
    const labels = new LabelMatrix(["without", "with"], 60, values);
    const { probes, failures } = await SparseProbe.fitMany(new Activations(data, [60, 6]), labels, [2], {
      backend,
    });
    expect(probes.map(({ feature }) => feature)).toEqual(["without"]);
    expect(failures.map(({ feature, error }) => [feature, error.code])).toEqual([["with", "non-finite"]]);
    expect(failures[0].error.message).toMatch(/Neuron 2 /);
  });

  it("a feature fails alone, and neither it nor the order of features moves the others", async () => {
    const x = randomActivations(36, 80, 9);
    const values = randomLabels(36, x, 3, 0.1).values.slice();
    values.fill(0, 80, 160);
    const { probes, failures } = await SparseProbe.fitMany(
      x,
      new LabelMatrix(["a", "one", "c"], 80, values),
      [3, 1, 3],
      { backend },
    );
    expect(failures.map(({ feature, k, error }) => [feature, k, error.code])).toEqual(
      [3, 1, 3].map((k) => ["one", k, "one-class"]),
    );
    expect(probes.map(({ feature, k }) => [feature, k])).toEqual(
      ["a", "c"].flatMap((feature) => [3, 1, 3].map((k) => [feature, k])),
    );
    const swapped = Uint8Array.from([...values.subarray(160), ...values.subarray(0, 80)]);
    const others = await SparseProbe.fitMany(x, new LabelMatrix(["c", "a"], 80, swapped), [3, 1, 3], {
      backend,
    });
    for (const [p, probe] of probes.entries()) {
      const other = others.probes[(p + 3) % 6];
      expect([other.feature, other.support]).toEqual([probe.feature, probe.support]);
      expectSame(probe, other, x, 80);
    }
  });

  it("fits at the same time do not disturb each other", async () => {
    const x = randomActivations(37, 120, 16);
    const labels = randomLabels(37, x, 4);
    const run = (f: number) =>
      SparseProbe.path(x, Array.from(labels.of(f)), [1, 5, 9], { backend }).then((path) =>
        path.map((probe) => probe.toJSON()),
      );
    const apart = [];
    for (let f = 0; f < 4; f++) apart.push(await run(f));
    expect(await Promise.all([0, 1, 2, 3].map(run))).toEqual(apart);
  });
});
