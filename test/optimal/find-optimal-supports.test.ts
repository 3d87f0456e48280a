/** The call as users make it: results, promises about them, options and errors. */
import { describe, expect, it } from "vitest";
import {
  Activations,
  findOptimalSupports,
  OneClassError,
  OptionError,
  NonFiniteError,
  Random,
  ShapeError,
  SparseProbe,
  SupportSizeError,
  type OptimalSupport,
  type OptimalSupportsOptions,
} from "../../src/index.ts";
import { normals } from "../support/random-data.ts";

const ROWS = 240;
const NEURONS = 30;

/** Neurons 3, 11 and 20 carry the feature, 4 and 12 are noisy copies, and every neuron has a scale and an offset of its own. */
function planted(seed: number, rows = ROWS, neurons = NEURONS): { acts: Activations; labels: boolean[] } {
  const random = new Random(seed, "planted");
  const data = Float32Array.from(normals(random, rows * neurons));
  const noise = normals(random, rows);
  const labels: boolean[] = [];
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * neurons, (i + 1) * neurons);
    row[4] = row[3] + 0.3 * row[4];
    row[12] = row[11] - 0.5 * row[12];
    labels.push(1.5 * row[3] - row[11] + 0.8 * row[20] + noise[i] > 0.5);
    for (let j = 0; j < neurons; j++) row[j] = row[j] * (0.5 + (j % 5)) + (j % 3);
  }
  return { acts: new Activations(data, [rows, neurons]), labels };
}

/** c(S) from its definition, at the probe's own coefficients. */
function objectiveOf(
  { probe }: OptimalSupport,
  acts: Activations,
  labels: readonly boolean[],
  gamma: number,
  loss: "logistic" | "hinge",
): number {
  const decisions = new SparseProbe(probe).decisionFunction(acts);
  const positives = labels.filter(Boolean).length;
  const penalty = probe.coefficients.reduce((sum, w) => sum + w * w, 0) / (2 * gamma);
  return labels.reduce((sum, positive, i) => {
    const weight = labels.length / (2 * (positive ? positives : labels.length - positives));
    const z = positive ? decisions[i] : -decisions[i];
    return sum + weight * (loss === "hinge" ? Math.max(0, 1 - z) : Math.log1p(Math.exp(-z)));
  }, penalty);
}

