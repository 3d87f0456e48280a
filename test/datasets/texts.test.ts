import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readLabelledTexts } from "../../src/datasets/texts.ts";
import { EmptyDataError, FormatError, SparseProbeError } from "../../src/errors.ts";

describe("readLabelledTexts", () => {
  it("reads the bundled passages", () => {
    const file = new URL("../../examples/data/natural-language.jsonl", import.meta.url);
    const { texts, labels, docs } = readLabelledTexts(readFileSync(file, "utf8"));
    expect([texts.length, labels.length, docs!.length]).toEqual([280, 280, 280]);
    expect(new Set(labels)).toEqual(new Set(["en", "fr", "de", "es", "it", "pt", "ru"]));
    expect(new Set(docs).size).toBe(40);
  });

  it("skips empty lines, a byte order mark and unknown fields", () => {
    const read = readLabelledTexts(
      '\uFEFF{"text":"a","label":1,"more":[]}\r\n\n  \n{"text":"b","label":0}\n',
    );
    expect(read).toEqual({ texts: ["a", "b"], labels: [1, 0] });
  });

  it.each([
    ['{"text":"a","label":"x"}\n{', /Line 2 is not JSON/],
    ['"text"', /Line 1 is not a JSON object/],
    ["null", /Line 1 is not a JSON object/],
    ['{"label":"x"}', /Line 1 has no text/],
    ['{"text":"","label":"x"}', /Line 1 has no text/],
    ['\n{"text":"a"}', /Line 2 has no label/],
    ['{"text":"a","label":null}', /Line 1 has no label/],
    ['{"text":"a","label":"x","doc":[]}', /doc of line 1/],
    [
      '{"text":"a","label":"x","doc":1}\n{"text":"b","label":"x"}',
      /Line 2 has no doc, and lines before it have one/,
    ],
    ['{"text":"a","label":"x"}\n{"text":"b","label":"x","doc":1}', /Line 2 has a doc, but not all/],
  ])("refuses %s", (text, message) => {
    expect(() => readLabelledTexts(text)).toThrow(message);
    expect(() => readLabelledTexts(text)).toThrow(FormatError);
  });

  it("refuses an empty file", () => {
    expect(() => readLabelledTexts("\n\n")).toThrow(EmptyDataError);
    expect(() => readLabelledTexts(new Uint8Array(2) as unknown as string)).toThrow(FormatError);
  });

  it("gives back what was written, and typed errors for anything else", () => {
    const entry = fc.record({
      text: fc.string({ minLength: 1, unit: "binary" }),
      label: fc.oneof(fc.string(), fc.boolean(), fc.integer()),
      doc: fc.oneof(fc.string(), fc.integer()),
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1 }), (entries) => {
        const read = readLabelledTexts(entries.map((line) => JSON.stringify(line)).join("\n"));
        expect(read.texts).toEqual(entries.map(({ text }) => text));
        expect(read.labels).toEqual(entries.map(({ label }) => label));
        expect(read.docs).toEqual(entries.map(({ doc }) => doc));
      }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          readLabelledTexts(text);
        } catch (error) {
          expect(error).toBeInstanceOf(SparseProbeError);
        }
      }),
    );
  });
});
