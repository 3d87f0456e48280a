/**
 * Datasets as JSON Lines: a header, a line per passage with its rows, and a line per feature with its labels.
 *
 * - header: `{"schema": "sparseprobe-dataset", "version": 1, "name", "category", "tokenizer", "aggregation", "passages", "rows", "report"}`
 * - passage: `{"text", "group", "tokens": [ids], "rows"}`; `rows` lists a position per row where rows are single tokens, and
 *   otherwise for each row the stretches of its positions, `[start, end, start, end, …]`, without the ends
 * - feature: `{"feature", "labels"}`: two bits per row from the lowest of each byte (0 negative, 1 positive, 3 unlabelled), in base64
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import { LabelMatrix, UNLABELLED } from "../data/labels.ts";
import { FormatError, SparseProbeError } from "../errors.ts";
import { assertRows, frozenDataset } from "./assemble-dataset.ts";
import type {
  DatasetReport,
  FeatureCategory,
  FeatureCounts,
  FeatureDataset,
  Passage,
} from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";

const SCHEMA = "sparseprobe-dataset";
const VERSION = 1;
const REMEDY = "Give a file that writeDataset or saveDataset made.";
const CATEGORIES: Readonly<Record<FeatureCategory, true>> = {
  "part-of-speech": true,
  dependencies: true,
  morphology: true,
  "code-language": true,
  "natural-language": true,
  "data-subset": true,
  "text-features": true,
  "compound-words": true,
  latex: true,
  facts: true,
  own: true,
};

/**
 * The lines of a dataset's file, each with its line break. `readDataset` makes an equal dataset of them.
 *
 * @example
 * const file = [...writeDataset(dataset)].join("");
 */
export function* writeDataset(dataset: FeatureDataset): Generator<string> {
  const { name, category, tokenizer, aggregation, passages, rows, labels, report } = dataset;
  const { passage, positions, offsets } = rows;
  const header = {
    schema: SCHEMA,
    version: VERSION,
    name,
    category,
    tokenizer,
    aggregation,
    passages: passages.length,
    rows: passage.length,
    report,
  };
  yield `${JSON.stringify(header)}\n`;
  let row = 0;
  for (const [p, { text, group, tokens }] of passages.entries()) {
    const own: (number | number[])[] = [];
    for (; row < passage.length && passage[row] === p; row++) {
      const list = positions.subarray(offsets[row], offsets[row + 1]);
      own.push(aggregation === "token" ? list[0] : stretches(list));
    }
    yield `${JSON.stringify({ text, group, tokens: Array.from(tokens), rows: own })}\n`;
  }
  for (const [f, feature] of labels.features.entries()) {
    yield `${JSON.stringify({ feature, labels: packLabels(labels.of(f)) })}\n`;
  }
}

/**
 * Reads what `writeDataset` wrote.
 *
 * @returns the same dataset, frozen
 * @throws FormatError with the line number when the text is damaged, cut off or something else, or of a later version
 */
