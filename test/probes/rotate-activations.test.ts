/** Random rotations: orthonormal, uniform, the same for the same seed, and without effect on what does not depend on a basis. */
import { describe, expect, it } from "vitest";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { Activations } from "../../src/data/activations.ts";
import { drawRotation, rotateBlock, TILE_ROWS } from "../../src/probes/random-rotation.ts";
import { rotateActivations } from "../../src/probes/rotate-activations.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

/** Q itself: the identity, rotated. */
async function rotation(d: number, seed: number): Promise<Float32Array> {
  const identity = new Float32Array(d * d);
  for (let j = 0; j < d; j++) identity[j * d + j] = 1;
  return (await rotateActivations({ data: identity, shape: [d, d] }, { seed })).toFloat32();
}

describe("rotateActivations", () => {
  it.each([1, 2, 3, 31, 32, 33, 70, 130])("multiplies by an orthonormal matrix, d = %i", async (d) => {
    const pacer = new Pacer(undefined);
    const q = new Float64Array(Math.ceil(d / TILE_ROWS) * TILE_ROWS * d);
    for (let j = 0; j < d; j++) q[j * d + j] = 1;
    await rotateBlock(q, await drawRotation(7, d, pacer), pacer);
    for (const [name, at] of [
      ["QᵀQ", (i: number, r: number) => r * d + i],
      ["QQᵀ", (i: number, r: number) => i * d + r],
    ] as const) {
      const products = new Float64Array(d * d);
      for (let i = 0; i < d; i++) {
        for (let j = 0; j < d; j++)
          for (let r = 0; r < d; r++) products[i * d + j] += q[at(i, r)] * q[at(j, r)];
      }
      const identity = Float64Array.from(products, (_, p) => (p % (d + 1) === 0 ? 1 : 0));
      // d reflections, each exact to a few units of 2⁻⁵³ per entry.
      expectClose(products, identity, 8 * (d + 8) * 2 ** -53, name);
    }
    // What is given back is that matrix in float32.
    expect([...(await rotation(d, 7))]).toEqual([...Float32Array.from(q.subarray(0, d * d))]);
  });

  it("is uniform over the orthogonal group", async () => {
    const d = 3;
    const draws = 2000;
    const sum = new Float64Array(d * d);
    const squares = new Float64Array(d * d);
    const fourth = new Float64Array(d * d);
    let determinant = 0;
    let trace = 0;
    let traceSquared = 0;
    const mixed = { sameRow: 0, apart: 0 };
    for (let seed = 0; seed < draws; seed++) {
      const q = await rotation(d, seed);
      for (const [at, v] of q.entries()) {
        sum[at] += v / draws;
        squares[at] += v ** 2 / draws;
        fourth[at] += v ** 4 / draws;
      }
      const det =
        q[0] * (q[4] * q[8] - q[5] * q[7]) -
        q[1] * (q[3] * q[8] - q[5] * q[6]) +
        q[2] * (q[3] * q[7] - q[4] * q[6]);
      expect(Math.abs(Math.abs(det) - 1)).toBeLessThan(1e-6);
      determinant += det / draws;
      trace += (q[0] + q[4] + q[8]) / draws;
      traceSquared += (q[0] + q[4] + q[8]) ** 2 / draws;
      mixed.sameRow += (q[0] * q[1]) ** 2 / draws;
      mixed.apart += (q[0] * q[4]) ** 2 / draws;
    }
    // Under Haar measure E q = 0, E q² = 1/d, E q⁴ = 3/(d(d+2)), E det = 0, E tr = 0, E tr² = 1, and of two entries of a row
    // E q²q'² = 1/(d(d+2)), of two in no common row or column (d+1)/(d(d−1)(d+2)). A mean of 2,000 draws bounded by 1 is within
    // 5 standard errors, 5/√2000; powers vary less, with standard deviations of 0.3 and below.
    const wide = 5 / Math.sqrt(draws);
    expectClose(sum, new Float64Array(9), wide * Math.sqrt(1 / d), "mean");
    expectClose(squares, new Float64Array(9).fill(1 / d), wide * 0.3, "square");
    expectClose(fourth, new Float64Array(9).fill(3 / (d * (d + 2))), wide * 0.27, "fourth power");
    expectClose([determinant, trace], [0, 0], wide, "determinant and trace");
    // tr² runs up to 9; under Haar measure E tr⁴ = 3.
    expectClose([traceSquared], [1], wide * Math.SQRT2, "squared trace");
    expectClose([mixed.sameRow], [1 / (d * (d + 2))], wide * 0.09, "same row");
    expectClose([mixed.apart], [(d + 1) / (d * (d - 1) * (d + 2))], wide * 0.17, "apart");
  });

  it("equals a product in float64 with the matrix that it stands for, row by row and in blocks", async () => {
    const x = randomActivations(3, 100, 45);
    const q = await rotation(45, 5);
    const got = (await rotateActivations(x, { seed: 5 })).toFloat32();
    const want = Float64Array.from(got, (_, at) => {
      let sum = 0;
      for (let j = 0; j < 45; j++) sum += x.data[Math.floor(at / 45) * 45 + j] * q[j * 45 + (at % 45)];
      return sum;
    });
    // Q's entries and the result are rounded to float32: 2⁻²⁴ of Σ|x·q| ≤ ‖x‖ and of |result| ≤ ‖x‖, ‖x‖ below 25.
    expectClose(got, want, 2 * 25 * 2 ** -24);
    const part = await rotateActivations(x.slice(40, 50), { seed: 5 });
    expect([...part.toFloat32()]).toEqual([...got.subarray(40 * 45, 50 * 45)]);
    const other = (await rotateActivations(x, { seed: 6 })).toFloat32();
    expect(other.some((v, at) => v !== got[at])).toBe(true);
  });

  it("keeps dense probes without standardisation, and spreads a neuron over all", async () => {
    const x = randomActivations(9, 150, 24);
    const labels = Array.from(randomLabels(9, x, 1).of(0));
    const rotated = await rotateActivations(x, { seed: 1 });
    const options = { standardise: "none" } as const;
    const before = await SparseProbe.dense(x, labels, options);
    const after = await SparseProbe.dense(rotated, labels, options);
    // Both optima to a decrement of 1e-16, of data that differ by float32's rounding, 2⁻²⁴ of ‖x‖ < 20 a row.
    expectClose(after.decisionFunction(rotated), before.decisionFunction(x), 1e-4, "decision");
    const { objective } = before.convergence;
    expectClose([after.convergence.objective], [objective], 1e-5 * objective, "objective");
    const norm = (w: readonly number[]): number => Math.hypot(...w);
    expectClose([norm(after.coefficients)], [norm(before.coefficients)], 1e-5, "‖w‖");
    const [plain, turned] = await Promise.all(
      [x, rotated].map(
        async (acts) => (await SparseProbe.fit(acts, labels, 1)).evaluate(acts, labels).rocAuc!,
      ),
    );
    expect(turned).toBeLessThan(plain);
  });

  it("keeps groups and provenance, reports progress, stops, and says what is wrong", async () => {
    const x = Activations.from(
      { data: new Float32Array(200 * 64).fill(1), shape: [200, 64] },
      {
        groups: Array.from({ length: 200 }, (_, i) => i % 7),
        provenance: { model: "m" },
      },
    );
    const seen: number[] = [];
    const out = await rotateActivations(x.toStorage("f16"), {
      onProgress: (done, total) => seen.push(done / total),
    });
    expect(out.groups).toEqual(x.groups);
    expect(out.provenance).toEqual({ model: "m" });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    const stopped = rotateActivations(x, { signal: AbortSignal.abort(new Error("enough")) });
    await expect(stopped).rejects.toThrow("enough");
    const late = new AbortController();
    const later = rotateActivations(
      { data: new Float32Array(300 * 500), shape: [300, 500] },
      { signal: late.signal },
    );
    setTimeout(() => late.abort(new Error("later")), 1);
    await expect(later).rejects.toThrow("later");
    await expect(rotateActivations(x, { seed: -1 })).rejects.toMatchObject({ code: "option" });
    await expect(rotateActivations([[1, NaN]])).rejects.toMatchObject({ code: "non-finite" });
    await expect(rotateActivations([] as number[][])).rejects.toMatchObject({ code: "empty-data" });
  });
});
