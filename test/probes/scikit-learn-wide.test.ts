/**
 * Probes on all of 1,000 neurons against scikit-learn 1.5.2: L2 by newton-cholesky at tol 1e-12, L1 by saga at tol 1e-10
 * (test/fixtures/make-sklearn-fixtures.py).
 */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { pooledMoments } from "../../src/data/class-moments.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import fixture from "../fixtures/sklearn/wide.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

const { rows, neurons, labels } = fixture;

/** The codes of `wide_codes` in the script: a linear congruential generator, and three factors that columns share. */
function wideCodes(): Uint8Array {
  let state = 1;
  const draw = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  };
  const codes = new Uint8Array(rows * neurons);
  for (let i = 0; i < rows; i++) {
    const factors = [draw(), draw(), draw()];
    for (let j = 0; j < neurons; j++) {
      const shared = factors.reduce((sum, factor, r) => sum + factor * ((j >> r) & 1), 0);
      codes[i * neurons + j] = Math.floor((draw() + shared) / 4);
    }
  }
  return codes;
}

const x = new Activations(wideCodes(), [rows, neurons], {
  dtype: "u8",
  code: {
    scale: Float32Array.from({ length: neurons }, (_, j) => 2 ** ((j % 3) - 5)),
    offset: Float32Array.from({ length: neurons }, (_, j) => (j % 7) - 3),
  },
});

describe.each(["simd", "reference"] as const)("probes on all neurons equal scikit-learn's, %s", (kernels) => {
  it.each(fixture.dense)("L2, C = $C", async ({ C, coefficients, intercept }) => {
    const backend = createCpuBackend({ kernels });
    const probe = await SparseProbe.fit(x, labels, neurons, { C, backend });
    expect(probe.convergence.converged).toBe(true);
    // Both stop at a gradient or decrement of 1e-12 and less; coefficients are then within its root of the curvature's scale.
    const size = Math.max(...coefficients.map(Math.abs));
    const got = new Float64Array(neurons);
    for (const [at, j] of probe.support.entries()) got[j] = probe.coefficients[at];
    expectClose(got, coefficients, 1e-6 * size, "coefficient");
    expectClose([probe.intercept], [intercept], 1e-6 * Math.max(1, Math.abs(intercept)), "intercept");
  });

  it("L1, from the smallest C up", async () => {
    const backend = createCpuBackend({ kernels });
    const device = await backend.upload(x);
    const matrix = new LabelMatrix(["f"], rows, Uint8Array.from(labels));
    const { mean: center, sd: scale } = pooledMoments(await backend.classMoments(device, matrix), 0);
    const problems = fixture.lasso.map(({ C }) => ({ feature: 0, C, center, scale })).reverse();
    const options = { balanced: true, tolerance: 1e-12, maxIterations: 200 };
    const fits = (await backend.fitLogisticL1(device, matrix, problems, options)).reverse();
    for (const [p, fit] of fits.entries()) {
      const want = fixture.lasso[p];
      expect(fit.convergence.converged).toBe(true);
      // The fixture's optimum lies within our certified gap of ours from below.
      expect(want.objective).toBeGreaterThan(fit.convergence.objective - fit.convergence.dualityGap - 1e-12);
      expect(want.objective).toBeLessThan(fit.convergence.objective * (1 + 1e-8));
      expect([...fit.support]).toEqual(want.support);
      // saga's rule is a change of 1e-10 of the largest coefficient in an epoch; it creeps on for many more.
      const size = Math.max(...want.coefficients.map(Math.abs));
      expectClose(fit.coefficients, want.coefficients, 1e-5 * size, "coefficient");
      expectClose([fit.intercept], [want.intercept], 1e-5, "intercept");
    }
  });
});
