import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import {
  EmptyDataError,
  NonFiniteError,
  OptionError,
  ShapeError,
  SupportSizeError,
} from "../../src/errors.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { bootstrapProbe, selectAndTest } from "../../src/statistics/statistics.ts";
import { randomActivations } from "../support/random-data.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();
const noise = randomActivations(3, x.rows, 12);

describe("selection on validation rows and one report on test rows", () => {
  it("chooses by validation alone: test labels and activations change the report and nothing else", async () => {
    const options = { Cs: [0.1, 1], seed: 2, bootstrap: { resamples: 50 } };
    const want = await selectAndTest(x, y, [1, 2, 4], options);
    const data = (x.data as Float32Array).slice();
    const flipped = [...y];
    for (const i of want.split.test) {
      flipped[i] = 1 - flipped[i];
      for (let j = 0; j < x.neurons; j++) data[i * x.neurons + j] *= -3;
    }
    const got = await selectAndTest(new Activations(data, [x.rows, x.neurons]), flipped, [1, 2, 4], {
      ...options,
      split: want.split,
    });
    expect(got.chosen).toEqual(want.chosen);
    expect(got.candidates).toEqual(want.candidates);
    expect(got.probe.coefficients).toEqual(want.probe.coefficients);
    expect(got.test.metrics.f1).not.toEqual(want.test.metrics.f1);
  });

  it("tells what was chosen among how many, and the report is that of the chosen probe", async () => {
    const sets = new Map([
      ["noise", noise],
      ["layer 3", x],
    ]);
    const result = await selectAndTest(sets, y, [1, 2, 4], { Cs: [0.01, 1], groups });
    expect(result.considered).toBe(12);
    expect(result.candidates.length).toBe(12);
    expect(result.chosen.activations).toBe("layer 3");
    const scores = result.candidates.map(({ validation }) => validation.f1!);
    expect(result.chosen.validation.f1).toBe(Math.max(...scores));
    const { train, validation, test } = result.split;
    expect([...train, ...validation, ...test].sort((a, b) => a - b)).toEqual(y.map((_, i) => i));
    const seen = new Map<number, string>();
    for (const [part, rows] of Object.entries(result.split)) {
      for (const i of rows) {
        expect(seen.get(groups[i]) ?? part).toBe(part);
        seen.set(groups[i], part);
      }
    }
    const { k, C } = result.chosen;
    const again = await SparseProbe.fit(x, y, k, { rows: train, C });
    const probe = SparseProbe.fromJSON(result.probe);
    expect(probe.support).toEqual(again.support);
    expect(result.chosen.support).toEqual(again.support);
    expect(result.test).toEqual(await bootstrapProbe(probe, x, y, { rows: test, groups, seed: 0 }));
    expect(result.test).toMatchObject({ unit: "group", resamples: 1000, level: 0.95 });
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  it("refits on training and validation rows when asked to", async () => {
    const options = { seed: 1, bootstrap: { resamples: 20 }, feature: "planted" };
    const plain = await selectAndTest(x, y, [3], options);
    const refit = await selectAndTest(x, y, [3], { ...options, refit: true });
    expect(refit.chosen).toEqual(plain.chosen);
    const rows = [...refit.split.train, ...refit.split.validation];
    const want = await SparseProbe.fit(x, y, 3, { rows, feature: "planted", seed: 1 });
    expect(refit.probe).toEqual(want.toJSON());
    expect([plain.refit, refit.refit, refit.feature]).toEqual([false, true, "planted"]);
    expect(refit.test.metrics.f1.estimate).toBe(want.evaluate(x, y, { rows: refit.split.test }).f1);
  });

  it("of equally good candidates takes the one with fewer neurons, the smaller C, the set named first", async () => {
    const perfect = new Activations(
      Float32Array.from({ length: 3 * x.rows }, (_, at) => y[Math.floor(at / 3)]),
      [x.rows, 3],
    );
    const sets = new Map([
      ["b", perfect],
      ["a", perfect],
    ]);
    const { chosen } = await selectAndTest(sets, y, [3, 1, 2], { Cs: [10, 1] });
    expect(chosen).toMatchObject({ activations: "b", k: 1, C: 1 });
    // By log-loss less penalty is better.
    const byLoss = await selectAndTest(sets, y, [1], { Cs: [1, 10], metric: "logLoss" });
    expect(byLoss.chosen.C).toBe(10);
  });

  it("activations that cannot be fitted are listed, and the others serve", async () => {
    const broken = new Activations(
      (x.data as Float32Array).map(() => NaN),
      [x.rows, x.neurons],
    );
    const result = await selectAndTest(
      new Map([
        ["broken", broken],
        ["whole", x],
      ]),
      y,
      [1, 2],
    );
    expect(result.chosen.activations).toBe("whole");
    expect(result.considered).toBe(2);
    expect(result.failures.map(({ activations, k }) => [activations, k])).toEqual([
      ["broken", 1],
      ["broken", 2],
    ]);
    await expect(selectAndTest(broken, y, [1])).rejects.toThrow(NonFiniteError);
  });

  it("says what is wrong, and stops", async () => {
    await expect(selectAndTest(new Map(), y, [1])).rejects.toThrow(EmptyDataError);
    await expect(selectAndTest(x, y, [1], { metric: "x" as "f1" })).rejects.toThrow(OptionError);
    await expect(selectAndTest(x, y, [])).rejects.toThrow(SupportSizeError);
    await expect(selectAndTest(x, y, [1], { bootstrap: { level: 3 } })).rejects.toThrow(OptionError);
    const fewer = x.slice(0, 100);
    await expect(
      selectAndTest(
        new Map([
          ["a", x],
          ["b", fewer],
        ]),
        y,
        [1],
      ),
    ).rejects.toThrow(ShapeError);
    const positives = y.flatMap((label, i) => (label === 1 ? [i] : []));
    const negatives = y.flatMap((label, i) => (label === 0 ? [i] : []));
    const split = {
      train: [...positives.slice(20), ...negatives.slice(20)],
      validation: positives.slice(0, 10),
      test: [...positives.slice(10, 20), ...negatives.slice(0, 20)],
    };
    await expect(selectAndTest(x, y, [1], { split, metric: "rocAuc" })).rejects.toThrow(
      /No candidate has a rocAuc on the validation rows: all rows have one class/,
    );
    const seen: number[][] = [];
    await selectAndTest(
      new Map([
        ["a", x],
        ["b", noise],
      ]),
      y,
      [1, 2],
      { onProgress: (...at) => seen.push(at) },
    );
    expect(seen.at(-1)).toEqual([4, 4]);
    await expect(selectAndTest(x, y, [1], { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});
