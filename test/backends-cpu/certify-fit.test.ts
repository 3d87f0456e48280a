/** The certificate must hold whatever the GPU hands over: exact, near, wrong or broken. */
import { describe, expect, it } from "vitest";
import { choleskyFactor } from "../../src/backends/cpu/reference/cholesky.ts";
import { classWeights, LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { fitNewton } from "../../src/backends/cpu/reference/newton.ts";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { certifyFit } from "../../src/backends/cpu/reference/certify-fit.ts";
import { certify } from "../support/certify.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const OPTIONS = { tolerance: 1e-16, maxIterations: 100 };
const ROWS = 200;

/** A problem whose columns j ≥ 1 differ from column 0 by `apart` of themselves. */
function problem(k: number, apart: number) {
  const x = randomActivations(k, ROWS, k);
  const y = randomLabels(k, x, 1).of(0);
  const columns = Array.from({ length: k }, (_, j) =>
    Float32Array.from({ length: ROWS }, (_row, i) =>
      j === 0 ? x.data[i * k] : (1 - apart) * x.data[i * k] + apart * x.data[i * k + j],
    ),
  );
  const loss = new LogisticLoss({ columns, labels: y, weights: classWeights(y, true), C: 1 });
  const { theta } = fitNewton(loss, { tolerance: 1e-24 });
  const factor = loss.hessian(loss.curvature(loss.decision(theta)));
  choleskyFactor(factor, k + 1);
  return { loss, theta, factor: Float32Array.from(factor), k };
}

const cases = [problem(1, 1), problem(5, 1), problem(5, 1e-3), problem(20, 1e-4)];

/** What a GPU might return, and what it must not be able to pass off as converged. */
const handedOver: Record<
  string,
  (c: (typeof cases)[number]) => { theta: Float64Array; factor: Float32Array }
> = {
  "a result to float32": ({ theta, factor }) => ({ theta: theta.map(Math.fround), factor }),
  "a result to three digits": ({ theta, factor }) => ({
    theta: theta.map((t, j) => t * (1 + 1e-3 * Math.cos(j))),
    factor,
  }),
  "a start at zero": ({ theta, factor }) => ({ theta: theta.map(() => 0), factor }),
  "a factor that overflowed": ({ theta, factor }) => ({
    theta: theta.map((t) => t + 0.1),
    factor: factor.map(() => Infinity),
  }),
  "a factor that is a thousand times too large": ({ theta, factor }) => ({
    theta: theta.map((t) => t + 1e-6),
    factor: factor.map((l) => 1000 * l),
  }),
  "a factor of the identity": ({ theta, factor, k }) => ({
    theta: theta.map((t) => t + 1e-6),
    factor: factor.map((_, at) => (at % (k + 2) === 0 ? 1 : 0)),
  }),
  "nothing but NaN": ({ theta, factor }) => ({ theta: theta.map(() => NaN), factor: factor.map(() => NaN) }),
};

describe.each(Object.entries(handedOver))("from %s", (_, hand) => {
  it.each(cases.map((c) => [c.k, c] as const))(
    "k = %i ends at the optimum, and says so truly",
    async (_k, c) => {
      const { theta, factor } = hand(c);
      const { theta: got, convergence } = await certifyFit(
        c.loss,
        theta,
        factor,
        3,
        OPTIONS,
        new Pacer(undefined),
      );
      expect(convergence.converged).toBe(true);
      // A factorisation in float64 has the last word on the decrement.
      const exact = certify(c.loss, got);
      expect(exact.newtonDecrement).toBeLessThanOrEqual(1e-16);
      expect(exact.objective).toBeCloseTo(convergence.objective, 9);
      // ‖θ − θ*‖ ≤ λ = √(2·C·Σω·decrement), the penalty bounding the Hessian from below; the intercept has no penalty.
      const bound = 2 * Math.sqrt(2 * c.loss.totalWeight * 1e-16);
      expectClose(got.subarray(0, c.k), c.theta.subarray(0, c.k), bound);
    },
  );
});

it("takes no step beyond the caller's limit", async () => {
  const c = cases[1];
  const start = c.theta.map(() => 0);
  const { convergence } = await certifyFit(
    c.loss,
    start,
    c.factor,
    2,
    { ...OPTIONS, maxIterations: 3 },
    new Pacer(undefined),
  );
  expect(convergence.iterations).toBeLessThanOrEqual(3);
  expect(convergence.converged).toBe(false);
});
