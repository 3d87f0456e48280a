import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import type { ClassMoments, MomentSquares } from "../../src/data/class-moments.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { normals, randomActivations } from "../support/random-data.ts";

const reference = createCpuBackend({ kernels: "reference" });
const one = createCpuBackend({ kernels: "simd" });
let two: Backend;
beforeAll(() => {
  two = createCpuBackend({ kernels: "simd", threads: 2, spawn: spawnWorker });
});
afterAll(() => two.dispose());

/** γ of src/backends/cpu/simd/class-moments.ts. */
const GAMMA = 80 * 2 ** -24;

async function momentsOf(
  backend: Backend,
  x: Activations,
  labels: LabelMatrix,
  squares: MomentSquares,
): Promise<ClassMoments> {
  return backend.classMoments(await backend.upload(x), labels, { squares });
}

/** Labels with the share of positives given, by feature; `unlabelled` of the rows at random, in each feature by itself. */
function labelsOf(seed: number, rows: number, shares: readonly number[], unlabelled = 0): LabelMatrix {
  const random = new Random(seed, "shares");
  const values = shares.flatMap((share) =>
    Array.from({ length: rows }, () =>
      random.uniform() < unlabelled ? UNLABELLED : random.uniform() < share ? 1 : 0,
    ),
  );
  return new LabelMatrix(
    shares.map((_, f) => `${f}`),
    rows,
    Uint8Array.from(values),
  );
}

/** Largest |x| of each neuron, and what decoding a code in float32 adds. */
function sizes(x: Activations): { spread: (j: number) => number; decoding: (j: number) => number } {
  const values = x.toFloat32();
  const low = new Float64Array(x.neurons).fill(Infinity);
  const high = new Float64Array(x.neurons).fill(-Infinity);
  for (const [at, value] of values.entries()) {
    const j = at % x.neurons;
    low[j] = Math.min(low[j], value);
    high[j] = Math.max(high[j], value);
  }
  return {
    // Halves are summed as they are where only means are wanted.
    spread: (j) => (x.dtype === "f16" ? Math.max(high[j], -low[j]) : 0) + high[j] - low[j],
    decoding: (j) => (x.code ? 2 ** -23 * (Math.abs(x.code.offset[j]) + 255 * Math.abs(x.code.scale[j])) : 0),
  };
}

/** Holds moments to those of the reference by the bounds that the kernels promise. */
function expectMoments(got: ClassMoments, want: ClassMoments, x: Activations): void {
  const d = x.neurons;
  const { spread, decoding } = sizes(x);
  expect([...got.count]).toEqual([...want.count]);
  expectClose(got.mean, want.mean, (at) => 3 * GAMMA * spread(at % d) + decoding(at % d), "mean");
  const n = (f: number): number => want.count[2 * f] + want.count[2 * f + 1];
  const within = (at: number): number => {
    const f = Math.floor(at / d);
    const coded = 2 * n(f) * decoding(at % d) * spread(at % d);
    return 51 * GAMMA * want.withinSquares![at] + coded + 2 ** -40 * n(f) * spread(at % d) ** 2;
  };
  expect(got.withinSquares === null).toBe(want.withinSquares === null);
  expect(got.sumOfSquares === null).toBe(want.sumOfSquares === null);
  if (want.withinSquares) expectClose(got.withinSquares!, want.withinSquares, within, "within");
  if (want.sumOfSquares) {
    const bound = (at: number): number => {
      const c = Math.floor(at / d);
      const of = (c >> 1) * d + (at % d);
      return 51 * GAMMA * want.sumOfSquares![at] + (within(of) * want.count[c]) / n(c >> 1);
    };
    expectClose(got.sumOfSquares!, want.sumOfSquares, bound, "sumOfSquares");
  }
}

const MANY = Array.from({ length: 9 }, (_, f) => [0.5, 0.9, 0.03][f % 3]);

