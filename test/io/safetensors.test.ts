import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TensorType } from "../../src/data/tensor.ts";
import { FormatError, MissingTensorError, OptionError, ShapeError } from "../../src/errors.ts";
import { bytesSource, type ByteSource } from "../../src/io/byte-source.ts";
import { bytesOf, bytesPerElement, toFloats, type RawTensor } from "../../src/io/raw-tensor.ts";
import { openSafetensors, SafetensorsWriter, writeSafetensors } from "../../src/io/safetensors.ts";
import { fixture, fromBase64, jsonFixture } from "./fixtures.ts";
import { rawTensors } from "./arbitraries.ts";

interface ExpectedTensor {
  readonly dtype: TensorType;
  readonly shape: readonly number[];
  readonly raw: string;
  readonly float32: string;
}

const reference = fixture("every-type.safetensors");
const expected = jsonFixture("every-type.json") as Record<string, ExpectedTensor>;

function open(bytes: Uint8Array) {
  return openSafetensors(bytesSource(bytes, "test.safetensors"));
}

/** A source that records the ranges read. */
function recording(bytes: Uint8Array): ByteSource & { readonly ranges: [number, number][] } {
  const source = bytesSource(bytes, "test.safetensors");
  const ranges: [number, number][] = [];
  return {
    ...source,
    ranges,
    read(start, end, options) {
      ranges.push([start, end]);
      return source.read(start, end, options);
    },
  };
}

describe("openSafetensors on a file of the Python package", () => {
  it("lists every tensor and the metadata", async () => {
    const file = await open(reference);
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
    for (const [name, { dtype, shape }] of Object.entries(expected)) {
      expect(file.tensors.get(name)).toMatchObject({ dtype, shape });
    }
    expect([...file.metadata]).toEqual([['no"te', "\u0001\u001f\u007f ü\n"]]);
  });

  it.each(Object.keys(expected))("reads %j as stored and widened", async (name) => {
    const { dtype, shape, raw, float32 } = expected[name];
    const file = await open(reference);
    const stored = await file.readRaw(name);
    expect(stored).toMatchObject({ dtype, shape });
    expect(bytesOf(stored.data)).toEqual(fromBase64(raw));
    const widened = await file.read(name);
    expect(widened.shape).toEqual(shape);
    expect(bytesOf(widened.data)).toEqual(fromBase64(float32));
  });

  it("writes the same tensors to the same bytes", async () => {
    const file = await open(reference);
    const tensors = new Map<string, RawTensor>();
    for (const name of [...file.tensors.keys()].reverse()) tensors.set(name, await file.readRaw(name));
    expect(writeSafetensors(tensors, file.metadata)).toEqual(reference);
  });

  it("reads rows without the rest of the tensor", async () => {
    const source = recording(reference);
    const file = await openSafetensors(source);
    for (const name of ["f64.weight", "bf16.weight", "bool.weight"]) {
      const whole = await file.readRaw(name);
      const width = bytesPerElement(whole.dtype);
      for (const [start, end] of [
        [0, 3],
        [1, 2],
        [2, 3],
        [1, 1],
      ]) {
        source.ranges.length = 0;
        const rows = await file.readRawRows(name, start, end);
        expect(rows.shape).toEqual([end - start, 4]);
        expect(rows.data).toEqual(whole.data.slice(start * 4, end * 4));
        expect(source.ranges.map(([from, to]) => to - from)).toEqual([(end - start) * 4 * width]);
        expect((await file.readRows(name, start, end)).data).toEqual(toFloats(rows));
      }
    }
  });

  it("names what is missing", async () => {
    const file = await open(reference);
    await expect(file.read("wte")).rejects.toThrow(MissingTensorError);
    await expect(file.read("wte")).rejects.toThrow(/no tensor "wte"\. It has 18 tensors: /);
    for (const [start, end] of [
      [-1, 1],
      [2, 1],
      [0, 4],
      [0.5, 1],
      [NaN, 1],
    ]) {
      await expect(file.readRows("f32.weight", start, end)).rejects.toThrow(ShapeError);
    }
    await expect(file.readRows("scalar", 0, 1)).rejects.toThrow(ShapeError);
  });

  it("reads only the header on opening, and stops when told to", async () => {
    const source = recording(reference);
    const headerLength = Number(new DataView(reference.buffer).getBigUint64(0, true));
    const file = await openSafetensors(source);
    expect(source.ranges).toEqual([
      [0, 8],
      [8, 8 + headerLength],
    ]);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(file.read("f32.weight", { signal })).rejects.toThrow("enough");
    await expect(openSafetensors(source, { signal })).rejects.toThrow("enough");
  });
});

