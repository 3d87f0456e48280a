/** What every call of the statistics promises, for every ranking. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { Activations } from "../../src/data/activations.ts";
import { NonFiniteError, OptionError, ShapeError } from "../../src/errors.ts";
import type { ActivationSource } from "../../src/probes/activation-source.ts";
import type { ProbeLabels } from "../../src/probes/one-feature.ts";
import { COLUMN_RANKINGS, MOMENT_RANKINGS, type RankingChoice } from "../../src/ranking/ranking.ts";
import {
  compareSelections,
  crossValidate,
  permutationTest,
  permutationTestScore,
  probeControls,
  selectAndTest,
  supportStability,
} from "../../src/statistics/statistics.ts";
import type { StatisticsOptions } from "../../src/statistics/study.ts";
import { validationData } from "./fixture.ts";

const { x, y, groups } = validationData();

type Options = StatisticsOptions & { readonly onProgress?: (done: number, total: number) => void };
type Call = (acts: ActivationSource, labels: ProbeLabels, options: Options) => Promise<unknown>;

/** Every call that takes activations and labels, at small sizes. */
const CALLS: Readonly<Record<string, Call>> = {
  crossValidate: (acts, labels, options) => crossValidate(acts, labels, [1, 3], { ...options, folds: 3 }),
  selectAndTest: (acts, labels, options) =>
    selectAndTest(acts, labels, [1, 3], { ...options, bootstrap: { resamples: 10 } }),
  permutationTest: (acts, labels, { ranking, ...options }) =>
    permutationTest(acts, labels, { ...options, ranking: ranking as "f", permutations: 9 }),
  permutationTestScore: (acts, labels, options) =>
    permutationTestScore(acts, labels, 2, { ...options, folds: 3, permutations: 4 }),
  probeControls: (acts, labels, options) => probeControls(acts, labels, [1, 3], { ...options, draws: 3 }),
  supportStability: (acts, labels, options) =>
    supportStability(acts, labels, [1, 3], { ...options, resamples: 5 }),
  compareSelections: (acts, labels, { ranking = "f", ...options }) =>
    compareSelections(acts, labels, [1, 3], { ...options, resamples: 10, methods: [ranking] }),
};

const RANKINGS: readonly RankingChoice[] = [
  ...(Object.keys(MOMENT_RANKINGS) as (keyof typeof MOMENT_RANKINGS)[]),
  ...COLUMN_RANKINGS,
  { name: "mutual-information", neighbours: 5 },
  (moments) => Float64Array.from({ length: moments.neurons }, (_, j) => j),
];

/** Places of numbers that are not finite, and of objects that can be changed. */
function faults(value: unknown, path = ""): string[] {
  if (typeof value === "number") return Number.isFinite(value) ? [] : [`${path} is ${value}`];
  if (typeof value !== "object" || value === null) return value === undefined ? [`${path} is undefined`] : [];
  const parts = Object.entries(value).flatMap(([key, part]) => faults(part, `${path}.${key}`));
  return Object.isFrozen(value) || ArrayBuffer.isView(value) ? parts : [`${path} is not frozen`, ...parts];
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(Object.keys(CALLS))("%s", (name) => {
  const call = CALLS[name];

  it.each(RANKINGS.map((ranking) => ({ ranking })))(
    "by $ranking: frozen, finite, with progress that rises to its total, and no global randomness",
    async ({ ranking }) => {
      const global = vi.spyOn(Math, "random");
      const seen: [number, number][] = [];
      const running = call(x, y, { ranking, onProgress: (done, total) => seen.push([done, total]) });
      const reads = typeof ranking === "string" ? ranking : (ranking as { name: string }).name;
      if (name === "permutationTest" && COLUMN_RANKINGS.includes(reads as "l1-logistic")) {
        await expect(running).rejects.toThrow(/permutationTestScore/);
        return;
      }
      expect(faults(await running)).toEqual([]);
      expect(global).not.toHaveBeenCalled();
      expect(new Set(seen.map(([, total]) => total)).size).toBe(1);
      expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).sort((a, b) => a - b));
      expect(seen.at(-1)![0]).toBe(seen[0][1]);
    },
  );

  it("takes the same labels in any form, and a pre-filter", async () => {
    const options = { feature: "fr" };
    const plain = (result: unknown): unknown =>
      JSON.parse(
        JSON.stringify(result, (key, value: unknown) => (/seconds|^positive$/i.test(key) ? null : value)),
      );
    const want = plain(await call(x, y, options));
    expect(
      plain(
        await call(
          x,
          y.map((label) => label === 1),
          options,
        ),
      ),
    ).toEqual(want);
    const matrix = new LabelMatrix(["fr"], x.rows, Uint8Array.from(y));
    expect(plain(await call(x, matrix, options))).toEqual(want);
    if (name === "permutationTest" || name === "compareSelections") return;
    await expect(call(x, y, { ...options, prefilter: 1 })).rejects.toThrow(
      name === "permutationTestScore" ? /k is 2.*pre-filter leaves 1/ : /k is 3.*pre-filter leaves 1/,
    );
    expect(faults(await call(x, y, { ...options, prefilter: 4 }))).toEqual([]);
  });

  it("does not read rows without a label, nor rows that take no part", async () => {
    const spoilt = (x.data as Float32Array).slice();
    spoilt.fill(NaN, 0, 20 * x.neurons);
    const acts = new Activations(spoilt, [x.rows, x.neurons]);
    const values = Uint8Array.from(y).fill(UNLABELLED, 0, 20);
    const rows = Array.from({ length: x.rows - 20 }, (_, i) => i + 20);
    const without = (result: unknown): string =>
      JSON.stringify(result, (key, value: unknown) => (/seconds/i.test(key) ? null : value));
    const want = without(await call(x, y, { rows, groups }));
    expect(without(await call(acts, y, { rows, groups }))).toBe(want);
    expect(without(await call(acts, new LabelMatrix(["feature"], x.rows, values), { groups }))).toBe(want);
  });

  it("stops wherever it is told to, and names what is wrong", async () => {
    let stages = 0;
    await call(x, y, { onProgress: () => stages++ });
    for (let at = 1; at <= Math.min(stages, 3); at++) {
      const controller = new AbortController();
      const reason = new Error(`stage ${at}`);
      let stage = 0;
      const running = call(x, y, {
        signal: controller.signal,
        onProgress: () => {
          if (++stage === at) controller.abort(reason);
        },
      });
      // The last report may come when there is nothing left to stop.
      if (at < stages) await expect(running).rejects.toBe(reason);
      else
        await running.catch((error: unknown) => {
          expect(error).toBe(reason);
        });
    }
    await expect(call(x, y, { ranking: "astrology" as "f" })).rejects.toThrow(OptionError);
    await expect(call(x, y, { groups: [1, 2] })).rejects.toThrow(ShapeError);
    await expect(call(x, y, { seed: -1 })).rejects.toThrow(OptionError);
    if (name !== "crossValidate" && name !== "compareSelections") {
      const spoilt = (x.data as Float32Array).map((value, at) => (at % 24 === 0 ? NaN : value));
      const failing = call(new Activations(spoilt, [x.rows, x.neurons]), y, { feature: "planted" });
      await expect(failing).rejects.toThrow(NonFiniteError);
      if (name !== "permutationTest") await expect(failing).rejects.toThrow(/feature "planted/);
    }
  });
});
