import { describe, expect, it } from "vitest";
import { EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import { evaluateBinary, METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { MulticlassProbe } from "../../src/probes/multiclass-probe.ts";
import { Random } from "../../src/random.ts";
import { RegressionProbe } from "../../src/regression/regression-probe.ts";
import { bootstrapMetrics, bootstrapRows } from "../../src/statistics/statistics.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals } from "../support/random-data.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();
const random = new Random(3, "scores");
const scores = y.map((label) => label - 0.5 + 2 * (random.uniform() - 0.5));

describe("intervals of anything measured on rows", () => {
  it.each(["percentile", "bca"] as const)(
    "draw what bootstrapMetrics draws, whose intervals are SciPy's (%s)",
    async (method) => {
      for (const by of [undefined, groups]) {
        const options = { method, resamples: 200, seed: 4, groups: by };
        const want = await bootstrapMetrics(y, scores, options);
        const metrics = METRIC_NAMES.filter((name) => name !== "logLoss");
        const got = await bootstrapRows(
          (rows) =>
            evaluateBinary(
              Array.from(rows, (i) => y[i]),
              Array.from(rows, (i) => scores[i]),
            ),
          { ...options, rows: y.length, metrics },
        );
        expect(got).toMatchObject({ unit: want.unit, units: want.units, level: 0.95, method });
        for (const name of metrics) {
          const { estimate, low, high, standardError } = got.metrics[name];
          const other = want.metrics[name];
          // The same resamples, with the same sums in another order.
          expectClose(
            [estimate!, low!, high!, standardError!],
            [other.estimate!, other.low!, other.high!, other.standardError!],
            1e-12,
            name,
          );
        }
      }
    },
  );

  it("serve regression and multiclass probes, on rows of choice", async () => {
    const test = y.flatMap((_, i) => (groups[i] % 2 ? [i] : []));
    const targets = y.map((_, i) => x.data[i * x.neurons] + 0.5 * x.data[i * x.neurons + 1]);
    const regression = await RegressionProbe.fit(x, targets, 2);
    const shared = { rows: test, groups, resamples: 100 };
    const fit = await bootstrapRows((rows) => regression.evaluate(x, targets, { rows }), {
      ...shared,
      metrics: ["r2", "meanAbsoluteError", "spearman"],
    });
    const want = regression.evaluate(x, targets, { rows: test });
    for (const name of ["r2", "meanAbsoluteError", "spearman"] as const) {
      const { estimate, low, high } = fit.metrics[name];
      // Groups gather rows in another order.
      expectClose([estimate!], [want[name]!], 1e-12, name);
      expect(low! <= estimate! && estimate! <= high!).toBe(true);
    }
    const classes = y.map((label, i) => (label ? "a" : i % 2 ? "b" : "c"));
    const several = await MulticlassProbe.fit(x, classes, 3);
    const { metrics, unit } = await bootstrapRows((rows) => several.evaluate(x, classes, { rows }), {
      ...shared,
      metrics: ["macroF1", "accuracy"],
    });
    expect(unit).toBe("group");
    expectClose([metrics.macroF1.estimate!], [several.evaluate(x, classes, { rows: test }).macroF1!], 1e-12);
    expect(metrics.accuracy.low).toBeLessThan(metrics.accuracy.high!);
  });

  it("have the standard error of a mean", async () => {
    const values = normals(new Random(1, "values"), 400);
    const { metrics } = await bootstrapRows(
      (rows) => ({ mean: rows.reduce((sum, i) => sum + values[i], 0) / rows.length }),
      { rows: 400, metrics: ["mean"], resamples: 2000 },
    );
    const mean = values.reduce((a, b) => a + b) / 400;
    const error = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0)) / 400;
    // 2000 resamples: a standard deviation is known to 1/√4000 of itself, a 2.5 % quantile to about 0.06 of it.
    expect(Math.abs(metrics.mean.standardError! / error - 1)).toBeLessThan(5 / Math.sqrt(4000));
    expectClose(
      [metrics.mean.low!, metrics.mean.high!],
      [mean - 1.96 * error, mean + 1.96 * error],
      0.3 * error,
    );
  });

  it("what is undefined is null with a reason; what is wrong is named; it stops", async () => {
    const measure = (): { a: number | null; b: number | null; undefinedBecause: { b: string } } => ({
      a: 1,
      b: null,
      undefinedBecause: { b: "there is none" },
    });
    const result = await bootstrapRows(measure, { rows: [2, 4], metrics: ["a", "b"], resamples: 10 });
    expect(result.metrics.b).toEqual({
      estimate: null,
      low: null,
      high: null,
      standardError: null,
      undefinedResamples: 0,
      undefinedBecause: "there is none",
    });
    expect(result.metrics.a).toMatchObject({ estimate: 1, low: 1, high: 1 });
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    expect(Object.isFrozen(result.metrics.a)).toBe(true);
    const one = await bootstrapRows(measure, { rows: 3, metrics: ["a"], groups: ["x", "x", "x"] });
    expect(one.metrics.a).toMatchObject({ low: null, undefinedBecause: "there is one group alone" });
    const options = { rows: 3, metrics: ["a"] as const };
    await expect(bootstrapRows(measure, { ...options, rows: [] })).rejects.toThrow(EmptyDataError);
    await expect(bootstrapRows(measure, { ...options, rows: 1.5 })).rejects.toThrow(OptionError);
    await expect(bootstrapRows(measure, { ...options, metrics: [] })).rejects.toThrow(OptionError);
    await expect(bootstrapRows(measure, { ...options, metrics: ["c" as "a"] })).rejects.toThrow(/"c"/);
    await expect(bootstrapRows(measure, { ...options, groups: [1, 2] })).rejects.toThrow(ShapeError);
    await expect(bootstrapRows(measure, { ...options, groups: [1, 2, 3, 4] })).rejects.toThrow(ShapeError);
    await expect(bootstrapRows(measure, { ...options, resamples: 1 })).rejects.toThrow(OptionError);
    const controller = new AbortController();
    const reason = new Error("enough");
    const slow = (): { a: number } => {
      for (const end = performance.now() + 3; performance.now() < end;);
      return { a: 1 };
    };
    const running = bootstrapRows(slow, {
      ...options,
      signal: controller.signal,
      onProgress: () => {
        controller.abort(reason);
      },
    });
    await expect(running).rejects.toBe(reason);
  });
});
