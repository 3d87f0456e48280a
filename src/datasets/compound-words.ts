/** Pairs of words that mean something together: "high school" against "high tide" and "old school". */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { UNLABELLED } from "../data/labels.ts";
import { EmptyDataError } from "../errors.ts";
import type { LocatedTokens, Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import { FIND_KINDS, findBigrams, readBigrams } from "./find-bigrams.ts";
import type { FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";
import { singleTokens } from "./text-features.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { NearbyTokens, textOf, tokenFrom, tokenRange } from "./text-windows.ts";

/** The 21 pairs of Gurnee et al. (2023), as `"first-second"`. */
export const COMPOUND_WORDS: readonly string[] = Object.freeze([
  "high-school",
  "living-room",
  "social-security",
  "credit-card",
  "blood-pressure",
  "prime-factors",
  "social-media",
  "gene-expression",
  "control-group",
  "magnetic-field",
  "cell-lines",
  "trial-court",
  "second-derivative",
  "north-america",
  "human-rights",
  "side-effects",
  "public-health",
  "federal-government",
  "third-party",
  "clinical-trials",
  "mental-health",
]);

export interface CompoundWordOptions extends TextDatasetOptions {
  /** Document of each text. Default: each is its own. */
  readonly groups?: readonly GroupId[] | undefined;
  /** Pairs as `"first-second"`, each a feature of that name. Default {@link COMPOUND_WORDS}. */
  readonly bigrams?: readonly string[] | undefined;
  /** Tokens that the model reads for a row, which is the last of them. Default 24. */
  readonly window?: number | undefined;
  /** Tokens that must be there, for a place near the beginning of its text. Default: the whole window. */
  readonly leastTokens?: number | undefined;
}

/**
 * Rows for pairs of words: the last token of a window of 24 tokens, which is all that the model reads.
 *
 * - positive: the last token of the second word, right after the first word;
 * - negative, `missing_first`: the last token of the second word after anything else;
 * - negative, `missing_second`: the token after the first word, where anything else than the second word follows.
 *
 * Half the negatives are of each kind, as far as the text offers them. Words are runs of letters, combining marks and digits,
 * compared without regard to case ("High School", "HIGH SCHOOL"), so that "schools" is another word than "school". "Right after" is any white space
 * that holds at most one line break. A pair with a hyphen or an empty line between, and the first word before a longer word that begins
 * with the second ("high schools"), are neither positive nor negative.
 *
 * All pairs are looked for in one pass; only what is drawn of what they offer is tokenised. The report's `offered` counts the
 * places drawn before they were tokenised: at most `maxRows` of a kind.
 *
 * @example
 * const dataset = await compoundWordDataset(texts, model.tokenizer, { bigrams: ["social-security", "social-media"] });
 *
 * @throws EmptyDataError when there is no text, none of the words is in it, or no pair has enough rows
 * @throws OptionError when a pair is not two words, or an option is out of its range
 * @throws ShapeError when there is not one group per text
 */
export async function compoundWordDataset(
  texts: readonly string[],
  tokenizer: Tokenizer,
  options: CompoundWordOptions = {},
): Promise<FeatureDataset> {
  const { name = "compound-words", groups, bigrams = COMPOUND_WORDS, sampling, signal, onProgress } = options;
  const window = wholeNumber("window", options.window ?? 24, 1);
  const leastTokens = wholeNumber("leastTokens", options.leastTokens ?? window, 1);
  assertTexts(texts, groups);
  const most = wholeNumber("maxRows", sampling?.maxRows ?? 20_000, 2);
  const pairs = readBigrams(bigrams);
  const pacer = new Pacer(signal);
  const finds = await findBigrams(texts, pairs, { most, seed: sampling?.seed ?? 0, pacer, onProgress });

  const passages: Passage[] = [];
  const perPair = pairs.map(() => ({ candidates: new GrowingArray(), kinds: new GrowingArray() }));
  const dropped = {
    "places in text that the tokenizer alters": 0,
    "tokens that go on after the word": 0,
    "windows that are too short": 0,
  };
  let near: { text: number; tokens: NearbyTokens; rows: Map<number, number> } | undefined;
  for (const find of finds.drawn) {
    if (pacer.due) await pacer.turn();
    const { text: t, at, after } = find;
    const text = texts[t];
    if (near?.text !== t)
      near = { text: t, tokens: new NearbyTokens(text, tokenizer, window), rows: new Map() };
    const tokens = near.tokens.at(at);
    if (!tokens) {
      dropped["places in text that the tokenizer alters"]++;
      continue;
    }
    const last = after ? tokenFrom(tokens, at) : tokenFrom(tokens, at) - 1;
    if (last < 0 || (after ? tokens.starts[last] : tokens.ends[last]) !== at) {
      dropped["tokens that go on after the word"]++;
      continue;
    }
    const from = Math.max(0, last + 1 - window);
    if (last + 1 - from < leastTokens) {
      dropped["windows that are too short"]++;
      continue;
    }
    // Two words can meet in one place: "public health" is no "mental health".
    const endsCharacter = last + 1 === tokens.ids.length || tokens.starts[last + 1] >= tokens.ends[last];
    const place = 2 * tokens.ends[last] + (endsCharacter ? 1 : 0);
    let row = near.rows.get(place);
    if (row === undefined) {
      near.rows.set(place, (row = passages.length));
      passages.push(windowOf(text, tokenRange(tokens, from, last + 1), groups ? groups[t] : t));
    }
    const { candidates, kinds } = perPair[find.pair];
    candidates.push(row);
    kinds.push(find.kind);
  }
  if (passages.length === 0) {
    throw new EmptyDataError(
      "None of the words is in the texts, after enough other text.",
      "Give more text, other bigrams, or a smaller leastTokens.",
    );
  }
  const labels = new Map<string, Uint8Array>();
  const negativeKinds = new Map<string, Uint8Array>();
  for (const [p, { candidates, kinds }] of perPair.entries()) {
    const values = new Uint8Array(passages.length).fill(UNLABELLED);
    const codes = new Uint8Array(passages.length);
    for (const [i, row] of candidates.values().entries()) {
      codes[row] = kinds.values()[i];
      values[row] = FIND_KINDS[codes[row]] === "positive" ? 1 : 0;
    }
    labels.set(bigrams[p], values);
    negativeKinds.set(bigrams[p], codes);
    if (pacer.due) await pacer.turn();
  }
  const rows = singleTokens(
    Uint32Array.from(passages, (_, row) => row),
    Uint32Array.from(passages, ({ tokens }) => tokens.length - 1),
  );
  return assembleDataset(
    {
      name,
      category: "compound-words",
      tokenizer,
      aggregation: "token",
      passages,
      candidates: rows,
      labels,
      negativeKinds,
      sampling,
      dropped: counted({ ...dropped, ...finds.dropped }),
    },
    { signal },
  );
}

function windowOf(text: string, tokens: LocatedTokens, group: GroupId): Passage {
  return { tokens: tokens.ids, text: textOf(text, tokens), group };
}
