import { beforeAll, describe, expect, it } from "vitest";
import {
  COMPOUND_WORDS,
  compoundWordDataset,
  countCompoundNegatives,
  type CompoundWordOptions,
} from "../../src/datasets/compound-words.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import type { Tokenizer } from "../../src/model/tokenizer.ts";
import { Random } from "../../src/random.ts";
import { bundledTokenizer, documents, labelled, threeTokenizers } from "./text-corpora.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await bundledTokenizer();
});

/** Keeps every row: nothing is sampled away. */
const ALL = { positiveShare: 0.999, leastRows: 1 } as const;

const build = (texts: readonly string[], options: CompoundWordOptions = {}): Promise<FeatureDataset> =>
  compoundWordDataset(texts, tokenizer, { leastTokens: 1, sampling: ALL, ...options });

/** Windows of a feature, by label. */
async function windows(
  texts: readonly string[],
  options: CompoundWordOptions = {},
): Promise<{ positive: string[]; negative: string[] }> {
  const bigrams = options.bigrams ?? ["high-school"];
  // One pair of each kind besides, so that no class is empty.
  const dataset = await build([...texts, "§ high school", "§ old school"], { ...options, bigrams });
  const rows = labelled(dataset, bigrams[0], tokenizer).filter(({ passage }) => !passage.startsWith("§"));
  return {
    positive: rows.filter(({ label }) => label === 1).map(({ passage }) => passage),
    negative: rows.filter(({ label }) => label === 0).map(({ passage }) => passage),
  };
}

