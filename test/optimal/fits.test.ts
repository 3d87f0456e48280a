/** Fits of one support against libsvm and scikit-learn, and the bounds that come with them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SearchState } from "../../src/optimal/search.ts";
import { supportProblem } from "../../src/optimal/support-problem.ts";
import { finish } from "./finish.ts";

interface Fit {
  readonly objective: number;
  readonly coefficients: readonly number[];
  readonly intercept: number;
}

interface Fixture {
  readonly x: readonly (readonly number[])[];
  readonly y: readonly number[];
  readonly drawn: readonly number[];
  readonly cases: readonly {
    readonly support: readonly number[];
    readonly gamma: number;
    readonly weights: "none" | "balanced" | "drawn";
    readonly hinge: Fit & { readonly dual: number; readonly free: number };
    readonly logistic: Fit;
  }[];
}

const fixture = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/sklearn/optimal.json"), "utf8"),
) as Fixture;
const { x, y, drawn, cases } = fixture;
const rows = y.length;
const positives = y.filter((label) => label === 1).length;
const WEIGHTS = {
  none: () => 1,
  balanced: (i: number) => rows / (2 * (y[i] === 1 ? positives : rows - positives)),
  drawn: (i: number) => drawn[i],
};

describe.each(cases)("support $support, gamma $gamma, weights $weights", (expected) => {
  it.each(["hinge", "logistic"] as const)("%s", (loss) => {
    const { support, gamma, weights } = expected;
    const problem = finish(
      supportProblem(
        support.map((j) => Float64Array.from(x, (row) => row[j])),
        Uint8Array.from(y),
        Float64Array.from(y, (_, i) => WEIGHTS[weights](i)),
        gamma,
        loss,
      ),
    );
    const all = support.map((_, c) => c);
    const fit = finish(new SearchState(problem).fit(all));
    const oracle = expected[loss];
    // libsvm stops where its objective and its dual value, rounded in float64, still lie 1e-16 to 3e-6 of it apart.
    const slack =
      (loss === "hinge" ? Math.abs(expected.hinge.objective - expected.hinge.dual) : 0) +
      1e-9 * oracle.objective;
    expect(fit.objective - fit.bound).toBeLessThanOrEqual(1e-8 * fit.objective);
    expect(fit.bound).toBeLessThanOrEqual(oracle.objective);
    expect(fit.objective).toBeGreaterThanOrEqual(oracle.objective - slack);
    expect(fit.objective).toBeLessThanOrEqual(oracle.objective + 1e-8 * fit.objective);
    // ‖β − β*‖² ≤ 2γ·gap by strong convexity, for both.
    const reach =
      Math.sqrt(2 * gamma * slack) +
      Math.sqrt(2 * gamma * (fit.objective - fit.bound + 1e-12 * fit.objective));
    for (const [c, value] of fit.point.beta.entries()) {
      expect(Math.abs(value - oracle.coefficients[c])).toBeLessThanOrEqual(reach);
    }
    // Where no support vector is free the hinge leaves an interval of intercepts.
    if (loss === "logistic" || expected.hinge.free > 0) {
      const shift = fit.point.beta.reduce((sum, w, c) => sum + w * problem.means[c], 0);
      expect(Math.abs(fit.point.intercept - shift - oracle.intercept)).toBeLessThanOrEqual(1e-6 + 20 * reach);
    }
  });
});
