import { beforeAll, describe, expect, it } from "vitest";
import { UNLABELLED } from "../../src/data/labels.ts";
import { TEXT_FEATURES } from "../../src/datasets/text-feature-predicates.ts";
import { textFeatureDataset, type TextFeatureOptions } from "../../src/datasets/text-features.ts";
import { NearbyTokens, textOf, textWindows } from "../../src/datasets/text-windows.ts";
import { EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import type { LocatedTokens, Tokenizer } from "../../src/model/tokenizer.ts";
import { Random } from "../../src/random.ts";
import { bundledTokenizer, documents, labelled, threeTokenizers } from "./text-corpora.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await bundledTokenizer();
});

describe("TEXT_FEATURES", () => {
  /** By hand: for each token, the features that hold. All others do not. */
  const KEY: readonly (readonly [token: string, features: string])[] = [
    [" the", "contains_whitespace has_leading_space"],
    ["the", "no_leading_space_and_loweralpha"],
    [" The", "contains_whitespace has_leading_space contains_capital leading_capital"],
    ["McX", "contains_capital leading_capital"],
    ["iP", "contains_capital"],
    [" USA", "contains_whitespace has_leading_space contains_capital leading_capital all_capitals"],
    ["A", "contains_capital leading_capital all_capitals"],
    ["A1", "contains_capital leading_capital contains_digit"],
    ["42", "contains_digit all_digits"],
    [" 7", "contains_digit all_digits contains_whitespace has_leading_space"],
    ["x2", "contains_digit"],
    ["1.5", "contains_digit is_not_alphanumeric"],
    ["\n", "contains_whitespace contains_all_whitespace is_not_alphanumeric"],
    [" ", "contains_whitespace has_leading_space contains_all_whitespace is_not_alphanumeric"],
    ["\t\t", "contains_whitespace contains_all_whitespace is_not_alphanumeric"],
    [" (", "contains_whitespace has_leading_space is_not_alphanumeric"],
    ["'s", "is_not_alphanumeric"],
    ["a_b", "is_not_alphanumeric"],
    ["é", "no_leading_space_and_loweralpha is_not_ascii"],
    ["e\u0301", "no_leading_space_and_loweralpha is_not_ascii"],
    ["Э", "contains_capital leading_capital all_capitals is_not_ascii"],
    [" это", "contains_whitespace has_leading_space is_not_ascii"],
    ["٣", "contains_digit all_digits is_not_ascii"],
    ["½", "is_not_ascii"],
    ["ǅ", "contains_capital leading_capital all_capitals is_not_ascii"],
    ["日", "is_not_ascii"],
    ["—", "is_not_alphanumeric is_not_ascii"],
    ["\u00a0", "contains_whitespace contains_all_whitespace is_not_alphanumeric is_not_ascii"],
    ["😀", "is_not_alphanumeric is_not_ascii"],
    ["", "is_not_alphanumeric"],
  ];

  it.each(KEY)("says of %j what the key says", (token, features) => {
    const holding = Object.keys(TEXT_FEATURES).filter((feature) => TEXT_FEATURES[feature](token) === true);
    expect(holding.sort()).toEqual(features.split(" ").sort());
    for (const predicate of Object.values(TEXT_FEATURES)) expect(predicate(token)).toBeDefined();
  });

  it("has eleven, and leaves open what part of a character does not tell", () => {
    expect(Object.keys(TEXT_FEATURES)).toHaveLength(11);
    for (const [feature, predicate] of Object.entries(TEXT_FEATURES)) {
      const known = { has_leading_space: true, is_not_ascii: true }[feature];
      expect([feature, predicate(" \ufffd")]).toEqual([feature, known]);
    }
  });
});

