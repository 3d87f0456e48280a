/**
 * CoNLL-U, the format of Universal Dependencies treebanks (https://universaldependencies.org/format.html), with the place of
 * every word in its sentence's text.
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import { EmptyDataError, FormatError } from "../errors.ts";

/** The 17 universal part-of-speech tags. */
export const UNIVERSAL_TAGS = [
  "ADJ",
  "ADP",
  "ADV",
  "AUX",
  "CCONJ",
  "DET",
  "INTJ",
  "NOUN",
  "NUM",
  "PART",
  "PRON",
  "PROPN",
  "PUNCT",
  "SCONJ",
  "SYM",
  "VERB",
  "X",
] as const;

/** One syntactic word. Columns that are `_` are null, of FEATS an empty object. */
export interface ConlluWord {
  /** Number in the sentence, from 1. */
  readonly id: number;
  readonly form: string;
  readonly lemma: string | null;
  readonly upos: string | null;
  readonly xpos: string | null;
  /** Values by attribute, e.g. `{ PronType: ["Int", "Rel"] }`. Words with the same FEATS share the object. */
  readonly feats: Readonly<Record<string, readonly string[]>>;
  /** Number of the head, 0 for the root. */
  readonly head: number | null;
  /** Relation to the head with its subtype, e.g. `acl:relcl`. */
  readonly deprel: string | null;
  /**
   * UTF-16 indices of the word in its sentence's text. The words of a multiword token have their own places where they spell
   * it one after the other (`do` + `n't`), and all have the place of the whole token where they do not (`de` + `el`: `del`).
   */
  readonly start: number;
  readonly end: number;
}

/** One sentence. Empty nodes (3.1) have no place in the text: they are checked and left out. */
export interface ConlluSentence {
  /** `# sent_id`. */
  readonly id: string | null;
  readonly text: string;
  /** What lies between this sentence and the next of its document: a space, or nothing (SpaceAfter=No). */
  readonly separator: "" | " ";
  /** Whether a document or paragraph begins here. */
  readonly newDocument: boolean;
  readonly newParagraph: boolean;
  /** `# newdoc id`, or the number of the document in the file where it has none; null when the file names no documents. */
  readonly document: string | number | null;
  readonly words: readonly ConlluWord[];
  /** Line of the file where it begins, from 1. */
  readonly line: number;
}

const REMEDY = "See https://universaldependencies.org/format.html.";

/**
 * Reads a CoNLL-U file, strictly.
 *
 * The text of a sentence is `# text` where there is one, which the words must spell with one stretch of white space where a word
 * may be followed by it and none after `SpaceAfter=No`; or the words themselves with single spaces.
 *
 * @throws FormatError with the line number for anything that is not CoNLL-U
 * @throws EmptyDataError when there are no sentences
 */
