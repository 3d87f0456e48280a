/** Multiclass probes against scikit-learn 1.7.2's OneVsRestClassifier (test/fixtures/make-regression-fixtures.py), and by themselves. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { MULTICLASS_METRIC_NAMES } from "../../src/metrics/multiclass.ts";
import { MulticlassProbe } from "../../src/probes/multiclass-probe.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import fixture from "../fixtures/sklearn/multiclass.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { openTestBackend } from "../support/gpu.ts";

const bytes = Uint8Array.from(atob(fixture.activations), (c) => c.charCodeAt(0));
const x = new Activations(new Float32Array(bytes.buffer), [fixture.rows, fixture.neurons]);
const rows = Array.from({ length: fixture.train }, (_, i) => i);
const heldOut = Array.from({ length: fixture.rows - fixture.train }, (_, i) => fixture.train + i);

describe("one-vs-rest equals scikit-learn's", () => {
  it.each(fixture.cases.map((c) => [`C = ${c.C}, ${c.balanced ? "balanced" : "unweighted"}`, c] as const))(
    "%s",
    async (_, c) => {
      const probe = await MulticlassProbe.fit(x, fixture.labels, fixture.neurons, {
        C: c.C,
        classWeight: c.balanced ? "balanced" : "none",
        rows,
      });
      expect(probe.classes).toEqual(fixture.classes);
      expect(probe.unfitted).toEqual([]);
      for (const [p, { support, coefficients }] of probe.probes.entries()) {
        const want = support.map((neuron) => c.coefficients[p][neuron]);
        expectClose(coefficients, want, 1e-6 * Math.max(...want.map(Math.abs)), "coefficient");
      }
      const held = x.selectRows(heldOut);
      expectClose(probe.decisionFunction(held), c.decisions.flat(), 2e-5, "decision");
      expectClose(probe.predictProbability(held), c.probabilities.flat(), 2e-5, "probability");
      expect(probe.predict(held)).toEqual(c.predicted.map((at) => fixture.classes[at]));
      const got = probe.evaluate(x, fixture.labels, { rows: heldOut });
      expect(got.confusion).toEqual(c.expected.confusion);
      for (const name of MULTICLASS_METRIC_NAMES) {
        expectClose([got[name]!], [c.expected[name]], 1e-12, name);
      }
    },
  );
});

const withCode = (code: string) => expect.objectContaining({ code }) as Error;

describe("a multiclass probe", () => {
  it("fits the sizes that a pre-filter leaves where none are given", async () => {
    const path = await MulticlassProbe.path(x, fixture.labels, undefined, { rows, prefilter: 3 });
    expect(path.map(({ k }) => k)).toEqual([1, 2, 3]);
    for (const [at, probe] of path.entries()) {
      const alone = await MulticlassProbe.fit(x, fixture.labels, at + 1, { rows, prefilter: 3 });
      const read = ({ feature, support }: SparseProbe) => ({ feature, support });
      expect(probe.probes.map(read)).toEqual(alone.probes.map(read));
      expect(probe.probes.map(({ feature }) => feature)).toEqual(probe.classes);
    }
  });

  it("is one SparseProbe per class against the rest, at every k", async () => {
    const ks = [5, 1];
    const path = await MulticlassProbe.path(x, fixture.labels, ks, { rows });
    for (const [s, probe] of path.entries()) {
      expect([probe.k, probe.neurons]).toEqual([ks[s], fixture.neurons]);
      for (const [c, name] of fixture.classes.entries()) {
        const own = fixture.labels.map((label) => label === name);
        const single = await SparseProbe.fit(x, own, ks[s], { rows, feature: name });
        expect(probe.probes[c].support).toEqual(single.support);
        expectClose(probe.probes[c].coefficients, single.coefficients, 1e-6, "coefficient");
        const metrics = probe.evaluate(x, fixture.labels, { rows: heldOut });
        expect(metrics.perClass[c].oneVsRest).toEqual(probe.probes[c].evaluate(x, own, { rows: heldOut }));
      }
    }
    expect(await MulticlassProbe.fit(x, fixture.labels, 5, { rows })).toEqual(path[0]);
    const [first] = await MulticlassProbe.path(x, fixture.labels, undefined, { rows });
    expect(first.k).toBe(1);
  });

  it("takes numbers and booleans for classes, and of equal decisions the first class", async () => {
    // Nothing tells the classes apart: all decisions are equal.
    const flat = { data: new Float32Array(6).fill(1), shape: [6, 1] };
    const probe = await MulticlassProbe.fit(flat, [3, 1, 2, 3, 1, 2], 1);
    expect(probe.classes).toEqual([1, 2, 3]);
    expect(probe.predict(flat)).toEqual([1, 1, 1, 1, 1, 1]);
    const bits = [true, false, true, false, true, false];
    const told = { data: Float32Array.from(bits, Number), shape: [6, 1] };
    const two = await MulticlassProbe.fit(told, bits, 1);
    expect(two.predict(told)).toEqual(bits);
    const { accuracy, confusion, microF1 } = two.evaluate(told, bits);
    expect([accuracy, microF1, confusion]).toEqual([
      1,
      1,
      [
        [3, 0],
        [0, 3],
      ],
    ]);
  });

  it("reports a class without training rows, and counts its rows as errors", async () => {
    const withoutItalian = rows.filter((i) => fixture.labels[i] !== "it");
    const probe = await MulticlassProbe.fit(x, fixture.labels, 3, { rows: withoutItalian });
    expect(probe.classes).toEqual(["de", "en", "fr"]);
    expect(probe.unfitted).toEqual([
      { class: "it", reason: expect.stringContaining("0 positive") as string },
    ]);
    const got = probe.evaluate(x, fixture.labels, { rows: heldOut });
    expect(got.classes).toEqual(["de", "en", "fr", "it"]);
    const italian = got.perClass[3];
    expect(italian.rows).toBeGreaterThan(0);
    // It has the same probability everywhere, none.
    expect(italian).toMatchObject({
      predicted: 0,
      precision: null,
      recall: 0,
      f1: 0,
      rocAuc: 0.5,
      oneVsRest: null,
    });
    expect(italian.undefinedBecause).toEqual({ precision: "no row is predicted to be of this class" });
    const read = await MulticlassProbe.fromJSON(JSON.parse(JSON.stringify(probe)));
    expect(read).toEqual(probe);
    expect(read.decisionFunction(x)).toEqual(probe.decisionFunction(x));
  });

  it("reads blocks as it reads a matrix, and activations that are not finite only where it must", async () => {
    const blocks = function* () {
      for (let start = 0; start < x.rows; start += 64) yield x.slice(start, Math.min(x.rows, start + 64));
    };
    const whole = await MulticlassProbe.fit(x, fixture.labels, 3, { rows });
    const streamed = await MulticlassProbe.fit(
      { rows: x.rows, neurons: x.neurons, blocks },
      fixture.labels,
      3,
      { rows },
    );
    for (const [c, { support, coefficients }] of streamed.probes.entries()) {
      expect(support).toEqual(whole.probes[c].support);
      expectClose(coefficients, whole.probes[c].coefficients, 1e-6, "coefficient");
    }
    const data = x.toFloat32().slice();
    data.fill(NaN, 0, x.neurons);
    const spoilt = new Activations(data, [x.rows, x.neurons]);
    expect(whole.evaluate(spoilt, fixture.labels, { rows: heldOut })).toEqual(
      whole.evaluate(x, fixture.labels, { rows: heldOut }),
    );
    expect(() => whole.evaluate(spoilt, fixture.labels)).toThrow(withCode("non-finite"));
    expect(() => whole.predict(spoilt)).toThrow(withCode("non-finite"));
  });

  it("refuses what it cannot fit, score or read", async () => {
    const fit = (labels: readonly (string | number)[], k = 1) => MulticlassProbe.fit(x, labels, k);
    await expect(fit([])).rejects.toThrow(withCode("empty-data"));
    await expect(fit(["a", "b"])).rejects.toThrow(withCode("shape"));
    await expect(fit(fixture.labels.map(() => "a"))).rejects.toThrow(withCode("one-class"));
    await expect(fit(fixture.labels.map((_, i) => (i ? i % 3 : NaN)))).rejects.toThrow(withCode("labels"));
    await expect(fit(fixture.labels, 0)).rejects.toThrow(withCode("support-size"));
    const reason = new Error("enough");
    const options = { signal: AbortSignal.abort(reason) };
    await expect(MulticlassProbe.fit(x, fixture.labels, 1, options)).rejects.toBe(reason);
    const probe = await MulticlassProbe.fit(x, fixture.labels, 2, { rows });
    expect(() => probe.evaluate(x, fixture.labels.slice(1))).toThrow(withCode("shape"));
    expect(() => probe.evaluate(x, fixture.labels, { rows: [220] })).toThrow(withCode("shape"));
    expect(() => probe.evaluate(x, ["ja", ...fixture.labels.slice(1)])).toThrow(withCode("labels"));
    expect(() => probe.predict([[1, 2]])).toThrow(withCode("shape"));
    const json = probe.toJSON();
    const wrong: Record<string, unknown>[] = [
      { schema: "sparseprobe/probe" },
      { version: 2 },
      { classes: ["de", "en", "fr"] },
      { classes: ["de", "en", "fr", "fr"] },
      { classes: ["de", "en", "fr", null] },
      { classes: [], probes: [] },
      { probes: [...json.probes.slice(1), { ...json.probes[0], neurons: 99 }] },
      { unfitted: [{ class: "ja" }] },
      { unfitted: [{ class: "de", reason: "none" }] },
    ];
    for (const change of wrong) {
      await expect(MulticlassProbe.fromJSON({ ...json, ...change })).rejects.toThrow(withCode("format"));
    }
  });
});

describe("a multiclass probe on a device", () => {
  let gpu: WebGpuBackend;
  beforeAll(async () => {
    gpu = await openTestBackend();
  });
  afterAll(() => {
    gpu.dispose();
  });

  it("decides as on the host", async () => {
    for (const backend of [createCpuBackend(), gpu]) {
      const held = await backend.upload(x);
      const probe = await MulticlassProbe.fit(held, fixture.labels, 3, { rows, backend });
      expect(await probe.decisionFunctionOnDevice(held, backend)).toEqual(probe.decisionFunction(x));
      expect(await probe.evaluateOnDevice(held, fixture.labels, backend, { rows: heldOut })).toEqual(
        probe.evaluate(x, fixture.labels, { rows: heldOut }),
      );
      held.dispose();
    }
  });
});
