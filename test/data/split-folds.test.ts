import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitFolds } from "../../src/data/splits.ts";
import { EmptyDataError, OptionError } from "../../src/errors.ts";
import { validationData } from "../statistics/fixture.ts";

const documents = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 1, max: 9 })), {
    minLength: 6,
    maxLength: 40,
  })
  .map((list) =>
    list.flatMap(([label, size], document) =>
      Array.from({ length: size }, () => ({ label, group: `d${document}` })),
    ),
  );

describe("folds", () => {
  it("each row is a test row once, groups stay whole, train is the rest, and the seed repeats", () => {
    fc.assert(
      fc.property(documents, fc.nat(), fc.integer({ min: 2, max: 6 }), (rows, seed, count) => {
        const labels = rows.map(({ label }) => label);
        const groups = rows.map(({ group }) => group);
        const folds = splitFolds({ labels, groups, seed, folds: count });
        expect(splitFolds({ labels, groups, seed, folds: count })).toEqual(folds);
        expect(folds.length).toBe(count);
        const all = rows.map((_, i) => i);
        expect(folds.flatMap(({ test }) => [...test]).sort((a, b) => a - b)).toEqual(all);
        for (const { train, test } of folds) {
          expect([...train, ...test].sort((a, b) => a - b)).toEqual(all);
          const held = new Set(Array.from(test, (i) => groups[i]));
          expect(Array.from(train).some((i) => held.has(groups[i]))).toBe(false);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("classes keep their share as well as scikit-learn's StratifiedGroupKFold keeps them", () => {
    const { y, groups } = validationData();
    const share = y.reduce((sum, label) => sum + label, 0) / y.length;
    for (let seed = 0; seed < 20; seed++) {
      for (const { test } of splitFolds({ labels: y, groups, seed, folds: 4 })) {
        // Groups have 1 to 9 of the 160 rows: a fold of 40 is within one group of its share of rows and of positives.
        expect(Math.abs(test.length - 40)).toBeLessThanOrEqual(9);
        const positives = Array.from(test).reduce((sum, i) => sum + y[i], 0);
        expect(Math.abs(positives - share * 40)).toBeLessThanOrEqual(9);
      }
    }
  });

  it("single rows are dealt to within one row of each class", () => {
    const labels = Array.from({ length: 103 }, (_, i) => (i % 5 === 0 ? 1 : 0));
    for (const { test } of splitFolds({ labels, seed: 3, folds: 5 })) {
      const positives = Array.from(test).filter((i) => labels[i] === 1).length;
      expect(Math.abs(positives - 21 / 5)).toBeLessThan(1);
      expect(Math.abs(test.length - 103 / 5)).toBeLessThan(2);
    }
  });

  it.each([1, 0, 2.5, NaN])("%s folds are refused", (folds) => {
    expect(() => splitFolds({ rows: 10, seed: 0, folds })).toThrow(OptionError);
  });

  it("more folds than groups are refused", () => {
    expect(() => splitFolds({ groups: [1, 1, 2, 2], seed: 0, folds: 3 })).toThrow(EmptyDataError);
  });
});
