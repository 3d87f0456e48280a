/** The first tokens of a text, in windows. */
import type { LocatedTokens, Tokenizer } from "../model/tokenizer.ts";
import { tokenRange } from "./text-windows.ts";

/** Tokens before a cut that may differ from those of the whole text. */
const MARGIN = 8;

/**
 * The first `count` windows of up to `size` tokens, one after the other; no window ends inside a character. Of a long text only
 * as much is tokenised as they need. Null when the tokens cannot be traced back to the text.
 */
export function leadingWindows(
  text: string,
  tokenizer: Tokenizer,
  size: number,
  count: number,
): LocatedTokens[] | null {
  const located = leadingTokens(text, tokenizer, size * count);
  if (!located) return null;
  const { starts, ends } = located;
  const windows: LocatedTokens[] = [];
  for (let from = 0; from < starts.length && windows.length < count;) {
    let to = Math.min(from + size, starts.length);
    while (to > from && to < starts.length && starts[to] < ends[to - 1]) to--;
    // A window smaller than a character ends inside it after all.
    if (to === from) to = Math.min(from + size, starts.length);
    windows.push(tokenRange(located, from, to));
    from = to;
  }
  return windows;
}

function leadingTokens(text: string, tokenizer: Tokenizer, wanted: number): LocatedTokens | null {
  for (let characters = 12 * (wanted + MARGIN); ; characters *= 2) {
    if (characters >= text.length) return tokenizer.locate(text);
    // Not between the halves of a pair.
    const end = text.codePointAt(characters - 1)! > 0xffff ? characters + 1 : characters;
    const located = tokenizer.locate(text.slice(0, end));
    if (!located) return null;
    if (located.ids.length >= wanted + MARGIN) return tokenRange(located, 0, located.ids.length - MARGIN);
  }
}
