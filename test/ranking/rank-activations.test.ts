/** Every ranking from activations and labels: oracles, invariances, sources, backends and what is refused. */
import { describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import { rankActivations } from "../../src/probes/rank-activations.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { mutualInformationOfClass } from "../../src/ranking/mutual-information.ts";
import {
  COLUMN_RANKINGS,
  MOMENT_RANKINGS,
  rankNeurons,
  type MomentRankingName,
  type Ranking,
  type RankingChoice,
  type RankingFunction,
  type RankingName,
  type RankingOptions,
} from "../../src/ranking/ranking.ts";
import probes from "../fixtures/sklearn/probes.json" with { type: "json" };
import { probes as fixture } from "../fixtures/sklearn/rankings.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { openTestBackend } from "../support/gpu.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";
import { fixtureActivations } from "../support/sklearn-probes.ts";

const NAMES: readonly RankingName[] = [
  ...(Object.keys(MOMENT_RANKINGS) as MomentRankingName[]),
  ...COLUMN_RANKINGS,
];
const train = Array.from({ length: probes.train }, (_, i) => i);
const labels = new LabelMatrix(["f"], probes.rows, Uint8Array.from(probes.labels));

async function rank(
  x: Parameters<typeof rankActivations>[0],
  y: Parameters<typeof rankActivations>[1],
  options: Parameters<typeof rankActivations>[2] = {},
): Promise<Ranking> {
  const { rankings, failures } = await rankActivations(x, y, options);
  if (failures.length > 0) throw failures[0].error;
  return rankings[0];
}

function inBlocks(x: Activations, size: number): ActivationBlocks & { passes: number } {
  const source = {
    rows: x.rows,
    neurons: x.neurons,
    passes: 0,
    *blocks() {
      source.passes++;
      for (let start = 0; start < x.rows; start += size) yield x.slice(start, Math.min(x.rows, start + size));
    },
  };
  return source;
}

describe("rankings by a linear model are scikit-learn's", () => {
  it.each(fixture.l1)("l1-logistic, C = $C", async ({ C, coefficients }) => {
    const { scores, converged } = await rank(fixtureActivations(), labels, {
      rows: train,
      ranking: { name: "l1-logistic", C },
    });
    expect(converged).toBe(true);
    // A gap of 1e-10 per unit of weight, and the float32 moments that standardise: six digits.
    expectClose(scores, coefficients, 2e-5, "coefficient");
  });

  it.each(fixture.svm.filter((c) => c.balanced))("linear-svm, C = $C", async ({ C, coefficients }) => {
    const { scores, converged } = await rank(fixtureActivations(), labels, {
      rows: train,
      ranking: { name: "linear-svm", C },
    });
    expect(converged).toBe(true);
    // ‖w − w*‖² ≤ 2·gap, and the gap is at most 1e-4 of an objective that is below C·Σω.
    expectClose(scores, coefficients, Math.sqrt(2e-4 * C * probes.train), "coefficient");
  });

  it("have the defaults that they are documented with", async () => {
    const of = (ranking: RankingChoice) => rank(fixtureActivations(), labels, { rows: train, ranking });
    expect(await of("l1-logistic")).toEqual(await of({ name: "l1-logistic", C: 0.1 }));
    expect(await of("linear-svm")).toEqual(await of({ name: "linear-svm", C: 0.01 }));
    expect(await of("mutual-information")).toEqual(await of({ name: "mutual-information", neighbours: 3 }));
    expect(await of("mutual-information")).not.toEqual(
      await of({ name: "mutual-information", neighbours: 5 }),
    );
  });
});

describe.each(NAMES)("%s", (ranking) => {
  it("puts equal neurons in the order of their indices, and a constant one last", async () => {
    const x = fixtureActivations();
    // Columns 0 to 2, the constant column 3, then 0 to 2 again.
    const doubled = x.gatherColumns([0, 1, 2, 3, 0, 1, 2]);
    const { order, scores } = await rank(doubled, labels, { rows: train, ranking });
    if (ranking === "random") return;
    expect(scores[3]).toBe(0);
    for (const j of [0, 1, 2]) {
      // What fits all columns together shares a weight between copies; either may be rounded up.
      if (ranking === "l1-logistic" || ranking === "linear-svm") continue;
      expect(scores[j + 4]).toBe(scores[j]);
      expect(order.indexOf(j)).toBeLessThan(order.indexOf(j + 4));
    }
    const ascending = [...order].every(
      (j, r) =>
        r === 0 ||
        Math.abs(scores[order[r - 1]]) > Math.abs(scores[j]) ||
        (scores[order[r - 1]] ** 2 === scores[j] ** 2 && order[r - 1] < j),
    );
    expect(ascending).toBe(true);
  });

  it("does not change with the unit of the activations", async () => {
    const x = randomActivations(5, 400, 12);
    const y = randomLabels(5, x, 1);
    const want = await rank(x, y, { ranking });
    const largest = sizeOf(want);
    for (const factor of [60, 1e-3]) {
      const scaled = new Activations(
        x.toFloat32().map((v) => v * factor),
        [x.rows, x.neurons],
      );
      const got = await rank(scaled, y, { ranking });
      // Rounding of the scaled values swaps no more than neurons whose scores are about equal.
      for (const [r, j] of got.order.entries()) {
        const other = want.order[r];
        const gap = Math.abs(Math.abs(want.scores[j]) - Math.abs(want.scores[other]));
        expect(gap, `place ${r}, neurons ${j} and ${other}`).toBeLessThanOrEqual(2e-3 * largest);
      }
      expect(got.order[0]).toBe(want.order[0]);
    }
  });

  it("is the same from the host, a device and blocks, for a feature alone or among others", async () => {
    const x = randomActivations(6, 300, 20);
    const y = randomLabels(6, x, 3, 0.2);
    const backend = createCpuBackend();
    const options: RankingOptions = { ranking, seed: 4 };
    const { rankings: want } = await rankActivations(x, y, options);
    const held = await backend.upload(x);
    expect((await rankActivations(held, y, { ...options, backend })).rankings).toEqual(want);
    // Moments that were merged, or computed with others, are not the same to the last digit.
    const close = (got: readonly Ranking[]): void => {
      for (const [f, one] of got.entries()) {
        expectClose(one.scores, want[f].scores, 1e-3 * sizeOf(want[f]), `feature ${f}`);
      }
    };
    const blocks = inBlocks(x, 77);
    close((await rankActivations(blocks, y, options)).rankings);
    expect(blocks.passes).toBeLessThanOrEqual(
      ranking in MOMENT_RANKINGS || ranking === "mutual-information-histogram" ? 1 : 4,
    );
    for (let f = 0; f < 3; f++) {
      const alone = new LabelMatrix([y.features[f]], y.rows, y.of(f).slice());
      expectClose(
        (await rank(x, alone, options)).scores,
        want[f].scores,
        1e-3 * sizeOf(want[f]),
        `${f} alone`,
      );
    }
    const filtered = { ...options, prefilter: 7 };
    const { rankings: few } = await rankActivations(x, y, filtered);
    expect(few.map(({ order }) => order.length)).toEqual([7, 7, 7]);
    for (const [f, got] of (await rankActivations(inBlocks(x, 77), y, filtered)).rankings.entries()) {
      expect([...got.order].sort()).toEqual([...few[f].order].sort());
    }
  });

  it("reads no row but those it is told to", async () => {
    const x = randomActivations(8, 200, 6);
    const y = randomLabels(8, x, 1);
    const rows = Array.from({ length: 150 }, (_, i) => i);
    const want = await rank(x.selectRows(rows), y.restrictedTo(rows).slice(0, 150), { ranking });
    const spoilt = x.toFloat32().slice();
    spoilt.fill(NaN, 150 * 6);
    const got = await rank(new Activations(spoilt, [200, 6]), y, { ranking, rows });
    // The seed's stream is the same, and so is everything else.
    expect([...got.order]).toEqual([...want.order]);
  });

  it("chooses supports for probes, nested, whatever other ks are asked for", async () => {
    const x = randomActivations(9, 200, 16);
    const y = randomLabels(9, x, 1);
    const options = { ranking, seed: 2, prefilter: 10 };
    const path = await SparseProbe.path(x, y, [1, 4, 10], options);
    const { order, scores } = await rank(x, y, options);
    for (const probe of path) {
      expect(probe.support).toEqual([...order.subarray(0, probe.k)]);
      // Fits ask for squares beside the means, and the kernels then sum in another order: float32 blocks of 256 rows.
      for (const [at, j] of probe.support.entries()) {
        expect(Math.abs(probe.scores[at] - scores[j])).toBeLessThanOrEqual(
          256 * 2 ** -24 * Math.abs(scores[j]),
        );
      }
    }
    expect((await SparseProbe.fit(x, y, 4, options)).support).toEqual(path[1].support);
    expect(SparseProbe.fromJSON(JSON.parse(JSON.stringify(path[0]))).toJSON()).toEqual(path[0].toJSON());
    expect(path[0].options).toMatchObject({ ranking, seed: 2, prefilter: 10 });
    // Without a list of ks, those of the schedule that the pre-filter leaves.
    const all = await SparseProbe.path(x, y, undefined, options);
    expect(all.map(({ k }) => k)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 10]);
    await expect(SparseProbe.fit(x, y, 11, options)).rejects.toThrow(/the pre-filter leaves 10 neurons/);
  });

  it("reports a feature of one class or with NaN, and ranks the others", async () => {
    const x = randomActivations(10, 60, 4);
    const values = x.toFloat32().slice();
    values[5 * 4 + 2] = NaN;
    const good = Uint8Array.from({ length: 60 }, (_, i) => (i === 5 ? UNLABELLED : i % 2));
    const y = new LabelMatrix(
      ["one class", "not finite", "good"],
      60,
      Uint8Array.from([...new Uint8Array(60), ...good.map((v, i) => (i === 5 ? 1 : v)), ...good]),
    );
    const { rankings, failures } = await rankActivations(new Activations(values, [60, 4]), y, { ranking });
    expect(rankings.map(({ feature }) => feature)).toEqual(["good"]);
    expect(failures.map(({ feature, error }) => [feature, error.code])).toEqual([
      ["one class", "one-class"],
      ["not finite", "non-finite"],
    ]);
  });
});

