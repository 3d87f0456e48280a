/** Batches in which some problems read so many columns that they are fitted another way. */
import type { LogisticFit, LogisticOptions, LogisticProblem } from "./backend.ts";
import { isWide } from "./cpu/reference/wide-objective.ts";

type FitAll = (problems: readonly LogisticProblem[], options: LogisticOptions) => Promise<LogisticFit[]>;

/** Fits problems that are wide for this many rows with `fitWide`, the others with `fitNarrow`, as one batch to the caller. */
export async function splitWide(
  problems: readonly LogisticProblem[],
  rows: number,
  options: LogisticOptions,
  fitNarrow: FitAll,
  fitWide: FitAll,
): Promise<LogisticFit[]> {
  const all = Array.from(problems.keys());
  const wide = all.filter((p) => isWide(problems[p].support.length, rows));
  if (wide.length === 0) return fitNarrow(problems, options);
  const narrow = all.filter((p) => !isWide(problems[p].support.length, rows));
  const fits = new Array<LogisticFit>(problems.length);
  let before = 0;
  for (const [part, fit] of [
    [narrow, fitNarrow],
    [wide, fitWide],
  ] as const) {
    if (part.length === 0) continue;
    const onProgress = (done: number): void => options.onProgress?.(before + done, problems.length);
    const results = await fit(
      part.map((p) => problems[p]),
      { ...options, onProgress },
    );
    for (const [at, p] of part.entries()) fits[p] = results[at];
    before += part.length;
  }
  return fits;
}
