/** Sweeps against the calls that they are made of, and against themselves under other circumstances. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { UNLABELLED } from "../../src/data/labels.ts";
import { splitRows, THREE_PARTS } from "../../src/data/splits.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { rotateActivations } from "../../src/probes/rotate-activations.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { runBootstrap } from "../../src/statistics/bootstrap.ts";
import { isFitted, type SweepRow } from "../../src/sweeps/sweep-row.ts";
import type { SweepStudy } from "../../src/sweeps/sweep-study.ts";
import { bundledDataset, loadBundledModel, sweepAll } from "./studies.ts";

let model: LanguageModel;
let dataset: FeatureDataset;

beforeAll(async () => {
  model = await loadBundledModel();
  dataset = await bundledDataset(model.tokenizer, "natural-language", 70);
});

afterAll(() => {
  model.dispose();
});

/** Equal but for rounding: class moments are summed in other orders, and what is computed from them moves in the last digits. */
function expectNear(got: readonly SweepRow[], want: readonly SweepRow[]): void {
  expect(got.map(withoutNumbers)).toEqual(want.map(withoutNumbers));
  for (const [r, row] of got.entries()) {
    const numbers = numbersOf(row);
    for (const [at, number] of numbersOf(want[r]).entries()) expect(numbers[at]).toBeCloseTo(number, 6);
  }
}

function withoutNumbers(row: SweepRow): object {
  return { ...row, coefficients: [], intercept: 0, metrics: null, intervals: {}, seconds: 0, iterations: 0 };
}

function numbersOf({ coefficients, intercept, metrics }: SweepRow): number[] {
  return [...coefficients, intercept ?? 0, ...METRIC_NAMES.map((name) => metrics?.[name] ?? -1)];
}

const LAYERS = [1, 3];

