/** Every token's place, in texts that nobody would write: 1,000 of them under each of six tokenizers. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { Random } from "../../src/random.ts";
import { fixtureJson } from "../model/fixtures.ts";

const TEXTS = 1000;

/** Ranges of code units that a text's pieces are drawn from. */
const RANGES: readonly (readonly [from: number, to: number])[] = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0x00, 0x1f],
  [0x7f, 0xff],
  [0x100, 0x24f],
  [0x300, 0x36f],
  [0x400, 0x4ff],
  [0x590, 0x6ff],
  [0x900, 0x97f],
  [0x2000, 0x206f],
  [0x2580, 0x2583],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xd800, 0xdfff],
  [0xe000, 0xf8ff],
  [0xfe00, 0xfeff],
  [0x1f300, 0x1faff],
  [0xe0100, 0xe01ef],
];
const WHOLE = [
  "👩‍👩‍👧‍👦",
  "🏳️‍🌈",
  "🇵🇹",
  "é",
  "ﬁ",
  "<|endoftext|>",
  "</s>",
  "▁",
  " ▁ ",
  "  ",
  "\r\n",
  "<0x0A>",
  "नि",
  "שָׁ",
  "\u202eabc\u202c",
];

function randomText(random: Random): string {
  let text = "";
  for (let pieces = random.below(24); pieces >= 0; pieces--) {
    if (random.below(4) === 0) text += WHOLE[random.below(WHOLE.length)];
    else {
      const [from, to] = RANGES[random.below(RANGES.length)];
      for (let n = random.below(4); n >= 0; n--)
        text += String.fromCodePoint(from + random.below(to - from + 1));
    }
  }
  return text;
}

/** Half a surrogate pair as U+FFFD, and a ▁ as a space where the vocabulary writes spaces so. */
function readable(text: string, byteLevel: boolean): string {
  const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text));
  return byteLevel ? whole : whole.replaceAll("▁", " ");
}

const tokenizers: [string, unknown][] = [
  [
    "haystack-4m",
    JSON.parse(
      readFileSync(new URL("../../examples/model/haystack-4m/tokenizer.json", import.meta.url), "utf8"),
    ),
  ],
  ...(fixtureJson("../tokenizers.json") as { name: string; json: unknown }[]).map(
    ({ name, json }): [string, unknown] => [name, json],
  ),
];

describe("tokens of random texts", () => {
  it.each(tokenizers)("lie where their bytes are: %s", async (name, json) => {
    const tokenizer = await Tokenizer.fromJson(json);
    const byteLevel = !["Llama 2", "Mistral", "Gemma"].includes(name);
    const random = new Random(11, "texts");
    let lost = 0;
    for (let t = 0; t < TEXTS; t++) {
      const text = randomText(random);
      const located = tokenizer.locate(text);
      if (!located) {
        // Only a normaliser may lose the thread.
        expect(name).toBe("Qwen");
        expect(text.normalize("NFC")).not.toBe(text);
        lost++;
        continue;
      }
      const { ids, starts, ends } = located;
      expect(ids).toEqual(tokenizer.encode(text));
      let covered = 0;
      for (let i = 0; i < ids.length;) {
        // Tokens that share a character belong together: nothing lies between the groups, and each spells its part.
        expect(starts[i]).toBe(covered);
        let j = i + 1;
        covered = ends[i];
        while (j < ids.length && starts[j] < covered) {
          expect(starts[j]).toBeGreaterThanOrEqual(starts[j - 1]);
          covered = Math.max(covered, ends[j++]);
        }
        const part = readable(text.slice(starts[i], covered), byteLevel);
        const spelt = spell(tokenizer, ids.subarray(i, j), byteLevel);
        // A space of the tokenizer's own has no place in the text.
        const own = spelt.startsWith(" ") && spelt.length === part.length + 1;
        expect(own ? spelt.slice(1) : spelt, JSON.stringify(text)).toBe(part);
        i = j;
      }
      expect(covered).toBe(text.length);
    }
    expect(lost).toBeLessThan(name === "Qwen" ? 0.9 * TEXTS : 1);
  });
});

/** GPT-2's alphabet, written out: what stands for a byte is the byte itself where it prints, and U+0100 on for the others. */
const BYTES = new Map<string, number>();
{
  const prints = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !prints(byte));
  for (let byte = 0; byte < 256; byte++) {
    BYTES.set(String.fromCodePoint(prints(byte) ? byte : 256 + others.indexOf(byte)), byte);
  }
}

/** Text of some tokens by how the vocabulary spells them, without the code under test. */
function spell(tokenizer: Tokenizer, ids: Uint32Array, byteLevel: boolean): string {
  const bytes = Array.from(ids, (id): number[] => {
    const token = tokenizer.token(id);
    if (byteLevel) return Array.from(token, (character) => BYTES.get(character)!);
    const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
    return byte
      ? [Number.parseInt(byte[1], 16)]
      : Array.from(new TextEncoder().encode(token.replaceAll("▁", " ")));
  });
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes.flat()));
}
