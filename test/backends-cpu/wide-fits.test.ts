/** Fits over many columns: the kernels' sums, threads, where X lies, and the L1 solver against searches by brute force. */
import { afterAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { gatherAsColumns } from "../../src/backends/cpu/reference/gather-columns.ts";
import { classWeights, LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { fitNewton } from "../../src/backends/cpu/reference/newton.ts";
import { ReferenceL1Design } from "../../src/backends/cpu/reference/l1-design.ts";
import { isWide } from "../../src/backends/cpu/reference/wide-objective.ts";
import { DenseObjective } from "../../src/backends/cpu/simd/dense-objective.ts";
import { KernelL1Design } from "../../src/backends/cpu/simd/l1-design.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals, randomActivations, randomLabels } from "../support/random-data.ts";

const FIT = { C: 1, balanced: true, tolerance: 1e-16, maxIterations: 100 };
const L1 = { balanced: true, tolerance: 1e-10, maxIterations: 200 };
const UNIT = 2 ** -24;

/** Labelled rows, their labels and their weights, negative for positive rows. */
function rowsOf(labels: LabelMatrix, C: number) {
  const y = labels.of(0);
  const rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
  const picked = Uint8Array.from(rows, (i) => y[i]);
  const weights = classWeights(picked, true);
  const signed = weights.map((w, i) => (picked[i] === 1 ? -C * w : C * w));
  return { rows, labels: picked, weights, signed };
}

describe("sums over the rows in the kernels", async () => {
  const pool = await KernelPool.open(supportedVariant()!);
  const cases: [StorageType, number, number][] = [
    ["f32", 2, 1],
    ["f32", 5, 3],
    ["f32", 131, 517],
    ["f32", 1100, 40],
    ["f16", 67, 45],
    ["u8", 67, 46],
  ];

  it.each(cases)("of %s, %i rows × %i columns equal float64 loops", async (dtype, n, d) => {
    const x = randomActivations(n, n, d).toStorage(dtype);
    const labels = new LabelMatrix(
      ["f"],
      n,
      Uint8Array.from({ length: n }, (_, i) => (n > 10 && i % 7 === 3 ? UNLABELLED : i % 2)),
    );
    const { rows, labels: y, weights, signed } = rowsOf(labels, 0.7);
    const center = Float64Array.from({ length: d }, (_, j) => 0.1 * (j % 9) - 0.4);
    const scale = Float64Array.from({ length: d }, (_, j) => 0.5 + 0.1 * (j % 11));
    const all = Uint32Array.from({ length: d }, (_, j) => j);
    const columns = await gatherAsColumns(x, all, rows, new Pacer(undefined));
    const loss = new LogisticLoss({ columns, labels: y, weights, C: 0.7, center, scale });
    const random = normals(new Random(5, "theta"), 2 * d + 2);
    const theta = random.slice(0, d + 1).map((v) => (0.3 * v) / Math.sqrt(d));
    const direction = random.slice(d + 1);
    const z = loss.decision(theta);
    const want = loss.gradient(theta, z);
    const wantProduct = loss.hessianProduct(loss.curvature(z), direction);
    // Sizes of the terms that are added; their roundings cannot move a sum further than that, times γ.
    const size = (by: (i: number) => number) =>
      Float64Array.from({ length: d + 1 }, (_, j) => {
        let sum = 1;
        for (let i = 0; i < rows.length; i++) {
          const value = j < d ? (Math.abs(columns[j][i]) + Math.abs(center[j])) / scale[j] : 1;
          sum += by(i) * value;
        }
        return sum;
      });
    const reach = (v: Float64Array) => (i: number) => {
      let sum = Math.abs(v[d]);
      for (let j = 0; j < d; j++)
        sum += ((Math.abs(columns[j][i]) + Math.abs(center[j])) * Math.abs(v[j])) / scale[j];
      return sum;
    };
    const objective = new DenseObjective(pool, x, rows, signed, center, scale);
    try {
      const gradient = new Float64Array(d + 1);
      for (const exact of [true, false]) {
        // A decision value is d terms and moves the residual by a quarter of its error; a column adds blocks of 512 rows.
        const gamma = (exact ? 2 ** -53 : UNIT) * (d + 520);
        const value = await objective.evaluate(theta, gradient, exact);
        const weight = Math.max(...signed.map(Math.abs));
        const sizes = size((i) => weight * (1 + reach(theta)(i) / 4));
        expectClose(gradient, want, (j) => gamma * sizes[j], exact ? "exact gradient" : "gradient");
        expectClose([value], [loss.value(theta, z)], gamma * rows.length * sizes[d]);
        expect(objective.separated).toBe(loss.separates(z));
        const product = new Float64Array(d + 1);
        await objective.hessianProduct(direction, product);
        const products = size((i) => weight * reach(direction)(i));
        expectClose(product, wantProduct, (j) => 4 * UNIT * (d + 520) * products[j], "product");
      }
    } finally {
      objective.close();
    }
  });

  it("of a working set equal float64 loops, also after columns came and went", async () => {
    const x = randomActivations(3, 1300, 60);
    const labels = randomLabels(3, x, 1, 0.1);
    const { rows, signed } = rowsOf(labels, 1);
    const center = Float64Array.from({ length: 60 }, (_, j) => 0.1 * (j % 9) - 0.4);
    const scale = Float64Array.from({ length: 60 }, (_, j) => 0.5 + 0.1 * (j % 11));
    const used = pool.memory.used;
    const kernels = new KernelL1Design(pool, x, rows, signed, center, scale);
    const loops = new ReferenceL1Design(x, rows, signed, center, scale, new Pacer(undefined));
    for (const columns of [[], [7], [3, 7, 9, 11, 20, 21, 30, 31, 40, 41], [3, 9, 59]]) {
      for (const design of [kernels, loops]) await design.gather(Uint32Array.from(columns));
      const theta = Float64Array.from({ length: columns.length + 1 }, (_, j) => 0.2 * Math.sin(j + 1));
      if (columns.length > 2) theta[1] = 0;
      const [got, want] = [await kernels.evaluate(theta), await loops.evaluate(theta)];
      // Sums of about 1,200 terms of size 10 in float64, and exp and log to a few units.
      const bound = 1200 * 10 * 2 ** -50 * 100;
      expectClose([got.loss, got.curvature], [want.loss, want.curvature], bound, "loss");
      expectClose(got.gradient, want.gradient, bound, "gradient");
      expectClose(kernels.residuals(), loops.residuals(), 1e-13, "residual");
      expectClose(await kernels.correlations(true), await loops.correlations(), bound, "correlation");
      // γ of blocks of 512 rows, on terms of size 25·10.
      const rough = UNIT * 530 * 1200 * 250 * 0.05;
      expectClose(await kernels.correlations(false), await loops.correlations(), rough);
      expectClose(await kernels.hessian(), await loops.hessian(), rough, "Hessian");
    }
    kernels.close();
    expect(pool.memory.used).toBe(used);
  });
});

describe("which fits are wide", () => {
  it("those with many columns, and those whose columns would outgrow the kernels' memory", () => {
    expect(isWide(513, 10)).toBe(true);
    expect(isWide(512, 2 ** 18)).toBe(false);
    // 500 columns of a million rows: gathered and centred they would take 4 GB, all that 32-bit addresses reach.
    expect(isWide(500, 1_000_000)).toBe(true);
    expect(isWide(64, 1_000_000)).toBe(false);
  });
});

describe("wide fits on threads", () => {
  const one = createCpuBackend({ kernels: "simd" });
  const two = createCpuBackend({ kernels: "simd", threads: 2, spawn: spawnWorker });
  afterAll(() => two.dispose());

  it("have the same bits on one and on two, in place and copied", async () => {
    const host = randomActivations(41, 900, 700);
    const labels = randomLabels(41, host, 1, 0.1);
    const support = Uint32Array.from({ length: 700 }, (_, j) => 699 - j);
    const fitAll = async (backend: typeof one, acts: Activations) => {
      const x = await backend.upload(acts);
      const [dense] = await backend.fitLogistic(x, labels, [{ feature: 0, support }], FIT);
      const [lasso] = await backend.fitLogisticL1(x, labels, [{ feature: 0, C: 0.1 }], L1);
      const net = { feature: 0, C: 2, l1Ratio: 0.3, support: support.slice(100, 350), start: lasso };
      const [elastic] = await backend.fitLogisticL1(x, labels, [net], L1);
      return JSON.stringify(
        [dense, lasso, elastic].map((fit) => ({ ...fit, coefficients: [...fit.coefficients] })),
      );
    };
    const inPlace = async (backend: typeof one) => {
      const acts = await backend.allocate(900, 700);
      acts.data.set(host.data);
      const result = await fitAll(backend, acts);
      await backend.release(acts);
      return result;
    };
    expect(await fitAll(two, host)).toBe(await fitAll(one, host));
    expect(await inPlace(two)).toBe(await inPlace(one));
  });

  it("let the event loop turn, and stop in the middle", async () => {
    const host = randomActivations(42, 1500, 1200);
    const labels = randomLabels(42, host, 1);
    const support = Uint32Array.from({ length: 1200 }, (_, j) => j);
    const x = await one.upload(host);
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    try {
      const controller = new AbortController();
      const options = { ...FIT, C: 100, tolerance: 1e-30, signal: controller.signal };
      const fit = one.fitLogistic(x, labels, [{ feature: 0, support }], options);
      setTimeout(() => controller.abort(new Error("later")), 60);
      await expect(fit).rejects.toThrow("later");
      expect(turns).toBeGreaterThan(0);
    } finally {
      clearInterval(timer);
    }
  });

  it("agree with Newton's method where both can run", async () => {
    const x = randomActivations(43, 300, 600);
    const labels = randomLabels(43, x, 1);
    const wide = Uint32Array.from({ length: 513 }, (_, j) => j);
    const { rows, labels: y, weights } = rowsOf(labels, 1);
    const columns = await gatherAsColumns(x, wide, rows, new Pacer(undefined));
    const loss = new LogisticLoss({ columns, labels: y, weights, C: 1 });
    const [fit] = await one.fitLogistic(await one.upload(x), labels, [{ feature: 0, support: wide }], FIT);
    const theta = Float64Array.from([...fit.coefficients, fit.intercept]);
    const want = fitNewton(loss);
    // Decrements of 1e-16 leave about 1e-8 of the coefficients' scale, more where the Hessian is flat.
    const size = Math.max(...want.theta.map(Math.abs));
    expectClose(theta, want.theta, 1e-6 * size, "θ");
    expectClose(
      [fit.convergence.objective],
      [want.convergence.objective],
      1e-12 * want.convergence.objective,
    );
    expectClose(
      [fit.convergence.gradientNorm],
      [Math.hypot(...loss.gradient(theta, loss.decision(theta)))],
      1e-9,
    );
  });
});

describe("fits with an L1 penalty", () => {
  const backend = createCpuBackend();

  it.each([2, 3])("are not beaten by any point of a grid over %i neurons", async (d) => {
    const x = randomActivations(50 + d, 40, d);
    const labels = randomLabels(50 + d, x, 1, 0.1);
    const C = 0.2;
    const [fit] = await backend.fitLogisticL1(await backend.upload(x), labels, [{ feature: 0, C }], L1);
    const { rows, labels: y, weights } = rowsOf(labels, 1);
    const at = (w: readonly number[], b: number): number => {
      let sum = w.reduce((size, v) => size + Math.abs(v), 0);
      for (const [r, i] of rows.entries()) {
        let z = b;
        for (let j = 0; j < d; j++) z += w[j] * x.data[i * d + j];
        sum += C * weights[r] * Math.log1p(Math.exp(y[r] === 1 ? -z : z));
      }
      return sum;
    };
    const best = new Array<number>(d).fill(0);
    for (const [c, j] of fit.support.entries()) best[j] = fit.coefficients[c];
    const { objective, dualityGap } = fit.convergence;
    expect(at(best, fit.intercept)).toBeCloseTo(objective, 12);
    const steps = [-1, -0.1, -0.01, -1e-3, -1e-4, 0, 1e-4, 1e-3, 0.01, 0.1, 1];
    const visit = (w: number[], j: number): void => {
      if (j < d) for (const s of steps) visit([...w, best[j] + s], j + 1);
      else {
        for (const s of steps) {
          expect(at(w, fit.intercept + s)).toBeGreaterThan(objective - dualityGap - 1e-12);
        }
      }
    };
    visit([], 0);
  });

  it("do not change with the rows' order, doubled rows or a shift of the columns, and follow a scale", async () => {
    const x = randomActivations(60, 200, 50);
    const labels = randomLabels(60, x, 1);
    const d = 50;
    const fitTo = async (
      acts: Activations,
      y: Uint8Array,
      C: number,
      scale?: Float64Array,
      balanced = true,
    ) =>
      (
        await backend.fitLogisticL1(
          await backend.upload(acts),
          new LabelMatrix(["f"], acts.rows, y),
          [{ feature: 0, C, ...(scale && { scale }) }],
          { ...L1, balanced },
        )
      )[0];
    const want = await fitTo(x, labels.values, 0.1);
    const order = Array.from({ length: 200 }, (_, i) => (i * 37) % 200);
    const pick = (rows: number[]) => Uint8Array.from(rows, (i) => labels.values[i]);
    const moved = await fitTo(x.selectRows(order), pick(order), 0.1);
    const plain = await fitTo(x, labels.values, 0.1, undefined, false);
    const twice = [...order, ...order];
    const doubled = await fitTo(x.selectRows(twice), pick(twice), 0.05, undefined, false);
    // Powers of two shift and scale floats without rounding where the grid allows it; here to a few units.
    const shifted = new Activations(
      (x.data as Float32Array).map((v) => v + 64),
      [200, d],
    );
    const far = await fitTo(shifted, labels.values, 0.1);
    const stretched = new Activations(
      (x.data as Float32Array).map((v) => 4 * v),
      [200, d],
    );
    const scaled = await fitTo(stretched, labels.values, 0.1, new Float64Array(d).fill(4));
    for (const [name, fit, other, bound] of [
      ["order", moved, want, 1e-5],
      ["doubled", doubled, plain, 1e-5],
      ["shifted", far, want, 1e-3],
      ["scaled", scaled, want, 1e-5],
    ] as const) {
      expect([...fit.support], name).toEqual([...other.support]);
      expectClose(fit.coefficients, other.coefficients, bound, name);
    }
  });

  it("of a path are those of each C alone", async () => {
    const x = randomActivations(61, 150, 400);
    const labels = randomLabels(61, x, 1);
    const device = await backend.upload(x);
    const Cs = [0.5, 0.02, 0.1];
    const together = await backend.fitLogisticL1(
      device,
      labels,
      Cs.map((C) => ({ feature: 0, C })),
      L1,
    );
    for (const [p, C] of Cs.entries()) {
      const [alone] = await backend.fitLogisticL1(device, labels, [{ feature: 0, C }], L1);
      expect([...together[p].support]).toEqual([...alone.support]);
      expectClose(together[p].coefficients, alone.coefficients, 1e-4);
    }
  });

  describe.each(["simd", "reference"] as const)("with the %s kernels", (kernels) => {
    const either = createCpuBackend({ kernels });

    it.each([
      [20, 1],
      [20, 0.5],
      [300, 1],
      [300, 0.5],
    ])("leave out neurons of %i that are infinite in one row, l1Ratio %s", async (d, l1Ratio) => {
      const x = randomActivations(62, 80, d);
      const labels = randomLabels(62, x, 1);
      const spoilt = Float32Array.from(x.data, (v, at) => ((at % d) % 3 === 0 && at < d ? Infinity : v));
      const kept = Array.from({ length: d }, (_, j) => j).filter((j) => j % 3 !== 0);
      const problem = { feature: 0, C: 0.3, l1Ratio };
      const fitTo = async (acts: Activations) =>
        (await either.fitLogisticL1(await either.upload(acts), labels, [problem], L1))[0];
      const got = await fitTo(new Activations(spoilt, [80, d]));
      const want = await fitTo(x.gatherColumns(kept));
      expect([...got.support]).toEqual(Array.from(want.support, (c) => kept[c]));
      expectClose(got.coefficients, want.coefficients, 1e-4);
      expect(got.convergence.converged).toBe(true);
    });

    it("end where columns are too large for a step to be made", async () => {
      const x = randomActivations(63, 80, 300);
      const labels = randomLabels(63, x, 1);
      const huge = new Activations(
        Float32Array.from(x.data, (v, at) => (at < 300 ? 3e37 * v : v)),
        [80, 300],
      );
      const options = { ...L1, maxIterations: 20 };
      const device = await either.upload(huge);
      const [fit] = await either.fitLogisticL1(device, labels, [{ feature: 0, C: 1 }], options);
      expect(fit.convergence.converged).toBe(false);
      expect(Number.isFinite(fit.convergence.objective)).toBe(true);
      expect(fit.coefficients.every(Number.isFinite)).toBe(true);
    });
  });
});
