/** Multiclass metrics against scikit-learn 1.7.2 (test/fixtures/make-regression-fixtures.py). */
import { describe, expect, it } from "vitest";
import { evaluateMulticlass, MULTICLASS_METRIC_NAMES } from "../../src/metrics/multiclass.ts";
import fixture from "../fixtures/sklearn/multiclass-metrics.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

/** Sums of at most 80 ratios, on both sides. */
const BOUND = 100 * Number.EPSILON;

describe("multiclass metrics equal scikit-learn's", () => {
  it.each(fixture.cases.map((c) => [c.name, c] as const))("%s", (_, { labels, decisions, expected }) => {
    const got = evaluateMulticlass(fixture.classes, labels, Float64Array.from(decisions.flat()));
    expect(got.confusion).toEqual(expected.confusion);
    for (const name of MULTICLASS_METRIC_NAMES) {
      const want = expected[name];
      if (want === null) expect(got[name], name).toBeNull();
      else expectClose([got[name]!], [want], BOUND, name);
    }
    expect(Object.keys(got.undefinedBecause)).toEqual(
      MULTICLASS_METRIC_NAMES.filter((name) => got[name] === null),
    );
    for (const [c, one] of got.perClass.entries()) {
      for (const name of ["precision", "recall", "f1"] as const) {
        const want = expected[name][c];
        if (want === null) expect(one[name], name).toBeNull();
        else expectClose([one[name]!], [want], BOUND, name);
        expect(name in one.undefinedBecause).toBe(one[name] === null);
      }
    }
  });
});
