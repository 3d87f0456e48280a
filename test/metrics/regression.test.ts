/** Regression metrics against scikit-learn 1.7.2 and SciPy (test/fixtures/make-regression-fixtures.py). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateRegression, ranks, REGRESSION_METRIC_NAMES } from "../../src/metrics/regression.ts";
import fixture from "../fixtures/sklearn/regression-metrics.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

describe("regression metrics equal scikit-learn's and SciPy's", () => {
  it.each(fixture.cases.map((c) => [c.name, c] as const))("%s", (_, { targets, predictions, expected }) => {
    const got = evaluateRegression(targets, predictions);
    for (const name of REGRESSION_METRIC_NAMES) {
      const want = expected[name];
      if (want === null) expect(got[name], name).toBeNull();
      // Sums of 60 terms; targets about 1e6 keep ten digits of their spread.
      else expectClose([got[name]!], [want], 1e-9 * Math.max(1, Math.abs(want)), name);
    }
    expect(Object.keys(got.undefinedBecause)).toEqual(
      REGRESSION_METRIC_NAMES.filter((name) => got[name] === null),
    );
  });
});

describe("regression metrics", () => {
  const small = fc.integer({ min: -9, max: 9 });
  const pairs = fc.array(fc.tuple(small, small), { minLength: 1, maxLength: 30 });
  const any = fc.oneof(small, fc.double({ noNaN: true, noDefaultInfinity: true }));

  it("never contain NaN, and name why something is null", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(any, any), { minLength: 1, maxLength: 30 }), (all) => {
        const got = evaluateRegression(
          all.map(([y]) => y),
          all.map(([, p]) => p),
        );
        for (const name of REGRESSION_METRIC_NAMES) {
          const value = got[name];
          if (value === null) expect(got.undefinedBecause[name]).toMatch(/\w/);
          else expect(Number.isFinite(value)).toBe(true);
        }
        expect(got.rows).toBe(all.length);
      }),
    );
  });

  it("Spearman sees ranks alone", () => {
    fc.assert(
      fc.property(pairs, (all) => {
        const y = all.map(([value]) => value);
        const p = all.map(([, value]) => value);
        const mapped = evaluateRegression(
          y.map((value) => value ** 3),
          p.map((value) => Math.exp(value)),
        );
        expect(mapped.spearman).toBe(evaluateRegression(y, p).spearman);
      }),
    );
    expect(ranks(Float64Array.of(3, 1, 3, 2, 3))).toEqual(Float64Array.of(4, 1, 4, 2, 4));
  });

  it("refuse what cannot be scored", () => {
    const withCode = (code: string) => expect.objectContaining({ code }) as Error;
    expect(() => evaluateRegression([], [])).toThrow(withCode("empty-data"));
    expect(() => evaluateRegression([1], [1, 2])).toThrow(withCode("shape"));
    expect(() => evaluateRegression([NaN], [1])).toThrow(withCode("non-finite"));
    expect(() => evaluateRegression([1], [Infinity])).toThrow(withCode("non-finite"));
  });
});
