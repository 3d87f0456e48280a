/** The best k neurons for a probe, with a proof: supports that no other choice of k candidates beats. */
import type { ActivationSource } from "../probes/activation-source.ts";
import type { ProbeLabels } from "../probes/one-feature.ts";
import type { OptimalSupport, OptimalSupportsOptions } from "./optimal-support.ts";

/**
 * Finds the k neurons whose probe has the least objective
 *
 *   c(S) = min over β, b of Σ ω_i·ℓ(y_i·(x̃_iS·β + b)) + ‖β‖²/(2γ)
 *
 * and proves it by branch and bound (Gurnee et al. 2023 solve the hinge loss with a commercial solver). See
 * `docs/optimal-supports.md` for the bounds and for what a proof means.
 *
 * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
 * @param labels one per row
 * @param ks support sizes
 * @returns one result per k, in the order given. When time is up, the best support so far with its gap
 * @throws ShapeError | EmptyDataError | NonFiniteError | LabelError | OneClassError | SupportSizeError | OptionError
 */
export async function findOptimalSupports(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: OptimalSupportsOptions = {},
): Promise<OptimalSupport[]> {
  const { optimiseSupports } = await import("./optimise-supports.ts");
  return optimiseSupports(acts, labels, ks, options);
}
