import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { ownDataset } from "../../src/datasets/own-labels.ts";
import {
  CODE_LANGUAGES,
  codeLanguageDataset,
  DATA_SUBSETS,
  dataSubsetDataset,
  NATURAL_LANGUAGES,
  naturalLanguageDataset,
} from "../../src/datasets/text-classes.ts";
import { readLabelledTexts } from "../../src/datasets/texts.ts";
import { EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { fixtureJson } from "../model/fixtures.ts";

const example = (path: string): URL => new URL(`../../examples/${path}`, import.meta.url);
const CODE = readLabelledTexts(readFileSync(example("data/code-language.jsonl"), "utf8"));
const ALL = { leastRows: 1, positiveShare: 0.99 };

let model: LanguageModel;
beforeAll(async () => {
  model = await loadModelFolder(example("model/haystack-4m").pathname, createCpuBackend());
});

/** Row by row: the text that its tokens spell, and its labels by feature. */
function readable({ rows, passages, labels }: FeatureDataset): [string, Record<string, number>][] {
  return Array.from(rows.passage, (p, row) => {
    const ids = Array.from(
      rows.positions.subarray(rows.offsets[row], rows.offsets[row + 1]),
      (position) => passages[p].tokens[position],
    );
    return [
      model.tokenizer.decode(ids),
      Object.fromEntries(labels.features.map((feature, f) => [feature, labels.of(f)[row]])),
    ];
  });
}

describe("classes of texts", () => {
  it("make a row per window, the mean of what is not skipped, and go through the bundled model", async () => {
    const dataset = await codeLanguageDataset(CODE, model.tokenizer, { windowTokens: 256, skipFirst: 20 });
    expect([...dataset.labels.features].sort()).toEqual(["c", "go", "javascript", "perl", "python", "shell"]);
    expect(dataset.aggregation).toBe("mean");
    expect(dataset.category).toBe("code-language");
    for (const [row, p] of dataset.rows.passage.entries()) {
      const { text, tokens, group } = dataset.passages[p];
      const t = CODE.texts.findIndex((whole) => whole.startsWith(text));
      expect(group).toBe(CODE.docs![t]);
      const [first, last] = [dataset.rows.offsets[row], dataset.rows.offsets[row + 1]];
      expect([dataset.rows.positions[first], last - first]).toEqual([20, tokens.length - 20]);
      for (const [f, feature] of dataset.labels.features.entries()) {
        const label = dataset.labels.of(f)[row];
        if (label !== UNLABELLED) expect(label).toBe(Number(CODE.labels[t] === feature));
      }
    }
    const point = "blocks.3.mlp.hook_post" as const;
    const rows = TokenRows.ofDataset(model, dataset);
    const activations = (await captureActivations(model, rows, { hookPoints: [point] })).get(point)!;
    const [{ probes }] = [await SparseProbe.fitMany(activations, dataset.labels, [4])];
    // A sixth of the rows is positive: F1 0.29 for always saying "yes".
    for (const probe of probes) {
      const only = new LabelMatrix(
        [probe.feature],
        dataset.labels.rows,
        dataset.labels.of(dataset.labels.features.indexOf(probe.feature)),
      );
      expect(probe.evaluate(activations, only).f1).toBeGreaterThan(0.5);
    }
  });

  it("skip and cut as each category says, and name the paper's classes", async () => {
    const texts = { texts: ["a b c ".repeat(400), "x y z ".repeat(400)], labels: ["one", 2], docs: ["d", 7] };
    const sampling = ALL;
    const code = await codeLanguageDataset(texts, model.tokenizer, { sampling });
    const language = await naturalLanguageDataset(texts, model.tokenizer, { sampling });
    const subset = await dataSubsetDataset(texts, model.tokenizer, { sampling });
    expect([code, language, subset].map(({ rows }) => rows.positions[0])).toEqual([100, 1, 25]);
    for (const { passages } of [code, language, subset]) {
      expect(passages.map(({ tokens }) => tokens.length)).toEqual([511, 511]);
      expect(passages.map(({ group }) => group)).toEqual(["d", 7]);
    }
    expect(code.labels.features).toEqual(["2", "one"]);
    for (const names of [CODE_LANGUAGES, NATURAL_LANGUAGES, DATA_SUBSETS])
      expect(new Set(names).size).toBe(9);
    const more = await codeLanguageDataset(texts, model.tokenizer, {
      sampling,
      windowTokens: 100,
      skipFirst: 10,
      windowsPerText: 3,
      classes: ["one", "Go"],
    });
    expect(more.passages.map(({ tokens }) => tokens.length)).toEqual([100, 100, 100, 100, 100, 100]);
    expect(
      more.passages
        .map(({ text }) => text)
        .slice(0, 3)
        .join(""),
    ).toBe(
      texts.texts[0].slice(
        0,
        more.passages.slice(0, 3).reduce((sum, { text }) => sum + text.length, 0),
      ),
    );
    expect(more.report.missing).toEqual([{ feature: "Go", reason: "no text is of this class" }]);
  });

  it("count what is too short or cannot be traced, and refuse what cannot be", async () => {
    const texts = { texts: ["short", "a b c ".repeat(50), "x y ".repeat(60)], labels: ["p", "p", "q"] };
    const dataset = await codeLanguageDataset(texts, model.tokenizer, { sampling: ALL });
    expect(dataset.report.dropped["windows without a token that counts"]).toBe(1);
    const json = fixtureJson("parallel/tokenizer.json") as object;
    const composing = await Tokenizer.fromJson({ ...json, normalizer: { type: "NFC" } });
    const altered = { texts: ["e\u0301 ".repeat(40), ...texts.texts.slice(1)], labels: texts.labels };
    const rest = await naturalLanguageDataset(altered, composing, { sampling: ALL });
    expect(rest.report.dropped["texts that the tokenizer alters"]).toBe(1);
    const one = { texts: ["a"], labels: ["b"] };
    await expect(codeLanguageDataset(one, model.tokenizer)).rejects.toThrow(EmptyDataError);
    await expect(codeLanguageDataset(one, model.tokenizer, { windowTokens: 50 })).rejects.toThrow(
      OptionError,
    );
    await expect(codeLanguageDataset({ ...one, labels: [] }, model.tokenizer)).rejects.toThrow(ShapeError);
  });
});

describe("ownDataset", () => {
  const texts = ["Ada met Grace in Paris.", "It rained.", "Grace wrote to Ada."];
  const person = [
    { text: 0, start: 0, end: 3 },
    { text: 0, start: 8, end: 13 },
    { text: 2, start: 0, end: 5 },
    { text: 2, start: 15, end: 18 },
  ];
  const place = [{ text: 0, start: 17, end: 22 }];

  it("labels the tokens that stretches overlap", async () => {
    const dataset = await ownDataset({ texts, spans: { person, place }, sampling: ALL }, model.tokenizer);
    const rows = readable(dataset);
    const joined = (feature: string): string =>
      rows
        .filter(([, labels]) => labels[feature] === 1)
        .map(([text]) => text)
        .join("");
    expect(joined("person")).toBe("Ada GraceGrace Ada");
    expect(joined("place")).toBe(" Paris");
    expect(rows.map(([text]) => text).join("")).toBe(texts.join(""));
    expect(new Set(rows.flatMap(([, labels]) => Object.values(labels)))).toEqual(new Set([0, 1]));
  });

  it("makes rows of stretches, and says nothing elsewhere if told so", async () => {
    const spans = { person, place: [...place, { text: 0, start: 0, end: 3, label: false }] };
    const own = { texts, spans, sampling: ALL, aggregation: "last", elsewhere: "unlabelled" } as const;
    await expect(ownDataset({ ...own, spans: { person } }, model.tokenizer)).rejects.toThrow(EmptyDataError);
    expect(readable(await ownDataset(own, model.tokenizer))).toEqual([
      ["Ada", { place: 0 }],
      [" Paris", { place: 1 }],
    ]);
    const negative = await ownDataset({ ...own, elsewhere: "negative" }, model.tokenizer);
    expect(readable(negative)).toEqual([
      ["Ada", { person: 1, place: 0 }],
      [" Grace", { person: 1, place: 0 }],
      [" Paris", { person: 0, place: 1 }],
      ["Grace", { person: 1, place: 0 }],
      [" Ada", { person: 1, place: 0 }],
    ]);
  });

  it("takes labels of whole texts in every form", async () => {
    const common = { texts, docs: ["x", "y", "x"], sampling: { leastRows: 1, positiveShare: 0.7 } };
    const flags = [true, false, true];
    const byName = await ownDataset({ ...common, labels: { people: flags } }, model.tokenizer);
    const matrix = new LabelMatrix(["people"], 3, Uint8Array.of(1, 0, 1));
    const byMatrix = await ownDataset({ ...common, labels: matrix }, model.tokenizer);
    expect(byName).toEqual(byMatrix);
    expect(readable(byName).map(([text, { people }]) => [text, people])).toEqual(
      texts.map((text, t) => [text, Number(flags[t])]),
    );
    expect(byName.passages.map(({ group }) => group)).toEqual(["x", "y", "x"]);
    const classes = await ownDataset({ ...common, labels: ["p", "r", "p"] }, model.tokenizer);
    expect(classes.labels.features).toEqual(["p", "r"]);
    const tokens = await ownDataset(
      {
        ...common,
        labels: { people: flags, all: [1, 1, 1] },
        aggregation: "token",
        skipFirst: 2,
        passageTokens: 5,
      },
      model.tokenizer,
    );
    expect(tokens.report.missing.map(({ feature }) => feature)).toEqual(["all"]);
    expect(Math.max(...tokens.rows.positions)).toBeLessThan(5);
    expect(Math.min(...tokens.rows.positions)).toBe(2);
    expect(tokens.report.dropped["ends of texts longer than a passage"]).toBeGreaterThan(0);
  });

  it("refuses what cannot be", async () => {
    const labels = { a: [1, 0, 1] };
    const refused = [
      [{ texts }, OptionError],
      [{ texts, labels, spans: {} }, OptionError],
      [{ texts, labels: { a: [1, 0] } }, ShapeError],
      [{ texts, labels, docs: ["a"] }, ShapeError],
      [{ texts: [], labels }, EmptyDataError],
      [{ texts, labels, aggregation: "sum" as "mean" }, OptionError],
      [{ texts, spans: { a: [{ text: 3, start: 0, end: 1 }] } }, ShapeError],
      [{ texts, spans: { a: [{ text: 0, start: 4, end: 4 }] } }, ShapeError],
      [{ texts, spans: { a: [{ text: 0, start: 0, end: 99 }] } }, ShapeError],
      [{ texts, labels, skipFirst: 1000 }, EmptyDataError],
    ] as const;
    for (const [own, error] of refused) await expect(ownDataset(own, model.tokenizer)).rejects.toThrow(error);
  });
});

describe("special tokens of a dataset's passages", () => {
  it("are read and make no rows", async () => {
    const [{ json }] = fixtureJson("../tokenizers.json") as { json: unknown }[];
    const tokenizer = await Tokenizer.fromJson(json);
    expect(Array.from(tokenizer.specialTokens().before)).toEqual([1]);
    const dataset = await ownDataset(
      { texts: ["the cat", "a dog"], labels: { cat: [1, 0] }, aggregation: "token", sampling: ALL },
      tokenizer,
    );
    const other = { tokenizer, spec: model.spec } as unknown as LanguageModel;
    const [plain] = TokenRows.ofDataset(other, dataset).batches(100);
    const [special] = TokenRows.ofDataset(other, dataset, { specialTokens: true }).batches(100);
    expect(Array.from(special.tokens.tokens).filter((id) => id === 1)).toHaveLength(2);
    expect(Array.from(special.segments.rows, (token) => special.tokens.tokens[token])).toEqual(
      Array.from(plain.segments.rows, (token) => plain.tokens.tokens[token]),
    );
  });
});
