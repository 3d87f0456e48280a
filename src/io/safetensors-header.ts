/**
 * The safetensors header: 8 bytes of length, then JSON that places every tensor in the rest of the file
 * (https://github.com/huggingface/safetensors, section "Format"). Reading is strict: what a hostile or damaged file
 * could say is refused before anything is allocated on its word.
 */
import type { TensorInfo, TensorType } from "../data/tensor.ts";
import { FormatError, OptionError } from "../errors.ts";
import {
  bytesPerElement,
  compareUtf8,
  elementCount,
  entriesOf,
  isTensorType,
  type Named,
} from "./raw-tensor.ts";

/** Longest header that is read or written, in bytes: the reference implementation's limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** More dimensions than any array library has. */
const MAX_DIMENSIONS = 64;

/** Where a tensor lies: bytes [start, end) after the header. */
export interface TensorPlace extends TensorInfo {
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** In file order. */
  readonly tensors: ReadonlyMap<string, TensorPlace>;
  readonly metadata: ReadonlyMap<string, string>;
}

const REMEDY = "The file is damaged or was written wrongly: download or export it again.";

/**
 * Parses the JSON part of a header.
 * @param dataBytes bytes that follow the header in the file
 * @throws FormatError when it is not strict safetensors JSON, or the tensors do not cover the data exactly
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  dataBytes: number,
  fileName: string,
): SafetensorsHeader {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`The header of ${fileName} is not valid UTF-8.`, REMEDY, { cause });
  }
  const scanner = new HeaderScanner(text, fileName);
  const found: [string, TensorPlace][] = [];
  const metadata = new Map<string, string>();
  scanner.object("{", (key) => {
    if (key !== "__metadata__") found.push([key, readPlace(scanner, key)]);
    else scanner.object("", (name) => void metadata.set(name, scanner.string()));
  });
  scanner.end();

  found.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let covered = 0;
  for (const [name, place] of found) {
    if (place.start !== covered) {
      const what = place.start < covered ? "overlaps the tensor before it" : "leaves a hole before it";
      scanner.fail(`tensor ${quote(name)} starts at byte ${place.start} and ${what}`);
    }
    covered = place.end;
  }
  if (covered !== dataBytes) {
    scanner.fail(`the tensors end at byte ${covered} of the data, which has ${dataBytes} bytes`);
  }
  return { tensors: new Map(found), metadata };
}

/** A name from the file for a message: a hostile one may be as long as the header. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function readPlace(scanner: HeaderScanner, name: string): TensorPlace {
  let dtype: TensorType | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  const fail: (problem: string) => never = (problem) => scanner.fail(`tensor ${quote(name)} ${problem}`);
  scanner.object("", (key) => {
    if (key === "dtype") {
      const text = scanner.string();
      if (!isTensorType(text)) fail(`has the unsupported type ${quote(text)}`);
      dtype = text;
    } else if (key === "shape") shape = scanner.wholeNumbers(MAX_DIMENSIONS);
    else if (key === "data_offsets") offsets = scanner.wholeNumbers(2);
    else fail(`has the unknown property ${quote(key)}`);
  });
  if (!dtype || !shape || offsets?.length !== 2) {
    return fail("lacks a dtype, a shape or two data_offsets");
  }
  const [start, end] = offsets;
  const bytes = (elementCount(shape) ?? NaN) * bytesPerElement(dtype);
  if (!Number.isSafeInteger(bytes)) fail(`is too large: ${dtype} [${shape.join(", ")}]`);
  if (end - start !== bytes) {
    fail(`spans bytes ${start} to ${end}, but ${dtype} [${shape.join(", ")}] takes ${bytes} bytes`);
  }
  return { dtype, shape, start, end };
}

/**
 * Reads the few forms of JSON that a header may contain. `JSON.parse` would let through what must be refused here:
 * duplicate keys, whole numbers beyond 2^53 and values nested without end.
 */
class HeaderScanner {
  readonly #text: string;
  readonly #fileName: string;
  #at = 0;

  constructor(text: string, fileName: string) {
    this.#text = text;
    this.#fileName = fileName;
  }

  fail(problem: string): never {
    throw new FormatError(`The safetensors header of ${this.#fileName} is invalid: ${problem}.`, REMEDY);
  }

