import { describe, expect, it } from "vitest";
import { choleskyFactor, choleskySolve } from "../../src/backends/cpu/reference/cholesky.ts";
import { classWeights, LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { fitNewton, newtonSteps } from "../../src/backends/cpu/reference/newton.ts";
import { certify } from "../support/certify.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals } from "../support/random-data.ts";

function problem(rows: number, k: number, options: { C?: number; factor?: number; seed?: number } = {}) {
  const random = new Random(options.seed ?? 1, "newton");
  const columns = Array.from({ length: k }, () =>
    Float32Array.from(normals(random, rows), (v) => v * (options.factor ?? 1)),
  );
  const labels = Uint8Array.from({ length: rows }, (_, i) =>
    columns[0][i] / (options.factor ?? 1) + random.uniform() * 2 - 1 > 0.2 ? 1 : 0,
  );
  return new LogisticLoss({ columns, labels, weights: classWeights(labels, true), C: options.C ?? 1 });
}

describe("Newton", () => {
  it("reaches a gradient of rounding size, far below the tolerance", () => {
    for (const k of [1, 2, 8, 40, 130]) {
      const loss = problem(400, k);
      const { theta, convergence } = fitNewton(loss);
      expect(convergence.converged).toBe(true);
      expect(convergence.newtonDecrement).toBeLessThan(1e-20);
      // A gradient of sums of 400 terms of size C·ω·|x| below 10.
      expect(convergence.gradientNorm).toBeLessThan(400 * 10 * Number.EPSILON * Math.sqrt(k + 1) * 4);
      const z = loss.decision(theta);
      expect(convergence.objective).toBe(loss.value(theta, z));
    }
  });

  it("pauses within a step, so that an event loop never waits for a whole Hessian", () => {
    const [rows, k] = [4096, 128];
    const steps = newtonSteps(problem(rows, k), { maxIterations: 1 });
    let pauses = 0;
    while (!steps.next().done) pauses++;
    // A Hessian of n·k²/2 multiplications is cut into tiles of 2¹⁵·k/2 at most; two are computed, or one and products.
    expect(pauses).toBeGreaterThanOrEqual((rows * k) / 2 ** 15);
  });

  it("gives the same minimum from any start, and none is lower near by", () => {
    const loss = problem(150, 6);
    const want = fitNewton(loss);
    const random = new Random(2);
    for (let trial = 0; trial < 5; trial++) {
      const start = normals(random, 7).map((v) => 3 * v);
      const got = fitNewton(loss, { start });
      expectClose(got.theta, want.theta, 1e-10);
      const near = want.theta.map((t) => t + 0.01 * (random.uniform() - 0.5));
      expect(loss.value(near, loss.decision(near))).toBeGreaterThan(want.convergence.objective);
    }
  });

  it("measures convergence without a scale", () => {
    for (const factor of [60, 1e-3, 1e5]) {
      for (const C of [1e-4, 1, 1e4]) {
        const { convergence } = fitNewton(problem(200, 5, { factor, C }));
        expect(convergence.converged).toBe(true);
        expect(convergence.iterations).toBeLessThan(60);
      }
    }
    // Columns twice as large with coefficients half as large are the problem with C four times as large.
    const base = problem(200, 3).data;
    const theta = Float64Array.of(0.1, 0.2, 0.3, 0.1);
    const strong = certify(new LogisticLoss({ ...base, C: 4 }), theta).newtonDecrement;
    const wide = certify(
      new LogisticLoss({ ...base, columns: base.columns.map((column) => column.map((v) => 2 * v)) }),
      theta.map((t, j) => (j < 3 ? t / 2 : t)),
    ).newtonDecrement;
    expectClose([wide], [strong], 1e-12 * strong);
  });

  it("estimates the loss still to be gained", () => {
    const loss = problem(300, 4);
    const best = fitNewton(loss);
    const theta = best.theta.map((t) => t + 1e-4);
    const { newtonDecrement, objective, converged } = certify(loss, theta);
    expect(converged).toBe(false);
    // Exact for a quadratic; the cubic term at a distance of 1e-4 is far below 1 %.
    const gained = (objective - best.convergence.objective) / loss.totalWeight;
    expectClose([newtonDecrement], [gained], 0.01 * gained);
  });

  it("polishes a float32 result to float64 with a float32 factor, in few steps", () => {
    const loss = problem(500, 60);
    const best = fitNewton(loss);
    const rough = Float64Array.from(best.theta, (t) => Math.fround(t * (1 + 1e-5)));
    const factor = loss.hessian(loss.curvature(loss.decision(rough)));
    choleskyFactor(factor, 61);
    for (const preconditioner of [undefined, factor, Float32Array.from(factor)]) {
      const got = fitNewton(loss, { start: rough, ...(preconditioner && { preconditioner }) });
      expect(got.convergence.iterations).toBeLessThanOrEqual(2);
      expect(got.convergence.converged).toBe(true);
      expectClose(got.theta, best.theta, 1e-10);
      const exact = certify(loss, rough).newtonDecrement;
      const cheap = certify(loss, rough, preconditioner ? { preconditioner } : {}).newtonDecrement;
      expectClose([cheap], [exact], 0.01 * exact);
    }
  });

  it("survives a factor that has nothing to do with the problem", () => {
    const loss = problem(300, 30);
    const wrong = new Float32Array(31 * 31);
    for (let r = 0; r < 31; r++) wrong[r * 31 + r] = r % 2 ? 1e-3 : 1e4;
    const got = fitNewton(loss, { preconditioner: wrong });
    expectClose(got.theta, fitNewton(loss).theta, 1e-10);
    const nan = new Float32Array(31 * 31).fill(NaN);
    expectClose(fitNewton(loss, { preconditioner: nan }).theta, got.theta, 1e-10);
  });

  it("keeps separable problems finite and says so", () => {
    const columns = [Float32Array.of(-2, -1, 1, 2)];
    const labels = Uint8Array.of(0, 0, 1, 1);
    for (const C of [1, 1e3, 1e8]) {
      const loss = new LogisticLoss({ columns, labels, weights: classWeights(labels, true), C });
      const { theta, convergence } = fitNewton(loss);
      expect(convergence.separated).toBe(true);
      expect(convergence.converged).toBe(true);
      expect(theta.every(Number.isFinite)).toBe(true);
    }
  });

  it("fits copies of one column, and a constant one, without trouble", () => {
    const base = problem(100, 1).data;
    const columns = [base.columns[0], base.columns[0], new Float32Array(100).fill(3)];
    const { theta, convergence } = fitNewton(new LogisticLoss({ ...base, columns }));
    expect(convergence.converged).toBe(true);
    expect(theta[0]).toBeCloseTo(theta[1], 10);
    expect(theta[2]).toBeCloseTo(0, 6);
  });

  it("solves more columns than rows", () => {
    const loss = problem(40, 90);
    const { convergence } = fitNewton(loss);
    expect(convergence.converged).toBe(true);
    expect(convergence.separated).toBe(true);
  });
});

describe("Cholesky", () => {
  it.each([1, 2, 3, 7, 40])("solves a system of %i", (m) => {
    const random = new Random(m);
    const b = normals(random, m * m);
    const a = new Float64Array(m * m);
    for (let r = 0; r < m; r++) {
      for (let c = 0; c < m; c++) {
        a[r * m + c] = r === c ? 1 : 0;
        for (let p = 0; p < m; p++) a[r * m + c] += b[r * m + p] * b[c * m + p];
      }
    }
    const x = normals(random, m);
    const rhs = Float64Array.from({ length: m }, (_, r) =>
      x.reduce((sum, v, c) => sum + a[r * m + c] * v, 0),
    );
    const factor = a.slice();
    expect(choleskyFactor(factor, m)).toBe(0);
    // Backward error m·ε·‖A‖ times a condition number below 10³ here.
    expectClose(choleskySolve(factor, m, rhs), x, m * 1e-11);
  });

  it("raises pivots that rounding has lost", () => {
    const factor = Float64Array.of(1, 0, 1, 1);
    expect(choleskyFactor(factor, 2)).toBe(1);
    expect(factor.every(Number.isFinite)).toBe(true);
    expect(factor[3]).toBeGreaterThan(0);
    const zero = new Float64Array(1);
    expect(choleskyFactor(zero, 1)).toBe(1);
    expect(zero[0]).toBeGreaterThan(0);
  });
});
