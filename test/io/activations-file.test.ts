import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Activations, type GroupId, type StorageType } from "../../src/data/activations.ts";
import { FormatError, MissingTensorError, OptionError, ShapeError } from "../../src/errors.ts";
import { ActivationsWriter, readActivations, writeActivations } from "../../src/io/activations-file.ts";
import { bytesSource } from "../../src/io/byte-source.ts";
import type { Named, RawTensor } from "../../src/io/raw-tensor.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/safetensors.ts";

function open(bytes: Uint8Array) {
  return openSafetensors(bytesSource(bytes, "acts.safetensors"));
}

const groupId: fc.Arbitrary<GroupId> = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  fc.constantFrom("1", 1, "", "\ud800"),
);

/** Activations of every storage type, with and without groups and provenance. */
const activations: fc.Arbitrary<Activations> = fc
  .record({
    rows: fc.integer({ min: 1, max: 6 }),
    neurons: fc.integer({ min: 1, max: 5 }),
    dtype: fc.constantFrom<StorageType>("f32", "f16", "u8"),
    grouped: fc.boolean(),
    provenance: fc.record(
      {
        model: fc.string({ unit: "binary" }),
        hookPoint: fc.string(),
        aggregation: fc.string(),
        withTokens: fc.constant(true),
      },
      { requiredKeys: [] },
    ),
  })
  .chain(({ rows, neurons, dtype, grouped, provenance: { withTokens, ...provenance } }) => {
    const size = rows * neurons;
    const floats = (length: number) => fc.float32Array({ minLength: length, maxLength: length });
    return fc
      .record({
        f32: floats(size),
        f16: fc.uint16Array({ minLength: size, maxLength: size }),
        u8: fc.uint8Array({ minLength: size, maxLength: size }),
        scale: floats(neurons),
        offset: floats(neurons),
        groups: fc.array(groupId, { minLength: rows, maxLength: rows }),
        tokens: fc.array(fc.string({ unit: "binary" }), { minLength: rows, maxLength: rows }),
      })
      .map(
        ({ scale, offset, groups, tokens, ...data }) =>
          new Activations(data[dtype], [rows, neurons], {
            dtype,
            ...(dtype === "u8" && { code: { scale, offset } }),
            ...(grouped && { groups }),
            provenance: withTokens ? { ...provenance, tokens } : provenance,
          }),
      );
  });

const labels: RawTensor = { dtype: "I64", shape: [2], data: BigInt64Array.of(-1n, 1n) };
const names: RawTensor = { dtype: "U8", shape: [1], data: Uint8Array.of(7) };

async function stream(acts: Activations, block: number, extra: Named<RawTensor> = {}): Promise<Uint8Array> {
  const parts: number[] = [];
  const sink = (bytes: Uint8Array) => {
    parts.push(...bytes);
    return Promise.resolve();
  };
  const writer = await ActivationsWriter.open(sink, acts, { extra });
  for (let at = 0; at < acts.rows; at += block) {
    await writer.append(acts.slice(at, Math.min(acts.rows, at + block)));
  }
  await writer.close();
  return Uint8Array.from(parts);
}

describe("activations files", () => {
  it("give back what was written", async () => {
    await fc.assert(
      fc.asyncProperty(activations, async (acts) => {
        expect(await readActivations(await open(writeActivations(acts)))).toEqual(acts);
      }),
      { numRuns: 300 },
    );
  });

  it("are the same when written block by block", async () => {
    await fc.assert(
      fc.asyncProperty(activations, fc.integer({ min: 1, max: 6 }), async (acts, block) => {
        const extra = { labels, names };
        expect(await stream(acts, block, extra)).toEqual(writeActivations(acts, { extra }));
      }),
    );
  });

  it("hold further tensors", async () => {
    const acts = new Activations(new Float32Array(4), [2, 2]);
    const file = await open(writeActivations(acts, { extra: new Map([["labels", labels]]) }));
    expect(await readActivations(file)).toEqual(acts);
    expect(await file.readRaw("labels")).toMatchObject(labels);
    for (const name of ["activations", "scale", "offset", "groups"]) {
      expect(() => writeActivations(acts, { extra: { [name]: labels } })).toThrow(OptionError);
    }
  });

  it("may be plain files of another program", async () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    const file = await open(writeSafetensors({ activations: { dtype: "F32", shape: [3, 2], data } }));
    const acts = await readActivations(file);
    expect(acts).toMatchObject({ rows: 3, neurons: 2, dtype: "f32", groups: undefined, provenance: {} });
    expect(acts.data).toEqual(data);
  });

  it("refuse groups that JSON cannot hold", () => {
    for (const id of [NaN, Infinity]) {
      const acts = new Activations(new Float32Array(1), [1, 1], { groups: [id] });
      expect(() => writeActivations(acts)).toThrow(OptionError);
    }
  });
});

