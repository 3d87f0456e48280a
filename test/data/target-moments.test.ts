/** Target moments against exact integer arithmetic, in any batches. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { emptyTargetMoments, mergeTargetMoments, type TargetMoments } from "../../src/data/target-moments.ts";
import { Random } from "../../src/random.ts";
import { MomentAccumulator } from "../../src/regression/accumulate-moments.ts";
import { expectClose } from "../support/expect-close.ts";

const U = 2 ** -53;

/** Whole numbers, which float32 and BigInt both hold exactly: an offset, and a spread about it. */
function wholes(seed: number, count: number, offset: number, spread: number): number[] {
  const random = new Random(seed, `whole numbers ${offset} ${spread}`);
  return Array.from({ length: count }, () => offset + random.below(spread));
}

async function momentsOf(x: Activations, targets: readonly Float64Array[]): Promise<TargetMoments> {
  const accumulator = new MomentAccumulator(targets, x.neurons, undefined);
  await accumulator.add(
    x,
    Uint32Array.from({ length: x.rows }, (_, i) => i),
  );
  return accumulator.finish();
}

/** n·Σab − Σa·Σb over n: the centred sum of products, rounded once. */
function exactProduct(a: readonly number[], b: readonly number[]): number {
  const n = BigInt(a.length);
  let ab = 0n;
  let sumA = 0n;
  let sumB = 0n;
  for (let i = 0; i < a.length; i++) {
    ab += BigInt(a[i]) * BigInt(b[i]);
    sumA += BigInt(a[i]);
    sumB += BigInt(b[i]);
  }
  return Number(n * ab - sumA * sumB) / a.length;
}

describe("target moments", () => {
  // Offsets of up to 1e5 spreads, one row, one run, runs and a part.
  it.each([
    [1, 0, 10],
    [7, -3, 9],
    [256, 1000, 4],
    [257, 0, 2],
    [1500, 8_000_000, 80],
    [3000, -500, 5000],
  ])("of %i rows about %i, spread %i, are within their bound", async (n, offset, spread) => {
    const columns = [
      wholes(1, n, offset, spread),
      wholes(2, n, offset, spread),
      new Array<number>(n).fill(offset),
    ];
    const target = wholes(3, n, 100 * offset, 50 * spread);
    const data = new Float32Array(n * 3);
    for (const [j, column] of columns.entries())
      for (const [i, value] of column.entries()) data[i * 3 + j] = value;
    const got = await momentsOf(new Activations(data, [n, 3]), [Float64Array.from(target)]);
    expect(got.count).toBe(n);
    // Pilots lie within the range, so T ≤ n·spread².
    const gamma = (2 * 256 + 4 * Math.ceil(n / 256) + 16) * U;
    const [tx, ty] = [n * spread ** 2, n * (50 * spread) ** 2];
    const [mx, my] = [Math.abs(offset) + spread, 100 * Math.abs(offset) + 50 * spread];
    const squares = (t: number, m: number) => 2 * gamma * t + 8 * U * m * Math.sqrt(n * t);
    const product =
      2 * gamma * Math.sqrt(tx * ty) + 8 * U * (mx * Math.sqrt(n * ty) + my * Math.sqrt(n * tx));
    expectClose(
      got.sumOfSquares,
      columns.map((c) => exactProduct(c, c)),
      squares(tx, mx),
      "squares",
    );
    expectClose(got.targetSquares, [exactProduct(target, target)], squares(ty, my), "target's squares");
    expectClose(
      got.products,
      columns.map((c) => exactProduct(c, target)),
      product,
      "products",
    );
    // A neuron that never varies is seen to be constant exactly.
    expect([got.mean[2], got.sumOfSquares[2], got.products[2]]).toEqual([offset, 0, 0]);
  });

  it("have the same bits however the rows are cut into blocks", async () => {
    const n = 700;
    const data = Float32Array.from(wholes(4, n * 2, -40, 90), (value) => value / 7);
    const target = Float64Array.from(wholes(5, n, 3, 1000), (value) => value / 13);
    const x = new Activations(data, [n, 2]);
    const want = await momentsOf(x, [target]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: n }), { maxLength: 6 }), async (cuts) => {
        const accumulator = new MomentAccumulator([target], 2, undefined);
        const ends = [...cuts.sort((a, b) => a - b), n];
        let start = 0;
        for (const end of ends) {
          if (end === start) continue;
          const block = x.slice(start, end);
          await accumulator.add(
            block,
            Uint32Array.from({ length: block.rows }, (_, i) => i),
          );
          start = end;
        }
        expect(accumulator.finish()).toEqual(want);
      }),
      { numRuns: 30 },
    );
  });

  it("merge as if the batches had been one", async () => {
    const n = 90;
    const rows = wholes(6, n * 2, -5, 30);
    const target = Float64Array.from(wholes(7, n, 0, 40));
    const x = new Activations(Float32Array.from(rows), [n, 2]);
    const whole = await momentsOf(x, [target]);
    let merged = emptyTargetMoments(1, 2);
    for (const [start, end] of [
      [0, 1],
      [1, 40],
      [40, 90],
    ]) {
      merged = mergeTargetMoments(
        merged,
        await momentsOf(x.slice(start, end), [target.subarray(start, end)]),
      );
    }
    merged = mergeTargetMoments(merged, emptyTargetMoments(1, 2));
    expect(merged.count).toBe(n);
    const bound = 600 * U * n * 40 ** 2;
    for (const name of ["mean", "sumOfSquares", "targetMean", "targetSquares", "products"] as const) {
      expectClose(merged[name], whole[name], bound, name);
    }
    expect(() => mergeTargetMoments(merged, emptyTargetMoments(1, 3))).toThrow(
      expect.objectContaining({ code: "shape" }) as Error,
    );
  });
});
