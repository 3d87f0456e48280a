/** k-sparse regression probes for real targets; what fits them is loaded at the first call. */
import type { TargetSets, TargetsInput } from "../data/targets.ts";
import type { ActivationSource } from "../probes/activation-source.ts";
import type { RegressionFailure } from "./fit-regression.ts";
import type { FittedRegression } from "./fitted-regression.ts";
import type { FitRegressionOptions } from "./regression-options.ts";

/** A fitted k-sparse regression probe. */
export type RegressionProbe = FittedRegression;

/** How regression probes are made; see {@link RegressionProbe}. */
export interface RegressionProbes {
  /**
   * Fits one probe on the k strongest neurons.
   *
   * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
   * @param targets one number per row; rows that have none must be left out by `rows`
   * @param k neurons to read, 1 … number of neurons
   * @throws ShapeError | EmptyDataError | NonFiniteError | SupportSizeError | OptionError
   * @throws OneClassError when the target has one value in all training rows
   */
  fit(
    acts: ActivationSource,
    targets: TargetsInput,
    k: number,
    options?: FitRegressionOptions,
  ): Promise<RegressionProbe>;

  /**
   * Fits one target at several k; the supports are nested, and every probe is that of `fit`.
   *
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons
   * @returns one probe per k, in the order given
   * @throws what `fit` throws
   */
  path(
    acts: ActivationSource,
    targets: TargetsInput,
    ks?: readonly number[],
    options?: FitRegressionOptions,
  ): Promise<RegressionProbe[]>;

  /**
   * Fits several targets at several k; they share the pass over the activations. A target that cannot be fitted is
   * reported, and the others are fitted all the same.
   *
   * @param targetSets by name, each one number per row
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons
   * @returns probes by target, then by k in the order given, and failures by target and k
   * @throws ShapeError | EmptyDataError | NonFiniteError | SupportSizeError | OptionError for what concerns all alike
   */
  fitMany(
    acts: ActivationSource,
    targetSets: TargetSets,
    ks?: readonly number[],
    options?: Omit<FitRegressionOptions, "target">,
  ): Promise<{ probes: RegressionProbe[]; failures: RegressionFailure[] }>;

  /**
   * Reads what `toJSON` wrote, after `JSON.parse`.
   * @throws FormatError naming the first field that is wrong
   */
  fromJSON(json: unknown): Promise<RegressionProbe>;
}

/**
 * Fits linear probes that read k neurons to a real target, by ridge regression or an elastic net. The target is centred
 * and the intercept is not penalised.
 *
 * @example
 * const probe = await RegressionProbe.fit(activations, lengths, 8, { rows: train });
 * const { r2, spearman } = probe.evaluate(activations, lengths, { rows: test });
 */
export const RegressionProbe: RegressionProbes = Object.freeze<RegressionProbes>({
  async fit(acts, targets, k, options) {
    const [probe] = await RegressionProbe.path(acts, targets, [k], options);
    return probe;
  },

  async path(acts, targets, ks, options = {}) {
    const sets = { [options.target ?? "target"]: targets };
    const { probes, failures } = await RegressionProbe.fitMany(acts, sets, ks, options);
    if (failures.length > 0) throw failures[0].error;
    return probes;
  },

  async fitMany(acts, targetSets, ks, options = {}) {
    const { fitRegressions } = await import("./fit-regression.ts");
    return fitRegressions(acts, targetSets, ks, options);
  },

  async fromJSON(json) {
    const { readRegression } = await import("./fitted-regression.ts");
    return readRegression(json);
  },
});
