/** Activations read from a file block by block: the same values, and the same probes as the whole matrix gives. */
import { describe, expect, it } from "vitest";
import { Activations, type StorageType } from "../../src/data/activations.ts";
import { MissingTensorError, OptionError } from "../../src/errors.ts";
import { activationBlocks, readActivations, writeActivations } from "../../src/io/activations-file.ts";
import { bytesSource, type ByteSource } from "../../src/io/byte-source.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/safetensors.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { Random } from "../../src/random.ts";

const [rows, neurons] = [90, 7];
const random = new Random(4, "activation-blocks");
const labels = Array.from({ length: rows }, (_, row) => row % 3 === 0);
const values = Float32Array.from(
  { length: rows * neurons },
  (_, i) => random.uniform() + (i % neurons === 5 && labels[Math.floor(i / neurons)] ? 0.5 : 0),
);
const whole = new Activations(values, [rows, neurons], {
  groups: labels.map((_, row) => `doc ${row >> 1}`),
  provenance: { hookPoint: "blocks.0.mlp.hook_post" },
});

/** Counts the bytes read beyond the header. */
function metered(bytes: Uint8Array): { source: ByteSource; largest: () => number } {
  const inner = bytesSource(bytes, "acts.safetensors");
  let largest = 0;
  return {
    source: {
      name: inner.name,
      size: inner.size,
      read(start, end, options) {
        largest = Math.max(largest, end - start);
        return inner.read(start, end, options);
      },
    },
    largest: () => largest,
  };
}

describe("activationBlocks", () => {
  it.each<StorageType>(["f32", "f16", "u8"])("gives the rows of a %s file in order, twice", async (dtype) => {
    const stored = whole.toStorage(dtype);
    const file = await openSafetensors(bytesSource(writeActivations(stored)));
    const blocks = await activationBlocks(file, { blockRows: 32 });
    expect([blocks.rows, blocks.neurons, blocks.groups]).toEqual([rows, neurons, whole.groups]);
    for (let pass = 0; pass < 2; pass++) {
      const sizes: number[] = [];
      const read: number[] = [];
      for await (const block of blocks.blocks()) {
        sizes.push(block.rows);
        read.push(...block.toFloat32());
      }
      expect(sizes).toEqual([32, 32, 26]);
      expect(read).toEqual([...(await readActivations(file)).toFloat32()]);
    }
  });

  it("fits the probe that the whole matrix gives, to rounding", async () => {
    const file = await openSafetensors(bytesSource(writeActivations(whole)));
    const fromFile = await SparseProbe.fit(await activationBlocks(file, { blockRows: 7 }), labels, 3);
    const fromMemory = await SparseProbe.fit(whole, labels, 3);
    expect(fromFile.support).toEqual(fromMemory.support);
    expect(fromFile.provenance).toEqual(fromMemory.provenance);
    // Moments are summed in float32 within blocks, each to 80 roundings; a probe follows its standardisation to first order.
    const bound = 4 * 80 * 2 ** -24 * Math.max(...fromMemory.coefficients.map(Math.abs));
    for (const [c, want] of fromMemory.coefficients.entries()) {
      expect(Math.abs(fromFile.coefficients[c] - want)).toBeLessThanOrEqual(bound);
    }
  });

  it("holds no more than a block", async () => {
    const { source, largest } = metered(writeActivations(new Activations(values, [rows, neurons])));
    const blocks = await activationBlocks(await openSafetensors(source), { blockRows: 16 });
    for await (const block of blocks.blocks()) expect(block.rows).toBeLessThanOrEqual(16);
    expect(largest()).toBe(16 * neurons * 4);
  });

  it("refuses blocks without rows and files without activations", async () => {
    const file = await openSafetensors(bytesSource(writeActivations(whole)));
    for (const blockRows of [0, 1.5, NaN, -1]) {
      await expect(activationBlocks(file, { blockRows })).rejects.toThrow(OptionError);
    }
    const other = writeSafetensors({ x: { dtype: "F32", shape: [1], data: new Float32Array(1) } });
    await expect(activationBlocks(await openSafetensors(bytesSource(other)))).rejects.toThrow(
      MissingTensorError,
    );
  });
});
