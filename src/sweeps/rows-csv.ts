/** Rows as CSV (RFC 4180). */
import { SWEEP_COLUMNS, type SweepCell } from "./sweep-columns.ts";
import type { SweepRow } from "./sweep-row.ts";

/**
 * A header and a line per row, columns as in {@link SWEEP_COLUMNS}: UTF-8 without a byte order mark, lines end with CR LF. Null
 * is an empty field, lists are JSON, flags `true` and `false`. Numbers have all their digits.
 */
export function rowsToCsv(rows: Iterable<SweepRow>): string {
  let out = `${SWEEP_COLUMNS.map(({ name }) => name).join(",")}\r\n`;
  for (const row of rows) out += `${SWEEP_COLUMNS.map(({ cell }) => field(cell(row))).join(",")}\r\n`;
  return out;
}

function field(cell: SweepCell): string {
  if (cell === null) return "";
  const text = typeof cell === "object" ? JSON.stringify(cell) : String(cell);
  // Empty text is quoted: without quotes it would be null.
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
