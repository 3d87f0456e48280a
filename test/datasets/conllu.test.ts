import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readConllu } from "../../src/datasets/conllu.ts";
import { EmptyDataError, FormatError } from "../../src/errors.ts";

/** Lines with columns parted by spaces; `\s` is a space inside a column. */
const file = (lines: readonly string[]): string =>
  lines
    .map((line) => (line.startsWith("#") ? line : line.replaceAll(" ", "\t").replaceAll("\\s", " ")))
    .join("\n");

const SPANISH = file([
  "# newdoc id = carta",
  "# newpar",
  "# sent_id = c-1",
  "# text = Vámonos al  mar.",
  "1-2 Vámonos _ _ _ _ _ _ _ _",
  "1 Vamos ir VERB _ Mood=Imp|VerbForm=Fin 0 root _ _",
  "2 nos nosotros PRON _ Case=Acc,Dat|PronType=Prs 1 obj _ _",
  "3-4 al _ _ _ _ _ _ _ _",
  "3 a a ADP _ _ 5 case _ _",
  "4 el el DET _ Definite=Def|PronType=Art 5 det _ _",
  "4.1 nada _ _ _ _ _ _ _ _",
  "5 mar mar NOUN _ Gender=Masc 1 obl:arg _ SpaceAfter=No|Gloss=sea",
  "6 . . PUNCT _ _ 1 punct _ _",
  "",
  "# sent_id = c-2",
  "1 Sí sí INTJ _ _ 0 root _ SpaceAfter=No",
  "",
  "# newdoc",
  "1 10\\s000 _ NUM _ _ _ _ _ _",
  "2 km _ NOUN _ _ _ _ _ _",
  "",
]);

/** One sentence of two words with a column replaced. */
const broken = (row: number, column: number, value: string): string => {
  const rows = ["1 a a DET _ _ 2 det _ _", "2 b b NOUN _ Number=Sing 0 root _ _"].map((line) =>
    line.split(" "),
  );
  rows[row][column] = value;
  return `${rows.map((columns) => columns.join("\t")).join("\n")}\n\n`;
};

