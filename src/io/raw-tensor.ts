/**
 * Tensors in the type they are stored in, and their widening to float32. The typed arrays are views in the host's byte
 * order: big-endian hosts are not supported.
 */
import { bfloatsToFloats, halvesToFloats } from "../data/float16.ts";
import type { TensorType } from "../data/tensor.ts";

/** Stored values; F16 and BF16 are bit patterns in a `Uint16Array`, BOOL is one byte per value. */
export type RawArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/** Row-major values of one tensor in their stored type. */
export interface RawTensor {
  readonly dtype: TensorType;
  readonly shape: readonly number[];
  readonly data: RawArray;
}

/** Named things, as an object or a map. */
export type Named<T> = Readonly<Record<string, T>> | ReadonlyMap<string, T>;

const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const satisfies Record<TensorType, unknown>;

/** Whether `name` is one of the element types. */
export function isTensorType(name: string): name is TensorType {
  return Object.hasOwn(ARRAYS, name);
}

/** Bytes per element. */
export function bytesPerElement(dtype: TensorType): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** Name of the typed array class that holds the type, e.g. `"Uint16Array"` for BF16. */
export function arrayName(dtype: TensorType): string {
  return ARRAYS[dtype].name;
}

/** Number of elements of a shape; undefined where a dimension is no whole number or the product exceeds 2^53 − 1. */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    count *= size;
    if (!Number.isSafeInteger(count)) return undefined;
  }
  return count;
}

/** Little-endian bytes as the typed array of a type: a view where the alignment allows, else a copy. */
export function bytesAs(dtype: TensorType, bytes: Uint8Array): RawArray {
  const aligned = bytes.byteOffset % bytesPerElement(dtype) === 0 ? bytes : bytes.slice();
  return new ARRAYS[dtype](
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    aligned.byteLength / bytesPerElement(dtype),
  );
}

/** The bytes of a typed array, as a view. */
export function bytesOf(data: RawArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * The values as float32: the array itself when it is F32. F64 and wide integers round to nearest; everything else is
 * exact.
 */
export function toFloats(tensor: Pick<RawTensor, "dtype" | "data">): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (dtype === "F16") return halvesToFloats(data as Uint16Array);
  if (dtype === "BF16") return bfloatsToFloats(data as Uint16Array);
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = Number(data[i]);
  return out;
}

/** Entries of an object or a map. */
export function entriesOf<T>(named: Named<T>): [string, T][] {
  return named instanceof Map
    ? [...(named as ReadonlyMap<string, T>)]
    : Object.entries(named as Record<string, T>);
}

/** Order of two strings by their UTF-8 bytes, which is the order of their code points. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a.charCodeAt(i) !== b.charCodeAt(i)) return a.codePointAt(i)! - b.codePointAt(i)!;
  }
  return a.length - b.length;
}
