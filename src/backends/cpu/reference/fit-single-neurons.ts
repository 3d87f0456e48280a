/** One logistic probe per neuron, in float64: the solver of any probe, on one column. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { SingleNeuronFits, SingleNeuronOptions } from "../../backend.ts";
import { assertSingleNeuronOptions, rowsByClass, unknownFits } from "../../single-neurons.ts";
import type { Pacer } from "../pacer.ts";
import { gatherAsColumns } from "./gather-columns.ts";
import { classWeights, LogisticLoss } from "./logistic-loss.ts";
import { newtonSteps } from "./newton.ts";

/** Bytes of gathered columns held at once. */
const GATHER_BYTES = 32 * 2 ** 20;

/**
 * Fits every neuron alone, for every label set.
 * @throws ShapeError | OptionError | OneClassError
 */
export async function fitSingleNeurons(
  x: Activations,
  labels: LabelMatrix,
  options: SingleNeuronOptions,
  pacer: Pacer,
): Promise<SingleNeuronFits> {
  assertSingleNeuronOptions(x, labels, options);
  const fits = unknownFits(labels.features.length, x.neurons);
  const all = Uint32Array.from({ length: x.neurons }, (_, j) => j);
  for (let f = 0; f < fits.features; f++) {
    await fitNeuronsOf(x, labels, f, all, options, fits, pacer, (done) => {
      options.onProgress?.(f * x.neurons + done, fits.features * x.neurons);
    });
  }
  return fits;
}

/**
 * Fits some neurons to one feature and writes them to `fits`, starting from what stands there if that is finite.
 * @param progress called with the number of finished neurons
 */
export async function fitNeuronsOf(
  x: Activations,
  labels: LabelMatrix,
  feature: number,
  neurons: Uint32Array,
  options: SingleNeuronOptions,
  fits: SingleNeuronFits,
  pacer: Pacer,
  progress: (done: number) => void,
): Promise<void> {
  const d = x.neurons;
  const values = labels.of(feature);
  const { rows } = rowsByClass(values);
  const y = Uint8Array.from(rows, (i) => values[i]);
  const weights = classWeights(y, options.balanced);
  const width = Math.max(1, Math.floor(GATHER_BYTES / (4 * rows.length)));
  for (let first = 0; first < neurons.length; first += width) {
    const part = neurons.subarray(first, first + width);
    const columns = await gatherAsColumns(x, part, rows, pacer);
    for (const [c, j] of part.entries()) {
      const at = feature * d + j;
      const center = options.center?.[at] ?? 0;
      const scale = options.scale?.[at] ?? 1;
      if (Number.isFinite(center) && Number.isFinite(scale) && columns[c].every(Number.isFinite)) {
        const loss = new LogisticLoss({
          columns: [columns[c]],
          labels: y,
          weights,
          C: options.C,
          center: Float64Array.of(center),
          scale: Float64Array.of(scale),
        });
        const start = Float64Array.of(fits.coefficients[at], fits.intercepts[at]);
        const steps = newtonSteps(loss, { ...options, ...(start.every(Number.isFinite) && { start }) });
        let state = steps.next();
        while (!state.done) {
          if (pacer.due) await pacer.turn();
          state = steps.next();
        }
        const { theta, convergence } = state.value;
        [fits.coefficients[at], fits.intercepts[at]] = theta;
        fits.objectives[at] = convergence.objective;
        fits.newtonDecrements[at] = convergence.newtonDecrement;
        fits.converged[at] = convergence.converged ? 1 : 0;
      }
      if (pacer.due) await pacer.turn();
      progress(first + c + 1);
    }
  }
}
