/** Checks of what aggregates token rows into text rows. */
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { Aggregation } from "./backend.ts";

/** @throws OptionError when an aggregation is unknown */
export function assertAggregation(aggregation: Aggregation): void {
  if (["token", "mean", "max", "last"].includes(aggregation)) return;
  throw new OptionError(
    `The aggregation ${JSON.stringify(aggregation)} is not known.`,
    'Use "token", "mean", "max" or "last".',
  );
}

/**
 * @param available rows of the matrix that the segments list
 * @throws ShapeError when a row does not exist or the offsets do not rise from 0 to the number of rows listed
 * @throws EmptyDataError when there are no segments, or one has no rows
 */
export function assertSegments(available: number, rows: Uint32Array, offsets: Uint32Array): void {
  if (offsets.length < 2) {
    throw new EmptyDataError("There are no segments.", "Give at least one row for each text.");
  }
  for (const [at, i] of rows.entries()) {
    if (i >= available) {
      throw new ShapeError(
        `Segment row ${at} is ${i}, but there are ${available} rows.`,
        `Rows run from 0 to ${available - 1}.`,
      );
    }
  }
  if (offsets[0] !== 0 || offsets[offsets.length - 1] !== rows.length) {
    throw new ShapeError(
      `The offsets run from ${offsets[0]} to ${offsets[offsets.length - 1]}, but ${rows.length} rows are listed.`,
      "Start the offsets at 0 and end them at the number of rows listed.",
    );
  }
  for (let r = 0; r + 1 < offsets.length; r++) {
    if (offsets[r + 1] < offsets[r]) {
      throw new ShapeError(`Offset ${r + 1} is smaller than the one before.`, "Give rising offsets.");
    }
    if (offsets[r + 1] === offsets[r]) {
      throw new EmptyDataError(
        `Segment ${r} has no rows.`,
        "Leave out texts that keep no token, and their labels.",
      );
    }
  }
}