describe("a sweep over a model", () => {
  it("gives the probes of the calls that it is made of", async () => {
    const rows = await sweepAll({
      models: [model],
      datasets: [dataset],
      layers: [1],
      features: ["de", "fr"],
      methods: ["mean-difference", "adaptive", "l1-logistic"],
      ks: [1, 4],
      seeds: [3],
      rotations: [9],
      intervals: { metrics: ["f1", "rocAuc"], draws: 50, ks: [4] },
    });
    expect(rows).toHaveLength(2 * 2 * 3 * 2 * 2);
    const point = "blocks.1.mlp.hook_post";
    const captured = await captureActivations(model, TokenRows.ofDataset(model, dataset), {
      hookPoints: [point],
    });
    const own = captured.get(point)!;
    const groups = Array.from(dataset.rows.passage, (p) => dataset.passages[p].group);
    for (const feature of ["de", "fr"]) {
      const y = dataset.labels.of(dataset.labels.features.indexOf(feature));
      const used = Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
      const parts = splitRows({
        labels: used.map((i) => y[i]),
        groups: used.map((i) => groups[i]),
        seed: 3,
        fractions: THREE_PARTS,
      });
      const train = Array.from(parts.train, (r) => used[r]);
      for (const rotation of [null, 9]) {
        const x = rotation === null ? own : await rotateActivations(own, { seed: rotation });
        const options = { rows: train, seed: 3 };
        const expected = {
          "mean-difference": await SparseProbe.path(x, y, [1, 4], options),
          adaptive: await SparseProbe.adaptive(x, y, [1, 4], options),
          "l1-logistic": await SparseProbe.path(x, y, [1, 4], { ...options, ranking: "l1-logistic" }),
        };
        for (const [method, probes] of Object.entries(expected)) {
          for (const probe of probes) {
            for (const split of ["validation", "test"] as const) {
              const row = rows.find(
                (one) =>
                  one.feature === feature &&
                  one.rotation === rotation &&
                  one.method === method &&
                  one.k === probe.k &&
                  one.split === split,
              )!;
              const scored = Array.from(parts[split], (r) => used[r]);
              const metrics = probe.evaluate(x, y, { rows: scored });
              expect(row.status).toBe("ok");
              expect(row.support).toEqual(probe.support);
              // The moments behind the standardisation were summed in other batches.
              for (const [j, w] of row.coefficients.entries())
                expect(w).toBeCloseTo(probe.coefficients[j], 4);
              expect(row.scored).toEqual({ positives: metrics.positives, negatives: metrics.negatives });
              for (const name of METRIC_NAMES) {
                if (metrics[name] === null) expect(row.metrics![name]).toBeNull();
                else expect(row.metrics![name]).toBeCloseTo(metrics[name], 4);
              }
              expect(row.train).toEqual({
                positives: train.filter((i) => y[i] === 1).length,
                negatives: train.filter((i) => y[i] === 0).length,
              });
              const { metrics: measured } = await runBootstrap(
                scored.map((i) => y[i]),
                Array.from(probe.decisionFunction(x.selectRows(scored))),
                { groups: scored.map((i) => groups[i]), resamples: 50, seed: 3, metrics: ["f1"] },
              );
              if (row.k === 1 || measured.f1!.low === null) expect(row.intervals.f1).toBeUndefined();
              else expect(row.intervals.f1!.low).toBeCloseTo(measured.f1!.low, 4);
            }
          }
        }
      }
    }
  });

  it("has its rows in order, every combination once", async () => {
    const rows = await sweepAll({
      models: [model],
      datasets: [dataset],
      layers: LAYERS,
      features: ["es", "it"],
      methods: ["random", { name: "dense", method: "dense", rotated: false }],
      ks: [2, 1],
      seeds: [1, 0],
      rotations: [0],
    });
    const keys = rows.map((row) =>
      [row.layer, row.rotation, row.seed, row.feature, row.method, row.k, row.split].join(),
    );
    const expected = LAYERS.flatMap((layer) =>
      [null, 0].flatMap((rotation) =>
        [1, 0].flatMap((seed) =>
          ["es", "it"].flatMap((feature) =>
            [
              ["random", 2] as const,
              ["random", 1] as const,
              ...(rotation === null ? [["dense", model.spec.dMlp] as const] : []),
            ].flatMap(([method, k]) =>
              ["validation", "test"].map((split) =>
                [layer, rotation, seed, feature, method, k, split].join(),
              ),
            ),
          ),
        ),
      ),
    );
    expect(keys).toEqual(expected);
    expect(rows.every(isFitted)).toBe(true);
    expect(rows.every((row) => Object.isFrozen(row) && Object.isFrozen(row.metrics))).toBe(true);
  });

  it("gives a feature the same rows whatever else is in the study", async () => {
    const alone = await sweepAll({
      models: [model],
      datasets: [dataset],
      layers: [3],
      features: ["it"],
      methods: ["adaptive", "random"],
      ks: [4],
    });
    const among = await sweepAll({
      models: [model],
      datasets: [dataset],
      layers: [1, 3],
      features: ["de", "it", "pt"],
      methods: ["mutual-information", "random", "mean-difference", "adaptive"],
      ks: [1, 4],
      seeds: [7, 0],
    });
    const same = among.filter(
      (row) =>
        row.layer === 3 &&
        row.feature === "it" &&
        row.k === 4 &&
        row.seed === 0 &&
        /adaptive|random/.test(row.method),
    );
    const key = (row: SweepRow): string => `${row.method} ${row.split}`;
    const sorted = (rows: readonly SweepRow[]): SweepRow[] =>
      [...rows].sort((a, b) => key(a).localeCompare(key(b)));
    expectNear(sorted(alone), sorted(same));
  });

  it("gives the same rows in little memory", async () => {
    const study: SweepStudy = {
      models: [model],
      datasets: [dataset],
      layers: LAYERS,
      features: ["de", "pt"],
      methods: [
        "mean-difference",
        { name: "adaptive", method: "adaptive", options: { schedule: [64, 16, 4] } },
        { name: "mi", method: "mutual-information", options: { prefilter: 40 } },
      ],
      ks: [1, 16],
    };
    const rows = dataset.rows.passage.length;
    const one = 4 * rows * model.spec.dMlp;
    const roomy = await sweepAll(study);
    // Hook points one by one; then columns alone, in one part and in several.
    for (const memoryBytes of [1.3 * one, 0.9 * one, 0.55 * one]) {
      const tight = await sweepAll(study, { memoryBytes });
      expect(tight.map((row) => row.status)).toEqual(roomy.map(() => "ok"));
      expectNear(tight, roomy);
    }
  });
});
