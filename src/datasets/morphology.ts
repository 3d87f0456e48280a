/** Morphological features of tokens, and ends of sentences. */
import { UNLABELLED } from "../data/labels.ts";
import { OptionError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import {
  wordDataset,
  type ConlluSource,
  type TokenWord,
  type WordDatasetOptions,
} from "./annotated-words.ts";
import type { FeatureDataset } from "./feature-dataset.ts";

/** The 22 features of Gurnee et al. (2023), as `Attribute_Value`, and the two ends of sentences. */
export const MORPHOLOGY: readonly string[] = Object.freeze([
  "VerbForm_Fin",
  "VerbForm_Inf",
  "VerbForm_Ger",
  "VerbForm_Part",
  "PronType_Art",
  "PronType_Dem",
  "PronType_Prs",
  "PronType_Rel",
  "PronType_Int",
  "Person_1",
  "Person_2",
  "Person_3",
  "Gender_Masc",
  "Gender_Fem",
  "Gender_Neut",
  "Number_Plur",
  "Mood_Imp",
  "Tense_Past",
  "NumType_Card",
  "Voice_Pass",
  "eos",
  "first_eos",
]);

/**
 * A feature per value of a morphological attribute, from CoNLL-U's FEATS. A token is positive when its word has the value, and
 * negative when the word has other values of the same attribute alone; words without the attribute make no labels. Where the
 * whole corpus gives an attribute one value only (English marks `Voice=Pass` and nothing else), the negatives are words
 * without it whose part of speech can have it.
 *
 * `eos` is the last token of a sentence against all others; `first_eos` is the last token of a passage's first sentence against
 * the last tokens of the others. Everything else is as in `partOfSpeechDataset`.
 *
 * @param options with `features`: also others than those of {@link MORPHOLOGY}, as `"Case_Nom"`
 * @throws what `partOfSpeechDataset` throws
 */
export async function morphologyDataset(
  source: ConlluSource,
  tokenizer: Tokenizer,
  options: WordDatasetOptions = {},
): Promise<FeatureDataset> {
  const features = options.features ?? MORPHOLOGY;
  for (const feature of features) {
    if (/^eos$|^first_eos$|^[^_]+_[^_]+$/.test(feature)) continue;
    throw new OptionError(
      `The feature ${JSON.stringify(feature)} is not known.`,
      "Use Attribute_Value such as Number_Plur, eos or first_eos.",
    );
  }
  const category = {
    category: "morphology",
    features,
    key: ({ word, endsSentence, firstSentence }) =>
      `${word.upos} ${endsSentence ? (firstSentence ? 2 : 1) : 0} ${featsKey(word.feats)}`,
    labels,
  } satisfies Parameters<typeof wordDataset>[2];
  return wordDataset(source, tokenizer, category, options);
}

function labels(feature: string, tokens: readonly TokenWord[]): Uint8Array {
  if (feature === "eos") return Uint8Array.from(tokens, ({ endsSentence }) => Number(endsSentence));
  if (feature === "first_eos") {
    return Uint8Array.from(tokens, ({ endsSentence, firstSentence }) =>
      endsSentence ? Number(firstSentence) : UNLABELLED,
    );
  }
  const [attribute, value] = feature.split("_");
  const valuesOf = ({ word }: TokenWord): readonly string[] | undefined =>
    Object.hasOwn(word.feats, attribute) ? word.feats[attribute] : undefined;
  const marked = tokens.filter((token) => valuesOf(token) !== undefined);
  const single = new Set(marked.flatMap((token) => valuesOf(token)!)).size === 1;
  const tags = new Set(marked.map(({ word }) => word.upos));
  return Uint8Array.from(tokens, (token) => {
    const values = valuesOf(token);
    if (values) return Number(values.includes(value));
    return single && tags.has(token.word.upos) ? 0 : UNLABELLED;
  });
}

const keys = new WeakMap<TokenWord["word"]["feats"], string>();

/** Words with the same FEATS share the object that they were read into. */
function featsKey(feats: TokenWord["word"]["feats"]): string {
  let key = keys.get(feats);
  if (key === undefined) keys.set(feats, (key = JSON.stringify(feats)));
  return key;
}
