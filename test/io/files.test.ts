import { mkdtemp, mkdir, readdir, readFile, rm, writeFile, copyFile, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { FormatError, MissingTensorError, OptionError } from "../../src/errors.ts";
import { ActivationsWriter, readActivations, writeActivations } from "../../src/io/activations-file.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { fileSource, openFileSink, openTensorFolder, writeFileAtomically } from "../../src/node/files.ts";
import { FIXTURES, fixture, floatsFromBase64, jsonFixture } from "./fixtures.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sparseprobe-files-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("fileSource", () => {
  it("reads ranges of a file", async () => {
    const source = await fileSource(join(FIXTURES, "every-type.safetensors"));
    const bytes = fixture("every-type.safetensors");
    expect(source.size).toBe(bytes.length);
    expect(await source.read(0, bytes.length)).toEqual(bytes);
    expect(await source.read(100, 200)).toEqual(bytes.slice(100, 200));
    expect(await source.read(5, 5)).toEqual(new Uint8Array(0));
    await expect(source.read(0, bytes.length + 1)).rejects.toThrow(FormatError);
    await expect(source.read(0, 1, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow(
      "enough",
    );
    await source.close();
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow(FormatError);
  });

  it("names a file that is missing or a folder", async () => {
    const missing = join(folder, "missing.safetensors");
    await expect(fileSource(missing)).rejects.toThrow(`${missing} does not exist. Check the path.`);
    await expect(fileSource(missing)).rejects.toThrow(FormatError);
    await expect(fileSource(join(FIXTURES, "npz.json", "x"))).rejects.toThrow(/does not exist/);
    await expect(fileSource(folder)).rejects.toThrow(/is not a file/);
  });

  it("notices a file that was cut while open", async () => {
    const path = join(folder, "cut.bin");
    await writeFile(path, new Uint8Array(100));
    const source = await fileSource(path);
    await truncate(path, 50);
    await expect(source.read(0, 100)).rejects.toThrow(/ends at byte 50; it had 100 bytes/);
    await source.close();
  });
});

describe("writing", () => {
  it("replaces a file and leaves nothing else behind", async () => {
    const own = join(folder, "atomic");
    await mkdir(own);
    const path = join(own, "a.bin");
    await writeFileAtomically(path, Uint8Array.of(1, 2, 3));
    await writeFileAtomically(path, Uint8Array.of(4));
    expect([...(await readFile(path))]).toEqual([4]);
    expect(await readdir(own)).toEqual(["a.bin"]);
  });

  it("keeps the old file until commit, and after discard", async () => {
    const own = join(folder, "sink");
    await mkdir(own);
    const path = join(own, "a.bin");
    await writeFile(path, "old");
    const sink = await openFileSink(path);
    await sink.write(Uint8Array.of(1, 2));
    expect(await readFile(path, "utf8")).toBe("old");
    await sink.discard();
    await sink.discard();
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(own)).toEqual(["a.bin"]);
  });

  it("cleans up when the file cannot take its place", async () => {
    const own = join(folder, "taken");
    await mkdir(join(own, "a.bin", "inside"), { recursive: true });
    await expect(writeFileAtomically(join(own, "a.bin"), Uint8Array.of(1))).rejects.toThrow();
    expect(await readdir(own)).toEqual(["a.bin"]);
  });

  it("says when the folder is missing", async () => {
    const path = join(folder, "missing", "a.bin");
    await expect(writeFileAtomically(path, new Uint8Array(1))).rejects.toThrow(OptionError);
    await expect(writeFileAtomically(path, new Uint8Array(1))).rejects.toThrow(/its folder exists/);
  });

  it("takes activations row block by row block", async () => {
    const acts = new Activations(
      Float32Array.from({ length: 60 }, (_, i) => Math.sin(i)),
      [20, 3],
      {
        groups: Array(20).fill("g"),
      },
    );
    const path = join(folder, "acts.safetensors");
    const sink = await openFileSink(path);
    const writer = await ActivationsWriter.open(sink.write, acts);
    for (let at = 0; at < 20; at += 8) await writer.append(acts.slice(at, Math.min(20, at + 8)));
    await writer.close();
    await sink.commit();
    await sink.discard();
    expect(new Uint8Array(await readFile(path))).toEqual(writeActivations(acts));
    const source = await fileSource(path);
    expect(await readActivations(await openSafetensors(source))).toEqual(acts);
    await source.close();
  });
});

describe("openTensorFolder", () => {
  it("opens a single file", async () => {
    const own = join(folder, "single");
    await mkdir(own);
    await copyFile(join(FIXTURES, "every-type.safetensors"), join(own, "model.safetensors"));
    const tensors = await openTensorFolder(own);
    expect(tensors.tensors.size).toBe(18);
    expect((await tensors.read("scalar")).data[0]).toBe(1.5);
    await tensors.close();
    await tensors.close();
    await expect(tensors.read("scalar")).rejects.toThrow(FormatError);
  });

  it("opens shards", async () => {
    const expected = jsonFixture("sharded-expected.json") as Record<string, { float32: string }>;
    const tensors = await openTensorFolder(join(FIXTURES, "sharded"));
    for (const [name, { float32 }] of Object.entries(expected)) {
      expect((await tensors.read(name)).data).toEqual(floatsFromBase64(float32));
    }
    await tensors.close();
  });

  it("names what is missing or damaged", async () => {
    const own = join(folder, "incomplete");
    await mkdir(own);
    await expect(openTensorFolder(own)).rejects.toThrow(MissingTensorError);
    await expect(openTensorFolder(join(own, "nowhere"))).rejects.toThrow(/neither model\.safetensors nor/);
    await copyFile(
      join(FIXTURES, "sharded", "model.safetensors.index.json"),
      join(own, "model.safetensors.index.json"),
    );
    await expect(openTensorFolder(own)).rejects.toThrow(
      /model-0000[12]-of-00002\.safetensors does not exist/,
    );
    await writeFile(join(own, "model.safetensors"), "not a checkpoint");
    await expect(openTensorFolder(own)).rejects.toThrow(FormatError);
  });
});
