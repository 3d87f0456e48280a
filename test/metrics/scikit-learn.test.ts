/** Metrics against scikit-learn 1.5.2 (test/fixtures/make-sklearn-fixtures.py), ties and degenerate cases included. */
import { describe, expect, it } from "vitest";
import { evaluateBinary, METRIC_NAMES, type MetricName } from "../../src/metrics/evaluate.ts";
import { precisionRecallCurve } from "../../src/metrics/precision-recall.ts";
import fixture from "../fixtures/sklearn/metrics.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

/** Sums of at most 120 rounded terms of size 1, on both sides; the log-loss has terms up to 36. */
const BOUND = 120 * 36 * Number.EPSILON;

describe("metrics equal scikit-learn's", () => {
  it.each(fixture.cases.map((c) => [c.name, c] as const))("%s", (_, { labels, scores, expected }) => {
    const probabilities = scores.map((z) => 1 / (1 + Math.exp(-z)));
    const got = evaluateBinary(labels, scores, probabilities);
    for (const name of METRIC_NAMES) {
      const want = (expected as Record<MetricName, number | null>)[name];
      if (want === null) expect(got[name], name).toBeNull();
      else expectClose([got[name]!], [want], BOUND, name);
    }
    const undefinedNames = METRIC_NAMES.filter((name) => got[name] === null);
    expect(Object.keys(got.undefinedBecause)).toEqual(undefinedNames);
    const curve = precisionRecallCurve(labels, scores);
    if (expected.curve === null) expect(curve).toBeNull();
    else {
      expectClose(curve!.precision, expected.curve.precision, BOUND, "precision");
      expectClose(curve!.recall, expected.curve.recall, BOUND, "recall");
      expectClose(curve!.thresholds, expected.curve.thresholds, 0, "thresholds");
    }
  });
});
