/** Labels: what users hold (booleans, 0/1, ±1, class names) turned into one byte per row and feature. */
import { EmptyDataError, LabelError, OneClassError, ShapeError, SparseProbeError } from "../errors.ts";

/** Label of a row that takes no part in a feature: it has no weight in moments or fits. */
export const UNLABELLED = 255;

/** One label per row. With class names (or other numbers than 0/1 and ±1), say which is the positive class. */
export type LabelsInput = ArrayLike<ClassValue>;

/** One class of a label set. */
export type ClassValue = boolean | number | string;

/** Which rows a label set speaks of; absent: all of them. */
export type RowSelection = ArrayLike<number>;

/**
 * Label sets of many features over the same rows: `values[f · rows + i]` is 1 (positive), 0 (negative) or
 * {@link UNLABELLED}.
 */
export class LabelMatrix {
  readonly rows: number;
  readonly features: readonly string[];
  readonly values: Uint8Array;

  /**
   * @throws ShapeError when the lengths do not match
   * @throws LabelError when a value is not 1, 0 or {@link UNLABELLED}
   */
  constructor(features: readonly string[], rows: number, values: Uint8Array) {
    if (values.length !== features.length * rows) {
      throw new ShapeError(
        `There are ${values.length} labels for ${features.length} features × ${rows} rows.`,
        "Give one label per feature and row.",
      );
    }
    const bad = values.findIndex((value) => value > 1 && value !== UNLABELLED);
    if (bad >= 0) {
      throw new LabelError(
        `The label of row ${bad % rows} of feature "${features[Math.floor(bad / rows)]}" is ${values[bad]}.`,
        "Use 1 for positive, 0 for negative and UNLABELLED (255) for rows that take no part.",
      );
    }
    this.features = features;
    this.rows = rows;
    this.values = values;
  }

  /** The labels of feature f, one byte per row (a view). */
  of(feature: number): Uint8Array {
    return this.values.subarray(feature * this.rows, (feature + 1) * this.rows);
  }

  /** Number of negative and positive rows of feature f. */
  counts(feature: number): [negative: number, positive: number] {
    let positive = 0;
    let negative = 0;
    for (const label of this.of(feature)) {
      if (label === 1) positive++;
      else if (label === 0) negative++;
    }
    return [negative, positive];
  }