export async function readDataset(
  text: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<FeatureDataset> {
  if (typeof text !== "string") {
    throw new FormatError("This is not text.", 'Decode the bytes first: readFileSync(path, "utf8").');
  }
  const pacer = new Pacer(options.signal);
  const lines = new Lines(text);
  const header = readHeader(lines);
  const { aggregation } = header;
  const single = aggregation === "token";
  const passages: Passage[] = [];
  const passageOfRow = new GrowingArray();
  const positions = new GrowingArray();
  const ends = new GrowingArray();
  while (passages.length < header.passages) {
    const line = lines.next();
    passages.push(readPassage(line));
    const { rows } = line.value;
    if (!Array.isArray(rows)) throw line.wrong("has no list of rows");
    for (const row of rows as unknown[]) {
      if (single) positions.push(line.whole(row, "a row"));
      else readStretches(line, row, passages.at(-1)!.tokens.length, positions);
      passageOfRow.push(passages.length - 1);
      ends.push(positions.length);
    }
    if (pacer.due) await pacer.turn();
  }
  const count = passageOfRow.length;
  if (count !== header.rows) {
    throw new FormatError(`The header says ${header.rows} rows; the passages have ${count}.`, REMEDY);
  }
  const features = header.report.features.map(({ feature }) => feature);
  const values = new Uint8Array(features.length * count);
  for (const [f, feature] of features.entries()) {
    const line = lines.next();
    if (line.value["feature"] !== feature) throw line.wrong(`is not feature ${JSON.stringify(feature)}`);
    const own = unpackLabels(line, count);
    values.set(own, f * count);
    const { positives, negatives } = header.report.features[f];
    let [ones, zeros] = [0, 0];
    for (const label of own) {
      if (label === 1) ones++;
      else if (label === 0) zeros++;
    }
    if (ones !== positives || zeros !== negatives) {
      throw line.wrong(
        `has ${ones} positives and ${zeros} negatives instead of ${positives} and ${negatives}`,
      );
    }
    if (pacer.due) await pacer.turn();
  }
  lines.end();
  const offsets = new Uint32Array(count + 1);
  offsets.set(ends.values(), 1);
  const rows = { passage: passageOfRow.values().slice(), positions: positions.values().slice(), offsets };
  try {
    await assertRows(rows, passages, aggregation, pacer);
  } catch (cause) {
    if (!(cause instanceof SparseProbeError)) throw cause;
    throw new FormatError(`The rows cannot be: ${cause.message}`, REMEDY, { cause });
  }
  const { name, category, tokenizer, report } = header;
  return frozenDataset({
    name,
    category,
    tokenizer,
    aggregation,
    passages,
    rows,
    labels: new LabelMatrix(Object.freeze(features), count, values),
    report,
  });
}

/** Rising numbers as stretches: `[3, 4, 5, 9]` is `[3, 6, 9, 10]`. */
function stretches(positions: Uint32Array): number[] {
  const out: number[] = [];
  for (const position of positions) {
    if (out.at(-1) === position) out[out.length - 1]++;
    else out.push(position, position + 1);
  }
  return out;
}

function readStretches(line: Line, row: unknown, length: number, positions: GrowingArray): void {
  if (!Array.isArray(row) || row.length === 0 || row.length % 2 !== 0) {
    throw line.wrong("has a row that is no list of stretches");
  }
  let last = -1;
  for (let i = 0; i < row.length; i += 2) {
    const start = line.whole(row[i], "a row's stretch");
    const end = line.whole(row[i + 1], "a row's stretch");
    if (start <= last || end <= start || end > length) {
      throw line.wrong(`has the stretch [${start}, ${end}), which is out of order or beyond the tokens`);
    }
    for (let position = start; position < end; position++) positions.push(position);
    last = end;
  }
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/** Value of a character code in base64; 255 for none. */
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = BASE64.indexOf(String.fromCharCode(code));
  return value < 0 ? 255 : value;
});

function packLabels(labels: Uint8Array): string {
  const bytes = new Uint8Array(Math.ceil(labels.length / 4));
  for (const [i, label] of labels.entries()) bytes[i >> 2] |= (label & 3) << (2 * (i & 3));
  let out = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const word = (bytes[at] << 16) | ((left > 1 ? bytes[at + 1] : 0) << 8) | (left > 2 ? bytes[at + 2] : 0);
    out += BASE64[word >> 18] + BASE64[(word >> 12) & 63];
    out += left > 1 ? BASE64[(word >> 6) & 63] : "=";
    out += left > 2 ? BASE64[word & 63] : "=";
  }
  return out;
}

function unpackLabels(line: Line, count: number): Uint8Array {
  const { labels: text } = line.value;
  const bytes = Math.ceil(count / 4);
  if (typeof text !== "string" || text.length !== 4 * Math.ceil(bytes / 3)) {
    throw line.wrong(`does not have base64 of the labels of ${count} rows`);
  }
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const bit = 2 * (i & 3);
    const byte = i >> 2;
    // Byte b lies in the digits 4⌊b/3⌋ + b mod 3 and the one after.
    const digit = 4 * Math.floor(byte / 3) + (byte % 3);
    const high = DIGITS[text.charCodeAt(digit)] ?? 255;
    const low = DIGITS[text.charCodeAt(digit + 1)] ?? 255;
    const shift = 2 * (byte % 3);
    const value = ((high << (2 + shift)) & 255) | (low >> (4 - shift));
    const label = (value >> bit) & 3;
    if (high === 255 || low === 255 || label === 2) throw line.wrong(`has no label for row ${i}`);
    labels[i] = label === 3 ? UNLABELLED : label;
  }
  return labels;
}

/** One line, parsed. */
class Line {
  readonly value: Readonly<Record<string, unknown>>;
  readonly number: number;

