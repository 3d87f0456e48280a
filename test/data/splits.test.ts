import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitRows, THREE_PARTS } from "../../src/data/splits.ts";
import { Random } from "../../src/random.ts";

const documents = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 9 })), {
    minLength: 3,
    maxLength: 40,
  })
  .map((list) =>
    list.flatMap(([label, size], document) =>
      Array.from({ length: size }, () => ({ label, group: `d${document}` })),
    ),
  );

describe("splitting rows", () => {
  it("puts every row into one part, keeps groups whole, leaves no part empty and repeats with its seed", () => {
    fc.assert(
      fc.property(documents, fc.nat(), (rows, seed) => {
        const labels = rows.map((row) => row.label);
        const groups = rows.map((row) => row.group);
        const options = { labels, groups, seed, fractions: THREE_PARTS };
        const parts = splitRows(options);
        expect(splitRows(options)).toEqual(parts);
        const all = Object.values(parts).flatMap((part) => [...part]);
        expect(all.sort((a, b) => a - b)).toEqual(rows.map((_, i) => i));
        const seen = new Map<string, string>();
        for (const [name, part] of Object.entries(parts)) {
          expect(part.length).toBeGreaterThan(0);
          expect([...part]).toEqual([...part].sort((a, b) => a - b));
          for (const i of part) {
            expect(seen.get(groups[i]) ?? name).toBe(name);
            seen.set(groups[i], name);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("keeps each class's share to within one row without groups", () => {
    const random = new Random(1);
    const labels = Array.from(
      { length: 997 },
      () => ["a", "b", "rare"][Math.floor(random.uniform() ** 3 * 3)],
    );
    const parts = splitRows({ labels, seed: 5, fractions: THREE_PARTS });
    for (const name of ["a", "b", "rare"]) {
      const total = labels.filter((label) => label === name).length;
      for (const [part, fraction] of Object.entries(THREE_PARTS)) {
        const got = [...parts[part as "test"]].filter((i) => labels[i] === name).length;
        expect(Math.abs(got - fraction * total)).toBeLessThanOrEqual(1);
      }
    }
  });

  it("keeps classes close with groups of one document each", () => {
    const random = new Random(2);
    const rows = Array.from({ length: 150 }, (_, document) => ({ document, label: document % 7 })).flatMap(
      (row) => Array.from({ length: 8 + random.below(17) }, () => row),
    );
    const labels = rows.map((row) => row.label);
    const parts = splitRows({
      labels,
      groups: rows.map((row) => row.document),
      seed: 1,
      fractions: { train: 0.6, test: 0.4 },
    });
    for (let c = 0; c < 7; c++) {
      const total = labels.filter((label) => label === c).length;
      const got = [...parts.train].filter((i) => labels[i] === c).length;
      // Off by half a document at most, of 21 or so.
      expect(Math.abs(got / total - 0.6)).toBeLessThan(0.05);
    }
  });

  it("gives many small classes to every part in turn", () => {
    const labels = Array.from({ length: 300 }, (_, i) => Math.floor(i / 3));
    const parts = splitRows({ labels, seed: 3, fractions: THREE_PARTS });
    expect(parts.train.length).toBeGreaterThan(150);
    expect(parts.validation.length).toBeGreaterThan(40);
    expect(parts.test.length).toBeGreaterThan(40);
  });

  it("depends on the seed, and takes rows alone", () => {
    const split = (seed: number) => splitRows({ rows: 50, seed, fractions: { train: 0.8, test: 0.2 } });
    expect(split(1).train).toHaveLength(40);
    expect(split(1)).not.toEqual(split(2));
  });

  it("fills small parts when there are just enough groups", () => {
    const groups = ["a", "a", "a", "b", "b", "b", "c", "c", "c"];
    const parts = splitRows({ groups, seed: 0, fractions: THREE_PARTS });
    expect([parts.train.length, parts.validation.length, parts.test.length]).toEqual([3, 3, 3]);
  });

  it.each([
    ["fewer groups than parts", { groups: [1, 1, 2, 2], seed: 0, fractions: THREE_PARTS }, "empty-data"],
    ["fewer rows than parts", { rows: 2, seed: 0, fractions: THREE_PARTS }, "empty-data"],
    ["shares that do not sum to 1", { rows: 9, seed: 0, fractions: { a: 0.5, b: 0.4 } }, "option"],
    ["a share of nothing", { rows: 9, seed: 0, fractions: { a: 1, b: 0 } }, "option"],
    ["no parts", { rows: 9, seed: 0, fractions: {} }, "option"],
    ["no rows known", { seed: 0, fractions: THREE_PARTS }, "option"],
    ["unequal lengths", { labels: [1, 2], groups: [1], seed: 0, fractions: THREE_PARTS }, "shape"],
    ["a bad seed", { rows: 9, seed: -1, fractions: THREE_PARTS }, "option"],
  ])("refuses %s", (_, options, code) => {
    expect(() => splitRows(options as Parameters<typeof splitRows>[0])).toThrow(
      expect.objectContaining({ code }) as Error,
    );
  });
});
