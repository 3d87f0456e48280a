/** Texts in, activation matrices out. */
import type { HookPoint } from "../backends/backend.ts";
import { borrow } from "../backends/cpu/cpu-activations.ts";
import { hookWidths } from "../backends/hook-points.ts";
import { Activations, assertStorageType, type Provenance, type StorageType } from "../data/activations.ts";
import { floatsToHalves } from "../data/float16.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { TokenRows, TokenRowsOptions } from "./token-rows.ts";
import { tokenRows, visitBatches, type CaptureInput, type PassOptions } from "./visit-batches.ts";

export interface CaptureOptions extends TokenRowsOptions, PassOptions {
  readonly hookPoints: readonly HookPoint[];
  /**
   * How values are kept. Default `"f32"`. `"f16"` halves the memory; `"u8"` quarters it in the end, but needs the
   * float32 matrix while it captures, for the range of each neuron.
   */
  readonly storage?: StorageType | undefined;
}

/**
 * Runs a model over texts and keeps the activations of every hook point, [rows × neurons]: a row per token that counts,
 * or per text, in the order of the texts. Rows carry their document as group and, where they are tokens, the token.
 *
 * @example
 * const acts = await captureActivations(model, texts, {
 *   hookPoints: ["blocks.3.mlp.hook_post"],
 *   aggregation: "mean",
 * });
 * acts.get("blocks.3.mlp.hook_post"); // Activations [texts × neurons]
 *
 * @throws EmptyDataError when there is no text, or one has no token that counts
 * @throws ContextLengthError when a text is longer than the context and `truncate` is not set
 * @throws OptionError when a hook point does not exist, or the storage type or the aggregation is unknown
 * @throws NonFiniteError for `"u8"` when an activation is NaN or infinite
 */
export async function captureActivations(
  model: LanguageModel,
  texts: CaptureInput,
  options: CaptureOptions,
): Promise<Map<HookPoint, Activations>> {
  const storage = options.storage ?? "f32";
  assertStorageType(storage);
  const widths = hookWidths(model.spec, options.hookPoints);
  const rows = await tokenRows(model, texts, options);
  const stored = new Map<HookPoint, Float32Array | Uint16Array>();
  for (const [point, width] of widths) {
    const length = rows.rows * width;
    stored.set(point, storage === "f16" ? new Uint16Array(length) : new Float32Array(length));
  }
  await visitBatches(model, rows, [...widths.keys()], options, async (point, x, batch) => {
    const values = (await borrow(x, { signal: options.signal })).toFloat32();
    const target = stored.get(point)!;
    const at = batch.firstRow * widths.get(point)!;
    target.set(target instanceof Uint16Array ? floatsToHalves(values) : values, at);
  });
  const groups = rows.groups();
  const provenance = rowProvenance(model, rows);
  const captured = new Map<HookPoint, Activations>();
  for (const [point, data] of stored) {
    const shape = [rows.rows, widths.get(point)!] as const;
    const activations = new Activations(data, shape, {
      dtype: data instanceof Uint16Array ? "f16" : "f32",
      groups,
      provenance: { ...provenance, hookPoint: point },
    });
    captured.set(point, activations.toStorage(storage));
    stored.delete(point);
  }
  return captured;
}

/** Where rows come from, without the hook point. */
export function rowProvenance(model: LanguageModel, rows: TokenRows): Provenance {
  const tokens = rows.tokenTexts(model);
  return {
    ...(model.name !== undefined && { model: model.name }),
    aggregation: rows.aggregation,
    ...(tokens && { tokens }),
  };
}
