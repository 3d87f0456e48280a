/** Fields of a `config.json`, checked one by one as they are read. */
import { FormatError, UnsupportedModelError } from "../errors.ts";

export class ConfigFields {
  readonly #json: Readonly<Record<string, unknown>>;
  /** What the errors call the model. */
  readonly #family: string;

  constructor(json: Readonly<Record<string, unknown>>, family: string) {
    this.#json = json;
    this.#family = family;
  }

  /** A field's value; null counts as missing. */
  value(name: string): unknown {
    return this.#json[name] ?? undefined;
  }

  /** The field is null rather than missing: what its absence would stand for is turned off. */
  isNull(name: string): boolean {
    return this.#json[name] === null;
  }

  /** A whole number, at least `least`. */
  whole(name: string, fallback?: number, least = 1): number {
    const value = this.value(name) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
    throw new FormatError(
      `${name} in the model config is ${show(value)}.`,
      `It is a whole number above ${least - 1}.`,
    );
  }

  positive(name: string, fallback?: number): number {
    const value = this.value(name) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw new FormatError(`${name} in the model config is ${show(value)}.`, "It is a number above 0.");
  }

  /** A number above 0, or null when the field is not there; a fallback holds where it is missing, but not where it is null. */
  optional(name: string, fallback?: number): number | null {
    if (this.isNull(name)) return null;
    return this.value(name) === undefined && fallback === undefined ? null : this.positive(name, fallback);
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback;
    if (typeof value === "boolean") return value;
    throw new FormatError(`${name} in the model config is ${show(value)}.`, "It is true or false.");
  }

  /** A nested object, or undefined when the field is not there. */
  object(name: string): ConfigFields | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) {
      throw new FormatError(`${name} in the model config is ${show(value)}.`, "It is an object.");
    }
    return new ConfigFields(value as Record<string, unknown>, this.#family);
  }

  /** One of some words, as what they stand for. */
  choice<T>(name: string, choices: Readonly<Record<string, T>>, fallback?: string): T {
    const value = this.value(name) ?? fallback;
    if (typeof value === "string" && Object.hasOwn(choices, value)) return choices[value];
    throw this.unsupported(`${name} ${show(value)}`, Object.keys(choices).join(", "));
  }

  /** A flag that must have this value. */
  only(name: string, value: boolean, supported: string): void {
    if (this.flag(name, value) !== value) throw this.unsupported(`${name} ${String(!value)}`, supported);
  }

  unsupported(what: string, supported: string): UnsupportedModelError {
    return new UnsupportedModelError(
      `This ${this.#family} model has ${what}, which is not implemented.`,
      `Supported: ${supported}. Compute activations elsewhere and load them from a file.`,
    );
  }
}

export function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
