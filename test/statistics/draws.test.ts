/** What is drawn depends on the seed and on what it is for: on no other k, no other draw, no batch that it falls into. */
import { describe, expect, it } from "vitest";
import { rankActivations } from "../../src/probes/rank-activations.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import type { RankingFunction, RankingName } from "../../src/ranking/ranking.ts";
import { setsPerPass } from "../../src/statistics/fit-label-sets.ts";
import {
  bootstrapMetrics,
  compareSelections,
  crossValidate,
  permutationTest,
  permutationTestScore,
  probeControls,
  selectAndTest,
  supportStability,
} from "../../src/statistics/statistics.ts";
import { expectClose } from "../support/expect-close.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();
/** More draws than one pass takes. */
const MANY = setsPerPass(x.neurons) + 7;
const SEEDED = ["random", "mutual-information", "linear-svm"] as const satisfies readonly RankingName[];

/** A ranking that keeps the labels that it is asked to rank by. */
function recorder(): { seen: string[]; ranking: RankingFunction } {
  const seen: string[] = [];
  const ranking: RankingFunction = (moments, _, { labels }) => {
    seen.push(labels.join(""));
    return Float64Array.from({ length: moments.neurons }, (_, j) => j);
  };
  return { seen, ranking };
}

describe("draws", () => {
  it("halves of the rows are the same whatever their number, k and ranking are", async () => {
    const few = recorder();
    const many = recorder();
    await supportStability(x, y, [1], { ranking: few.ranking, resamples: 3, seed: 5, groups });
    await supportStability(x, y, [2, 7], { ranking: many.ranking, resamples: MANY, seed: 5, groups });
    // The first call ranks by all rows.
    expect(many.seen.length).toBe(1 + MANY);
    expect(many.seen.slice(0, 4)).toEqual(few.seen);
    expect(new Set(many.seen).size).toBe(1 + MANY);
  });

  it("shuffled labels are the same whatever their number, k and ranking are", async () => {
    const few = recorder();
    const many = recorder();
    await probeControls(x, y, [1], { ranking: few.ranking, draws: 3, seed: 5 });
    await probeControls(x, y, [2, 7], { ranking: many.ranking, draws: MANY, seed: 5, tolerance: 1e-4 });
    expect(many.seen.slice(0, 4)).toEqual(few.seen);
    expect(new Set(many.seen).size).toBe(1 + MANY);
  });

  it.each(SEEDED)("controls ranked by %s do not depend on other k, nor on later batches", async (ranking) => {
    const count = ranking === "random" ? MANY : 4;
    const options = { ranking, seed: 3, tolerance: 1e-4 };
    const many = await probeControls(x, y, [1, 4], { ...options, draws: count });
    const few = await probeControls(x, y, [4], { ...options, draws: 2 });
    for (const control of ["shuffled-labels", "random-support"] as const) {
      const supports = (rows: typeof few.rows, at: number) =>
        rows[at].controls[control].draws.slice(0, 2).map(({ support }) => support);
      expect(supports(many.rows, 1)).toEqual(supports(few.rows, 0));
    }
    // A draw of its own for each set of labels.
    const drawn = many.rows[1].controls["shuffled-labels"].draws.map(({ support }) => support.join(" "));
    expect(new Set(drawn).size).toBeGreaterThan(1);
  });

  it("a k that is asked for twice is drawn once", async () => {
    const twice = await probeControls(x, y, [2, 2], { draws: 5 });
    const once = await probeControls(x, y, [2], { draws: 5 });
    expect(twice.rows).toEqual([once.rows[0], once.rows[0]]);
    expect(twice.rows[0].controls["random-support"].selectivity.f1.draws).toBe(5);
  });

  it.each(SEEDED)("folds and candidates ranked by %s do not depend on the other k and C", async (ranking) => {
    const options = { ranking, seed: 8, groups };
    const alone = await crossValidate(x, y, [3], { ...options, folds: 4 });
    const many = await crossValidate(x, y, [1, 3, 6], { ...options, folds: 4, Cs: [0.1, 1] });
    const row = many.rows.find(({ k, C }) => k === 3 && C === 1)!;
    expect(row.folds.map((fold) => fold!.support)).toEqual(alone.rows[0].folds.map((fold) => fold!.support));
    expectClose(row.scores as number[], alone.rows[0].scores as number[], 1e-12, "score");
    const one = await selectAndTest(x, y, [3], { ...options, bootstrap: { resamples: 2 } });
    const grid = await selectAndTest(x, y, [1, 3], { ...options, Cs: [0.1, 1], bootstrap: { resamples: 2 } });
    expect(grid.split).toEqual(one.split);
    expect(grid.candidates.find(({ k, C }) => k === 3 && C === 1)!.support).toEqual(one.chosen.support);
    // The same that the probe itself draws for a feature of this name.
    const probe = await SparseProbe.fit(x, y, 3, { ranking, seed: 8, rows: one.split.train });
    expect(one.chosen.support).toEqual(probe.support);
    const compared = await compareSelections(x, y, [3], {
      seed: 8,
      split: { train: one.split.train, test: one.split.test },
      methods: ["f", ranking],
      resamples: 2,
    });
    expect(compared.rows[1].support).toEqual(probe.support);
  });

  it.each(SEEDED)(
    "scores by %s are those of the feature, whatever other features there are",
    async (ranking) => {
      const { rankings: alone } = await rankActivations(x, { b: y }, { ranking, seed: 2 });
      const other = y.map((_, i) => i % 3 === 0);
      const { rankings: both } = await rankActivations(x, { a: other, b: y }, { ranking, seed: 2 });
      // Moments of several label sets differ from those of one in their last float32 digits.
      expectClose(both[1].scores, alone[0].scores, 1e-5, "score");
      expect(both[1].order).toEqual(alone[0].order);
    },
  );

  it("permutations and resamples start with the same ones, however many there are", async () => {
    const folds = 3;
    const few = await permutationTestScore(x, y, 2, { permutations: 3, folds, seed: 6, ranking: "random" });
    const many = await permutationTestScore(x, y, 2, { permutations: 30, folds, seed: 6, ranking: "random" });
    expect(many.permutationScores.slice(0, 3)).toEqual(few.permutationScores);
    const short = await permutationTest(x, y, { permutations: 5, seed: 6, groups });
    const long = await permutationTest(x, y, { permutations: MANY, seed: 6, groups });
    expectClose(long.maxima.subarray(0, 5), short.maxima, 1e-6, "maximum");
    // Two resamples, and ten of which the first two are these: extremes can only move outwards.
    const scores = y.map((label, i) => label - 0.5 + Math.sin(i));
    const options = { seed: 6, level: 0.999999, metrics: ["rocAuc"] as const };
    const two = (await bootstrapMetrics(y, scores, { ...options, resamples: 2 })).metrics.rocAuc;
    const ten = (await bootstrapMetrics(y, scores, { ...options, resamples: 10 })).metrics.rocAuc;
    expect(ten.low!).toBeLessThanOrEqual(two.low! + 1e-5);
    expect(ten.high!).toBeGreaterThanOrEqual(two.high! - 1e-5);
  });
});
