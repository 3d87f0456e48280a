/** One feature's labels and the options of its fits, read and checked. */
import type { Backend } from "../backends/backend.ts";
import {
  LabelMatrix,
  positiveClass,
  readLabels,
  type ClassValue,
  type LabelsInput,
  type RowSelection,
} from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
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

/** Labels of several features: by name, as class names (each against the rest), or as a matrix. */
export type ProbeLabelSets = LabelsInput | Readonly<Record<string, LabelsInput>> | LabelMatrix;

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
  options: { readonly positive?: ClassValue | undefined; readonly feature?: string | undefined },
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
