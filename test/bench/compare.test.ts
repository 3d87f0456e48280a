/** The harness refuses wrong answers, takes turns, and judges goals at equal numbers of threads. */
import { describe, expect, it } from "vitest";
import { assertClose, assertOptimal } from "../../bench/check.ts";
import { compare, SkippedError, WrongAnswerError, type Contender, type Task } from "../../bench/compare.ts";
import { makeActivations, makeLabels } from "../../bench/data.ts";
import {
  aucLoop,
  bestInformednessLoop,
  columnsLoop,
  informednessLoop,
  lossLoop,
  marginsLoop,
  momentsLoop,
  newtonLoop,
  optimumLoop,
} from "../../bench/reference-loops.ts";
import { Rival } from "../../bench/rival.ts";
import { describeGoal, taskRows } from "../../bench/table.ts";

const OPTIONS = {
  limits: [{ threads: 1, gigabytesPerSecond: 10, gigaflopsPerSecond: 20 }],
  runSeconds: 1,
  rounds: 3,
  log: (): void => undefined,
};

function contender(
  name: string,
  seconds: readonly number[],
  more: Partial<Contender> & { readonly turns?: string[] } = {},
): Contender {
  let at = 0;
  return {
    name,
    side: name === "ours" ? "ours" : "rival",
    backend: "cpu",
    threads: 1,
    verify: () => Promise.resolve("right"),
    run: (items) => {
      more.turns?.push(name);
      return Promise.resolve({ seconds: seconds[at++ % seconds.length] * items, peakBytes: at });
    },
    ...more,
  };
}

const task = (contenders: Contender[], more: Partial<Task> = {}): Task => ({
  job: "J0",
  task: "task",
  size: { rows: 3 },
  contenders,
  goals: [{ times: 2, rivals: ["slow", "fast"], text: "the best rival" }],
  ...more,
});

