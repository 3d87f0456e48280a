/** Regression probes against scikit-learn 1.7.2 (test/fixtures/make-regression-fixtures.py). */
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { RegressionProbe } from "../../src/regression/regression-probe.ts";
import type { RegressionRankingName } from "../../src/regression/regression-options.ts";
import fixture from "../fixtures/sklearn/regression.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

const bytes = Uint8Array.from(atob(fixture.activations), (c) => c.charCodeAt(0));
const x = new Activations(new Float32Array(bytes.buffer), [fixture.rows, fixture.neurons]);
const rows = Array.from({ length: fixture.train }, (_, i) => i);
const heldOut = Array.from({ length: fixture.rows - fixture.train }, (_, i) => fixture.train + i);
const spread = Math.max(...fixture.targets) - Math.min(...fixture.targets);

describe("ridge equals scikit-learn's", () => {
  it.each(
    fixture.ridge.map(
      (c) => [`k = ${c.k}, α = ${c.alpha}, ${c.standardised ? "standardised" : "raw"}`, c] as const,
    ),
  )("%s", async (_, c) => {
    const probe = await RegressionProbe.fit(x, fixture.targets, c.k, {
      alpha: c.alpha,
      standardise: c.standardised ? "standard" : "none",
      rows,
    });
    expect(probe.support).toEqual(fixture.support.slice(0, c.k));
    expect(probe.convergence.converged).toBe(true);
    const { coefficients, intercept } = probe;
    // Both solve the same linear system, whose condition is at most 1e10 (raw columns, deviations from 1e-3 to 25): 1e10·2⁻⁵².
    const size = Math.max(...c.coefficients.map(Math.abs));
    expectClose(coefficients, c.coefficients, 3e-6 * size, "coefficient");
    expectClose([intercept], [c.intercept], 1e-7 * spread, "intercept");
    const { r2, spearman } = probe.evaluate(x, fixture.targets, { rows: heldOut });
    expectClose([r2!, spearman!], [c.r2, c.spearman], 1e-7, "metric");
  });
});

describe("elastic net equals scikit-learn's", () => {
  it.each(fixture.elasticNet.map((c) => [`k = ${c.k}, α = ${c.alpha}, ρ = ${c.l1Ratio}`, c] as const))(
    "%s",
    async (_, c) => {
      const probe = await RegressionProbe.fit(x, fixture.targets, c.k, {
        penalty: "elastic-net",
        alpha: c.alpha,
        l1Ratio: c.l1Ratio,
        rows,
      });
      expect(probe.support).toEqual(fixture.support.slice(0, c.k));
      expect(probe.convergence).toMatchObject({ converged: true });
      const size = Math.max(...c.coefficients.map(Math.abs));
      expectClose(probe.coefficients, c.coefficients, 1e-6 * size, "coefficient");
      expectClose([probe.intercept], [c.intercept], 1e-7 * spread, "intercept");
      const { r2, spearman } = probe.evaluate(x, fixture.targets, { rows: heldOut });
      expectClose([r2!, spearman!], [c.r2, c.spearman], 1e-6, "metric");
    },
  );
});

/** Scores by neuron. */
async function scoresOf(ranking: RegressionRankingName): Promise<Float64Array> {
  const probe = await RegressionProbe.fit(x, fixture.targets, fixture.neurons, { ranking, rows });
  const scores = new Float64Array(fixture.neurons);
  for (const [c, neuron] of probe.support.entries()) scores[neuron] = probe.scores[c];
  return scores;
}

describe("rankings equal scikit-learn's", () => {
  it("correlation", async () => {
    expectClose(await scoresOf("correlation"), fixture.correlation, 1e-13);
  });

  it("f", async () => {
    expectClose(await scoresOf("f"), fixture.f, (j) => 1e-10 * Math.max(1, fixture.f[j]));
  });

  it("mutual-information, within the spread of 50 seeds where values are equal", async () => {
    const bound = (j: number) => 1e-6 + 5 * fixture.mutualInformationDeviation[j];
    expectClose(await scoresOf("mutual-information"), fixture.mutualInformation, bound);
  });
});
