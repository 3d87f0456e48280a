/** Probes against scikit-learn 1.5.2's newton-cholesky at tol 1e-12 (test/fixtures/make-sklearn-fixtures.py). */
import { describe, expect, it } from "vitest";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import fixture from "../fixtures/sklearn/probes.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { fixtureActivations } from "../support/sklearn-probes.ts";

const x = fixtureActivations();
const train = Array.from({ length: fixture.train }, (_, i) => i);
const test = Array.from({ length: fixture.rows - fixture.train }, (_, i) => fixture.train + i);

describe("probes equal scikit-learn's", () => {
  it.each(
    fixture.cases.map(
      (c) =>
        [
          `k = ${c.k}, C = ${c.C}, ${c.balanced ? "balanced" : "unweighted"}, ${c.standardised ? "standardised" : "raw"}`,
          c,
        ] as const,
    ),
  )("%s", async (_, c) => {
    const probe = await SparseProbe.fit(x, fixture.labels, c.k, {
      C: c.C,
      classWeight: c.balanced ? "balanced" : "none",
      standardise: c.standardised ? "standard" : "none",
      ranking: c.standardised ? "standardised-mean-difference" : "mean-difference",
      rows: train,
    });
    expect(probe.support).toEqual(c.support);
    expect(probe.convergence.converged).toBe(true);
    // scikit-learn stops at a gradient of 1e-12 per unit of weight or at a relative decrease of the loss of that size;
    // its coefficients are then within about √1e-12 of the curvature's scale, and mostly much closer.
    const size = Math.max(...c.coefficients.map(Math.abs));
    expectClose(probe.coefficients, c.coefficients, 1e-6 * size, "coefficient");
    expectClose([probe.intercept], [c.intercept], 1e-6 * Math.max(1, Math.abs(c.intercept)), "intercept");
    const metrics = probe.evaluate(x, fixture.labels, { rows: test });
    expectClose([metrics.f1!, metrics.rocAuc!], [c.f1, c.rocAuc], 1e-12, "metric");
  });
});