  /**
   * The same features with every row outside `rows` unlabelled.
   * @throws ShapeError when a row does not exist or is listed twice: a row has no more than one weight
   */
  restrictedTo(rows: RowSelection): LabelMatrix {
    const values = new Uint8Array(this.values.length).fill(UNLABELLED);
    const listed = new Uint8Array(this.rows);
    for (let r = 0; r < rows.length; r++) {
      const i = rows[r];
      if (!Number.isInteger(i) || i < 0 || i >= this.rows) {
        throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${this.rows - 1}.`);
      }
      if (listed[i]) {
        throw new ShapeError(
          `Row ${i} is listed twice.`,
          "List each row once; to resample with repeats, repeat the rows with Activations.selectRows().",
        );
      }
      listed[i] = 1;
      for (let f = 0; f < this.features.length; f++)
        values[f * this.rows + i] = this.values[f * this.rows + i]!;
    }
    return new LabelMatrix(this.features, this.rows, values);
  }

  /** Rows [start, end) of every feature, as a copy. */
  slice(start: number, end: number): LabelMatrix {
    const rows = end - start;
    const values = new Uint8Array(this.features.length * rows);
    for (let f = 0; f < this.features.length; f++) values.set(this.of(f).subarray(start, end), f * rows);
    return new LabelMatrix(this.features, rows, values);
  }

  /** @throws OneClassError when feature f lacks positive or negative rows */
  assertTwoClasses(feature: number): void {
    const [negative, positive] = this.counts(feature);
    if (negative > 0 && positive > 0) return;
    throw new OneClassError(
      `Feature "${this.features[feature]}" has ${positive} positive and ${negative} negative rows.`,
      "A probe needs rows of both classes: add examples of the missing one or leave the feature out.",
    );
  }
}

/**
 * Reads one label set.
 *
 * Booleans, 0/1 and ±1 need no positive class. Two class names (or two other numbers) take the later one in sorted
 * order as positive, as scikit-learn does; more than two need `positive`, and the probe is one-against-the-rest.
 *
 * @returns one byte per row, 1 or 0
 * @throws EmptyDataError without labels
 * @throws LabelError when the values cannot be read as two classes
 * @throws OneClassError when every row has the same class
 */
export function readLabels(labels: LabelsInput, positive?: ClassValue): Uint8Array {
  const chosen = positiveClass(labels, positive);
  const values = Uint8Array.from({ length: labels.length }, (_, i) => (labels[i] === chosen ? 1 : 0));
  if (values.every((value) => value === values[0])) {
    throw new OneClassError(
      `Every row has the label ${JSON.stringify(labels[0])}.`,
      "A probe needs rows of both classes.",
    );
  }
  return values;
}

/**
 * The class that {@link readLabels} takes as positive.
 * @throws EmptyDataError without labels
 * @throws LabelError when the values cannot be read as two classes
 */
export function positiveClass(labels: LabelsInput, positive?: ClassValue): ClassValue {
  const classes = classesOf(labels);
  if (positive === undefined) return defaultPositive(classes);
  if (!classes.includes(positive)) {
    throw new LabelError(
      `No row has the positive class ${JSON.stringify(positive)}.`,
      `The classes are ${classes.slice(0, 20).map(String).join(", ")}.`,
    );
  }
  return positive;
}

/**
 * Reads labels that a fitted probe is scored on: its positive class is known, and a class may be missing.
 *
 * Where the probe was fitted to 0/1, ±1 or booleans, any of these kinds will do; booleans always will, and say whether a
 * row is of the positive class.
 *
 * @returns one byte per row, 1 or 0
 * @throws EmptyDataError without labels
 * @throws LabelError when the labels are of another kind than the positive class
 */
export function readLabelsLike(labels: LabelsInput, positive: ClassValue): Uint8Array {
  const classes = classesOf(labels);
  const chosen = positiveAmong(classes, positive);
  if (chosen === undefined) {
    throw new LabelError(
      `The labels ${classes.slice(0, 20).map(String).join(", ")} do not go with the positive class ${JSON.stringify(positive)}.`,
      "Give labels of the kind that the probe was fitted to, or true where a row is of that class and false elsewhere.",
    );
  }
  return Uint8Array.from({ length: labels.length }, (_, i) => (labels[i] === chosen ? 1 : 0));
}

/** How these labels write a probe's positive class; undefined when that cannot be told. */
function positiveAmong(classes: readonly ClassValue[], positive: ClassValue): ClassValue | undefined {
  // 0 and −1 are two ways to write the negative class: a probe that looks for one of them does not know the other kinds.
  const negative = positive === 0 || positive === -1;
  if (typeof classes[0] === "boolean") return negative ? undefined : positive !== false;
  const chosen = positive === true ? 1 : positive;
  if (typeof classes[0] !== typeof chosen) return undefined;
  // With three classes and more it is one against the rest, whatever the others are called.
  if (classes.length > 2) return chosen;
  if (classes.includes(0) && classes.includes(-1)) return undefined;
  if (negative && classes.includes(positive === 0 ? -1 : 0)) return undefined;
  if (chosen === 1 && !classes.every((value) => value === 0 || value === 1 || value === -1)) return undefined;
  return chosen;
}

/** Distinct values, after checking that they are of one kind. */
export function classesOf(labels: LabelsInput): ClassValue[] {
  const classes = [...new Set<ClassValue>(Array.from<ClassValue>(labels))];
  if (classes.length === 0) throw new EmptyDataError("There are no labels.", "Give one label per row.");
  const kinds = new Set<string>(classes.map((value) => typeof value));
  if (kinds.size > 1 || !["boolean", "number", "string"].includes([...kinds][0])) {
    throw new LabelError(
      `The labels are of the kind ${[...kinds].join(" and ")}.`,
      "Use booleans, 0/1, -1/+1 or class names, one kind only.",
    );
  }
  if (classes.some((value) => typeof value === "number" && !Number.isFinite(value))) {
    throw new LabelError(
      "A label is NaN or infinite.",
      "Remove such rows, give them a class, or mark them as UNLABELLED in a LabelMatrix.",
    );
  }
  return classes;
}

function defaultPositive(classes: readonly ClassValue[]): ClassValue {
  if (classes.length > 2) {
    throw new LabelError(
      `The labels have ${classes.length} classes and no positive one was named.`,
      'Say positive: "name" for one class against the rest, or use SparseProbe.fitMany for all of them.',
    );
  }
  if (typeof classes[0] === "boolean") return true;
  if (classes.length === 1) return classes[0] === 0 || classes[0] === -1 ? 1 : classes[0];
  const [a, b] = classes;
  return a > b ? a : b;
}

/** Label sets read one by one: those that can be used, and why the others cannot. */
export interface LabelSets {
  readonly labels: LabelMatrix;
  /** The class that label 1 stands for, by feature. */
  readonly positives: readonly ClassValue[];
  readonly failures: readonly { readonly feature: string; readonly error: SparseProbeError }[];
}

/**
 * Reads many label sets: an object of label sets by feature name, or class names, each class against the rest (in
 * sorted order). A set that cannot be read is reported and left out.
 * @throws EmptyDataError when there is no label set at all
 */
export function readLabelSets(labels: LabelsInput | Readonly<Record<string, LabelsInput>>): LabelSets {
  const sets: [name: string, set: LabelsInput, positive?: ClassValue][] = [];
  if (isArrayLike(labels)) {
    const classes = classesOf(labels).sort((a, b) => (a < b ? -1 : 1));
    if (classes.length <= 2 && typeof classes[0] !== "string") {
      sets.push(["positive", labels]);
    } else {
      for (const name of classes) sets.push([String(name), labels, name]);
    }
  } else {
    sets.push(...Object.entries(labels));
  }
  if (sets.length === 0) throw new EmptyDataError("There are no label sets.", "Give at least one feature.");
  const good: [string, Uint8Array, ClassValue][] = [];
  const failures: { feature: string; error: SparseProbeError }[] = [];
  for (const [feature, input, positive] of sets) {
    try {
      const set = readLabels(input, positive);
      const first = good.at(0);
      if (first && set.length !== first[1].length) {
        throw new ShapeError(
          `Feature "${feature}" has ${set.length} labels, "${first[0]}" has ${first[1].length}.`,
          "Give every feature one label per row.",
        );
      }
      good.push([feature, set, positiveClass(input, positive)]);
    } catch (error) {
      if (!(error instanceof SparseProbeError)) throw error;
      failures.push({ feature, error });
    }
  }
  const rows = good.at(0)?.[1].length ?? 0;
  const values = new Uint8Array(rows * good.length);
  for (const [f, [, set]] of good.entries()) values.set(set, f * rows);
  return {
    labels: new LabelMatrix(
      good.map(([name]) => name),
      rows,
      values,
    ),
    positives: good.map(([, , positive]) => positive),
    failures,
  };
}

function isArrayLike(labels: LabelsInput | Readonly<Record<string, LabelsInput>>): labels is LabelsInput {
  return typeof (labels as { length?: unknown }).length === "number";
}
