/** Tokens of LaTeX sources, labelled by what the scanner finds around them. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { UNLABELLED } from "../data/labels.ts";
import { EmptyDataError } from "../errors.ts";
import type { LocatedTokens, Tokenizer } from "../model/tokenizer.ts";
import { assembleDataset } from "./assemble-dataset.ts";
import type { FeatureDataset, Passage } from "./feature-dataset.ts";
import { GrowingArray } from "./growing-array.ts";

import { LATEX_FEATURES, LatexScanner } from "./latex-scanner.ts";
import { latexStretches, type LatexStretch } from "./latex-stretches.ts";
import { singleTokens } from "./text-features.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { textOf, textWindows } from "./text-windows.ts";

export interface LatexOptions extends TextDatasetOptions {
  /** Document of each source. Default: each is its own. */
  readonly groups?: readonly GroupId[] | undefined;
  /** Tokens of a passage at most: longer sources make several. Default 256. */
  readonly passageTokens?: number | undefined;
  /** Tokens at the start of each passage that make no row. Default 10. */
  readonly skipFirst?: number | undefined;
}

/** Kinds of negatives, as the assembled dataset tells them apart. */
const ELSEWHERE = 0;
const MIRROR = 1;

/**
 * Tokens of LaTeX sources with the twelve features of {@link LATEX_FEATURES}. A row is one token. It is positive when all
 * characters of the token but white space at its start lie in a span of the feature (`scanLatex`), negative when none does, and
 * without a label when the token crosses an edge. Comments, verbatim text, definitions and what follows `\end{document}` make no rows.
 *
 * Features that mirror each other (numerator and denominator, subscript and superscript, inline and display, title and author) take half their
 * negatives from the other one, as far as it reaches. Where the two nest, as in `x_{i^2}`, the inner one counts and the
 * outer one has no label. Words in a formula (`\text{…}`) have no label for the features of formulas.
 *
 * @example
 * const dataset = await latexDataset(sources, model.tokenizer);
 *
 * @throws EmptyDataError when there is no source, no token that makes a row, or no feature with enough rows
 * @throws OptionError when an option is out of its range or a source is no string
 * @throws ShapeError when there is not one group per source
 */
export async function latexDataset(
  sources: readonly string[],
  tokenizer: Tokenizer,
  options: LatexOptions = {},
): Promise<FeatureDataset> {
  const { name = "latex", groups, sampling, signal, onProgress } = options;
  const passageTokens = wholeNumber("passageTokens", options.passageTokens ?? 256, 1);
  const skipFirst = wholeNumber("skipFirst", options.skipFirst ?? 10, 0);
  assertTexts(sources, groups);
  const pacer = new Pacer(signal);
  const passages: Passage[] = [];
  const passage = new GrowingArray();
  const positions = new GrowingArray();
  // One bit per feature and row.
  const positive = new GrowingArray();
  const unlabelled = new GrowingArray();
  const mirrored = new GrowingArray();
  const dropped = { "pieces of text that the tokenizer alters": 0, "tokens that are not read as text": 0 };
  let crossing = 0;
  for (const [s, source] of sources.entries()) {
    const scanner = new LatexScanner(source);
    while (!scanner.done) {
      scanner.advance(65_536);
      if (pacer.due) await pacer.turn();
    }
    const stretches = latexStretches(scanner.spans());
    let at = 0;
    for (const tokens of textWindows(source, tokenizer, passageTokens)) {
      if (pacer.due) await pacer.turn();
      if (!tokens) {
        dropped["pieces of text that the tokenizer alters"]++;
        continue;
      }
      let rows = 0;
      for (let i = skipFirst; i < tokens.ids.length; i++) {
        const [start, end] = inked(source, tokens, i);
        while (stretches[at].end <= start) at++;
        const labels = labelsOf(stretches, at, end);
        if (labels.skipped) {
          dropped["tokens that are not read as text"]++;
          continue;
        }
        crossing += labels.crosses ? 1 : 0;
        passage.push(passages.length);
        positions.push(i);
        positive.push(labels.positive);
        unlabelled.push(labels.unlabelled);
        mirrored.push(labels.mirrored);
        rows++;
      }
      if (rows > 0) {
        passages.push({ tokens: tokens.ids, text: textOf(source, tokens), group: groups ? groups[s] : s });
      }
    }
    onProgress?.(s + 1, sources.length);
  }
  if (passages.length === 0) {
    throw new EmptyDataError(
      `No source has more than ${skipFirst} tokens of text.`,
      "Give longer sources, or a smaller skipFirst.",
    );
  }
  const labels = new Map<string, Uint8Array>();
  const negativeKinds = new Map<string, Uint8Array>();
  const [isPositive, isUnlabelled, isMirrored] = [positive.values(), unlabelled.values(), mirrored.values()];
  for (const [f, feature] of LATEX_FEATURES.entries()) {
    const bit = 1 << f;
    labels.set(
      feature,
      Uint8Array.from(isPositive, (bits, row) => (isUnlabelled[row] & bit ? UNLABELLED : bits & bit ? 1 : 0)),
    );
    negativeKinds.set(
      feature,
      Uint8Array.from(isMirrored, (bits) => (bits & bit ? MIRROR : ELSEWHERE)),
    );
    if (pacer.due) await pacer.turn();
  }
  return assembleDataset(
    {
      name,
      category: "latex",
      tokenizer,
      aggregation: "token",
      passages,
      candidates: singleTokens(passage.values(), positions.values()),
      labels,
      negativeKinds,
      sampling,
      dropped: counted({ ...dropped, "labels of tokens that cross an edge": crossing }),
    },
    { signal },
  );
}

/** A token's characters without white space at its start; all of them when there are no others. */
function inked(source: string, { starts, ends }: LocatedTokens, token: number): [start: number, end: number] {
  const end = ends[token];
  let start = starts[token];
  while (start < end && /\s/.test(source[start])) start++;
  return [start < end ? start : starts[token], end];
}

interface TokenLabels {
  readonly positive: number;
  readonly unlabelled: number;
  readonly mirrored: number;
  readonly skipped: boolean;
  readonly crosses: boolean;
}

/** Labels of the characters up to `end`, which begin in the stretch `first`. */
function labelsOf(stretches: readonly LatexStretch[], first: number, end: number): TokenLabels {
  let { inside: all, open, mirrored, skipped } = stretches[first];
  let some = all;
  for (let i = first; stretches[i].end < end;) {
    const next = stretches[++i];
    all &= next.inside;
    some |= next.inside;
    open |= next.open;
    mirrored |= next.mirrored;
    skipped ||= next.skipped;
  }
  const crosses = some & ~all;
  return { positive: all, unlabelled: open | crosses, mirrored, skipped, crosses: crosses !== 0 };
}
