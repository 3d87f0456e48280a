/** Labels of your own, of texts or of stretches of texts, in the form of every other dataset. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { Aggregation } from "../backends/backend.ts";
import { assertAggregation } from "../backends/row-segments.ts";
import type { GroupId } from "../data/activations.ts";
import { LabelMatrix, readLabelSets, UNLABELLED, type LabelsInput } from "../data/labels.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { LocatedTokens, Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import type { FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";
import { leadingWindows } from "./leading-windows.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { textOf } from "./text-windows.ts";

/** A stretch of a text: UTF-16 indices from `start` up to `end`, without `end`. */
export interface LabelledSpan {
  /** Index of the text. */
  readonly text: number;
  readonly start: number;
  readonly end: number;
  /** Whether the feature is there. Default true. */
  readonly label?: boolean | undefined;
}

export interface OwnLabels extends TextDatasetOptions {
  readonly texts: readonly string[];
  /**
   * Labels of whole texts: class names (a feature per class), one label per text, label sets by feature, or a `LabelMatrix`
   * over the texts, which may leave some unlabelled.
   */
  readonly labels?: LabelsInput | Readonly<Record<string, LabelsInput>> | LabelMatrix | undefined;
  /** Labels of stretches of the texts, by feature; instead of `labels`. */
  readonly spans?: Readonly<Record<string, readonly LabelledSpan[]>> | undefined;
  /** What a feature's `spans` say of everything that they do not name. Default `"negative"`. */
  readonly elsewhere?: "negative" | "unlabelled" | undefined;
  /**
   * What makes a row. `"token"`: every token. Otherwise the mean, maximum or last of a text's tokens, or with `spans` of the
   * tokens of each stretch that some feature names. Default `"mean"` for labels of texts, `"token"` for spans.
   */
  readonly aggregation?: Aggregation | undefined;
  /** Document of each text. Default: each is its own. */
  readonly docs?: readonly GroupId[] | undefined;
  /** Tokens at the start of each text that make no row. Default 0. */
  readonly skipFirst?: number | undefined;
  /** Tokens of a text that are read: what follows is left out. Default 256. */
  readonly passageTokens?: number | undefined;
}

/**
 * A dataset of your own labels.
 *
 * A token belongs to a stretch when it overlaps it. Where stretches of one feature overlap, the positive one counts. Stretches
 * without a token (cut off, skipped, or between two characters) are dropped and counted.
 *
 * @example
 * const dataset = await ownDataset(
 *   { name: "names", texts: ["Ada met Grace."], spans: { person: [{ text: 0, start: 0, end: 3 }, { text: 0, start: 8, end: 13 }] } },
 *   model.tokenizer,
 * );
 *
 * @throws EmptyDataError when there are no texts, no tokens that count, or no feature with enough rows
 * @throws OptionError when there are neither labels nor spans, or both, or an option is out of its range
 * @throws ShapeError when labels or documents do not match the texts, or a stretch lies outside its text
 * @throws LabelError | OneClassError when no label set can be read
 */
