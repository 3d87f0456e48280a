/** Multiclass metrics against scikit-learn 1.7.2 (test/fixtures/make-regression-fixtures.py). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  evaluateMulticlass,
  MULTICLASS_METRIC_NAMES,
  oneVsRestProbabilities,
} from "../../src/metrics/multiclass.ts";
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

describe("multiclass metrics", () => {
  const rows = fc.array(
    fc.tuple(fc.nat(2), fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 3, maxLength: 3 })),
    {
      minLength: 1,
      maxLength: 30,
    },
  );

  it("never contain NaN, count every row once, and name why something is null", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const labels = all.map(([label]) => label);
        const got = evaluateMulticlass(["a", "b", "c"], labels, Float64Array.from(all.flatMap(([, z]) => z)));
        expect(JSON.stringify(got)).not.toContain("NaN");
        expect(got.confusion.flat().reduce((sum, count) => sum + count, 0)).toBe(all.length);
        for (const name of MULTICLASS_METRIC_NAMES) {
          const value = got[name];
          if (value === null) expect(got.undefinedBecause[name]).toMatch(/\w/);
          else expect(value >= 0 && value <= 1 + 1e-15).toBe(true);
        }
        expect(got.weightedRecall).toBeCloseTo(got.accuracy!, 12);
      }),
    );
  });

  it("do not see the order of the rows", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const score = (some: typeof all) =>
          evaluateMulticlass(
            [0, 1, 2],
            some.map(([label]) => label),
            Float64Array.from(some.flatMap(([, z]) => z)),
          );
        const forward = score(all);
        const backward = score([...all].reverse());
        for (const name of MULTICLASS_METRIC_NAMES) expect(backward[name]).toBe(forward[name]);
        expect(backward.confusion).toEqual(forward.confusion);
      }),
    );
  });

  it("leave zeros where all probabilities of a row underflow", () => {
    expect(oneVsRestProbabilities(Float64Array.of(-800, -900, 0, 0), 2)).toEqual(
      Float64Array.of(0, 0, 0.5, 0.5),
    );
  });

  it("refuse what cannot be scored", () => {
    const withCode = (code: string) => expect.objectContaining({ code }) as Error;
    const z = Float64Array.of(1, 2);
    expect(() => evaluateMulticlass([], [], z)).toThrow(withCode("empty-data"));
    expect(() => evaluateMulticlass(["a"], [0], z)).toThrow(withCode("shape"));
    expect(() => evaluateMulticlass(["a", "b"], [2], z)).toThrow(withCode("labels"));
    expect(() => evaluateMulticlass(["a", "b"], [0], Float64Array.of(NaN, 0))).toThrow(
      withCode("non-finite"),
    );
  });
});
