/** Probes whose support an L1 penalty chooses. */
import { describe, expect, it } from "vitest";
import { LabelMatrix } from "../../src/data/labels.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const x = randomActivations(5, 120, 40);
const labels = Array.from(randomLabels(5, x, 1).of(0));
const train = Array.from({ length: 90 }, (_, i) => i);

describe("SparseProbe.lasso", () => {
  it("returns ordinary probes, from few neurons to many, in the order of the Cs", async () => {
    const probes = await SparseProbe.lasso(x, labels, [1, 0.05], { rows: train });
    expect(probes[0].k).toBeGreaterThan(probes[1].k);
    expect(probes[1].support).toContain(0);
    for (const [p, probe] of probes.entries()) {
      const { convergence, options } = probe;
      expect(options).toMatchObject({ C: [1, 0.05][p], ranking: "l1", penalty: "l1" });
      expect(convergence.converged).toBe(true);
      expect(convergence.newtonDecrement).toBeLessThanOrEqual(1e-10);
      expect(convergence.gradientNorm).toBeLessThan(1e-3);
      const sizes = probe.coefficients.map(Math.abs);
      expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
      expect(probe.evaluate(x, labels).rocAuc).toBeGreaterThan(0.7);
      const back = SparseProbe.fromJSON(JSON.parse(JSON.stringify(probe)));
      expect(back).toEqual(probe);
    }
  });

  it("is an elastic net with a smaller share of L1, on more neurons", async () => {
    const [lasso] = await SparseProbe.lasso(x, labels, [0.1], { rows: train });
    const [net] = await SparseProbe.lasso(x, labels, [0.1], { rows: train, l1Ratio: 0.3 });
    expect(net.k).toBeGreaterThan(lasso.k);
    expect(net.options).toMatchObject({
      C: 0.1,
      ranking: "elastic-net",
      penalty: "elastic-net",
      l1Ratio: 0.3,
    });
    expect(lasso.options.l1Ratio).toBeUndefined();
    expect(net.convergence.converged).toBe(true);
    expect(SparseProbe.fromJSON(JSON.parse(JSON.stringify(net)))).toEqual(net);
    const refused = SparseProbe.lasso(x, labels, [0.1], { l1Ratio: 0 });
    await expect(refused).rejects.toMatchObject({ code: "option" });
  });

  it("gives the same from blocks of rows, and reads no other rows", async () => {
    const blocks = {
      rows: 120,
      neurons: 40,
      *blocks() {
        for (const start of [0, 50, 100]) yield x.slice(start, Math.min(120, start + 50));
      },
    };
    const [want] = await SparseProbe.lasso(x, labels, [0.2], { rows: train });
    const [streamed] = await SparseProbe.lasso(blocks, labels, [0.2], { rows: train });
    expect(streamed.support).toEqual(want.support);
    // Moments of blocks are merged: the standardisation differs in its last digits.
    expectClose(streamed.coefficients, want.coefficients, 1e-5);
    const alone = await SparseProbe.lasso(x.slice(0, 90), labels.slice(0, 90), [0.2]);
    expectClose(alone[0].coefficients, want.coefficients, 1e-5);
  });

  it("says what is wrong", async () => {
    await expect(SparseProbe.lasso(x, labels, [1e-9])).rejects.toMatchObject({ code: "support-size" });
    await expect(SparseProbe.lasso(x, labels, [-1])).rejects.toMatchObject({ code: "option" });
    await expect(SparseProbe.lasso(x, labels.slice(1), [1])).rejects.toMatchObject({ code: "shape" });
    const one = new LabelMatrix(["f"], 120, new Uint8Array(120));
    await expect(SparseProbe.lasso(x, one, [1])).rejects.toMatchObject({ code: "one-class" });
    const spoilt = x.slice(0, 120).toFloat32().slice();
    spoilt[7] = NaN;
    await expect(SparseProbe.lasso({ data: spoilt, shape: [120, 40] }, labels, [1])).rejects.toMatchObject({
      code: "non-finite",
    });
    expect(await SparseProbe.lasso(x, labels, [])).toEqual([]);
  });
});
