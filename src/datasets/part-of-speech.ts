/** Parts of speech of tokens. */
import { UNLABELLED } from "../data/labels.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { wordDataset, type ConlluSource, type WordDatasetOptions } from "./annotated-words.ts";
import { UNIVERSAL_TAGS } from "./conllu.ts";
import type { FeatureDataset } from "./feature-dataset.ts";

/** The 16 tags of Gurnee et al. (2023): all universal tags but PART. */
export const PARTS_OF_SPEECH: readonly string[] = Object.freeze(
  UNIVERSAL_TAGS.filter((tag) => tag !== "PART"),
);

/**
 * A feature per universal part-of-speech tag, from CoNLL-U. A token takes the tag of the first word that it overlaps (white
 * space of a token overlaps nothing); it is positive for that tag and negative for every other. Words without a tag make no labels.
 *
 * Sentences of a document are read together, as many as fit in `passageTokens`; the first 5 tokens of a passage make no rows.
 *
 * @param source a CoNLL-U file's text, several, or the sentences of `readConllu`
 *
 * @example
 * const dataset = await partOfSpeechDataset(await readFile("en.conllu", "utf8"), model.tokenizer);
 * dataset.labels.features; // ["ADJ", "ADP", …]
 *
 * @throws FormatError with the line number when the file is not CoNLL-U
 * @throws EmptyDataError when there are no sentences, or no feature has enough rows
 * @throws OptionError when an option is out of its range or a feature is unknown
 */
export async function partOfSpeechDataset(
  source: ConlluSource,
  tokenizer: Tokenizer,
  options: WordDatasetOptions = {},
): Promise<FeatureDataset> {
  const category = {
    category: "part-of-speech",
    features: options.features?.includes("PART") ? UNIVERSAL_TAGS : PARTS_OF_SPEECH,
    key: ({ word }) => word.upos ?? "",
    labels: (feature, tokens) =>
      Uint8Array.from(tokens, ({ word }) =>
        word.upos === null ? UNLABELLED : Number(word.upos === feature),
      ),
  } satisfies Parameters<typeof wordDataset>[2];
  return wordDataset(source, tokenizer, category, options);
}
