/**
 * How wide text is, without a canvas: layouts then agree between Node and browsers, whatever fonts they have. Advances of DejaVu Sans;
 * Verdana, the next font of pictures, has nearly the same.
 */

/** Advances of U+0020 to U+007E in hundredths of an em. */
const REGULAR = advances(
  "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53 100 68 69 70 77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50 50 61 63 55 63 62 35 63 63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84",
);
const BOLD = advances(
  "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58 100 77 76 73 83 68 68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50 50 67 72 59 72 68 44 72 71 34 34 67 34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84",
);
/** Of other alphabets, whose letters are 0.63 to 0.76 em wide on average. */
const OTHER = { regular: 70, bold: 78 };
/** Of what stands in a square: Chinese characters, syllables of Korean, emoji. */
const SQUARE = 105;
const SQUARES =
  /[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]|\p{Extended_Pictographic}/u;
const NO_WIDTH = /[\p{M}\p{Cf}]/u;

/** Width in pixels of one line. */
export function textWidth(text: string, size: number, bold = false): number {
  const table = bold ? BOLD : REGULAR;
  let hundredths = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code >= 32 && code < 127) hundredths += table[code - 32];
    else if (SQUARES.test(character)) hundredths += SQUARE;
    else if (!NO_WIDTH.test(character)) hundredths += bold ? OTHER.bold : OTHER.regular;
  }
  return (hundredths * size) / 100;
}

/** Between the parts of a line; a break may stand in its place. */
const SEPARATOR = " · ";

/**
 * Lines no wider than `width`, broken between parts, otherwise at spaces, and within words that are too long; the last of `most` lines
 * may end in an ellipsis.
 */
export function wrapText(text: string, width: number, size: number, bold: boolean, most: number): string[] {
  const fits = (line: string): boolean => textWidth(line, size, bold) <= width;
  const lines: string[] = [];
  let line = "";
  const add = (piece: string, before: string): void => {
    if (line !== "" && fits(line + before + piece)) {
      line += before + piece;
      return;
    }
    if (line !== "") lines.push(line);
    line = piece;
  };
  for (const part of text.split(SEPARATOR)) {
    if (fits(part)) {
      add(part, SEPARATOR);
      continue;
    }
    const words = part.split(/\s+/u).flatMap((word) => pieces(word, width, size, bold));
    for (const [i, word] of words.entries()) add(word, i === 0 ? SEPARATOR : " ");
  }
  lines.push(line);
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), shorten(lines.slice(most - 1).join(" "), width, size, bold)];
}

/** Text that fits into `width`, with an ellipsis where some is left out. */
export function shorten(text: string, width: number, size: number, bold = false): string {
  if (textWidth(text, size, bold) <= width) return text;
  const characters = Array.from(text);
  while (characters.length > 0 && textWidth(`${characters.join("")}…`, size, bold) > width) characters.pop();
  return `${characters.join("").trimEnd()}…`;
}

/** A word in parts that fit. */
function pieces(word: string, width: number, size: number, bold: boolean): string[] {
  if (textWidth(word, size, bold) <= width) return [word];
  const parts: string[] = [];
  let part = "";
  for (const character of word) {
    if (part !== "" && textWidth(part + character, size, bold) > width) {
      parts.push(part);
      part = "";
    }
    part += character;
  }
  return [...parts, part];
}

function advances(list: string): readonly number[] {
  return list.split(" ").map(Number);
}
