import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { OptionError, SupportSizeError } from "../../src/errors.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { Random } from "../../src/random.ts";
import { stabilityAt } from "../../src/statistics/stability.ts";
import { supportStability } from "../../src/statistics/statistics.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations } from "../support/random-data.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();

/** Supports as longer orders: k random neurons of the first `pool` each. */
function supports(seed: number, count: number, k: number, pool: number): Uint32Array[] {
  return Array.from({ length: count }, (_, r) => {
    const all = Uint32Array.from({ length: pool }, (_, j) => j);
    return new Random(seed, `support ${r}`).shuffle(all).slice(0, k);
  });
}

/**
 * Stability and its variance as defined for any supports (Nogueira, Sechidis and Brown 2018, definition 4 and theorem 7), from
 * the matrix of choices.
 */
function fromMatrix(orders: readonly Uint32Array[], d: number): { stability: number; variance: number } {
  const M = orders.length;
  const Z = orders.map((order) => Array.from({ length: d }, (_, j) => (order.includes(j) ? 1 : 0)));
  const p = Array.from({ length: d }, (_, j) => Z.reduce((sum, row) => sum + row[j], 0) / M);
  const size = Z.map((row) => row.reduce<number>((a, b) => a + b, 0));
  const mean = size.reduce((a, b) => a + b) / M;
  const below = (mean / d) * (1 - mean / d);
  const s = p.map((share) => (M / (M - 1)) * share * (1 - share));
  const stability = 1 - s.reduce((a, b) => a + b) / d / below;
  const parts = Z.map((row, i) => {
    const agreement = row.reduce<number>((sum, z, j) => sum + z * p[j], 0) / d;
    const k = size[i];
    return (
      (agreement - (k * mean) / d ** 2 + (stability / 2) * ((2 * mean * k) / d ** 2 - k / d - mean / d + 1)) /
      below
    );
  });
  const centre = parts.reduce((a, b) => a + b) / M;
  return { stability, variance: (4 / M ** 2) * parts.reduce((sum, v) => sum + (v - centre) ** 2, 0) };
}

