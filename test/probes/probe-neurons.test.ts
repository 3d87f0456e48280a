/** `probeNeurons`: the same numbers as the estimators of one neuron, whatever the source. */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { rocAuc } from "../../src/metrics/roc.ts";
import { probeNeurons } from "../../src/probes/probe-neurons.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

describe("probeNeurons", () => {
  it("fits the probe that SparseProbe.fit fits with k = 1", async () => {
    const x = randomActivations(1, 120, 6);
    const labels = Array.from(randomLabels(1, x, 3).of(2));
    const rows = Uint32Array.from({ length: 100 }, (_, r) => 119 - r);
    for (const standardise of ["standard", "none", "tenth-deviation"] as const) {
      const options = { rows, standardise, tolerance: 1e-16, C: 0.5 };
      const one = await SparseProbe.fit(x, labels, 1, options);
      const { probes, failures } = await probeNeurons(x, labels, options);
      expect(failures).toEqual([]);
      const [neuron] = one.support;
      const probe = probes[0].probe(neuron);
      // Both solvers end within √(2·C·Σω·tolerance) of the optimum.
      const bound = 2 * Math.sqrt(2 * 50 * 1e-16);
      expectClose([probe.coefficient], one.coefficients, bound, standardise);
      expectClose([probe.center, probe.scale], [one.center[0], one.scale[0]], 1e-14);
      expect(probe.converged).toBe(true);
    }
  });

  it("measures the area that the metric of the bare activation is", async () => {
    const x = randomActivations(2, 90, 7).toStorage("f16");
    const labels = randomLabels(2, x, 2);
    const { probes } = await probeNeurons(x, labels);
    const values = x.toFloat32();
    for (const [f, { auc, feature, positive }] of probes.entries()) {
      expect([feature, positive]).toEqual([`feature ${f}`, 1]);
      const want = Array.from({ length: 7 }, (_, j) =>
        rocAuc(
          labels.of(f),
          Array.from({ length: 90 }, (__, i) => values[i * 7 + j]),
        ),
      );
      expect([...auc]).toEqual(want);
    }
  });

  it("gives the same for a stream of blocks", async () => {
    const x = randomActivations(3, 64, 9);
    const labels = randomLabels(3, x, 2);
    const backend = createCpuBackend();
    const seen: number[] = [];
    const whole = await probeNeurons(x, labels, { backend, onProgress: (done) => seen.push(done) });
    const blocks = function* () {
      for (let start = 0; start < 64; start += 20) yield x.slice(start, Math.min(64, start + 20));
    };
    const streamed = await probeNeurons({ rows: 64, neurons: 9, blocks }, labels, { backend });
    for (const [f, probe] of whole.probes.entries()) {
      expect(streamed.probes[f].auc).toEqual(probe.auc);
      expect(streamed.probes[f].threshold).toEqual(probe.threshold);
      expectClose(streamed.probes[f].coefficients, probe.coefficients, 1e-5);
    }
    expect(seen.at(-1)).toBe(36);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("sorts neurons, and leaves those out that are not finite", async () => {
    const base = randomActivations(4, 80, 5);
    const data = base.toFloat32().map((value, at) => (at === 5 * 13 + 1 ? NaN : at % 5 === 3 ? 2 : value));
    const x = new Activations(data, [80, 5]);
    const labels = randomLabels(4, base, 3).of(2);
    const { probes } = await probeNeurons(x, Array.from(labels));
    for (const by of ["auc", "objective", "informedness"] as const) {
      const best = probes[0].best(10, by);
      expect(best.map(({ neuron }) => neuron).toSorted((a, b) => a - b)).toEqual([0, 2, 3, 4]);
      expect([best[0].neuron, best[3].neuron]).toEqual([2, 3]);
    }
    expect(probes[0].probe(1)).toMatchObject({ coefficient: NaN, auc: NaN, converged: false });
    expect(probes[0].probe(3)).toMatchObject({ auc: 0.5, informedness: 0, threshold: 2, converged: true });
    expect(() => probes[0].probe(5)).toThrow("does not exist");
    expect(() => probes[0].best(0)).toThrow("whole number");
  });

  it("reports features that lack a class and goes on", async () => {
    const x = randomActivations(5, 20, 3);
    const values = new Uint8Array(60).map((_, at) => (at < 20 ? at % 2 : at < 40 ? 1 : UNLABELLED));
    const labels = new LabelMatrix(["both", "one", "none"], 20, values);
    const { probes, failures } = await probeNeurons(x, labels);
    expect(probes.map(({ feature }) => feature)).toEqual(["both"]);
    expect(failures.map(({ feature, error }) => [feature, error.code])).toEqual([
      ["one", "one-class"],
      ["none", "one-class"],
    ]);
    expect((await probeNeurons(x, { all: new Array<number>(20).fill(1) })).failures).toHaveLength(1);
  });

  it("refuses what does not fit", async () => {
    const x = randomActivations(6, 20, 3);
    const labels = Array.from({ length: 20 }, (_, i) => i % 2);
    await expect(probeNeurons(x, labels.slice(1))).rejects.toMatchObject({ code: "shape" });
    await expect(probeNeurons(x, labels, { C: 0 })).rejects.toMatchObject({ code: "option" });
    await expect(probeNeurons(x, labels, { rows: [20] })).rejects.toMatchObject({ code: "shape" });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(probeNeurons(x, labels, { signal })).rejects.toThrow("enough");
  });
});
