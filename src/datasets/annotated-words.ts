/** Sentences of annotated words as passages of model tokens, and what every token's word says. */
import { Pacer } from "../backends/cpu/pacer.ts";
import { EmptyDataError, OptionError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import { conlluSentences, type ConlluSentence, type ConlluWord } from "./conllu.ts";
import type { FeatureCategory, FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";
import { singleTokens } from "./text-features.ts";
import { counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";

/** A CoNLL-U file's text, several, or the sentences of `readConllu`. */
export type ConlluSource = string | readonly string[] | readonly ConlluSentence[];

export interface WordDatasetOptions extends TextDatasetOptions {
  /** Tokens of a passage at most: the model's context must hold as many. Default 256. */
  readonly passageTokens?: number | undefined;
  /** Tokens at the start of each passage that make no row. Default 5. */
  readonly skipFirst?: number | undefined;
  /** Features to build. Default: all of the category. */
  readonly features?: readonly string[] | undefined;
}

/** A token's word, and where in the passage it stands. */
export interface TokenWord {
  readonly word: ConlluWord;
  /** Whether the token is the last of its sentence. */
  readonly endsSentence: boolean;
  /** Whether that sentence is the first of its passage. */
  readonly firstSentence: boolean;
}

/** What a category makes of words. */
export interface WordCategory {
  readonly category: FeatureCategory;
  readonly features: readonly string[];
  /** All that labels depend on, as text: tokens with the same key have the same labels. */
  readonly key: (token: TokenWord) => string;
  /** Labels of a feature for one token of each key: 1, 0 or `UNLABELLED`. */
  readonly labels: (feature: string, tokens: readonly TokenWord[]) => Uint8Array;
}

/**
 * A dataset of tokens, each with the labels of the first word that it overlaps. Sentences of a document follow each other in
 * a passage while they fit; a passage never crosses documents, and its group is its document, or the passage itself where the
 * file names no documents.
 */
export async function wordDataset(
  source: ConlluSource,
  tokenizer: Tokenizer,
  category: WordCategory,
  options: WordDatasetOptions,
): Promise<FeatureDataset> {
  const { features = category.features, sampling, signal, onProgress, name = category.category } = options;
  const passageTokens = wholeNumber("passageTokens", options.passageTokens ?? 256, 1);
  const skipFirst = wholeNumber("skipFirst", options.skipFirst ?? 5, 0);
  const unknown = features.find((feature) => !category.features.includes(feature));
  if (unknown !== undefined) {
    throw new OptionError(
      `The feature ${JSON.stringify(unknown)} is not known.`,
      `Choose from ${category.features.join(" ")}.`,
    );
  }
  const pacer = new Pacer(signal);
  const builder = new PassageBuilder(tokenizer, category, passageTokens, skipFirst);
  const files = typeof source === "string" ? [source] : source;
  const total = files.length;
  for (const [at, entry] of files.entries()) {
    const sentences = typeof entry === "string" ? conlluSentences(entry) : [entry];
    const file = typeof entry === "string" && total > 1 ? `file ${at + 1}` : undefined;
    for (const sentence of sentences) {
      await builder.add(sentence, file, pacer);
      if (pacer.due) await pacer.turn();
    }
    if (typeof entry === "string") await builder.flush(pacer);
    onProgress?.(at + 1, total);
  }
  await builder.flush(pacer);
  if (builder.passages.length === 0) {
    throw new EmptyDataError(
      "The sentences make no passage.",
      "Give sentences, in a text that the tokenizer leaves as it is.",
    );
  }
  const { keyOfRow, examples } = builder;
  if (keyOfRow.length === 0) {
    throw new EmptyDataError(
      `No passage has words after its first ${skipFirst} tokens.`,
      "Give longer sentences, or a smaller skipFirst.",
    );
  }
  const labels = new Map<string, Uint8Array>();
  for (const feature of features) {
    const ofKey = category.labels(feature, examples);
    labels.set(
      feature,
      Uint8Array.from(keyOfRow.values(), (key) => ofKey[key]),
    );
    if (pacer.due) await pacer.turn();
  }
  return assembleDataset(
    {
      name,
      category: category.category,
      tokenizer,
      aggregation: "token",
      passages: builder.passages,
      candidates: singleTokens(builder.passageOfRow.values(), builder.positions.values()),
      labels,
      sampling,
      dropped: counted(builder.dropped),
    },
    { signal },
  );
}

/** Collects sentences into passages, and the words of their tokens. */
class PassageBuilder {
  readonly passages: Passage[] = [];
  readonly passageOfRow = new GrowingArray();
  readonly positions = new GrowingArray();
  /** Number of each row's key; `examples` has a token of each. */
  readonly keyOfRow = new GrowingArray();
  readonly examples: TokenWord[] = [];
  readonly dropped = {
    "passages whose text the tokenizer alters": 0,
    "sentences longer than a passage": 0,
    "tokens at the start of a passage": 0,
    "tokens outside words": 0,
  };
  readonly #tokenizer: Tokenizer;
  readonly #category: WordCategory;
  readonly #passageTokens: number;
  readonly #skipFirst: number;
  readonly #keys = new Map<string, number>();
  #pending: ConlluSentence[] = [];
  #size = 0;
  #document: string | number | undefined;

  constructor(tokenizer: Tokenizer, category: WordCategory, passageTokens: number, skipFirst: number) {
    this.#tokenizer = tokenizer;
    this.#category = category;
    this.#passageTokens = passageTokens;
    this.#skipFirst = skipFirst;
  }

  async add(sentence: ConlluSentence, file: string | undefined, pacer: Pacer): Promise<void> {
    // With the space before it.
    const size = this.#tokenizer.encode(sentence.text).length + 1;
    if (sentence.newDocument || this.#size + size > this.#passageTokens) await this.flush(pacer);
    this.#document =
      sentence.document === null
        ? undefined
        : file === undefined
          ? sentence.document
          : `${file}: ${sentence.document}`;
    this.#pending.push(sentence);
    this.#size += size;
  }

  /** Makes a passage of the sentences that wait for one. */
  async flush(pacer: Pacer): Promise<void> {
    const sentences = this.#pending;
    this.#pending = [];
    this.#size = 0;
    if (sentences.length > 0) await this.#addPassage(sentences, pacer);
  }

  async #addPassage(sentences: readonly ConlluSentence[], pacer: Pacer): Promise<void> {
    if (pacer.due) await pacer.turn();
    const [text, words] = joined(sentences);
    const located = this.#tokenizer.locate(text);
    if (!located) {
      this.dropped["passages whose text the tokenizer alters"]++;
      return;
    }
    const { ids, starts, ends } = located;
    if (ids.length > this.#passageTokens) {
      if (sentences.length === 1) this.dropped["sentences longer than a passage"]++;
      else {
        // Sentences can have more tokens together than alone.
        const half = Math.ceil(sentences.length / 2);
        await this.#addPassage(sentences.slice(0, half), pacer);
        await this.#addPassage(sentences.slice(half), pacer);
      }
      return;
    }
    const passage = this.passages.length;
    this.passages.push({ tokens: ids, text, group: this.#document ?? `passage ${passage + 1}` });
    this.dropped["tokens at the start of a passage"] += Math.min(this.#skipFirst, ids.length);
    // From the last token to the first, so that each knows the sentence of the next word.
    let w = words.length - 1;
    let next: number | undefined;
    const rows: (TokenWord | undefined)[] = [];
    for (let t = ids.length - 1; t >= 0; t--) {
      while (w > 0 && words[w - 1].end > starts[t]) w--;
      const found = words.at(w);
      if (!found || found.start >= ends[t] || found.end <= starts[t]) continue;
      rows[t] = {
        word: found.word,
        endsSentence: next !== found.sentence,
        firstSentence: found.sentence === 0,
      };
      next = found.sentence;
    }
    for (let t = this.#skipFirst; t < ids.length; t++) {
      const token = rows[t];
      if (token) this.#addRow(passage, t, token);
      else this.dropped["tokens outside words"]++;
    }
  }

  #addRow(passage: number, position: number, token: TokenWord): void {
    const key = this.#category.key(token);
    let number = this.#keys.get(key);
    if (number === undefined) {
      this.#keys.set(key, (number = this.examples.length));
      this.examples.push(token);
    }
    this.passageOfRow.push(passage);
    this.positions.push(position);
    this.keyOfRow.push(number);
  }
}

interface PlacedWord {
  readonly word: ConlluWord;
  /** Number of its sentence in the passage. */
  readonly sentence: number;
  readonly start: number;
  readonly end: number;
}

/** Sentences as one text, with the place of every word. A paragraph begins on a line of its own. */
function joined(sentences: readonly ConlluSentence[]): [text: string, words: PlacedWord[]] {
  let text = "";
  const words: PlacedWord[] = [];
  for (const [s, sentence] of sentences.entries()) {
    if (s > 0) text += sentence.newParagraph ? "\n" : sentences[s - 1].separator;
    const base = text.length;
    for (const word of sentence.words) {
      words.push({ word, sentence: s, start: base + word.start, end: base + word.end });
    }
    text += sentence.text;
  }
  return [text, words];
}
