/**
 * Elastic nets and adaptive thresholding against scikit-learn 1.7.2, saga at tol 1e-13, and adaptive thresholding as a dozen
 * lines of Python (test/fixtures/make-selection-fixtures.py).
 */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { pooledMoments } from "../../src/data/class-moments.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import fixture from "../fixtures/sklearn/selection.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

const { rows, neurons, labels, schedule, adaptive } = fixture;
const x = new Activations(
  Float32Array.from(fixture.codes, (code) => code / 32),
  [rows, neurons],
);
const ks = adaptive.map(({ k }) => k);

describe.each(["simd", "reference"] as const)("selection on the %s kernels", (kernels) => {
  const backend = createCpuBackend({ kernels });

  it.each(fixture.elasticNet)("elastic net, C = $C, l1Ratio = $l1Ratio", async (want) => {
    const { C, l1Ratio, balanced } = want;
    const device = await backend.upload(x);
    const matrix = new LabelMatrix(["f"], rows, Uint8Array.from(labels));
    const { mean: center, sd: scale } = pooledMoments(await backend.classMoments(device, matrix), 0);
    const options = { balanced, tolerance: 1e-13, maxIterations: 200 };
    const problem = { feature: 0, C, l1Ratio, center, scale };
    const [fit] = await backend.fitLogisticL1(device, matrix, [problem], options);
    const { objective, dualityGap, converged } = fit.convergence;
    expect(converged).toBe(true);
    // Both objectives are sums of 160 terms in float64.
    expect(want.objective).toBeGreaterThan(objective - dualityGap - 1e-12 * objective);
    expect(want.objective).toBeLessThan(objective * (1 + 1e-11));
    const w = new Float64Array(neurons);
    for (const [at, j] of fit.support.entries()) w[j] = fit.coefficients[at];
    expect([...fit.support]).toEqual([...want.coefficients.keys()].filter((j) => want.coefficients[j] !== 0));
    // The ridge makes each objective exceed the optimum by (1 − ρ)/2·‖w − w*‖² at least.
    const gap = dualityGap + Math.max(0, want.objective - objective) + 1e-12;
    expectClose(w, want.coefficients, 2 * Math.sqrt((2 * gap) / (1 - l1Ratio)), "coefficient");
    expectClose([fit.intercept], [want.intercept], 1e-5, "intercept");
    const [probe] = await SparseProbe.lasso(x, labels, [C], {
      l1Ratio,
      classWeight: balanced ? "balanced" : "none",
      backend,
    });
    expect([...probe.support].sort((a, b) => a - b)).toEqual([...fit.support]);
  });

  it("adaptive thresholding: supports, nets and refits at every k", async () => {
    const probes = await SparseProbe.adaptive(x, labels, ks, { schedule, backend });
    const nets = await SparseProbe.adaptive(x, labels, ks, { schedule, backend, refit: false });
    for (const [p, want] of adaptive.entries()) {
      expect(probes[p].support, `k = ${want.k}`).toEqual(want.support);
      expect(nets[p].support).toEqual(want.support);
      // saga stops at a change of 1e-13 of the largest coefficient in an epoch, and creeps on; our gap is 1e-12 of the weight.
      expectClose(probes[p].scores, want.net, 2e-6, "net");
      expectClose(nets[p].coefficients, want.net, 2e-6, "net");
      expectClose(probes[p].coefficients, want.refit, 1e-7, "refit");
      expectClose([probes[p].intercept], [want.refitIntercept], 1e-7, "intercept");
    }
  });
});
