import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  emptyClassMoments,
  mergeClassMoments,
  pooledMoments,
  type MomentSquares,
  type PerClassMoments,
} from "../../src/data/class-moments.ts";
import { standardisation, type Standardisation } from "../../src/data/standardisation.ts";
import { expectClose } from "../support/expect-close.ts";

/** Moments of one feature and one neuron from the values of its two classes. */
function momentsOf(negative: number[], positive: number[]): PerClassMoments {
  const of = (values: number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / (values.length || 1);
    return [values.length, mean, values.reduce((a, b) => a + (b - mean) ** 2, 0)];
  };
  const [a, b] = [of(negative), of(positive)];
  return {
    features: 1,
    neurons: 1,
    count: Float64Array.of(a[0], b[0]),
    mean: Float64Array.of(a[1], b[1]),
    sumOfSquares: Float64Array.of(a[2], b[2]),
    withinSquares: Float64Array.of(a[2] + b[2]),
  };
}

const values = fc.array(fc.integer({ min: -1000, max: 1000 }), { maxLength: 20 });

describe("class moments", () => {
  it("of batches merge into those of all rows", () => {
    fc.assert(
      fc.property(values, values, values, values, (a0, a1, b0, b1) => {
        const got = momentsOf(a0, a1);
        mergeClassMoments(got, momentsOf(b0, b1));
        const want = momentsOf([...a0, ...b0], [...a1, ...b1]);
        expect([...got.count]).toEqual([...want.count]);
        // γ(40) of values to 10³ and of squares to 40·10⁶.
        expectClose(got.mean, want.mean, 40 * 2 ** -52 * 1e3);
        expectClose(got.sumOfSquares, want.sumOfSquares, 40 * 2 ** -52 * 4e7);
        expectClose(got.withinSquares, want.withinSquares, 80 * 2 ** -52 * 4e7);
      }),
    );
  });

  it("of nothing change nothing", () => {
    const some = momentsOf([1, 2], [5]);
    const before = structuredClone(some);
    expect(mergeClassMoments(some, emptyClassMoments(1, 1))).toEqual(before);
    expect(mergeClassMoments(emptyClassMoments(1, 1), before)).toEqual(before);
  });

  it("of other shapes are refused", () => {
    expect(() => mergeClassMoments(emptyClassMoments(1, 2), emptyClassMoments(1, 3))).toThrow(
      expect.objectContaining({ code: "shape" }) as Error,
    );
  });

  it("merge with the squares that were asked for, and refuse moments that lack them", () => {
    const merge = (squares: MomentSquares) =>
      mergeClassMoments(emptyClassMoments(1, 1, squares), momentsOf([1], [2, 4]));
    expect(merge("class")).toMatchObject({
      sumOfSquares: Float64Array.of(0, 2),
      withinSquares: Float64Array.of(2),
    });
    expect(merge("within")).toMatchObject({ sumOfSquares: null, withinSquares: Float64Array.of(2) });
    expect(merge("none")).toMatchObject({
      mean: Float64Array.of(1, 3),
      sumOfSquares: null,
      withinSquares: null,
    });
    const refused = expect.objectContaining({ code: "option" }) as Error;
    const bare = emptyClassMoments(1, 1, "none");
    expect(() => mergeClassMoments(emptyClassMoments(1, 1, "within"), bare)).toThrow(refused);
    expect(() => pooledMoments(bare, 0)).toThrow(refused);
  });

  it("pool into the mean and deviation of both classes, one of them empty or both", () => {
    fc.assert(
      fc.property(values, values, (a, b) => {
        const { mean, sd } = pooledMoments(momentsOf(a, b), 0);
        const all = momentsOf([...a, ...b], []);
        expectClose(mean, [all.mean[0]], 40 * 2 ** -52 * 1e3);
        // The variance is off by γ(40)·10⁶, and its root by the root of that where the spread is zero.
        const variance = all.count[0] === 0 ? 0 : all.sumOfSquares[0] / all.count[0];
        expectClose([sd[0] ** 2], [variance], 40 * 2 ** -50 * 1e6);
      }),
    );
    expect([...pooledMoments(momentsOf([], []), 0).sd]).toEqual([0]);
  });
});

describe("standardisation", () => {
  const moments = momentsOf([1, 3], [5, 7]);
  const constant = momentsOf([4, 4], [4]);
  it.each([
    ["standard", moments, 4, Math.sqrt(5)],
    ["standard", constant, 4, 1],
    ["none", moments, 0, 1],
    ["tenth-deviation", moments, 0, 10 * Math.sqrt(5)],
    ["tenth-deviation", constant, 0, 1],
    ["floored-tenth-deviation", moments, 0, 10 * Math.sqrt(5)],
    ["floored-tenth-deviation", constant, 0, 0.01],
  ] as const)("%s", (kind, of, center, scale) => {
    const got = standardisation(kind, of, 0);
    expect(got.center[0]).toBe(center);
    expect(got.scale[0]).toBeCloseTo(scale, 14);
  });

  it("refuses unknown names", () => {
    expect(() => standardisation("z" as Standardisation, moments, 0)).toThrow(
      expect.objectContaining({ code: "option" }) as Error,
    );
  });
});