describe("rankActivations", () => {
  it("gives the scores of the functions behind the names", async () => {
    const x = fixtureActivations();
    const ranking = await rank(x, labels, { rows: train, ranking: "mutual-information", seed: 3 });
    const y = labels.restrictedTo(train).of(0);
    const columns = x.toFloat32();
    for (let j = 0; j < x.neurons; j++) {
      const column = Float32Array.from({ length: x.rows }, (_, i) => columns[i * x.neurons + j]);
      expect(ranking.scores[j]).toBe(mutualInformationOfClass(column, y, { seed: 3, key: String(j) }));
    }
    const backend = createCpuBackend();
    const moments = await backend.classMoments(await backend.upload(x), labels.restrictedTo(train));
    expect(await rank(x, labels, { rows: train, ranking: "welch-t" })).toEqual(
      rankNeurons(moments, 0, "f", "welch-t"),
    );
  });

  it("takes class names, each class against the rest", async () => {
    const x = randomActivations(11, 90, 5);
    const { rankings } = await rankActivations(
      x,
      Array.from({ length: 90 }, (_, i) => ["a", "b", "c"][i % 3]),
      { ranking: "f" },
    );
    expect(rankings.map(({ feature }) => feature)).toEqual(["a", "b", "c"]);
  });

  it("takes functions that read columns, on the host or where the backend computes", async () => {
    const x = randomActivations(12, 120, 8);
    const y = randomLabels(12, x, 2, 0.1);
    const seen: number[][] = [];
    const spread: RankingFunction = async (moments, feature, context) => {
      expect(context.name).toBe(y.features[feature]);
      expect(context.labels).toEqual(y.of(feature));
      expect(context.seed).toBe(9);
      seen.push([...context.eligible]);
      const host = await context.columns(context.eligible);
      const device = await context.deviceColumns(context.eligible);
      expect((await device.read()).toFloat32()).toEqual(host.toFloat32());
      expect(host.toFloat32()).toEqual(x.gatherColumns(context.eligible).toFloat32());
      const scores = new Float64Array(moments.neurons);
      for (const j of context.eligible) scores[j] = -j;
      return scores;
    };
    for (const source of [x, inBlocks(x, 50)]) {
      const { rankings } = await rankActivations(source, y, { ranking: spread, prefilter: 3, seed: 9 });
      for (const [f, { order, scores }] of rankings.entries()) {
        expect([...order]).toEqual(seen[f].toReversed());
        expect([...order].map((j) => scores[j])).toEqual([...order].map((j) => -j));
      }
      seen.length = 0;
    }
    const probe = await SparseProbe.fit(
      x,
      y.of(0).map((v) => v & 1),
      2,
      {
        ranking: {
          name: "by index",
          score: (m) => Float64Array.from({ length: m.neurons }, (_, j) => j),
          squares: "none",
        },
      },
    );
    expect(probe.support).toEqual([7, 6]);
    expect(probe.options.ranking).toBe("by index");
  });

  it("refuses what it cannot do, with a remedy", async () => {
    const x = randomActivations(13, 40, 4);
    const y = Uint8Array.from({ length: 40 }, (_, i) => i % 2);
    const refused: [RankingOptions, string][] = [
      [{ ranking: "svm" as RankingName }, "option"],
      [{ ranking: { name: "toString" as RankingName } }, "option"],
      [{ ranking: { name: "l1-logistic", C: 0 } }, "option"],
      [{ ranking: { name: "linear-svm", C: NaN } }, "option"],
      [{ ranking: { name: "mutual-information", neighbours: 0 } }, "option"],
      [{ prefilter: 0 }, "option"],
      [{ prefilter: 1.5, ranking: "linear-svm" }, "option"],
      [{ ranking: "random", seed: -1 }, "option"],
      [{ ranking: "mutual-information", seed: 0.5 }, "option"],
      [{ ranking: () => new Float64Array(3) }, "shape"],
      [{ ranking: () => Float64Array.of(1, NaN, 0, 0) }, "non-finite"],
      [{ ranking: () => Promise.resolve(new Float64Array(5)) }, "shape"],
    ];
    for (const [options, code] of refused) {
      await expect(rank(x, y, options), JSON.stringify(options)).rejects.toMatchObject({ code });
      await expect(SparseProbe.fit(x, y, 1, options), JSON.stringify(options)).rejects.toMatchObject({
        code,
      });
    }
    await expect(rank(x, y.subarray(1))).rejects.toMatchObject({ code: "shape" });
  });

  it.each(COLUMN_RANKINGS)("%s stops when asked to, and frees what it holds", async (ranking) => {
    const x = randomActivations(14, 3000, 150);
    const y = randomLabels(14, x, 2);
    const inner = createCpuBackend();
    let held = 0;
    const backend: Backend = {
      ...bound(inner),
      upload: async (activations, options) => {
        const placed = await inner.upload(activations, options);
        held++;
        let gone = false;
        return Object.assign(placed, {
          dispose: () => {
            if (!gone) held--;
            gone = true;
          },
        });
      },
    };
    const reason = new Error("enough");
    await expect(rankActivations(x, y, { ranking, backend, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    const controller = new AbortController();
    let done = 0;
    const call = rankActivations(inBlocks(x, 1000), y, {
      ranking,
      backend,
      prefilter: 120,
      signal: controller.signal,
      onProgress: (now) => {
        done = now;
        controller.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
    expect(held).toBe(0);
    expect(done).toBeGreaterThan(0);
    await rankActivations(x, y, { ranking, backend, prefilter: 5 });
    expect(held).toBe(0);
  });
});

describe("on the GPU", () => {
  it.each(NAMES)("%s ranks as on the CPU", async (ranking) => {
    const backend = await openTestBackend();
    try {
      const x = randomActivations(15, 150, 9);
      const y = randomLabels(15, x, 2, 0.1);
      const { rankings: want } = await rankActivations(x, y, { ranking });
      const placed = await backend.upload(x);
      for (const source of [x, placed, inBlocks(x, 64)]) {
        const { rankings } = await rankActivations(source, y, { ranking, backend });
        for (const [f, { scores }] of rankings.entries()) {
          expectClose(scores, want[f].scores, 1e-3 * sizeOf(want[f]), `feature ${f}`);
        }
      }
      placed.dispose();
    } finally {
      backend.dispose();
    }
  });
});

/** The largest score. */
function sizeOf({ scores }: Ranking): number {
  return Math.max(...scores.map(Math.abs));
}

/** A backend whose methods can be replaced one by one. */
function bound(backend: Backend): Backend {
  const copy: Record<string, unknown> = { info: backend.info };
  for (const name of [
    "allocate",
    "release",
    "adopt",
    "classMoments",
    "gatherColumns",
    "fitLogisticL1",
    "dispose",
  ] as const) {
    copy[name] = (backend[name] as (...args: unknown[]) => unknown).bind(backend);
  }
  return copy as unknown as Backend;
}
