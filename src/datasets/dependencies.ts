/** Syntactic relations of tokens. */
import { UNLABELLED } from "../data/labels.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { wordDataset, type ConlluSource, type WordDatasetOptions } from "./annotated-words.ts";
import type { FeatureDataset } from "./feature-dataset.ts";

/** The 29 relations of Gurnee et al. (2023). */
export const DEPENDENCIES: readonly string[] = Object.freeze([
  "acl",
  "acl:relcl",
  "advcl",
  "advmod",
  "amod",
  "appos",
  "aux",
  "aux:pass",
  "case",
  "cc",
  "ccomp",
  "compound",
  "conj",
  "cop",
  "det",
  "flat",
  "list",
  "mark",
  "nmod",
  "nmod:poss",
  "nsubj",
  "nsubj:pass",
  "nummod",
  "obj",
  "obl",
  "parataxis",
  "punct",
  "root",
  "xcomp",
]);

/**
 * A feature per relation of a word to its head, from CoNLL-U. Relations are compared with their subtype: a token that is
 * `nsubj:pass` is negative for `nsubj`. Everything else is as in `partOfSpeechDataset`.
 *
 * @param options with `features`: relations, also others than those of {@link DEPENDENCIES}
 * @throws what `partOfSpeechDataset` throws
 */
export async function dependencyDataset(
  source: ConlluSource,
  tokenizer: Tokenizer,
  options: WordDatasetOptions = {},
): Promise<FeatureDataset> {
  const category = {
    category: "dependencies",
    features: options.features ?? DEPENDENCIES,
    key: ({ word }) => word.deprel ?? "",
    labels: (feature, tokens) =>
      Uint8Array.from(tokens, ({ word }) =>
        word.deprel === null ? UNLABELLED : Number(word.deprel === feature),
      ),
  } satisfies Parameters<typeof wordDataset>[2];
  return wordDataset(source, tokenizer, category, options);
}
