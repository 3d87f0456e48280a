/** Looking for rows by words. */
import type { OpenColumn } from "../table-data.ts";

/**
 * Rows in which every word of the query is part of some word of the row, or the number of one of its neurons (`765`, `n765`).
 * Words that many rows share are looked at once.
 */
export function search(columns: readonly OpenColumn[], query: string): (row: number) => boolean {
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
  const tests = terms.map((term) => columns.flatMap((column) => test(column, term)));
  return (row) => tests.every((some) => some.some((matches) => matches(row)));
}

function test({ head, key, cell }: OpenColumn, term: string): ((row: number) => boolean)[] {
  if (head.kind === "words") {
    const found = head.words.map((word) => word.toLowerCase().includes(term));
    return found.some(Boolean)
      ? [
          (row) => {
            const word = key(row);
            return word !== null && found[word];
          },
        ]
      : [];
  }
  if (head.kind === "neurons" && /^n?\d+$/.test(term)) {
    const neuron = term.replace("n", "");
    return [(row) => cell(row).text.split(", ").includes(neuron)];
  }
  return [];
}
