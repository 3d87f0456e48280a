/** Supports of many label sets, as `SparseProbe.fitMany` chooses them. */
import type { ClassMoments } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { selectSupports, type ProbeFailure, type SelectedSupport } from "../probes/fit-supports.ts";
import { momentSquares, type ProbeOptions } from "../probes/probe-options.ts";
import type { Study } from "./study.ts";

/**
 * Ranks the neurons of every label set, on its own rows alone, and cuts the rankings at every k.
 * @throws SupportSizeError | OptionError
 */
export async function selectNeurons(
  { source }: Study,
  labels: LabelMatrix,
  ks: readonly number[],
  options: Omit<ProbeOptions, "C" | "onProgress">,
): Promise<{ moments: ClassMoments; supports: SelectedSupport[]; failures: ProbeFailure[] }> {
  const { signal } = options;
  const moments = await source.classMoments(labels, { signal, squares: momentSquares(options) });
  return { moments, ...selectSupports(moments, labels, ks, options) };
}
