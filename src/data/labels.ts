/** Labels: what users hold (booleans, 0/1, ±1, class names) turned into one byte per row and feature. */
import { EmptyDataError, LabelError, OneClassError, ShapeError } from "../errors.ts";

/** Label of a row that takes no part in a feature: it has no weight in moments or fits. */
export const UNLABELLED = 255;

/** One label per row. With class names (or other numbers than 0/1 and ±1), say which is the positive class. */
export type LabelsInput = ArrayLike<boolean> | ArrayLike<number> | ArrayLike<string>;

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

  /** @throws ShapeError when the lengths do not match */
  constructor(features: readonly string[], rows: number, values: Uint8Array) {
    if (values.length !== features.length * rows) {
      throw new ShapeError(
        `There are ${values.length} labels for ${features.length} features × ${rows} rows.`,
        "Give one label per feature and row.",
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

  /** The same features with every row outside `rows` unlabelled. */
  restrictedTo(rows: RowSelection): LabelMatrix {
    const values = new Uint8Array(this.values.length).fill(UNLABELLED);
    for (let r = 0; r < rows.length; r++) {
      const i = rows[r];
      if (!Number.isInteger(i) || i < 0 || i >= this.rows) {
        throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${this.rows - 1}.`);
      }
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
export function readLabels(labels: LabelsInput, positive?: string | number): Uint8Array {
  const classes = [...new Set<boolean | number | string>(Array.from<boolean | number | string>(labels))];
  if (classes.length === 0) throw new EmptyDataError("There are no labels.", "Give one label per row.");
  const kinds = new Set(classes.map((value) => typeof value));
  const numberLike = classes.every((value) => typeof value === "number");
  if (kinds.size > 1 || !classes.every((value) => ["boolean", "number", "string"].includes(typeof value))) {
    throw new LabelError(
      `The labels mix ${[...kinds].join(" and ")}.`,
      "Use booleans, 0/1, -1/+1 or class names, one kind only.",
    );
  }
  if (numberLike && classes.some((value) => !Number.isFinite(value))) {
    throw new LabelError(
      "A label is NaN or infinite.",
      "Leave unlabelled rows out with the rows option, or give them a class.",
    );
  }
  const chosen = positive ?? defaultPositive(classes);
  if (positive !== undefined && !classes.includes(positive)) {
    throw new LabelError(
      `No row has the positive class ${JSON.stringify(positive)}.`,
      `The classes are ${classes.slice(0, 20).map(String).join(", ")}.`,
    );
  }
  if (classes.length === 1) {
    throw new OneClassError(
      `Every row has the label ${JSON.stringify(classes[0])}.`,
      "A probe needs rows of both classes.",
    );
  }
  return Uint8Array.from({ length: labels.length }, (_, i) => (labels[i] === chosen ? 1 : 0));
}

function defaultPositive(classes: readonly (boolean | number | string)[]): boolean | number | string {
  if (classes.length > 2) {
    throw new LabelError(
      `The labels have ${classes.length} classes and no positive one was named.`,
      'Say positive: "name" for one class against the rest, or use SparseProbe.fitMany for all of them.',
    );
  }
  if (classes.includes(true) || classes.includes(false)) return true;
  if (classes.length === 1) return classes[0] === 0 || classes[0] === -1 ? 1 : classes[0];
  const [a, b] = classes as [number | string, number | string];
  return a > b ? a : b;
}

/**
 * Reads many label sets: an object of label sets by feature name, or class names, each class against the rest (in
 * sorted order).
 * @throws ShapeError when label sets differ in length
 */
export function readLabelSets(labels: LabelsInput | Readonly<Record<string, LabelsInput>>): LabelMatrix {
  const sets: [string, Uint8Array][] = [];
  if (isArrayLike(labels)) {
    const classes = [...new Set(Array.from<boolean | number | string>(labels))].sort((a, b) =>
      a < b ? -1 : 1,
    );
    if (classes.length <= 2 && classes.every((value) => typeof value !== "string")) {
      sets.push(["positive", readLabels(labels)]);
    } else {
      for (const name of classes) sets.push([String(name), readLabels(labels, name as string)]);
    }
  } else {
    for (const [name, set] of Object.entries(labels)) sets.push([name, readLabels(set)]);
  }
  if (sets.length === 0) throw new EmptyDataError("There are no label sets.", "Give at least one feature.");
  const rows = sets[0][1].length;
  const values = new Uint8Array(rows * sets.length);
  for (const [f, [name, set]] of sets.entries()) {
    if (set.length !== rows) {
      throw new ShapeError(
        `Feature "${name}" has ${set.length} labels, "${sets[0][0]}" has ${rows}.`,
        "Give every feature one label per row.",
      );
    }
    values.set(set, f * rows);
  }
  return new LabelMatrix(
    sets.map(([name]) => name),
    rows,
    values,
  );
}

function isArrayLike(labels: LabelsInput | Readonly<Record<string, LabelsInput>>): labels is LabelsInput {
  return typeof (labels as { length?: unknown }).length === "number";
}
