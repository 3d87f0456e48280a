/** Texts of known classes: rows are means over a window, a feature per class. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import type { FeatureCategory, FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { leadingWindows } from "./leading-windows.ts";
import { textOf } from "./text-windows.ts";
import type { LabelledTexts } from "./texts.ts";

export interface TextClassOptions extends TextDatasetOptions {
  /** Tokens of a window at most: the model's context must hold as many. */
  readonly windowTokens?: number | undefined;
  /** Tokens at the start of each window that the mean leaves out. */
  readonly skipFirst?: number | undefined;
  /** Windows of a text at most, one after the other from its start; each makes a row. Default 1. */
  readonly windowsPerText?: number | undefined;
  /** Classes that make features; those that no text has are reported as missing. Default: all that the texts have. */
  readonly classes?: readonly string[] | undefined;
}

/** The nine languages of Gurnee et al. (2023). */
export const CODE_LANGUAGES: readonly string[] = Object.freeze(
  "C C++ Go HTML Java JavaScript PHP Python XML".split(" "),
);

/** The nine languages of Gurnee et al. (2023). */
export const NATURAL_LANGUAGES: readonly string[] = Object.freeze("es en fr nl it el de pt sv".split(" "));

/** The nine parts of the Pile of Gurnee et al. (2023). */
export const DATA_SUBSETS: readonly string[] = Object.freeze(
  "wikipedia pubmed_abstracts stack_exchange github arxiv uspto freelaw hackernews enron".split(" "),
);

/**
 * Programming languages: a row per text, the mean over the tokens of a window of 511 but the first 100, and a feature per
 * language, which is positive for its texts and negative for all others. Shorter texts make a row if a token is left.
 *
 * @example
 * const texts = readLabelledTexts(await readFile("code.jsonl", "utf8"));
 * const dataset = await codeLanguageDataset(texts, model.tokenizer, { windowTokens: 256, skipFirst: 20 });
 *
 * @param options with `windowTokens` default 511 and `skipFirst` default 100
 * @throws EmptyDataError when there are no texts, or no class has enough rows
 * @throws OptionError when an option is out of its range
 * @throws ShapeError when labels or documents do not match the texts
 */
export async function codeLanguageDataset(
  texts: LabelledTexts,
  tokenizer: Tokenizer,
  options: TextClassOptions = {},
): Promise<FeatureDataset> {
  return textClassDataset("code-language", texts, tokenizer, { skipFirst: 100, ...options });
}

/**
 * Natural languages, as `codeLanguageDataset`.
 * @param options with `windowTokens` default 511 and `skipFirst` default 1
 * @throws what `codeLanguageDataset` throws
 */
export async function naturalLanguageDataset(
  texts: LabelledTexts,
  tokenizer: Tokenizer,
  options: TextClassOptions = {},
): Promise<FeatureDataset> {
  return textClassDataset("natural-language", texts, tokenizer, { skipFirst: 1, ...options });
}

/**
 * Sources of texts (parts of a training set), as `codeLanguageDataset`.
 * @param options with `windowTokens` default 511 and `skipFirst` default 25
 * @throws what `codeLanguageDataset` throws
 */
export async function dataSubsetDataset(
  texts: LabelledTexts,
  tokenizer: Tokenizer,
  options: TextClassOptions = {},
): Promise<FeatureDataset> {
  return textClassDataset("data-subset", texts, tokenizer, { skipFirst: 25, ...options });
}

async function textClassDataset(
  category: FeatureCategory,
  { texts, labels, docs }: LabelledTexts,
  tokenizer: Tokenizer,
  options: TextClassOptions,
): Promise<FeatureDataset> {
  const { name = category, sampling, signal, onProgress } = options;
  const windowTokens = wholeNumber("windowTokens", options.windowTokens ?? 511, 1);
  const skipFirst = wholeNumber("skipFirst", options.skipFirst ?? 0, 0);
  const windowsPerText = wholeNumber("windowsPerText", options.windowsPerText ?? 1, 1);
  if (windowTokens <= skipFirst) {
    throw new OptionError(
      `Windows of ${windowTokens} tokens have none after the first ${skipFirst}.`,
      "Give a smaller skipFirst or larger windowTokens.",
    );
  }
  assertTexts(texts, docs);
  if (labels.length !== texts.length) {
    throw new ShapeError(
      `There are ${labels.length} labels for ${texts.length} texts.`,
      "Give one label per text.",
    );
  }
  const classes = labels.map(String);
  const present = new Set(classes);
  const wanted = options.classes ?? [...present].sort();
  const missing = wanted
    .filter((name) => !present.has(name))
    .map((feature) => ({ feature, reason: "no text is of this class" }));

  const pacer = new Pacer(signal);
  const passages: Passage[] = [];
  const positions = new GrowingArray();
  const offsets: number[] = [0];
  const textOfRow: number[] = [];
  const dropped = { "texts that the tokenizer alters": 0, "windows without a token that counts": 0 };
  for (const [t, text] of texts.entries()) {
    const group: GroupId = docs ? docs[t] : t;
    if (pacer.due) await pacer.turn();
    const windows = leadingWindows(text, tokenizer, windowTokens, windowsPerText);
    if (!windows) dropped["texts that the tokenizer alters"]++;
    else if (windows.length === 0) dropped["windows without a token that counts"]++;
    for (const tokens of windows ?? []) {
      if (tokens.ids.length <= skipFirst) {
        dropped["windows without a token that counts"]++;
        continue;
      }
      for (let i = skipFirst; i < tokens.ids.length; i++) positions.push(i);
      offsets.push(positions.length);
      textOfRow.push(t);
      passages.push({ tokens: tokens.ids, text: textOf(text, tokens), group });
    }
    onProgress?.(t + 1, texts.length);
  }
  if (passages.length === 0) {
    throw new EmptyDataError(
      `No text has more than ${skipFirst} tokens that can be traced back to it.`,
      "Give longer texts, or a smaller skipFirst.",
    );
  }
  const features = new Map<string, Uint8Array>();
  for (const feature of wanted) {
    if (!present.has(feature)) continue;
    features.set(
      feature,
      Uint8Array.from(textOfRow, (t) => Number(classes[t] === feature)),
    );
  }
  return assembleDataset(
    {
      name,
      category,
      tokenizer,
      aggregation: "mean",
      passages,
      candidates: {
        passage: Uint32Array.from(passages.keys()),
        positions: positions.values(),
        offsets: Uint32Array.from(offsets),
      },
      labels: features,
      sampling,
      missing,
      dropped: counted(dropped),
    },
    { signal },
  );
}
