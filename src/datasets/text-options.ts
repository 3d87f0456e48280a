/** What every dataset that is made of texts can be told, and its defaults. */
import type { GroupId } from "../data/activations.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { SamplingOptions } from "./sample-rows.ts";

export interface TextDatasetOptions {
  /** Unique within a study. Default: the category. */
  readonly name?: string | undefined;
  /** How rows are drawn. */
  readonly sampling?: SamplingOptions | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with texts read so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * @throws EmptyDataError when there are no texts
 * @throws OptionError when the list is none or one of it is no string
 * @throws ShapeError when there is not one group per text
 */
export function assertTexts(texts: readonly string[], groups?: readonly GroupId[]): void {
  if (!Array.isArray(texts)) throw new OptionError("The texts are not a list.", "Give a list of strings.");
  if (texts.length === 0) throw new EmptyDataError("There are no texts.", "Give at least one.");
  const other = texts.findIndex((text) => typeof text !== "string");
  if (other >= 0) throw new OptionError(`Text ${other} is not a string.`, "Leave it out, and its group.");
  if (groups && groups.length !== texts.length) {
    throw new ShapeError(
      `There are ${groups.length} groups for ${texts.length} texts.`,
      "Give one group per text.",
    );
  }
}

/** @throws OptionError when the value is no whole number from `least` on */
export function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new OptionError(`${name} is ${value}.`, `Give a whole number from ${least}.`);
}

/** The counts above 0. */
export function counted(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
