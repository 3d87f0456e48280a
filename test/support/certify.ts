/** What the solver says of a point without taking a step from it. */
import type { Convergence } from "../../src/backends/backend.ts";
import type { LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { fitNewton, type Preconditioner } from "../../src/backends/cpu/reference/newton.ts";

/** Objective, gradient norm, Newton decrement and separation at θ, in float64. */
export function certify(
  loss: LogisticLoss,
  theta: Float64Array,
  options: { readonly preconditioner?: Preconditioner } = {},
): Convergence {
  return fitNewton(loss, { ...options, start: theta, maxIterations: 0 }).convergence;
}
