import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assembleDataset, type DatasetParts } from "../../src/datasets/assemble-dataset.ts";
import { readDataset, writeDataset } from "../../src/datasets/dataset-file.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { FormatError, OptionError, SparseProbeError } from "../../src/errors.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { fixtureJson } from "../model/fixtures.ts";
import { loadDataset, saveDataset } from "../../src/node/datasets.ts";

const AGGREGATIONS = ["token", "mean", "max", "last"] as const;

const tokenizer = await Tokenizer.fromJson(fixtureJson("parallel/tokenizer.json"));

/** Any dataset that can be assembled, of few or many rows. */
const partsOfDatasets: fc.Arbitrary<DatasetParts> = fc
  .record({
    aggregation: fc.constantFrom(...AGGREGATIONS),
    name: fc.string({ minLength: 1, unit: "binary" }),
    features: fc.uniqueArray(fc.string({ minLength: 1, unit: "binary" }), { minLength: 1, maxLength: 4 }),
    passages: fc.array(
      fc.record({
        text: fc.string({ unit: "binary", maxLength: 12 }).map((text) => `${text}\ud800\u2028`),
        group: fc.oneof(fc.string(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })),
        tokens: fc.uint32Array({ minLength: 1, maxLength: 12 }),
        rows: fc.uniqueArray(fc.nat(4095), { minLength: 1, maxLength: 9 }),
      }),
      { minLength: 2, maxLength: 6 },
    ),
    seed: fc.nat(),
    dropped: fc.dictionary(fc.string(), fc.nat()),
  })
  .map(({ aggregation, passages, features, ...rest }) => {
    const candidates = passages.flatMap(({ tokens, rows }, passage) => {
      const lists = rows
        .map((bits) => Array.from(tokens.keys()).filter((position) => (bits >> position) & 1))
        .filter((list) => list.length > 0);
      if (aggregation !== "token") return lists.map((positions) => ({ passage, positions }));
      return [...new Set(lists.flat())]
        .sort((a, b) => a - b)
        .map((position) => ({ passage, positions: [position] }));
    });
    const labels = new Map(
      features.map((feature, f) => [
        feature,
        Uint8Array.from(candidates, (_, i) => [1, 0, 255, 0][(i + f) % 4]),
      ]),
    );
    return { ...rest, aggregation, passages, candidates, labels };
  })
  .filter(({ candidates }) => candidates.length >= 4)
  .map((parts) => ({
    ...parts,
    category: "own" as const,
    tokenizer,
    sampling: { leastRows: 1, positiveShare: 0.5 },
  }));

const written = (dataset: FeatureDataset): string => [...writeDataset(dataset)].join("");

