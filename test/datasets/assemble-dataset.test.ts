import { beforeAll, describe, expect, it } from "vitest";
import type { Aggregation, HookPoint } from "../../src/backends/backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { captureClassMoments } from "../../src/capture/capture-class-moments.ts";
import { captureColumns } from "../../src/capture/capture-columns.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { UNLABELLED } from "../../src/data/labels.ts";
import { emptyClassMoments } from "../../src/data/class-moments.ts";
import {
  assembleDataset,
  type CandidateRow,
  type DatasetParts,
} from "../../src/datasets/assemble-dataset.ts";
import type { FeatureDataset, Passage } from "../../src/datasets/feature-dataset.ts";
import { evenShares, keptSizes } from "../../src/datasets/sample-rows.ts";
import { ContextLengthError, EmptyDataError, LabelError, OptionError, ShapeError } from "../../src/errors.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { Random } from "../../src/random.ts";
import { TEXTS } from "../capture/texts.ts";
import { loadFixture } from "../model/fixtures.ts";

const NEURONS: HookPoint = "blocks.1.mlp.hook_post";

let model: LanguageModel;
let passages: Passage[];
beforeAll(async () => {
  model = await loadFixture("parallel");
  passages = TEXTS.map((text, i) => ({ tokens: model.tokenizer.encode(text), text, group: `doc ${i % 4}` }));
});

/** Every token, with random labels of the given shares of positives. */
function tokenParts(shares: Record<string, number>, more: Partial<DatasetParts> = {}): DatasetParts {
  const candidates = passages.flatMap(({ tokens }, passage): CandidateRow[] =>
    Array.from(tokens, (_, position) => ({ passage, positions: [position] })),
  );
  const labels = new Map(
    Object.entries(shares).map(([feature, share]) => {
      const random = new Random(3, feature);
      return [feature, Uint8Array.from(candidates, () => Number(random.uniform() < share))] as const;
    }),
  );
  return {
    name: "test",
    category: "own",
    tokenizer: model.tokenizer,
    aggregation: "token",
    passages,
    candidates,
    labels,
    sampling: { leastRows: 1 },
    ...more,
  };
}

/** Rows as text: passage, positions. */
const spelled = ({ passages, rows }: FeatureDataset): string[] =>
  Array.from(
    rows.passage,
    (p, r) => `${passages[p].text}|${rows.positions.slice(rows.offsets[r], rows.offsets[r + 1]).join(",")}`,
  );

describe("keptSizes", () => {
  const sampling = { seed: 0, maxRows: 100, positiveShare: 0.2, leastPositiveShare: 0, leastRows: 1 };
  it.each([
    [
      { positives: 1000, negatives: 1000 },
      { positives: 20, negatives: 80 },
    ],
    [
      { positives: 5, negatives: 1000 },
      { positives: 5, negatives: 95 },
    ],
    [
      { positives: 1000, negatives: 40 },
      { positives: 10, negatives: 40 },
    ],
    [
      { positives: 0, negatives: 40 },
      { positives: 0, negatives: 40 },
    ],
    [
      { positives: 40, negatives: 0 },
      { positives: 0, negatives: 0 },
    ],
  ])("keeps of %o %o", (offered, kept) => {
    expect(keptSizes(offered, sampling)).toEqual(kept);
  });

  it("holds both bounds of the share, and loses no row that they allow", () => {
    const random = new Random(1, "sizes");
    for (let i = 0; i < 2000; i++) {
      const offered = { positives: random.below(60), negatives: random.below(60) };
      const own = { ...sampling, maxRows: 2 + random.below(100), positiveShare: (1 + random.below(9)) / 10 };
      const least = (random.below(5) / 4) * own.positiveShare;
      const kept = keptSizes(offered, { ...own, leastPositiveShare: least });
      const rows = kept.positives + kept.negatives;
      expect(rows).toBeLessThanOrEqual(own.maxRows);
      expect(kept.positives).toBeLessThanOrEqual(own.positiveShare * rows + 1e-6);
      expect(kept.positives).toBeGreaterThanOrEqual(least * (rows - 1) - 1e-6);
      // One positive more would break the bound or the limit, whatever the negatives.
      if (kept.positives < offered.positives) {
        const more = kept.positives + 1;
        const possible = Math.min(offered.negatives, own.maxRows - more);
        expect(more / (more + possible)).toBeGreaterThan(own.positiveShare - 1e-9);
      }
    }
  });

  it("shares evenly between kinds as far as they reach", () => {
    expect(evenShares([100, 100], 21)).toEqual([11, 10]);
    expect(evenShares([3, 100], 20)).toEqual([3, 17]);
    expect(evenShares([3, 5], 20)).toEqual([3, 5]);
    expect(evenShares([], 3)).toEqual([]);
  });
});

