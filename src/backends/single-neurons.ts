/** Checks and empty results of the calls that treat every neuron alone. */
import type { LabelMatrix } from "../data/labels.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { NeuronRoc, SingleNeuronFits, SingleNeuronOptions } from "./backend.ts";

interface Shape {
  readonly rows: number;
  readonly neurons: number;
}

/**
 * @throws ShapeError when labels and activations differ in rows
 * @throws OneClassError when a label set lacks a class
 */
export function assertLabelSets(x: Shape, labels: LabelMatrix): void {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  for (let f = 0; f < labels.features.length; f++) labels.assertTwoClasses(f);
}

/** @throws ShapeError | OptionError | OneClassError when a call of `fitSingleNeurons` makes no sense */
export function assertSingleNeuronOptions(
  x: Shape,
  labels: LabelMatrix,
  { C, center, scale }: SingleNeuronOptions,
): void {
  assertLabelSets(x, labels);
  if (!(C > 0) || !Number.isFinite(C)) {
    throw new OptionError(`C is ${C}.`, "Give a finite number above 0.");
  }
  const size = labels.features.length * x.neurons;
  if ((center && center.length !== size) || (scale && scale.length !== size)) {
    throw new ShapeError(
      `center or scale does not have ${labels.features.length} × ${x.neurons} values.`,
      "Give one value per feature and neuron.",
    );
  }
  if (scale?.includes(0)) {
    throw new OptionError("A scale is zero.", "Give 1 for neurons that are not to be scaled.");
  }
}

/** Results of neurons that nothing is known about: NaN, not converged. */
export function unknownFits(features: number, neurons: number): SingleNeuronFits {
  const unknown = () => new Float64Array(features * neurons).fill(NaN);
  return {
    features,
    neurons,
    coefficients: unknown(),
    intercepts: unknown(),
    objectives: unknown(),
    newtonDecrements: unknown(),
    converged: new Uint8Array(features * neurons),
  };
}

/** {@link unknownFits} for ROC curves. */
export function unknownRoc(features: number, neurons: number): NeuronRoc {
  const unknown = () => new Float64Array(features * neurons).fill(NaN);
  return { features, neurons, auc: unknown(), threshold: unknown(), informedness: unknown() };
}

/** The labelled rows of a feature: negative ones, then positive ones, each ascending. */
export interface LabelledRows {
  readonly rows: Uint32Array;
  readonly negatives: number;
  readonly positives: number;
}

export function rowsByClass(values: Uint8Array): LabelledRows {
  let negatives = 0;
  let positives = 0;
  for (const value of values) {
    if (value === 0) negatives++;
    else if (value === 1) positives++;
  }
  const rows = new Uint32Array(negatives + positives);
  let negative = 0;
  let positive = negatives;
  for (let i = 0; i < values.length; i++) {
    if (values[i] === 0) rows[negative++] = i;
    else if (values[i] === 1) rows[positive++] = i;
  }
  return { rows, negatives, positives };
}
