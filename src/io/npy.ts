/** NumPy's .npy format, versions 1.0 to 3.0 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
import type { TensorType } from "../data/tensor.ts";
import { FormatError, OptionError, ShapeError } from "../errors.ts";
import {
  arrayName,
  bytesAs,
  bytesOf,
  bytesPerElement,
  elementCount,
  type RawArray,
  type RawTensor,
} from "./raw-tensor.ts";

/** NumPy's type codes, kind and bytes per element, of the types that are read. */
const TYPES: Readonly<Record<string, TensorType>> = {
  f8: "F64",
  f4: "F32",
  f2: "F16",
  i8: "I64",
  i4: "I32",
  i2: "I16",
  i1: "I8",
  u8: "U64",
  u4: "U32",
  u2: "U16",
  u1: "U8",
  b1: "BOOL",
};

const MAX_DIMENSIONS = 64;

const REMEDY = "Save the array again with numpy.save.";

/**
 * Reads an array. Values are in C order whatever the file's order, and in the host's byte order; float16 are bits in a
 * `Uint16Array`.
 *
 * @throws FormatError when the bytes are not a plain .npy array: truncated, inconsistent, pickled or structured
 */
export function readNpy(bytes: Uint8Array): RawTensor {
  if (bytes.length < 10 || !MAGIC.every((byte, i) => bytes[i] === byte)) {
    throw new FormatError(
      "These bytes are not a .npy file: they do not start with its magic string.",
      REMEDY,
    );
  }
  const [major, minor] = [bytes[6], bytes[7]];
  if (major < 1 || major > 3 || minor !== 0) {
    throw new FormatError(`The .npy version is ${major}.${minor}; 1.0, 2.0 and 3.0 are read.`, REMEDY);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lengthBytes = major === 1 ? 2 : 4;
  const headerStart = 8 + lengthBytes;
  const headerLength =
    bytes.length < headerStart ? Infinity : major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerStart + headerLength > bytes.length) throw new FormatError("The .npy header is cut off.", REMEDY);
  const dataStart = headerStart + headerLength;
  const { descr, fortranOrder, shape } = parseHeader(
    decodeHeader(bytes.subarray(headerStart, dataStart), major === 3),
  );
  const { dtype, swapped } = readDescr(descr);
  const size = (elementCount(shape) ?? Infinity) * bytesPerElement(dtype);
  const follow = bytes.length - dataStart;
  if (size !== follow) {
    const promised = Number.isSafeInteger(size) ? `${size} bytes` : "more than 2^53 bytes";
    throw new FormatError(
      `The .npy header promises ${descr} [${shape.join(", ")}], ${promised}, and ${follow} follow.`,
      "The file is cut off or has something after the array: save or download it again.",
    );
  }
  // A copy: the swap must not write to the caller's bytes, and the array must be aligned.
  const data = bytes.slice(dataStart);
  if (swapped) swapBytes(data, bytesPerElement(dtype));
  const values = bytesAs(dtype, data);
  return { dtype, shape, data: fortranOrder ? toRowMajor(values, shape) : values };
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

function decodeHeader(bytes: Uint8Array, utf8: boolean): string {
  try {
    // Versions 1 and 2 are Latin-1, but nothing beyond ASCII is accepted in a header anyway.
    return new TextDecoder(utf8 ? "utf-8" : "latin1", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError("The .npy header is not valid UTF-8.", REMEDY, { cause });
  }
}

interface NpyHeader {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/** Reads the one form of Python literal that a header is: a dict of three known keys. */
function parseHeader(text: string): NpyHeader {
  let at = 0;
  let descr: string | undefined;
  let fortranOrder: boolean | undefined;
  let shape: number[] | undefined;
  const fail = (wanted: string): never => {
    throw new FormatError(
      `The .npy header is invalid: at character ${at}, ${wanted} was expected and ` +
        `${JSON.stringify(text.slice(at, at + 12))} found.`,
      REMEDY,
    );
  };
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (!match) return undefined;
    at += match[0].length;
    return match[1];
  };
  const string = (): string =>
    take(/[ \n]*'([^'"\\\n]*)'/y) ?? take(/[ \n]*"([^'"\\\n]*)"/y) ?? fail("a string");
  const symbol = (token: RegExp, wanted: string): string => take(token) ?? fail(wanted);

  symbol(/[ \n]*(\{)/y, '"{"');
  while (take(/[ \n]*(\})/y) === undefined) {
    const key = string();
    symbol(/[ \n]*(:)/y, '":"');
    if (key === "descr" && descr === undefined) {
      if (take(/[ \n]*(?=([[(]))/y) !== undefined) {
        throw new FormatError(
          "The .npy file holds a structured array.",
          "Save each field as an array of its own, or all of them with numpy.savez.",
        );
      }
      descr = string();
    } else if (key === "fortran_order" && fortranOrder === undefined) {
      fortranOrder = symbol(/[ \n]*(True|False)\b/y, "True or False") === "True";
    } else if (key === "shape" && shape === undefined) {
      shape = [];
      symbol(/[ \n]*(\()/y, '"("');
      // Python 2 wrote whole numbers with an L.
      for (let size; (size = take(/[ \n]*(\d{1,16})L?/y)) !== undefined;) {
        shape.push(Number(size));
        if (shape.length > MAX_DIMENSIONS) fail(`at most ${MAX_DIMENSIONS} dimensions`);
        if (take(/[ \n]*(,)/y) === undefined) {
          if (shape.length === 1) fail('","');
          break;
        }
      }
      symbol(/[ \n]*(\))/y, 'a whole number or ")"');
    } else fail("descr, fortran_order or shape, each once");
    if (take(/[ \n]*(,)/y) === undefined) {
      symbol(/[ \n]*(\})/y, '"," or "}"');
      break;
    }
  }
  take(/([ \n]*)/y);
  if (at < text.length) fail("the end of the header");
  if (descr === undefined || fortranOrder === undefined || shape === undefined) {
    throw new FormatError("The .npy header lacks descr, fortran_order or shape.", REMEDY);
  }
  return { descr, fortranOrder, shape };
}

function readDescr(descr: string): { dtype: TensorType; swapped: boolean } {
  const order = descr.charAt(0);
  const code = descr.slice(1);
  if (Object.hasOwn(TYPES, code)) {
    const dtype = TYPES[code];
    if (order === "<" || order === ">" || (order === "|" && bytesPerElement(dtype) === 1)) {
      return { dtype, swapped: order === ">" };
    }
  }
  throw new FormatError(
    `The .npy type ${JSON.stringify(descr)} is not read.`,
    code.startsWith("O")
      ? "Object arrays are pickled Python: convert to a plain numeric type with astype and save with allow_pickle=False."
      : "Convert with astype to a float, integer or bool type and save again.",
  );
}

function swapBytes(bytes: Uint8Array, width: number): void {
  if (width === 1) return;
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

/** Reorders values stored with the first index fastest. */
function toRowMajor(values: RawArray, shape: readonly number[]): RawArray {
  if (values.length === 0 || shape.filter((size) => size > 1).length < 2) return values;
  const strides = new Array<number>(shape.length);
  for (let axis = 0, stride = 1; axis < shape.length; stride *= shape[axis++]) strides[axis] = stride;
  const out = values.slice();
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0, from = 0; i < out.length; i++) {
    out[i] = values[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/** Type of an array that says its type itself; `Uint16Array` and `Uint8Array` are integers unless told otherwise. */
function typeOf(data: RawArray): TensorType {
  const type = Object.values(TYPES).find(
    (candidate) =>
      candidate !== "F16" && candidate !== "BOOL" && arrayName(candidate) === data[Symbol.toStringTag],
  );
  if (type) return type;
  throw new OptionError(
    `The data is a ${data[Symbol.toStringTag]}.`,
    "Give a typed array that NumPy has a type for.",
  );
}

/**
 * Writes an array in C order, byte for byte as `numpy.save` (NumPy 2) does.
 *
 * @param tensor `dtype` is needed only for float16 bits ("F16", `Uint16Array`) and booleans ("BOOL", `Uint8Array`)
 * @throws OptionError for BF16, which NumPy lacks, or an array that is not of the type
 * @throws ShapeError when the number of values does not match the shape
 */
export function writeNpy(tensor: {
  readonly data: RawArray;
  readonly shape: readonly number[];
  readonly dtype?: TensorType;
}): Uint8Array {
  const { data, shape } = tensor;
  const dtype = tensor.dtype ?? typeOf(data);
  const code = Object.keys(TYPES).find((key) => TYPES[key] === dtype);
  if (code === undefined || arrayName(dtype) !== data[Symbol.toStringTag]) {
    throw new OptionError(
      `A ${data[Symbol.toStringTag]} cannot be written to .npy as ${dtype}.`,
      code === undefined ? "Convert to F32 first." : `Give a ${arrayName(dtype)}.`,
    );
  }
  if (elementCount(shape) !== data.length || shape.length > MAX_DIMENSIONS) {
    throw new ShapeError(
      `There are ${data.length} values for the shape [${shape.join(", ")}].`,
      "Give a shape that matches the data.",
    );
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const order = bytesPerElement(dtype) === 1 ? "|" : "<";
  // NumPy leaves room to grow the first dimension in place: 21 digits.
  const room = shape.length > 0 ? " ".repeat(21 - String(shape[0]).length) : "";
  const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': ${tuple}, }${room}`;
  const dataStart = Math.ceil((10 + text.length + 1) / 64) * 64;
  const out = new Uint8Array(dataStart + data.byteLength).fill(0x20, 0, dataStart);
  out.set([...MAGIC, 1, 0]);
  new DataView(out.buffer).setUint16(8, dataStart - 10, true);
  out.set(new TextEncoder().encode(text), 10);
  out[dataStart - 1] = 0x0a;
  out.set(bytesOf(data), dataStart);
  return out;
}
