import { describe, expect, it } from "vitest";
import { FormatError, MissingTensorError } from "../../src/errors.ts";
import { bytesSource } from "../../src/io/byte-source.ts";
import { bytesOf } from "../../src/io/raw-tensor.ts";
import { openShardedSafetensors } from "../../src/io/sharded-safetensors.ts";
import { fixture, fromBase64, jsonFixture } from "./fixtures.ts";

const index = new TextDecoder().decode(fixture("sharded/model.safetensors.index.json"));
const expected = jsonFixture("sharded-expected.json") as Record<string, { shape: number[]; float32: string }>;

const open = (name: string) => Promise.resolve(bytesSource(fixture(`sharded/${name}`), name));
const never = (name: string): never => {
  throw new Error(`${name} must not be opened`);
};

describe("openShardedSafetensors", () => {
  it("reads tensors of every shard, and only those of the index", async () => {
    const opened: string[] = [];
    const source = await openShardedSafetensors(index, (name) => {
      opened.push(name);
      return open(name);
    });
    expect(opened).toEqual(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    expect([...source.tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
    for (const [name, { shape, float32 }] of Object.entries(expected)) {
      expect(source.tensors.get(name)!.shape).toEqual(shape);
      const tensor = await source.read(name);
      expect(tensor.shape).toEqual(shape);
      expect(bytesOf(tensor.data)).toEqual(fromBase64(float32));
    }
    await expect(source.read("unlisted")).rejects.toThrow(MissingTensorError);
    expect(opened).toHaveLength(2);
  });

  it("says which tensor a shard lacks", async () => {
    const json = '{"weight_map":{"lm_head.weight":"model-00002-of-00002.safetensors"}}';
    await expect(openShardedSafetensors(json, open)).rejects.toThrow(
      /"lm_head\.weight" in model-00002-of-00002\.safetensors, which does not have it/,
    );
    await expect(openShardedSafetensors(json, open)).rejects.toThrow(MissingTensorError);
  });

  it("passes on why a shard cannot be opened, after all have settled", async () => {
    let settled = 0;
    const failing = async (name: string) => {
      if (name.startsWith("model-00001")) throw new FormatError("Gone.", "Get it.");
      const source = await open(name);
      settled++;
      return source;
    };
    await expect(openShardedSafetensors(index, failing)).rejects.toThrow("Gone. Get it.");
    expect(settled).toBe(1);
  });

  it.each([
    "../model.safetensors",
    "a/b.safetensors",
    "a\\b.safetensors",
    "/etc/passwd.safetensors",
    "C:model.safetensors",
    "..safetensors",
    ".hidden.safetensors",
    "a..b.safetensors",
    "model.safetensors?x",
    "%2e%2e%2fmodel.safetensors",
    "https://example.org/model.safetensors",
    "model.safetensors\0",
    "model.bin",
    "",
    ".safetensors",
    7,
    null,
    ["model.safetensors"],
  ])("refuses the file name %j", async (fileName) => {
    const json = JSON.stringify({ weight_map: { a: fileName } });
    await expect(openShardedSafetensors(json, never)).rejects.toThrow(FormatError);
  });

  it.each([
    "",
    "{",
    "[]",
    "null",
    "7",
    "{}",
    '{"weight_map":[]}',
    '{"weight_map":{}}',
    '{"weight_map":null}',
  ])("refuses the index %j", async (json) => {
    await expect(openShardedSafetensors(json, never)).rejects.toThrow(FormatError);
  });

  it("refuses a tensor called __proto__", async () => {
    const json = '{"weight_map":{"__proto__":"model.safetensors"}}';
    await expect(openShardedSafetensors(json, never)).rejects.toThrow(FormatError);
  });

  it("stops when told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(openShardedSafetensors(index, open, { signal })).rejects.toThrow("enough");
  });
});
