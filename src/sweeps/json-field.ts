/** Reads values that were JSON, with errors that name the place. */

/** Makes the error for what is wrong at a place. */
export type FieldFailure = (path: string, what: string) => Error;

/** A value and where it stands. */
export class JsonField {
  readonly value: unknown;
  readonly path: string;
  readonly #failure: FieldFailure;

  constructor(value: unknown, path: string, failure: FieldFailure) {
    this.value = value;
    this.path = path;
    this.#failure = failure;
  }

  /** To be thrown. */
  wrong(what: string): Error {
    return this.#failure(this.path, what);
  }

  get absent(): boolean {
    return this.value === undefined;
  }

  /** Null as it is, anything else read. */
  orNull<T>(read: (field: this) => T): T | null {
    return this.value === null ? null : read(this);
  }

  /** Undefined where the field is absent. */
  optional<T>(read: (field: this) => T): T | undefined {
    return this.value === undefined ? undefined : read(this);
  }

  text(): string {
    if (typeof this.value !== "string") throw this.wrong("is not text");
    return this.value;
  }

  /** Text of at least one character. */
  name(): string {
    if (typeof this.value !== "string" || this.value === "") throw this.wrong("is not a name");
    return this.value;
  }

  number(): number {
    if (typeof this.value !== "number" || !Number.isFinite(this.value)) throw this.wrong("is not a number");
    return this.value;
  }

  /** A number above 0. */
  positive(): number {
    const number = this.number();
    if (!(number > 0)) throw this.wrong("is not above 0");
    return number;
  }

  whole(least: number): number {
    const { value } = this;
    if (!Number.isSafeInteger(value) || (value as number) < least) {
      throw this.wrong(`is not a whole number of at least ${least}`);
    }
    return value as number;
  }

  flag(): boolean {
    if (typeof this.value !== "boolean") throw this.wrong("is not true or false");
    return this.value;
  }

  oneOf<T extends string>(allowed: readonly T[]): T {
    const found = allowed.find((option) => option === this.value);
    if (found !== undefined) return found;
    const meant = typeof this.value === "string" ? nearest(this.value, allowed) : undefined;
    throw this.wrong(
      `is ${JSON.stringify(this.value)}, and not one of ${allowed.join(", ")}` +
        (meant === undefined ? "" : ` (do you mean "${meant}"?)`),
    );
  }

  /** The items of a list. */
  items(): JsonField[] {
    if (!Array.isArray(this.value)) throw this.wrong("is not a list");
    return this.value.map((item, at) => new JsonField(item, `${this.path}[${at}]`, this.#failure));
  }

  /** An object; with `known`, one that has no other keys. */
  object(known?: readonly string[]): JsonObject {
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.wrong("is not an object");
    if (known) {
      const key = Object.keys(value).find((name) => !known.includes(name));
      if (key !== undefined) {
        const meant = nearest(key, known);
        throw this.wrong(
          `has an unknown key ${JSON.stringify(key)}` +
            (meant === undefined ? `; its keys are ${known.join(", ")}` : ` (do you mean "${meant}"?)`),
        );
      }
    }
    return new JsonObject(value as Record<string, unknown>, this.path, this.#failure);
  }
}

/** An object whose fields are read by name. */
export class JsonObject {
  readonly path: string;
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #failure: FieldFailure;

  constructor(value: Readonly<Record<string, unknown>>, path: string, failure: FieldFailure) {
    this.#value = value;
    this.path = path;
    this.#failure = failure;
  }

  keys(): string[] {
    return Object.keys(this.#value);
  }

  get(key: string): JsonField {
    const value = Object.hasOwn(this.#value, key) ? this.#value[key] : undefined;
    return new JsonField(value, this.path === "" ? key : `${this.path}.${key}`, this.#failure);
  }
}

/** The known name that is a few slips away; undefined where none is. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = slips(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Characters to insert, delete or replace (Levenshtein 1966). */
function slips(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    above = row;
  }
  return above[b.length];
}
