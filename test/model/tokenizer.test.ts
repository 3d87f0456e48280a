import { beforeAll, describe, expect, it } from "vitest";
import { FormatError, ShapeError } from "../../src/errors.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { fixtureJson } from "./fixtures.ts";

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly tokens: string[];
  readonly decoded: string;
}

describe("Tokenizer against Hugging Face's own", () => {
  const cases = fixtureJson("tokens.json") as Case[];
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await Tokenizer.fromJson(fixtureJson("parallel/tokenizer.json"));
  });

  it.each(cases)("encodes and decodes $text", ({ text, ids, tokens, decoded }) => {
    const got = tokenizer.encode(text);
    expect(got).toBeInstanceOf(Uint32Array);
    expect(Array.from(got)).toEqual(ids);
    expect(Array.from(got, (id) => tokenizer.token(id))).toEqual(tokens);
    expect(tokenizer.decode(got)).toBe(decoded);
  });

  it.each(cases)("locates every token of $text", ({ text, ids }) => {
    const located = tokenizer.locate(text)!;
    expect(Array.from(located.ids)).toEqual(ids);
    let covered = 0;
    for (const [i, id] of ids.entries()) {
      const [start, end] = [located.starts[i], located.ends[i]];
      expect(end).toBeGreaterThan(start);
      // No gap: a token starts where the one before ended, or inside the character that both share.
      expect(start).toBeLessThanOrEqual(covered);
      const word = tokenizer.tokenText(id);
      if (!word.includes("\ufffd")) expect(text.slice(start, end)).toBe(word);
      covered = end;
    }
    expect(covered).toBe(text.length);
  });

  it("adds nothing to a text", () => {
    expect(tokenizer.encode("")).toHaveLength(0);
    expect(tokenizer.decode([])).toBe("");
  });

  it("has no token beyond its vocabulary", () => {
    expect(() => tokenizer.token(100_000)).toThrow(ShapeError);
  });

  it("does not guess places when a normaliser changes the text", async () => {
    const json = fixtureJson("parallel/tokenizer.json") as Record<string, unknown>;
    const composing = await Tokenizer.fromJson({ ...json, normalizer: { type: "NFC" } });
    expect(composing.locate("cafe\u0301")).toBeNull();
    expect(composing.locate("caf\u00e9")!.ends.at(-1)).toBe(4);
  });

  it("refuses vocabularies that cannot be, which the implementation would read as tokens 0", async () => {
    const json = fixtureJson("parallel/tokenizer.json") as { model: Record<string, unknown> };
    const vocab = json.model["vocab"] as Record<string, number>;
    const [token] = Object.keys(vocab);
    const bad = [
      {},
      [],
      null,
      [1],
      ..."x -1 1.5".split(" ").map((id) => ({ ...vocab, [token]: Number(id) || id })),
    ];
    for (const broken of bad) {
      const tokenizer = Tokenizer.fromJson({ ...json, model: { ...json.model, vocab: broken } });
      await expect(tokenizer).rejects.toThrow(FormatError);
    }
  });

  it.each([null, {}, "x", { model: { type: "Nonsense" } }])("refuses %o", async (json) => {
    await expect(Tokenizer.fromJson(json)).rejects.toThrow(FormatError);
  });
});

describe("tokenizers built as the families' are, against Hugging Face's own", () => {
  interface Built {
    readonly name: string;
    readonly json: { readonly model: { readonly vocab: Readonly<Record<string, number>> } };
    readonly cases: (Case & { readonly special: number[] })[];
  }
  const built = fixtureJson("../tokenizers.json") as Built[];

  it.each(built)("$name encodes and decodes, with and without special tokens", async ({ json, cases }) => {
    const tokenizer = await Tokenizer.fromJson(json);
    for (const { text, ids, special, decoded } of cases) {
      expect(Array.from(tokenizer.encode(text)), text).toEqual(ids);
      expect(Array.from(tokenizer.encode(text, { specialTokens: true })), text).toEqual(special);
      expect(tokenizer.decode(ids), text).toBe(decoded);
    }
  });

  it.each(built)("$name locates tokens in the text", async ({ name, json, cases }) => {
    const tokenizer = await Tokenizer.fromJson(json);
    const lost = cases.filter(({ text }) => tokenizer.locate(text) === null).map(({ text }) => text);
    // NFC writes é in one character.
    expect(lost).toEqual(name === "Qwen" ? ["cafe\u0301 vs caf\u00e9"] : []);
    for (const { text, ids } of cases) {
      const located = tokenizer.locate(text);
      if (!located) continue;
      expect(Array.from(located.ids)).toEqual(ids);
      for (const [i, id] of ids.entries()) {
        const [start, end] = [located.starts[i], located.ends[i]];
        const word = tokenizer.tokenText(id);
        if (word.includes("\ufffd")) continue;
        // The first token may begin with a space that the text does not have; a ▁ counts as a space.
        const piece = text.slice(start, end).replaceAll("▁", " ");
        expect(i === 0 && start === 0 ? [word, word.slice(1)] : [word]).toContain(piece);
      }
      expect(located.ends.at(-1) ?? 0).toBe(text.length);
    }
  });

  it("keeps the space of a word that stands alone", async () => {
    for (const { json } of built) {
      const tokenizer = await Tokenizer.fromJson(json);
      const { vocab } = json.model;
      const id = vocab["▁the"] ?? vocab["Ġthe"];
      expect(tokenizer.tokenText(id)).toBe(" the");
    }
  });
});
