/** Texts as tokens, and which tokens become which rows of activations. */
import type { Aggregation, RowSegments, TokenBatch } from "../backends/backend.ts";
import { assertAggregation } from "../backends/row-segments.ts";
import type { GroupId } from "../data/activations.ts";
import { LabelMatrix } from "../data/labels.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import { ContextLengthError, EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { TokenisedText, TokeniseOptions } from "./tokenise-texts.ts";

export type { TokeniseOptions, TokenRowsOptions } from "./tokenise-texts.ts";

/** Some whole texts, laid out for one forward pass. */
export interface RowBatch {
  readonly tokens: TokenBatch;
  /** Index of each sequence's text in the list that was tokenised. */
  readonly texts: Uint32Array;
  readonly segments: RowSegments;
  /** The output rows [firstRow, firstRow + rows). */
  readonly firstRow: number;
  readonly rows: number;
  /** Tokens before the end of this batch, for progress. */
  readonly tokensDone: number;
}

/**
 * Tokenised texts and their rows, in the order of the texts. Every capture gives the same rows for the same
 * `TokenRows`, so two passes over it fit together.
 */
export class TokenRows {
  readonly aggregation: Aggregation;
  /** Number of output rows. */
  readonly rows: number;
  /** Number of tokens that the model reads. */
  readonly tokens: number;
  readonly #texts: readonly TokenisedText[];
  readonly #groups: readonly GroupId[] | undefined;

  private constructor(
    texts: readonly TokenisedText[],
    aggregation: Aggregation,
    groups: readonly GroupId[] | undefined,
  ) {
    this.#texts = texts;
    this.aggregation = aggregation;
    this.#groups = groups;
    this.rows = texts.reduce((sum, { ends }) => sum + ends.length, 0);
    this.tokens = texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  }

  /**
   * Tokenises texts.
   *
   * @throws EmptyDataError when there are no texts, or a text has no token that counts
   * @throws ContextLengthError naming the first text that is too long, unless `truncate`
   * @throws OptionError when `skipFirst` is not a whole number, the aggregation is unknown or a text is no string
   * @throws ShapeError when a position does not exist or the groups do not match the texts
   */
  static async tokenise(
    model: LanguageModel,
    texts: readonly string[],
    options: TokeniseOptions = {},
  ): Promise<TokenRows> {
    const { aggregation = "token", groups } = options;
    assertAggregation(aggregation);
    const { tokeniseTexts } = await import("./tokenise-texts.ts");
    const tokenised = await tokeniseTexts(model, texts, options);
    return new TokenRows(tokenised, aggregation, groups);
  }

  /**
   * The rows of a dataset, in its order; `dataset.labels` are their labels.
   *
   * @param options with `specialTokens`: let the model read each passage between the tokens that its tokenizer puts around a
   * text, such as the beginning-of-text token of Llama and Gemma; they make no rows. Default false
   * @throws OptionError when the model's tokenizer is not the one that the dataset was made with
   * @throws ContextLengthError when a passage is longer than the model's context
   */
  static ofDataset(
    model: LanguageModel,
    dataset: FeatureDataset,
    options: { readonly specialTokens?: boolean | undefined } = {},
  ): TokenRows {
    const { name, passages, aggregation } = dataset;
    const { passage, positions, offsets } = dataset.rows;
    if (model.tokenizer.digest !== dataset.tokenizer) {
      throw new OptionError(
        `The dataset "${name}" was made with another tokenizer than the model's.`,
        "Build it again from its texts with model.tokenizer.",
      );
    }
    const special = options.specialTokens ? model.tokenizer.specialTokens() : undefined;
    const shift = special?.before.length ?? 0;
    const texts: TokenisedText[] = [];
    for (let row = 0; row < passage.length;) {
      const first = row;
      const text = passage[row];
      const plain = passages[text].tokens;
      const tokens = special ? Uint32Array.of(...special.before, ...plain, ...special.after) : plain;
      if (tokens.length > model.spec.context) {
        throw new ContextLengthError(
          `Passage ${text} of "${name}" has ${tokens.length} tokens, but the model's context holds ${model.spec.context}.`,
          "Build the dataset with shorter passages.",
        );
      }
      while (row < passage.length && passage[row] === text) row++;
      const start = offsets[first];
      texts.push({
        text,
        tokens,
        positions: positions.subarray(start, offsets[row]).map((position) => position + shift),
        ends: offsets.subarray(first + 1, row + 1).map((end) => end - start),
      });
    }
    return new TokenRows(
      texts,
      aggregation,
      passages.map(({ group }) => group),
    );
  }

