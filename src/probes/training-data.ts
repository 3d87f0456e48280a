/** One feature's training rows, opened on a backend: what fits to all neurons start from. */
import type { Backend } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import type { ClassMoments, MomentSquares } from "../data/class-moments.ts";
import {
  LabelMatrix,
  positiveClass,
  readLabels,
  type ClassValue,
  type LabelsInput,
  type RowSelection,
} from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "./activation-source.ts";
import { assertUsable, type ProbeOrigin } from "./fit-supports.ts";
import type { ProbeOptions } from "./probe-options.ts";
import type { ProbeProvenance } from "./probe-record.ts";

export interface FitOptions extends ProbeOptions {
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend;
  /** Training rows, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /** The class to find where the labels leave a choice; see `readLabels`. */
  readonly positive?: ClassValue;
  /** Name of the feature. Default: the positive class where it has a name, else `"feature"`. */
  readonly feature?: string;
  /** Where the activations came from, if they do not say so themselves. */
  readonly provenance?: Omit<ProbeProvenance, "backend">;
}

/** Labels of one feature; a matrix of one feature may leave rows unlabelled. */
export type ProbeLabels = LabelsInput | LabelMatrix;

export interface TrainingData {
  readonly backend: Backend;
  readonly source: OpenActivations;
  /** Of every row. */
  readonly allLabels: LabelMatrix;
  /** Of the training rows. */
  readonly labels: LabelMatrix;
  /** Of the training rows; every neuron is finite there. */
  readonly moments: ClassMoments;
  readonly origin: ProbeOrigin;
}

/**
 * Opens activations and labels for `use`, and closes them when it is done.
 *
 * @param squares that the moments shall have. Default `"within"`
 * @throws what `SparseProbe.fit` throws about activations and labels
 */
export async function withTrainingData<T>(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: FitOptions,
  use: (data: TrainingData) => Promise<T>,
  squares: MomentSquares = "within",
): Promise<T> {
  const { matrix, positive } = oneFeature(labels, options);
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const source = await openActivations(acts, backend, { signal });
  try {
    assertLabelled(matrix.rows, source.rows);
    const chosen = rows ? matrix.restrictedTo(rows) : matrix;
    const moments = await source.classMoments(chosen, { signal, squares });
    assertUsable(moments, 0, chosen.features[0]);
    const origin: ProbeOrigin = {
      backend: backend.info.kind,
      neurons: source.neurons,
      ...originOf({ ...source.provenance, ...options.provenance }),
      positives: [positive],
    };
    return await use({ backend, source, allLabels: matrix, labels: chosen, moments, origin });
  } finally {
    source.close();
  }
}

/** What a record keeps of where activations came from. */
export function originOf({
  model,
  hookPoint,
  aggregation,
}: Omit<ProbeProvenance, "backend">): Omit<ProbeProvenance, "backend"> {
  return {
    ...(model !== undefined && { model }),
    ...(hookPoint !== undefined && { hookPoint }),
    ...(aggregation !== undefined && { aggregation }),
  };
}

/** One label set as a matrix, and the class that it calls positive. */
export function oneFeature(
  labels: ProbeLabels,
  options: FitOptions,
): { matrix: LabelMatrix; positive: ClassValue } {
  if (labels instanceof LabelMatrix) {
    assertOneFeature(labels);
    return { matrix: labels, positive: 1 };
  }
  const positive = positiveClass(labels, options.positive);
  const name = options.feature ?? (typeof positive === "string" ? positive : "feature");
  const values = readLabels(labels, options.positive);
  return { matrix: new LabelMatrix([name], labels.length, values), positive };
}

/** @throws ShapeError when the matrix has several features */
export function assertOneFeature(labels: LabelMatrix): void {
  if (labels.features.length === 1) return;
  throw new ShapeError(
    `The label matrix has ${labels.features.length} features.`,
    "Fit several with SparseProbe.fitMany, and score each with a matrix of its own labels.",
  );
}

/** @throws ShapeError when there is not one label per row */
export function assertLabelled(labels: number, rows: number): void {
  if (labels === rows) return;
  throw new ShapeError(`There are ${labels} labels for ${rows} rows.`, "Give one label per row.");
}
