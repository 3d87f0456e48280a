/** Real targets: what regression probes are fitted to, one number per row. */
import { EmptyDataError, NonFiniteError, OneClassError, ShapeError } from "../errors.ts";
import type { RowSelection } from "./labels.ts";

/** One finite number per row. */
export type TargetsInput = ArrayLike<number>;

/** Targets by name, over the same rows. */
export type TargetSets = Readonly<Record<string, TargetsInput>>;

/**
 * Checks a target on its training rows.
 * @param rows the training rows, ascending
 * @returns the target of those rows
 * @throws ShapeError unless there is one number per row of the activations
 * @throws NonFiniteError when a training row has no finite number, or one that is too large to square
 * @throws OneClassError when every training row has the same number: there is nothing to explain
 */
export function readTarget(
  name: string,
  input: TargetsInput,
  activationRows: number,
  rows: Uint32Array,
): Float64Array {
  // JavaScript callers reach this without the types.
  const length = (input as Partial<TargetsInput> | null | undefined)?.length ?? "no list of";
  if (length !== activationRows) {
    throw new ShapeError(
      `Target "${name}" has ${length} values for ${activationRows} rows.`,
      "Give one number per row.",
    );
  }
  const values = new Float64Array(rows.length);
  let least = Infinity;
  let most = -Infinity;
  for (let i = 0; i < rows.length; i++) {
    const value = input[rows[i]];
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new NonFiniteError(
        `Target "${name}" is ${String(value)} in row ${rows[i]}.`,
        "Leave rows without a value out with the rows option.",
      );
    }
    values[i] = value;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least === most) {
    throw new OneClassError(
      `Target "${name}" is ${least} in every training row.`,
      "A regression probe needs a target that varies: add rows or leave the target out.",
    );
  }
  const size = Math.max(-least, most);
  if (!Number.isFinite(size * size * rows.length)) {
    throw new NonFiniteError(`Target "${name}" is too large to square.`, "Rescale it.");
  }
  return values;
}

/**
 * Row numbers of a selection, ascending; every row without one.
 * @throws ShapeError when a row does not exist or is listed twice
 * @throws EmptyDataError when none is left
 */
export function trainingRows(selection: RowSelection | undefined, rows: number): Uint32Array {
  const listed = new Uint8Array(rows);
  if (!selection) listed.fill(1);
  else {
    for (let r = 0; r < selection.length; r++) {
      const i = selection[r];
      if (!Number.isInteger(i) || i < 0 || i >= rows) {
        throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${rows - 1}.`);
      }
      if (listed[i]) {
        throw new ShapeError(
          `Row ${i} is listed twice.`,
          "List each row once; to resample with repeats, repeat the rows with Activations.selectRows().",
        );
      }
      listed[i] = 1;
    }
  }
  const chosen = Uint32Array.from(listed.keys()).filter((i) => listed[i] === 1);
  if (chosen.length === 0) throw new EmptyDataError("There are no training rows.", "Give at least two.");
  return chosen;
}
