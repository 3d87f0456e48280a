/** Metrics of classifiers with several exclusive classes; what is undefined is null, with the reason beside it. */
import { EmptyDataError, LabelError, ShapeError } from "../errors.ts";
import type { ClassValue } from "../data/labels.ts";
import { fScore, precision, recall, type ConfusionCounts } from "./confusion.ts";
import { evaluateBinary, type Metrics } from "./evaluate.ts";
import { rocAuc } from "./roc.ts";

/** Names of the metrics, in the order of tables. */
export const MULTICLASS_METRIC_NAMES = [
  "accuracy",
  "balancedAccuracy",
  "macroPrecision",
  "macroRecall",
  "macroF1",
  "microPrecision",
  "microRecall",
  "microF1",
  "weightedPrecision",
  "weightedRecall",
  "weightedF1",
  "macroRocAuc",
] as const;

export type MulticlassMetricName = (typeof MULTICLASS_METRIC_NAMES)[number];

/** One class among the predictions, as a line of scikit-learn's `classification_report`. */
export interface ClassMetrics {
  readonly class: ClassValue;
  /** Rows of this class. */
  readonly rows: number;
  /** Rows that are predicted to be of this class. */
  readonly predicted: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
  /** With the class's probability as the score, against all other rows. */
  readonly rocAuc: number | null;
  /** Reason by metric, for those that are null. */
  readonly undefinedBecause: Readonly<Partial<Record<"precision" | "recall" | "f1" | "rocAuc", string>>>;
  /** The class's own probe by itself: positive where its decision value is above 0; null where it has none. */
  readonly oneVsRest: Metrics | null;
}

/** Every metric, per class too, and why a metric is null. */
export type MulticlassMetrics = Readonly<Record<MulticlassMetricName, number | null>> & {
  readonly rows: number;
  readonly classes: readonly ClassValue[];
  /** Rows by true class, then by predicted class: `confusion[true][predicted]`, in the order of `classes`. */
  readonly confusion: readonly (readonly number[])[];
  /** In the order of `classes`. */
  readonly perClass: readonly ClassMetrics[];
  /** Reason by metric, for those that are null. */
  readonly undefinedBecause: Readonly<Partial<Record<MulticlassMetricName, string>>>;
};

/**
 * Scores one-vs-rest decisions. The predicted class is that of the highest decision, of equals the first.
 *
 * Averages follow scikit-learn with `zero_division=np.nan`: "macro" is the mean and "weighted" the mean weighted by rows over
 * the classes for which the metric is defined, "micro" pools the counts of all classes, which makes all three of its
 * metrics the accuracy. Balanced accuracy is the mean recall of the classes that have rows.
 *
 * @param classes the first of them have decisions; further ones are never predicted
 * @param labels place in `classes` of each row's class
 * @param decisions [rows × classes with decisions], row-major
 * @throws EmptyDataError without rows or classes
 * @throws ShapeError when the lengths do not match
 * @throws LabelError when a label is not a place in `classes`
 * @throws NonFiniteError when a decision is NaN or infinite
 */
