/** Activations from a model straight to files, for Node: memory holds one batch. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { HookPoint } from "../backends/backend.ts";
import { borrow } from "../backends/cpu/cpu-activations.ts";
import { hookWidths } from "../backends/hook-points.ts";
import { rowProvenance, type CaptureOptions } from "../capture/capture-activations.ts";
import type { TokenRows } from "../capture/token-rows.ts";
import { tokenRows, visitBatches, type CaptureInput } from "../capture/visit-batches.ts";
import { Activations, assertStorageType, type AffineCode } from "../data/activations.ts";
import { ActivationsWriter } from "../io/activations-file.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { openFileSink, type FileSink } from "./files.ts";

/**
 * Captures activations like `captureActivations`, but into a folder: one safetensors file per hook point, which
 * `readActivations` reads, e.g. `blocks.3.mlp.hook_post.safetensors`. Files appear when all are complete; after an
 * error or an abort there are none. `"u8"` runs the model twice: first for the range of every neuron.
 *
 * @returns the files' paths by hook point
 * @throws OptionError when the folder may not be written to
 * @throws what `captureActivations` throws
 */
export async function captureToFolder(
  model: LanguageModel,
  texts: CaptureInput,
  folder: string,
  options: CaptureOptions,
): Promise<Map<HookPoint, string>> {
  const dtype = options.storage ?? "f32";
  assertStorageType(dtype);
  const widths = hookWidths(model.spec, options.hookPoints);
  const points = [...widths.keys()];
  const rows = await tokenRows(model, texts, options);
  const codes = dtype === "u8" ? await neuronRanges(model, rows, widths, options) : undefined;
  const groups = rows.groups();
  const provenance = rowProvenance(model, rows);
  await mkdir(folder, { recursive: true });
  const paths = new Map(points.map((point) => [point, join(folder, `${point}.safetensors`)]));
  const sinks = new Map<HookPoint, FileSink>();
  try {
    const writers = new Map<HookPoint, ActivationsWriter>();
    for (const [point, path] of paths) {
      const sink = await openFileSink(path);
      sinks.set(point, sink);
      const header = {
        rows: rows.rows,
        neurons: widths.get(point)!,
        dtype,
        code: codes?.get(point),
        groups,
        provenance: { ...provenance, hookPoint: point },
      };
      writers.set(point, await ActivationsWriter.open((bytes) => sink.write(bytes), header));
    }
    await visitBatches(model, rows, points, options, async (point, x, batch) => {
      const block = await x.read({ signal: options.signal });
      const code = codes?.get(point);
      await writers
        .get(point)!
        .append(code ? encode(block.toFloat32(), [batch.rows, block.neurons], code) : block.toStorage(dtype));
    });
    for (const writer of writers.values()) await writer.close();
    for (const sink of sinks.values()) await sink.commit();
  } finally {
    for (const sink of sinks.values()) await sink.discard();
  }
  return paths;
}

/** Per-neuron codes that spread 256 levels over the range of each neuron. */
async function neuronRanges(
  model: LanguageModel,
  rows: TokenRows,
  widths: ReadonlyMap<HookPoint, number>,
  options: CaptureOptions,
): Promise<Map<HookPoint, AffineCode>> {
  const ranges = new Map(
    Array.from(widths, ([point, width]) => [
      point,
      { low: new Float32Array(width).fill(Infinity), high: new Float32Array(width).fill(-Infinity) },
    ]),
  );
  const { batchTokens, signal } = options;
  await visitBatches(model, rows, [...widths.keys()], { batchTokens, signal }, async (point, x) => {
    const block = await borrow(x, { signal });
    block.assertFinite();
    const values = block.toFloat32();
    const { low, high } = ranges.get(point)!;
    for (let i = 0; i < values.length; i++) {
      const j = i % low.length;
      if (values[i] < low[j]) low[j] = values[i];
      if (values[i] > high[j]) high[j] = values[i];
    }
  });
  return new Map(
    Array.from(ranges, ([point, { low, high }]) => [
      point,
      { offset: low, scale: high.map((value, j) => (value - low[j]) / 255) },
    ]),
  );
}

function encode(values: Float32Array, shape: readonly [number, number], code: AffineCode): Activations {
  const { scale, offset } = code;
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const j = i % shape[1];
    codes[i] = scale[j] > 0 ? Math.min(255, Math.round((values[i] - offset[j]) / scale[j])) : 0;
  }
  return new Activations(codes, shape, { dtype: "u8", code });
}
