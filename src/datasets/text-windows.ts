/** Long texts in stretches that a model can read, and the tokens around a place in a text. */
import type { LocatedTokens, Tokenizer } from "../model/tokenizer.ts";

/** UTF-16 units that are tokenised in one go: a few milliseconds of work. */
const PIECE = 4096;

/**
 * The tokens of a text in stretches of at most `size`, with their places in the whole text. A text of more than a few thousand
 * characters is tokenised piece by piece, cut at line breaks or else before white space. No stretch ends inside a character.
 * A piece that the tokenizer does not trace back to the text comes as null.
 */
export function* textWindows(
  text: string,
  tokenizer: Tokenizer,
  size: number,
): Generator<LocatedTokens | null> {
  for (let start = 0; start < text.length;) {
    const end = pieceEnd(text, start);
    const located = locateSlice(text, start, end, tokenizer);
    if (!located) yield null;
    else {
      for (let from = 0; from < located.ids.length;) {
        const to = wholeCharacters(located, from, Math.min(from + size, located.ids.length));
        yield tokenRange(located, from, to);
        from = to;
      }
    }
    start = end;
  }
}

/**
 * The tokens around places of a text, asked for from front to back. Only the neighbourhood of each place is tokenised, so
 * that a place costs the same in a long text as in a short one. A neighbourhood begins between words, some tokens before
 * those that are used, so that its tokens are those of the whole text.
 */
export class NearbyTokens {
  readonly #text: string;
  readonly #tokenizer: Tokenizer;
  readonly #before: number;
  #start = 0;
  #end = -1;
  #located: LocatedTokens | null = null;

  /** @param before tokens wanted before each place */
  constructor(text: string, tokenizer: Tokenizer, before: number) {
    this.#text = text;
    this.#tokenizer = tokenizer;
    this.#before = before + MARGIN_TOKENS;
  }

  /**
   * Tokens about the character at `at`: before it as many as wanted, if the text has them, and one or more after it; with
   * places in the whole text. Null when they cannot be traced back to the text.
   */
  at(at: number): LocatedTokens | null {
    if (this.#enough(at)) return this.#located;
    const end = Math.min(this.#text.length, wordEnd(this.#text, at + AHEAD));
    for (let characters = 12 * this.#before; ; characters *= 2) {
      this.#start = wordStart(this.#text, at - characters);
      this.#end = end;
      this.#located = locateSlice(this.#text, this.#start, end, this.#tokenizer);
      if (this.#start === 0 || !this.#located || this.#enough(at)) return this.#located;
    }
  }

  #enough(at: number): boolean {
    if (at < this.#start || (this.#end < this.#text.length && at + MARGIN > this.#end)) return false;
    if (this.#start === 0) return true;
    const located = this.#located;
    return located !== null && tokenFrom(located, at) >= this.#before;
  }
}

/** The last `count` tokens of a text that ends at `end`, with places in the whole text; fewer if there are no more. */
export function tokensUpTo(
  text: string,
  end: number,
  count: number,
  tokenizer: Tokenizer,
): LocatedTokens | null {
  for (let characters = 12 * (count + MARGIN_TOKENS); ; characters *= 2) {
    const start = wordStart(text, end - characters);
    const located = locateSlice(text, start, end, tokenizer);
    const length = located?.ids.length ?? 0;
    if (located && start > 0 && length < count + MARGIN_TOKENS) continue;
    return located && tokenRange(located, Math.max(0, length - count), length);
  }
}

/** Index of the first token that begins at or after a place; the number of tokens if there is none. */
export function tokenFrom({ starts }: LocatedTokens, at: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The tokens [from, to). */
export function tokenRange({ ids, starts, ends }: LocatedTokens, from: number, to: number): LocatedTokens {
  return { ids: ids.slice(from, to), starts: starts.slice(from, to), ends: ends.slice(from, to) };
}

/** The part of `text` that tokens spell. */
export function textOf(text: string, { starts, ends }: LocatedTokens): string {
  return starts.length === 0 ? "" : text.slice(starts[0], ends[ends.length - 1]);
}

/** Tokens at the edge of a neighbourhood that may differ from the whole text's. */
const MARGIN_TOKENS = 8;
/** UTF-16 units after a place that are tokenised with it. */
const MARGIN = 64;
const AHEAD = 1024;

function locateSlice(text: string, start: number, end: number, tokenizer: Tokenizer): LocatedTokens | null {
  const located = tokenizer.locate(text.slice(start, end));
  if (!located || start === 0) return located;
  return {
    ids: located.ids,
    starts: located.starts.map((at) => at + start),
    ends: located.ends.map((at) => at + start),
  };
}

function pieceEnd(text: string, start: number): number {
  if (text.length - start <= PIECE) return text.length;
  const latest = start + PIECE;
  const half = start + PIECE / 2;
  const line = text.lastIndexOf("\n", latest - 1);
  if (line >= half) return line + 1;
  const space = text.lastIndexOf(" ", latest);
  return space >= half ? space : afterCharacter(text, latest);
}

/** The latest place up to `at` before a space between two words; `at` itself where there is none near. */
function wordStart(text: string, at: number): number {
  if (at <= 0) return 0;
  const earliest = Math.max(1, at - 256);
  for (let i = at; i >= earliest; i--) {
    if (text[i] === " " && isWord(text[i - 1]) && isWord(text[i + 1])) return i;
  }
  return afterCharacter(text, at);
}

/** The first place from `at` on before a space between two words. */
function wordEnd(text: string, at: number): number {
  if (at >= text.length) return text.length;
  const latest = Math.min(text.length - 1, at + 256);
  for (let i = at; i < latest; i++) {
    if (text[i] === " " && isWord(text[i - 1]) && isWord(text[i + 1])) return i;
  }
  return afterCharacter(text, at);
}

/** Whether the UTF-16 unit is a letter or digit. */
function isWord(unit: string | undefined): boolean {
  return unit !== undefined && /[\p{L}\p{N}]/u.test(unit);
}

/** `at`, or the place after it where `at` lies inside a surrogate pair. */
function afterCharacter(text: string, at: number): number {
  return at > 0 && text.codePointAt(at - 1)! > 0xffff ? at + 1 : at;
}

/** The largest `to` up to the one given such that no character lies on both sides; the next one after it if there is none. */
function wholeCharacters({ starts, ends }: LocatedTokens, from: number, to: number): number {
  const whole = (at: number): boolean => at === starts.length || starts[at] >= ends[at - 1];
  for (let at = to; at > from; at--) if (whole(at)) return at;
  let at = to + 1;
  while (!whole(at)) at++;
  return at;
}