export async function ownDataset(own: OwnLabels, tokenizer: Tokenizer): Promise<FeatureDataset> {
  const {
    name = "own",
    texts,
    labels,
    spans,
    docs,
    elsewhere = "negative",
    sampling,
    signal,
    onProgress,
  } = own;
  const aggregation = own.aggregation ?? (spans ? "token" : "mean");
  assertAggregation(aggregation);
  const skipFirst = wholeNumber("skipFirst", own.skipFirst ?? 0, 0);
  const passageTokens = wholeNumber("passageTokens", own.passageTokens ?? 256, 1);
  assertTexts(texts, docs);
  if ((labels === undefined) === (spans === undefined)) {
    throw new OptionError(
      labels === undefined ? "There are neither labels nor spans." : "There are both labels and spans.",
      "Give labels of whole texts, or spans.",
    );
  }
  if (!["negative", "unlabelled"].includes(elsewhere)) {
    throw new OptionError(`elsewhere is ${JSON.stringify(elsewhere)}.`, 'Use "negative" or "unlabelled".');
  }
  const rows = new RowsOfTexts(aggregation, skipFirst);
  const labelling =
    labels === undefined ? new SpanLabels(spans!, texts, elsewhere) : textLabels(labels, texts);
  const pacer = new Pacer(signal);
  for (const [t, text] of texts.entries()) {
    if (pacer.due) await pacer.turn();
    const windows = leadingWindows(text, tokenizer, passageTokens, 1);
    const tokens = windows?.at(0);
    if (!windows) rows.dropped["texts that the tokenizer alters"]++;
    else if (!tokens) rows.dropped["texts without tokens"]++;
    else {
      if (tokens.ends[tokens.ends.length - 1] < text.length)
        rows.dropped["ends of texts longer than a passage"]++;
      const passage = { tokens: tokens.ids, text: textOf(text, tokens), group: docs ? docs[t] : t };
      labelling.addRows(t, tokens, passage, rows);
    }
    onProgress?.(t + 1, texts.length);
  }
  if (rows.count === 0) {
    throw new EmptyDataError(
      "No text has a token that counts.",
      "Give longer texts, or a smaller skipFirst.",
    );
  }
  return assembleDataset(
    {
      name,
      category: "own",
      tokenizer,
      aggregation,
      passages: rows.passages,
      candidates: rows.packed(),
      labels: labelling.labels(),
      sampling,
      missing: labelling.missing,
      dropped: counted(rows.dropped),
    },
    { signal },
  );
}

/** How rows get their labels. */
interface Labelling {
  readonly missing: readonly { readonly feature: string; readonly reason: string }[];
  /** Adds the rows of a text and notes their labels. */
  addRows(text: number, tokens: LocatedTokens, passage: Passage, rows: RowsOfTexts): void;
  labels(): Map<string, Uint8Array>;
}

/** Rows as they come in. */
class RowsOfTexts {
  readonly passages: Passage[] = [];
  readonly dropped = {
    "texts that the tokenizer alters": 0,
    "texts without tokens": 0,
    "texts without a token that counts": 0,
    "ends of texts longer than a passage": 0,
    "spans without a token that counts": 0,
  };
  readonly single: boolean;
  readonly skipFirst: number;
  readonly #passage = new GrowingArray();
  readonly #positions = new GrowingArray();
  readonly #ends = new GrowingArray();

  constructor(aggregation: Aggregation, skipFirst: number) {
    this.single = aggregation === "token";
    this.skipFirst = skipFirst;
  }

  get count(): number {
    return this.#passage.length;
  }

  /** A row of the passage added last. */
  add(start: number, end: number): void {
    for (let position = start; position < end; position++) this.#positions.push(position);
    this.#passage.push(this.passages.length - 1);
    this.#ends.push(this.#positions.length);
  }

