import { zipSync } from "fflate";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TensorType } from "../../src/data/tensor.ts";
import { FormatError, OptionError } from "../../src/errors.ts";
import { writeNpy } from "../../src/io/npy.ts";
import { readNpz, writeNpz } from "../../src/io/npz.ts";
import { bytesOf } from "../../src/io/raw-tensor.ts";
import { rawTensors } from "./arbitraries.ts";
import { fixture, fromBase64, jsonFixture } from "./fixtures.ts";

const expected = jsonFixture("npz.json") as Record<
  string,
  { readonly dtype: TensorType; readonly shape: readonly number[]; readonly raw: string }
>;

const zeros = writeNpy({ data: new Uint8Array(4096), shape: [4096] });

/** Offset of the directory entry of the only file in an archive. */
function directoryAt(zip: Uint8Array): number {
  return new DataView(zip.buffer).getUint32(zip.length - 6, true);
}

describe("readNpz", () => {
  it.each(["stored.npz", "deflated.npz"])("reads NumPy's %s", async (name) => {
    const arrays = await readNpz(fixture(name));
    expect([...arrays.keys()]).toEqual(["X", "y", "flat"]);
    for (const [key, { dtype, shape, raw }] of Object.entries(expected)) {
      expect(arrays.get(key)).toMatchObject({ dtype, shape });
      expect(bytesOf(arrays.get(key)!.data)).toEqual(fromBase64(raw));
    }
  });

  it("reads the arrays asked for and no others", async () => {
    const arrays = await readNpz(fixture("deflated.npz"), { names: ["y"], maxBytes: 200 });
    expect([...arrays.keys()]).toEqual(["y"]);
    await expect(readNpz(fixture("deflated.npz"), { names: ["z"] })).rejects.toThrow(/no array "z"/);
  });

  it("reads an archive with a comment, and one without arrays", async () => {
    const empty = zipSync({});
    expect((await readNpz(empty)).size).toBe(0);
    const commented = Uint8Array.of(...fixture("stored.npz"), 0x68, 0x69);
    commented[commented.length - 4] = 2;
    expect((await readNpz(commented)).size).toBe(3);
  });

  it("checks the sizes before it inflates", async () => {
    const bomb = zipSync({ "a.npy": zeros, "b.npy": zeros }, { level: 9 });
    await expect(readNpz(bomb, { maxBytes: 2 * zeros.length - 1 })).rejects.toThrow(
      new RegExp(`take ${2 * zeros.length} bytes once inflated, more than ${2 * zeros.length - 1}`),
    );
    expect((await readNpz(bomb, { maxBytes: 2 * zeros.length })).size).toBe(2);
  });

  it("refuses a size that deflate cannot reach", async () => {
    const zip = zipSync({ "a.npy": zeros }, { level: 9 });
    new DataView(zip.buffer).setUint32(directoryAt(zip) + 24, 2 ** 31 - 1, true);
    await expect(readNpz(zip)).rejects.toThrow(/cannot inflate from \d+ to 2147483647 bytes/);
  });

  it.each([-1, 1, 4096])("refuses a size that is off by %d", async (by) => {
    const zip = zipSync({ "a.npy": zeros }, { level: 9 });
    new DataView(zip.buffer).setUint32(directoryAt(zip) + 24, zeros.length + by, true);
    await expect(readNpz(zip)).rejects.toThrow(FormatError);
  });

  const stored = zipSync({ "a.npy": zeros }, { level: 0 });
  const at = directoryAt(stored);
  const patched = (offset: number, ...values: number[]) => {
    const bytes = stored.slice();
    bytes.set(values, offset);
    return bytes;
  };
  it.each<[string, Uint8Array, RegExp]>([
    ["no bytes", new Uint8Array(0), /not a zip archive/],
    ["an .npy file", zeros, /not a zip archive/],
    ["a cut-off archive", stored.subarray(0, stored.length - 1), /not a zip archive/],
    ["trailing bytes", Uint8Array.of(...stored, 0), /not a zip archive/],
    ["leading bytes", Uint8Array.of(0, ...stored), /directory is not where it should be/],
    ["a file that is no array", zipSync({ "a.txt": zeros }), /"a\.txt", which is no array/],
    [
      "an array called __proto__",
      zipSync(Object.fromEntries([["__proto__.npy", zeros]])),
      /which is no array/,
    ],
    ["an encrypted file", patched(at + 8, 1), /encrypted/],
    ["another compression", patched(at + 10, 14), /compression method 14/],
    ["a wrong checksum", patched(at + 16, stored[at + 16] ^ 1), /checksum/],
    ["changed data", patched(at - 1, 1), /checksum/],
    ["a zip64 archive", patched(stored.length - 12, 0xff, 0xff), /zip64/],
    ["a zip64 file", patched(at + 24, 0xff, 0xff, 0xff, 0xff), /zip64/],
    ["a split archive", patched(stored.length - 18, 1), /split/],
    ["a damaged entry", patched(at, 0), /Entry 0 .* damaged/],
    ["a name beyond the directory", patched(at + 28, 0xff), /Entry 0 .* damaged/],
    ["a name that is not UTF-8", patched(at + 46, 0xff), /not valid UTF-8/],
    ["a file that is elsewhere", patched(at + 42, 1), /not where the directory says/],
    ["a stored file of two lengths", patched(at + 24, 1), /length that cannot be right/],
  ])("refuses %s", async (_, bytes, message) => {
    const error: unknown = await readNpz(bytes).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toMatch(message);
  });

  it("refuses overlapping and repeated files", async () => {
    const two = zipSync({ "a.npy": zeros, "b.npy": zeros }, { level: 0 });
    const second = directoryAt(two) + 46 + 5;
    const overlapping = two.slice();
    overlapping.set([0, 0, 0, 0], second + 42);
    await expect(readNpz(overlapping)).rejects.toThrow(/overlap/);
    const repeated = two.slice();
    repeated[second + 46] = 0x61;
    await expect(readNpz(repeated)).rejects.toThrow(/"a\.npy" in the archive occurs twice/);
  });
});

describe("writeNpz", () => {
  it("gives back what it was given", async () => {
    const writable = rawTensors.map(
      (tensors) =>
        new Map([...tensors].filter(([name, { dtype }]) => dtype !== "BF16" && /^[^/\\\0]+$/.test(name))),
    );
    await fc.assert(
      fc.asyncProperty(writable, fc.boolean(), async (tensors, compress) => {
        expect(await readNpz(await writeNpz(tensors, { compress }))).toEqual(tensors);
      }),
    );
  });

  it("writes the same arrays to the same bytes, and compresses when asked", async () => {
    const arrays = { a: { data: new Float32Array(1000), shape: [10, 100] } };
    expect(await writeNpz(arrays)).toEqual(await writeNpz(arrays));
    expect((await writeNpz(arrays)).length).toBeGreaterThan(4000);
    expect((await writeNpz(arrays, { compress: true })).length).toBeLessThan(400);
  });

  it.each(["", "a/b", "a\\b", "a\0", "__proto__", "\ud800"])("refuses the name %j", async (name) => {
    const arrays = new Map([[name, { data: new Float32Array(1), shape: [1] }]]);
    await expect(writeNpz(arrays)).rejects.toThrow(OptionError);
  });
});