describe("readActivations refuses", () => {
  const f32 = (shape: number[]): RawTensor => ({
    dtype: "F32",
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });
  const codes = (...values: number[]): RawTensor => ({
    dtype: "I32",
    shape: [values.length],
    data: Int32Array.from(values),
  });
  const u8: RawTensor = { dtype: "U8", shape: [2, 2], data: new Uint8Array(4) };
  const ours = { format: "sparseprobe-activations" };
  it.each<[string, Record<string, RawTensor>, Record<string, string>, RegExp]>([
    ["one dimension", { activations: f32([2]) }, {}, /are F32 \[2\]/],
    ["three dimensions", { activations: f32([2, 1, 1]) }, {}, /are F32 \[2, 1, 1\]/],
    ["no rows", { activations: f32([0, 2]) }, {}, /at least one of each/],
    ["no neurons", { activations: f32([2, 0]) }, {}, /at least one of each/],
    ["another type", { activations: codes(1) }, {}, /are I32/],
    ["u8 without a code", { activations: u8 }, {}, /no tensor "scale" of type F32 and shape \[2\]/],
    ["a code of another length", { activations: u8, scale: f32([1]), offset: f32([2]) }, {}, /"scale"/],
    ["a code of another type", { activations: u8, scale: f32([2]), offset: codes(1, 2) }, {}, /"offset"/],
    ["groups without ids", { activations: f32([1, 1]), groups: codes(0) }, {}, /list of ids/],
    ["ids without groups", { activations: f32([1, 1]) }, { groups: "[1]" }, /list of ids/],
    ["ids that are no list", { activations: f32([1, 1]), groups: codes(0) }, { groups: "{}" }, /list of ids/],
    [
      "ids of another kind",
      { activations: f32([1, 1]), groups: codes(0) },
      { groups: "[null]" },
      /list of ids/,
    ],
    ["ids that are no JSON", { activations: f32([1, 1]), groups: codes(0) }, { groups: "[" }, /valid JSON/],
    [
      "a group code too high",
      { activations: f32([1, 1]), groups: codes(1) },
      { groups: "[1]" },
      /group 1 of 1/,
    ],
    ["a negative group code", { activations: f32([1, 1]), groups: codes(-1) }, { groups: "[1]" }, /group -1/],
    [
      "groups of other rows",
      { activations: f32([1, 1]), groups: codes(0, 0) },
      { groups: "[1]" },
      /shape \[1\]/,
    ],
    ["provenance that is no object", { activations: f32([1, 1]) }, { provenance: "[]" }, /not an object/],
    [
      "a model that is no text",
      { activations: f32([1, 1]) },
      { provenance: '{"model":1}' },
      /model that is no/,
    ],
    ["tokens of other rows", { activations: f32([1, 1]) }, { provenance: '{"tokens":[]}' }, /tokens/],
    ["tokens that are no text", { activations: f32([1, 1]) }, { provenance: '{"tokens":[1]}' }, /tokens/],
    ["a later version", { activations: f32([1, 1]) }, { ...ours, version: "2" }, /version "2"/],
    ["no version", { activations: f32([1, 1]) }, ours, /version undefined/],
  ])("%s", async (_, tensors, metadata, message) => {
    const file = await open(writeSafetensors(tensors, metadata));
    const error: unknown = await readActivations(file).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toMatch(message);
  });

  it("a file without activations", async () => {
    const file = await open(writeSafetensors({ acts: f32([1, 1]) }));
    await expect(readActivations(file)).rejects.toThrow(MissingTensorError);
  });
});

describe("ActivationsWriter refuses", () => {
  const sink = () => Promise.resolve();
  it.each([
    { rows: 0, neurons: 1, dtype: "f32" },
    { rows: 1, neurons: 1.5, dtype: "f32" },
    { rows: 2, neurons: 1, dtype: "f32", groups: ["a"] },
    { rows: 2, neurons: 1, dtype: "u8" },
  ] as const)("the header %j", async (header) => {
    await expect(ActivationsWriter.open(sink, header)).rejects.toThrow(ShapeError);
  });

  it("blocks that do not fit", async () => {
    const block = new Activations(new Float32Array(4), [2, 2]);
    const writer = await ActivationsWriter.open(sink, { rows: 3, neurons: 2, dtype: "f32" });
    await expect(writer.append(new Activations(new Float32Array(3), [1, 3]))).rejects.toThrow(ShapeError);
    await expect(writer.append(block.toStorage("f16"))).rejects.toThrow(/Convert it with toStorage\("f32"\)/);
    await writer.append(block);
    await expect(writer.append(block)).rejects.toThrow(ShapeError);
    await expect(writer.close()).rejects.toThrow(/"activations" got 4 of its 6 values/);
  });
});