describe("compoundWordDataset", () => {
  it("has the paper's 21 pairs", () => {
    expect(new Set(COMPOUND_WORDS).size).toBe(21);
  });

  it("labels a hand-made text as its key says", async () => {
    const text =
      "At high school she read. The old school was closed, and high tide came. High walls! A school of fish went by.";
    const { positive, negative } = await windows([text]);
    expect(positive).toEqual(["At high school"]);
    expect(negative).toHaveLength(4);
    // missing_first: the second word after something else.
    expect(negative).toContain("At high school she read. The old school");
    expect(negative.some((passage) => passage.endsWith("High walls! A school"))).toBe(true);
    // missing_second: the token after the first word, here the words' first tokens.
    expect(negative.filter((passage) => /and high t\w*$/.test(passage))).toHaveLength(1);
    expect(negative.filter((passage) => /tide came\. High w\w*$/.test(passage))).toHaveLength(1);
  });

  it.each([
    "high school",
    "High School",
    "HIGH SCHOOL",
    "High school",
    "high  school",
    "high\nschool",
    "high\r\n school",
    "high\u00a0school",
  ])("takes %j for the pair", async (spelling) => {
    const { positive, negative } = await windows([`It is a ${spelling}, they say.`]);
    expect(positive).toEqual([`It is a ${spelling}`]);
    expect(negative).toEqual([]);
  });

  it.each(["high-school", "high\u2011school", "high\n\nschool", "high schools", "high-schooler"])(
    "leaves open what %j is",
    async (spelling) => {
      expect(await windows([`It is a ${spelling}, they say.`])).toEqual({ positive: [], negative: [] });
      const { report } = await build([`It is a ${spelling}.`, "a high school", "an old school"], {
        bigrams: ["high-school"],
      });
      expect(report.dropped).toMatchObject({ "pairs that are neither positive nor negative": 1 });
    },
  );

  it.each([
    ["high, school", ["a high,", "a high, school"]],
    ["highschool", []],
    ["highs school", ["a highs school"]],
    ["preschool", []],
    ["high", ["a high."]],
  ])("knows the negatives in %j", async (spelling, expected) => {
    expect(await windows([`a ${spelling}.`])).toEqual({ positive: [], negative: expected });
  });

  it("shares a row between pairs", async () => {
    const dataset = await build(
      ["their public health", "good health, mental notes, public squares", "mental health"],
      {
        bigrams: ["public-health", "mental-health"],
      },
    );
    const place = [...dataset.passages.keys()].find(
      (p) => dataset.passages[p].text === "their public health",
    )!;
    const row = dataset.rows.passage.indexOf(place);
    expect(dataset.rows.passage.filter((p) => p === place)).toHaveLength(1);
    expect([dataset.labels.of(0)[row], dataset.labels.of(1)[row]]).toEqual([1, 0]);
  });

  it("ends windows at the last token of a word of several tokens", async () => {
    const texts = ["the zyxwvut qponmlk", "a zyxwvut and a qponmlk"];
    const dataset = await build(texts, { bigrams: ["zyxwvut-qponmlk"] });
    expect(tokenizer.encode(" qponmlk").length).toBeGreaterThan(1);
    const [positive] = labelled(dataset, "zyxwvut-qponmlk", tokenizer).filter(({ label }) => label === 1);
    expect(positive.passage).toBe(texts[0]);
    const last = dataset.passages[0].tokens.at(-1)!;
    expect(positive.token).toBe(tokenizer.tokenText(last));
    expect(texts[0].endsWith(positive.token)).toBe(true);
  });

  it("gives the window that the whole text's tokens give, under three tokenizers, however long the text", async () => {
    const random = new Random(7, "words");
    const vocabulary =
      "the fox counts brown dog naïve café 日本 № «да» 😀 x=y; 12345 (path): \n ... high school High Old".split(
        " ",
      );
    for (const [name, own] of await threeTokenizers()) {
      const texts = [40, 400, 2000].map((length) =>
        Array.from({ length }, () => vocabulary[random.below(vocabulary.length)]).join(" "),
      );
      // And a rare pair in a long text, where nothing around it is tokenised.
      texts.push(`${"the brown dog counts ".repeat(300)}high school${" the fox".repeat(300)}`);
      const dataset = await compoundWordDataset(texts, own, {
        bigrams: ["high-school"],
        window: 24,
        sampling: { positiveShare: 0.5, maxRows: 4000 },
      });
      const whole = texts.map((text) => own.locate(text)!);
      for (const { tokens, group } of dataset.passages) {
        const { ids } = whole[group as number];
        const key = tokens.join();
        expect(tokens, name).toHaveLength(24);
        expect(
          ids.some((id, i) => id === tokens[23] && i >= 23 && ids.subarray(i - 23, i + 1).join() === key),
          `${name}: ${key}`,
        ).toBe(true);
      }
    }
  });

  it("takes half the negatives of each kind, as far as they reach", async () => {
    const { texts, groups } = documents("compound-words.jsonl");
    const dataset = await compoundWordDataset(texts, tokenizer, {
      groups,
      bigrams: ["high-school"],
      sampling: { maxRows: 160 },
    });
    const { positives, negatives } = dataset.report.features[0];
    expect([positives, negatives]).toEqual([32, 128]);
    expect(countCompoundNegatives(dataset)).toEqual({
      "high-school": { missing_first: 64, missing_second: 64 },
    });
    expect(() => countCompoundNegatives({ ...dataset, category: "own" })).toThrow(OptionError);
    const rows = labelled(dataset, "high-school", tokenizer).filter(({ label }) => label === 0);
    const missingFirst = rows.filter(({ passage }) => /school$/i.test(passage));
    expect(missingFirst).toHaveLength(64);
    expect(
      rows
        .filter(({ passage }) => !/school$/i.test(passage))
        .every(({ passage }) => /high\s\S+$/i.test(passage)),
    ).toBe(true);
    for (const { tokens } of dataset.passages) expect(tokens).toHaveLength(24);
  });

  it("is the same again, other with another seed, and keeps documents together", async () => {
    const { texts, groups } = documents("compound-words.jsonl");
    const options = { groups, bigrams: ["social-media"], sampling: { maxRows: 100 } };
    const again = await compoundWordDataset(texts, tokenizer, options);
    expect(await compoundWordDataset(texts, tokenizer, options)).toEqual(again);
    const other = await compoundWordDataset(texts, tokenizer, {
      ...options,
      sampling: { maxRows: 100, seed: 1 },
    });
    expect(other.passages).not.toEqual(again.passages);
    for (const { text, group } of again.passages) {
      expect(texts[groups.indexOf(group as string)]).toContain(text);
    }
  });

  it("refuses what it cannot read", async () => {
    const bigrams = ["high-school"];
    await expect(build([], { bigrams })).rejects.toThrow(EmptyDataError);
    await expect(build(["nothing here"], { bigrams })).rejects.toThrow(EmptyDataError);
    await expect(build([1 as never], { bigrams })).rejects.toThrow(OptionError);
    await expect(build(["a"], { bigrams, groups: [] })).rejects.toThrow(ShapeError);
    await expect(build(["a"], { bigrams: [] })).rejects.toThrow(OptionError);
    await expect(build(["a"], { bigrams: ["high"] })).rejects.toThrow(/not two words/);
    await expect(build(["a"], { bigrams: ["high-sch ool"] })).rejects.toThrow(/not two words/);
    await expect(build(["a"], { bigrams: ["high-school", "High-School"] })).rejects.toThrow(/listed twice/);
    await expect(build(["a"], { bigrams, window: 0 })).rejects.toThrow(OptionError);
  });

  it("stops when asked to", async () => {
    const stop = new Error("enough");
    await expect(build(["a high school"], { signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
  });
});
