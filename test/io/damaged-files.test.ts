/** Damaged files either parse or are a FormatError: never another error, a hang, or memory on the file's word. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { FormatError, SparseProbeError } from "../../src/errors.ts";
import { readActivations, writeActivations } from "../../src/io/activations-file.ts";
import { bytesSource, type ByteSource } from "../../src/io/byte-source.ts";
import { readNpy } from "../../src/io/npy.ts";
import { readNpz } from "../../src/io/npz.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { openShardedSafetensors } from "../../src/io/sharded-safetensors.ts";
import { damaged } from "./arbitraries.ts";
import { fixture, fromBase64, jsonFixture } from "./fixtures.ts";

/** Reads may ask for at most the whole file, once for the header and once for the data. */
function metered(bytes: Uint8Array): ByteSource {
  const source = bytesSource(bytes, "damaged");
  let left = 4 * bytes.length + 16;
  return {
    ...source,
    read(start, end, options) {
      left -= end - start;
      if (left < 0) throw new Error("more was read than the file holds");
      return source.read(start, end, options);
    },
  };
}

async function parsesOrIsFormatError(parse: () => unknown, also: (error: unknown) => boolean = () => false) {
  try {
    await parse();
  } catch (error) {
    if (error instanceof FormatError || also(error)) return;
    throw error;
  }
}

const RUNS = { numRuns: 3000 };

describe("damaged files", () => {
  it("safetensors", async () => {
    await fc.assert(
      fc.asyncProperty(damaged(fixture("every-type.safetensors")), (bytes) =>
        parsesOrIsFormatError(async () => {
          const file = await openSafetensors(metered(bytes));
          for (const name of file.tensors.keys()) await file.read(name);
        }),
      ),
      RUNS,
    );
  });

  it("safetensors headers of random text", async () => {
    const token = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...Array.from('{}[]:,"0129-eE. \\'), "null", '"a"') },
      fc.constantFrom(
        '"__metadata__"',
        '"dtype":"F32"',
        '"shape":[1]',
        '"data_offsets":[0,4]',
        '"__proto__"',
      ),
    );
    const text = fc.array(token, { maxLength: 30 }).map((tokens) => `{${tokens.join("")}`);
    await fc.assert(
      fc.asyncProperty(text, fc.nat(8), (json, dataBytes) => {
        const header = new TextEncoder().encode(json);
        const bytes = new Uint8Array(8 + header.length + dataBytes);
        bytes[0] = header.length;
        bytes[1] = header.length >> 8;
        bytes.set(header, 8);
        return parsesOrIsFormatError(() => openSafetensors(metered(bytes)));
      }),
      RUNS,
    );
  });

  it("sharded safetensors", async () => {
    const index = fixture("sharded/model.safetensors.index.json");
    await fc.assert(
      fc.asyncProperty(damaged(index), (bytes) =>
        parsesOrIsFormatError(
          () =>
            openShardedSafetensors(new TextDecoder().decode(bytes), (name) => {
              expect(name).toMatch(/^[^/\\]+\.safetensors$/);
              return Promise.resolve(bytesSource(fixture("sharded/model-00001-of-00002.safetensors"), name));
            }),
          (error) => error instanceof SparseProbeError && error.code === "missing-tensor",
        ),
      ),
      { numRuns: 1000 },
    );
  });

  const npy = jsonFixture("npy.json") as Record<string, { readonly file: string }>;
  it.each(["F32 little-endian", "F64 big-endian", "four dimensions, fortran, big-endian", "version 3.0"])(
    "npy, %s",
    async (name) => {
      await fc.assert(
        fc.asyncProperty(damaged(fromBase64(npy[name].file)), (bytes) =>
          parsesOrIsFormatError(() => {
            expect(readNpy(bytes).data.byteLength).toBeLessThan(bytes.length);
          }),
        ),
        RUNS,
      );
    },
  );

  it.each(["stored.npz", "deflated.npz"])("%s", async (name) => {
    const file = fixture(name);
    await fc.assert(
      fc.asyncProperty(damaged(file), (bytes) =>
        parsesOrIsFormatError(async () => {
          let total = 0;
          for (const { data } of (await readNpz(bytes, { maxBytes: 3000 })).values())
            total += data.byteLength;
          expect(total).toBeLessThan(3000);
        }),
      ),
      RUNS,
    );
  });

  it("npz archives whose contents changed are never read as if they had not", async () => {
    const file = fixture("deflated.npz");
    const wanted = await readNpz(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) =>
        parsesOrIsFormatError(async () => {
          const bytes = file.slice();
          bytes[at] ^= flip;
          const arrays = await readNpz(bytes);
          expect([...arrays.values()]).toEqual([...wanted.values()]);
        }),
      ),
      RUNS,
    );
  });

  it("activations", async () => {
    const acts = new Activations(
      Float32Array.from({ length: 6 }, (_, i) => Math.sin(i)),
      [3, 2],
      {
        groups: ["a", 1, "a"],
        provenance: { model: "m", tokens: ["x", "y", "z"] },
      },
    );
    for (const dtype of ["f32", "u8"] as const) {
      const file = writeActivations(acts.toStorage(dtype));
      await fc.assert(
        fc.asyncProperty(damaged(file), (bytes) =>
          parsesOrIsFormatError(
            async () => readActivations(await openSafetensors(metered(bytes))),
            (error) => error instanceof SparseProbeError && error.code === "missing-tensor",
          ),
        ),
        { numRuns: 2000 },
      );
    }
  });
});
