import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TensorType } from "../../src/data/tensor.ts";
import { FormatError, OptionError, ShapeError } from "../../src/errors.ts";
import { readNpy, writeNpy } from "../../src/io/npy.ts";
import { bytesOf } from "../../src/io/raw-tensor.ts";
import { rawTensor } from "./arbitraries.ts";
import { fromBase64, jsonFixture } from "./fixtures.ts";

interface Case {
  readonly file: string;
  readonly dtype: TensorType;
  readonly shape: readonly number[];
  /** Little-endian bytes in C order. */
  readonly data: string;
  /** Whether numpy.save would write the array to these bytes. */
  readonly exact: boolean;
}

const cases = jsonFixture("npy.json") as Record<string, Case>;
const refused = jsonFixture("npy-refused.json") as Record<string, string>;

describe("NumPy's files", () => {
  it.each(Object.keys(cases))("are read: %s", (name) => {
    const { file, dtype, shape, data } = cases[name];
    const bytes = fromBase64(file);
    const before = bytes.slice();
    const tensor = readNpy(bytes);
    expect(tensor).toMatchObject({ dtype, shape });
    expect(bytesOf(tensor.data)).toEqual(fromBase64(data));
    expect(bytes).toEqual(before);
  });

  it.each(Object.keys(cases))("are read wherever they lie in a larger buffer: %s", (name) => {
    const bytes = fromBase64(cases[name].file);
    const larger = new Uint8Array(bytes.length + 6);
    larger.set(bytes, 3);
    expect(readNpy(larger.subarray(3, 3 + bytes.length))).toEqual(readNpy(bytes));
  });

  const exact = Object.keys(cases).filter((name) => cases[name].exact);
  it.each(exact)("are written alike: %s", (name) => {
    const bytes = fromBase64(cases[name].file);
    expect(writeNpy(readNpy(bytes))).toEqual(bytes);
  });
  it("are written alike in enough cases for that to mean something", () => {
    expect(exact.length).toBeGreaterThanOrEqual(16);
  });

  it.each([
    ["object", /Object arrays are pickled Python: .*allow_pickle=False/],
    ["structured", /structured array/],
    ["complex", /"<c8" is not read/],
    ["unicode", /"<U1" is not read/],
    ["bytes", /"\|S1" is not read/],
    ["datetime", /is not read/],
    ["bfloat16", /is not read/],
  ])("are refused: %s", (name, message) => {
    expect(() => readNpy(fromBase64(refused[name]))).toThrow(FormatError);
    expect(() => readNpy(fromBase64(refused[name]))).toThrow(message);
  });
});

/** A file of version 1.0 with this header and this many zero bytes of data. */
function npy(header: string, dataBytes = 0, version = [1, 0]): Uint8Array {
  const text = Array.from(header, (c) => c.charCodeAt(0));
  const length = [text.length & 255, text.length >> 8, ...(version[0] > 1 ? [0, 0] : [])];
  const magic = [0x93, ...new TextEncoder().encode("NUMPY")];
  return Uint8Array.from([...magic, ...version, ...length, ...text, ...Array<number>(dataBytes).fill(0)]);
}