  #unexpected(wanted: string): never {
    const found = this.#text.slice(this.#at, this.#at + 12);
    return this.fail(
      `at character ${this.#at}, ${wanted} was expected and ${found === "" ? "nothing" : JSON.stringify(found)} found`,
    );
  }

  #skipSpace(): void {
    while (" \n\r\t".includes(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at++;
  }

  /** Takes `token` after white space, if it comes next. */
  #takes(token: string): boolean {
    this.#skipSpace();
    if (this.#text.charAt(this.#at) !== token) return false;
    this.#at++;
    return true;
  }

  /** Reads an object and calls `value` to read the value of each key; `first` must be the very next character. */
  object(first: "{" | "", value: (key: string) => void): void {
    if (first !== "" && this.#text.charAt(this.#at) !== first) this.#unexpected('"{"');
    if (!this.#takes("{")) this.#unexpected('"{"');
    if (this.#takes("}")) return;
    const seen = new Set<string>();
    do {
      const key = this.string();
      if (seen.has(key)) this.fail(`the key ${quote(key)} occurs twice`);
      if (key === "__proto__") this.fail('"__proto__" is not accepted as a name');
      seen.add(key);
      if (!this.#takes(":")) this.#unexpected('":"');
      value(key);
    } while (this.#takes(","));
    if (!this.#takes("}")) this.#unexpected('"," or "}"');
  }

  string(): string {
    this.#skipSpace();
    const start = this.#at;
    if (this.#text.charAt(start) !== '"') this.#unexpected("a string");
    let end = start + 1;
    while (end < this.#text.length && this.#text.charAt(end) !== '"') {
      end += this.#text.charAt(end) === "\\" ? 2 : 1;
    }
    let value: string;
    try {
      value = JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      return this.#unexpected("a valid string");
    }
    if (/\p{Surrogate}/u.test(value)) this.#unexpected("a string of whole characters");
    this.#at = end + 1;
    return value;
  }

  /** An array of at most `limit` whole numbers from 0 to 2^53 − 1. */
  wholeNumbers(limit: number): number[] {
    if (!this.#takes("[")) this.#unexpected('"["');
    const values: number[] = [];
    if (this.#takes("]")) return values;
    do {
      if (values.length === limit) this.fail(`a list has more than ${limit} numbers`);
      this.#skipSpace();
      const digits = /^(?:0|[1-9]\d{0,15})(?![\d.eE])/.exec(this.#text.slice(this.#at, this.#at + 17))?.[0];
      if (digits === undefined || Number(digits) > Number.MAX_SAFE_INTEGER) {
        return this.#unexpected("a whole number from 0 to 2^53 - 1");
      }
      values.push(Number(digits));
      this.#at += digits.length;
    } while (this.#takes(","));
    if (!this.#takes("]")) this.#unexpected('"," or "]"');
    return values;
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#unexpected("the end of the header");
  }
}

/** From widest to narrowest, which keeps every tensor aligned; within a width as the reference implementation does. */
const FILE_ORDER: readonly TensorType[] = [
  "U64",
  "I64",
  "F64",
  "F32",
  "U32",
  "I32",
  "BF16",
  "F16",
  "U16",
  "I16",
  "I8",
  "U8",
  "BOOL",
];

/**
 * Places tensors in a file: by type, then by name. The header is the same, byte for byte, as the reference
 * implementation's (Python package 0.8), except that it leaves the order of metadata to chance and here it is sorted.
 *
 * @returns the header's bytes (length, JSON, padding to 8) and the places in file order
 * @throws OptionError when a name or shape cannot be stored
 */
export function layOutSafetensors(
  tensors: Named<TensorInfo>,
  metadata: Named<string> = {},
): { header: Uint8Array; places: ReadonlyMap<string, TensorPlace> } {
  const sorted = entriesOf(tensors).sort(
    ([a, x], [b, y]) => FILE_ORDER.indexOf(x.dtype) - FILE_ORDER.indexOf(y.dtype) || compareUtf8(a, b),
  );
  const places = new Map<string, TensorPlace>();
  const parts: string[] = [];
  const texts = entriesOf(metadata).sort(([a], [b]) => compareUtf8(a, b));
  if (texts.length > 0) {
    const pairs = texts.map(([key, value]) => {
      assertName(key, "metadata key");
      assertText(value, `The metadata value of ${JSON.stringify(key)}`);
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
    });
    parts.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  let end = 0;
  for (const [name, { dtype, shape }] of sorted) {
    assertName(name, "tensor name");
    if (name === "__metadata__") {
      throw new OptionError(
        'A tensor is called "__metadata__".',
        "The format reserves that name: choose another.",
      );
    }
    const start = end;
    end += (elementCount(shape) ?? NaN) * bytesPerElement(dtype);
    if (!Number.isSafeInteger(end) || shape.length > MAX_DIMENSIONS) {
      throw new OptionError(
        `Tensor ${JSON.stringify(name)} has the shape [${shape.join(", ")}].`,
        `Give at most ${MAX_DIMENSIONS} whole numbers, and at most 2^53 - 1 bytes in all.`,
      );
    }
    places.set(name, { dtype, shape: [...shape], start, end });
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${start},${end}]}`,
    );
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new OptionError(
      `The names, shapes and metadata take ${length} bytes.`,
      `A safetensors header has at most ${MAX_HEADER_BYTES}: store long lists as tensors.`,
    );
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  header.set(json, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  return { header, places };
}

function assertName(name: string, what: string): void {
  assertText(name, `The ${what} ${JSON.stringify(name)}`);
  if (name === "__proto__") {
    throw new OptionError(`The ${what} is "__proto__".`, "Readers refuse that name: choose another.");
  }
}

function assertText(text: string, what: string): void {
  if (typeof text !== "string" || /\p{Surrogate}/u.test(text)) {
    throw new OptionError(
      `${what} is not a string of whole characters.`,
      "Remove lone surrogates, or encode it.",
    );
  }
}