export async function readConllu(
  text: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<readonly ConlluSentence[]> {
  const pacer = new Pacer(options.signal);
  const sentences: ConlluSentence[] = [];
  for (const sentence of conlluSentences(text)) {
    sentences.push(sentence);
    if (pacer.due) await pacer.turn();
  }
  if (sentences.length === 0) throw new EmptyDataError("There are no sentences.", "Give a CoNLL-U file.");
  return sentences;
}

/** {@link readConllu}, sentence by sentence. */
export function* conlluSentences(file: string): Generator<ConlluSentence> {
  if (typeof file !== "string") {
    throw new FormatError("This is not text.", 'Decode the bytes first: readFileSync(path, "utf8").');
  }
  const reader = new SentenceReader();
  let number = 0;
  for (let at = file.startsWith("\uFEFF") ? 1 : 0; at < file.length;) {
    const newline = file.indexOf("\n", at);
    let end = newline < 0 ? file.length : newline;
    const next = end + 1;
    if (end > at && file.charCodeAt(end - 1) === 0x0d) end--;
    const sentence = reader.line(file.slice(at, end), ++number);
    if (sentence) yield sentence;
    at = next;
  }
  const last = reader.end(number + 1);
  if (last) yield last;
}

/** A word or multiword token as it stands in the text. */
interface Surface {
  readonly form: string;
  readonly spaceAfter: boolean;
  readonly line: number;
  /** Words that it covers. */
  readonly first: number;
  readonly last: number;
}

interface Columns extends Omit<ConlluWord, "start" | "end"> {
  readonly line: number;
}

class SentenceReader {
  #comments = new Map<string, string>();
  #surfaces: Surface[] = [];
  #words: Columns[] = [];
  #emptyNodes = 0;
  #firstLine = 0;
  #documents = 0;
  #document: string | number | null = null;
  /** Columns repeat: one copy of each. */
  readonly #known = new Map<string, string>();
  readonly #feats = new Map<string, ConlluWord["feats"]>([["_", Object.freeze({})]]);

  line(line: string, number: number): ConlluSentence | undefined {
    if (line === "") return this.end(number);
    this.#firstLine ||= number;
    if (line.startsWith("#")) {
      if (this.#surfaces.length > 0 || this.#words.length > 0 || this.#emptyNodes > 0) {
        throw new FormatError(`Line ${number} is a comment inside a sentence.`, REMEDY);
      }
      const equals = line.indexOf("=");
      const key = line.slice(1, equals < 0 ? undefined : equals).trim();
      const value = equals < 0 ? "" : line.slice(equals + 1);
      // The text may have any other spaces.
      this.#comments.set(key, key === "text" ? value.replace(/^ /, "") : value.trim());
      return undefined;
    }
    const columns = line.split("\t");
    if (columns.length !== 10) {
      throw new FormatError(`Line ${number} has ${columns.length} columns instead of 10.`, REMEDY);
    }
    for (const [c, column] of columns.entries()) {
      if (column === "" || column.startsWith(" ") || column.endsWith(" ")) {
        throw new FormatError(
          `Column ${c + 1} of line ${number} is empty, or begins or ends with a space.`,
          "Write _ for nothing.",
        );
      }
    }
    const [id] = columns;
    if (/^[1-9]\d*$/.test(id)) this.#word(columns, Number(id), number);
    else if (/^[1-9]\d*-[1-9]\d*$/.test(id)) this.#multiword(columns, number);
    else if (/^\d+\.[1-9]\d*$/.test(id)) this.#emptyNode(id, number);
    else {
      throw new FormatError(
        `The ID of line ${number} is ${JSON.stringify(id)}.`,
        "IDs are 1, 2, …; 1-2 for multiword tokens; 1.1 for empty nodes.",
      );
    }
    return undefined;
  }

  /** The sentence that ends before this line, if there is one. */
  end(number: number): ConlluSentence | undefined {
    const words = this.#words;
    const surfaces = this.#surfaces;
    const comments = this.#comments;
    const line = this.#firstLine;
    if (line === 0) return undefined;
    if (words.length === 0) {
      throw new FormatError(`The sentence before line ${number} has no words.`, REMEDY);
    }
    const covered = surfaces.at(-1)!;
    if (covered.last > words.length) {
      throw new FormatError(
        `The multiword token of line ${covered.line} ends with word ${covered.last}, but there are ${words.length}.`,
        REMEDY,
      );
    }
    for (const { head, id, line: own } of words) {
      if (head !== null && (head > words.length || head === id)) {
        throw new FormatError(
          `The HEAD of line ${own} is ${head}.`,
          `Give another word's number, up to ${words.length}, or 0.`,
        );
      }
    }
    const newDocument = comments.has("newdoc") || comments.has("newdoc id");
    if (newDocument) {
      this.#documents++;
      this.#document = comments.get("newdoc id") || this.#documents;
    }
    const [text, placed] = place(surfaces, words, comments.get("text"));
    const sentence: ConlluSentence = {
      id: comments.get("sent_id") ?? null,
      text,
      separator: covered.spaceAfter ? " " : "",
      newDocument,
      newParagraph: comments.has("newpar") || comments.has("newpar id"),
      document: this.#document,
      words: placed,
      line,
    };
    this.#comments = new Map();
    this.#surfaces = [];
    this.#words = [];
    this.#emptyNodes = 0;
    this.#firstLine = 0;
    return sentence;
  }

  #word(columns: readonly string[], id: number, line: number): void {
    if (id !== this.#words.length + 1) {
      throw new FormatError(
        `Line ${line} is word ${id} after word ${this.#words.length}.`,
        "Number words from 1.",
      );
    }
    const upos = this.#column(columns[3]);
    if (upos !== null && !(UNIVERSAL_TAGS as readonly string[]).includes(upos)) {
      throw new FormatError(
        `The UPOS of line ${line} is ${JSON.stringify(upos)}.`,
        `Use ${UNIVERSAL_TAGS.join(" ")}.`,
      );
    }
    const head = columns[6];
    if (head !== "_" && !/^(?:0|[1-9]\d*)$/.test(head)) {
      throw new FormatError(
        `The HEAD of line ${line} is ${JSON.stringify(head)}.`,
        "Give a word's number, 0 or _.",
      );
    }
    const deprel = this.#column(columns[7]);
    if (deprel !== null && !/^[a-z]+(?::[\p{Ll}_]+)*$/u.test(deprel)) {
      throw new FormatError(
        `The DEPREL of line ${line} is ${JSON.stringify(deprel)}.`,
        "Relations are written as nsubj or nsubj:pass.",
      );
    }
    this.#words.push({
      id,
      form: this.#copy(columns[1]),
      lemma: this.#column(columns[2]),
      upos,
      xpos: this.#column(columns[4]),
      feats: this.#features(columns[5], line),
      head: head === "_" ? null : Number(head),
      deprel,
      line,
    });
    this.#emptyNodes = 0;
    const before = this.#surfaces.at(-1);
    if (before && before.last >= id) return;
    const { form } = this.#words[id - 1];
    this.#surfaces.push({ form, spaceAfter: spaceAfter(columns[9]), line, first: id, last: id });
  }

  #multiword(columns: readonly string[], line: number): void {
    const [first, last] = columns[0].split("-").map(Number);
    if (first !== this.#words.length + 1 || last <= first || (this.#surfaces.at(-1)?.last ?? 0) >= first) {
      throw new FormatError(
        `The multiword token ${columns[0]} of line ${line} does not begin with the next word, or overlaps another.`,
        REMEDY,
      );
    }
    this.#surfaces.push({ form: columns[1], spaceAfter: spaceAfter(columns[9]), line, first, last });
  }

  #emptyNode(id: string, line: number): void {
    const [after, number] = id.split(".").map(Number);
    if (after !== this.#words.length || number !== this.#emptyNodes + 1) {
      throw new FormatError(`The empty node ${id} of line ${line} is out of order.`, REMEDY);
    }
    this.#emptyNodes = number;
  }

  #column(column: string): string | null {
    return column === "_" ? null : this.#copy(column);
  }

  #copy(column: string): string {
    const known = this.#known.get(column);
    if (known !== undefined) return known;
    this.#known.set(column, column);
    return column;
  }

  #features(column: string, line: number): ConlluWord["feats"] {
    let feats = this.#feats.get(column);
    if (feats) return feats;
    const parsed: Record<string, readonly string[]> = {};
    for (const pair of column.split("|")) {
      const match =
        /^([A-Z][A-Za-z0-9]*(?:\[[a-z0-9]+\])?)=([A-Z0-9][A-Za-z0-9]*(?:,[A-Z0-9][A-Za-z0-9]*)*)$/.exec(pair);
      if (!match || match[1] in parsed) {
        throw new FormatError(
          `The FEATS of line ${line} have ${JSON.stringify(pair)}${match ? " twice" : ""}.`,
          "Write them as Case=Nom|Number=Plur.",
        );
      }
      parsed[match[1]] = Object.freeze(match[2].split(","));
    }
    this.#feats.set(column, (feats = Object.freeze(parsed)));
    return feats;
  }
}