describe("stability of supports", () => {
  it("equals the definition by the matrix of choices, and the mean over all pairs", async () => {
    for (const [k, pool] of [
      [1, 5],
      [3, 6],
      [4, 20],
    ]) {
      const orders = supports(k, 12, k, pool);
      const want = fromMatrix(orders, 20);
      const got = await stabilityAt(k, orders[0], orders, 20, 0.95);
      const margin = 1.959963984540054 * Math.sqrt(want.variance);
      expectClose(
        [got.stability!, got.low!, got.high!],
        [want.stability, want.stability - margin, Math.min(1, want.stability + margin)],
        1e-10,
      );
      let sum = 0;
      for (let a = 0; a < 12; a++) {
        for (let b = 0; b < a; b++) {
          const shared = orders[a].filter((j) => orders[b].includes(j)).length;
          sum += shared / (2 * k - shared);
        }
      }
      expect(got.jaccard).toBeCloseTo(sum / 66, 12);
    }
  });

  it("is 1 for equal supports, about 0 for random ones, and null when all neurons are chosen", async () => {
    const same = supports(1, 1, 5, 30)[0];
    expect(await stabilityAt(5, same, [same, same, same], 30, 0.95)).toMatchObject({ jaccard: 1, high: 1 });
    expect((await stabilityAt(5, same, [same, same, same], 30, 0.95)).stability).toBeCloseTo(1, 12);
    const random = await stabilityAt(5, same, supports(2, 200, 5, 30), 30, 0.95);
    expect(Math.abs(random.stability!)).toBeLessThan(0.02);
    expect(await stabilityAt(30, same, supports(3, 5, 30, 30), 30, 0.95)).toMatchObject({
      stability: null,
      low: null,
      high: null,
      jaccard: 1,
      undefinedBecause: "every support holds all neurons",
    });
  });

  it("frequencies are shares of random halves in which a neuron ranks among the first k", async () => {
    const { rows, unit } = await supportStability(x, y, [1, 2, 12], { resamples: 80, seed: 1 });
    expect(unit).toBe("row");
    const probe = await SparseProbe.fit(x, y, 2);
    expect(rows[1].support.map(({ neuron }) => neuron)).toEqual(probe.support);
    for (const { k, frequencies, support } of rows) {
      expect(frequencies.reduce((sum, { frequency }) => sum + frequency, 0)).toBeCloseTo(k, 9);
      expect(frequencies.map(({ frequency }) => frequency)).toEqual(
        frequencies.map(({ frequency }) => frequency).sort((a, b) => b - a),
      );
      for (const { neuron, frequency } of support) {
        expect(frequencies.find((entry) => entry.neuron === neuron)?.frequency ?? 0).toBe(frequency);
      }
    }
    expect(rows[2].stability).toBeNull();
    // A neuron chosen first is chosen among the first two.
    for (const { neuron, frequency } of rows[0].frequencies) {
      expect(rows[1].frequencies.find((entry) => entry.neuron === neuron)!.frequency).toBeGreaterThanOrEqual(
        frequency,
      );
    }
    const alone = await supportStability(x, y, [2], { resamples: 80, seed: 1 });
    expect(alone.rows[0]).toEqual(rows[1]);
  });

  it("a planted neuron is always chosen, others as chance has it", async () => {
    const noise = randomActivations(9, 200, 40);
    const data = (noise.data as Float32Array).slice();
    const labels = Array.from({ length: 200 }, (_, i) => i % 4 === 0);
    for (const i of labels.keys()) if (labels[i]) data[i * 40 + 21] += 30;
    const { rows } = await supportStability(new Activations(data, [200, 40]), labels, [1, 3], {
      ranking: "standardised-mean-difference",
    });
    expect(rows[0].frequencies).toEqual([{ neuron: 21, frequency: 1 }]);
    expect(rows[0].stability).toBeCloseTo(1, 9);
    expect(rows[1].stability).toBeLessThan(0.9);
    expect(rows[1].frequencies[0]).toEqual({ neuron: 21, frequency: 1 });
  });

  it("halves keep groups whole", async () => {
    const documents = new Activations(x.data, [x.rows, x.neurons], { groups });
    const byGroup = await supportStability(documents, y, [1], { resamples: 20 });
    expect(byGroup.unit).toBe("group");
    expect(byGroup).toEqual(await supportStability(x, y, [1], { resamples: 20, groups }));
    // Every group holds a block of equal rows: by row almost nothing is left to chance, by group as much as ever.
    const block = Array.from({ length: 30 }, (_, g) => g);
    const rows = block.flatMap((g) => new Array<number>(20).fill(g));
    const repeated = x.selectRows(rows);
    const labels = rows.map((g) => y[g]);
    const options = { resamples: 40 };
    const single = await supportStability(repeated, labels, [2], options);
    const whole = await supportStability(repeated, labels, [2], { ...options, groups: rows });
    expect(single.rows[0].jaccard).toBeGreaterThan(whole.rows[0].jaccard);
  });

  it("plain data, progress, and errors", async () => {
    const seen: number[][] = [];
    const result = await supportStability(x, y, [1], { resamples: 70, onProgress: (...at) => seen.push(at) });
    expect(seen).toEqual([
      [64, 70],
      [70, 70],
    ]);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    await expect(supportStability(x, y, [1], { resamples: 1 })).rejects.toThrow(OptionError);
    await expect(supportStability(x, y, [1], { level: 2 })).rejects.toThrow(OptionError);
    await expect(supportStability(x, y, [0])).rejects.toThrow(SupportSizeError);
    const few = y.map((_, i) => (i < 20 ? 1 : 0));
    const two = few.map((label, i) => (i === 0 ? "a" : `b${label}`));
    await expect(supportStability(x, few, [1], { groups: two })).rejects.toThrow(OptionError);
  });
});
