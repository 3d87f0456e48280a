import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { EmptyDataError, OptionError, ShapeError, SupportSizeError } from "../../src/errors.ts";
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import type { RankingFunction } from "../../src/ranking/ranking.ts";
import { probeControls } from "../../src/statistics/statistics.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();

describe("control probes", () => {
  it("draws do not depend on which other k there are, on their number, or on the name of the feature", async () => {
    const options = { draws: 5, seed: 2 };
    const both = await probeControls(x, y, [2, 6], options);
    const alone = await probeControls(x, y, [6], { ...options, draws: 3, feature: "another" });
    for (const control of ["shuffled-labels", "random-support"] as const) {
      const want = both.rows[1].controls[control].draws.slice(0, 3);
      const got = alone.rows[0].controls[control].draws;
      expect(got.map(({ draw, support }) => ({ draw, support }))).toEqual(
        want.map(({ draw, support }) => ({ draw, support })),
      );
      // Supports are nested, as those of a ranking are.
      for (const [d, { support }] of both.rows[0].controls[control].draws.entries()) {
        expect(want[d]?.support.slice(0, 2) ?? support).toEqual(support);
      }
    }
    const other = await probeControls(x, y, [6], { ...options, seed: 3 });
    expect(other.rows[0].controls["random-support"].draws).not.toEqual(
      both.rows[1].controls["random-support"].draws,
    );
  });

  it("random supports are k different neurons, each as likely as another", async () => {
    const { rows } = await probeControls(x, y, [3], { draws: 400, tolerance: 1e-6 });
    const counts = new Array<number>(x.neurons).fill(0);
    for (const { support } of rows[0].controls["random-support"].draws) {
      expect(new Set(support).size).toBe(3);
      for (const j of support) counts[j]++;
    }
    // 400 draws with probability 3/12: five standard deviations.
    for (const count of counts) expect(Math.abs(count - 100)).toBeLessThan(5 * Math.sqrt(75));
  });

  it("a planted feature is selective, and labels that mean nothing are not", async () => {
    const planted = new Activations(
      (x.data as Float32Array).map((value, at) =>
        at % x.neurons === 3 ? 3 * y[Math.floor(at / x.neurons)] + value / 10 : value,
      ),
      [x.rows, x.neurons],
    );
    const { rows } = await probeControls(planted, y, [1], { draws: 40 });
    const { controls, metrics } = rows[0];
    expect(rows[0].support).toEqual([3]);
    for (const control of ["shuffled-labels", "random-support"] as const) {
      const { balancedAccuracy, rocAuc, logLoss } = controls[control].selectivity;
      expect(balancedAccuracy.probe).toBe(metrics.balancedAccuracy);
      expect(balancedAccuracy.selectivity).toBeCloseTo(
        metrics.balancedAccuracy! - balancedAccuracy.controlMean!,
        12,
      );
      expect(rocAuc.selectivity).toBeGreaterThan(0.3);
      // A random support of one neuron of twelve holds the planted one now and then.
      expect(rocAuc.pValue).toBeLessThan(0.25);
      expect(logLoss.selectivity).toBeLessThan(-0.2);
    }
    expect(controls["shuffled-labels"].selectivity.rocAuc.pValue).toBe(1 / 41);
    const nothing = y.map((_, i) => (i * 7919) % 3 === 0);
    const { rows: none } = await probeControls(x, nothing, [2], { draws: 40, seed: 1 });
    expect(none[0].controls["shuffled-labels"].selectivity.rocAuc.pValue).toBeGreaterThan(0.05);
  });

  it("the probe is that of the training rows, and controls are scored on the true labels of the test rows", async () => {
    const train = Array.from({ length: 100 }, (_, i) => i);
    const test = Array.from({ length: 60 }, (_, i) => 100 + i);
    const { rows, split } = await probeControls(x, y, [2], { draws: 3, split: { train, test } });
    const probe = await SparseProbe.fit(x, y, 2, { rows: train });
    expect(rows[0].support).toEqual(probe.support);
    expect(rows[0].metrics).toEqual(probe.evaluate(x, y, { rows: test }));
    expect(split).toEqual({ train: 100, test: 60 });
    for (const { draws } of Object.values(rows[0].controls)) {
      for (const { metrics } of draws)
        expect(metrics.positives).toBe(probe.evaluate(x, y, { rows: test }).positives);
    }
    // Rows outside of both parts may hold anything.
    const data = (x.data as Float32Array).slice();
    data.fill(NaN, 0, 10 * x.neurons);
    const late = { train: train.slice(10), test };
    const spoilt = await probeControls(new Activations(data, [x.rows, x.neurons]), y, [2], {
      draws: 3,
      split: late,
    });
    expect(spoilt).toEqual(await probeControls(x, y, [2], { draws: 3, split: late }));
  });

  it("shuffles within groups where groups hold both classes, and says how many rows can move", async () => {
    const { scheme, movableRows, split } = await probeControls(x, y, [1], { groups, draws: 2 });
    expect(scheme).toBe("within-groups");
    expect(movableRows).toBeGreaterThan(0);
    expect(movableRows).toBeLessThan(split.train);
    const free = await probeControls(x, y, [1], { groups, draws: 2, scheme: "rows" });
    expect(free.movableRows).toBe(free.split.train);
  });

  it("draws that do not converge are listed and left out, and a metric without draws is null", async () => {
    const { rows, rejections } = await probeControls(x, y, [4], {
      draws: 3,
      maxIterations: 1,
      tolerance: 1e-30,
    });
    expect(rows[0].converged).toBe(false);
    expect(rejections.length).toBe(6);
    expect(rejections[0]).toEqual({
      control: "shuffled-labels",
      k: 4,
      draw: 0,
      reason: "The fit did not converge.",
    });
    for (const name of METRIC_NAMES) {
      expect(rows[0].controls["random-support"].selectivity[name]).toMatchObject({
        controlMean: null,
        selectivity: null,
        pValue: null,
        draws: 0,
        undefinedBecause: "undefined in every draw",
      });
    }
  });

  it("shuffled labels that a ranking of one's own cannot score are listed too", async () => {
    let calls = 0;
    const ranking: RankingFunction = (moments, feature) => {
      const scores = new Float64Array(moments.neurons).fill(1);
      if (++calls === 3) scores[0] = Infinity;
      return scores.map((score, j) => score / (1 + ((j + feature) % 5)));
    };
    const { rows, rejections } = await probeControls(x, y, [2], { draws: 4, ranking });
    expect(rejections).toEqual([
      {
        control: "shuffled-labels",
        k: 2,
        draw: 1,
        reason: expect.stringMatching(/neuron 0 is Infinity/) as string,
      },
    ]);
    expect(rows[0].controls["shuffled-labels"].draws.map(({ draw }) => draw)).toEqual([0, 2, 3]);
    expect(rows[0].controls["shuffled-labels"].selectivity.f1.draws).toBe(3);
  });

  it("plain data, progress, and errors", async () => {
    const seen: number[] = [];
    const result = await probeControls(x, y, [1, 2], {
      draws: 4,
      onProgress: (done, total) => {
        expect(total).toBe(18);
        seen.push(done);
      },
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(18);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    await expect(probeControls(x, y, [1], { draws: 0 })).rejects.toThrow(OptionError);
    await expect(probeControls(x, y, [1], { C: 0 })).rejects.toThrow(OptionError);
    await expect(probeControls(x, y, [13])).rejects.toThrow(SupportSizeError);
    await expect(probeControls(x, y, [1], { split: { train: [0, 1], test: [1] } })).rejects.toThrow(
      ShapeError,
    );
    await expect(probeControls(x, y, [1], { split: { train: [], test: [1] } })).rejects.toThrow(
      EmptyDataError,
    );
    const stop = new AbortController();
    const reason = new Error("enough");
    const call = probeControls(x, y, [1], {
      draws: 10000,
      signal: stop.signal,
      onProgress: () => {
        stop.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
  });
});
