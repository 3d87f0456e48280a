/** Loaded with the first texts: reads them with a model's tokenizer and finds the tokens that count. */
import type { Aggregation, CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { ContextLengthError, EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";

export interface TokenRowsOptions {
  /** Rows of single tokens (default), or one row per text: the mean, the maximum or the last of its tokens. */
  readonly aggregation?: Aggregation | undefined;
  /** Tokens at the start of each text that are read by the model but make no row. Default 0. */
  readonly skipFirst?: number | undefined;
  /** Positions of a text that count, instead of all from `skipFirst` on; in rising order. */
  readonly positions?: ((tokens: Uint32Array, text: number) => ArrayLike<number>) | undefined;
  /**
   * Put the tokens around each text that the model's tokenizer puts there, such as the beginning-of-text token without which
   * Llama and Gemma compute something else. They count as tokens of the text: leave a first one out with `skipFirst: 1`.
   * Default false.
   */
  readonly specialTokens?: boolean | undefined;
  /** Keep the first tokens of a text that is longer than the model's context. Default: such a text is an error. */
  readonly truncate?: boolean | undefined;
  /** Document of each text, kept with its rows. Default: each text is its own. */
  readonly groups?: readonly GroupId[] | undefined;
}

export interface TokeniseOptions extends TokenRowsOptions, CallOptions {
  /** Called with the index of a text without a token that counts, which is then left out. Default: such a text is an error. */
  readonly onEmpty?: ((text: number) => void) | undefined;
}

/** One text, and which of its tokens become which rows. */
export interface TokenisedText {
  /** Index in the list of texts that was tokenised. */
  readonly text: number;
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Where each row of the text ends in `positions`. */
  readonly ends: ArrayLike<number>;
}

/** The texts as `TokenRows.tokenise` describes them. */
export async function tokeniseTexts(
  model: LanguageModel,
  texts: readonly string[],
  options: TokeniseOptions,
): Promise<TokenisedText[]> {
  const { aggregation = "token", skipFirst = 0, positions, truncate = false, groups, signal } = options;
  const { specialTokens, onEmpty } = options;
  if (!Number.isInteger(skipFirst) || skipFirst < 0) {
    throw new OptionError(`skipFirst is ${skipFirst}.`, "Give a whole number from 0.");
  }
  if (!Array.isArray(texts)) {
    throw new OptionError("The texts are not a list.", 'Give a list of strings: ["…"] for a single text.');
  }
  if (texts.length === 0) throw new EmptyDataError("There are no texts.", "Give at least one.");
  if (groups && groups.length !== texts.length) {
    throw new ShapeError(
      `There are ${groups.length} groups for ${texts.length} texts.`,
      "Give one group per text.",
    );
  }
  const pacer = new Pacer(signal);
  const { context } = model.spec;
  const tokenised: TokenisedText[] = [];
  for (const [text, content] of texts.entries()) {
    if (typeof content !== "string") {
      throw new OptionError(`Text ${text} is not a string.`, "Leave it out, and its label.");
    }
    let tokens = model.tokenizer.encode(content, { specialTokens });
    if (tokens.length === 0) {
      if (onEmpty) {
        onEmpty(text);
        continue;
      }
      throw new EmptyDataError(
        content === "" ? `Text ${text} is empty.` : `The tokenizer makes no tokens of text ${text}.`,
        "Leave it out, and its label.",
      );
    }
    if (tokens.length > context) {
      if (!truncate) {
        throw new ContextLengthError(
          `Text ${text} has ${tokens.length} tokens, but the model's context holds ${context}.`,
          "Cut it into shorter texts, or pass truncate: true to keep its first tokens.",
        );
      }
      tokens = tokens.slice(0, context);
    }
    const counting = positions
      ? checkedPositions(positions(tokens, text), tokens.length, text)
      : Uint32Array.from({ length: Math.max(0, tokens.length - skipFirst) }, (_, i) => skipFirst + i);
    if (counting.length === 0) {
      if (onEmpty) {
        onEmpty(text);
        continue;
      }
      throw new EmptyDataError(
        `Text ${text} has ${tokens.length} tokens and none of them counts.`,
        "Leave it out, and its label, or choose other positions (skipFirst, positions).",
      );
    }
    const ends = aggregation === "token" ? counting.map((_, i) => i + 1) : [counting.length];
    tokenised.push({ text, tokens, positions: counting, ends });
    if (pacer.due) await pacer.turn();
  }
  if (tokenised.length === 0) {
    throw new EmptyDataError("No text has a token that counts.", "Give texts with tokens.");
  }
  return tokenised;
}

/**
 * Positions of a text as given by the caller.
 * @throws ShapeError when one does not exist or they do not rise
 */
export function checkedPositions(positions: ArrayLike<number>, length: number, text: number): Uint32Array {
  let last = -1;
  return Uint32Array.from(positions, (position) => {
    if (!Number.isInteger(position) || position <= last || position >= length) {
      throw new ShapeError(
        `Position ${position} of text ${text} does not exist or is out of order.`,
        `Give rising whole numbers from 0 to ${length - 1}.`,
      );
    }
    last = position;
    return position;
  });
}