describe("assembleDataset", () => {
  it("keeps at most a fifth of positives, and every label that was given", async () => {
    const parts = tokenParts({ half: 0.5, rare: 0.1 });
    const dataset = await assembleDataset(parts);
    const all = parts.candidates as readonly CandidateRow[];
    const at = new Map(all.map(({ passage, positions }, c) => [`${TEXTS[passage]}|${positions[0]}`, c]));
    for (const [f, counts] of dataset.report.features.entries()) {
      const own = parts.labels.get(counts.feature)!;
      const [negatives, positives] = dataset.labels.counts(f);
      expect([negatives, positives]).toEqual([counts.negatives, counts.positives]);
      expect(positives).toBeLessThanOrEqual(0.2 * (negatives + positives));
      expect(counts.offered.positives).toBe(own.reduce((sum, label) => sum + label, 0));
      expect(counts.offered.positives + counts.offered.negatives).toBe(all.length);
      for (const [row, key] of spelled(dataset).entries()) {
        const label = dataset.labels.of(f)[row];
        if (label !== UNLABELLED) expect(label).toBe(own[at.get(key)!]);
      }
    }
    expect(dataset.report.dropped["rows not drawn"] ?? 0).toBe(all.length - dataset.rows.passage.length);
  });

  it("draws a feature's rows whatever other features there are, and the seed decides which", async () => {
    const rowsOf = async (shares: Record<string, number>, seed: number): Promise<string[]> => {
      const dataset = await assembleDataset(
        tokenParts(shares, { sampling: { seed, maxRows: 20, leastRows: 1 } }),
      );
      const f = dataset.labels.features.indexOf("a");
      return spelled(dataset).filter((_, row) => dataset.labels.of(f)[row] !== UNLABELLED);
    };
    const alone = await rowsOf({ a: 0.3 }, 5);
    expect(await rowsOf({ b: 0.5, a: 0.3, c: 0.2 }, 5)).toEqual(alone);
    expect(await rowsOf({ a: 0.3 }, 6)).not.toEqual(alone);
  });

  it("lets features share their rows", async () => {
    const shares = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`f${i}`, 0.2]));
    const dataset = await assembleDataset(tokenParts(shares, { sampling: { maxRows: 25, leastRows: 1 } }));
    // Ten features of 20 negatives each, drawn one by one from ~110 tokens, would leave (1 - 20/90)^10 = 8 % of them.
    expect(dataset.rows.passage.length).toBeLessThan(70);
  });

  it("takes as many negatives of each kind", async () => {
    const parts = tokenParts({ a: 0.1 });
    const kinds = Uint8Array.from({ length: parts.labels.get("a")!.length }, (_, i) =>
      i % 10 === 0 ? 7 : 3,
    );
    const dataset = await assembleDataset({
      ...parts,
      negativeKinds: new Map([["a", kinds]]),
      sampling: { maxRows: 16, leastRows: 1, positiveShare: 0.5 },
    });
    const all = parts.candidates as readonly CandidateRow[];
    const at = new Map(all.map(({ passage, positions }, c) => [`${TEXTS[passage]}|${positions[0]}`, c]));
    const negatives = spelled(dataset).filter((_, row) => dataset.labels.values[row] === 0);
    expect(negatives.length).toBe(8);
    expect(negatives.filter((key) => kinds[at.get(key)!] === 7).length).toBe(4);
  });

  it("reports features without rows, and is empty only when all are", async () => {
    const dataset = await assembleDataset(tokenParts({ none: 0, some: 0.3 }, { sampling: { leastRows: 2 } }));
    expect(dataset.labels.features).toEqual(["some"]);
    expect(dataset.report.missing).toEqual([
      { feature: "none", reason: "0 positives; at least 2 are needed" },
    ]);
    await expect(assembleDataset(tokenParts({ none: 0, all: 1 }))).rejects.toThrow(EmptyDataError);
  });

  it("drops passages that no row uses and renumbers the others", async () => {
    const parts = tokenParts({ a: 0.4 }, { sampling: { maxRows: 4, leastRows: 1, positiveShare: 0.5 } });
    const dataset = await assembleDataset(parts);
    expect(dataset.passages.length).toBeLessThanOrEqual(4);
    expect(new Set(dataset.rows.passage).size).toBe(dataset.passages.length);
  });

  it("is frozen", async () => {
    const dataset = await assembleDataset(tokenParts({ a: 0.4 }));
    for (const part of [
      dataset,
      dataset.passages,
      dataset.passages[0],
      dataset.rows,
      dataset.labels,
      dataset.labels.features,
      dataset.report,
      dataset.report.features[0].offered,
      dataset.report.dropped,
      dataset.report.missing,
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it("refuses rows that cannot be", async () => {
    const wrong: [readonly CandidateRow[], new (...args: never[]) => Error][] = [
      [[], EmptyDataError],
      [[{ passage: 99, positions: [0] }], ShapeError],
      [[{ passage: 0, positions: [1000] }], ShapeError],
      [[{ passage: 0, positions: [] }], ShapeError],
      [[{ passage: 0, positions: [0, 1] }], ShapeError],
      [[1, 0].map((passage) => ({ passage, positions: [0] })), ShapeError],
      [[1, 0].map((position) => ({ passage: 0, positions: [position] })), ShapeError],
      [[0, 0].map((position) => ({ passage: 0, positions: [position] })), ShapeError],
    ];
    for (const [candidates, error] of wrong) {
      const labels = new Map([["a", new Uint8Array(candidates.length)]]);
      await expect(assembleDataset(tokenParts({}, { candidates, labels }))).rejects.toThrow(error);
    }
    const labels = new Map([["a", Uint8Array.of(1)]]);
    await expect(assembleDataset(tokenParts({}, { labels }))).rejects.toThrow(ShapeError);
    const bad = new Map([["a", new Uint8Array(passages.reduce((n, p) => n + p.tokens.length, 0)).fill(7)]]);
    await expect(assembleDataset(tokenParts({}, { labels: bad }))).rejects.toThrow(LabelError);
  });

  it.each([
    { seed: -1 },
    { maxRows: 1 },
    { leastRows: 0 },
    { positiveShare: 0 },
    { positiveShare: 1 },
    { leastPositiveShare: 0.3 },
  ])("refuses %o", async (sampling) => {
    await expect(assembleDataset(tokenParts({ a: 0.5 }, { sampling }))).rejects.toThrow(OptionError);
  });

  it("stops when asked to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(assembleDataset(tokenParts({ a: 0.5 }), { signal })).rejects.toThrow("enough");
  });
});

describe("TokenRows.ofDataset", () => {
  /** Two or three overlapping rows per passage. */
  const spans = (aggregation: Aggregation): Promise<FeatureDataset> => {
    const candidates = passages.flatMap(({ tokens }, passage): CandidateRow[] => {
      const all = Array.from(tokens.keys());
      if (aggregation === "token") return [1, 3].map((position) => ({ passage, positions: [position] }));
      return [all, all.slice(1, 3), all.slice(2)].map((positions) => ({ passage, positions }));
    });
    const labels = new Map([["a", Uint8Array.from(candidates, (_, i) => i % 2)]]);
    return assembleDataset(
      tokenParts({}, { aggregation, candidates, labels, sampling: { leastRows: 1, positiveShare: 0.5 } }),
    );
  };

  it.each(["token", "mean", "max", "last"] as const)(
    "makes many rows of a passage: %s",
    async (aggregation) => {
      const dataset = await spans(aggregation);
      const { rows } = dataset;
      const tokenRows = TokenRows.ofDataset(model, dataset);
      expect(tokenRows.rows).toBe(rows.passage.length);
      const captured = (
        await captureActivations(model, tokenRows, { hookPoints: [NEURONS], batchTokens: 30 })
      ).get(NEURONS)!;
      expect(captured.groups).toEqual(Array.from(rows.passage, (p) => dataset.passages[p].group));
      // Row by row from each passage's tokens.
      for (const [p, { tokens }] of dataset.passages.entries()) {
        const batch = { tokens, offsets: Uint32Array.of(0, tokens.length) };
        const { activations } = await model.transformer.forward(batch, { hookPoints: [NEURONS] });
        const own = (await activations.get(NEURONS)!.read()).toFloat32();
        for (const [r, passage] of rows.passage.entries()) {
          if (passage !== p) continue;
          const positions = Array.from(rows.positions.subarray(rows.offsets[r], rows.offsets[r + 1]));
          const got = captured.slice(r, r + 1).toFloat32();
          for (let j = 0; j < captured.neurons; j++) {
            const values = positions.map((position) => own[position * captured.neurons + j]);
            const want =
              aggregation === "mean"
                ? values.reduce((sum, value) => sum + value, 0) / values.length
                : aggregation === "max"
                  ? Math.max(...values)
                  : values.at(-1)!;
            // A mean of at most 40 float32 values rounds by 40·2^-24 of the largest of them.
            expect(Math.abs(got[j] - want)).toBeLessThanOrEqual(
              aggregation === "mean" ? (40 / 2 ** 24) * Math.max(...values.map(Math.abs)) : 0,
            );
          }
        }
      }
      const columns = Uint32Array.of(5, 2);
      const cut = (await captureColumns(model, tokenRows, new Map([[NEURONS, columns]]))).get(NEURONS)!;
      for (let r = 0; r < cut.rows; r++) {
        const whole = captured.slice(r, r + 1).toFloat32();
        expect(Array.from(cut.slice(r, r + 1).toFloat32())).toEqual([whole[5], whole[2]]);
      }
      const moments = (
        await captureClassMoments(model, tokenRows, dataset.labels, { hookPoints: [NEURONS] })
      ).get(NEURONS)!;
      expect(Object.keys(moments)).toEqual(Object.keys(emptyClassMoments(1, captured.neurons, "within")));
      const [negatives, positives] = dataset.labels.counts(0);
      expect([...moments.count]).toEqual([negatives, positives]);
    },
  );

  it("refuses a model with another tokenizer, and passages longer than its context", async () => {
    const dataset = await spans("mean");
    expect(() => TokenRows.ofDataset(model, { ...dataset, tokenizer: "other" })).toThrow(OptionError);
    const long = { ...dataset.passages[0], tokens: new Uint32Array(5000) };
    const longer = { ...dataset, passages: [long, ...dataset.passages.slice(1)] };
    expect(() => TokenRows.ofDataset(model, longer)).toThrow(ContextLengthError);
  });
});
