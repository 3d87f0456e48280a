/** What evidence keeps of a stream, against the plain way on random streams. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BestRows } from "../../src/evidence/best-rows.ts";
import { ExpandingHistogram } from "../../src/evidence/expanding-histogram.ts";

describe("BestRows", () => {
  it("keeps what going down the whole list would take", () => {
    // Few values and few groups: ties and full groups are the rule.
    const rows = fc.array(fc.tuple(fc.integer({ min: -4, max: 4 }), fc.integer({ min: 0, max: 3 })), {
      maxLength: 40,
    });
    const sizes = fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 1, max: 4 }));
    fc.assert(
      fc.property(rows, sizes, fc.constantFrom("largest", "smallest"), (stream, [most, perGroup], order) => {
        const best = new BestRows<number>(order, most, perGroup);
        for (const [i, [value, group]] of stream.entries()) best.offer(value, group, () => i);
        const sign = order === "largest" ? 1 : -1;
        const taken = [0, 0, 0, 0];
        const want = Array.from(stream.keys())
          .sort((a, b) => sign * (stream[b][0] - stream[a][0]) || a - b)
          .filter((i) => taken[stream[i][1]]++ < perGroup)
          .slice(0, most);
        expect(best.rows()).toEqual(want);
      }),
      { numRuns: 500 },
    );
  });
});

describe("ExpandingHistogram", () => {
  const value = fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ min: -1, max: 1, noNaN: true }),
    fc.constantFrom(0, -0.17, 1, 2 ** -149, -(2 ** -149), 3.4e38),
  );
  const stream = fc.array(fc.tuple(value, fc.integer({ min: 0, max: 2 })), { minLength: 1, maxLength: 60 });

  function fill(rows: readonly (readonly [number, number])[], cuts: number): ExpandingHistogram {
    const histogram = new ExpandingHistogram(3);
    for (let start = 0; start < rows.length; start += cuts) {
      const part = rows.slice(start, start + cuts);
      const values = part.map(([v]) => v);
      histogram.widen(Math.min(...values), Math.max(...values));
      for (const [v, slot] of part) histogram.add(slot, v);
    }
    return histogram;
  }

  it("counts every value in the bin that it lies in, however the stream is cut or ordered", () => {
    fc.assert(
      fc.property(stream, fc.integer({ min: 2, max: 300 }), (rows, most) => {
        const whole = fill(rows, rows.length).bins(most);
        expect(fill(rows, 1).bins(most)).toEqual(whole);
        expect(fill(rows.toReversed(), 7).bins(most)).toEqual(whole);
        const { start, width, counts } = whole;
        const length = counts[0].length;
        expect(length).toBeLessThanOrEqual(most);
        const values = rows.map(([v]) => v);
        if (width === 0) {
          expect(new Set(values.map((v) => v + 0)).size).toBe(1);
          expect(start).toBe(values[0] + 0);
        } else expect(length).toBeGreaterThan(most / 2 - 1);
        for (let slot = 0; slot < 3; slot++) {
          // Bins far from zero: v − start would be rounded, whole multiples of the width are not.
          const exact = new Array<number>(length).fill(0);
          for (const [v, of] of rows) {
            if (of === slot) exact[width && Math.floor(v / width) - start / width]++;
          }
          expect(counts[slot]).toEqual(exact);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("finds quantiles within a bin", () => {
    fc.assert(
      fc.property(stream, fc.float({ min: 0, max: 1, noNaN: true }), (rows, q) => {
        const histogram = fill(rows, 5);
        const { width } = histogram.bins(2048);
        const values = rows.map(([v]) => v);
        const range = Math.max(...values) - Math.min(...values);
        expect(width).toBeLessThanOrEqual(range / 1000);
        for (let slot = 0; slot < 3; slot++) {
          const sorted = rows
            .filter(([, of]) => of === slot)
            .map(([v]) => v)
            .sort((a, b) => a - b);
          if (sorted.length === 0) continue;
          const at = histogram.quantile(slot, q);
          const below = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
          const above = sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length))];
          // Edges are rounded to float64 only where the width is far below the values.
          const slack = width + 2 ** -50 * Math.abs(at);
          expect(at).toBeGreaterThanOrEqual(below - slack);
          expect(at).toBeLessThanOrEqual(above + slack);
        }
      }),
      { numRuns: 500 },
    );
  });
});
