/** What every backend checks of a batch of tokens before it computes. */
import { ContextLengthError, EmptyDataError, ShapeError } from "../errors.ts";
import type { TokenBatch, TransformerSpec } from "./backend.ts";

/**
 * @throws EmptyDataError without sequences, or when one is empty
 * @throws ShapeError when the offsets do not cover the tokens or a token is not in the vocabulary
 * @throws ContextLengthError when a sequence is longer than the model's context
 */
export function assertTokenBatch(spec: TransformerSpec, batch: TokenBatch): void {
  const { tokens, offsets } = batch;
  if (offsets.length < 2) throw new EmptyDataError("The batch has no sequences.", "Give at least one.");
  if (offsets[0] !== 0 || offsets[offsets.length - 1] !== tokens.length) {
    throw new ShapeError(
      `The offsets run from ${offsets[0]} to ${offsets[offsets.length - 1]} over ${tokens.length} tokens.`,
      "Start them at 0 and end them at the number of tokens.",
    );
  }
  for (let s = 0; s + 1 < offsets.length; s++) {
    const length = offsets[s + 1] - offsets[s];
    if (length < 0)
      throw new ShapeError(`Offset ${s + 1} is smaller than the one before.`, "Give rising offsets.");
    if (length === 0) throw new EmptyDataError(`Sequence ${s} has no tokens.`, "Leave empty texts out.");
    if (length > spec.context) {
      throw new ContextLengthError(
        `Sequence ${s} has ${length} tokens, but the model's context holds ${spec.context}.`,
        "Cut it into shorter texts or truncate it.",
      );
    }
  }
  for (const [i, token] of tokens.entries()) {
    if (token >= spec.vocabulary) {
      throw new ShapeError(
        `Token ${i} is ${token}, but the vocabulary has ${spec.vocabulary} entries.`,
        "Encode the text with the model's own tokenizer.",
      );
    }
  }
}
