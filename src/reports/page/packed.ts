/** Whole numbers as text: a few characters each, so that the rows of a study fit into a page. */

/** 64 signs that need no escape in JSON or HTML. */
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Every number takes `width` signs: its distance from `least`, in base 64; 0 stands for null, all others are one up. */
export interface Packed {
  readonly width: number;
  readonly least: number;
  readonly text: string;
}

export function pack(values: readonly (number | null)[]): Packed {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least === Infinity) [least, most] = [0, 0];
  let width = 1;
  while (64 ** width <= most - least + 1) width++;
  const parts = values.map((value) => {
    let rest = value === null ? 0 : value - least + 1;
    let text = "";
    for (let i = 0; i < width; i++) {
      text = DIGITS[rest % 64] + text;
      rest = Math.floor(rest / 64);
    }
    return text;
  });
  return { width, least, text: parts.join("") };
}

export function unpack({ width, least, text }: Packed): (number | null)[] {
  return Array.from({ length: text.length / width }, (_, i) => {
    let value = 0;
    for (const digit of text.slice(i * width, (i + 1) * width)) value = 64 * value + DIGITS.indexOf(digit);
    return value === 0 ? null : value - 1 + least;
  });
}
