import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { confusionCounts, fScore, matthewsCorrelation } from "../../src/metrics/confusion.ts";
import { evaluateBinary, METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { logLoss } from "../../src/metrics/log-loss.ts";
import { rocAuc } from "../../src/metrics/roc.ts";

const rows = fc.array(fc.tuple(fc.constantFrom(0, 1), fc.integer({ min: -4, max: 4 })), {
  minLength: 1,
  maxLength: 40,
});

describe("metrics", () => {
  it("never contain NaN, and give a reason for every null", () => {
    fc.assert(
      fc.property(rows, (pairs) => {
        const got = evaluateBinary(
          pairs.map(([y]) => y),
          pairs.map(([, z]) => z),
        );
        for (const name of METRIC_NAMES) {
          const value = got[name];
          if (value === null) expect(got.undefinedBecause[name]).toMatch(/\w/);
          else expect(Number.isFinite(value)).toBe(true);
        }
        expect(got.positives + got.negatives).toBe(pairs.length);
      }),
    );
  });

  it("ROC-AUC is the share of pairs in the right order, ties counting half", () => {
    fc.assert(
      fc.property(rows, (pairs) => {
        const positive = pairs.filter(([y]) => y === 1);
        const negative = pairs.filter(([y]) => y === 0);
        let right = 0;
        for (const [, a] of positive) for (const [, b] of negative) right += a > b ? 1 : a === b ? 0.5 : 0;
        const want = positive.length && negative.length ? right / (positive.length * negative.length) : null;
        expect(
          rocAuc(
            pairs.map(([y]) => y),
            pairs.map(([, z]) => z),
          ),
        ).toBe(want);
      }),
    );
  });

  it("of ranking do not change under an increasing map of the scores", () => {
    fc.assert(
      fc.property(rows, (pairs) => {
        const labels = pairs.map(([y]) => y);
        const plain = evaluateBinary(
          labels,
          pairs.map(([, z]) => z),
        );
        const mapped = evaluateBinary(
          labels,
          pairs.map(([, z]) => Math.exp(z) - 100),
        );
        for (const name of ["rocAuc", "prAuc", "averagePrecision"] as const) {
          expect(mapped[name]).toBe(plain[name]);
        }
      }),
    );
  });

  it("MCC is symmetric in the two classes", () => {
    const labels = [1, 1, 0, 0, 0, 1, 0];
    const called = [1, 0, 0, 1, 0, 1, 0];
    const flipped = (values: number[]) => values.map((v) => 1 - v);
    expect(matthewsCorrelation(confusionCounts(flipped(labels), flipped(called)))).toBeCloseTo(
      matthewsCorrelation(confusionCounts(labels, called))!,
      15,
    );
  });

  it("F_β runs from precision to recall", () => {
    const counts = confusionCounts([1, 1, 1, 0, 0], [1, 0, 0, 1, 0]);
    expect(fScore(counts, 0)).toBe(1 / 2);
    expect(fScore(counts, 1e6)).toBeCloseTo(1 / 3, 9);
  });

  it("refuse what cannot be scored", () => {
    const code = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "none";
    };
    expect(code(() => evaluateBinary([], []))).toBe("empty-data");
    expect(code(() => evaluateBinary([1], [1, 2]))).toBe("shape");
    expect(code(() => evaluateBinary([2], [1]))).toBe("labels");
    expect(code(() => evaluateBinary([1], [NaN]))).toBe("non-finite");
    expect(code(() => logLoss([1], [1.5]))).toBe("option");
    expect(code(() => confusionCounts([1], [0.5]))).toBe("labels");
  });
});
