/** Half-precision conversions against NumPy and ml_dtypes, over every bit pattern and every rounding boundary. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import {
  bfloatsToFloats,
  floatsToBfloats,
  floatsToHalves,
  halfTable,
  halvesToFloats,
  toHalf,
} from "../../src/data/float16.ts";

interface Expected {
  /** SHA-256 of the little-endian results, with every NaN made the same. */
  readonly halvesToFloats: string;
  readonly float32ToHalves: string;
  readonly float64ToHalves: string;
  readonly bfloatsToFloats: string;
  readonly float32ToBfloats: string;
  readonly examples: readonly [value: number, half: number, bfloat: number][];
}

const expected = JSON.parse(
  readFileSync(resolve(import.meta.dirname, "../fixtures/io/half-precision.json"), "utf8"),
) as Expected;

const everyPattern = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

function sha256(array: ArrayBufferView): string {
  return createHash("sha256")
    .update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
    .digest("hex");
}

/** The bits of float32 values, every NaN as 0x7fc00000. */
function floatBits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer).map((bits) =>
    (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits,
  );
}

/** Neighbours of positive doubles, by stepping the bit pattern. */
function step(value: number, by: bigint): number {
  const word = new Float64Array([value]);
  const bits = new BigInt64Array(word.buffer);
  bits[0] += by;
  return word[0];
}

function step32(value: number, by: number): number {
  const word = new Float32Array([value]);
  const bits = new Int32Array(word.buffer);
  bits[0] += by;
  return word[0];
}

/** Midpoints between neighbouring non-negative finite halves; the last one is the threshold of overflow. */
function midpoints(): number[] {
  const ladder = [...halvesToFloats(everyPattern.subarray(0, 0x7c00)), 65536];
  return Array.from({ length: 0x7c00 }, (_, i) => (ladder[i] + ladder[i + 1]) / 2);
}

describe("binary16", () => {
  it("decodes all 65,536 patterns as NumPy does", () => {
    expect(sha256(floatBits(halvesToFloats(everyPattern)))).toBe(expected.halvesToFloats);
    expect(floatBits(halfTable())).toEqual(floatBits(halvesToFloats(everyPattern)));
  });

  it("decodes into the array given", () => {
    const out = new Float32Array(4).fill(7);
    expect(halvesToFloats(Uint16Array.of(0x3c00, 0xc000), out)).toBe(out);
    expect([...out]).toEqual([1, -2, 7, 7]);
  });

  it("rounds float32 at, just below and just above every tie as NumPy does", () => {
    const around = midpoints().flatMap((middle) => [step32(middle, -1), middle, step32(middle, 1)]);
    const values = Float32Array.from([...around, ...around.map((value) => -value)]);
    expect(sha256(floatsToHalves(values))).toBe(expected.float32ToHalves);
  });

  it("rounds doubles once, not by way of float32", () => {
    const around = midpoints().flatMap((middle) => [step(middle, -1n), middle, step(middle, 1n)]);
    const values = Float64Array.from([...around, ...around.map((value) => -value)]);
    expect(sha256(floatsToHalves(values))).toBe(expected.float64ToHalves);
  });

  it("gives every pattern back", () => {
    const back = floatsToHalves(halvesToFloats(everyPattern));
    for (const bits of everyPattern) {
      if ((bits & 0x7fff) > 0x7c00) expect(back[bits] & 0x7e00).toBe(0x7e00);
      else expect(back[bits]).toBe(bits);
    }
  });

  it("saturates to infinity and keeps signs", () => {
    expect(toHalf(1e300)).toBe(0x7c00);
    expect(toHalf(-Infinity)).toBe(0xfc00);
    expect(toHalf(-0)).toBe(0x8000);
    expect(toHalf(-1e-300)).toBe(0x8000);
    expect(toHalf(NaN) & 0x7fff).toBe(0x7e00);
  });
});

describe("bfloat16", () => {
  it("decodes all 65,536 patterns as ml_dtypes does", () => {
    expect(sha256(floatBits(bfloatsToFloats(everyPattern)))).toBe(expected.bfloatsToFloats);
  });

  it("rounds float32 at, just below and just above every tie as ml_dtypes does", () => {
    const bits = new Uint32Array(65536 * 4);
    for (let i = 0; i < bits.length; i++) bits[i] = (i >> 2) * 65536 + [0, 0x7fff, 0x8000, 0x8001][i & 3];
    const rounded = floatsToBfloats(new Float32Array(bits.buffer));
    // A float32 NaN whose set bits all lie in the lost half must not turn into infinity.
    const oneNan = rounded.map((half) => ((half & 0x7fff) > 0x7f80 ? 0x7fc0 : half));
    expect(sha256(oneNan)).toBe(expected.float32ToBfloats);
  });

  it("rounds doubles once, not by way of float32", () => {
    // Midpoints between neighbours; a double beyond one by less than float32 can tell decides the direction.
    const floats = bfloatsToFloats(everyPattern.subarray(0, 0x7f80));
    for (let i = 0; i + 1 < floats.length; i += 7) {
      const middle = (floats[i] + floats[i + 1]) / 2;
      const even = i % 2 === 0 ? i : i + 1;
      const values = [step(middle, -1n), middle, step(middle, 1n)];
      expect([...floatsToBfloats(values)]).toEqual([i, even, i + 1]);
      expect([...floatsToBfloats(values.map((value) => -value))]).toEqual(
        [i, even, i + 1].map((bits) => bits | 0x8000),
      );
    }
  });
});

describe("examples", () => {
  it.each(expected.examples)("%d has half bits %d and bfloat bits %d", (value, half, bfloat) => {
    expect(toHalf(value)).toBe(half);
    expect(floatsToBfloats(Float32Array.of(value))[0]).toBe(bfloat);
  });
});