describe("readConllu", () => {
  it("reads words, multiword tokens, empty nodes, comments and documents", async () => {
    const [first, second, third] = await readConllu(SPANISH);
    expect(first).toMatchObject({
      id: "c-1",
      text: "Vámonos al  mar.",
      separator: " ",
      newDocument: true,
      newParagraph: true,
      document: "carta",
      line: 1,
    });
    // "Vamos" + "nos" is not what is written, nor is "a" + "el": both words have the place of the whole.
    expect(first.words.map(({ id, form, start, end }) => [id, form, start, end])).toEqual([
      [1, "Vamos", 0, 7],
      [2, "nos", 0, 7],
      [3, "a", 8, 10],
      [4, "el", 8, 10],
      [5, "mar", 12, 15],
      [6, ".", 15, 16],
    ]);
    expect(first.words[1]).toMatchObject({
      lemma: "nosotros",
      upos: "PRON",
      xpos: null,
      feats: { Case: ["Acc", "Dat"], PronType: ["Prs"] },
      head: 1,
      deprel: "obj",
    });
    expect(first.words[4].deprel).toBe("obl:arg");
    expect(second).toMatchObject({
      text: "Sí",
      separator: "",
      newDocument: false,
      newParagraph: false,
      document: "carta",
    });
    expect(third).toMatchObject({ id: null, text: "10 000 km", newDocument: true, document: 2 });
    expect(third.words[0]).toMatchObject({ head: null, deprel: null, feats: {}, lemma: null });
  });

  it("does not mind a byte-order mark, other line ends or a missing last line", async () => {
    const plain = await readConllu(SPANISH);
    expect(await readConllu(`\uFEFF${SPANISH}`)).toEqual(plain);
    expect(await readConllu(SPANISH.replaceAll("\n", "\r\n"))).toEqual(plain);
    expect(await readConllu(SPANISH.trimEnd())).toEqual(plain);
    expect(await readConllu(`\n\n${SPANISH}\n\n`)).toHaveLength(3);
  });

  it("gives the words of a multiword token their own places where they spell it", async () => {
    const [sentence] = await readConllu(
      file([
        "1-2 don't _ _ _ _ _ _ _ SpaceAfter=No",
        "1 do _ AUX _ _ 0 root _ _",
        "2 n't _ PART _ _ 1 advmod _ _",
        "3 ! _ PUNCT _ _ 1 punct _ _",
      ]),
    );
    expect(sentence.text).toBe("don't!");
    expect(sentence.words.map(({ start, end }) => [start, end])).toEqual([
      [0, 2],
      [2, 5],
      [5, 6],
    ]);
  });

  it("puts every word of the example where it is written", async () => {
    const text = readFileSync(new URL("../../examples/data/english-words.conllu", import.meta.url), "utf8");
    const sentences = await readConllu(text);
    expect(sentences).toHaveLength(106);
    for (const sentence of sentences) {
      for (const { form, start, end, head, deprel } of sentence.words) {
        expect(sentence.text.slice(start, end)).toBe(form);
        expect(head === 0).toBe(deprel === "root");
      }
    }
    // Without # text the words and their spaces make the same text.
    const rebuilt = await readConllu(text.replaceAll(/# text.*\n/g, ""));
    expect(rebuilt.map((sentence) => sentence.text)).toEqual(sentences.map((sentence) => sentence.text));
  });

  it.each([
    ["an ID that is none", broken(0, 0, "x"), /Line|line 1/],
    ["a number left out", broken(1, 0, "3"), /Line 2/],
    ["an empty column", broken(1, 2, ""), /line 2/],
    ["a tag that is none", broken(0, 3, "noun"), /UPOS of line 1/],
    ["a feature without a value", broken(1, 5, "Number"), /FEATS of line 2/],
    ["a feature twice", broken(1, 5, "A=B|A=C"), /twice/],
    ["a head that is no number", broken(0, 6, "two"), /HEAD of line 1/],
    ["a head that is not there", broken(0, 6, "3"), /HEAD of line 1/],
    ["a word as its own head", broken(0, 6, "1"), /HEAD of line 1/],
    ["a relation that is none", broken(0, 7, "DET"), /DEPREL of line 1/],
    ["too few columns", "1\ta\n\n", /2 columns/],
    ["a comment inside", `${broken(0, 1, "a").split("\n")[0]}\n# x\n\n`, /Line 2/],
    ["comments alone", "# sent_id = 1\n\n", /no words/],
    [
      "a multiword token that begins elsewhere",
      file(["2-3 ab _ _ _ _ _ _ _ _", "1 a _ X _ _ 0 root _ _"]),
      /multiword/,
    ],
    [
      "a multiword token that ends nowhere",
      file(["1-2 ab _ _ _ _ _ _ _ _", "1 a _ X _ _ 0 root _ _"]),
      /multiword/,
    ],
    [
      "multiword tokens that overlap",
      file(["1-2 ab _ _ _ _ _ _ _ _", "1 a _ X _ _ 0 root _ _", "2-3 bc _ _ _ _ _ _ _ _"]),
      /overlaps/,
    ],
    ["an empty node out of order", file(["1 a _ X _ _ 0 root _ _", "1.2 b _ _ _ _ _ _ _ _"]), /empty node/],
    ["other words than the text's", `# text = a c\n${broken(0, 1, "a")}`, /line 3/],
    ["a space that the text lacks", `# text = ab\n${broken(0, 1, "a")}`, /no space/],
    ["a space that should not be", `# text = a b\n${broken(0, 9, "SpaceAfter=No")}`, /line 3/],
    ["a text that goes on", `# text = a b c\n${broken(0, 1, "a")}`, /goes on/],
  ])("refuses %s, with the line", async (_, text, message) => {
    await expect(readConllu(text)).rejects.toThrow(FormatError);
    await expect(readConllu(text)).rejects.toThrow(message);
  });

  it("refuses what has no sentences", async () => {
    await expect(readConllu("\n\n")).rejects.toThrow(EmptyDataError);
    await expect(readConllu(new Uint8Array(2) as unknown as string)).rejects.toThrow(FormatError);
  });

  it("gives sentences or a typed error for anything", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(SPANISH.length),
        fc.nat(12),
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.constantFrom("\t", "\n", "-", "_", "=", "|", "99999999999", "#"),
        ),
        async (at, cut, insert) => {
          try {
            for (const { text, words } of await readConllu(
              SPANISH.slice(0, at) + insert + SPANISH.slice(at + cut),
            )) {
              for (const { start, end } of words) {
                expect(start).toBeLessThan(end);
                expect(end).toBeLessThanOrEqual(text.length);
              }
            }
          } catch (error) {
            expect(error instanceof FormatError || error instanceof EmptyDataError).toBe(true);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("takes time in proportion to hostile lines", async () => {
    for (const line of [`#${" ".repeat(200_000)}x`, "1\t".repeat(100_000), `1-${"9".repeat(100_000)}`]) {
      const start = performance.now();
      await expect(readConllu(`${line}\n`)).rejects.toThrow(FormatError);
      expect(performance.now() - start).toBeLessThan(1000);
    }
  });
});
