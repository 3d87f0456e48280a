/** Adaptive thresholding and the dense probe: what must not matter, what is recorded, and what is refused. */
import { describe, expect, it } from "vitest";
import type { Backend, L1Fit, L1Problem } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const x = randomActivations(15, 140, 60);
const labels = Array.from(randomLabels(15, x, 1).of(0));
const train = Array.from({ length: 100 }, (_, i) => i);
const schedule = [40, 20, 10, 5, 3, 1];

/** The backend, with every call of `fitLogisticL1` shown to `watch`, which may change its problems. */
function watched(
  watch: (problems: readonly L1Problem[]) => readonly L1Problem[],
  fits: L1Fit[] = [],
): Backend {
  const backend = createCpuBackend();
  const fit = backend.fitLogisticL1.bind(backend);
  backend.fitLogisticL1 = async (acts, matrix, problems, options) => {
    const result = await fit(acts, matrix, watch(problems), options);
    fits.push(...result);
    return result;
  };
  return backend;
}

function withoutStart({ start, ...problem }: L1Problem): L1Problem {
  return start ? problem : { ...problem };
}

describe("SparseProbe.adaptive", () => {
  it("uses the strengths of Gurnee et al. and starts each net from the last", async () => {
    const problems: L1Problem[] = [];
    const warm: L1Fit[] = [];
    const backend = watched((given) => (problems.push(...given), given), warm);
    const probes = await SparseProbe.adaptive(x, labels, schedule, { schedule, rows: train, backend });
    expect(problems.map(({ C }) => C)).toEqual([2, 1, 0.5, 0.25, 0.15, 0.05]);
    const shares = problems.map(({ l1Ratio }) => l1Ratio!);
    expectClose(
      shares,
      [Math.exp(-2), Math.exp(-1), Math.exp(-0.5), Math.exp(-0.25), Math.exp(-0.15), 0.9],
      1e-15,
    );
    expect(problems.map(({ start }) => start)).toEqual([undefined, ...warm.slice(0, -1)]);
    const cold: L1Fit[] = [];
    const without = watched((given) => given.map(withoutStart), cold);
    const again = await SparseProbe.adaptive(x, labels, schedule, {
      schedule,
      rows: train,
      backend: without,
    });
    const steps = (fits: readonly L1Fit[]): number =>
      fits.reduce((sum, fit) => sum + fit.convergence.iterations, 0);
    expect(steps(warm)).toBeLessThan(steps(cold));
    for (const [p, probe] of probes.entries()) {
      expect(again[p].support).toEqual(probe.support);
      // Each net is within √(2·gap/(1 − ρ)) of its optimum, the gap at most 1e-12·C·100 and 1 − ρ at least 0.1.
      expectClose(again[p].scores, probe.scores, 2 * Math.sqrt((2 * 1e-12 * 2 * 100) / 0.1));
      expectClose(again[p].coefficients, probe.coefficients, 1e-6);
    }
  });

  it("gives supports that are nested along the schedule, and the same at a k whatever else is asked for", async () => {
    const ks = [1, 2, 3, 4, 5, 7, 10, 15, 20, 40, 50];
    const probes = await SparseProbe.adaptive(x, labels, ks, { schedule, rows: train });
    expect(probes.map(({ k }) => k)).toEqual(ks);
    const of = (k: number): ReadonlySet<number> => new Set(probes[ks.indexOf(k)].support);
    for (const [at, k] of schedule.slice(1).entries()) {
      for (const j of of(k)) expect(of(schedule[at])).toContain(j);
    }
    for (const k of [1, 7, 15, 50]) {
      const [alone] = await SparseProbe.adaptive(x, labels, [k], { schedule, rows: train });
      const among = probes[ks.indexOf(k)];
      expect(alone.support).toEqual(among.support);
      expect(alone.scores).toEqual(among.scores);
      // L2 fits that run in one batch may take their last step from another point.
      expectClose(alone.coefficients, among.coefficients, 1e-9);
    }
    // Above the schedule it is the starting ranking.
    const [ranked] = await SparseProbe.path(x, labels, [50], { rows: train });
    expect([...of(50)].sort()).toEqual([...ranked.support].sort());
    const usual = await SparseProbe.adaptive(x, labels, undefined, { rows: train });
    expect(usual.map(({ k }) => k)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32]);
  });

  it("breaks ties of coefficients that the penalty has zeroed by the ranking before", async () => {
    // Neurons 0 … 5 are noise that ranks above nothing; with so few rows per unit of penalty the first net is all zeros.
    const rows = 8;
    const y = [1, 0, 1, 0, 1, 0, 1, 0];
    const noise = randomActivations(77, rows, 6).toFloat32();
    const values = Float32Array.from(
      noise,
      (v, at) => v + (y[Math.floor(at / 6)] === 1 ? 0.05 * ((at % 6) + 1) : 0),
    );
    const acts = new Activations(values, [rows, 6]);
    const ranked = await SparseProbe.path(acts, y, [2, 1]);
    // k = 2 and 1: C = 0.1 and 0.05, ρ = 0.9: |C·Σω·s·x̃/2| ≤ 0.1·8/2 < 0.9, so that no coefficient can be other than zero.
    const probes = await SparseProbe.adaptive(acts, y, [2, 1], { schedule: [2, 1] });
    for (const [p, probe] of probes.entries()) {
      expect(probe.scores.every((score) => score === 0)).toBe(true);
      expect(probe.support).toEqual(ranked[p].support);
    }
  });

  it.each([60, 1e-3])("finds the same on activations times %d", async (factor) => {
    const stretched = new Activations(
      x.toFloat32().map((v) => factor * v),
      [140, 60],
    );
    const want = await SparseProbe.adaptive(x, labels, schedule, { schedule, rows: train });
    const got = await SparseProbe.adaptive(stretched, labels, schedule, { schedule, rows: train });
    for (const [p, probe] of got.entries()) {
      expect(probe.support).toEqual(want[p].support);
      // Products are rounded to float32: standardised values move by about 2⁻²⁴·(1 + |mean|/sd), mean/sd being below 20.
      expectClose(probe.coefficients, want[p].coefficients, 1e-4);
      expectClose(probe.scores, want[p].scores, 1e-4);
    }
  });

  it("refits with the L2 penalty, or leaves the net as it is; both are records that JSON keeps", async () => {
    const options = { schedule, rows: train, C: 0.3, feature: "f" };
    const [refitted] = await SparseProbe.adaptive(x, labels, [5], options);
    expect(refitted.options).toMatchObject({ C: 0.3, ranking: "adaptive-thresholding(mean-difference)" });
    expect(refitted.options.penalty).toBeUndefined();
    const columns = x.gatherColumns(refitted.support);
    const alone = await SparseProbe.fit(columns, labels, 5, { rows: train, C: 0.3 });
    const at = refitted.support.map((_, c) => alone.support.indexOf(c));
    expectClose(
      refitted.coefficients,
      at.map((c) => alone.coefficients[c]),
      1e-7,
      "coefficient",
    );
    const [net] = await SparseProbe.adaptive(x, labels, [5], { ...options, refit: false });
    expect(net.support).toEqual(refitted.support);
    expect(net.coefficients).toEqual(refitted.scores);
    expect(net.options).toMatchObject({ C: 0.25, penalty: "elastic-net", l1Ratio: Math.exp(-0.25) });
    expect(net.convergence.converged).toBe(true);
    for (const probe of [refitted, net]) {
      expect(SparseProbe.fromJSON(JSON.parse(JSON.stringify(probe)))).toEqual(probe);
      expect(probe.evaluate(x, labels).rocAuc).toBeGreaterThan(0.7);
    }
    const json = { ...net.toJSON(), options: { ...net.options, l1Ratio: 1.5 } };
    expect(() => SparseProbe.fromJSON(json)).toThrow("options.l1Ratio is above 1");
  });

  it("flags separable rows instead of diverging", async () => {
    const y = Array.from({ length: 140 }, (_, i) => (x.toFloat32()[i * 60 + 7] > 0 ? 1 : 0));
    const far = new Activations(
      x.toFloat32().map((v, at) => (at % 60 === 7 ? 100 * Math.sign(v) : v)),
      [140, 60],
    );
    for (const refit of [true, false]) {
      const probes = await SparseProbe.adaptive(far, y, schedule, { schedule, refit });
      for (const probe of probes) {
        expect(probe.convergence).toMatchObject({ converged: true, separated: true });
        expect(probe.coefficients.every(Number.isFinite)).toBe(true);
        expect(probe.support[0]).toBe(7);
      }
    }
  });

  it("reads blocks of rows, label matrices and other rankings, and no other rows", async () => {
    const options = { schedule, rows: train };
    const [want] = await SparseProbe.adaptive(x, labels, [5], options);
    const blocks = {
      rows: 140,
      neurons: 60,
      *blocks() {
        for (const start of [0, 50, 100]) yield x.slice(start, Math.min(140, start + 50));
      },
    };
    const [streamed] = await SparseProbe.adaptive(blocks, labels, [5], options);
    expect(streamed.support).toEqual(want.support);
    expectClose(streamed.coefficients, want.coefficients, 1e-5);
    const matrix = new LabelMatrix(["f"], 100, Uint8Array.from(labels.slice(0, 100)));
    const [alone] = await SparseProbe.adaptive(x.slice(0, 100), matrix, [5], { schedule });
    expect(alone.support).toEqual(want.support);
    const [other] = await SparseProbe.adaptive(x, labels, [5], {
      ...options,
      ranking: "standardised-mean-difference",
    });
    expect(other.options.ranking).toBe("adaptive-thresholding(standardised-mean-difference)");
  });

  it("shows progress, stops, and says what is wrong", async () => {
    const seen: [number, number][] = [];
    await SparseProbe.adaptive(x, labels, [5, 4], { schedule, onProgress: (...at) => seen.push(at) });
    // Nets at 40, 20, 10, 5 and 4, and two refits.
    const done = seen.map(([count]) => count);
    expect(done.slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(done).toEqual(done.toSorted((a, b) => a - b));
    expect(done.at(-1)).toBe(7);
    expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([7]));
    const controller = new AbortController();
    const stopped = SparseProbe.adaptive(x, labels, undefined, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
    const refused = (ks: readonly number[] | undefined, options: object = {}) =>
      SparseProbe.adaptive(x, labels, ks, options);
    await expect(refused([61])).rejects.toMatchObject({ code: "support-size" });
    await expect(refused([])).rejects.toMatchObject({ code: "support-size" });
    await expect(refused([2], { schedule: [] })).rejects.toMatchObject({ code: "option" });
    await expect(refused([2], { schedule: [2.5] })).rejects.toMatchObject({ code: "option" });
    await expect(refused([2], { C: 0 })).rejects.toMatchObject({ code: "option" });
    await expect(SparseProbe.adaptive(x, labels.slice(1), [2])).rejects.toMatchObject({ code: "shape" });
    const one = new LabelMatrix(["f"], 140, new Uint8Array(140));
    await expect(SparseProbe.adaptive(x, one, [2])).rejects.toMatchObject({ code: "one-class" });
  });
});