  /** Number of texts. */
  get texts(): number {
    return this.#texts.length;
  }

  /** The same rows of some texts only, in the order given. */
  selectTexts(texts: ArrayLike<number>): TokenRows {
    if (texts.length === 0) throw new EmptyDataError("No texts are selected.", "Select at least one.");
    const chosen = Array.from(texts, (t) => {
      if (t in this.#texts) return this.#texts[t];
      throw new ShapeError(`Text ${t} does not exist.`, `Texts run from 0 to ${this.#texts.length - 1}.`);
    });
    return new TokenRows(chosen, this.aggregation, this.#groups);
  }

  /** For each row, its text's index in the list that was tokenised. */
  textOfRow(): Uint32Array {
    const out = new Uint32Array(this.rows);
    let row = 0;
    for (const { text, ends } of this.#texts) {
      const end = row + ends.length;
      out.fill(text, row, end);
      row = end;
    }
    return out;
  }

  /** Document of each row. */
  groups(): GroupId[] {
    return Array.from(this.textOfRow(), (text) => this.groupOf(text));
  }

  /** Document of a text. */
  groupOf(text: number): GroupId {
    return this.#groups ? this.#groups[text] : text;
  }

  /**
   * Labels of texts as labels of rows: every row takes its text's label.
   * @throws ShapeError when there is no label for a text
   */
  labelRows(labels: LabelMatrix): LabelMatrix {
    const { rows } = this;
    const values = new Uint8Array(labels.features.length * rows);
    for (const [row, text] of this.textOfRow().entries()) {
      if (text >= labels.rows) {
        throw new ShapeError(
          `Text ${text} has no label: there are ${labels.rows}.`,
          "Give one label per text.",
        );
      }
      for (let f = 0; f < labels.features.length; f++) {
        values[f * rows + row] = labels.values[f * labels.rows + text];
      }
    }
    return new LabelMatrix(labels.features, rows, values);
  }

  /** Decoded token of each row; undefined when rows are not single tokens. */
  tokenTexts(model: LanguageModel): string[] | undefined {
    if (this.aggregation !== "token") return undefined;
    return this.#texts.flatMap(({ tokens, positions }) =>
      Array.from(positions, (position) => model.tokenizer.tokenText(tokens[position])),
    );
  }

  /** Whole texts in order, as many as fit in `batchTokens` tokens (at least one). */
  *batches(batchTokens: number): Generator<RowBatch> {
    if (!Number.isInteger(batchTokens) || batchTokens < 1) {
      throw new OptionError(`batchTokens is ${batchTokens}.`, "Give a whole number above 0.");
    }
    let firstRow = 0;
    let tokensDone = 0;
    for (let start = 0; start < this.#texts.length;) {
      let end = start;
      let size = 0;
      do size += this.#texts[end++].tokens.length;
      while (end < this.#texts.length && size + this.#texts[end].tokens.length <= batchTokens);
      tokensDone += size;
      const batch = this.#layOut(this.#texts.slice(start, end), size, firstRow, tokensDone);
      yield batch;
      firstRow += batch.rows;
      start = end;
    }
  }

  #layOut(texts: readonly TokenisedText[], size: number, firstRow: number, tokensDone: number): RowBatch {
    const tokens = new Uint32Array(size);
    const offsets = new Uint32Array(texts.length + 1);
    const counting = texts.reduce((sum, { positions }) => sum + positions.length, 0);
    const rows = new Uint32Array(counting);
    const ends = new Uint32Array(1 + texts.reduce((sum, text) => sum + text.ends.length, 0));
    let filled = 0;
    let row = 0;
    for (const [s, text] of texts.entries()) {
      tokens.set(text.tokens, offsets[s]);
      for (const [i, position] of text.positions.entries()) rows[filled + i] = offsets[s] + position;
      for (let r = 0; r < text.ends.length; r++) ends[++row] = filled + text.ends[r];
      filled += text.positions.length;
      offsets[s + 1] = offsets[s] + text.tokens.length;
    }
    return {
      tokens: { tokens, offsets },
      texts: Uint32Array.from(texts, ({ text }) => text),
      segments: { rows, offsets: ends },
      firstRow,
      rows: row,
      tokensDone,
    };
  }
}
