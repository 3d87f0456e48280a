/** Names with facts, and where texts hold them. */
import type { Pacer } from "../backends/cpu/pacer.ts";
import { EmptyDataError, FormatError } from "../errors.ts";
import { readCsv } from "./csv.ts";

/** Somebody with a name, and what is known of them. */
export interface Person {
  readonly name: string;
  /** The end of the name that stands for the person. Default: its last word, without Jr, Sr, II, III, IV. */
  readonly surname?: string | undefined;
  /** By column, e.g. `{ occupation: "athlete" }`; what is not known is left out. */
  readonly facts: Readonly<Record<string, string>>;
}

/**
 * Reads people from CSV (RFC 4180): a column `name`, perhaps a column `surname`, and a column for every kind of fact. An empty field
 * is a fact that is not known. White space around fields is left out.
 *
 * @throws FormatError naming the line: what `readCsv` throws, no column `name`, no column of facts, no name on a line, or a surname that
 * the name does not end in
 * @throws EmptyDataError when there are no people
 */
export function readPeople(csv: string): Person[] {
  const { header, rows } = readCsv(csv);
  const columns = header.map((column) => column.trim());
  const name = columns.indexOf("name");
  const surname = columns.indexOf("surname");
  if (name < 0 || columns.length < (surname < 0 ? 2 : 3)) {
    throw new FormatError(
      `The columns are ${columns.map((column) => JSON.stringify(column)).join(", ")}.`,
      'Give one that is named "name", and at least one of facts, such as "occupation".',
    );
  }
  if (rows.length === 0) throw new EmptyDataError("The file has no people.", "Give one line per person.");
  return rows.map(({ line, fields }) => {
    const values = fields.map((field) => field.trim());
    const person: Person = {
      name: values[name],
      ...(surname >= 0 && values[surname] !== "" && { surname: values[surname] }),
      facts: Object.fromEntries(
        columns
          .map((column, c) => [column, values[c]] as const)
          .filter(([, value], c) => c !== name && c !== surname && value !== ""),
      ),
    };
    if (person.name === "")
      throw new FormatError(`Line ${line} has no name.`, "Give one, or leave the line out.");
    if (surnameStart(person) === undefined) {
      throw new FormatError(
        `Line ${line}: the name "${person.name}" does not end in the words of the surname "${person.surname}".`,
        "Write the surname as the name has it, or leave it empty for the last word.",
      );
    }
    return person;
  });
}

/**
 * Number of pieces of the name (words and other characters, white space as one) before the surname; undefined when the name
 * does not end in it.
 */
export function surnameStart({ name, surname }: Person): number | undefined {
  const pieces = piecesOf(name);
  if (surname !== undefined) {
    const last = piecesOf(surname);
    const start = pieces.length - last.length;
    return last.length > 0 && last.every((piece, i) => piece === pieces[start + i]) ? start : undefined;
  }
  const isWord = (piece: string): boolean => /^[\p{L}\p{M}\p{N}]/u.test(piece);
  const words = [...pieces.keys()].filter((i) => isWord(pieces[i]));
  while (words.length > 1 && /^(?:Jr|Sr|II|III|IV)$/.test(pieces[words.at(-1)!])) words.pop();
  let start = words.at(-1);
  // "Smith-Jones" and "O'Hara" are one word to a reader.
  while (
    start !== undefined &&
    start >= 2 &&
    /^[-'’\u2010\u2011]$/.test(pieces[start - 1]) &&
    isWord(pieces[start - 2])
  ) {
    start -= 2;
  }
  return start;
}

/** A name in a text. */
export interface Mention {
  /** Index of the name. */
  readonly name: number;
  /** UTF-16 index of the surname's first character. */
  readonly surname: number;
  readonly end: number;
}

const PIECES = /[\p{L}\p{M}\p{N}]+|\s+|[^\p{L}\p{M}\p{N}\s]/gu;

function piecesOf(text: string): string[] {
  return Array.from(text.trim().matchAll(PIECES), ([piece]) => normalised(piece));
}

/** White space is one space, letters are composed. */
function normalised(piece: string): string {
  return /^\s/.test(piece) ? " " : piece.normalize("NFC");
}

/** A name as texts may spell it: the same pieces. */
export function nameKey(name: string): string {
  return piecesOf(name).join("");
}

interface Branch {
  readonly next: Map<string, Branch>;
  /** The name that ends here, if any. */
  name: number | undefined;
}

/**
 * Finds many names in one pass. A name is found where its words stand whole, in its own capitals, with any white space between;
 * of names that begin at one word the longest, and none inside another. The work grows with the text and the length of names, not with
 * their number.
 */
export class NameFinder {
  readonly #root: Branch = { next: new Map(), name: undefined };
  readonly #surnames: number[] = [];

  /** @param people whose names differ */
  constructor(people: readonly Person[]) {
    for (const [p, person] of people.entries()) {
      let branch = this.#root;
      for (const piece of piecesOf(person.name)) {
        let next = branch.next.get(piece);
        if (!next) branch.next.set(piece, (next = { next: new Map(), name: undefined }));
        branch = next;
      }
      branch.name = p;
      this.#surnames.push(surnameStart(person) ?? 0);
    }
  }

  async find(text: string, pacer: Pacer): Promise<Mention[]> {
    const found: Mention[] = [];
    // Names that a walk may still turn into: a queue of pieces, from the one that the walk began at.
    const pieces: { readonly key: string; readonly start: number; readonly end: number }[] = [];
    const source = text.matchAll(PIECES);
    const piece = (i: number): (typeof pieces)[number] | undefined => {
      while (pieces.length <= i) {
        const { done, value } = source.next();
        if (done) return undefined;
        const start = value.index;
        pieces.push({ key: normalised(value[0]), start, end: start + value[0].length });
      }
      return pieces[i];
    };
    let from = 0;
    let read = 0;
    for (let first = piece(from); first; first = piece(from)) {
      if (++read % 1024 === 0 && pacer.due) await pacer.turn();
      let length = 0;
      let branch = this.#root.next.get(first.key);
      let name: number | undefined;
      for (let i = from; branch;) {
        i++;
        if (branch.name !== undefined) [name, length] = [branch.name, i - from];
        const next = piece(i);
        branch = next && branch.next.get(next.key);
      }
      if (name !== undefined) {
        const surname = piece(from + this.#surnames[name])!.start;
        found.push({ name, surname, end: piece(from + length - 1)!.end });
      }
      from += Math.max(1, length);
      if (from > 4096) {
        pieces.splice(0, from);
        from = 0;
      }
    }
    return found;
  }
}
