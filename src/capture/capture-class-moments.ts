/** Class moments of a model's neurons over labelled texts; no activation is kept. */
import type { HookPoint } from "../backends/backend.ts";
import { hookWidths } from "../backends/hook-points.ts";
import type { Activations } from "../data/activations.ts";
import {
  emptyClassMoments,
  mergeClassMoments,
  type ClassMoments,
  type MomentSquares,
} from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { TokenRowsOptions } from "./token-rows.ts";
import { tokenRows, visitBatches, type CaptureInput, type PassOptions } from "./visit-batches.ts";

/**
 * First pass of probing: class moments of every neuron of every hook point, for every feature at once. Each batch's
 * moments are computed where its activations are and merged (Chan, Golub, LeVeque 1979).
 *
 * @param labels one per output row, the rows being those of `captureActivations` with the same options; see
 * `TokenRows.labelRows` for labels of whole texts. Unlabelled rows are left out of a feature's moments
 * @param options with `squares`: which sums of squares to keep. Default `"within"`, all that the library's rankings and
 * standardisation read; Welch's t and functions of your own may need `"class"`
 * @throws ShapeError when the labels do not match the rows
 * @throws what `captureActivations` throws
 */
export async function captureClassMoments(
  model: LanguageModel,
  texts: CaptureInput,
  labels: LabelMatrix,
  options: TokenRowsOptions &
    PassOptions & { readonly hookPoints: readonly HookPoint[]; readonly squares?: MomentSquares },
): Promise<Map<HookPoint, ClassMoments>> {
  return observeClassMoments(model, texts, labels, options);
}

/** Sees the activations of every batch, on the host, with their first row. */
export type BatchObserver = (point: HookPoint, block: Activations, firstRow: number) => Promise<void>;

/** {@link captureClassMoments}, with someone to look on. */
export async function observeClassMoments(
  model: LanguageModel,
  texts: CaptureInput,
  labels: LabelMatrix,
  options: TokenRowsOptions &
    PassOptions & { readonly hookPoints: readonly HookPoint[]; readonly squares?: MomentSquares },
  observe?: BatchObserver,
): Promise<Map<HookPoint, ClassMoments>> {
  const { signal, squares = "within" } = options;
  const moments = new Map<HookPoint, ClassMoments>();
  for (const [point, width] of hookWidths(model.spec, options.hookPoints)) {
    moments.set(point, emptyClassMoments(labels.features.length, width, squares));
  }
  const rows = await tokenRows(model, texts, options);
  if (labels.rows !== rows.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels for ${rows.rows} rows.`,
      rows.aggregation === "token"
        ? "Give one label per token that counts; TokenRows.labelRows() repeats the labels of texts."
        : "Give one label per text.",
    );
  }
  await visitBatches(model, rows, [...moments.keys()], options, async (point, x, batch) => {
    const part = labels.slice(batch.firstRow, batch.firstRow + batch.rows);
    mergeClassMoments(moments.get(point)!, await model.backend.classMoments(x, part, { signal, squares }));
    await observe?.(point, await x.read({ signal }), batch.firstRow);
  });
  return moments;
}
