/** Seeded splits of rows into named parts: rows of one group never part, and classes keep their proportions. */
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import { Random } from "../random.ts";
import type { GroupId } from "./activations.ts";

export interface SplitOptions<Part extends string = string> {
  /** Number of rows; needed only without labels and groups. */
  readonly rows?: number;
  /** Class of each row; every part then gets as close to its share of each class as whole groups allow. */
  readonly labels?: ArrayLike<boolean | number | string>;
  /** Document of each row; a document lies in one part. */
  readonly groups?: ArrayLike<GroupId>;
  /** Whole number; the same seed gives the same split. */
  readonly seed: number;
  /** Share of the rows by part, summing to 1. */
  readonly fractions: Readonly<Record<Part, number>>;
}

/** A group's rows, and how many of them each class has. */
interface Unit {
  readonly rows: number[];
  readonly classes: Map<number, number>;
}

/** The usual three parts: fit on `train`, choose layer, k and neuron on `validation`, report once on `test`. */
export const THREE_PARTS: Readonly<Record<"train" | "validation" | "test", number>> = Object.freeze({
  train: 0.6,
  validation: 0.2,
  test: 0.2,
});

/**
 * Splits rows into parts.
 *
 * Groups are shuffled, then dealt out largest first; each goes to the part that most lacks its classes, a lack being
 * counted relative to the class's size (the greedy rule of scikit-learn's `StratifiedGroupKFold`, for unequal parts).
 *
 * @returns the row numbers of each part, ascending
 * @throws OptionError when the fractions are not positive or do not sum to 1
 * @throws ShapeError when labels and groups differ in length
 * @throws EmptyDataError when there are fewer groups (or, without groups, rows) than parts, or a part stays empty
 * @example
 * const { train, test } = splitRows({ labels, groups, seed: 0, fractions: { train: 0.8, test: 0.2 } });
 */
export function splitRows<Part extends string>(options: SplitOptions<Part>): Record<Part, Uint32Array> {
  const parts = Object.entries<number>(options.fractions) as [Part, number][];
  assertFractions(parts);
  const units = collectUnits(options);
  if (units.length < parts.length) {
    throw new EmptyDataError(
      `There are ${units.length} ${options.groups ? "groups" : "rows"} for ${parts.length} parts.`,
      options.groups ? "Use fewer parts, or finer groups." : "Use fewer parts, or more rows.",
    );
  }
  new Random(options.seed, "split").shuffle(units);
  units.sort((a, b) => b.rows.length - a.rows.length);

  const totals = new Map<number, number>();
  let rows = 0;
  for (const unit of units) {
    rows += unit.rows.length;
    for (const [c, n] of unit.classes) totals.set(c, (totals.get(c) ?? 0) + n);
  }
  const dealt = parts.map(([, fraction]) => ({
    rows: [] as number[],
    lack: fraction * rows,
    lackOfClass: new Map(Array.from(totals, ([c, n]) => [c, n * fraction])),
  }));
  for (const [at, unit] of units.entries()) {
    const empty = dealt.filter((part) => part.rows.length === 0);
    const open = units.length - at === empty.length ? empty : dealt;
    let best = open[0];
    let most = -Infinity;
    for (const part of open) {
      // The lack of rows as such decides between parts that lack a class equally.
      let score = (unit.rows.length * part.lack) / (rows * rows);
      for (const [c, n] of unit.classes) score += (n * part.lackOfClass.get(c)!) / totals.get(c)! ** 2;
      if (score > most) {
        most = score;
        best = part;
      }
    }
    for (const i of unit.rows) best.rows.push(i);
    best.lack -= unit.rows.length;
    for (const [c, n] of unit.classes) best.lackOfClass.set(c, best.lackOfClass.get(c)! - n);
  }
  return Object.fromEntries(
    parts.map(([name], p) => [name, Uint32Array.from(dealt[p].rows).sort()]),
  ) as Record<Part, Uint32Array>;
}

function assertFractions(parts: readonly [string, number][]): void {
  if (parts.length === 0 || parts.some(([, fraction]) => !(fraction > 0))) {
    throw new OptionError(
      `The fractions are ${JSON.stringify(Object.fromEntries(parts))}.`,
      "Give every part a share above 0.",
    );
  }
  const sum = parts.reduce((total, [, fraction]) => total + fraction, 0);
  if (Math.abs(sum - 1) > 1e-9) {
    throw new OptionError(`The fractions sum to ${sum}.`, "Make them sum to 1.");
  }
}

function collectUnits(options: SplitOptions): Unit[] {
  const { labels, groups } = options;
  const rows = labels?.length ?? groups?.length ?? options.rows;
  if (rows === undefined || !Number.isInteger(rows) || rows < 0) {
    throw new OptionError("The number of rows is not known.", "Give rows, labels or groups.");
  }
  for (const [name, length] of [
    ["groups", groups?.length],
    ["rows", options.rows],
  ] as const) {
    if (length !== undefined && length !== rows) {
      throw new ShapeError(
        `There are ${rows} labels or groups, but ${name} says ${length}.`,
        "Give one label and one group per row.",
      );
    }
  }
  const classIndex = new Map<boolean | number | string, number>();
  const unitOf = new Map<GroupId, Unit>();
  const units: Unit[] = [];
  for (let i = 0; i < rows; i++) {
    let unit = groups && unitOf.get(groups[i]);
    if (!unit) {
      unit = { rows: [], classes: new Map() };
      units.push(unit);
      if (groups) unitOf.set(groups[i], unit);
    }
    unit.rows.push(i);
    if (!labels) continue;
    let c = classIndex.get(labels[i]);
    if (c === undefined) classIndex.set(labels[i], (c = classIndex.size));
    unit.classes.set(c, (unit.classes.get(c) ?? 0) + 1);
  }
  return units;
}

export interface FoldOptions extends Omit<SplitOptions, "fractions"> {
  /** Number of folds, at least 2. */
  readonly folds: number;
}

/** One fold of a cross-validation: ascending row numbers. */
export interface Fold {
  readonly train: Uint32Array;
  readonly test: Uint32Array;
}

/**
 * Splits rows into folds of equal share, by the rule of {@link splitRows}: every row is a test row of exactly one fold, rows
 * of one group lie in one fold, and folds are as stratified as whole groups allow.
 *
 * @returns one entry per fold; `train` is every row outside of its `test`
 * @throws OptionError when the number of folds is not a whole number of at least 2
 * @throws what `splitRows` throws
 * @example
 * for (const { train, test } of splitFolds({ labels, groups, seed: 0, folds: 5 })) console.log(train.length, test.length);
 */
export function splitFolds({ folds, ...options }: FoldOptions): Fold[] {
  if (!Number.isInteger(folds) || folds < 2) {
    throw new OptionError(`The number of folds is ${folds}.`, "Give a whole number of at least 2.");
  }
  const fractions = Object.fromEntries(Array.from({ length: folds }, (_, f) => [f, 1 / folds]));
  const parts = Object.values(splitRows({ ...options, fractions }));
  return parts.map((test, f) => ({
    train: Uint32Array.from(parts.flatMap((part, p) => (p === f ? [] : Array.from(part)))).sort(),
    test,
  }));
}
