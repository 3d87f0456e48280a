/** What can be chosen about a probe, its defaults, and the record of the choice. */
import type { CallOptions } from "../backends/backend.ts";
import { DEFAULT_TOLERANCE } from "../backends/tolerance.ts";
import { STANDARDISATIONS, type Standardisation } from "../data/standardisation.ts";
import type { MomentSquares } from "../data/class-moments.ts";
import { OptionError } from "../errors.ts";
import { Random } from "../random.ts";
import {
  assertPrefilter,
  isMomentRanking,
  MOMENT_RANKINGS,
  resolveRanking,
  type RankingChoice,
  type RankingOptions,
} from "../ranking/ranking.ts";

/** Class weights: `"balanced"` gives each class half of the total weight, n/(2·n_class) a row; `"none"` gives 1. */
export type ClassWeight = "balanced" | "none";

export interface ProbeOptions extends CallOptions, RankingOptions {
  /** Inverse regularisation strength of scikit-learn's objective. Default 1. */
  readonly C?: number;
  /** Default `"balanced"`. */
  readonly classWeight?: ClassWeight;
  /** Preprocessing with the training rows' statistics. Default `"standard"`. */
  readonly standardise?: Standardisation;
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
  /**
   * The ranking's name, with its parameters where they were given; that of the function, or `"custom"`. `"l1"` or
   * `"elastic-net"` where the penalty chose, `"none"` where all neurons are read.
   */
  readonly ranking: string;
  /** Present where only so many neurons, the first by mean difference, were ranked. */
  readonly prefilter?: number;
  /** Seed of the ranking, where one was given. */
  readonly seed?: number;
  /** Present where the coefficients carry an L1 penalty, alone or in an elastic net; absent: ½‖w‖². */
  readonly penalty?: "l1" | "elastic-net";
  /** Share of the elastic net's penalty that is L1; present with that penalty alone. */
  readonly l1Ratio?: number;
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
    ranking,
    prefilter,
    seed,
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
  assertPrefilter(prefilter);
  // Refuses what is no seed, whether or not the ranking draws.
  new Random(seed ?? 0);
  return Object.freeze({
    C,
    classWeight,
    standardise,
    ranking: rankingName(ranking),
    ...(prefilter !== undefined && { prefilter }),
    ...(seed !== undefined && { seed }),
    tolerance,
    maxIterations,
  });
}

/** The sums of squares that the ranking and the standardisation read. */
export function momentSquares(options: Pick<ProbeOptions, "ranking" | "standardise">): MomentSquares {
  const { name, score, squares = "class" } = resolveRanking(options.ranking);
  // A function of the caller's own may read all that there is; rankings of values standardise them.
  const read = score ? squares : isMomentRanking(name) ? MOMENT_RANKINGS[name].squares : "within";
  return read === "none" && options.standardise !== "none" ? "within" : read;
}

/** Whether supports can be chosen from class moments at once, without a function of the caller's. */
export function ranksByMoments({ ranking }: Pick<ProbeOptions, "ranking">): boolean {
  const { name, score } = resolveRanking(ranking);
  return !score && isMomentRanking(name);
}

function rankingName(ranking: RankingChoice | undefined): string {
  const { name, C, neighbours } = resolveRanking(ranking);
  return [name, C !== undefined && `C=${C}`, neighbours !== undefined && `neighbours=${neighbours}`]
    .filter(Boolean)
    .join(" ");
}

function assertOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new OptionError(
    `${name} is ${JSON.stringify(value)}.`,
    `Use one of ${allowed.map((option) => `"${option}"`).join(", ")}.`,
  );
}
