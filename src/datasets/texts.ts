/** Labelled texts from JSON Lines. */
import type { ClassValue } from "../data/labels.ts";
import type { GroupId } from "../data/activations.ts";
import { EmptyDataError, FormatError } from "../errors.ts";

/** Texts with one class each. */
export interface LabelledTexts {
  readonly texts: readonly string[];
  readonly labels: readonly ClassValue[];
  /** Document of each text, where the file names them: texts of one document belong on one side of a split. */
  readonly docs?: readonly GroupId[];
}

/**
 * Reads one JSON object per line, `{"text": string, "label": string | number | boolean, "doc"?: string | number}`.
 * Empty lines are skipped, other fields ignored.
 *
 * @throws FormatError when it is not a string, or with the line number when a line is not such an object, or only some lines have a `doc`
 * @throws EmptyDataError when there are no lines
 */
export function readLabelledTexts(jsonLines: string): LabelledTexts {
  if (typeof jsonLines !== "string") {
    throw new FormatError("This is not text.", 'Decode the bytes first: readFileSync(path, "utf8").');
  }
  const texts: string[] = [];
  const labels: ClassValue[] = [];
  const docs: GroupId[] = [];
  for (const [index, line] of jsonLines
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (line.trim() === "") continue;
    const entry = parseLine(line, index + 1);
    texts.push(entry.text);
    labels.push(entry.label);
    if (entry.doc !== undefined) docs.push(entry.doc);
    if (docs.length !== 0 && docs.length !== texts.length) {
      throw new FormatError(
        `Line ${index + 1} ${entry.doc === undefined ? "has no doc, and" : "has a doc, but not all"} lines before it ` +
          `${entry.doc === undefined ? "have one" : "do"}.`,
        "Name the document of every line, or of none.",
      );
    }
  }
  if (texts.length === 0)
    throw new EmptyDataError("The file has no lines.", "Give one JSON object per line.");
  return { texts, labels, ...(docs.length > 0 && { docs }) };
}

function parseLine(line: string, number: number): { text: string; label: ClassValue; doc?: GroupId } {
  const remedy = 'Write {"text": "…", "label": "…", "doc": "…"} on each line; doc is optional.';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new FormatError(`Line ${number} is not JSON.`, remedy, { cause });
  }
  if (typeof value !== "object" || value === null) {
    throw new FormatError(`Line ${number} is not a JSON object.`, remedy);
  }
  const { text, label, doc } = value as Record<string, unknown>;
  if (typeof text !== "string" || text === "") {
    throw new FormatError(`Line ${number} has no text.`, remedy);
  }
  if (typeof label !== "string" && typeof label !== "boolean" && !Number.isFinite(label)) {
    throw new FormatError(`Line ${number} has no label.`, remedy);
  }
  if (doc !== undefined && typeof doc !== "string" && !Number.isFinite(doc)) {
    throw new FormatError(`The doc of line ${number} is neither text nor a number.`, remedy);
  }
  return { text, label: label as ClassValue, ...(doc !== undefined && { doc: doc as GroupId }) };
}
