/** Supports by any ranking, from activations that are open on a backend. */
import type { Backend } from "../backends/backend.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import type { OpenActivations } from "./activation-source.ts";
import { cutRankings, selectSupports, type ProbeFailure, type SelectedSupport } from "./fit-supports.ts";
import { momentSquares, ranksByMoments, type ProbeOptions } from "./probe-options.ts";

/**
 * Moments of the training rows, and the supports that the ranking gives.
 * @throws what `selectSupports` throws, but for rankings that read more than moments
 */
export async function selectFromSource(
  backend: Backend,
  source: OpenActivations,
  labels: LabelMatrix,
  ks: readonly number[],
  options: Omit<ProbeOptions, "C" | "onProgress">,
): Promise<{ moments: ClassMoments; supports: SelectedSupport[]; failures: ProbeFailure[] }> {
  if (ranksByMoments(options)) {
    const { signal } = options;
    const moments = await source.classMoments(labels, { signal, squares: momentSquares(options) });
    return { moments, ...selectSupports(moments, labels, ks, options) };
  }
  const { rankSource } = await import("./rank-source.ts");
  // The progress of a ranking, in neurons, is not that of the fits.
  const { moments, ranked } = await rankSource(backend, source, labels, {
    ...options,
    onProgress: undefined,
  });
  return { moments, ...cutRankings(ranked, ks) };
}