describe("class moments by the SIMD kernels", () => {
  const cases = (["f32", "f16", "u8"] as const).flatMap((dtype) =>
    (["class", "within", "none"] as const).flatMap((squares) =>
      (
        [
          [1, 1, 1],
          [7, 5, 1],
          [300, 33, 2],
          [1111, 16, 9],
          [600, 50, 9],
        ] as const
      ).map((shape) => [dtype, squares, ...shape] as [StorageType, MomentSquares, number, number, number]),
    ),
  );
  it.each(cases)(
    "equal the reference: %s, squares %s, %i × %i, %i features",
    async (dtype, squares, n, d, F) => {
      const x = randomActivations(n, n, d).toStorage(dtype);
      for (const unlabelled of [0, 0.3]) {
        const labels = labelsOf(n, n, MANY.slice(0, F), unlabelled);
        expectMoments(
          await momentsOf(one, x, labels, squares),
          await momentsOf(reference, x, labels, squares),
          x,
        );
      }
    },
  );

  it("leave out rows that no feature labels, and classes without rows", async () => {
    const x = randomActivations(3, 400, 20);
    const data = x.toFloat32().slice();
    // What no feature labels is not read.
    data.fill(NaN, 100 * 20, 140 * 20);
    const spoilt = new Activations(data, [400, 20]);
    const rows = [...Array(400).keys()].filter((i) => i < 100 || i >= 140);
    for (const shares of [
      [0.4, 0, 1],
      [...MANY, 0, 1],
    ]) {
      const labels = labelsOf(4, 400, shares).restrictedTo(rows);
      const got = await momentsOf(one, spoilt, labels, "class");
      expectMoments(got, await momentsOf(reference, x, labels, "class"), x);
    }
  });

  it.each(["f32", "f16"] as const)("keep what is not finite in %s to its own classes", async (dtype) => {
    const clean = randomActivations(5, 300, 40);
    const data = clean.toFloat32().slice();
    data[10 * 40 + 3] = NaN;
    data[11 * 40 + 4] = Infinity;
    data[200 * 40 + 4] = -Infinity;
    data[299 * 40 + 39] = -Infinity;
    const x = new Activations(data, [300, 40]).toStorage(dtype);
    for (const [shares, unlabelled] of [
      [[0.4], 0],
      [MANY, 0],
      [MANY, 0.3],
    ] as const) {
      const labels = labelsOf(6, 300, shares, unlabelled);
      for (const squares of ["class", "within", "none"] as const) {
        const got = await momentsOf(one, x, labels, squares);
        const want = await momentsOf(reference, x, labels, squares);
        for (const key of ["mean", "sumOfSquares", "withinSquares"] as const) {
          expect(got[key]?.map(Number.isFinite as never)).toEqual(want[key]?.map(Number.isFinite as never));
        }
      }
    }
  });

  it("hold their bounds far from zero, and with pilots far from a class", async () => {
    const n = 900;
    const base = randomActivations(7, n, 32).toFloat32();
    for (const shares of [[0.3], MANY]) {
      const labels = labelsOf(8, n, shares);
      const positive = labels.of(0);
      // Offsets of 1000 deviations; classes 1000 deviations apart; a class that never varies; outliers.
      const x = new Activations(
        base.map((v, at) => {
          const i = Math.floor(at / 32);
          const j = at % 32;
          if (j < 8) return 1000 + v;
          if (j < 16) return v + 1000 * positive[i];
          if (j < 20) return positive[i] === 1 ? 0.3 : v;
          if (j < 24) return i % 7 === 0 ? 1e4 : v;
          return j < 28 ? 0.7 : v;
        }),
        [n, 32],
      );
      for (const squares of ["class", "within"] as const) {
        const got = await momentsOf(one, x, labels, squares);
        expectMoments(got, await momentsOf(reference, x, labels, squares), x);
        expect([...got.withinSquares!.subarray(24, 28)]).toEqual([0, 0, 0, 0]);
      }
    }
  });

  it("hold their bounds in means alone, with pilots and without beside each other, and leave rows without a label out", async () => {
    const n = 777;
    const d = 200;
    const base = randomActivations(14, n, d).toFloat32();
    for (const unlabelled of [0, 0.2, 0.95]) {
      const labels = labelsOf(15, n, [0.3], unlabelled);
      const values = labels.of(0);
      const data = base.map((v, at) => {
        const j = at % d;
        if (j < 60) return v;
        if (j < 70) return 1e5 + v;
        return j % 64 === 5 ? 3 * v - 40 : j === 199 ? 0.7 : v;
      });
      const want = await momentsOf(reference, new Activations(data, [n, d]), labels, "none");
      const spoilt = data.map((v, at) => (values[Math.floor(at / d)] === UNLABELLED ? NaN : v));
      const got = await momentsOf(one, new Activations(spoilt, [n, d]), labels, "none");
      expectMoments(got, want, new Activations(data, [n, d]));
      expect([...got.mean.subarray(199, 200), got.mean[d + 199]]).toEqual([0, 1].map(() => Math.fround(0.7)));
    }
  });

  it("sum the largest codes exactly", async () => {
    const n = 600;
    const scale = new Float32Array(20).fill(1);
    const offset = new Float32Array(20);
    // The last rows vary: even and odd columns differ.
    const codes = Uint8Array.from({ length: n * 20 }, (_, at) => (at < 560 * 20 ? 255 : at % 251));
    const x = new Activations(codes, [n, 20], { dtype: "u8", code: { scale, offset } });
    for (const shares of [[0], [0.5]]) {
      const labels = labelsOf(16, n, shares);
      const got = await momentsOf(one, x, labels, "none");
      const want = await momentsOf(reference, x, labels, "none");
      expectClose(got.mean, want.mean, 1e-12 * 255, "mean");
    }
  });

  it("hold their bounds over a million rows, 300 deviations from zero", async () => {
    const n = 1_000_000;
    const noise = normals(new Random(9, "noise"), 4096);
    const data = new Float32Array(n * 2);
    for (let i = 0; i < n; i++) {
      const v = noise[(i * 2654435761) >>> 20];
      data[2 * i] = v;
      data[2 * i + 1] = 300 + v;
    }
    const x = new Activations(data, [n, 2]);
    const labels = labelsOf(10, n, [0.1]);
    const means = await momentsOf(one, x, labels, "none");
    const got = await momentsOf(one, x, labels, "class");
    const want = await momentsOf(reference, x, labels, "class");
    expectMoments(got, want, x);
    // In practice roundings cancel: a mean is off by less than a thousandth of its standard error, √(1/10⁵).
    expectClose(got.mean, want.mean, 1e-3 * Math.sqrt(1e-5), "mean");
    expectClose(means.mean, want.mean, 1e-3 * Math.sqrt(1e-5), "mean alone");
    expectClose(got.sumOfSquares!, want.sumOfSquares!, (at) => 1e-6 * want.sumOfSquares![at], "squares");
  });

  it.each(["f32", "f16", "u8"] as const)(
    "are the same bits on one thread and two, in place and copied: %s",
    async (dtype) => {
      const n = 1300;
      const d = 2100;
      const values = normals(new Random(11, "values"), 8191);
      const x = new Activations(
        Float32Array.from({ length: n * d }, (_, at) => values[at % 8191] + (at % d) / 500),
        [n, d],
      ).toStorage(dtype);
      for (const shares of [[0.3], MANY]) {
        const labels = labelsOf(12, n, shares, shares === MANY ? 0.1 : 0);
        for (const squares of ["class", "none"] as const) {
          const want = await momentsOf(one, x, labels, squares);
          expect(await momentsOf(two, x, labels, squares)).toEqual(want);
          for (const backend of [one, two]) {
            const placed = await backend.allocate(n, d, { dtype, ...(x.code && { code: x.code }) });
            placed.data.set(x.data);
            expect(await momentsOf(backend, placed, labels, squares)).toEqual(want);
            await backend.release(placed);
          }
        }
      }
    },
  );

  it("stop when asked to", async () => {
    const x = randomActivations(13, 50, 5);
    const labels = labelsOf(13, 50, [0.5]);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(one.classMoments(await one.upload(x), labels, { signal })).rejects.toThrow("enough");
  });
});
