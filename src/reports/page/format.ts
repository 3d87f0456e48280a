/** How numbers are written in the page. */

export const NONE = "–";

/** Fixed digits, with a true minus sign; null is a dash. */
export function fixed(value: number | null, digits: number): string {
  if (value === null) return NONE;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

/** As {@link fixed}, with a sign in front of what is above zero too. */
export function signed(value: number | null, digits: number): string {
  const text = fixed(value, digits);
  return value !== null && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** A whole number in groups of three digits: 20,000. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `count` of a thing, in the singular or the plural. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function percent(share: number | null, digits = 0): string {
  return share === null ? NONE : `${fixed(100 * share, digits)}\u202f%`;
}

export function interval(low: number | null, high: number | null, digits: number): string {
  if (low === null || high === null) return NONE;
  const between = low < 0 || high < 0 ? " … " : "–";
  return `${fixed(low, digits)}${between}${fixed(high, digits)}`;
}

/** Digits after the point that show a value of this size with three significant ones, at most six. */
export function digitsFor(size: number): number {
  if (!(size > 0)) return 2;
  return Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size))));
}
