import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import {
  EmptyDataError,
  OneClassError,
  OptionError,
  ShapeError,
  SupportSizeError,
} from "../../src/errors.ts";
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { crossValidate } from "../../src/statistics/statistics.ts";
import fixture from "../fixtures/statistics/validation.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { validationData, validationFolds } from "./fixture.ts";

describe("cross-validation", () => {
  it("has the scores of scikit-learn's cross_val_score, fold by fold", async () => {
    const { x, y } = validationData();
    for (const metric of ["f1", "rocAuc", "balancedAccuracy"] as const) {
      const { rows } = await crossValidate(x, y, [1, 3, 12], {
        Cs: [0.05, 1],
        folds: validationFolds(),
        metric,
      });
      for (const want of fixture.scores.filter((row) => row.metric === metric)) {
        const row = rows.find(({ k, C }) => k === want.k && C === want.C)!;
        // Both optima are within 1e-6 of the truth, and no two decision values are that close.
        expectClose(row.scores as number[], want.scores, 1e-12, `${metric}, k ${row.k}, C ${row.C}`);
        const mean = want.scores.reduce((sum, score) => sum + score, 0) / 4;
        const squares = want.scores.reduce((sum, score) => sum + (score - mean) ** 2, 0);
        expectClose([row.mean!, row.standardError!], [mean, Math.sqrt(squares / 3 / 4)], 1e-12);
      }
    }
  });

  it("selects and standardises on the training rows of a fold alone", async () => {
    const { x, y } = validationData();
    const folds = validationFolds();
    const { rows } = await crossValidate(x, y, [2], { folds });
    for (const [f, { train, test }] of folds.entries()) {
      const changed = (x.data as Float32Array).slice();
      for (const i of test) changed.fill(1e20, i * x.neurons, (i + 1) * x.neurons);
      const probe = await SparseProbe.fit(new Activations(changed, [x.rows, x.neurons]), y, 2, {
        rows: train,
      });
      expect(rows[0].folds[f]!.support).toEqual(probe.support);
      const want = probe.evaluate(x, y, { rows: test });
      const got = rows[0].folds[f]!.metrics;
      // Moments of several label sets in one pass differ from those of one in their last float32 digits.
      for (const name of METRIC_NAMES) expectClose([got[name]!], [want[name]!], 1e-6, name);
    }
  });

  it("keeps groups whole and leaves out rows that take no part", async () => {
    const { x, y, groups } = validationData();
    const values = Uint8Array.from(y);
    values.fill(UNLABELLED, 0, 20);
    const labels = new LabelMatrix(["planted"], x.rows, values);
    const { folds, feature } = await crossValidate(x, labels, [1], { groups, folds: 3 });
    expect(feature).toBe("planted");
    expect(folds.reduce((sum, { test }) => sum + test, 0)).toBe(140);
    expect(folds.every(({ train, test }) => train + test === 140)).toBe(true);
    // Activations bring their groups along.
    const grouped = new Activations(x.data, [x.rows, x.neurons], { groups });
    expect(await crossValidate(grouped, labels, [1], { folds: 3 })).toEqual(
      await crossValidate(x, labels, [1], { groups, folds: 3 }),
    );
  });

  it("chooses the best mean, of equals the simplest, or the simplest within one standard error", async () => {
    const { x, y } = validationData();
    const options = { Cs: [1, 0.01], folds: validationFolds(), metric: "logLoss" as const };
    const best = await crossValidate(x, y, [12, 1, 2, 3], options);
    const means = best.rows.map((row) => row.mean!);
    expect(best.chosen).toBe(best.rows[means.indexOf(Math.min(...means))]);
    const simple = await crossValidate(x, y, [12, 1, 2, 3], { ...options, rule: "one-standard-error" });
    const limit = best.chosen!.mean! + best.chosen!.standardError!;
    const within = simple.rows.filter((row) => row.mean! <= limit).sort((a, b) => a.k - b.k || a.C - b.C);
    expect(simple.chosen).toBe(within[0]);
    expect([best.chosen!.k, best.chosen!.C]).toEqual([3, 1]);
    expect(simple.chosen).not.toBe(best.chosen);
    // Two columns in all: every probe of one or of two equal columns has the same scores.
    const twice = new Activations(
      Float32Array.from({ length: 2 * x.rows }, (_, i) => y[i >> 1]),
      [x.rows, 2],
    );
    const even = await crossValidate(twice, y, [2, 1], { Cs: [1, 0.1], folds: 3 });
    expect([even.chosen!.k, even.chosen!.C, even.chosen!.mean]).toEqual([1, 0.1, 1]);
  });

  it("an undefined fold leaves the mean null, with the reason", async () => {
    const { x, y } = validationData();
    const positives = y.flatMap((label, i) => (label === 1 ? [i] : []));
    const negatives = y.flatMap((label, i) => (label === 0 ? [i] : []));
    const scored = await crossValidate(x, y, [1], {
      metric: "rocAuc",
      folds: [
        { train: [...positives.slice(5), ...negatives.slice(5)], test: positives.slice(0, 5) },
        { train: positives, test: negatives },
      ],
    });
    expect(scored.rows[0]).toMatchObject({ mean: null, standardError: null, scores: [null, null] });
    expect(scored.rows[0].undefinedBecause).toBe("fold 0: all rows have one class");
    expect(scored.rows[0].folds[1]).toBeNull();
    expect(scored.chosen).toBeNull();
    const unfit = await crossValidate(x, y, [1], { folds: [{ train: positives, test: negatives }] });
    expect(unfit.rows[0].undefinedBecause).toMatch(/^fold 0: .* 0 negative training rows/);
    expect(JSON.parse(JSON.stringify(scored))).toEqual(scored);
  });

  it("says what is wrong", async () => {
    const { x, y } = validationData();
    const refused = (options: Parameters<typeof crossValidate>[3], ks: number[] = [1]): Promise<unknown> =>
      crossValidate(x, y, ks, options);
    await expect(refused({ metric: "f3" as "f1" })).rejects.toThrow(OptionError);
    await expect(refused({ rule: "worst" as "best" })).rejects.toThrow(OptionError);
    await expect(refused({ Cs: [] })).rejects.toThrow(EmptyDataError);
    await expect(refused({ Cs: [-1] })).rejects.toThrow(OptionError);
    await expect(refused({ folds: 1 })).rejects.toThrow(OptionError);
    await expect(refused({ folds: [] })).rejects.toThrow(EmptyDataError);
    await expect(refused({ folds: [{ train: [0], test: [0] }] })).rejects.toThrow(ShapeError);
    await expect(refused({ folds: [{ train: [0, 1], test: [999] }] })).rejects.toThrow(ShapeError);
    await expect(refused({ folds: [{ train: [0, 1], test: [] }] })).rejects.toThrow(EmptyDataError);
    await expect(refused({ groups: [1, 2] })).rejects.toThrow(ShapeError);
    await expect(refused({ seed: -1 })).rejects.toThrow(OptionError);
    await expect(refused({}, [0])).rejects.toThrow(SupportSizeError);
    await expect(refused({}, [13])).rejects.toThrow(SupportSizeError);
    await expect(crossValidate(x, y.slice(1), [1])).rejects.toThrow(ShapeError);
    await expect(crossValidate(x, new Array<number>(x.rows).fill(1), [1])).rejects.toThrow(OneClassError);
    const many = new LabelMatrix(["a", "b"], x.rows, Uint8Array.from([...y, ...y]));
    await expect(crossValidate(x, many, [1])).rejects.toThrow(ShapeError);
  });
});