  constructor(text: string, number: number) {
    this.number = number;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new FormatError(`Line ${number} is not JSON.`, REMEDY, { cause });
    }
    if (!isRecord(value)) throw this.wrong("is not a JSON object");
    this.value = value;
  }

  wrong(problem: string): FormatError {
    return new FormatError(`Line ${this.number} ${problem}.`, REMEDY);
  }

  whole(value: unknown, what: string): number {
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32)
      return value as number;
    throw this.wrong(`has ${what} that is no whole number from 0 to 2^32 - 1`);
  }

  /** A count, which may be larger than what fits in 32 bits. */
  count(value: unknown, what: string): number {
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw this.wrong(`has ${what} that is no whole number`);
  }

  text(value: unknown, what: string): string {
    if (typeof value === "string" && value !== "") return value;
    throw this.wrong(`has no ${what}`);
  }
}

class Lines {
  readonly #text: string;
  #at = 0;
  #number = 0;

  constructor(text: string) {
    this.#text = text;
  }

  next(): Line {
    const end = this.#text.indexOf("\n", this.#at);
    if (end < 0) {
      throw new FormatError(`The file ends in line ${this.#number + 1}; it should go on.`, REMEDY);
    }
    const line = new Line(this.#text.slice(this.#at, end), ++this.#number);
    this.#at = end + 1;
    return line;
  }

  end(): void {
    if (this.#at < this.#text.length) {
      throw new FormatError(`The file goes on after its last line, ${this.#number}.`, REMEDY);
    }
  }
}

interface Header {
  readonly name: string;
  readonly category: FeatureCategory;
  readonly tokenizer: string;
  readonly aggregation: FeatureDataset["aggregation"];
  readonly passages: number;
  readonly rows: number;
  readonly report: DatasetReport;
}

function readHeader(lines: Lines): Header {
  const line = lines.next();
  const { schema, version, name, category, tokenizer, aggregation, passages, rows, report } = line.value;
  if (schema !== SCHEMA) throw line.wrong(`does not say "schema": "${SCHEMA}"`);
  if (version !== VERSION) {
    throw new FormatError(
      `The file has version ${JSON.stringify(version)}; this program reads version ${VERSION}.`,
      "Update sparseprobe, or build the dataset again.",
    );
  }
  const known = category as FeatureCategory;
  if (typeof category !== "string" || !Object.hasOwn(CATEGORIES, category)) {
    throw line.wrong("has an unknown category");
  }
  const aggregations = ["token", "mean", "max", "last"] as const;
  const found = aggregations.find((one) => one === aggregation);
  if (!found) throw line.wrong("has an unknown aggregation");
  return {
    name: line.text(name, "name"),
    category: known,
    tokenizer: line.text(tokenizer, "tokenizer"),
    aggregation: found,
    passages: line.count(passages, "a number of passages"),
    rows: line.count(rows, "a number of rows"),
    report: readReport(line, report),
  };
}

function readReport(line: Line, report: unknown): DatasetReport {
  if (!isRecord(report)) throw line.wrong("has no report");
  const { features, dropped, missing } = report;
  if (!Array.isArray(features) || features.length === 0 || !Array.isArray(missing) || !isRecord(dropped)) {
    throw line.wrong("has an incomplete report");
  }
  const counts = (features as unknown[]).map((entry): FeatureCounts => {
    if (!isRecord(entry) || !isRecord(entry["offered"])) throw line.wrong("has a feature without counts");
    const { feature, positives, negatives, offered } = entry;
    return {
      feature: line.text(feature, "name of a feature"),
      positives: line.count(positives, "a count"),
      negatives: line.count(negatives, "a count"),
      offered: {
        positives: line.count((offered as Record<string, unknown>)["positives"], "a count"),
        negatives: line.count((offered as Record<string, unknown>)["negatives"], "a count"),
      },
    };
  });
  if (new Set(counts.map(({ feature }) => feature)).size !== counts.length) {
    throw line.wrong("names a feature twice");
  }
  for (const count of Object.values(dropped)) line.count(count, "a number of dropped rows");
  return {
    features: counts,
    dropped: dropped as DatasetReport["dropped"],
    missing: (missing as unknown[]).map((entry) => {
      if (!isRecord(entry)) throw line.wrong("has a missing feature without a name");
      return {
        feature: line.text(entry["feature"], "name of a missing feature"),
        reason: line.text(entry["reason"], "reason of a missing feature"),
      };
    }),
  };
}

function readPassage(line: Line): Passage {
  const { text, group, tokens } = line.value;
  if (typeof text !== "string") throw line.wrong("has no text");
  if (typeof group !== "string" && !Number.isFinite(group)) throw line.wrong("has no group");
  if (!Array.isArray(tokens) || tokens.length === 0) throw line.wrong("has no tokens");
  return {
    tokens: Uint32Array.from(tokens as unknown[], (token) => line.whole(token, "a token")),
    text,
    group: group as Passage["group"],
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
