/** Reads the fixtures that test/fixtures/make-io-fixtures.py wrote. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

export const FIXTURES: string = resolve(import.meta.dirname, "../fixtures/io");

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(resolve(FIXTURES, name)));
}

export function jsonFixture(name: string): unknown {
  return JSON.parse(readFileSync(resolve(FIXTURES, name), "utf8"));
}

export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** Float32 values of little-endian bytes in base64. */
export function floatsFromBase64(text: string): Float32Array {
  return new Float32Array(fromBase64(text).buffer as ArrayBuffer);
}
