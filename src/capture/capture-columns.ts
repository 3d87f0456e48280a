/** Activations of chosen neurons only. */
import type { HookPoint } from "../backends/backend.ts";
import { hookWidth } from "../backends/hook-points.ts";
import { Activations } from "../data/activations.ts";
import { ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { rowProvenance } from "./capture-activations.ts";
import type { TokenRowsOptions } from "./token-rows.ts";
import { tokenRows, visitBatches, type CaptureInput, type PassOptions } from "./visit-batches.ts";

/**
 * Second pass of probing: the columns that fits need, of every row, and nothing else. Columns are cut out where the
 * activations are.
 *
 * @param columns neurons to keep by hook point
 * @returns float32 [rows × columns] by hook point, columns in the order given; the rows are those of
 * `captureActivations` with the same options
 * @throws ShapeError when a neuron does not exist
 * @throws what `captureActivations` throws
 */
export async function captureColumns(
  model: LanguageModel,
  texts: CaptureInput,
  columns: ReadonlyMap<HookPoint, Uint32Array>,
  options: TokenRowsOptions & PassOptions = {},
): Promise<Map<HookPoint, Activations>> {
  for (const [point, neurons] of columns) {
    const width = hookWidth(model.spec, point);
    const wrong = neurons.find((neuron) => neuron >= width);
    if (wrong !== undefined) {
      throw new ShapeError(
        `Neuron ${wrong} of ${point} does not exist.`,
        `Neurons run from 0 to ${width - 1}.`,
      );
    }
  }
  const rows = await tokenRows(model, texts, options);
  const kept = new Map<HookPoint, Float32Array>();
  for (const [point, neurons] of columns) kept.set(point, new Float32Array(rows.rows * neurons.length));
  const { signal } = options;
  await visitBatches(model, rows, [...kept.keys()], options, async (point, x, batch) => {
    const neurons = columns.get(point)!;
    const part = await model.backend.gatherColumns(x, neurons, { signal });
    kept.get(point)!.set(part.toFloat32(), batch.firstRow * neurons.length);
  });
  const groups = rows.groups();
  const provenance = rowProvenance(model, rows);
  return new Map(
    Array.from(kept, ([point, data]) => [
      point,
      new Activations(data, [rows.rows, columns.get(point)!.length], {
        groups,
        provenance: { ...provenance, hookPoint: point },
      }),
    ]),
  );
}