  packed(): FeatureDataset["rows"] {
    const offsets = new Uint32Array(this.count + 1);
    offsets.set(this.#ends.values(), 1);
    return { passage: this.#passage.values(), positions: this.#positions.values(), offsets };
  }
}

function textLabels(labels: NonNullable<OwnLabels["labels"]>, texts: readonly string[]): Labelling {
  const read = labels instanceof LabelMatrix ? { labels, failures: [] } : readLabelSets(labels);
  const matrix = read.labels;
  if (matrix.features.length === 0) throw read.failures[0].error;
  if (matrix.rows !== texts.length) {
    throw new ShapeError(
      `There are ${matrix.rows} labels for ${texts.length} texts.`,
      "Give one label per text.",
    );
  }
  const textOfRow = new GrowingArray();
  return {
    missing: read.failures.map(({ feature, error }) => ({ feature, reason: error.message })),
    addRows(text, tokens, passage, rows) {
      const length = tokens.ids.length;
      if (length <= rows.skipFirst) {
        rows.dropped["texts without a token that counts"]++;
        return;
      }
      rows.passages.push(passage);
      for (let start = rows.skipFirst; start < length;) {
        const end = rows.single ? start + 1 : length;
        rows.add(start, end);
        textOfRow.push(text);
        start = end;
      }
    },
    labels: () =>
      new Map(
        matrix.features.map((feature, f) => {
          const own = matrix.of(f);
          return [feature, Uint8Array.from(textOfRow.values(), (text) => own[text])];
        }),
      ),
  };
}

interface FeatureSpan {
  readonly feature: number;
  readonly start: number;
  readonly end: number;
  readonly label: 0 | 1;
}

class SpanLabels implements Labelling {
  readonly missing = [];
  readonly #features: readonly string[];
  readonly #values: readonly GrowingArray[];
  readonly #byText = new Map<number, FeatureSpan[]>();
  readonly #elsewhere: number;

  constructor(
    spans: Readonly<Record<string, readonly LabelledSpan[]>>,
    texts: readonly string[],
    elsewhere: "negative" | "unlabelled",
  ) {
    this.#features = Object.keys(spans);
    this.#values = this.#features.map(() => new GrowingArray());
    this.#elsewhere = elsewhere === "negative" ? 0 : UNLABELLED;
    for (const [f, feature] of this.#features.entries()) {
      for (const { text, start, end, label = true } of spans[feature]) {
        const length = text in texts ? texts[text].length : -1;
        if (!(
          Number.isInteger(start) &&
          Number.isInteger(end) &&
          start >= 0 &&
          start < end &&
          end <= length
        )) {
          throw new ShapeError(
            `The span [${start}, ${end}) of text ${text} of feature "${feature}" does not exist.`,
            "Give UTF-16 indices in the text, end after start.",
          );
        }
        const own = this.#byText.get(text);
        const span = { feature: f, start, end, label: label ? 1 : 0 } as const;
        if (own) own.push(span);
        else this.#byText.set(text, [span]);
      }
    }
  }

  addRows(text: number, tokens: LocatedTokens, passage: Passage, rows: RowsOfTexts): void {
    const spans = this.#byText.get(text) ?? [];
    const length = tokens.ids.length;
    if (length <= rows.skipFirst) {
      rows.dropped["texts without a token that counts"]++;
      return;
    }
    /** Tokens of a stretch, by number. */
    const runs = spans.map(({ start, end }): [from: number, to: number] => {
      let from = rows.skipFirst;
      while (from < length && (tokens.ends[from] <= start || tokens.starts[from] === tokens.ends[from]))
        from++;
      let to = from;
      while (to < length && tokens.starts[to] < end) to++;
      return [from, to];
    });
    const empty = runs.filter(([from, to]) => from === to).length;
    rows.dropped["spans without a token that counts"] += empty;
    // Where each row begins and ends: tokens, or the stretches that some feature names.
    const places = rows.single
      ? Array.from({ length: length - rows.skipFirst }, (_, i) => [
          rows.skipFirst + i,
          rows.skipFirst + i + 1,
        ])
      : [...new Map(runs.filter(([from, to]) => to > from).map((run) => [run.join(), run])).values()].sort(
          ([a, b], [c, d]) => a - c || b - d,
        );
    if (places.length === 0) return;
    const first = rows.count;
    rows.passages.push(passage);
    for (const [from, to] of places) rows.add(from, to);
    const labels = this.#features.map(() => new Uint8Array(rows.count - first).fill(this.#elsewhere));
    const rowOf = new Map(places.map((place, r) => [place.join(), r]));
    for (const side of [0, 1] as const) {
      for (const [s, { feature, label }] of spans.entries()) {
        const [from, to] = runs[s];
        if (label !== side || from === to) continue;
        if (rows.single) labels[feature].fill(side, from - rows.skipFirst, to - rows.skipFirst);
        else labels[feature][rowOf.get(runs[s].join())!] = side;
      }
    }
    for (const [f, own] of labels.entries()) for (const label of own) this.#values[f].push(label);
  }

  labels(): Map<string, Uint8Array> {
    return new Map(this.#features.map((feature, f) => [feature, Uint8Array.from(this.#values[f].values())]));
  }
}
