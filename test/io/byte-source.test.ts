import { describe, expect, it } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { blobSource, bytesSource, type ByteSource } from "../../src/io/byte-source.ts";

const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);

const sources: Record<string, () => ByteSource> = {
  bytesSource: () => bytesSource(bytes),
  "bytesSource of a view": () => bytesSource(Uint8Array.of(9, ...bytes, 9).subarray(1, 101)),
  blobSource: () => blobSource(new Blob([bytes.slice(0, 37), bytes.slice(37)])),
};

describe.each(Object.entries(sources))("%s", (_, make) => {
  it("reads ranges, empty ones and all of it", async () => {
    const source = make();
    expect(source.size).toBe(100);
    for (const [start, end] of [
      [0, 100],
      [0, 0],
      [100, 100],
      [13, 14],
      [30, 60],
    ]) {
      expect(await source.read(start, end)).toEqual(bytes.slice(start, end));
    }
  });

  it("gives copies", async () => {
    const source = make();
    (await source.read(0, 10)).fill(255);
    expect(await source.read(0, 10)).toEqual(bytes.slice(0, 10));
  });

  it.each([
    [-1, 3],
    [3, 2],
    [0, 101],
    [0.5, 2],
    [0, NaN],
    [0, Infinity],
  ])("refuses the range %d to %d", async (start, end) => {
    await expect(make().read(start, end)).rejects.toThrow(FormatError);
  });

  it("stops when told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(make().read(0, 1, { signal })).rejects.toThrow("enough");
  });
});

describe("blobSource", () => {
  it("takes the name of a file", () => {
    expect(blobSource(new File([bytes], "a.npy")).name).toBe("a.npy");
    expect(blobSource(new Blob([bytes])).name).toBe("blob");
    expect(blobSource(new Blob([bytes]), "b.npy").name).toBe("b.npy");
  });

  /** What browsers do once a chosen file has changed on disk. */
  function changed(slice: () => Blob): Blob {
    return Object.assign(new File([bytes], "a.npy"), { slice });
  }

  it("says when the file has changed", async () => {
    const gone = changed(() =>
      Object.assign(new Blob(), {
        arrayBuffer: () => Promise.reject(new DOMException("", "NotReadableError")),
      }),
    );
    await expect(blobSource(gone).read(0, 5)).rejects.toThrow(
      /could not be read: NotReadableError.*choose it again/,
    );
    const shorter = changed(() => new Blob([bytes.slice(0, 3)]));
    await expect(blobSource(shorter).read(0, 5)).rejects.toThrow(/gave 3 of the 5 bytes/);
  });
});
