/** Random tensors and damaged files for property tests. */
import fc from "fast-check";
import type { TensorType } from "../../src/data/tensor.ts";
import { bytesAs, bytesPerElement, type RawTensor } from "../../src/io/raw-tensor.ts";

const TYPES: readonly TensorType[] = [
  "F64",
  "F32",
  "F16",
  "BF16",
  "I64",
  "I32",
  "I16",
  "I8",
  "U64",
  "U32",
  "U16",
  "U8",
  "BOOL",
];

/** A tensor of any type and up to four small dimensions, of random bits (NaNs among them). */
export const rawTensor: fc.Arbitrary<RawTensor> = fc
  .tuple(fc.constantFrom(...TYPES), fc.array(fc.nat(4), { maxLength: 4 }))
  .chain(([dtype, shape]) => {
    const length = shape.reduce((product, size) => product * size, 1) * bytesPerElement(dtype);
    return fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((bytes) => ({ dtype, shape, data: bytesAs(dtype, bytes.slice()) }));
  });

export const rawTensors: fc.Arbitrary<Map<string, RawTensor>> = fc
  .dictionary(
    fc
      .string({ unit: "grapheme", maxLength: 8 })
      .filter((name) => name !== "__proto__" && name !== "__metadata__"),
    rawTensor,
    { maxKeys: 5 },
  )
  .map((tensors) => new Map(Object.entries(tensors)));

/** The file with bytes changed, removed, repeated or cut off. */
export function damaged(file: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat(file.length - 1);
  // Headers are where the danger lies: half of the changes hit the first 300 bytes.
  const anywhere = fc.oneof(at, fc.nat(Math.min(file.length - 1, 300)));
  const interesting = fc.oneof(
    fc.constantFrom(0, 0x30, 0x39, 0x22, 0x7b, 0x2d, 0x7f, 0x80, 0xff),
    fc.nat(255),
  );
  const changes = fc.array(fc.tuple(anywhere, interesting), { minLength: 1, maxLength: 6 }).map((list) => {
    const bytes = file.slice();
    for (const [index, value] of list) bytes[index] = value;
    return bytes;
  });
  const cut = at.map((length) => file.slice(0, length));
  const removed = fc
    .tuple(anywhere, fc.integer({ min: 1, max: 40 }))
    .map(([start, length]) => Uint8Array.of(...file.slice(0, start), ...file.slice(start + length)));
  const repeated = fc
    .tuple(anywhere, fc.integer({ min: 1, max: 40 }))
    .map(([start, length]) => Uint8Array.of(...file.slice(0, start + length), ...file.slice(start)));
  return fc.oneof({ weight: 3, arbitrary: changes }, cut, removed, repeated);
}
