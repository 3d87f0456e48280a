/** Monosemantic enumeration against `SparseProbe.fit` on one column at a time. */
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import type { NeuronRow } from "../../src/probes/enumerate-by-f1.ts";
import { enumerateNeurons } from "../../src/probes/enumerate-neurons.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const x = randomActivations(31, 200, 40);
const matrix = randomLabels(31, x, 2, 0.1);
const train = Array.from({ length: 140 }, (_, i) => i);
const test = Array.from({ length: 60 }, (_, i) => 140 + i);

describe("enumerateNeurons", () => {
  it("fits and measures each of a feature's strongest neurons alone", async () => {
    const { rows, failures } = await enumerateNeurons(x, matrix, {
      top: 12,
      rows: train,
      test,
      tolerance: 1e-16,
    });
    expect(failures).toEqual([]);
    expect(rows.map(({ feature }) => feature)).toEqual([
      ...new Array<string>(12).fill("feature 0"),
      ...new Array<string>(12).fill("feature 1"),
    ]);
    for (const f of [0, 1]) {
      const labels = new LabelMatrix([`feature ${f}`], 200, matrix.of(f));
      const [ranked] = await SparseProbe.path(x, labels, [12], { rows: train });
      const mine = rows.slice(12 * f, 12 * f + 12);
      expect(mine.toSorted((a, b) => a.rank - b.rank).map(({ neuron }) => neuron)).toEqual(ranked.support);
      const order = mine.map(({ f1 }) => f1 ?? -1);
      expect(order).toEqual(order.toSorted((a, b) => b - a));
      for (const row of mine) {
        const column = x.gatherColumns([row.neuron]);
        const probe = await SparseProbe.fit(column, labels, 1, { rows: train });
        expectClose([row.coefficient, row.intercept], [probe.coefficients[0], probe.intercept], 1e-6);
        expectClose(
          [row.center, row.scale, row.score],
          [probe.center[0], probe.scale[0], probe.scores[0]],
          1e-6,
        );
        expect(row.converged).toBe(true);
        const { f1, mcc, precision, recall, rocAuc } = probe.evaluate(column, labels, { rows: test });
        expect(row).toMatchObject({ f1, mcc, precision, recall, rocAuc, undefinedBecause: {} });
      }
    }
    expect(JSON.parse(JSON.stringify(rows))).toEqual(rows);
  });

  it("takes 30 neurons, all of them, or as many as there are, from blocks of rows too", async () => {
    const options = { rows: train, test };
    const labels = { f: Array.from(matrix.of(0), (label) => label === 1) };
    const some = await enumerateNeurons(x, labels, options);
    expect(some.rows.length).toBe(30);
    const all = await enumerateNeurons(x, labels, { ...options, top: "all" });
    expect(all.rows.length).toBe(40);
    const strong = all.rows.filter(({ rank }) => rank < 30);
    expect(strong.map(({ neuron }) => neuron)).toEqual(some.rows.map(({ neuron }) => neuron));
    // Float32 sums of other columns beside them end in other digits.
    const coefficients = (rows: readonly NeuronRow[]): number[] => rows.map(({ coefficient }) => coefficient);
    expectClose(coefficients(strong), coefficients(some.rows), 1e-6);
    expect((await enumerateNeurons(x, labels, { ...options, top: 400 })).rows).toEqual(all.rows);
    const blocks = {
      rows: 200,
      neurons: 40,
      *blocks() {
        for (const start of [0, 90, 180]) yield x.slice(start, Math.min(200, start + 90));
      },
    };
    const streamed = await enumerateNeurons(blocks, labels, options);
    expect(streamed.rows.map(({ neuron }) => neuron)).toEqual(some.rows.map(({ neuron }) => neuron));
  });

  it("leaves out features that cannot be fitted, and says why a metric is missing", async () => {
    const classes = Array.from(matrix.of(0), (label): string => (label === 1 ? "a" : "b"));
    classes[199] = "c";
    // Class c has no training row, and no row of class a is tested.
    const tested = test.filter((i) => classes[i] !== "a");
    const { rows, failures } = await enumerateNeurons(x, classes, { top: 3, rows: train, test: tested });
    expect(failures.map(({ feature, error }) => [feature, error.code])).toEqual([["c", "one-class"]]);
    const a = rows.filter(({ feature }) => feature === "a");
    expect(a.length).toBe(3);
    for (const row of a) {
      expect(row.positive).toBe("a");
      expect(row.rocAuc).toBeNull();
      expect(row.undefinedBecause).toHaveProperty("rocAuc");
      expect(Object.keys(row.undefinedBecause).every((name) => row[name as "rocAuc"] === null)).toBe(true);
    }
    const spoilt = new Activations(x.toFloat32().slice(), [200, 40]);
    spoilt.data[5] = NaN;
    const none = await enumerateNeurons(spoilt, { f: classes.map((name) => name === "a") });
    expect(none.rows).toEqual([]);
    expect(none.failures[0].error.code).toBe("non-finite");
  });

  it("shows progress, stops, and says what is wrong", async () => {
    const seen: [number, number][] = [];
    await enumerateNeurons(x, matrix, { top: 5, onProgress: (...at) => seen.push(at) });
    expect(seen.at(-1)![0]).toBe(seen.at(-1)![1]);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(enumerateNeurons(x, matrix, { signal })).rejects.toThrow("enough");
    await expect(enumerateNeurons(x, matrix, { top: 0 })).rejects.toMatchObject({ code: "support-size" });
    await expect(enumerateNeurons(x, matrix, { test: [200] })).rejects.toMatchObject({ code: "shape" });
    await expect(enumerateNeurons(x.slice(0, 100), matrix)).rejects.toMatchObject({ code: "shape" });
    await expect(enumerateNeurons(x, matrix, { C: 0 })).rejects.toMatchObject({ code: "option" });
  });
});