describe.each(["logistic", "hinge"] as const)("findOptimalSupports, %s loss", (loss) => {
  const { acts, labels } = planted(1);

  it("returns certified probes in the order asked for", async () => {
    const results = await findOptimalSupports(acts, labels, [3, 1, 2, 3], { loss });
    expect(results.map(({ k }) => k)).toEqual([3, 1, 2, 3]);
    for (const { support } of results) expect(support[0]).toBe(3);
    for (const result of results) {
      expect(result).toMatchObject({ proved: true, status: "optimal" });
      expect(result.relativeGap).toBeLessThan(1e-6);
      expect(result.scope).toMatchObject({ neurons: NEURONS, undecided: [] });
      expect(result.lowerBound).toBeLessThanOrEqual(result.objective);
      // Float32 decision functions are not used anywhere: the definition agrees to float64's rounding.
      const objective = objectiveOf(result, acts, labels, ROWS ** -0.5, loss);
      expect(Math.abs(result.objective - objective)).toBeLessThanOrEqual(1e-9 * objective);
      expect(result.probe.convergence.objective).toBeCloseTo(result.objective * ROWS ** -0.5, 9);
      const { objective: best, heuristics } = result;
      for (const heuristic of heuristics) expect(best).toBeLessThanOrEqual(heuristic.objective);
      expect(Object.isFrozen(result) && Object.isFrozen(result.scope) && Object.isFrozen(result.probe)).toBe(
        true,
      );
      expect(JSON.parse(JSON.stringify(result))).toEqual(result);
      const copy = SparseProbe.fromJSON(JSON.parse(JSON.stringify(new SparseProbe(result.probe))) as unknown);
      expect(copy).toEqual(new SparseProbe(result.probe));
      expect(copy.options.loss).toBe(loss === "hinge" ? "hinge" : undefined);
      expect(copy.evaluate(acts, labels).f1).toBeGreaterThan(0.6);
    }
  });

  it("is the top k by mean difference, and says so, for a small gamma", async () => {
    const means = await SparseProbe.path(acts, labels, [4], { standardise: "none" });
    for (const gamma of [1e-8, 1e-6]) {
      const [result] = await findOptimalSupports(acts, labels, [4], {
        loss,
        gamma,
        standardise: "none",
        candidates: "all",
        relativeGap: 1e-10,
      });
      expect(new Set(result.support)).toEqual(new Set(means[0].support));
      expect(result.atMeanDifferenceLimit).toBe(true);
      expect(result.relativeGap).toBeLessThan(1e-7);
    }
    const [large] = await findOptimalSupports(acts, labels, [4], { loss, gamma: 10, standardise: "none" });
    expect(large.atMeanDifferenceLimit).toBe(false);
  });

  it("is never worse than the supports that it starts from", async () => {
    const random = new Random(7, "starts");
    for (let round = 0; round < 4; round++) {
      const start = Array.from(
        random.shuffle(Uint32Array.from({ length: NEURONS }, (_, j) => j)).slice(0, 3),
      );
      const [result] = await findOptimalSupports(acts, labels, [3], {
        loss,
        gamma: 3,
        starts: [start],
        candidates: 5,
        timeLimit: 0,
      });
      const own = result.heuristics.find(({ name }) => name === "start")!;
      expect(own.support).toEqual([...start].sort((a, b) => a - b));
      expect(result.objective).toBeLessThanOrEqual(
        Math.min(...result.heuristics.map(({ objective }) => objective)),
      );
      for (const j of start) expect(result.scope.candidates).toContain(j);
    }
  });

  it("is never worse than adaptive thresholding", async () => {
    const ks = [1, 2, 4];
    for (const candidates of ["all", 4, Array.from({ length: NEURONS }, (_, j) => j)] as const) {
      const adaptive = await SparseProbe.adaptive(acts, labels, ks);
      const results = await findOptimalSupports(acts, labels, ks, {
        loss,
        gamma: 1,
        standardise: "standard",
        candidates,
      });
      for (const [at, { heuristics, objective, scope }] of results.entries()) {
        const own = heuristics.find(({ name }) => name === "adaptive-thresholding")!;
        const { support, convergence } = adaptive[at];
        expect(own.support).toEqual([...support].sort((a, b) => a - b));
        expect(scope.candidates).toEqual(expect.arrayContaining([...support]));
        expect(objective).toBeLessThanOrEqual(own.objective);
        // The same support and penalty: the same objective, by a solver of its own.
        if (loss === "logistic")
          expect(Math.abs(own.objective / convergence.objective - 1)).toBeLessThan(1e-9);
      }
    }
  });

  it("ends its proofs where raw values are large and the penalty is next to nothing", async () => {
    const large = new Activations(
      acts.toFloat32().map((value) => value * 1e6),
      [ROWS, NEURONS],
    );
    const [result] = await findOptimalSupports(large, labels, [2], {
      loss,
      gamma: 1,
      standardise: "none",
      candidates: 6,
      relativeGap: 1e-7,
    });
    expect(result.status).toBe("optimal");
  });

  it("shows progress while nothing improves", async () => {
    const { acts: wide, labels: many } = planted(9, 1500, 80);
    const seen: number[] = [];
    await findOptimalSupports(wide, many, [6], {
      loss,
      gamma: 100,
      standardise: "standard",
      candidates: "all",
      timeLimit: 2.5,
      onProgress: ({ seconds }) => seen.push(seconds),
    });
    const pauses = seen.slice(1).map((second, at) => second - seen[at]);
    expect(seen.at(-1)).toBeGreaterThan(1);
    expect(Math.max(...pauses)).toBeLessThan(1.5);
  });

  it("returns an incumbent with a valid bound when there is no time", async () => {
    const ks = [1, 2, 4];
    const options: OptimalSupportsOptions = { loss, gamma: 1, standardise: "standard", candidates: "all" };
    const hasty = await findOptimalSupports(acts, labels, ks, { ...options, timeLimit: 0 });
    const full = await findOptimalSupports(acts, labels, ks, options);
    for (const [at, result] of hasty.entries()) {
      expect(result.support).toHaveLength(ks[at]);
      expect(full[at].proved).toBe(true);
      expect(result.objective).toBeGreaterThanOrEqual(full[at].lowerBound);
      expect(result.lowerBound).toBeLessThanOrEqual(full[at].objective);
      expect(["optimal", "time-limit"]).toContain(result.status);
      expect(Number.isFinite(result.gap)).toBe(true);
    }
    expect(hasty.some(({ status }) => status === "time-limit")).toBe(true);
  });

  it("reports a history in which incumbents fall, and bounds rise and stay below the optimum", async () => {
    const seen: { k: number; incumbent: number; lowerBound: number; gap: number }[] = [];
    const results = await findOptimalSupports(acts, labels, [2, 4], {
      loss,
      gamma: 0.3,
      standardise: "standard",
      onProgress: (progress) => seen.push(progress),
    });
    for (const { k, history, objective } of results) {
      expect(history.length).toBeGreaterThan(1);
      // Progress is shown now and then as well.
      expect(seen.filter((progress) => progress.k === k).length).toBeGreaterThanOrEqual(history.length);
      for (const [at, { incumbent, lowerBound }] of history.entries()) {
        expect(lowerBound).toBeLessThanOrEqual(objective);
        if (at === 0) continue;
        expect(incumbent).toBeLessThanOrEqual(history[at - 1].incumbent);
        expect(lowerBound).toBeGreaterThanOrEqual(history[at - 1].lowerBound);
      }
      expect(history.at(-1)!.incumbent).toBe(objective);
    }
  });

  it("bounds what lies beyond the candidates", async () => {
    for (const gamma of [0.01, 1]) {
      const shared = { loss, gamma, standardise: "standard" } as const;
      const few = await findOptimalSupports(acts, labels, [1, 2, 3], { ...shared, candidates: 6 });
      const all = await findOptimalSupports(acts, labels, [1, 2, 3], { ...shared, candidates: "all" });
      for (const [at, { scope, objective }] of few.entries()) {
        const best = all[at].objective;
        expect(scope.lowerBound).toBeLessThanOrEqual(best);
        if (scope.undecided.length === 0) expect(objective).toBeLessThanOrEqual(best * (1 + 1e-6));
        // Whatever beats the candidates is among the undecided.
        const better = all[at].support.filter((j) => !scope.candidates.includes(j));
        if (best < objective * (1 - 1e-6)) expect(scope.undecided).toEqual(expect.arrayContaining(better));
      }
      expect(all.every(({ scope }) => scope.undecided.length === 0)).toBe(true);
    }
  });

  it("does not depend on the scale or the form of the activations", async () => {
    const options = { loss, standardise: "standard", gamma: 0.05 } as const;
    const ks = [1, 3];
    const reference = await findOptimalSupports(acts, labels, ks, options);
    for (const factor of [60, 1e-3]) {
      const scaled = new Activations(
        acts.toFloat32().map((value) => value * factor),
        [ROWS, NEURONS],
      );
      const results = await findOptimalSupports(scaled, labels, ks, options);
      for (const [at, { support, objective }] of results.entries()) {
        expect(support).toEqual(reference[at].support);
        expect(Math.abs(objective / reference[at].objective - 1)).toBeLessThan(1e-5);
      }
    }
    const rows = Array.from({ length: 200 }, (_, i) => i + 20);
    const blocks = {
      rows: ROWS,
      neurons: NEURONS,
      blocks: () =>
        [0, 100].map((start) =>
          acts.selectRows(Array.from({ length: start === 0 ? 100 : 140 }, (_, i) => start + i)),
        ),
    };
    const streamed = await findOptimalSupports(blocks, labels, ks, { ...options, rows, candidates: 8 });
    const resident = await findOptimalSupports(acts, labels, ks, { ...options, rows, candidates: 8 });
    for (const [at, result] of streamed.entries()) {
      expect(result.support).toEqual(resident[at].support);
      expect(Math.abs(result.objective / resident[at].objective - 1)).toBeLessThan(1e-7);
      expect(result.scope.undecided).toEqual(resident[at].scope.undecided);
    }
  });

  it("flags separated rows", async () => {
    const easy = Float32Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? (at < 20 ? -1 : 1) : at % 7));
    const [result] = await findOptimalSupports(
      new Activations(easy, [20, 2]),
      Array.from({ length: 20 }, (_, i) => i >= 10),
      [1],
      { loss, gamma: 100, standardise: "standard" },
    );
    expect(result).toMatchObject({ support: [0], proved: true });
    expect(result.probe.convergence.separated).toBe(true);
  });

  it("stops when it is told to, and lets timers run meanwhile", async () => {
    const { acts: many, labels: wide } = planted(5, 3000, 60);
    const options: OptimalSupportsOptions = { loss, gamma: 1, standardise: "standard", candidates: "all" };
    const reason = new Error("enough");
    const early = AbortSignal.abort(reason);
    await expect(findOptimalSupports(many, wide, [8], { ...options, signal: early })).rejects.toBe(reason);
    const controller = new AbortController();
    const started = performance.now();
    setTimeout(() => {
      controller.abort(reason);
    }, 100);
    await expect(
      findOptimalSupports(many, wide, [8], { ...options, signal: controller.signal }),
    ).rejects.toBe(reason);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("findOptimalSupports refuses", () => {
  const { acts, labels } = planted(2, 40, 24);
  const call = (ks: readonly number[], options: object): Promise<unknown> =>
    findOptimalSupports(acts, labels, ks, options);

  it.each([
    ["an unknown loss", [1], { loss: "squared" }, OptionError],
    ["gamma 0", [1], { gamma: 0 }, OptionError],
    ["gamma NaN", [1], { gamma: NaN }, OptionError],
    ["a negative gap", [1], { relativeGap: -1 }, OptionError],
    ["a time limit that is no number", [1], { timeLimit: NaN }, OptionError],
    ["an unknown standardisation", [1], { standardise: "maximum" }, OptionError],
    ["unknown class weights", [1], { classWeight: "heavy" }, OptionError],
    ["fewer candidates than k", [3], { candidates: 2 }, OptionError],
    ["a short list of candidates", [3], { candidates: [0, 1] }, OptionError],
    ["candidates that do not exist", [1], { candidates: [0, 24] }, OptionError],
    ["candidates that are listed twice", [1], { candidates: [1, 1] }, OptionError],
    ["candidates that are no list", [1], { candidates: "some" }, OptionError],
    ["a start outside of the candidates", [1], { candidates: [0, 1], starts: [[2]] }, OptionError],
    ["a start of another size", [1], { starts: [[2, 3]] }, OptionError],
    ["a start that does not exist", [1], { starts: [[99]] }, OptionError],
    ["no k", [], {}, SupportSizeError],
    ["k 0", [0], {}, SupportSizeError],
    ["k above the number of neurons", [25], {}, SupportSizeError],
  ])("%s", async (_, ks, options, type) => {
    await expect(call(ks, options)).rejects.toThrow(type);
  });

  it("labels and activations that do not fit", async () => {
    await expect(findOptimalSupports(acts, labels.slice(1), [1])).rejects.toThrow(ShapeError);
    await expect(
      findOptimalSupports(
        acts,
        labels.map(() => true),
        [1],
      ),
    ).rejects.toThrow(OneClassError);
    const rows = labels.flatMap((label, i) => (label ? [i] : []));
    await expect(findOptimalSupports(acts, labels, [1], { rows })).rejects.toThrow(OneClassError);
    const values = acts.toFloat32().slice();
    values[8] = NaN;
    await expect(findOptimalSupports(new Activations(values, [40, 24]), labels, [1])).rejects.toThrow(
      NonFiniteError,
    );
  });
});
