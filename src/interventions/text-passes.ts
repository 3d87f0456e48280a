/** Passes over texts that read losses and chosen logits, with activations changed on the way. */
import type {
  ActivationChange,
  CallOptions,
  HookPoint,
  Intervention,
  TokenBatch,
} from "../backends/backend.ts";
import { TokenRows, type TokenRowsOptions } from "../capture/token-rows.ts";
import { checkedPositions } from "../capture/tokenise-texts.ts";
import { EmptyDataError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";

/** Which tokens of a text something happens to: rising positions. */
export type TextPositions = (tokens: Uint32Array, text: number) => ArrayLike<number>;

/** An intervention in every text. */
export type TextIntervention = ActivationChange & {
  readonly hookPoint: HookPoint;
  /** Neurons, or dimensions of the residual stream, each once; lists of values are in their order. Default: all. */
  readonly neurons?: ArrayLike<number> | undefined;
  /** Positions whose activations are changed, in rising order. Default: all. */
  readonly at?: TextPositions | undefined;
};

/** How texts become tokens, and which losses count; the first token of a text has none. */
export type LossTextsOptions = Omit<TokenRowsOptions, "aggregation" | "groups">;

/** Some whole texts. */
export interface TextBatch {
  readonly tokens: TokenBatch;
  /** Text of each sequence. */
  readonly texts: Uint32Array;
  /** Tokens of the batch whose losses count. */
  readonly counting: Uint32Array;
  /** Sequence of each of these. */
  readonly sequences: Uint32Array;
}

/**
 * Tokenises texts and lays them out in batches of up to `batchTokens` tokens.
 * @throws what `TokenRows.tokenise` throws; EmptyDataError when no loss counts
 */
export async function layOutTexts(
  model: LanguageModel,
  texts: readonly string[],
  options: LossTextsOptions & CallOptions & { readonly batchTokens?: number | undefined },
): Promise<TextBatch[]> {
  const { batchTokens = 2048 } = options;
  const rows = await TokenRows.tokenise(model, texts, {
    ...options,
    aggregation: "token",
    groups: undefined,
  });
  let text = 0;
  const batches = Array.from(rows.batches(batchTokens), ({ tokens, segments }): TextBatch => {
    const { offsets } = tokens;
    const counting: number[] = [];
    const sequences: number[] = [];
    let s = 0;
    for (const token of segments.rows) {
      while (token >= offsets[s + 1]) s++;
      if (token === offsets[s]) continue;
      counting.push(token);
      sequences.push(s);
    }
    return {
      tokens,
      // No text is left out: each has a row.
      texts: Uint32Array.from({ length: offsets.length - 1 }, () => text++),
      counting: Uint32Array.from(counting),
      sequences: Uint32Array.from(sequences),
    };
  });
  if (batches.some(({ counting }) => counting.length > 0)) return batches;
  throw new EmptyDataError(
    "No token has a loss that counts.",
    "Give texts of two tokens and more; the first token of a text has no loss.",
  );
}

/**
 * Tokens of a batch at the positions given; undefined: all.
 * @throws ShapeError when a position does not exist or positions do not rise
 */
export function tokensAt(
  { tokens: { tokens, offsets }, texts }: TextBatch,
  at: TextPositions | undefined,
): Uint32Array | undefined {
  if (!at) return undefined;
  const found: number[] = [];
  for (const [s, text] of texts.entries()) {
    const own = tokens.subarray(offsets[s], offsets[s + 1]);
    for (const position of checkedPositions(at(own, text), own.length, text))
      found.push(offsets[s] + position);
  }
  return Uint32Array.from(found);
}

/** Interventions in the texts of a batch. */
export function interventionsIn(
  batch: TextBatch,
  interventions: readonly TextIntervention[],
): readonly Intervention[] {
  return interventions.map(({ at, ...rest }): Intervention => ({ ...rest, tokens: tokensAt(batch, at) }));
}