describe("compare", () => {
  it("takes turns and reports minimum, median and the ratio to the fastest rival", async () => {
    const turns: string[] = [];
    const result = await compare(
      task([
        contender("ours", [3, 1, 2], { turns }),
        contender("slow", [40], { turns }),
        contender("fast", [6, 5, 7], { turns }),
      ]),
      OPTIONS,
    );
    expect(turns).toEqual(["ours", "slow", "fast", "ours", "slow", "fast", "ours", "slow", "fast"]);
    expect(result.entries[0].seconds).toEqual({ minimum: 1, median: 2, runs: 3 });
    expect(result.goals).toMatchObject([{ reached: 5, met: true, threads: 1 }]);
    expect(taskRows(result)[2].at(-1)).toBe("5.00 × faster");
  });

  it("times nothing when our own answer is wrong", async () => {
    const wrong = contender("ours", [1], { verify: () => Promise.reject(new WrongAnswerError("off by 1")) });
    const result = await compare(task([wrong, contender("fast", [2])]), OPTIONS);
    expect(result.entries.map(({ status, seconds }) => [status, seconds])).toEqual([
      ["wrong", undefined],
      ["skipped", undefined],
    ]);
    expect(result.goals).toMatchObject([{ reached: null, met: false, why: "off by 1" }]);
  });

  it("shows a wrong or missing rival without timing it, and a goal against it as missed", async () => {
    const result = await compare(
      task([
        contender("ours", [1]),
        contender("slow", [9], { verify: () => Promise.reject(new WrongAnswerError("no")) }),
        contender("fast", [9], { unavailable: { status: "not installed", why: "Python lacks numpy" } }),
      ]),
      OPTIONS,
    );
    expect(result.entries.map(({ status }) => status)).toEqual(["timed", "wrong", "not installed"]);
    expect(result.entries[2].note).toBe("Python lacks numpy");
    expect(describeGoal(result.goals[0])).toMatch(/^MISSED: .*the rival did not run$/);
  });

  it("scales times of many items up, and shares to the limit", async () => {
    const result = await compare(
      task([contender("ours", [0.25])], {
        items: 100,
        itemName: "fits",
        bytes: 50e9,
        boundBy: "reading",
        limitGoal: { share: 0.3, text: "the read bandwidth" },
      }),
      OPTIONS,
    );
    const [entry] = result.entries;
    expect(entry).toMatchObject({
      timedItems: 4,
      seconds: { minimum: 25 },
      gigabytesPerSecond: 2,
      shareOfLimit: 0.2,
    });
    expect(result.goals.at(-1)).toMatchObject({ reached: 0.2, met: false });
  });

  it("holds what a GPU computed against the GPU's limit", async () => {
    const result = await compare(
      task([contender("ours", [1], { on: "gpu" })], { bytes: 100e9, boundBy: "reading" }),
      { ...OPTIONS, gpuLimits: { device: "GPU", software: false, gigabytesPerSecond: 1000, method: "" } },
    );
    expect(result.entries[0].shareOfLimit).toBe(0.1);
    expect(taskRows(result)[0][1]).toBe("GPU");
  });

  it("records no time of a GPU that is emulated in software, though it verifies and runs it", async () => {
    const turns: string[] = [];
    const result = await compare(task([contender("ours", [1], { turns }), contender("fast", [9])]), {
      ...OPTIONS,
      softwareGpu: true,
    });
    expect(turns).toContain("ours");
    expect(result.entries[0]).toMatchObject({ status: "verified", check: "right" });
    expect(result.entries[0].seconds).toBeUndefined();
    expect(result.goals).toMatchObject([{ reached: null, met: false }]);
    expect(describeGoal(result.goals[0])).toContain("emulated in software");
  });

  it("times a slow rival once, and shows what could not be waited for", async () => {
    const turns: string[] = [];
    const impatient = contender("fast", [1], { verify: () => Promise.reject(new SkippedError("too slow")) });
    const result = await compare(
      task([contender("ours", [1]), contender("slow", [9], { once: true, turns }), impatient]),
      OPTIONS,
    );
    expect(turns).toEqual(["slow"]);
    expect(result.entries.map(({ status, note }) => [status, note])).toEqual([
      ["timed", undefined],
      ["timed", undefined],
      ["skipped", "too slow"],
    ]);
  });

  it("judges goals by the first way of calling ours, and profiles it where a goal is missed", async () => {
    const profiled: string[] = [];
    const profile = async (call: () => Promise<unknown>) => {
      profiled.push(JSON.stringify(await call()));
      return { parts: [{ name: "loop", share: 1 }], waiting: 0 };
    };
    const ours = contender("ours", [5]);
    const other = { ...contender("ours", [1]), name: "ours, another way" };
    const result = await compare(task([ours, other, contender("fast", [6])]), { ...OPTIONS, profile });
    expect(result.goals).toMatchObject([{ reached: 1.2, met: false }]);
    expect(profiled.length).toBe(1);
    expect(result.profiles).toEqual([{ threads: 1, parts: [{ name: "loop", share: 1 }], waiting: 0 }]);
    const met = await compare(task([other, contender("fast", [6])]), { ...OPTIONS, profile });
    expect(met.profiles).toBeUndefined();
  });
});

describe("rivals", () => {
  it("say what is missing when Python is not there", async () => {
    const rival = await Rival.start("no-such-python", 1);
    expect(rival.unavailable("numpy")).toMatchObject({
      status: "not installed",
      why: expect.stringMatching(/no-such-python did not start .*requirements\.txt/) as string,
    });
    rival.close();
  });
});