describe("SparseProbe.dense", () => {
  it("is the probe on all neurons, strongest first", async () => {
    const dense = await SparseProbe.dense(x, labels, { rows: train, C: 0.2 });
    const fitted = await SparseProbe.fit(x, labels, 60, { rows: train, C: 0.2 });
    expect(dense.k).toBe(60);
    expect(dense.options).toMatchObject({ C: 0.2, ranking: "none" });
    expect(dense.convergence.converged).toBe(true);
    const sizes = dense.coefficients.map(Math.abs);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
    expect(dense.scores).toEqual(dense.coefficients);
    const byNeuron = (probe: SparseProbe): number[] => {
      const w = new Array<number>(60).fill(NaN);
      for (const [at, j] of probe.support.entries()) w[j] = probe.coefficients[at];
      return w;
    };
    expectClose(byNeuron(dense), byNeuron(fitted), 1e-7);
    expectClose(dense.decisionFunction(x), fitted.decisionFunction(x), 1e-6);
    expect(SparseProbe.fromJSON(JSON.parse(JSON.stringify(dense)))).toEqual(dense);
  });

  it("says what is wrong", async () => {
    const spoilt = x.toFloat32().slice();
    spoilt[7] = NaN;
    await expect(SparseProbe.dense({ data: spoilt, shape: [140, 60] }, labels)).rejects.toMatchObject({
      code: "non-finite",
    });
    await expect(SparseProbe.dense(x, labels, { C: -1 })).rejects.toMatchObject({ code: "option" });
    await expect(
      SparseProbe.dense(x, labels, { signal: AbortSignal.abort(new Error("no")) }),
    ).rejects.toThrow("no");
  });
});
