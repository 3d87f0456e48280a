import { describe, expect, it } from "vitest";
import { philox, Random } from "../../src/random.ts";

describe("Philox-4x32-10", () => {
  // Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds).
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)("gives the known answer for counter %o", (counter, key, want) => {
    expect(philox(counter, key)).toEqual(want);
  });
});

describe("a random stream", () => {
  it("repeats for the same seed and name, and differs for others", () => {
    const draws = (seed: number, name: string) => {
      const random = new Random(seed, name);
      return Array.from({ length: 8 }, () => random.uint32()).join();
    };
    expect(draws(7, "a")).toBe(draws(7, "a"));
    const streams = [
      draws(7, "a"),
      draws(7, "b"),
      draws(8, "a"),
      draws(7 + 2 ** 32, "a"),
      draws(Number.MAX_SAFE_INTEGER, "a"),
    ];
    expect(new Set(streams).size).toBe(streams.length);
  });

  it("is uniform: χ² over 64 cells, mean, and no correlation from one draw to the next or between streams", () => {
    const n = 64_000;
    const a = new Random(1, "a");
    const b = new Random(1, "b");
    const first = Float64Array.from({ length: n }, () => a.uniform());
    const second = Float64Array.from({ length: n }, () => b.uniform());
    expect(first.every((u) => u >= 0 && u < 1)).toBe(true);
    const cells = new Float64Array(64);
    for (const u of first) cells[Math.floor(u * 64)]++;
    const chi2 = cells.reduce((sum, c) => sum + (c - n / 64) ** 2 / (n / 64), 0);
    // 63 degrees of freedom: mean 63, standard deviation √126; five of them is one chance in a million.
    expect(Math.abs(chi2 - 63)).toBeLessThan(5 * Math.sqrt(126));
    const correlation = (x: Float64Array, y: Float64Array) =>
      x.reduce((sum, u, i) => sum + (u - 0.5) * (y[i] - 0.5), 0) / (x.length / 12);
    expect(Math.abs(correlation(first.subarray(1), first.subarray(0, n - 1)))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(correlation(first, second))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(first.reduce((sum, u) => sum + u, 0) / n - 0.5)).toBeLessThan(5 / Math.sqrt(12 * n));
  });

  it("draws whole numbers below a bound without bias", () => {
    const random = new Random(3);
    const counts = new Float64Array(6);
    for (let i = 0; i < 60_000; i++) counts[random.below(6)]++;
    const chi2 = counts.reduce((sum, c) => sum + (c - 10_000) ** 2 / 10_000, 0);
    // 5 degrees of freedom: 30.9 is passed once in 10⁵ seeds.
    expect(chi2).toBeLessThan(30.9);
    expect(new Random(3).below(1)).toBe(0);
    expect(random.below(2 ** 32)).toBeLessThan(2 ** 32);
  });

  it("shuffles in place; every order of three comes up equally often", () => {
    const random = new Random(4);
    const counts = new Map<string, number>();
    for (let i = 0; i < 12_000; i++) {
      const key = random.shuffle([0, 1, 2]).join("");
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    const chi2 = [...counts.values()].reduce((sum, c) => sum + (c - 2000) ** 2 / 2000, 0);
    expect(chi2).toBeLessThan(30.9);
    const typed = Uint32Array.of(1, 2, 3, 4);
    expect(random.shuffle(typed)).toBe(typed);
    expect([...typed].sort()).toEqual([1, 2, 3, 4]);
  });

  it("leaves Math.random alone", () => {
    const before = Math.random;
    new Random(1).uniform();
    expect(Math.random).toBe(before);
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 53])("refuses the seed %s", (seed) => {
    expect(() => new Random(seed)).toThrow(expect.objectContaining({ code: "option" }) as Error);
  });
});
