/** Text to token ids and back, with Hugging Face's `tokenizer.json`. */
import type { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { FormatError, ShapeError } from "../errors.ts";
import { digestOfTokenizer } from "./tokenizer-digest.ts";

/** Where each token of a text lies. */
export interface LocatedTokens {
  readonly ids: Uint32Array;
  /** First UTF-16 index of each token in the text; a character that two tokens share belongs to both. */
  readonly starts: Uint32Array;
  /** Index after the last of each token. */
  readonly ends: Uint32Array;
}

/** What a tokenizer may do besides. */
export interface EncodeOptions {
  /**
   * Adds the tokens that the model's own tokenizer puts around a text: its beginning (Llama, Mistral, Gemma) and, for some,
   * its end. Default false.
   */
  readonly specialTokens?: boolean | undefined;
}

/** How the vocabulary writes bytes: GPT-2's alphabet, or characters with ▁ for a space and <0x0A> for single bytes. */
type Spelling = "byte-level" | "metaspace";

/**
 * A tokenizer. Unless asked to, it adds nothing to a text: no token for its beginning or its end.
 *
 * @example
 * const tokenizer = await Tokenizer.fromJson(tokenizerJson, tokenizerConfigJson);
 * tokenizer.decode(tokenizer.encode("un éléphant")); // "un éléphant"
 */
export class Tokenizer {
  readonly #inner: HuggingFaceTokenizer;
  /** Bytes of every character of a byte-level vocabulary. */
  readonly #byteOf: ReadonlyMap<string, number> = byteLevelAlphabet();
  readonly #texts = new Map<number, string>();
  readonly #spelling: Spelling | undefined;
  readonly #files: readonly [json: object, config: object];
  readonly #spelt = new Map<number, Uint8Array>();
  #added: ReadonlyMap<number, { readonly content: string }> | undefined;
  #digest: string | undefined;

  private constructor(inner: HuggingFaceTokenizer, json: object, config: object) {
    this.#inner = inner;
    this.#files = [json, config];
    this.#spelling = spellingOf(json);
  }

  /**
   * @param json contents of tokenizer.json, parsed
   * @param config contents of tokenizer_config.json, parsed, where there is one
   * @throws FormatError when the JSON does not describe a tokenizer that can be run
   */
  static async fromJson(json: unknown, config: unknown = {}): Promise<Tokenizer> {
    const remedy = "Give the tokenizer.json of a Hugging Face model (the fast tokenizer's file).";
    if (typeof json !== "object" || json === null || !("model" in json)) {
      throw new FormatError("This is not a tokenizer.json: it has no model.", remedy);
    }
    assertVocabulary(json.model, remedy);
    const { Tokenizer: Implementation } = await import("@huggingface/tokenizers");
    try {
      const settings = typeof config === "object" && config ? config : {};
      return new Tokenizer(new Implementation(json, settings), json, settings);
    } catch (cause) {
      throw new FormatError(`The tokenizer cannot be built: ${String(cause)}.`, remedy, { cause });
    }
  }

  /**
   * 32 hex digits over vocabulary and settings: tokenizers with the same digest make the same tokens of every text.
   * Special tokens around a text, padding and decoding have no say in it.
   */
  get digest(): string {
    return (this.#digest ??= digestOfTokenizer(...this.#files));
  }

  /** Token ids of a text; none for "", unless special tokens are asked for. */
  encode(text: string, { specialTokens = false }: EncodeOptions = {}): Uint32Array {
    return Uint32Array.from(this.#inner.encode(text, { add_special_tokens: specialTokens }).ids);
  }

  /**
   * Token ids with the place of each token in the text, or null when the tokenizer's normaliser altered the text, so
   * that tokens cannot be traced back to it. A space of the tokenizer's own (Llama begins texts with one) has no width.
   * @throws FormatError when the vocabulary neither is byte-level nor writes spaces as ▁
   */
  locate(text: string): LocatedTokens | null {
    const ids = this.encode(text);
    // Where spaces are written as ▁, the tokenizer cannot tell a ▁ of the text from a space.
    const read = this.#spelling === "metaspace" ? text.replaceAll("▁", " ") : text;
    const bytes = new TextEncoder().encode(read);
    const tokens = Array.from(ids, (id) => this.#bytes(id));
    if (!this.#dropOwnSpaces(ids, tokens, bytes)) return null;
    const starts = new Uint32Array(ids.length);
    const ends = new Uint32Array(ids.length);
    // Of each byte's character: its UTF-16 index, and the index after it.
    const charAt = bytes.length === read.length ? undefined : charactersOfBytes(read, bytes.length);
    let at = 0;
    for (const [i, token] of tokens.entries()) {
      const end = at + token.length;
      starts[i] = charAt ? charAt.starts[at] : at;
      ends[i] = charAt && token.length > 0 ? charAt.ends[end - 1] : end;
      if (token.length === 0) ends[i] = starts[i];
      at = end;
    }
    return { ids, starts, ends };
  }

  /** Text of token ids. Bytes that are no UTF-8 (part of a character) become U+FFFD. */
  decode(ids: ArrayLike<number>): string {
    if (ids.length === 0) return "";
    return this.#inner.decode(Array.from(ids), {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }

  /** The decoded text of one token, e.g. " the". */
  tokenText(id: number): string {
    let text = this.#texts.get(id);
    if (text === undefined) this.#texts.set(id, (text = this.#text(id)));
    return text;
  }

  /** Whether there is a token of this id: embeddings are often padded beyond the last one. */
  has(id: number): boolean {
    return this.#inner.id_to_token(id) !== undefined;
  }

  /**
   * The token as the vocabulary spells it, e.g. "Ġthe".
   * @throws ShapeError when the vocabulary has no such id
   */
  token(id: number): string {
    const token = this.#inner.id_to_token(id);
    if (token !== undefined) return token;
    throw new ShapeError(`Token ${id} is not in the vocabulary.`, "Use ids that this tokenizer made.");
  }

  /** Decoding drops the space before a text's first word, which is part of the token. */
  #text(id: number): string {
    return this.#spelling === "metaspace" ? new TextDecoder().decode(this.#bytes(id)) : this.decode([id]);
  }

  /**
   * Takes away the spaces that the tokenizer puts before a text, or before what follows an added token.
   * @returns whether the tokens then spell the text
   */
  #dropOwnSpaces(ids: Uint32Array, tokens: Uint8Array[], bytes: Uint8Array): boolean {
    const added = this.#addedTokens();
    let at = 0;
    for (let start = 0; start < tokens.length;) {
      let end = start;
      while (end < tokens.length && !added.has(ids[end])) end++;
      // A stretch of ordinary tokens, then an added one or the end of the text.
      const next = end < tokens.length ? tokens[end] : undefined;
      const fits = (): boolean => {
        let to = at;
        for (let i = start; i < end; i++) {
          if (!holdsAt(bytes, to, tokens[i])) return false;
          to += tokens[i].length;
        }
        return next ? holdsAt(bytes, to, next) : to === bytes.length;
      };
      if (!fits()) {
        if (end === start || tokens[start][0] !== SPACE) return false;
        tokens[start] = tokens[start].subarray(1);
        if (!fits()) return false;
      }
      for (let i = start; i < end; i++) at += tokens[i].length;
      at += next?.length ?? 0;
      start = end + 1;
    }
    return at === bytes.length;
  }

  #addedTokens(): ReadonlyMap<number, { readonly content: string }> {
    return (this.#added ??= this.#inner.get_added_tokens_decoder());
  }

  #bytes(id: number): Uint8Array {
    let bytes = this.#spelt.get(id);
    if (bytes === undefined) this.#spelt.set(id, (bytes = this.#spell(id)));
    return bytes;
  }

  #spell(id: number): Uint8Array {
    const added = this.#addedTokens().get(id);
    if (added) return new TextEncoder().encode(added.content);
    if (this.#spelling === "metaspace") {
      const token = this.token(id);
      const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
      return byte
        ? Uint8Array.of(Number.parseInt(byte[1], 16))
        : new TextEncoder().encode(token.replaceAll("▁", " "));
    }
    return Uint8Array.from(this.token(id), (character) => {
      const byte = this.#byteOf.get(character);
      if (byte !== undefined) return byte;
      throw new FormatError(
        `The token ${JSON.stringify(this.token(id))} is not written in the byte-level alphabet.`,
        "Places of tokens are known for byte-level tokenizers and those that write spaces as ▁: use encode().",
      );
    });
  }
}

const SPACE = 0x20;

/** How a tokenizer's vocabulary is spelt, by how it is decoded. */
function spellingOf(json: object): Spelling | undefined {
  const { decoder, pre_tokenizer: splitter } = json as Readonly<Record<string, unknown>>;
  const parts = JSON.stringify([decoder, splitter]);
  if (parts.includes('"ByteLevel"')) return "byte-level";
  return parts.includes("▁") || parts.includes('"Metaspace"') ? "metaspace" : undefined;
}

/** @throws FormatError when the vocabulary is missing or empty, or an id could not be one: the implementation checks neither */
function assertVocabulary(model: unknown, remedy: string): void {
  const vocabulary = (model as { vocab?: unknown } | null | undefined)?.vocab;
  const entries = typeof vocabulary === "object" && vocabulary !== null ? Object.entries(vocabulary) : [];
  if (entries.length === 0) throw new FormatError("The tokenizer.json has no vocabulary.", remedy);
  // A unigram model lists [token, score]; all others map tokens to ids.
  const list = Array.isArray(vocabulary);
  const bad = entries.find(([, value]: [string, unknown]) =>
    list
      ? !Array.isArray(value)
      : !Number.isInteger(value) || (value as number) < 0 || (value as number) >= 2 ** 32,
  );
  if (!bad) return;
  throw new FormatError(
    `The token ${JSON.stringify(bad[0])} of the tokenizer.json has the id ${JSON.stringify(bad[1])}.`,
    remedy,
  );
}

/**
 * The alphabet of byte-level BPE (GPT-2): printable Latin-1 bytes stand for themselves, every other byte for the next
 * character from U+0100 on.
 */
function byteLevelAlphabet(): Map<string, number> {
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    alphabet.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return alphabet;
}

/** Where the character of every byte begins and ends in a text; one entry more for its end. */
function charactersOfBytes(text: string, bytes: number): { starts: Uint32Array; ends: Uint32Array } {
  const starts = new Uint32Array(bytes + 1);
  const ends = new Uint32Array(bytes + 1);
  let at = 0;
  let index = 0;
  for (const character of text) {
    const length = utf8Length(character);
    starts.fill(index, at, at + length);
    index += character.length;
    ends.fill(index, at, at + length);
    at += length;
  }
  starts[at] = ends[at] = text.length;
  return { starts, ends };
}

function holdsAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  if (at + part.length > bytes.length) return false;
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

/** Bytes of a code point in UTF-8; a lone surrogate counts as U+FFFD. */
function utf8Length(character: string): number {
  const point = character.codePointAt(0)!;
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}
