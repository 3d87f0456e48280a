/** Sweeps that fail in part, and sweeps on other threads and devices. */
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { createBackend } from "../../src/node/create-backend.ts";
import type { HookPoint } from "../../src/backends/backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { DeviceLostError, OptionError } from "../../src/errors.ts";
import { K_SCHEDULE } from "../../src/probes/sparse-probe.ts";
import { rankActivations } from "../../src/probes/rank-activations.ts";
import { isFitted } from "../../src/sweeps/sweep-row.ts";
import type { SweepProgress, SweepStudy } from "../../src/sweeps/sweep-study.ts";
import { sweep } from "../../src/sweeps/sweep.ts";
import { randomActivations } from "../support/random-data.ts";
import { openTestBackend } from "../support/gpu.ts";
import { bundledDataset, loadBundledModel, ownActivations, sweepAll, timeless } from "./studies.ts";

describe("rows that cannot be had", () => {
  it("say why, and the others are there", async () => {
    const own = ownActivations(3, { rows: 90, neurons: 8, features: 1, points: 1 });
    const rows = own.labels.rows;
    const good = own.labels.of(0);
    const few = new Uint8Array(rows).fill(UNLABELLED);
    few.set([1, 0]);
    const values = new Uint8Array(4 * rows);
    values.set(good);
    values.set(new Uint8Array(rows), rows);
    values.set(few, 2 * rows);
    values.set(
      good.map((y, i) => (i < 45 ? y : UNLABELLED)),
      3 * rows,
    );
    const data = randomActivations(4, rows, 8).data as Float32Array;
    for (let i = 50; i < rows; i++) data[i * 8 + 2] = NaN;
    const labels = new LabelMatrix(["good", "one class", "two rows", "first half"], rows, values);
    const activations = new Map<HookPoint, Activations>([
      ["blocks.0.mlp.hook_post", new Activations(data, [rows, 8])],
    ]);
    const got = await sweepAll({
      activations: [{ ...own, labels, activations }],
      ks: [1, 99],
      methods: [
        "mean-difference",
        "dense",
        { name: "filtered", method: "f", options: { prefilter: 1, ks: [2] } },
      ],
    });
    const why = (feature: string, method: string, k: number): string | null =>
      got.find((row) => row.feature === feature && row.method === method && row.k === k)!.reason;
    expect(why("good", "mean-difference", 1)).toMatch(/Neuron 2 is NaN, infinite/);
    expect(why("one class", "mean-difference", 1)).toMatch(/0 positive and \d+ negative training rows/);
    expect(why("two rows", "dense", 8)).toMatch(/cannot be split/);
    expect(why("first half", "mean-difference", 1)).toBeNull();
    expect(why("first half", "dense", 8)).toBeNull();
    expect(why("first half", "mean-difference", 99)).toMatch(/k is 99/);
    expect(why("first half", "filtered", 2)).toMatch(/the pre-filter leaves 1/);
    expect(got).toHaveLength(4 * 4 * 2);
    for (const row of got) {
      if (isFitted(row)) continue;
      expect(row.reason).not.toBeNull();
      expect([row.train, row.scored, row.metrics, row.intercept, row.converged, row.seconds]).toEqual(
        Array(6).fill(null),
      );
      expect([row.support, row.coefficients]).toEqual([[], []]);
    }
  });

  it("are those of a model that does not load, of a dataset that is not built, of a layer that there is not", async () => {
    const model = await loadBundledModel();
    const dataset = await bundledDataset(model.tokenizer, "natural-language", 70);
    let disposed = 0;
    const lent = await loadBundledModel();
    const dispose = lent.dispose.bind(lent);
    lent.dispose = () => {
      disposed++;
      dispose();
    };
    const rows = await sweepAll({
      models: [
        { name: "lost", revision: "r", load: () => Promise.reject(new Error("no such file")) },
        { name: "lent", load: () => Promise.resolve(lent) },
      ],
      datasets: [{ name: "unbuilt", build: () => Promise.reject(new Error("no such corpus")) }, dataset],
      layers: [1, 77],
      features: ["de"],
      ks: [1],
    });
    expect(
      rows.map(({ model: name, dataset: of, layer, reason }) => [
        name,
        of,
        layer,
        reason?.slice(0, 24) ?? null,
      ]),
    ).toEqual(
      [
        ["lost", "unbuilt", 1, "Error: no such file"],
        ["lost", "unbuilt", 77, "Error: no such file"],
        ["lost", "natural-language", 1, "Error: no such file"],
        ["lost", "natural-language", 77, "Error: no such file"],
        ["lent", "unbuilt", 1, "Error: no such corpus"],
        ["lent", "unbuilt", 77, "Error: no such corpus"],
        ["lent", "natural-language", 1, null],
        ["lent", "natural-language", 77, "The model has no hook po"],
      ].flatMap((row) => [row, row]),
    );
    expect(disposed).toBe(1);
    model.dispose();
  });

  it("do not stand for a device that is lost", async () => {
    const backend = createCpuBackend();
    const lost = new DeviceLostError("The device is gone.", "Get another.");
    const broken = {
      ...backend,
      info: backend.info,
      upload: backend.upload.bind(backend),
      classMoments: () => Promise.reject(lost),
    };
    await expect(sweepAll({ activations: [ownActivations(1)] }, { backend: broken })).rejects.toBe(lost);
  });

  it("are none where the study is wrong: that is said at once", () => {
    const own = ownActivations(1);
    const wrong: SweepStudy[] = [
      {},
      { activations: [own, own] },
      { activations: [{ ...own, activations: new Map() }] },
      { activations: [own], ks: [0] },
      { activations: [own], seeds: [] },
      { activations: [own], methods: ["magic" as never] },
      { activations: [own], methods: ["f", "f"] },
      { activations: [own], probe: { C: -1 } },
      { activations: [own], leastPerClass: 0 },
      { activations: [own], intervals: { metrics: [] } },
      { activations: [own], intervals: { metrics: ["f1"], ks: [] } },
    ];
    for (const study of wrong) expect(() => sweep(study)).toThrow(OptionError);
    expect(() => sweep({ activations: [own] }, { memoryBytes: 0 })).toThrow(OptionError);
  });
});

