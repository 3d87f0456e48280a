/** Regression metrics against scikit-learn 1.7.2 and SciPy (test/fixtures/make-regression-fixtures.py). */
import { describe, expect, it } from "vitest";
import { evaluateRegression, REGRESSION_METRIC_NAMES } from "../../src/metrics/regression.ts";
import fixture from "../fixtures/sklearn/regression-metrics.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

describe("regression metrics equal scikit-learn's and SciPy's", () => {
  it.each(fixture.cases.map((c) => [c.name, c] as const))("%s", (_, { targets, predictions, expected }) => {
    const got = evaluateRegression(targets, predictions);
    for (const name of REGRESSION_METRIC_NAMES) {
      const want = expected[name];
      if (want === null) expect(got[name], name).toBeNull();
      else expectClose([got[name]!], [want], 1e-9, name);
    }
    expect(Object.keys(got.undefinedBecause)).toEqual(
      REGRESSION_METRIC_NAMES.filter((name) => got[name] === null),
    );
  });
});