describe("checks", () => {
  it("refuse what is off, not a number, or of another length", () => {
    expect(assertClose("x", [1, 2.001], [1, 2], () => 2, 1e-3)).toContain("x within 5.0e-4");
    for (const got of [[1, 2.1], [1, NaN], [1]]) {
      expect(() => assertClose("x", got, [1, 2], () => 1, 1e-3)).toThrow(WrongAnswerError);
    }
  });

  it("measure a fit by what its objective still lacks, whatever the scale of its columns", () => {
    const y = Uint8Array.from({ length: 200 }, (_, i) => i % 2);
    for (const scale of [1, 1000]) {
      const column = Float64Array.from(y, (label, i) => scale * (label + Math.sin(i)));
      // A penalty that the scale does not matter to.
      const optimum = optimumLoop([column], y, 1e9);
      const off = (relative: number): number[] => [...optimum.theta.map((t) => t * (1 + relative))];
      expect(assertOptimal(off(0), [optimum], 1e-12)).toContain("excess loss within");
      expect(() => assertOptimal(off(0.1), [optimum], 1e-6)).toThrow(WrongAnswerError);
      // Quadratic at the optimum.
      expect(optimum.excess(off(0.01)) / optimum.excess(off(0.001))).toBeCloseTo(100, -1);
      expect(() => assertOptimal([NaN, 0], [optimum], 1)).toThrow(WrongAnswerError);
      expect(() => assertOptimal([0], [optimum], 1)).toThrow(WrongAnswerError);
    }
  });
});

describe("data and reference loops", () => {
  const rows = 400;
  const d = 16;
  const labels = makeLabels(rows, 7);
  const x = makeActivations({ rows, neurons: d }, labels, 11);

  it("are the same for the same seed, and finite", () => {
    expect(makeActivations({ rows, neurons: d }, labels, 11)).toEqual(x);
    expect(x.every(Number.isFinite)).toBe(true);
  });

  it("counts, and a mean that sums back", () => {
    const y = labels.subarray(0, rows);
    const { count, mean } = momentsLoop(x, rows, d, y);
    expect(count[0] + count[1]).toBe(rows);
    const total = x.reduce((sum, value, at) => (at % d === 3 ? sum + value : sum), 0);
    expect(count[0] * mean[0][3] + count[1] * mean[1][3]).toBeCloseTo(total, 8);
  });

  it("Newton ends where the gradient vanishes", () => {
    const y = labels.subarray(0, rows);
    const columns = columnsLoop(x, rows, d, [2, 5]);
    const theta = newtonLoop(columns, y);
    const positives = y.reduce((sum, label) => sum + label, 0);
    const residuals = Array.from(y, (label, i) => {
      const z = theta[0] * columns[0][i] + theta[1] * columns[1][i] + theta[2];
      return (rows / (2 * (label ? positives : rows - positives))) * (1 / (1 + Math.exp(-z)) - label);
    });
    expect(Math.abs(residuals.reduce((sum, r) => sum + r, 0))).toBeLessThan(1e-8);
    for (const c of [0, 1]) {
      expect(Math.abs(residuals.reduce((sum, r, i) => sum + r * columns[c][i], theta[c]))).toBeLessThan(1e-8);
    }
  });

  it("areas count pairs", () => {
    expect(aucLoop([1, 2, 2, 3], [0, 0, 1, 1])).toBe(3.5 / 4);
  });

  it("finds the best threshold of all, on either side", () => {
    for (const neuron of [0, 3, 7]) {
      const y = labels.subarray(0, rows);
      // Rounded, so that values are tied.
      const scores = Array.from({ length: rows }, (_, i) => Math.round(4 * x[i * d + neuron]));
      const all = scores.map((t) => informednessLoop(scores, y, t));
      const most = all.reduce((best, one) => Math.max(best, Math.abs(one)), 0);
      expect(Math.abs(bestInformednessLoop(scores, y))).toBeCloseTo(most, 12);
      const opposite = y.map((label) => 1 - label);
      expect(bestInformednessLoop(scores, opposite)).toBeCloseTo(-bestInformednessLoop(scores, y), 12);
    }
  });

  it("margins and losses are those of a row at a time", () => {
    const theta = Float64Array.from({ length: d + 1 }, (_, j) => Math.sin(j));
    const z = marginsLoop(x, rows, d, theta);
    const first = x.subarray(0, d).reduce((sum, value, j) => sum + value * theta[j], theta[d]);
    expect(z[0]).toBeCloseTo(first, 10);
    expect(lossLoop([0, 0], [0, 1], Float64Array.of(1, 3))).toBeCloseTo(4 * Math.log(2), 12);
  });
});
