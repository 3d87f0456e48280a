/**
 * Supports by elimination, after the paper's adaptive thresholding: a probe on many candidates, of which those with the smallest
 * coefficients leave, again and again, until one is left.
 */
import type { FittedSupport, SearchState } from "./search.ts";

/** Candidates at the start at most, and rows × candidates² at most. */
const MOST = 128;
const WORK = 5e7;

/**
 * @param order candidates, strongest first
 * @param largest the largest size that is wanted
 * @returns supports by size, up to `largest` where there was time to get so far
 */
export function* eliminateNeurons(
  shared: SearchState,
  order: readonly number[],
  largest: number,
  expired: () => boolean,
): Generator<undefined, Map<number, readonly number[]>, undefined> {
  const found = new Map<number, readonly number[]>();
  const most = Math.min(MOST, Math.floor(Math.sqrt(WORK / shared.problem.rows)));
  let support = order.slice(0, Math.max(most, 2 * largest));
  let start: FittedSupport["point"] | undefined;
  while (support.length > 1 && !expired()) {
    const { point } = yield* shared.fit(support, start);
    start = point;
    const ranked = [...point.candidates.keys()].sort(
      (a, b) => Math.abs(point.beta[b]) - Math.abs(point.beta[a]) || a - b,
    );
    const size =
      support.length > largest + 1 ? Math.max(largest, Math.floor(0.8 * support.length)) : support.length - 1;
    support = ranked.slice(0, size).map((a) => point.candidates[a]);
    if (size <= largest) found.set(size, support);
  }
  return found;
}