describe("textFeatureDataset", () => {
  const ALL = { positiveShare: 0.999, leastPositiveShare: 0, leastRows: 1 } as const;
  const build = (
    texts: readonly string[],
    options: TextFeatureOptions = {},
  ): ReturnType<typeof textFeatureDataset> => textFeatureDataset(texts, tokenizer, options);

  it("labels every token after the first ones by its decoded text", async () => {
    const texts = ["Once the 3 dogs ate at NOON.\nThen, é slept. 😀"];
    const dataset = await build(texts, { skipFirst: 2, sampling: ALL });
    const tokens = Array.from(tokenizer.encode(texts[0]), (id) => tokenizer.tokenText(id)).slice(2);
    for (const feature of dataset.labels.features) {
      const expected = tokens
        .map((token) => ({ token, label: TEXT_FEATURES[feature](token) }))
        .filter(({ label }) => label !== undefined);
      expect(labelled(dataset, feature, tokenizer).map(({ token, label }) => [token, label === 1])).toEqual(
        expected.map(({ token, label }) => [token, label]),
      );
    }
    // The emoji is several tokens, none of them a character.
    const digits = dataset.labels.of(dataset.labels.features.indexOf("contains_digit"));
    expect(digits.at(-1)).toBe(UNLABELLED);
  });

  it("keeps between a fifth and a half of a feature's rows positive", async () => {
    const { texts, groups } = documents("code-language.jsonl");
    const { report, labels, passages } = await build(texts, { groups });
    expect(labels.features.length).toBeGreaterThan(8);
    for (const [f, { feature, positives, negatives, offered }] of report.features.entries()) {
      const share = positives / (positives + negatives);
      expect(share, feature).toBeGreaterThanOrEqual(0.2 - 1e-9);
      expect(share, feature).toBeLessThanOrEqual(0.5);
      expect(labels.counts(f)).toEqual([negatives, positives]);
      const natural = offered.positives / (offered.positives + offered.negatives);
      // Nothing is left out where the corpus itself is within the bounds.
      if (natural >= 0.2 && natural <= 0.5) expect([positives, negatives]).toEqual(Object.values(offered));
    }
    expect(report.missing).toEqual([
      { feature: "is_not_ascii", reason: "4 positives; at least 10 are needed" },
    ]);
    expect(new Set(passages.map(({ group }) => group))).toEqual(new Set(groups));
  });

  it("skips ten tokens of each passage", async () => {
    const { rows } = await build(documents("code-language.jsonl").texts, { passageTokens: 40 });
    expect(rows.positions.reduce((least, position) => Math.min(least, position))).toBe(10);
    expect(rows.positions.reduce((most, position) => Math.max(most, position))).toBe(39);
  });

  it("takes predicates of one's own", async () => {
    const features = { ...TEXT_FEATURES, has_vowel: (token: string) => /[aeiou]/i.test(token) };
    const { labels } = await build(documents("code-language.jsonl").texts, { features });
    expect(labels.features).toContain("has_vowel");
  });

  it("refuses what it cannot read, and stops when asked to", async () => {
    await expect(build([])).rejects.toThrow(EmptyDataError);
    await expect(build(["short"])).rejects.toThrow(/No text has more than 10 tokens/);
    await expect(build("text" as never)).rejects.toThrow(OptionError);
    await expect(build([null as never])).rejects.toThrow(OptionError);
    await expect(build(["a"], { groups: [1, 2] })).rejects.toThrow(ShapeError);
    await expect(build(["a"], { passageTokens: 0 })).rejects.toThrow(OptionError);
    const stop = new Error("enough");
    await expect(build(["a"], { signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
    const controller = new AbortController();
    const { texts } = documents("natural-language.jsonl");
    const many = Array.from({ length: 40 }, () => texts).flat();
    const onProgress = (done: number): void => {
      if (done === 20) controller.abort(stop);
    };
    await expect(build(many, { signal: controller.signal, onProgress })).rejects.toBe(stop);
  });

  it("lets the event loop turn", async () => {
    const { texts } = documents("natural-language.jsonl");
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    // One text of half a million characters.
    await build([texts.join("\n").repeat(5)]);
    clearInterval(timer);
    // 50 ms on a machine of its own; other tests run beside this one.
    expect(longest).toBeLessThan(300);
  });
});

describe("textWindows", () => {
  const random = new Random(3, "text");
  const pieces = ["word ", "é", "日本", "😀", "\n", "  ", "Tab\t", "x=1;", "\u0301", "e".repeat(30)];
  const text = Array.from({ length: 9000 }, () => pieces[random.below(pieces.length)]).join("");

  it("covers the text, in windows that end between characters, under three tokenizers", async () => {
    for (const [name, own] of await threeTokenizers()) {
      let at = 0;
      for (const window of textWindows(text, own, 64)) {
        // Qwen's tokenizer composes characters: a piece with such a pair is not located.
        if (!window) {
          expect(name).toBe("Qwen");
          continue;
        }
        expect(window.ids.length).toBeGreaterThan(0);
        if (name !== "Qwen") expect(window.starts[0]).toBe(at);
        at = window.ends.at(-1)!;
        const spelt = own.decode(window.ids);
        expect(spelt.includes("\ufffd")).toBe(false);
        expect(spelt.trim()).toBe(textOf(text, window).trim());
      }
      if (name !== "Qwen") expect(at).toBe(text.length);
    }
  });

  it("finds near a place the tokens of the whole text", async () => {
    for (const [name, own] of await threeTokenizers()) {
      if (name === "Qwen") continue;
      const whole = own.locate(text)!;
      const near = new NearbyTokens(text, own, 16);
      for (let i = 20; i < whole.ids.length; i += 97) {
        const around = near.at(whole.ends[i])!;
        const last = lastBefore(around, whole.ends[i]);
        const expected = lastBefore(whole, whole.ends[i]);
        expect([name, [...around.ids.slice(last - 15, last + 1)]]).toEqual([
          name,
          [...whole.ids.slice(expected - 15, expected + 1)],
        ]);
      }
    }
  });
});

/** The last token that ends at a place, or before. */
function lastBefore({ ends }: LocatedTokens, at: number): number {
  return ends.reduce((last, end, i) => (end <= at ? i : last), -1);
}
