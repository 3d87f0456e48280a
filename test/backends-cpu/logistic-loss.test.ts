import { describe, expect, it } from "vitest";
import {
  classWeights,
  LogisticLoss,
  logisticLossOfMargin,
} from "../../src/backends/cpu/reference/logistic-loss.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals } from "../support/random-data.ts";

/** A small problem with a centre, a scale, weights and a row of no weight. */
function example(rows: number, k: number): { loss: LogisticLoss; theta: Float64Array } {
  const random = new Random(rows * 100 + k, "loss");
  const columns = Array.from({ length: k }, () => Float32Array.from(normals(random, rows)));
  const labels = Uint8Array.from({ length: rows }, () => random.below(2));
  labels[0] = 255;
  const weights = classWeights(labels, true).map((w) => w * (0.5 + random.uniform()));
  const center = normals(random, k);
  const scale = normals(random, k).map((v) => 0.5 + v * v);
  return {
    loss: new LogisticLoss({ columns, labels, weights, C: 0.7, center, scale }),
    theta: normals(random, k + 1),
  };
}

/** Shapes around the blocking by 4 columns and by row tiles. */
const SHAPES = [
  [1, 1],
  [7, 2],
  [40, 3],
  [40, 4],
  [33, 5],
  [530, 7],
  [600, 9],
  [70, 66],
] as const;

describe("the probe's objective", () => {
  it.each(SHAPES)("is its formula, %i rows × %i columns", (rows, k) => {
    const { loss, theta } = example(rows, k);
    const { columns, labels, weights, C, center, scale } = loss.data;
    let want = 0;
    for (let j = 0; j < k; j++) want += theta[j] ** 2 / 2;
    for (let i = 0; i < rows; i++) {
      let z = theta[k];
      for (let j = 0; j < k; j++) z += theta[j] * ((columns[j][i] - center![j]) / scale![j]);
      want += C * weights[i] * Math.log(1 + Math.exp(labels[i] === 1 ? -z : z));
    }
    expectClose([loss.value(theta, loss.decision(theta))], [want], 1e-12 * want);
  });

  it.each(SHAPES)("has the gradient and Hessian of finite differences, %i rows × %i columns", (rows, k) => {
    const { loss, theta } = example(rows, k);
    const z = loss.decision(theta);
    const gradient = loss.gradient(theta, z);
    const hessian = loss.hessian(loss.curvature(z));
    const m = k + 1;
    // Central differences: an error of h²·f‴/6 from the formula and ε·f/h from rounding.
    const h = 1e-5;
    const size = loss.value(theta, z) + 100 * rows;
    for (let j = 0; j < m; j++) {
      const up = theta.map((t, at) => (at === j ? t + h : t));
      const down = theta.map((t, at) => (at === j ? t - h : t));
      const slope = (loss.value(up, loss.decision(up)) - loss.value(down, loss.decision(down))) / (2 * h);
      expectClose([gradient[j]], [slope], 10 * size * h * h + (size * 1e-15) / h, `gradient ${j}`);
      const above = loss.gradient(up, loss.decision(up));
      const below = loss.gradient(down, loss.decision(down));
      for (let r = j; r < m; r++) {
        const curve = (above[r] - below[r]) / (2 * h);
        expectClose(
          [hessian[r * m + j]],
          [curve],
          10 * size * h * h + (size * 1e-15) / h,
          `hessian ${r},${j}`,
        );
      }
    }
  });

  it.each(SHAPES)("multiplies by the Hessian without forming it, %i rows × %i columns", (rows, k) => {
    const { loss, theta } = example(rows, k);
    const curvature = loss.curvature(loss.decision(theta));
    const hessian = loss.hessian(curvature);
    const v = normals(new Random(1), k + 1);
    const m = k + 1;
    const want = Array.from({ length: m }, (_, r) =>
      v.reduce((sum, value, c) => sum + value * hessian[r >= c ? r * m + c : c * m + r], 0),
    );
    expectClose(loss.hessianProduct(curvature, v), want, 1e-11 * (1 + Math.max(...want.map(Math.abs))));
  });

  it("is finite at any margin", () => {
    expect(logisticLossOfMargin(1000)).toBe(0);
    expect(logisticLossOfMargin(-1000)).toBe(1000);
    expect(logisticLossOfMargin(0)).toBe(Math.LN2);
    expect(logisticLossOfMargin(50)).toBeCloseTo(Math.exp(-50), 30);
    const { loss, theta } = example(7, 2);
    const far = theta.map((t) => t * 1e6);
    const z = loss.decision(far);
    expect(Number.isFinite(loss.value(far, z))).toBe(true);
    expect(loss.gradient(far, z).every(Number.isFinite)).toBe(true);
    expect(loss.curvature(z).every((c) => c >= 0)).toBe(true);
  });

  it("weights classes by n/(2·n_class) and unlabelled rows by 0", () => {
    expect([...classWeights(Uint8Array.of(1, 0, 0, 255, 0), true)]).toEqual([2, 4 / 6, 4 / 6, 0, 4 / 6]);
    expect([...classWeights(Uint8Array.of(1, 0, 0, 255, 0), false)]).toEqual([1, 1, 1, 0, 1]);
  });
});
