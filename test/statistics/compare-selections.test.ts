import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { OneClassError, OptionError, ShapeError, SupportSizeError } from "../../src/errors.ts";
import { findOptimalSupports } from "../../src/optimal/find-optimal-supports.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { SELECTION_METHODS } from "../../src/statistics/selection-comparison.ts";
import { bootstrapProbe, compareSelections } from "../../src/statistics/statistics.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();
const rowsOf = (parity: number): number[] => y.flatMap((_, i) => (groups[i] % 2 === parity ? [i] : []));
const split = { train: rowsOf(0), test: rowsOf(1) };
const common = { split, groups, resamples: 50 };

describe("comparing ways to choose neurons", () => {
  it("gives every method's own support, the same probe for all, and intervals on the test rows", async () => {
    const ks = [1, 2, 4];
    const { rows, methods, feature } = await compareSelections(x, y, ks, common);
    expect(feature).toBe("feature");
    expect(methods.map(({ method }) => method)).toEqual(SELECTION_METHODS);
    expect(methods.flatMap(({ failures }) => failures)).toEqual([]);
    expect(rows.map(({ method, k }) => [method, k])).toEqual(
      SELECTION_METHODS.flatMap((method) => ks.map((k) => [method, k])),
    );
    for (const { method, k, support, objective, metrics } of rows) {
      let want: readonly number[];
      if (method === "optimal") {
        const [found] = await findOptimalSupports(x, y, [k], { rows: split.train });
        want = found.support;
      } else if (method === "adaptive-thresholding") {
        [{ support: want }] = await SparseProbe.adaptive(x, y, [k], { rows: split.train });
      } else {
        const ranking = method as "mean-difference";
        [{ support: want }] = await SparseProbe.path(x, y, [k], { rows: split.train, ranking });
      }
      expect([method, k, [...support].sort()]).toEqual([method, k, [...want].sort()]);
      // Any probe on these neurons is the same optimum, whoever chose them.
      const score = (j: number): number => (want.includes(j) ? 1 : 0);
      const probe = await SparseProbe.fit(x, y, k, {
        rows: split.train,
        ranking: () => Float64Array.from({ length: x.neurons }, (_, j) => score(j)),
      });
      expect(Math.abs(objective / probe.convergence.objective - 1)).toBeLessThan(1e-9);
      if (k !== 2) continue;
      const alone = await bootstrapProbe(probe, x, y, { rows: split.test, groups, resamples: 50 });
      expect(metrics.f1).toEqual(alone.metrics.f1);
      expect(metrics.rocAuc!.estimate).toBeCloseTo(alone.metrics.rocAuc.estimate!, 12);
    }
  });

  it("says how far supports agree with the first method's, and proves the optimal ones", async () => {
    const { rows } = await compareSelections(x, y, [1, 3], {
      ...common,
      methods: ["mean-difference", "optimal", "random"],
    });
    const row = (method: string, k: number) => rows.find((r) => r.method === method && r.k === k)!;
    expect([row("mean-difference", 1).overlap, row("mean-difference", 3).overlap]).toEqual([1, 1]);
    for (const k of [1, 3]) {
      const shared = row("random", k).support.filter((j) => row("mean-difference", k).support.includes(j));
      expect(row("random", k).overlap).toBe(shared.length / k);
      expect(row("optimal", k).proof).toMatchObject({ proved: true });
      expect(row("random", k).proof).toBeUndefined();
    }
  });

  it("on the probe's own problem no method has a smaller objective than the optimum", async () => {
    const { rows } = await compareSelections(x, y, [1, 2], {
      ...common,
      optimal: { gamma: 1, standardise: "standard", candidates: "all" },
    });
    for (const k of [1, 2]) {
      const best = rows.find((r) => r.method === "optimal" && r.k === k)!;
      expect(best.proof!.proved).toBe(true);
      for (const { objective, k: size } of rows) {
        // Proved to a relative gap of 1e-6.
        if (size === k) expect(objective).toBeGreaterThanOrEqual(best.objective * (1 - 1e-6));
      }
    }
  });

  it("does not change a method's rows when others join, and is the same every time", async () => {
    const few = await compareSelections(x, y, [2], { ...common, methods: ["random", "mutual-information"] });
    const more = await compareSelections(x, y, [1, 2], {
      ...common,
      methods: ["random", "f", "mutual-information"],
    });
    const of = (all: typeof few.rows) =>
      all
        .filter(({ method, k }) => k === 2 && method !== "f")
        .map(({ method, support, metrics }) => ({ method, support, metrics }));
    expect(of(more.rows)).toEqual(of(few.rows));
    expect(JSON.parse(JSON.stringify(few))).toEqual(few);
    expect(Object.isFrozen(few.rows[0].metrics)).toBe(true);
  });

  it("splits by group where no split is given, seeded", async () => {
    const options = { methods: ["mean-difference" as const], groups, resamples: 10 };
    const one = await compareSelections(x, y, [1], { ...options, seed: 4 });
    const again = await compareSelections(x, y, [1], { ...options, seed: 4 });
    expect(again.split).toEqual(one.split);
    const held = new Set(one.split.test.map((i) => groups[i]));
    expect(one.split.train.some((i) => held.has(groups[i]))).toBe(false);
    expect(one.split.train.length + one.split.test.length).toBe(y.length);
  });

  it("a method that fails says why, and the others go on", async () => {
    const methods = [
      "mean-difference",
      { name: "few first", ranking: "mutual-information", prefilter: 2 },
      { name: "broken", ranking: { name: "broken", score: () => new Float64Array(3) } },
    ] as const;
    const { rows, methods: reports } = await compareSelections(x, y, [1, 4], { ...common, methods });
    expect(rows.map(({ method, k }) => [method, k])).toEqual([
      ["mean-difference", 1],
      ["mean-difference", 4],
      ["few first", 1],
    ]);
    expect(reports.map(({ failures }) => failures.map(({ k }) => k))).toEqual([[], [4], [1, 4]]);
    expect(reports[1].failures[0].reason).toMatch(/leaves 2 neurons/);
    expect(reports[2].failures[0].reason).toMatch(/3 scores/);
    const small = await compareSelections(x, y, [1, 2, 4], {
      ...common,
      methods: ["optimal"],
      optimal: { upTo: 4, candidates: 2 },
    });
    expect(small.rows.map(({ k }) => k)).toEqual([1, 2]);
    expect(small.methods[0].failures).toEqual([{ k: 4, reason: "Optimal supports are sought up to k = 2." }]);
  });

  it("test rows choose and fit nothing", async () => {
    const changed = (x.data as Float32Array).slice();
    for (const i of split.test) {
      for (let j = 0; j < x.neurons; j++) changed[i * x.neurons + j] = (-1) ** j * 1e6;
    }
    const flipped = y.map((label, i) => (groups[i] % 2 === 1 ? 1 - label : label));
    const options = { ...common, metrics: ["f1"] as const };
    const before = await compareSelections(x, y, [1, 3], options);
    const after = await compareSelections(
      new Activations(changed, [x.rows, x.neurons]),
      flipped,
      [1, 3],
      options,
    );
    const chosen = ({ rows }: typeof before) =>
      rows.map(({ method, k, support, objective }) => ({ method, k, support, objective }));
    expect(chosen(after)).toEqual(chosen(before));
    expect(after.rows[0].metrics).not.toEqual(before.rows[0].metrics);
  });

  it.each([
    [{ methods: [] }, OptionError],
    [{ methods: ["astrology" as never] }, OptionError],
    [{ methods: ["f", "f"] as const }, OptionError],
    [{ metrics: ["beauty" as never] }, OptionError],
    [{ C: -1 }, OptionError],
    [{ resamples: 1 }, OptionError],
    [{ level: 1 }, OptionError],
    [{ optimal: { upTo: 0 } }, OptionError],
    [{ optimal: { gamma: -1 } }, OptionError],
    [{ methods: [{ name: "none", ranking: "f", prefilter: 0 }] as const }, OptionError],
    [{ split: { train: rowsOf(0).filter((i) => y[i] === 1), test: rowsOf(1) } }, OneClassError],
    [{ split: { train: rowsOf(0) } as never }, ShapeError],
  ])("refuses %o", async (options, error) => {
    await expect(compareSelections(x, y, [1], { ...common, ...options })).rejects.toBeInstanceOf(error);
  });

  it("refuses a k that there are not enough neurons for", async () => {
    await expect(compareSelections(x, y, [1, 40], common)).rejects.toBeInstanceOf(SupportSizeError);
  });

  it("reports progress to the end, and stops when it is told to", async () => {
    const seen: [number, number][] = [];
    await compareSelections(x, y, [1, 2], {
      ...common,
      methods: ["mean-difference", "random"],
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen.at(-1)).toEqual([6, 6]);
    expect(seen.map(([done]) => done)).toEqual([...seen.map(([done]) => done)].sort((a, b) => a - b));
    const controller = new AbortController();
    const reason = new Error("enough");
    const stopped = compareSelections(x, y, [1, 2], {
      ...common,
      signal: controller.signal,
      onProgress: () => {
        controller.abort(reason);
      },
    });
    await expect(stopped).rejects.toBe(reason);
  });
});
