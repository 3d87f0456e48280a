/** ROC curve of every neuron by sorting its values: areas and thresholds are counts of rows, so they are exact. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { NeuronRoc } from "../../backend.ts";
import { assertLabelSets, rowsByClass, unknownRoc } from "../../single-neurons.ts";
import type { Pacer } from "../pacer.ts";
import { gatherAsColumns } from "./gather-columns.ts";

/** Bytes of gathered columns held at once. */
const GATHER_BYTES = 32 * 2 ** 20;

/**
 * Area under the ROC curve and best threshold of every neuron for every label set.
 * @throws ShapeError | OneClassError
 */
export async function neuronRoc(x: Activations, labels: LabelMatrix, pacer: Pacer): Promise<NeuronRoc> {
  assertLabelSets(x, labels);
  const roc = unknownRoc(labels.features.length, x.neurons);
  const all = Uint32Array.from({ length: x.neurons }, (_, j) => j);
  for (let f = 0; f < roc.features; f++) await rocOfNeurons(x, labels, f, all, roc, pacer);
  return roc;
}

/** Curves of some neurons for one feature, written to `roc`. */
export async function rocOfNeurons(
  x: Activations,
  labels: LabelMatrix,
  feature: number,
  neurons: Uint32Array,
  roc: NeuronRoc,
  pacer: Pacer,
): Promise<void> {
  const { rows, negatives } = rowsByClass(labels.of(feature));
  const width = Math.max(1, Math.floor(GATHER_BYTES / (4 * rows.length)));
  for (let first = 0; first < neurons.length; first += width) {
    const part = neurons.subarray(first, first + width);
    for (const [c, column] of (await gatherAsColumns(x, part, rows, pacer)).entries()) {
      if (!column.every(Number.isFinite)) continue;
      const at = feature * x.neurons + part[c];
      const curve = rocOf(column.subarray(0, negatives).sort(), column.subarray(negatives).sort());
      roc.auc[at] = curve.auc;
      roc.threshold[at] = curve.threshold;
      roc.informedness[at] = curve.informedness;
      if (pacer.due) await pacer.turn();
    }
  }
}

/** The curve of ascending values of negative and of positive rows, visited from the highest value down. */
function rocOf(
  negative: Float32Array,
  positive: Float32Array,
): { auc: number; threshold: number; informedness: number } {
  const pairs = negative.length * positive.length;
  /** Rows of either class at or above the value in turn. */
  let falsePositives = 0;
  let truePositives = 0;
  /** Twice the pairs in which the positive row is higher; pairs of equals count once. */
  let area = 0;
  /** (TPR − FPR) · pairs: a whole number. */
  let best = 0;
  let threshold = Math.max(negative.at(-1)!, positive.at(-1)!) + 0;
  while (falsePositives < negative.length || truePositives < positive.length) {
    const nextNegative = negative.at(-1 - falsePositives) ?? -Infinity;
    const nextPositive = positive.at(-1 - truePositives) ?? -Infinity;
    const value = Math.max(nextNegative, nextPositive);
    const above = truePositives;
    while (positive.at(-1 - truePositives) === value) truePositives++;
    while (negative.at(-1 - falsePositives) === value) {
      falsePositives++;
      area += above + truePositives;
    }
    const gain = truePositives * negative.length - falsePositives * positive.length;
    if (Math.abs(gain) > Math.abs(best)) {
      best = gain;
      // Minus zero is zero.
      threshold = value + 0;
    }
  }
  return { auc: area / (2 * pairs), threshold, informedness: best / pairs };
}