let folder: string;
let sample: FeatureDataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dataset-"));
  const passages = Array.from({ length: 40 }, (_, i) => ({
    tokens: Uint32Array.from({ length: 10 }, (_, t) => (i * 31 + t * 7) % 50_000),
    text: `text ${i}`,
    group: i % 2 ? `doc ${i}` : i,
  }));
  const candidates = passages.flatMap((_, passage) =>
    [0, 1, 2, 3, 4].map((start) => ({ passage, positions: [start, start + 1, start + 5] })),
  );
  sample = await assembleDataset({
    name: "sample",
    category: "own",
    tokenizer,
    aggregation: "mean",
    passages,
    candidates,
    labels: new Map([
      ["a", Uint8Array.from(candidates, (_, i) => Number(i % 3 === 0))],
      ["b", Uint8Array.from(candidates, (_, i) => (i % 2 ? 255 : Number(i % 8 === 0)))],
      ["rare", new Uint8Array(candidates.length)],
    ]),
    dropped: { "odd ones": 3 },
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("a dataset's file", () => {
  it("gives back any dataset", async () => {
    await fc.assert(
      fc.asyncProperty(partsOfDatasets, async (parts) => {
        let dataset: FeatureDataset;
        try {
          dataset = await assembleDataset(parts);
        } catch (error) {
          // Too few rows of a class.
          expect(error).toBeInstanceOf(SparseProbeError);
          return;
        }
        const file = written(dataset);
        const again = await readDataset(file);
        expect(again).toEqual(dataset);
        expect(Object.isFrozen(again)).toBe(true);
        expect(Object.isFrozen(again.report.features[0].offered)).toBe(true);
        expect(written(again)).toBe(file);
      }),
      { numRuns: 200 },
    );
  });

  it("says nothing for a file that was cut off anywhere", async () => {
    const file = written(sample);
    for (let length = 0; length < file.length; length += 1 + Math.floor(file.length / 400)) {
      await expect(readDataset(file.slice(0, length))).rejects.toThrow(FormatError);
    }
    await expect(readDataset(file.slice(0, -1))).rejects.toThrow(/line 43/);
    await expect(readDataset(`${file}{}\n`)).rejects.toThrow(/goes on/);
  });

  it("gives a typed error or a sound dataset for damaged files", async () => {
    const file = written(sample);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(file.length - 1),
        fc.nat(20),
        fc.oneof(
          fc.string(),
          fc.constantFrom("1e99", "-1", "null", '"', "[]", "{}", "\n", "9007199254740993"),
        ),
        async (at, cut, insert) => {
          let read: FeatureDataset;
          try {
            read = await readDataset(file.slice(0, at) + insert + file.slice(at + cut));
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
            return;
          }
          expect(read.labels.rows).toBe(read.rows.passage.length);
          expect(read.rows.positions.length).toBe(read.rows.offsets.at(-1));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it.each([
    ["another schema", (line: string) => line.replace("sparseprobe-dataset", "other"), /Line 1/],
    ["a later version", (line: string) => line.replace('"version":1', '"version":2'), /version 2/],
    ["another category", (line: string) => line.replace('"own"', '"toString"'), /category/],
    ["another aggregation", (line: string) => line.replace('"mean"', '"sum"'), /aggregation/],
    [
      "a number of passages beyond all",
      (line: string) => line.replace('"passages":40', '"passages":1e15'),
      /Line 42/,
    ],
    ["other counts", (line: string) => line.replace(/"positives":\d+/, '"positives":1'), /positives/],
    ["a feature twice", (line: string) => line.replace('"feature":"b"', '"feature":"a"'), /twice/],
  ] as const)("refuses %s", async (_, change, message) => {
    const file = written(sample);
    expect(change(file)).not.toBe(file);
    await expect(readDataset(change(file))).rejects.toThrow(message);
    await expect(readDataset(change(file))).rejects.toThrow(FormatError);
  });

  it("refuses what is no text, and stops when asked to", async () => {
    await expect(readDataset(new Uint8Array(3) as unknown as string)).rejects.toThrow(FormatError);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(readDataset(written(sample), { signal })).rejects.toThrow("enough");
  });

  it("takes two bits per label and little more than the tokens", () => {
    const file = written(sample);
    const rows = sample.rows.passage.length;
    const labels = file.trimEnd().split("\n").slice(-2).join("").length;
    expect(labels).toBeLessThan(2 * (rows / 3 + 40));
  });
});

describe("saveDataset and loadDataset", () => {
  it("keep a dataset on disk, and leave nothing else there", async () => {
    const path = join(folder, "sample.jsonl");
    await saveDataset(path, sample);
    expect(await loadDataset(path)).toEqual(sample);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(saveDataset(path, sample, { signal })).rejects.toThrow("enough");
    await expect(loadDataset(path, { signal })).rejects.toThrow("enough");
    expect(await loadDataset(path)).toEqual(sample);
    expect(readdirSync(folder)).toEqual(["sample.jsonl"]);
  });

  it("refuse places and files that cannot be", async () => {
    await expect(saveDataset(join(folder, "none", "x.jsonl"), sample)).rejects.toThrow(OptionError);
    await expect(loadDataset(join(folder, "none.jsonl"))).rejects.toThrow(FormatError);
    writeFileSync(join(folder, "bytes.jsonl"), Uint8Array.of(0xff, 0xfe, 0));
    await expect(loadDataset(join(folder, "bytes.jsonl"))).rejects.toThrow(FormatError);
  });
});
