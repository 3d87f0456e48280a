/** What can be chosen about a probe, its defaults, and the record of the choice. */
import type { CallOptions } from "../backends/backend.ts";
import { DEFAULT_TOLERANCE } from "../backends/tolerance.ts";
import { STANDARDISATIONS, type Standardisation } from "../data/standardisation.ts";
import type { MomentSquares } from "../data/class-moments.ts";
import { OptionError } from "../errors.ts";
import { RANKINGS, rankingFunction, type RankingFunction, type RankingName } from "../ranking/ranking.ts";

/** Class weights: `"balanced"` gives each class half of the total weight, n/(2·n_class) a row; `"none"` gives 1. */
export type ClassWeight = "balanced" | "none";

export interface ProbeOptions extends CallOptions {
  /** Inverse regularisation strength of scikit-learn's objective. Default 1. */
  readonly C?: number;
  /** Default `"balanced"`. */
  readonly classWeight?: ClassWeight;
  /** Preprocessing with the training rows' statistics. Default `"standard"`. */
  readonly standardise?: Standardisation;
  /** How the support is chosen, by name or as a function of the class moments. Default `"mean-difference"`. */
  readonly ranking?: RankingName | RankingFunction;
  /** Newton decrement per unit weight at which a fit has converged. Default 1e-16. */
  readonly tolerance?: number;
  /** Newton steps at most; on more than 512 neurons steps of any kind. Default 100. */
  readonly maxIterations?: number;
  /** Called as fits finish. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The options that a probe was fitted with, defaults filled in. */
export interface ProbeSettings {
  readonly C: number;
  readonly classWeight: ClassWeight;
  readonly standardise: Standardisation;
  /** The ranking's name; that of the function, or `"custom"`, where one was given. `"l1"` where the penalty chose. */
  readonly ranking: string;
  /** Present where the coefficients carry an L1 penalty; absent: ½‖w‖². */
  readonly penalty?: "l1";
  /** Present where the loss is not the logistic one. */
  readonly loss?: "hinge";
  readonly tolerance: number;
  readonly maxIterations: number;
}

/** @throws OptionError when a value is outside its range */
export function probeSettings(options: ProbeOptions): ProbeSettings {
  const {
    C = 1,
    classWeight = "balanced",
    standardise = "standard",
    ranking = "mean-difference",
    tolerance = DEFAULT_TOLERANCE,
    maxIterations = 100,
  } = options;
  if (!(C > 0) || !Number.isFinite(C)) {
    throw new OptionError(`C is ${C}.`, "Give a finite number above 0.");
  }
  assertOneOf("classWeight", classWeight, ["balanced", "none"]);
  assertOneOf("standardise", standardise, STANDARDISATIONS);
  if (!(tolerance > 0) || !Number.isFinite(tolerance)) {
    throw new OptionError(`The tolerance is ${tolerance}.`, "Give a small number above 0.");
  }
  if (!Number.isInteger(maxIterations) || maxIterations < 1) {
    throw new OptionError(`maxIterations is ${maxIterations}.`, "Give a whole number of at least 1.");
  }
  return Object.freeze({
    C,
    classWeight,
    standardise,
    ranking: rankingName(ranking),
    tolerance,
    maxIterations,
  });
}

/** The sums of squares that the ranking and the standardisation read. */
export function momentSquares(options: Pick<ProbeOptions, "ranking" | "standardise">): MomentSquares {
  const { ranking = "mean-difference", standardise = "standard" } = options;
  const chosen = rankingFunction(ranking);
  // A function of the caller's own may read all that there is.
  if (!Object.values(RANKINGS).includes(chosen)) return "class";
  return chosen === RANKINGS["mean-difference"] && standardise === "none" ? "none" : "within";
}

function rankingName(ranking: RankingName | RankingFunction): string {
  const chosen = rankingFunction(ranking);
  const known = Object.entries(RANKINGS).find(([, f]) => f === chosen);
  return known?.[0] ?? (chosen.name || "custom");
}

function assertOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new OptionError(
    `${name} is ${JSON.stringify(value)}.`,
    `Use one of ${allowed.map((option) => `"${option}"`).join(", ")}.`,
  );
}
