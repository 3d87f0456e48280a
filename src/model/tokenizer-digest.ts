/** A short name for how a tokenizer splits texts. */

/** What has a say in the tokens of a text without special tokens; the vocabulary and the merges come with the model. */
const PARTS = ["normalizer", "pre_tokenizer", "added_tokens"] as const;
const CONFIG_PARTS = ["remove_space", "do_lowercase_and_remove_accent"] as const;

/**
 * 128 bits as hex over vocabulary, merges and settings of a tokenizer.json: two files with the same digest make the same tokens
 * of every text. It does not depend on the order of the vocabulary's entries, on settings written as null or (of the model) false or
 * left out, on how merges are written ("a b" or ["a", "b"]), nor on what concerns only special tokens, padding, truncation and decoding.
 * It tells tokenizers apart; it is no defence against forgery.
 */
export function digestOfTokenizer(json: object, config: object): string {
  const file = json as Readonly<Record<string, unknown>>;
  const { vocab, merges, ...model } = file["model"] as Record<string, unknown>;
  const settings = Object.fromEntries(Object.entries(model).filter(([, value]) => value !== false));
  const hash = new Hash();
  hash.add(canonical(settings));
  for (const part of PARTS) hash.add(canonical(file[part] ?? null));
  for (const part of CONFIG_PARTS) {
    hash.add(canonical((config as Readonly<Record<string, unknown>>)[part] || null));
  }
  for (const merge of (merges ?? []) as readonly (string | readonly string[])[]) {
    hash.add(typeof merge === "string" ? merge : merge.join(" "));
  }
  if (Array.isArray(vocab)) for (const entry of vocab) hash.add(JSON.stringify(entry));
  else {
    const entries = new Uint32Array(4);
    for (const [token, id] of Object.entries(vocab as Record<string, number>)) {
      const entry = new Hash();
      entry.add(token);
      entry.addNumber(id);
      for (let lane = 0; lane < 4; lane++) entries[lane] += entry.lanes[lane];
    }
    for (const sum of entries) hash.addNumber(sum);
  }
  return hash.hex();
}

/** JSON with sorted keys and without nulls. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(
      Object.entries(part)
        .filter(([, own]) => own !== null)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  });
}

/** Four 32-bit lanes of multiply and rotate over UTF-16 code units, each with its own odd factors. */
class Hash {
  readonly lanes: Uint32Array = Uint32Array.of(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);

  add(text: string): void {
    let [a, b, c, d] = this.lanes;
    for (let i = 0; i <= text.length; i++) {
      // The length ends each text: ["ab"] and ["a", "b"] differ.
      const unit = i < text.length ? text.charCodeAt(i) : 0x10000 + text.length;
      a = Math.imul(a ^ unit, 0x9e3779b1);
      a ^= a >>> 15;
      b = Math.imul(b ^ unit, 0x85ebca77);
      b ^= b >>> 13;
      c = Math.imul(c ^ unit ^ a, 0xc2b2ae3d);
      c ^= c >>> 16;
      d = Math.imul(d ^ unit ^ b, 0x27d4eb2f);
      d ^= d >>> 14;
    }
    this.lanes.set([a, b, c, d]);
  }

  addNumber(value: number): void {
    this.add(String(value));
  }

  hex(): string {
    return Array.from(this.lanes, (lane) => lane.toString(16).padStart(8, "0")).join("");
  }
}
