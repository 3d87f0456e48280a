import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { NonFiniteError } from "../../src/errors.ts";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import { candidateNeurons, selectSupports } from "../../src/probes/fit-supports.ts";
import { K_SCHEDULE, SparseProbe, type FitOptions } from "../../src/probes/sparse-probe.ts";
import { Random } from "../../src/random.ts";
import type { RankingName } from "../../src/ranking/ranking.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const ROWS = 120;
const NEURONS = 20;
const x = randomActivations(1, ROWS, NEURONS);
const labels = [...randomLabels(1, x, 1).values];
const train = Array.from({ length: 80 }, (_, i) => i);
const test = Array.from({ length: 40 }, (_, i) => 80 + i);

/** Changes some values of a copy. */
function changed(change: (value: number, row: number, neuron: number) => number): Activations {
  const data = x.toFloat32().map((v, at) => change(v, Math.floor(at / NEURONS), at % NEURONS));
  return new Activations(data, [ROWS, NEURONS]);
}

describe("a sparse probe", () => {
  it("reads the strongest neurons and classifies with them", async () => {
    const probe = await SparseProbe.fit(x, labels, 3, { rows: train, feature: "planted" });
    expect(probe.k).toBe(3);
    expect(probe.feature).toBe("planted");
    expect(probe.support).toContain(0);
    expect(probe.neurons).toBe(NEURONS);
    expect(probe.provenance.backend).toBe("cpu");
    const { f1, rocAuc } = probe.evaluate(x, labels, { rows: test });
    expect(f1).toBeGreaterThan(0.5);
    expect(rocAuc).toBeGreaterThan(0.8);
  });

  it("gives decisions, probabilities and predictions that agree with its raw coefficients", async () => {
    const probe = await SparseProbe.fit(x, labels, 4, { rows: train });
    const { coefficients, intercept } = probe.rawCoefficients();
    const z = probe.decisionFunction(x);
    const want = Array.from({ length: ROWS }, (_, i) =>
      probe.support.reduce((sum, j, c) => sum + coefficients[c] * x.data[i * NEURONS + j], intercept),
    );
    expectClose(z, want, 1e-12, "decision");
    const p = probe.predictProbability(x);
    const called = probe.predict(x);
    for (let i = 0; i < ROWS; i++) {
      expect(called[i]).toBe(z[i] > 0 ? 1 : 0);
      expect(Math.log(p[i] / (1 - p[i]))).toBeCloseTo(z[i], 9);
    }
    const backend = createCpuBackend();
    const device = await backend.upload(x);
    expect(await probe.decisionFunctionOnDevice(device, backend)).toEqual(z);
    expect(await probe.evaluateOnDevice(device, labels, backend)).toEqual(probe.evaluate(x, labels));
  });

  it("is not moved by rows held out, whatever they hold", async () => {
    const want = await SparseProbe.fit(x, labels, 5, { rows: train });
    const other = changed((v, row) => (row >= 80 ? (row % 2 ? NaN : 1e6) : v));
    const flipped = labels.map((label, i) => (i >= 80 ? 1 - label : label));
    const got = await SparseProbe.fit(other, flipped, 5, { rows: train });
    expect(got.toJSON()).toEqual(want.toJSON());
  });

  it.each([60, 1e-3])(
    "scales with the activations: × %f changes the raw coefficients alone",
    async (factor) => {
      const want = await SparseProbe.fit(x, labels, 5, { rows: train });
      const got = await SparseProbe.fit(
        changed((v) => v * factor),
        labels,
        5,
        { rows: train },
      );
      expect(got.support).toEqual(want.support);
      expect(got.convergence.converged).toBe(true);
      // The scaled values are rounded to f32 again: 2⁻²⁴ of each.
      expectClose(got.coefficients, want.coefficients, 1e-5, "standardised");
      const raw = want.rawCoefficients().coefficients.map((w) => w / factor);
      expectClose(
        got.rawCoefficients().coefficients,
        raw,
        (c) => 1e-5 * Math.abs(raw[c]) + 1e-5 / factor,
        "raw",
      );
    },
  );

  it("converges at any scale of raw activations", async () => {
    for (const factor of [60, 1e-3, 1e4]) {
      const acts = changed((v) => v * factor);
      const probe = await SparseProbe.fit(acts, labels, 5, { rows: train, standardise: "none" });
      expect(probe.convergence.converged).toBe(true);
      expect(probe.convergence.newtonDecrement).toBeLessThanOrEqual(1e-16);
    }
  });

  it("takes the tenth-deviation preprocessing: no centre, ten deviations", async () => {
    const probe = await SparseProbe.fit(x, labels, 2, { standardise: "tenth-deviation" });
    expect(probe.center).toEqual([0, 0]);
    for (const [c, j] of probe.support.entries()) {
      const column = Array.from({ length: ROWS }, (_, i) => x.data[i * NEURONS + j]);
      const mean = column.reduce((a, b) => a + b) / ROWS;
      const sd = Math.sqrt(column.reduce((a, b) => a + (b - mean) ** 2, 0) / ROWS);
      // Sums in float32 over 120 rows, in chains of 15 and trees: γ(30) of it at most.
      expectClose([probe.scale[c]], [10 * sd], 30 * 2 ** -24 * 10 * sd);
    }
  });

  it("leaves global randomness alone and gives the same result twice", async () => {
    const before = Math.random;
    const [a, b] = [await SparseProbe.fit(x, labels, 7), await SparseProbe.fit(x, labels, 7)];
    expect(Math.random).toBe(before);
    expect(a.toJSON()).toEqual(b.toJSON());
  });

  it("is frozen throughout, and does not share memory with its input", async () => {
    const probe = await SparseProbe.fit(x, labels, 3);
    for (const part of [
      probe,
      probe.support,
      probe.scores,
      probe.coefficients,
      probe.center,
      probe.scale,
      probe.convergence,
      probe.options,
      probe.provenance,
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
    const { coefficients } = probe.rawCoefficients();
    coefficients.fill(0);
    expect(probe.rawCoefficients().coefficients[0]).not.toBe(0);
  });

  it.each(["f16", "u8"] as const)("accepts %s activations and fits their decoded values", async (dtype) => {
    const stored = x.toStorage(dtype);
    const decoded = new Activations(stored.toFloat32(), [ROWS, NEURONS]);
    const got = await SparseProbe.fit(stored, labels, 4);
    const want = await SparseProbe.fit(decoded, labels, 4);
    expect(got.support).toEqual(want.support);
    expectClose(got.coefficients, want.coefficients, 1e-5);
    expectClose(got.decisionFunction(stored), want.decisionFunction(decoded), 1e-4);
  });

  it("accepts booleans, ±1 and class names for labels, and scores labels of the same kind", async () => {
    const want = await SparseProbe.fit(x, labels, 3);
    const kinds = [
      labels.map((label) => label === 1),
      labels.map((label) => (label === 1 ? 1 : -1)),
      labels.map((label) => (label === 1 ? "yes" : "no")),
      labels.map((label) => (label === 1 ? 7 : 2)),
    ];
    for (const kind of kinds) {
      const probe = await SparseProbe.fit(x, kind, 3);
      expect(probe.coefficients).toEqual(want.coefficients);
      expect(probe.evaluate(x, kind)).toEqual(want.evaluate(x, labels));
    }
    const named = await SparseProbe.fit(x, kinds[2], 3, { positive: "no" });
    expectClose(
      named.coefficients,
      want.coefficients.map((w) => -w),
      1e-9,
    );
    expect(named.feature).toBe("no");
    expect(() => named.evaluate(x, labels)).toThrow(/kind/);
  });

  it("scores a missing class as null, with the reason", async () => {
    const probe = await SparseProbe.fit(x, labels, 3);
    const positive = labels.flatMap((label, i) => (label === 1 ? [i] : []));
    const metrics = probe.evaluate(x, labels, { rows: positive });
    expect(metrics.rocAuc).toBeNull();
    expect(metrics.undefinedBecause.rocAuc).toMatch(/one class/);
    expect(metrics.negatives).toBe(0);
  });

  it("scores a label matrix as it fits one: unlabelled rows are left out", async () => {
    const values = Uint8Array.from(labels, (label, i) => (i % 3 === 0 ? UNLABELLED : label));
    const matrix = new LabelMatrix(["f"], ROWS, values);
    const probe = await SparseProbe.fit(x, matrix, 3);
    const rows = Array.from({ length: ROWS }, (_, i) => i).filter((i) => i % 3 !== 0);
    expect(probe.evaluate(x, matrix)).toEqual(probe.evaluate(x, labels, { rows }));
    expect(probe.evaluate(x, matrix, { rows: [0, 1, 2, 3] })).toEqual(
      probe.evaluate(x, labels, { rows: [1, 2] }),
    );
    const two = new LabelMatrix(["a", "b"], ROWS, new Uint8Array(2 * ROWS));
    expect(() => probe.evaluate(x, two)).toThrow(/2 features/);
    expect(() => probe.evaluate(x, new LabelMatrix(["f"], 2, new Uint8Array(2)))).toThrow(/2 labels/);
  });

  it("carries where the activations came from", async () => {
    const provenance = { model: "tiny", hookPoint: "blocks.1.mlp.hook_post", aggregation: "mean" };
    const acts = new Activations(x.toFloat32(), [ROWS, NEURONS], { provenance });
    const probe = await SparseProbe.fit(acts, labels, 1);
    expect(probe.provenance).toEqual({ backend: "cpu", ...provenance });
    expect(SparseProbe.fromJSON(JSON.parse(JSON.stringify(probe))).provenance).toEqual(probe.provenance);
  });
});

describe("several probes at once", () => {
  it("a path has nested supports and equals single fits, whatever else is in the schedule", async () => {
    const path = await SparseProbe.path(x, labels);
    expect(path.map((probe) => probe.k)).toEqual(K_SCHEDULE.filter((k) => k <= NEURONS));
    for (const [at, probe] of path.entries()) {
      if (at > 0) expect(probe.support.slice(0, path[at - 1].k)).toEqual(path[at - 1].support);
      const alone = await SparseProbe.fit(x, labels, probe.k);
      expect(alone.toJSON()).toEqual(probe.toJSON());
    }
  });

  it("go by feature, then k, and one bad feature does not stop the others", async () => {
    const some = Array.from({ length: ROWS }, (_, i) => (i < 80 ? 0 : 1));
    const { probes, failures } = await SparseProbe.fitMany(
      x,
      { good: labels, one: labels.map(() => 1), late: some, odd: ["a", "b", ...labels.slice(2).map(String)] },
      [2, 5],
      { rows: train },
    );
    expect(probes.map((p) => [p.feature, p.k])).toEqual([
      ["good", 2],
      ["good", 5],
    ]);
    expect(failures.map(({ feature, k, error }) => [feature, k, error.code])).toEqual([
      ["one", 2, "one-class"],
      ["one", 5, "one-class"],
      ["odd", 2, "labels"],
      ["odd", 5, "labels"],
      ["late", 2, "one-class"],
      ["late", 5, "one-class"],
    ]);
    const single = await SparseProbe.fit(x, labels, 5, { rows: train, feature: "good" });
    expect(probes[1].toJSON()).toEqual(single.toJSON());
  });

  it("report label sets that cannot be read, though none is left", async () => {
    const { probes, failures } = await SparseProbe.fitMany(x, { one: labels.map(() => 1) });
    expect(probes).toEqual([]);
    expect(failures.map((f) => f.k)).toEqual(K_SCHEDULE.filter((k) => k <= NEURONS));
  });

  it("classes are fitted one against the rest", async () => {
    const classes = labels.map((label, i) => (label === 1 ? "c" : i % 2 ? "a" : "b"));
    const { probes } = await SparseProbe.fitMany(x, classes, [2]);
    expect(probes.map((p) => [p.feature, p.positive])).toEqual([
      ["a", "a"],
      ["b", "b"],
      ["c", "c"],
    ]);
    const want = await SparseProbe.fit(x, labels, 2);
    // Other patterns of labels are summed in another order: float32 moments differ in the last bits.
    expectClose(probes[2].coefficients, want.coefficients, (c) => 1e-6 * Math.abs(want.coefficients[c]));
    expect(probes[2].evaluate(x, classes).f1).toBeCloseTo(want.evaluate(x, labels).f1!, 12);
    const numbers = labels.map((label, i) => (label === 1 ? 30 : i % 2 ? 10 : 20));
    const numbered = await SparseProbe.fitMany(x, numbers, [2]);
    expect(numbered.probes.map((p) => p.positive)).toEqual([10, 20, 30]);
    expect(numbered.probes[2].evaluate(x, numbers).f1).toBe(probes[2].evaluate(x, classes).f1);
  });

  it("classes that are numbers are fitted and scored one against the rest", async () => {
    const three = labels.map((label, i) => (i % 5 === 0 ? 2 : label));
    const { probes } = await SparseProbe.fitMany(x, three, [2]);
    expect(probes.map(({ feature, positive }) => [feature, positive])).toEqual([
      ["0", 0],
      ["1", 1],
      ["2", 2],
    ]);
    for (const probe of probes) {
      const own = three.map((label) => label === probe.positive);
      if (probe.positive !== 0) expect(probe.evaluate(x, three)).toEqual(probe.evaluate(x, own));
      expect(probe.evaluate(x, three).positives).toBe(own.filter(Boolean).length);
    }
  });

  it("activations that are not finite fail the features that use them only", async () => {
    const broken = changed((v, row, neuron) => (row === 100 && neuron === 4 ? Infinity : v));
    const matrix = new LabelMatrix(
      ["all", "first rows"],
      ROWS,
      Uint8Array.from([...labels, ...labels.map((label, i) => (i < 80 ? label : 255))]),
    );
    const { probes, failures } = await SparseProbe.fitMany(broken, matrix, [1]);
    expect(probes.map((p) => p.feature)).toEqual(["first rows"]);
    expect(failures[0].error.code).toBe("non-finite");
    expect(failures[0].error.message).toMatch(/Neuron 4/);
  });
});

describe("sources", () => {
  /** The matrix in blocks of unequal size, as a stream would bring it. */
  function inBlocks(sizes: number[], options: { rows?: number; async?: boolean } = {}): ActivationBlocks {
    function* blocks() {
      let start = 0;
      for (const size of sizes) yield x.slice(start, (start += size));
    }
    async function* later() {
      for (const block of blocks()) yield await Promise.resolve(block);
    }
    return {
      rows: options.rows ?? ROWS,
      neurons: NEURONS,
      blocks: options.async ? later : blocks,
    };
  }

  it("blocks of rows give the probes of the whole matrix", async () => {
    const matrix = randomLabels(5, x, 3, 0.3);
    const want = await SparseProbe.fitMany(x, matrix, [1, 4, 20], { rows: train });
    for (const async of [false, true]) {
      const source = inBlocks([1, 50, 29, 40], { async });
      const got = await SparseProbe.fitMany(source, matrix, [1, 4, 20], { rows: train });
      expect(got.probes).toHaveLength(9);
      for (const [p, probe] of got.probes.entries()) {
        expect(probe.support).toEqual(want.probes[p].support);
        // Sums over blocks are rounded in other places: float32 moments differ in the last bits.
        const size = Math.max(...want.probes[p].coefficients.map(Math.abs));
        expectClose(probe.coefficients, want.probes[p].coefficients, 1e-6 * size);
        expect(probe.neurons).toBe(NEURONS);
      }
    }
  });

  it("blocks that do not add up are refused", async () => {
    await expect(SparseProbe.fit(inBlocks([50, 50]), labels, 1)).rejects.toMatchObject({ code: "shape" });
    await expect(
      SparseProbe.fit(inBlocks([100, 20], { rows: 110 }), labels.slice(0, 110), 1),
    ).rejects.toMatchObject({ code: "shape" });
  });

  it("device activations are used in place and left alone", async () => {
    const backend = createCpuBackend();
    const device = await backend.upload(x);
    const got = await SparseProbe.fit(device, labels, 3, { backend });
    expect(got.coefficients).toEqual((await SparseProbe.fit(x, labels, 3)).coefficients);
    await expect(device.read()).resolves.toBe(x);
  });

  it("uploads are freed, also when a fit fails", async () => {
    let held = 0;
    const backend = createCpuBackend();
    const upload = backend.upload.bind(backend);
    backend.upload = async (acts) => {
      const device = await upload(acts);
      held++;
      const dispose = device.dispose.bind(device);
      device.dispose = () => {
        held--;
        dispose();
      };
      return device;
    };
    await SparseProbe.fit(x, labels, 3, { backend });
    await SparseProbe.fit(inBlocks([60, 60]), labels, 3, { backend });
    await expect(SparseProbe.fit(x, labels, 99, { backend })).rejects.toThrow();
    await expect(SparseProbe.fit(inBlocks([60, 59]), labels, 3, { backend })).rejects.toThrow();
    expect(held).toBe(0);
  });

  it("GPU buffers need a GPU backend", async () => {
    const buffer = { size: 8, usage: 0, mapState: "unmapped", destroy: () => undefined };
    await expect(SparseProbe.fit({ buffer, shape: [2, 1] }, [0, 1], 1)).rejects.toMatchObject({
      code: "backend-unavailable",
    });
  });

  it("plain objects and nested arrays are matrices too", async () => {
    const want = await SparseProbe.fit(x, labels, 2);
    const rows = Array.from({ length: ROWS }, (_, i) =>
      Array.from(x.data.subarray(i * NEURONS, (i + 1) * NEURONS)),
    );
    const forms = [
      { data: x.toFloat32(), shape: [ROWS, NEURONS] },
      { data: x.toFloat32(), dims: [ROWS, NEURONS] },
      rows,
    ];
    for (const form of forms) {
      expect((await SparseProbe.fit(form, labels, 2)).toJSON()).toEqual(want.toJSON());
    }
  });

  it("two passes by hand give the probes of fitMany", async () => {
    const backend = createCpuBackend();
    const matrix = randomLabels(6, x, 2);
    const moments = await backend.classMoments(await backend.upload(x), matrix);
    const { supports } = selectSupports(moments, matrix, [2, 6]);
    const neurons = candidateNeurons(supports);
    const gathered = await backend.upload(x.gatherColumns(neurons));
    const origin = { backend: "cpu", neurons: NEURONS } as const;
    const columns = { x: gathered, neurons };
    const got = await SparseProbe.fitSupports(backend, columns, matrix, supports, moments, origin);
    const want = await SparseProbe.fitMany(x, matrix, [2, 6]);
    expect(got.map((p) => p.toJSON())).toEqual(want.probes.map((p) => p.toJSON()));
    const short = { x: gathered, neurons: neurons.slice(1) };
    await expect(
      SparseProbe.fitSupports(backend, short, matrix, supports, moments, origin),
    ).rejects.toMatchObject({ code: "shape" });
  });
});

describe("what cannot be fitted is refused with a typed error", () => {
  const refused: [string, () => Promise<unknown>, string][] = [
    ["k = 0", () => SparseProbe.fit(x, labels, 0), "support-size"],
    ["k above the neurons", () => SparseProbe.fit(x, labels, NEURONS + 1), "support-size"],
    ["a fractional k", () => SparseProbe.fit(x, labels, 1.5), "support-size"],
    ["no k", () => SparseProbe.path(x, labels, []), "support-size"],
    ["a number for ks", () => SparseProbe.path(x, labels, 4 as unknown as number[]), "support-size"],
    ["no activations", () => SparseProbe.fit(null as unknown as number[][], labels, 1), "shape"],
    ["a flat array", () => SparseProbe.fit(new Float32Array(6) as unknown as number[][], [0, 1], 1), "shape"],
    [
      "data without a shape",
      () => SparseProbe.fit({ data: [1, 2] } as unknown as number[][], [0, 1], 1),
      "shape",
    ],
    [
      "64-bit integers",
      () =>
        SparseProbe.fit({ data: BigInt64Array.of(1n, 2n) as unknown as number[], shape: [2, 1] }, [0, 1], 1),
      "option",
    ],
    [
      "a backend's name",
      () => SparseProbe.fit(x, labels, 1, { backend: "cpu" } as unknown as FitOptions),
      "option",
    ],
    ["a row listed twice", () => SparseProbe.fit(x, labels, 1, { rows: [0, 1, 2, 3, 0] }), "shape"],
    ["no training rows", () => SparseProbe.fit(x, labels, 1, { rows: [] }), "one-class"],
    ["too few labels", () => SparseProbe.fit(x, labels.slice(1), 1), "shape"],
    ["no labels", () => SparseProbe.fit(x, [], 1), "empty-data"],
    ["no rows", () => SparseProbe.fit({ data: [], shape: [0, 3] }, [0, 1], 1), "empty-data"],
    ["a wrong shape", () => SparseProbe.fit({ data: [1, 2], shape: [2, 2] }, [0, 1], 1), "shape"],
    ["one class", () => SparseProbe.fit(x, new Array(ROWS).fill(1), 1), "one-class"],
    [
      "one class in the rows",
      () => SparseProbe.fit(x, labels, 1, { rows: [labels.indexOf(1)] }),
      "one-class",
    ],
    ["rows that do not exist", () => SparseProbe.fit(x, labels, 1, { rows: [ROWS] }), "shape"],
    ["NaN labels", () => SparseProbe.fit(x, [NaN, ...labels.slice(1)], 1), "labels"],
    [
      "NaN activations",
      () =>
        SparseProbe.fit(
          changed((v, row, neuron) => (row + neuron === 0 ? NaN : v)),
          labels,
          1,
        ),
      "non-finite",
    ],
    ["three classes", () => SparseProbe.fit(x, [2, ...labels.slice(1)], 1), "labels"],
    ["an absent positive class", () => SparseProbe.fit(x, labels, 1, { positive: "en" }), "labels"],
    ["C = 0", () => SparseProbe.fit(x, labels, 1, { C: 0 }), "option"],
    ["C = NaN", () => SparseProbe.fit(x, labels, 1, { C: NaN }), "option"],
    ["C = ∞", () => SparseProbe.fit(x, labels, 1, { C: Infinity }), "option"],
    ["tolerance 0", () => SparseProbe.fit(x, labels, 1, { tolerance: 0 }), "option"],
    ["no iterations", () => SparseProbe.fit(x, labels, 1, { maxIterations: 0 }), "option"],
    [
      "an unknown standardisation",
      () => SparseProbe.fit(x, labels, 1, { standardise: "z" } as unknown as FitOptions),
      "option",
    ],
    [
      "an unknown weight",
      () => SparseProbe.fit(x, labels, 1, { classWeight: "all" } as unknown as FitOptions),
      "option",
    ],
    ["an unknown ranking", () => SparseProbe.fit(x, labels, 1, { ranking: "svm" as RankingName }), "option"],
    [
      "a matrix of two features",
      () => SparseProbe.fit(x, new LabelMatrix(["a", "b"], ROWS, new Uint8Array(2 * ROWS)), 1),
      "shape",
    ],
  ];
  it.each(refused)("%s", async (_, run, code) => {
    await expect(run()).rejects.toMatchObject({ code });
  });

  it("other neurons at prediction, and rows that do not exist", async () => {
    const probe = await SparseProbe.fit(x, labels, 1);
    expect(() => probe.predict({ data: [1, 2], shape: [1, 2] })).toThrow(/2 neurons/);
    expect(() => probe.evaluate(x, labels.slice(1))).toThrow(/119 labels/);
    expect(() => probe.evaluate(x, labels, { rows: [ROWS] })).toThrow(/does not exist/);
    const backend = createCpuBackend();
    const device = await backend.upload(randomActivations(1, 3, 2));
    await expect(probe.decisionFunctionOnDevice(device, backend)).rejects.toMatchObject({ code: "shape" });
  });

  it("values that are not finite in rows to predict or score, by row; other rows may hold anything", async () => {
    const probe = await SparseProbe.fit(x, labels, 2);
    for (const value of [NaN, Infinity, -Infinity]) {
      const bad = changed((v, row, neuron) => (row === 7 && neuron === probe.support[1] ? value : v));
      for (const use of [
        () => probe.predict(bad),
        () => probe.predictProbability(bad),
        () => probe.decisionFunction(bad),
        () => probe.evaluate(bad, labels),
        () => probe.evaluate(bad, labels, { rows: [3, 7] }),
      ]) {
        expect(use).toThrow(NonFiniteError);
        expect(use).toThrow(/row 7/);
      }
      expect(probe.evaluate(bad, labels, { rows: [3, 8] })).toEqual(
        probe.evaluate(x, labels, { rows: [3, 8] }),
      );
    }
    const unread = changed((v, row, neuron) => (row === 7 && !probe.support.includes(neuron) ? NaN : v));
    expect(probe.predict(unread)).toEqual(probe.predict(x));
    expect(() => probe.evaluate(x, labels, { rows: [] })).toThrow(/no rows/);
  });

  it("an aborted fit rejects with the signal's reason", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(SparseProbe.fit(x, labels, 1, { signal })).rejects.toThrow("enough");
  });
});

describe("JSON", () => {
  it("round-trips to the bit", async () => {
    const probe = await SparseProbe.fit(x, labels, 4, {
      rows: train,
      ranking: (m) => m.mean.slice(0, NEURONS),
    });
    const back = SparseProbe.fromJSON(JSON.parse(JSON.stringify(probe)));
    expect(back).toEqual(probe);
    expect(back.decisionFunction(x)).toEqual(probe.decisionFunction(x));
    expect(Object.isFrozen(back)).toBe(true);
    expect(back.options.ranking).toBe("ranking");
  });

  it("is refused when any field is missing or wrong, and never read as something else", async () => {
    const good = (await SparseProbe.fit(x, labels, 2)).toJSON() as unknown as Record<string, unknown>;
    const read = (change: Record<string, unknown>) => () =>
      SparseProbe.fromJSON(JSON.parse(JSON.stringify({ ...good, ...change })));
    for (const name of Object.keys(good)) {
      expect(read({ [name]: undefined }), `without ${name}`).toThrow(/Not a probe/);
      expect(read({ [name]: null }), `${name}: null`).toThrow(/Not a probe/);
    }
    expect(read({ version: 2 })).toThrow(/version/);
    expect(read({ support: [0, 0] })).toThrow(/twice/);
    expect(read({ support: [0, NEURONS] })).toThrow(/support\[1\]/);
    expect(read({ support: [], scores: [], coefficients: [], center: [], scale: [] })).toThrow(/empty/);
    expect(read({ coefficients: [1] })).toThrow(/coefficients/);
    expect(read({ scale: [1, 0] })).toThrow(/scale/);
    expect(read({ options: { ...(good["options"] as object), C: -1 } })).toThrow(/options\.C/);
    for (const odd of [null, 3, "probe", [], [good]]) {
      expect(() => SparseProbe.fromJSON(odd)).toThrow(expect.objectContaining({ code: "format" }) as Error);
    }
  });
});

describe("a random support", () => {
  it("is worse than the ranked one on planted data", async () => {
    const random = new Random(3, "control");
    const ranked = await SparseProbe.fit(x, labels, 1, { rows: train });
    const control = await SparseProbe.fit(x, labels, 1, {
      rows: train,
      ranking: (moments) => Float64Array.from({ length: moments.neurons }, () => random.uniform()),
    });
    expect(ranked.evaluate(x, labels, { rows: test }).rocAuc!).toBeGreaterThan(
      control.evaluate(x, labels, { rows: test }).rocAuc!,
    );
  });
});
