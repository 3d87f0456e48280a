import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { SparseQuadratic } from "../../src/backends/cpu/reference/sparse-quadratic.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { Random } from "../../src/random.ts";
import { normals } from "../support/random-data.ts";

/** Columns that are made of five factors and a little noise. */
function correlatedColumns(rows: number, columns: number, noise: number): Float64Array[] {
  const random = new Random(7, "correlated");
  const factors = Array.from({ length: 5 }, () => normals(random, rows));
  return Array.from({ length: columns }, () => {
    const loadings = normals(random, 5);
    return normals(random, rows).map((own, i) =>
      factors.reduce((sum, factor, f) => sum + loadings[f] * factor[i], noise * own),
    );
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** Least squares of a target on columns and an intercept: Hessian and gradient at zero, times a weight. */
function leastSquares(columns: readonly Float64Array[], weight: number) {
  const rows = columns[0].length;
  const random = new Random(8, "target");
  const all = [...columns, new Float64Array(rows).fill(1)];
  const aim = normals(random, rows).map((own, i) => own + columns[0][i] - columns[1][i] + columns[2][i]);
  const m = all.length;
  const hessian = Float64Array.from({ length: m * m }, (_, at) => {
    return weight * dot(all[Math.floor(at / m)], all[at % m]);
  });
  return { m, hessian, gradient: Float64Array.from(all, (column) => -weight * dot(column, aim)) };
}

/** How far the worst optimality condition is off. */
function violation(slope: Float64Array, theta: Float64Array): number {
  return slope.reduce((worst, g, j) => {
    if (j === theta.length - 1) return Math.max(worst, Math.abs(g));
    return Math.max(worst, theta[j] === 0 ? Math.abs(g) - 1 : Math.abs(g + Math.sign(theta[j])));
  }, 0);
}

describe("a quadratic with an L1 penalty", () => {
  const none = new Pacer(undefined);

  // Eigenvalues from those of the factors, about 300·200, down to those of the noise: a condition of about 1e7.
  const { m, hessian, gradient } = leastSquares(correlatedColumns(300, 200, 0.01), 1000);

  it("is minimised on strongly correlated columns in a few linear systems' worth of sweeps", async () => {
    const quadratic = new SparseQuadratic(hessian.slice(), m);
    const { target, reached, sweeps } = await quadratic.minimise(gradient, new Float64Array(m), 1e-4, none);
    expect(reached).toBe(true);
    // Coordinate descent alone has not ended after 1000.
    expect(sweeps).toBeLessThan(500);
    const slope = gradient.map((g, j) => g + dot(hessian.subarray(j * m, (j + 1) * m), target));
    // Sums of 201 products as large as the gradient at zero, each rounded several times on the way.
    const rounding = 1e3 * Number.EPSILON * Math.max(...gradient.map(Math.abs)) * 10;
    // The last sweep moves each coordinate by less than the accuracy, and by that the others' slopes.
    expect(violation(slope, target)).toBeLessThan(1e-4 * m + rounding);
    expect(target.filter((value) => value !== 0).length).toBeGreaterThan(100);

    // Nearby, the same columns are in use: the factor is there, and few sweeps are left.
    const moved = gradient.map((g) => g * (1 + 1e-9));
    const again = await quadratic.minimise(
      moved.map((g, j) => g + slope[j] - gradient[j]),
      target,
      1e-4,
      none,
    );
    expect(again.reached).toBe(true);
    expect(again.sweeps).toBeLessThan(10);
  });

  it("is minimised where columns are the same, which have no linear system", async () => {
    const columns = correlatedColumns(60, 6, 1);
    const twice = leastSquares([...columns, ...columns], 1);
    const quadratic = new SparseQuadratic(twice.hessian.slice(), 13);
    const { target, reached } = await quadratic.minimise(twice.gradient, new Float64Array(13), 1e-9, none);
    expect(reached).toBe(true);
    const slope = twice.gradient.map((g, j) => g + dot(twice.hessian.subarray(j * 13, (j + 1) * 13), target));
    expect(violation(slope, target)).toBeLessThan(1e-7);
  });
});

describe("an elastic net on strongly correlated columns", () => {
  it("meets its optimality conditions in all columns", async () => {
    const [rows, d, C, l1Ratio] = [400, 200, 50, 0.1];
    const columns = correlatedColumns(rows, d, 0.05);
    const random = new Random(9, "labels");
    const x = new Float32Array(rows * d);
    for (const [j, column] of columns.entries()) for (let i = 0; i < rows; i++) x[i * d + j] = column[i];
    const y = Uint8Array.from({ length: rows }, (_, i) =>
      columns[0][i] - columns[1][i] + normals(random, 1)[0] > 0 ? 1 : 0,
    );
    const backend = createCpuBackend();
    const [fit] = await backend.fitLogisticL1(
      await backend.upload(new Activations(x, [rows, d])),
      new LabelMatrix(["feature"], rows, y),
      [{ feature: 0, C, l1Ratio }],
      { balanced: false, tolerance: 1e-12, maxIterations: 200 },
    );
    expect(fit.convergence.converged).toBe(true);
    const w = new Float64Array(d);
    for (const [at, j] of fit.support.entries()) w[j] = fit.coefficients[at];
    const slope = new Float64Array(d + 1);
    for (let i = 0; i < rows; i++) {
      const row = x.subarray(i * d, (i + 1) * d);
      const s = y[i] === 1 ? 1 : -1;
      const z = row.reduce((sum, value, j) => sum + value * w[j], fit.intercept);
      const r = (-C * s) / (1 + Math.exp(s * z));
      for (let j = 0; j < d; j++) slope[j] += r * row[j];
      slope[d] += r;
    }
    // In units of the L1 penalty. A gap of 1e-12·C·rows leaves √(2·gap·curvature), of columns' curvature of C·rows·‖x‖²/4.
    for (let j = 0; j < d; j++) slope[j] = (slope[j] + (1 - l1Ratio) * w[j]) / l1Ratio;
    slope[d] /= l1Ratio;
    expect(violation(slope, Float64Array.from([...w, 0]))).toBeLessThan(0.05);
  });
});
