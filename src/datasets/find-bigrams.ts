/** Where texts hold pairs of words, and where one word of a pair stands without the other. */
import type { Pacer } from "../backends/cpu/pacer.ts";
import { OptionError } from "../errors.ts";
import { Random } from "../random.ts";
import { GrowingArray } from "./growing-array.ts";

export interface Bigram {
  /** As it was given, `"first-second"`. */
  readonly name: string;
  /** In small letters. */
  readonly first: string;
  readonly second: string;
}

/** What a place says of a pair. */
export const FIND_KINDS = ["positive", "missing_first", "missing_second"] as const;

export type FindKind = (typeof FIND_KINDS)[number];

export interface Find {
  /** Index of the pair. */
  readonly pair: number;
  /** Index in {@link FIND_KINDS}. */
  readonly kind: number;
  readonly text: number;
  /** UTF-16 index after the word. */
  readonly at: number;
  /** Whether the place is what follows the word, not the word's end. */
  readonly after: boolean;
}

export interface Finds {
  /** In the order of the texts. */
  readonly drawn: readonly Find[];
  /** What was passed over, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** Letters, combining marks and digits that follow each other. */
const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const ONE_WORD = /^[\p{L}\p{M}\p{N}]+$/u;

/** @throws OptionError when one is not two words, or two are the same */
export function readBigrams(bigrams: readonly string[]): Bigram[] {
  if (bigrams.length === 0)
    throw new OptionError("There are no bigrams.", 'Give some, such as "high-school".');
  const seen = new Set<string>();
  return bigrams.map((name) => {
    const key = name.toLowerCase();
    const words = key.split("-");
    if (words.length !== 2 || !words.every((word) => ONE_WORD.test(word))) {
      throw new OptionError(`"${name}" is not two words with a hyphen between.`, 'Write "high-school".');
    }
    if (seen.has(key)) throw new OptionError(`"${name}" is listed twice.`, "List it once.");
    seen.add(key);
    return { name, first: words[0], second: words[1] };
  });
}

/**
 * Looks for all pairs in one pass over the texts, and draws at most `most` places of every pair and kind by a seeded
 * stream of their own.
 */
export async function findBigrams(
  texts: readonly string[],
  pairs: readonly Bigram[],
  options: {
    readonly most: number;
    readonly seed: number;
    readonly pacer: Pacer;
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
  },
): Promise<Finds> {
  const { most, seed, pacer, onProgress } = options;
  const byFirst = indexBy(pairs, ({ first }) => first);
  const bySecond = indexBy(pairs, ({ second }) => second);
  const places = pairs.flatMap(() => FIND_KINDS.map(() => new Places()));
  const add = (pair: number, kind: FindKind, text: number, at: number): void => {
    places[pair * FIND_KINDS.length + FIND_KINDS.indexOf(kind)].add(text, at);
  };
  let unclear = 0;
  for (const [t, text] of texts.entries()) {
    let before: { readonly word: string; readonly end: number } | undefined;
    let words = 0;
    for (const match of text.matchAll(WORD)) {
      if (++words % 1024 === 0 && pacer.due) await pacer.turn();
      const word = match[0].toLowerCase();
      const end = match.index + match[0].length;
      const firsts = before && byFirst.get(before.word);
      const seconds = bySecond.get(word);
      if (firsts ?? seconds) {
        const gap = before ? gapOf(text.slice(before.end, match.index)) : "other";
        for (const p of firsts ?? []) {
          const { second } = pairs[p];
          if (gap === "other" || !word.startsWith(second)) add(p, "missing_second", t, before!.end);
          else if (gap === "joint" && word === second) add(p, "positive", t, end);
          else unclear++;
        }
        for (const p of seconds ?? []) {
          if (gap === "other" || before!.word !== pairs[p].first) add(p, "missing_first", t, end);
        }
      }
      before = { word, end };
    }
    // After the last word there may be something that is no word.
    if (before && before.end < text.length) {
      for (const p of byFirst.get(before.word) ?? []) add(p, "missing_second", t, before.end);
    }
    if (pacer.due) await pacer.turn();
    onProgress?.(t + 1, texts.length);
  }

  const byText = new Map<number, Find[]>();
  let left = 0;
  for (const [i, list] of places.entries()) {
    const pair = Math.floor(i / FIND_KINDS.length);
    const kind = i % FIND_KINDS.length;
    const after = FIND_KINDS[kind] === "missing_second";
    const chosen = list.draw(most, new Random(seed, `places of ${pairs[pair].name}, ${FIND_KINDS[kind]}`));
    left += list.length - chosen.length;
    for (const [text, at] of chosen) {
      const finds = byText.get(text);
      const find = { pair, kind, text, at, after };
      if (finds) finds.push(find);
      else byText.set(text, [find]);
    }
    if (pacer.due) await pacer.turn();
  }
  const drawn: Find[] = [];
  for (const t of texts.keys()) {
    const finds = byText.get(t) ?? [];
    finds.sort((a, b) => a.at - b.at || Number(a.after) - Number(b.after) || a.pair - b.pair);
    for (const find of finds) drawn.push(find);
    if (pacer.due) await pacer.turn();
  }
  return {
    drawn,
    dropped: { "pairs that are neither positive nor negative": unclear, "places not drawn": left },
  };
}

/**
 * What lies between two words: white space with no more than one line break joins them; a hyphen or an empty line leaves it
 * open whether they belong together.
 */
function gapOf(between: string): "joint" | "unclear" | "other" {
  if (/^[-\u00ad\u2010\u2011]$/.test(between)) return "unclear";
  if (!/^\s+$/.test(between)) return "other";
  const breaks = between.match(/\r\n|[\n\r\u2028\u2029]/g)?.length ?? 0;
  return breaks <= 1 ? "joint" : "unclear";
}

function indexBy(pairs: readonly Bigram[], key: (pair: Bigram) => string): Map<string, number[]> {
  const index = new Map<string, number[]>();
  for (const [p, pair] of pairs.entries()) index.set(key(pair), [...(index.get(key(pair)) ?? []), p]);
  return index;
}

/** Places in texts, eight bytes each. */
class Places {
  readonly #texts = new GrowingArray();
  readonly #ats = new GrowingArray();

  get length(): number {
    return this.#texts.length;
  }

  add(text: number, at: number): void {
    this.#texts.push(text);
    this.#ats.push(at);
  }

  draw(most: number, random: Random): [text: number, at: number][] {
    const texts = this.#texts.values();
    const ats = this.#ats.values();
    let chosen = Uint32Array.from(texts, (_, place) => place);
    // The first steps of a shuffle draw as many as are wanted.
    if (chosen.length > most) {
      for (let i = 0; i < most; i++) {
        const j = i + random.below(chosen.length - i);
        [chosen[i], chosen[j]] = [chosen[j], chosen[i]];
      }
      chosen = chosen.subarray(0, most);
    }
    return Array.from(chosen, (place) => [texts[place], ats[place]]);
  }
}
