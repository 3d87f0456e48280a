/** Comma-separated values as RFC 4180 has them. */
import { FormatError } from "../errors.ts";

export interface CsvTable {
  readonly header: readonly string[];
  readonly rows: readonly CsvRow[];
}

export interface CsvRow {
  /** Line of the file that the row begins in, from 1. */
  readonly line: number;
  /** As many as the header has. */
  readonly fields: readonly string[];
}

const REMEDY = 'Write fields that hold commas, quotes or line breaks as "…", and each quote inside as "".';

/**
 * Reads a table with a header line. Fields are separated by commas, lines end in LF or CRLF; a field in double quotes may hold
 * both, and a quote written twice. A byte order mark and empty lines are passed over; white space counts.
 *
 * @throws FormatError naming the line: a quote in the wrong place or never closed, another number of fields than the header
 * has, a column named twice or not at all, or no header
 */
export function readCsv(text: string): CsvTable {
  if (typeof text !== "string") {
    throw new FormatError("This is not text.", 'Decode the bytes first: readFileSync(path, "utf8").');
  }
  const [first, ...rows] = records(text.startsWith("\uFEFF") ? text.slice(1) : text);
  const header = (first as CsvRow | undefined)?.fields;
  if (!header) throw new FormatError("The file is empty.", "Begin with a line that names the columns.");
  for (const [column, name] of header.entries()) {
    if (name.trim() === "") {
      throw new FormatError(`Line ${first.line}: column ${column + 1} has no name.`, "Name every column.");
    }
    if (header.indexOf(name) !== column) {
      throw new FormatError(`Line ${first.line}: two columns are named "${name}".`, "Name each column once.");
    }
  }
  for (const { line, fields } of rows) {
    if (fields.length === header.length) continue;
    throw new FormatError(
      `Line ${line} has ${fields.length} ${fields.length === 1 ? "field" : "fields"} under ${header.length} columns.`,
      REMEDY,
    );
  }
  return { header, rows };
}

function* records(text: string): Generator<CsvRow> {
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const fields: string[] = [];
    const firstLine = line;
    for (let more = true; more;) {
      let field: string;
      if (text[at] === '"') {
        const quoted = quotedField(text, at, line);
        [field, at] = [quoted.field, quoted.end];
        line += quoted.breaks;
      } else {
        const end = fieldEnd(text, at);
        field = text.slice(at, end);
        at = end;
        if (field.includes('"')) {
          throw new FormatError(
            `Line ${line}: a quote stands inside a field that does not begin with one.`,
            REMEDY,
          );
        }
      }
      fields.push(field);
      more = text[at] === ",";
      if (more) at++;
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    if (at < text.length && text[at] !== "\n") {
      throw new FormatError(
        `Line ${line}: something other than a comma or a line break follows a field.`,
        REMEDY,
      );
    }
    at++;
    line++;
    if (fields.length > 1 || fields[0] !== "") yield { line: firstLine, fields };
  }
}

/** Where a field without quotes ends: at a comma, a line break or the end. */
function fieldEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && text[end] !== "," && text[end] !== "\n") end++;
  return text[end] === "\n" && end > start && text[end - 1] === "\r" ? end - 1 : end;
}

function quotedField(
  text: string,
  start: number,
  line: number,
): { field: string; end: number; breaks: number } {
  const parts: string[] = [];
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw new FormatError(`Line ${line}: a quote is never closed.`, REMEDY);
    parts.push(text.slice(from, quote));
    if (text[quote + 1] !== '"') {
      const field = parts.join('"');
      return { field, end: quote + 1, breaks: field.split("\n").length - 1 };
    }
    from = quote + 2;
  }
}