describe("defaults", () => {
  it("are the schedule as far as it fits, and every hook point", async () => {
    const rows = await sweepAll({ activations: [ownActivations(1, { neurons: 14, features: 1 })] });
    const ks = K_SCHEDULE.filter((k) => k <= 14);
    expect(rows.map(({ k }) => k)).toEqual([...ks, ...ks].flatMap((k) => [k, k]));
    expect(new Set(rows.map(({ method, seed, rotation }) => `${method} ${seed} ${rotation}`))).toEqual(
      new Set(["mean-difference 0 null"]),
    );
  });
});

describe("the same sweep", () => {
  const study: SweepStudy = {
    activations: [ownActivations(21, { rows: 400, neurons: 60, features: 3 })],
    methods: ["mean-difference", "adaptive", "l1-logistic", "dense"],
    ks: [1, 3, 9],
    rotations: [2],
  };

  it("has the same rows on one thread and on two", async () => {
    const rows = [];
    for (const threads of [1, 2]) {
      const backend = await createBackend("cpu", { threads });
      rows.push(timeless(await sweepAll(study, { backend })));
      backend.dispose();
    }
    expect(rows[0]).toEqual(rows[1]);
  });

  it("has the same supports on a GPU where the scores are apart", async () => {
    const own = ownActivations(8, { rows: 60, neurons: 12, features: 1, points: 1 });
    const tiny: SweepStudy = { activations: [own], ks: [1, 2, 3] };
    const gpu = await openTestBackend();
    const onGpu = await sweepAll(tiny, { backend: gpu });
    gpu.dispose();
    const onCpu = await sweepAll(tiny);
    const train = onCpu[0].train!;
    const [x] = own.activations.values();
    const { rankings } = await rankActivations(x, own.labels);
    const { scores } = rankings[0];
    const sorted = Array.from(scores, Math.abs).sort((a, b) => b - a);
    // Far beyond the error of float32 sums over 60 rows.
    expect(Math.min(...[0, 1, 2].map((i) => sorted[i] - sorted[i + 1]))).toBeGreaterThan(1e-3);
    expect(train.positives).toBeGreaterThan(0);
    for (const [r, row] of onGpu.entries()) {
      expect(row.support).toEqual(onCpu[r].support);
      expect(row.metrics!.f1).toBe(onCpu[r].metrics!.f1);
      for (const [j, w] of row.coefficients.entries()) expect(w).toBeCloseTo(onCpu[r].coefficients[j], 5);
    }
  });

  it("tells how far it is", async () => {
    const seen: SweepProgress[] = [];
    const rows = await sweepAll(study, { onProgress: (progress) => seen.push(progress) });
    expect(new Set(seen.map(({ stage }) => stage))).toEqual(new Set(["capture", "rank", "fit", "score"]));
    expect(seen.every(({ done, total, part }) => done <= total && part.done <= part.total)).toBe(true);
    expect(seen.at(-1)).toMatchObject({
      done: 1,
      total: 2,
      unit: { dataset: "own", hookPoint: "blocks.1.mlp.hook_post" },
    });
    expect(seen.at(-1)!.rows).toBe(rows.length / 2);
  });
});
