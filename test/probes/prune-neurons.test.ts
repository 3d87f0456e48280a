/** Iterative pruning against the same thing done step by step with `SparseProbe.fit` on fewer and fewer columns. */
import { describe, expect, it } from "vitest";
import { pruneNeurons } from "../../src/probes/prune-neurons.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const x = randomActivations(21, 160, 30);
const labels = Array.from(randomLabels(21, x, 1).of(0));
const rows = Array.from({ length: 90 }, (_, i) => i);
const validation = Array.from({ length: 40 }, (_, i) => 90 + i);
const test = Array.from({ length: 30 }, (_, i) => 130 + i);

describe("pruneNeurons", () => {
  it("removes the best single neuron of each support, and measures what the others make of it", async () => {
    const steps = await pruneNeurons(x, labels, { k: 3, steps: 6, rows, validation, test });
    expect(steps.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5]);
    let left = Array.from({ length: 30 }, (_, j) => j);
    for (const { probe, metrics, singles, removed } of steps) {
      const columns = x.gatherColumns(left);
      const want = await SparseProbe.fit(columns, labels, 3, { rows });
      expect(probe.support).toEqual(want.support.map((c) => left[c]));
      // Moments are float32 sums, whose digits depend on the columns beside them.
      expectClose(probe.coefficients, want.coefficients, 1e-6);
      expectClose(probe.scores, want.scores, 1e-6);
      expect(probe.neurons).toBe(30);
      const measured = want.evaluate(columns, labels, { rows: test });
      expect(metrics.f1).toBe(measured.f1);
      expect(metrics.rocAuc).toBe(measured.rocAuc);
      expect(probe.evaluate(x, labels, { rows: test }).f1).toBe(metrics.f1);
      const f1: number[] = [];
      for (const j of probe.support) {
        const single = x.gatherColumns([j]);
        const alone = await SparseProbe.fit(single, labels, 1, { rows });
        f1.push(alone.evaluate(single, labels, { rows: validation }).f1!);
      }
      expect(singles).toEqual(probe.support.map((neuron, at) => ({ neuron, f1: f1[at] })));
      expect(removed).toBe(probe.support[f1.indexOf(Math.max(...f1))]);
      left = left.filter((j) => j !== removed);
    }
    expect(new Set(steps.map(({ removed }) => removed)).size).toBe(6);
    expect(JSON.parse(JSON.stringify(steps))).toMatchObject([
      { step: 0, probe: { schema: "sparseprobe/probe" } },
      {},
      {},
      {},
      {},
      {},
    ]);
    expect(Object.isFrozen(steps) && Object.isFrozen(steps[0])).toBe(true);
  });

  it("has ten steps of five neurons, judged on the training rows, unless told otherwise", async () => {
    const steps = await pruneNeurons(x, labels, { rows });
    expect(steps.map(({ probe }) => probe.k)).toEqual(new Array(10).fill(5));
    const explicit = await pruneNeurons(x, labels, { rows, validation: rows, test: rows, k: 5, steps: 10 });
    expect(JSON.stringify(steps)).toBe(JSON.stringify(explicit));
    const blocks = {
      rows: 160,
      neurons: 30,
      *blocks() {
        yield x.slice(0, 100);
        yield x.slice(100, 160);
      },
    };
    const streamed = await pruneNeurons(blocks, labels, { rows });
    expect(streamed.map(({ removed }) => removed)).toEqual(steps.map(({ removed }) => removed));
  });

  it("goes on where a neuron's F1 is undefined", async () => {
    // No validation row is positive, so F1 is 0 where a row is called positive, and undefined where none is.
    const negative = validation.filter((i) => labels[i] === 0);
    const steps = await pruneNeurons(x, labels, { k: 2, steps: 3, rows, validation: negative.slice(0, 1) });
    expect(steps.flatMap(({ singles }) => singles.map(({ f1 }) => f1))).toContain(null);
    for (const { metrics } of steps) expect(metrics.undefinedBecause).toHaveProperty("rocAuc");
  });

  it("shows progress, stops, and says what is wrong", async () => {
    const seen: number[] = [];
    await pruneNeurons(x, labels, { k: 2, steps: 4, onProgress: (done, total) => seen.push(done / total) });
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(1);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(pruneNeurons(x, labels, { signal })).rejects.toThrow("enough");
    await expect(pruneNeurons(x, labels, { k: 25, steps: 7 })).rejects.toMatchObject({
      code: "support-size",
    });
    await expect(pruneNeurons(x, labels, { k: 0 })).rejects.toMatchObject({ code: "support-size" });
    await expect(pruneNeurons(x, labels, { steps: 0 })).rejects.toMatchObject({ code: "option" });
    await expect(pruneNeurons(x, labels, { validation: [400] })).rejects.toMatchObject({ code: "shape" });
    await expect(pruneNeurons(x, labels.slice(1))).rejects.toMatchObject({ code: "shape" });
  });
});
