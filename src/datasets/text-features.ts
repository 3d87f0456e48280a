/** What tokens look like: labels of tokens by their own text. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { UNLABELLED } from "../data/labels.ts";
import { EmptyDataError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import type { FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";
import { TEXT_FEATURES, type TextPredicate } from "./text-feature-predicates.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { textOf, textWindows } from "./text-windows.ts";

export interface TextFeatureOptions extends TextDatasetOptions {
  /** Document of each text. Default: each is its own. */
  readonly groups?: readonly GroupId[] | undefined;
  /** Features by name. Default {@link TEXT_FEATURES}; add your own as `{ ...TEXT_FEATURES, is_vowel }`. */
  readonly features?: Readonly<Record<string, TextPredicate>> | undefined;
  /** Tokens of a passage at most: longer texts make several. Default 256. */
  readonly passageTokens?: number | undefined;
  /** Tokens at the start of each passage that make no row. Default 10. */
  readonly skipFirst?: number | undefined;
}

/**
 * Tokens of texts labelled by what they look like. A row is one token. Between a fifth and a half of a feature's rows is
 * positive, unless `sampling` says otherwise (`leastPositiveShare`, `positiveShare`).
 *
 * @example
 * const dataset = await textFeatureDataset(texts, model.tokenizer);
 * dataset.labels.features; // ["contains_digit", "all_digits", …]
 *
 * @throws EmptyDataError when there is no text, no token that makes a row, or no feature with enough rows
 * @throws OptionError when an option is out of its range or a text is no string
 * @throws ShapeError when there is not one group per text
 */
export async function textFeatureDataset(
  texts: readonly string[],
  tokenizer: Tokenizer,
  options: TextFeatureOptions = {},
): Promise<FeatureDataset> {
  const { name = "text-features", groups, features = TEXT_FEATURES, signal, onProgress } = options;
  const passageTokens = wholeNumber("passageTokens", options.passageTokens ?? 256, 1);
  const skipFirst = wholeNumber("skipFirst", options.skipFirst ?? 10, 0);
  assertTexts(texts, groups);
  const pacer = new Pacer(signal);
  const passages: Passage[] = [];
  const passage = new GrowingArray();
  const positions = new GrowingArray();
  let untraceable = 0;
  for (const [t, text] of texts.entries()) {
    for (const tokens of textWindows(text, tokenizer, passageTokens)) {
      if (pacer.due) await pacer.turn();
      if (!tokens) untraceable++;
      else if (tokens.ids.length > skipFirst) {
        for (let i = skipFirst; i < tokens.ids.length; i++) {
          passage.push(passages.length);
          positions.push(i);
        }
        passages.push({ tokens: tokens.ids, text: textOf(text, tokens), group: groups ? groups[t] : t });
      }
    }
    onProgress?.(t + 1, texts.length);
  }
  if (passages.length === 0) {
    throw new EmptyDataError(
      `No text has more than ${skipFirst} tokens.`,
      "Give longer texts, or a smaller skipFirst.",
    );
  }
  const rows = singleTokens(passage.values(), positions.values());
  const labels = new Map<string, Uint8Array>();
  for (const [feature, predicate] of Object.entries(features)) {
    const ofToken = new Map<number, number>();
    const values = new Uint8Array(rows.passage.length);
    for (let row = 0; row < values.length; row++) {
      const id = passages[rows.passage[row]].tokens[rows.positions[row]];
      let label = ofToken.get(id);
      if (label === undefined) {
        const holds = predicate(tokenizer.tokenText(id));
        ofToken.set(id, (label = holds === undefined ? UNLABELLED : Number(holds)));
      }
      values[row] = label;
      if (row % 4096 === 0 && pacer.due) await pacer.turn();
    }
    labels.set(feature, values);
  }
  return assembleDataset(
    {
      name,
      category: "text-features",
      tokenizer,
      aggregation: "token",
      passages,
      candidates: rows,
      labels,
      sampling: { positiveShare: 0.5, leastPositiveShare: 0.2, ...options.sampling },
      dropped: counted({ "pieces of text that the tokenizer alters": untraceable }),
    },
    { signal },
  );
}

/** Rows of one token each. */
export function singleTokens(passage: Uint32Array, positions: Uint32Array): FeatureDataset["rows"] {
  return {
    passage,
    positions,
    offsets: Uint32Array.from({ length: passage.length + 1 }, (_, row) => row),
  };
}
