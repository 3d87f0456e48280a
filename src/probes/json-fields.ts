/** Reads the fields of a record's JSON form one by one, with an error that names the field. */
import { FormatError } from "../errors.ts";

export function bad(name: string, what: string): FormatError {
  return new FormatError(
    `Not a probe: ${name} ${what}.`,
    "Give what toJSON() returned, from the same major version.",
  );
}

export function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(name, "is not an object");
  }
  return value as Record<string, unknown>;
}

export function list<T>(value: unknown, name: string, read: (item: unknown, name: string) => T): T[] {
  if (!Array.isArray(value)) throw bad(name, "is not a list");
  return value.map((item, at) => read(item, `${name}[${at}]`));
}

export function finite(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw bad(name, "is not a finite number");
  return value;
}

export function above(value: unknown, name: string): number {
  const number = finite(value, name);
  if (!(number > 0)) throw bad(name, "is not above 0");
  return number;
}

/** Above 0 and at most 1. */
export function share(value: unknown, name: string): number {
  const number = above(value, name);
  if (number > 1) throw bad(name, "is above 1");
  return number;
}

export function whole(
  value: unknown,
  name: string,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  const number = finite(value, name);
  if (!Number.isInteger(number) || number < least || number > most) {
    throw bad(name, `is not a whole number from ${least} to ${most}`);
  }
  return number;
}

export function flag(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw bad(name, "is not true or false");
  return value;
}

export function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw bad(name, "is not text");
  return value;
}

export function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T {
  const found = allowed.find((option) => option === value);
  if (found === undefined) throw bad(name, `is not one of ${allowed.join(", ")}`);
  return found;
}
