/** What can be chosen about a regression probe, its defaults, and the record of the choice. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import type { RowSelection } from "../data/labels.ts";
import { STANDARDISATIONS, type Standardisation } from "../data/standardisation.ts";
import { OptionError } from "../errors.ts";
import { Random } from "../random.ts";
import type { ProbeProvenance } from "../probes/probe-record.ts";
import { correlation, fStatistic, type RegressionRankingFunction } from "../ranking/regression-ranking.ts";

/**
 * How neurons are ranked for a real target:
 * - `"correlation"`: |Pearson's r|
 * - `"f"`: the F statistic of `f_regression`; the same order
 * - `"mutual-information"`: the nearest-neighbour estimate of `mutual_info_regression`, which needs every neuron's values
 */
export type RegressionRankingName = "correlation" | "f" | "mutual-information";

/** What keeps the coefficients small; see {@link RegressionOptions.alpha}. */
export type RegressionPenalty = "ridge" | "elastic-net";

export const REGRESSION_PENALTIES: readonly RegressionPenalty[] = ["ridge", "elastic-net"];

/** Rankings by name that moments suffice for. */
export const MOMENT_RANKINGS: Readonly<
  Record<Exclude<RegressionRankingName, "mutual-information">, RegressionRankingFunction>
> = Object.freeze({ correlation, f: fStatistic });

export interface RegressionOptions extends CallOptions {
  /** Default `"ridge"`. */
  readonly penalty?: RegressionPenalty;
  /**
   * Strength of the penalty, above 0, in scikit-learn's objectives on centred columns. Default 1.
   * - ridge: ‖y − X̃w − b‖² + α‖w‖²
   * - elastic net: ‖y − X̃w − b‖²/(2n) + αρ‖w‖₁ + α(1 − ρ)/2·‖w‖²
   */
  readonly alpha?: number;
  /** ρ of the elastic net, 0 to 1. Default 0.5. */
  readonly l1Ratio?: number;
  /** Preprocessing with the training rows' statistics. Default `"standard"`. */
  readonly standardise?: Standardisation;
  /** How the support is chosen, by name or as a function of the target moments. Default `"correlation"`. */
  readonly ranking?: RegressionRankingName | RegressionRankingFunction;
  /** Only this many neurons, those with the highest |r|, can be chosen. Default: all. */
  readonly prefilter?: number;
  /** Neighbours for mutual information. Default 3. */
  readonly neighbours?: number;
  /** Seed of the noise by which mutual information parts equal values. Default 0. */
  readonly seed?: number;
  /** Duality gap, over the objective of the empty probe, at which a fit has converged. Default 1e-14. */
  readonly tolerance?: number;
  /** Steps at most: of refinement or conjugate gradients (ridge), sweeps and Newton steps (elastic net). Default 10,000. */
  readonly maxIterations?: number;
  /** Called as fits finish. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface FitRegressionOptions extends RegressionOptions {
  /**
   * What the activations live on, where they are on a device, in a GPU buffer, or should be. Statistics and fits of
   * regression probes are computed on the host in float64 whatever it is.
   */
  readonly backend?: Backend;
  /** Training rows, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /** Name of the target. Default `"target"`. */
  readonly target?: string;
  /** Where the activations came from, if they do not say so themselves. */
  readonly provenance?: Omit<ProbeProvenance, "backend">;
}

/** The options that a probe was fitted with, defaults filled in. */
export interface RegressionSettings {
  readonly penalty: RegressionPenalty;
  readonly alpha: number;
  /** Present with the elastic net. */
  readonly l1Ratio?: number;
  readonly standardise: Standardisation;
  /** The ranking's name; that of the function, or `"custom"`, where one was given. */
  readonly ranking: string;
  /** Present with mutual information, and where it was given. */
  readonly prefilter?: number;
  /** Present with mutual information. */
  readonly neighbours?: number;
  readonly seed?: number;
  readonly tolerance: number;
  readonly maxIterations: number;
}

/**
 * Fills in the defaults.
 * @param neurons of the activations: the default and the limit of `prefilter`
 * @throws OptionError when a value is outside its range
 */
export function regressionSettings(
  options: RegressionOptions,
  neurons: number = Infinity,
): RegressionSettings {
  const {
    penalty = "ridge",
    alpha = 1,
    l1Ratio = 0.5,
    standardise = "standard",
    ranking = "correlation",
    prefilter,
    neighbours = 3,
    seed = 0,
    tolerance = 1e-14,
    maxIterations = 10_000,
  } = options;
  assertOneOf("penalty", penalty, REGRESSION_PENALTIES);
  assertOneOf("standardise", standardise, STANDARDISATIONS);
  if (typeof ranking !== "function") {
    assertOneOf("ranking", ranking, [...Object.keys(MOMENT_RANKINGS), "mutual-information"]);
  }
  if (!(alpha > 0) || !Number.isFinite(alpha)) {
    throw new OptionError(
      `alpha is ${alpha}.`,
      "Give a finite number above 0; a tiny one comes close to least squares.",
    );
  }
  if (!(l1Ratio >= 0 && l1Ratio <= 1)) {
    throw new OptionError(`l1Ratio is ${l1Ratio}.`, "Give a number from 0 to 1.");
  }
  if (!(tolerance > 0) || !Number.isFinite(tolerance)) {
    throw new OptionError(`The tolerance is ${tolerance}.`, "Give a small number above 0.");
  }
  assertWhole("maxIterations", maxIterations);
  assertWhole("neighbours", neighbours);
  if (prefilter !== undefined) assertWhole("prefilter", prefilter);
  // Refuses what is no seed, whether or not the ranking draws.
  new Random(seed);
  return Object.freeze({
    penalty,
    alpha,
    ...(penalty === "elastic-net" && { l1Ratio }),
    standardise,
    ranking: typeof ranking === "function" ? nameOf(ranking) : ranking,
    ...((prefilter !== undefined || ranking === "mutual-information") && {
      prefilter: Math.min(prefilter ?? Infinity, neurons),
    }),
    ...(ranking === "mutual-information" && { neighbours, seed }),
    tolerance,
    maxIterations,
  });
}

function nameOf(ranking: RegressionRankingFunction): string {
  const known = Object.entries(MOMENT_RANKINGS).find(([, f]) => f === ranking);
  return known?.[0] ?? (ranking.name || "custom");
}

function assertWhole(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new OptionError(`${name} is ${value}.`, "Give a whole number of at least 1.");
}

function assertOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new OptionError(
    `${name} is ${JSON.stringify(value)}.`,
    `Use one of ${allowed.map((option) => `"${option}"`).join(", ")}.`,
  );
}