export function evaluateMulticlass(
  classes: readonly ClassValue[],
  labels: ArrayLike<number>,
  decisions: Float64Array,
): MulticlassMetrics {
  const n = labels.length;
  if (n === 0 || classes.length === 0) {
    throw new EmptyDataError("There is nothing to score.", "Give at least one row and one class.");
  }
  const width = decisions.length / n;
  if (!Number.isInteger(width) || width < 1 || width > classes.length) {
    throw new ShapeError(
      `There are ${decisions.length} decisions for ${n} rows and ${classes.length} classes.`,
      "Give one decision per row and class.",
    );
  }
  const predictions = strongestClasses(decisions, width);
  const confusion = classes.map(() => new Array<number>(classes.length).fill(0));
  for (let i = 0; i < n; i++) {
    const label = labels[i];
    if (!(label in classes)) {
      throw new LabelError(
        `The label of row ${i} is ${label}.`,
        "Give each row's place in the list of classes.",
      );
    }
    confusion[label][predictions[i]]++;
  }
  const probabilities = oneVsRestProbabilities(decisions, width);
  const perClass = classes.map((value, c) =>
    classMetrics(value, c, labels, confusion, decisions, probabilities, width),
  );
  const right = confusion.reduce((sum, row, c) => sum + row[c], 0);
  const accuracy = right / n;
  const mean = (name: "precision" | "recall" | "f1" | "rocAuc", weighted: boolean): number | null => {
    let sum = 0;
    let total = 0;
    for (const one of perClass) {
      const value = one[name];
      if (value === null) continue;
      const weight = weighted ? one.rows : 1;
      sum += weight * value;
      total += weight;
    }
    return total === 0 ? null : sum / total;
  };
  const values: Record<MulticlassMetricName, number | null> = {
    accuracy,
    balancedAccuracy: mean("recall", false),
    macroPrecision: mean("precision", false),
    macroRecall: mean("recall", false),
    macroF1: mean("f1", false),
    microPrecision: accuracy,
    microRecall: accuracy,
    microF1: accuracy,
    weightedPrecision: mean("precision", true),
    weightedRecall: mean("recall", true),
    weightedF1: mean("f1", true),
    macroRocAuc: mean("rocAuc", false),
  };
  const undefinedNames = MULTICLASS_METRIC_NAMES.filter((name) => values[name] === null);
  return Object.freeze({
    ...values,
    rows: n,
    classes: Object.freeze([...classes]),
    confusion: Object.freeze(confusion.map((row) => Object.freeze(row))),
    perClass: Object.freeze(perClass),
    undefinedBecause: Object.freeze(
      Object.fromEntries(undefinedNames.map((name) => [name, "it is undefined for every class"])),
    ),
  });
}

/** The class of the highest decision of each row; of equals the first. */
export function strongestClasses(decisions: Float64Array, classes: number): Uint32Array {
  const out = new Uint32Array(decisions.length / classes);
  for (let i = 0; i < out.length; i++) {
    const row = i * classes;
    let best = 0;
    for (let c = 1; c < classes; c++) if (decisions[row + c] > decisions[row + best]) best = c;
    out[i] = best;
  }
  return out;
}

/**
 * Sigmoids of the decisions, divided by their sum over the classes, as scikit-learn's `OneVsRestClassifier`; zeros stay where
 * all of a row's underflow.
 */
export function oneVsRestProbabilities(decisions: Float64Array, classes: number): Float64Array {
  const out = decisions.map((z) => 1 / (1 + Math.exp(-z)));
  for (let row = 0; row < out.length; row += classes) {
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += out[row + c];
    if (sum === 0) continue;
    for (let c = 0; c < classes; c++) out[row + c] /= sum;
  }
  return out;
}

function classMetrics(
  value: ClassValue,
  c: number,
  labels: ArrayLike<number>,
  confusion: readonly (readonly number[])[],
  decisions: Float64Array,
  probabilities: Float64Array,
  width: number,
): ClassMetrics {
  const n = labels.length;
  const truePositive = confusion[c][c];
  const rows = confusion[c].reduce((sum, count) => sum + count, 0);
  const predicted = confusion.reduce((sum, row) => sum + row[c], 0);
  const counts: ConfusionCounts = {
    truePositive,
    falsePositive: predicted - truePositive,
    falseNegative: rows - truePositive,
    trueNegative: n - rows - predicted + truePositive,
  };
  const own = Uint8Array.from(labels, (label) => (label === c ? 1 : 0));
  // A class without a probe has the probability 0 in every row.
  const ofClass = (values: Float64Array): Float64Array =>
    c < width ? Float64Array.from(own, (_, i) => values[i * width + c]) : new Float64Array(n);
  const values = {
    precision: precision(counts),
    recall: recall(counts),
    f1: fScore(counts, 1),
    rocAuc: rocAuc(own, ofClass(probabilities)),
  };
  const reasons = {
    precision: "no row is predicted to be of this class",
    recall: "no row is of this class",
    f1: "no row is of this class or predicted to be",
    rocAuc: rows === 0 ? "no row is of this class" : "every row is of this class",
  };
  const undefinedNames = (["precision", "recall", "f1", "rocAuc"] as const).filter(
    (name) => values[name] === null,
  );
  const z = ofClass(decisions);
  return Object.freeze({
    class: value,
    rows,
    predicted,
    ...values,
    undefinedBecause: Object.freeze(Object.fromEntries(undefinedNames.map((name) => [name, reasons[name]]))),
    oneVsRest:
      c < width
        ? evaluateBinary(
            own,
            z,
            z.map((value) => 1 / (1 + Math.exp(-value))),
          )
        : null,
  });
}
