/** What is shown of texts from outside, and tables. */
import { expect, it } from "vitest";
import { fixed, plural, signed, tableLines, widthOf } from "../../src/cli/table.ts";
import { visible } from "../../src/cli/terminal.ts";

it("shows control characters instead of sending them to the terminal", () => {
  expect(visible("a\x1b[2Jb\x07\x00\x7f\x9b1m")).toBe("a␛[2Jb␇␀\\u{7f}\\u{9b}1m");
  expect(visible("line\nnext\ttab")).toBe("line⏎next⇥tab");
  // Marks that turn the direction of writing, and separators that break lines.
  expect(visible("\u202Eabc\u2066\u2028")).toBe("\\u{202e}abc\\u{2066}\\u{2028}");
});

it("leaves letters of all scripts and joined emoji as they are", () => {
  const text = "Größe Привет 東京 👩‍👩‍👧 e\u0301";
  expect(visible(text)).toBe(text);
});

it("aligns words left, numbers right, and counts columns of the terminal", () => {
  const lines = tableLines(
    [{ title: "class" }, { title: "n", align: "right" }],
    [
      ["東京", 5],
      ["de", 1234],
      ["e\u0301", null],
    ],
  );
  expect(lines).toEqual(["class     n", "東京      5", "de     1234", "e\u0301         –"]);
  expect(lines.map(widthOf)).toEqual([11, 11, 11, 11]);
});

it("writes numbers without a negative zero", () => {
  expect([fixed(-0.0001), fixed(-0.5), fixed(null), signed(0.25), signed(-0.25), signed(0)]).toEqual([
    "0.000",
    "-0.500",
    null,
    "+0.250",
    "-0.250",
    "0.000",
  ]);
  expect([plural(1, "text"), plural(1234567, "text")]).toEqual(["1 text", "1,234,567 texts"]);
});
