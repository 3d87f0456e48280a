/** Texts from a file or from standard input, with labels and documents where the file has them. */
import type { GroupId } from "../data/activations.ts";
import type { ClassValue } from "../data/labels.ts";
import { readLabelledTexts, type LabelledTexts } from "../datasets/texts.ts";
import { EmptyDataError, FormatError, LabelError, OptionError } from "../errors.ts";
import { readStream, readTextFile } from "./read-file.ts";
import type { Session } from "./session.ts";

/** For the help of commands that read texts. */
export const TEXTS_HELP = `TEXTS is one of
  FILE.jsonl  an object per line, {"text": "…", "label": "…", "doc": "…"}; texts
              of one doc (document) stay together in splits and resamples
  FILE.txt    a text per line, without labels
  -           either from standard input: JSON Lines if it begins with "{"
`;

export interface Texts {
  readonly texts: readonly string[];
  readonly labels?: readonly ClassValue[];
  readonly docs?: readonly GroupId[];
}

/**
 * @param path a file by its ending, or `-`
 * @throws FormatError with the number of the line that is wrong
 * @throws OptionError when the ending is not known
 */
export async function readTexts(path: string, session: Session): Promise<Texts> {
  if (path === "-") {
    const text = await readStream(session.stdin, session.signal);
    return text.trimStart().startsWith("{") ? readJsonLines(text) : readLines(text);
  }
  const ending = /\.([^./\\]+)$/.exec(path)?.[1].toLowerCase();
  if (ending === "jsonl" || ending === "ndjson") {
    return readJsonLines(await readTextFile(path, session.signal));
  }
  if (ending === "txt") return readLines(await readTextFile(path, session.signal));
  throw new OptionError(
    `${path} is no kind of file that is read.`,
    "Give a .jsonl or .txt file, or - for standard input.",
  );
}

/** @throws LabelError when the texts have no labels */
export async function readTextsWithLabels(path: string, session: Session): Promise<LabelledTexts> {
  const { texts, labels, docs } = await readTexts(path, session);
  if (labels) return { texts, labels, ...(docs && { docs }) };
  throw new LabelError(
    `The texts of ${path === "-" ? "the standard input" : path} have no labels.`,
    'Give JSON Lines such as {"text": "…", "label": "…"}.',
  );
}

function readLines(content: string): Texts {
  const texts = content
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "");
  if (texts.length === 0) throw new EmptyDataError("There are no texts.", "Give one per line.");
  return { texts };
}

/** Lines have labels all of them, or none; the first one says which. */
function readJsonLines(content: string): Texts {
  const lines = content.replace(/^\uFEFF/, "").split("\n");
  const first = lines.find((line) => line.trim() !== "");
  if (first === undefined || hasLabel(first)) return readLabelledTexts(content);
  // The label is the only thing that is missing: the rest is read by the same rules.
  const { texts, docs } = readLabelledTexts(lines.map(labelled).join("\n"));
  return { texts, ...(docs && { docs }) };
}

function hasLabel(line: string): boolean {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value !== "object" || value === null || "label" in value;
  } catch {
    // The line is refused by who reads it in earnest, with its number.
    return true;
  }
}

function labelled(line: string, index: number): string {
  if (line.trim() === "") return line;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return line;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return line;
  if (!("label" in value)) return JSON.stringify({ ...value, label: "" });
  throw new FormatError(
    `Line ${index + 1} has a label, but not all lines before it do.`,
    "Label every line, or none.",
  );
}