describe("readNpy", () => {
  it.each([
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, [2]],
    ["{'descr':'<f4','fortran_order':False,'shape':(2,)}", 8, [2]],
    ['{"shape": (2L, 1L), "fortran_order": True, "descr": "<f4"}  \n', 8, [2, 1]],
    [" { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , } ", 24, [2, 3]],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, []],
    ["{'descr': '<u1', 'fortran_order': False, 'shape': (3,)}", 3, [3]],
    ["{'descr': '>i1', 'fortran_order': False, 'shape': (3,)}", 3, [3]],
  ])("accepts the header %j", (header, dataBytes, shape) => {
    expect(readNpy(npy(header, dataBytes)).shape).toEqual(shape);
  });

  const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  it.each<[string, Uint8Array, RegExp]>([
    ["no bytes", new Uint8Array(0), /magic/],
    ["another magic", npy(good, 8).fill(0x94, 0, 1), /magic/],
    ["version 0", npy(good, 8, [0, 0]), /version is 0\.0/],
    ["version 4", npy(good, 8, [4, 0]), /version is 4\.0/],
    ["a minor version", npy(good, 8, [1, 1]), /version is 1\.1/],
    ["a cut-off header", npy(good, 8).subarray(0, 40), /header is cut off/],
    ["a cut-off length", npy(good, 8, [2, 0]).subarray(0, 11), /header is cut off/],
    ["cut-off data", npy(good, 7), /8 bytes, and 7 follow/],
    ["trailing data", npy(good, 9), /8 bytes, and 9 follow/],
    ["an empty header", npy(""), /"\{" was expected/],
    ["a list", npy("['descr']"), /"\{" was expected/],
    ["a header of names", npy("dict(descr='<f4')"), /"\{" was expected/],
    ["an empty dict", npy("{}"), /lacks descr, fortran_order or shape/],
    ["no shape", npy("{'descr': '<f4', 'fortran_order': False}"), /lacks/],
    ["a key twice", npy("{'descr': '<f4', 'descr': '<f4'}"), /each once/],
    ["an unknown key", npy(`${good.slice(0, -1)}'x': 1}`, 8), /each once/],
    ["something after the dict", npy(`${good} + 1`, 8), /end of the header/],
    ["two commas", npy(good.replace(", }", ",, }"), 8), /a string was expected/],
    ["fortran_order 0", npy(good.replace("False", "0"), 8), /True or False/],
    ["fortran_order Falsehood", npy(good.replace("False", "Falsehood"), 8), /True or False/],
    ["a shape that is no tuple", npy(good.replace("(2,)", "2"), 8), /"\(" was expected/],
    ["a number in brackets", npy(good.replace("(2,)", "(2)"), 8), /"," was expected/],
    ["a shape in square brackets", npy(good.replace("(2,)", "[2]"), 8), /"\(" was expected/],
    ["a negative size", npy(good.replace("2", "-2"), 8), /a whole number/],
    ["a fraction", npy(good.replace("(2,)", "(2.0,)"), 8), /"," was expected/],
    ["a size beyond 2^53", npy(good.replace("2", "9007199254740993"), 8), /more than 2\^53 bytes/],
    ["sizes that overflow", npy(good.replace("2,", "4294967296, 4294967296"), 8), /more than 2\^53 bytes/],
    ["65 dimensions", npy(good.replace("2,", "1,".repeat(65)), 4), /at most 64 dimensions/],
    ["code", npy(good.replace("(2,)", "__import__('os')"), 8), /"\(" was expected/],
    ["an escape", npy(good.replace("<f4", "\\x3cf4"), 8), /a string was expected/],
    ["native order", npy(good.replace("<f4", "=f4"), 8), /"=f4" is not read/],
    ["no order", npy(good.replace("<f4", "|f4"), 8), /"\|f4" is not read/],
    ["an empty type", npy(good.replace("<f4", ""), 8), /"" is not read/],
    ["a type from the prototype", npy(good.replace("<f4", "<toString"), 8), /is not read/],
    ["invalid UTF-8", npy(`${good}\xff`, 8, [3, 0]), /not valid UTF-8/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => readNpy(bytes)).toThrow(FormatError);
    expect(() => readNpy(bytes)).toThrow(message);
  });
});

describe("writeNpy", () => {
  it("gives back what it was given", () => {
    const writable = rawTensor.filter(({ dtype }) => dtype !== "BF16");
    fc.assert(
      fc.property(writable, (tensor) => {
        expect(readNpy(writeNpy(tensor))).toEqual(tensor);
      }),
    );
  });

  it("takes the type from the array", () => {
    for (const [data, dtype] of [
      [new Float32Array(2), "F32"],
      [new Float64Array(2), "F64"],
      [new Uint16Array(2), "U16"],
      [new Uint8Array(2), "U8"],
      [new BigInt64Array(2), "I64"],
    ] as const) {
      expect(readNpy(writeNpy({ data, shape: [2] })).dtype).toBe(dtype);
    }
  });

  it("refuses what cannot be stored", () => {
    const data = new Float32Array(2);
    expect(() => writeNpy({ data, shape: [3] })).toThrow(ShapeError);
    expect(() => writeNpy({ data, shape: [-2] })).toThrow(ShapeError);
    expect(() => writeNpy({ data, shape: [2], dtype: "F16" })).toThrow(OptionError);
    expect(() => writeNpy({ data: new Uint16Array(2), shape: [2], dtype: "BF16" })).toThrow(/Convert to F32/);
    expect(() => writeNpy({ data: new Uint8ClampedArray(2) as unknown as Uint8Array, shape: [2] })).toThrow(
      OptionError,
    );
  });
});
