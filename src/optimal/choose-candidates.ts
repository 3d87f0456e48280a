/** The neurons that a search may choose from. */
import { OptionError } from "../errors.ts";
import { strongest } from "../ranking/ranking.ts";
import type { OptimalSupportsOptions } from "./optimal-support.ts";

/** Checked copies of the caller's supports. */
export function readStarts(
  starts: readonly ArrayLike<number>[],
  ks: readonly number[],
  neurons: number,
): number[][] {
  return starts.map((start) => {
    const support = Array.from(start);
    const bad = support.find((j) => !Number.isInteger(j) || j < 0 || j >= neurons);
    if (bad !== undefined || new Set(support).size !== support.length) {
      throw new OptionError(
        `The start ${JSON.stringify(support)} is not a set of neurons.`,
        `List each neuron once; neurons run from 0 to ${neurons - 1}.`,
      );
    }
    if (!ks.includes(support.length)) {
      throw new OptionError(
        `A start has ${support.length} neurons, and the sizes asked for are ${ks.join(", ")}.`,
        "Give starts of the sizes that are searched.",
      );
    }
    return support;
  });
}

/**
 * Candidates, ascending.
 * @param scores mean differences of the preprocessed columns
 * @param raw mean differences as they are
 * @throws OptionError when the option is none of what it may be, or a list is too short or leaves a start out
 */
export function chooseCandidates(
  option: NonNullable<OptimalSupportsOptions["candidates"]>,
  largest: number,
  scores: Float64Array,
  raw: Float64Array,
  starts: readonly number[][],
): Uint32Array {
  const d = scores.length;
  if (option === "all") return Uint32Array.from({ length: d }, (_, j) => j);
  if (typeof option === "number") {
    if (!Number.isInteger(option) || option < largest) {
      throw new OptionError(
        `candidates is ${option}, and the largest k is ${largest}.`,
        'Give a whole number of at least the largest k, a list of neurons, or "all".',
      );
    }
    const chosen = [strongest(scores, Math.min(option, d)), strongest(raw, largest), ...starts];
    return Uint32Array.from(new Set(chosen.flatMap((list) => Array.from(list)))).sort();
  }
  if (typeof (option as Partial<typeof option> | null)?.length !== "number" || typeof option === "string") {
    throw new OptionError(
      `candidates is ${JSON.stringify(option)}.`,
      'Give a number of neurons, a list of them, or "all".',
    );
  }
  const list = Array.from(option);
  const set = new Set(list);
  const bad = list.find((j) => !Number.isInteger(j) || j < 0 || j >= d);
  if (bad !== undefined || set.size !== list.length) {
    throw new OptionError(
      "The candidates are not a set of neurons.",
      `List each neuron once; neurons run from 0 to ${d - 1}.`,
    );
  }
  if (set.size < largest) {
    throw new OptionError(
      `There are ${set.size} candidates, and the largest k is ${largest}.`,
      "Give at least as many candidates as the largest k.",
    );
  }
  const missing = starts.flat().find((j) => !set.has(j));
  if (missing !== undefined) {
    throw new OptionError(
      `Neuron ${missing} is in a start but not among the candidates.`,
      "Add it to the candidates.",
    );
  }
  return Uint32Array.from(list).sort();
}
