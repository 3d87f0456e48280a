/** HTML text in which everything that is not markup of ours is escaped. */

/** Markup that is safe to put into the page. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type HtmlPart = Html | string | number | null | readonly HtmlPart[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text for an element or a quoted attribute; what would not show, or would turn text around, shows as a sign. */
export function escapeHtml(text: string): string {
  return visible(text).replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign]);
}

/**
 * Tagged template: parts that are markup stay as they are, all others are text. Null is nothing. Indentation of the template is left
 * out, as are the slashes that a formatter puts into tags without an end.
 */
export function html(strings: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  return new Html(
    strings.map((string, i) => (i === 0 ? "" : textOf(parts[i - 1])) + compact(string)).join(""),
  );
}

function compact(markup: string): string {
  return markup.replaceAll(/\s*\n\s*/g, "\n").replaceAll(/\s*\/>/g, ">");
}

function textOf(part: HtmlPart): string {
  if (part === null) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "string") return escapeHtml(part);
  if (typeof part === "number") return String(part);
  return part.map(textOf).join("");
}

/**
 * Characters that have no picture of their own, as signs: NUL and its like as control pictures, marks that set the direction of
 * writing, characters that HTML forbids and halves of surrogate pairs by their number. Spaces and line breaks stay.
 */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN, (sign) => {
    const code = sign.codePointAt(0)!;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** Controls but tab and line feed, marks of direction, halves of pairs, code points that are no characters. */
const UNSEEN =
  // eslint-disable-next-line no-control-regex -- these are what is looked for
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufdd0-\ufdef\ufeff]|\p{Cs}|[\ufffe\uffff\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}\u{dfffe}\u{dffff}\u{efffe}\u{effff}\u{ffffe}\u{fffff}\u{10fffe}\u{10ffff}]/gu;
