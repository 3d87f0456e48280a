/** Tables for people to read: columns aligned, numbers to the right. */

export type Cell = string | number | null;

export interface Column {
  readonly title: string;
  /** Numbers go right, words left. Default `"left"`. */
  readonly align?: "left" | "right";
}

const GAP = "  ";
const MISSING = "–";

/** Lines of a table: the titles, then one line per row. A missing value is a dash. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly Cell[])[]): string[] {
  const texts = [
    columns.map(({ title }) => title),
    ...rows.map((row) => row.map((cell) => (cell === null ? MISSING : String(cell)))),
  ];
  const widths = columns.map((_, c) => Math.max(...texts.map((row) => widthOf(row[c]))));
  return texts.map((row) =>
    row
      .map((text, c) => {
        const space = " ".repeat(widths[c] - widthOf(text));
        return columns[c].align === "right" ? space + text : text + space;
      })
      .join(GAP)
      .trimEnd(),
  );
}

/** A number with so many digits behind the point; null stays null. */
export function fixed(value: number | null, digits = 3): string | null {
  if (value === null) return null;
  const text = value.toFixed(digits);
  // No "-0.000".
  return Number(text) === 0 ? text.replace("-", "") : text;
}

/** A number with its sign, for differences. */
export function signed(value: number | null, digits = 3): string | null {
  const text = fixed(value, digits);
  return text === null || text.startsWith("-") || Number(text) === 0 ? text : `+${text}`;
}

/** Whole numbers with separators between thousands. */
export function counted(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A count and its noun: "1 text", "1,234 texts". */
export function plural(count: number, noun: string): string {
  return `${counted(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Columns of a terminal that a text takes: wide characters take two, marks that combine none. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}|\p{Me}|\u200C|\u200D/u.test(character)) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** East Asian wide and full-width characters, and pictures. */
const WIDE =
  /[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE4F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}/u;
