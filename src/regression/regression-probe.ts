/** k-sparse regression probes for real targets; what fits them is loaded at the first call. */
import type { RegressionProbes } from "./fit-regression.ts";
import type { FittedRegression } from "./fitted-regression.ts";

/** A fitted k-sparse regression probe. */
export type RegressionProbe = FittedRegression;

const load = () => import("./fit-regression.ts");

/**
 * Fits linear probes that read k neurons to a real target, by ridge regression or an elastic net. The target is centred
 * and the intercept is not penalised.
 *
 * @example
 * const probe = await RegressionProbe.fit(activations, lengths, 8, { rows: train });
 * const { r2, spearman } = probe.evaluate(activations, lengths, { rows: test });
 */
export const RegressionProbe: RegressionProbes = Object.freeze<RegressionProbes>({
  fit: async (...args) => (await load()).fitRegression(...args),
  path: async (...args) => (await load()).fitRegressionPath(...args),
  fitMany: async (...args) => (await load()).fitRegressions(...args),
  fromJSON: async (json) => (await load()).readRegression(json),
});