function spaceAfter(misc: string): boolean {
  return !(misc.includes("SpaceAfter=No") && misc.split("|").includes("SpaceAfter=No"));
}

/** A sentence's text and its words with their places. */
function place(
  surfaces: readonly Surface[],
  words: readonly Columns[],
  given: string | undefined,
): [text: string, words: ConlluWord[]] {
  const text =
    given ??
    surfaces
      .map(({ form, spaceAfter: space }, i) => (space && i < surfaces.length - 1 ? `${form} ` : form))
      .join("");
  const placed: ConlluWord[] = [];
  let at = 0;
  for (const [i, { form, spaceAfter: space, line, first, last }] of surfaces.entries()) {
    if (!text.startsWith(form, at)) {
      throw new FormatError(
        `# text does not have ${JSON.stringify(form)} of line ${line} at its character ${at + 1}.`,
        "The words and their SpaceAfter=No must spell # text.",
      );
    }
    const end = at + form.length;
    const inside = words.slice(first - 1, last);
    const spelt = inside.reduce((all, word) => all + word.form, "") === form;
    let start = at;
    for (const { id, form: spelling, lemma, upos, xpos, feats, head, deprel } of inside) {
      const own = spelt ? { start, end: start + spelling.length } : { start: at, end };
      placed.push({ id, form: spelling, lemma, upos, xpos, feats, head, deprel, ...own });
      start = own.end;
    }
    at = end;
    if (i === surfaces.length - 1) break;
    if (space) while (at < text.length && /\s/.test(text[at])) at++;
    if (space && at === end) {
      throw new FormatError(
        `# text has no space after ${JSON.stringify(form)} of line ${line}.`,
        "Mark the word with SpaceAfter=No, or mend # text.",
      );
    }
  }
  if (text.slice(at).trim() !== "") {
    throw new FormatError(
      `# text goes on with ${JSON.stringify(text.slice(at, at + 20))} after the word of line ${surfaces.at(-1)!.line}.`,
      "The words and their SpaceAfter=No must spell # text.",
    );
  }
  return [text.slice(0, at), placed];
}