/** A file with this header text and this much data. */
function withHeader(json: string | Uint8Array, dataBytes = 0, claimed?: bigint): Uint8Array {
  const text = typeof json === "string" ? new TextEncoder().encode(json) : json;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function tensor(offsets: string, shape = "[1]", dtype = "F32"): string {
  return `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;
}

describe("openSafetensors refuses", () => {
  const cases: Record<string, [bytes: Uint8Array, message: RegExp]> = {
    "an empty file": [new Uint8Array(0), /0 bytes, too few/],
    "seven bytes": [new Uint8Array(7), /7 bytes, too few/],
    "a header beyond the file": [withHeader("{}", 0, 3n), /header of 3 bytes/],
    "a header beyond 100 MB": [withHeader("{}", 0, 100_000_001n), /header of 100000001 bytes/],
    "the longest possible header": [withHeader("{}", 0, 2n ** 64n - 1n), /claims a header/],
    "no header": [withHeader(""), /"\{" was expected and nothing found/],
    "a pickle": [Uint8Array.from("PK\x03\x04 archive/data.pkl", (c) => c.charCodeAt(0)), /claims a header/],
    "invalid UTF-8": [withHeader(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), /not valid UTF-8/],
    "a byte order mark": [withHeader("\ufeff{}"), /"\{" was expected/],
    "leading white space": [withHeader(" {}"), /"\{" was expected/],
    "invalid JSON": [withHeader("{]"), /a string was expected/],
    "a cut-off object": [withHeader('{"a":'), /expected and nothing found/],
    "a cut-off string": [withHeader('{"a'), /a valid string/],
    "a bad escape": [withHeader('{"\\x":1}'), /a valid string/],
    "a control character in a string": [withHeader('{"\n":1}'), /a valid string/],
    "a lone surrogate": [withHeader(`{"\\ud800":${tensor("[0,4]")}}`, 4), /whole characters/],
    "an array": [withHeader("[]"), /"\{" was expected/],
    null: [withHeader("null"), /"\{" was expected/],
    "something after the object": [withHeader("{}x"), /end of the header/],
    "a trailing comma": [withHeader(`{"a":${tensor("[0,4]")},}`, 4), /a string was expected/],
    "a tensor that is no object": [withHeader('{"a":[]}'), /"\{" was expected/],
    "nesting without end": [withHeader(`{"a":${"[".repeat(50_000)}`), /"\{" was expected/],
    "an unknown type": [
      withHeader(`{"a":${tensor("[0,4]", "[1]", "F8_E4M3")}}`, 4),
      /unsupported type "F8_E4M3"/,
    ],
    "a type from the prototype": [
      withHeader(`{"a":${tensor("[0,4]", "[1]", "toString")}}`, 4),
      /unsupported type/,
    ],
    "a type that is no string": [withHeader('{"a":{"dtype":1}}'), /a string was expected/],
    "a missing type": [withHeader('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4), /lacks a dtype/],
    "a missing shape": [withHeader('{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4), /lacks a dtype/],
    "missing offsets": [withHeader('{"a":{"dtype":"F32","shape":[1]}}', 4), /lacks a dtype/],
    "one offset": [withHeader(`{"a":${tensor("[0]")}}`, 4), /lacks a dtype/],
    "three offsets": [withHeader(`{"a":${tensor("[0,4,8]")}}`, 4), /more than 2 numbers/],
    "an unknown property": [withHeader('{"a":{"strides":[1]}}', 4), /unknown property "strides"/],
    "a negative size": [withHeader(`{"a":${tensor("[0,4]", "[-1]")}}`, 4), /whole number/],
    "a fractional size": [withHeader(`{"a":${tensor("[0,4]", "[1.0]")}}`, 4), /whole number/],
    "an exponent": [withHeader(`{"a":${tensor("[0,4]", "[1e0]")}}`, 4), /whole number/],
    "a leading zero": [withHeader(`{"a":${tensor("[0,4]", "[01]")}}`, 4), /whole number/],
    "a size as text": [withHeader(`{"a":${tensor("[0,4]", '["1"]')}}`, 4), /whole number/],
    "a size beyond 2^53": [withHeader(`{"a":${tensor("[0,4]", "[9007199254740992]")}}`, 4), /whole number/],
    "a size of 20 digits": [
      withHeader(`{"a":${tensor("[0,4]", "[18446744073709551617]")}}`, 4),
      /whole number/,
    ],
    "a product that overflows": [
      withHeader(`{"a":${tensor("[0,4]", "[4294967296,4294967296]")}}`, 4),
      /too large/,
    ],
    "bytes that overflow": [withHeader(`{"a":${tensor("[0,4]", "[9007199254740991]")}}`, 4), /too large/],
    "65 dimensions": [
      withHeader(`{"a":${tensor("[0,4]", `[${Array(65).fill(1).join()}]`)}}`, 4),
      /more than 64 numbers/,
    ],
    "offsets out of order": [withHeader(`{"a":${tensor("[4,0]")}}`, 4), /spans bytes 4 to 0/],
    "a negative offset": [withHeader(`{"a":${tensor("[-4,0]")}}`, 4), /whole number/],
    "offsets beyond the file": [
      withHeader(`{"a":${tensor("[0,4]")}}`, 3),
      /end at byte 4 of the data, which has 3/,
    ],
    "a length that is not shape × type": [withHeader(`{"a":${tensor("[0,8]")}}`, 8), /takes 4 bytes/],
    "overlapping tensors": [
      withHeader(`{"a":${tensor("[0,8]", "[2]")},"b":${tensor("[4,12]", "[2]")}}`, 12),
      /"b" starts at byte 4 and overlaps/,
    ],
    "the same bytes twice": [withHeader(`{"a":${tensor("[0,4]")},"b":${tensor("[0,4]")}}`, 4), /overlaps/],
    "a hole": [withHeader(`{"a":${tensor("[0,4]")},"b":${tensor("[8,12]")}}`, 12), /leaves a hole/],
    "a hole at the start": [withHeader(`{"a":${tensor("[4,8]")}}`, 8), /leaves a hole/],
    "bytes after the last tensor": [
      withHeader(`{"a":${tensor("[0,4]")}}`, 5),
      /end at byte 4 of the data, which has 5/,
    ],
    "data without tensors": [withHeader("{}", 1), /end at byte 0/],
    "a tensor twice": [withHeader(`{"a":${tensor("[0,4]")},"a":${tensor("[4,8]")}}`, 8), /"a" occurs twice/],
    "a tensor twice, once escaped": [
      withHeader(`{"a":${tensor("[0,4]")},"\\u0061":${tensor("[4,8]")}}`, 8),
      /"a" occurs twice/,
    ],
    "a property twice": [withHeader('{"a":{"shape":[1],"shape":[1]}}'), /"shape" occurs twice/],
    "metadata twice": [withHeader('{"__metadata__":{},"__metadata__":{}}'), /occurs twice/],
    "a metadata key twice": [withHeader('{"__metadata__":{"a":"1","a":"2"}}'), /"a" occurs twice/],
    "metadata that is no object": [withHeader('{"__metadata__":"a"}'), /"\{" was expected/],
    "metadata that is null": [withHeader('{"__metadata__":null}'), /"\{" was expected/],
    "metadata that is not text": [withHeader('{"__metadata__":{"a":1}}'), /a string was expected/],
    "a tensor called __proto__": [withHeader(`{"__proto__":${tensor("[0,4]")}}`, 4), /__proto__/],
    "a metadata key called __proto__": [withHeader('{"__metadata__":{"__proto__":"a"}}'), /__proto__/],
  };

  it.each(Object.entries(cases))("%s", async (_, [bytes, message]) => {
    const error: unknown = await open(bytes).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toMatch(message);
    expect((error as FormatError).remedy).toMatch(/\.$/);
  });

  it("a name of a megabyte with a short message", async () => {
    const long = "x".repeat(2 ** 20);
    for (const json of [`{"${long}":{}}`, `{"a":{"dtype":"${long}"}}`, `{"a":{"${long}":1}}`]) {
      const error: unknown = await open(withHeader(json)).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(FormatError);
      expect((error as FormatError).message.length).toBeLessThan(400);
    }
  });

  it("nothing that the format allows", async () => {
    const json = `{ "b" :${tensor("[ 4 , 8 ]")},\n"e":${tensor("[4,4]", "[0,9]")},"":${tensor("[0,4]")},"__metadata__":{}}   `;
    const file = await open(withHeader(json, 8));
    expect([...file.tensors.keys()]).toEqual(["", "e", "b"]);
    expect((await open(withHeader("{}"))).tensors.size).toBe(0);
    expect((await open(withHeader(`{"constructor":${tensor("[0,4]")}}`, 4))).tensors.has("constructor")).toBe(
      true,
    );
  });
});

describe("writeSafetensors", () => {
  it("gives back what it was given, and starts the data at a multiple of 8", async () => {
    const text = fc.string({ unit: "grapheme" }).filter((name) => name !== "__proto__");
    await fc.assert(
      fc.asyncProperty(rawTensors, fc.dictionary(text, text), async (tensors, metadata) => {
        const bytes = writeSafetensors(tensors, metadata);
        expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
        const file = await open(bytes);
        expect(new Map(file.metadata)).toEqual(new Map(Object.entries(metadata)));
        expect([...file.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
        for (const [name, wanted] of tensors) expect(await file.readRaw(name)).toEqual(wanted);
      }),
    );
  });

  it("refuses what cannot be stored", () => {
    const good: RawTensor = { dtype: "F32", shape: [1], data: new Float32Array(1) };
    const write = (name: string, entry: RawTensor, metadata = {}) =>
      writeSafetensors(new Map([[name, entry]]), metadata);
    expect(() => write("a", { ...good, shape: [2] })).toThrow(ShapeError);
    expect(() => write("a", { ...good, shape: [-1] })).toThrow(OptionError);
    expect(() => write("a", { ...good, shape: [0.5] })).toThrow(OptionError);
    expect(() => write("a", { ...good, shape: [2 ** 30, 2 ** 30] })).toThrow(OptionError);
    expect(() => write("a", { ...good, dtype: "I32" })).toThrow(/is I32 and was given a Float32Array/);
    expect(() => write("__metadata__", good)).toThrow(OptionError);
    expect(() => write("__proto__", good)).toThrow(OptionError);
    expect(() => write("\ud800", good)).toThrow(OptionError);
    expect(() => write("a", good, { "\udc00": "" })).toThrow(OptionError);
    expect(() => write("a", good, { a: 1 as unknown as string })).toThrow(OptionError);
  });
});

describe("SafetensorsWriter", () => {
  async function collect(write: (sink: (bytes: Uint8Array) => Promise<void>) => Promise<void>) {
    const parts: number[] = [];
    await write((bytes) => {
      parts.push(...bytes);
      return Promise.resolve();
    });
    return Uint8Array.from(parts);
  }

  it("writes the same bytes as writeSafetensors, whatever the blocks", async () => {
    await fc.assert(
      fc.asyncProperty(rawTensors, fc.integer({ min: 1, max: 5 }), async (tensors, block) => {
        const bytes = await collect(async (sink) => {
          const writer = await SafetensorsWriter.open(sink, tensors, { a: "b" });
          for (const name of writer.order) {
            const { data } = tensors.get(name)!;
            for (let at = 0; at < data.length; at += block)
              await writer.append(name, data.slice(at, at + block));
          }
          await writer.close();
        });
        expect(bytes).toEqual(writeSafetensors(tensors, { a: "b" }));
      }),
      { numRuns: 50 },
    );
  });

  it("refuses wrong turns, types and lengths", async () => {
    const sink = () => Promise.resolve();
    const writer = await SafetensorsWriter.open(sink, {
      b: { dtype: "F32", shape: [2] },
      c: { dtype: "F32", shape: [0] },
      a: { dtype: "U8", shape: [1] },
    });
    expect(writer.order).toEqual(["b", "c", "a"]);
    await expect(writer.append("a", new Uint8Array(1))).rejects.toThrow(/Append the rest of "b" first/);
    await expect(writer.append("x", new Uint8Array(1))).rejects.toThrow(OptionError);
    await expect(writer.append("b", new Int32Array(1))).rejects.toThrow(OptionError);
    await expect(writer.append("b", new Float32Array(3))).rejects.toThrow(/room for 2 more values, and 3/);
    await writer.append("b", new Float32Array(1));
    await expect(writer.close()).rejects.toThrow(/"b" got 1 of its 2 values/);
    await writer.append("b", new Float32Array(1));
    await writer.append("c", new Float32Array(0));
    await writer.append("a", new Uint8Array(1));
    await writer.close();
    await expect(writer.append("a", new Uint8Array(1))).rejects.toThrow(/Every tensor is complete/);
  });
});
