/** A table as it lies in the page: what the writer of the page and its script both read. */
import { fixed, interval, NONE } from "./format.ts";
import { pack, unpack, type Packed } from "./packed.ts";

interface ColumnHead {
  readonly title: string;
  /** What the title stands for, where it is short. */
  readonly hint?: string;
  /** The column names the row. */
  readonly heads?: boolean;
  /** Rows can be restricted to one value. */
  readonly filter?: boolean;
}

/** One of a few words per row. */
export interface WordColumn extends ColumnHead {
  readonly kind: "words";
  /** In sorted order, so that rows sort by index. */
  readonly words: readonly string[];
  /** Per row. */
  readonly at: Packed;
  /** Places in the page that some rows link to. */
  readonly links?: { readonly places: readonly string[]; readonly at: Packed };
}

/** Numbers, times 10^digits. */
export interface NumberColumn extends ColumnHead {
  readonly kind: "numbers";
  readonly digits: number;
  readonly values: Packed;
  readonly low?: Packed;
  readonly high?: Packed;
}

/** The first few of a list of neurons, and how many there are. */
export interface NeuronsColumn extends ColumnHead {
  readonly kind: "neurons";
  readonly first: readonly Packed[];
  readonly total: Packed;
}

export type TableColumn = WordColumn | NumberColumn | NeuronsColumn;

export interface SortOrder {
  readonly column: number;
  readonly descending: boolean;
}

export interface TableData {
  readonly id: string;
  /** What a row is, in the plural. */
  readonly unit: string;
  readonly rows: number;
  readonly columns: readonly TableColumn[];
  /** How the rows lie; null: as they were given. */
  readonly sorted: SortOrder | null;
  readonly pageSize: number;
}

/** What a cell shows. */
export interface Cell {
  readonly text: string;
  /** Smaller, behind the text. */
  readonly aside?: string;
  readonly link?: string;
}

export const isNumeric = ({ kind }: TableColumn): boolean => kind === "numbers";

/** Longer texts may break into lines. */
const ONE_LINE = 28;

/** Class of a cell: numbers are aligned, long texts break. */
export function cellClass(column: TableColumn, { text }: Cell): string | null {
  if (isNumeric(column)) return "n";
  return text.length > ONE_LINE ? "long" : null;
}

const collator = new Intl.Collator("en", { numeric: true });

/** A column of words; empty cells are null, as are rows without a link. */
export function wordColumn(
  head: ColumnHead,
  values: readonly (string | null)[],
  links?: readonly (string | null)[],
): WordColumn {
  const words = [...new Set(values.filter((value) => value !== null))].sort(
    (a, b) => collator.compare(a, b) || (a < b ? -1 : 1),
  );
  const index = new Map(words.map((word, i) => [word, i]));
  const at = pack(values.map((value) => (value === null ? null : index.get(value)!)));
  if (!links?.some((link) => link !== null)) return { kind: "words", ...head, words, at };
  const places = [...new Set(links.filter((link) => link !== null))];
  const linked = pack(links.map((link) => (link === null ? null : places.indexOf(link))));
  return { kind: "words", ...head, words, at, links: { places, at: linked } };
}

/** A column of numbers, rounded to `digits`; with an interval if `bounds` are given. */
export function numberColumn(
  head: ColumnHead & { readonly digits: number },
  values: readonly (number | null)[],
  bounds?: readonly ({ readonly low: number; readonly high: number } | null)[],
): NumberColumn {
  const scaled = (value: number | null): number | null =>
    value === null ? null : Math.round(value * 10 ** head.digits);
  return {
    kind: "numbers",
    ...head,
    values: pack(values.map(scaled)),
    ...(bounds?.some((bound) => bound !== null) && {
      low: pack(bounds.map((bound) => scaled(bound?.low ?? null))),
      high: pack(bounds.map((bound) => scaled(bound?.high ?? null))),
    }),
  };
}

/** A column of lists of neurons, of which the first `shown` are kept. */
export function neuronsColumn(
  head: ColumnHead & { readonly shown: number },
  lists: readonly (readonly number[])[],
): NeuronsColumn {
  const { shown, ...rest } = head;
  const first = Array.from({ length: shown }, (_, i) => pack(lists.map((list) => list.at(i) ?? null)));
  return { kind: "neurons", ...rest, first, total: pack(lists.map((list) => list.length)) };
}

/** A column that can be read at random. */
export interface OpenColumn {
  readonly head: TableColumn;
  /** What rows are ordered by; null is last in both directions. */
  readonly key: (row: number) => number | null;
  readonly cell: (row: number) => Cell;
}

export function openColumn(head: TableColumn): OpenColumn {
  switch (head.kind) {
    case "words": {
      const at = unpack(head.at);
      const { words } = head;
      const places = head.links?.places;
      const linked = head.links && unpack(head.links.at);
      return {
        head,
        key: (row) => at[row],
        cell: (row) => {
          const word = at[row];
          if (word === null) return { text: NONE };
          const link = linked?.[row] ?? null;
          return { text: words[word], ...(link !== null && { link: places![link] }) };
        },
      };
    }
    case "numbers": {
      const scale = 10 ** head.digits;
      const [values, low, high] = [head.values, head.low, head.high].map(
        (packed) => packed && unpack(packed),
      );
      const real = (value: number | null | undefined): number | null =>
        value === null || value === undefined ? null : value / scale;
      return {
        head,
        key: (row) => values![row],
        cell: (row) => {
          const text = fixed(real(values![row]), head.digits);
          if (!low || !high || low[row] === null) return { text };
          return { text, aside: interval(real(low[row]), real(high[row]), head.digits) };
        },
      };
    }
    case "neurons": {
      const first = head.first.map(unpack);
      const total = unpack(head.total);
      return {
        head,
        key: (row) => first[0]?.[row] ?? null,
        cell: (row) => {
          const shown = first.map((column) => column[row]).filter((neuron) => neuron !== null);
          const more = (total[row] ?? 0) - shown.length;
          const text = shown.join(", ") || NONE;
          return more > 0 ? { text, aside: `+${more}` } : { text };
        },
      };
    }
  }
}

/** Rows in order; equal ones stay as they were, rows without a value come last. */
export function sortRows(rows: readonly number[], { key }: OpenColumn, descending: boolean): number[] {
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return sign * (x - y);
  });
}
