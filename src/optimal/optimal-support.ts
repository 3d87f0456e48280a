/** What can be chosen about a search for optimal supports, and what it returns. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import type { ClassValue, RowSelection } from "../data/labels.ts";
import type { Standardisation } from "../data/standardisation.ts";
import type { ClassWeight } from "../probes/probe-options.ts";
import type { ProbeProvenance, ProbeRecord } from "../probes/probe-record.ts";

export interface OptimalSupportsOptions extends CallOptions {
  /** Loss of the probe. Default `"logistic"`; `"hinge"` is that of Gurnee et al. (2023). */
  readonly loss?: "logistic" | "hinge";
  /** Inverse strength of the ridge penalty ‖β‖²/(2γ), scikit-learn's C. Default n^(−1/2) for n training rows. */
  readonly gamma?: number;
  /**
   * Preprocessing with the training rows' statistics. Default `"tenth-deviation"`, columns with a standard deviation of 0.1, for
   * which the default of gamma is meant; a probe's own default is `"standard"`.
   */
  readonly standardise?: Standardisation;
  /** Default `"balanced"`. */
  readonly classWeight?: ClassWeight;
  /**
   * Neurons to choose from: so many by the mean difference of the preprocessed columns, all, or a list. The neurons that
   * rank first on raw activations, those of adaptive thresholding and those of `starts` join a number. Default 50.
   */
  readonly candidates?: number | "all" | ArrayLike<number>;
  /** (objective − bound)/objective at which a support counts as proved optimal. Default 1e-6. */
  readonly relativeGap?: number;
  /** Seconds for all k together; the smaller k come first, and what they leave is shared by the others. Default 60. */
  readonly timeLimit?: number;
  /** Supports to start from, each for the k that it has neurons. */
  readonly starts?: readonly ArrayLike<number>[];
  /** Training rows, each once. Default: every row. */
  readonly rows?: RowSelection;
  /** Where class moments are computed and columns gathered. Default: a cpu backend. */
  readonly backend?: Backend;
  /** The class to find where the labels leave a choice; see `readLabels`. */
  readonly positive?: ClassValue;
  /** Name of the feature. Default: the positive class where it has a name, else `"feature"`. */
  readonly feature?: string;
  /** Where the activations came from, if they do not say so themselves. */
  readonly provenance?: Omit<ProbeProvenance, "backend">;
  /** Called when an incumbent or a bound has improved, and a few times a second otherwise. */
  readonly onProgress?: ((progress: OptimalSupportsProgress) => void) | undefined;
}

export interface OptimalSupportsProgress {
  readonly k: number;
  /** Objective of the best support so far. */
  readonly incumbent: number;
  readonly lowerBound: number;
  /** (incumbent − bound)/incumbent. */
  readonly gap: number;
  readonly nodes: number;
  /** Since the call. */
  readonly seconds: number;
}

/** What a proof speaks of. */
export interface OptimalScope {
  /** Neurons that the search chose from, ascending. */
  readonly candidates: readonly number[];
  /** Columns of the activations. */
  readonly neurons: number;
  /**
   * Neurons outside of the candidates that some better support might still contain: their bounds do not rule them out. Where
   * there is none, the result holds over all neurons; else they can be made candidates.
   */
  readonly undecided: readonly number[];
  /** Lower bound of the objective over supports of all neurons. */
  readonly lowerBound: number;
}

/** A support that the search started from, and what it is worth. */
export interface HeuristicSupport {
  readonly name:
    | "mean-difference"
    | "raw-mean-difference"
    | "adaptive-thresholding"
    | "extended"
    | "elimination"
    | "swaps"
    | "start";
  /** Ascending. */
  readonly support: readonly number[];
  readonly objective: number;
}

/** The best support of one size, as far as it is known. */
export interface OptimalSupport {
  readonly k: number;
  /** The incumbent: the best support found, largest |coefficient| first. */
  readonly support: readonly number[];
  /** The incumbent's probe. `convergence.objective` is γ·objective, scikit-learn's scale. */
  readonly probe: ProbeRecord;
  /** c(S) = Σ ω·loss + ‖β‖²/(2γ) of the incumbent; scikit-learn's objective is γ times as large. */
  readonly objective: number;
  /** No support of k candidates has an objective below this. */
  readonly lowerBound: number;
  /** objective − lowerBound. */
  readonly gap: number;
  /** gap/objective. */
  readonly relativeGap: number;
  /** The relative gap is within the one asked for: no other support of k candidates is better by more than that. */
  readonly proved: boolean;
  /** `"gap"` where the search ended and rounding left a larger gap than was asked for. */
  readonly status: "optimal" | "gap" | "time-limit";
  readonly scope: OptimalScope;
  /** Nodes of the search that were opened. */
  readonly nodes: number;
  /** Cuts made for this k; those of smaller k were used as well. */
  readonly cuts: number;
  /** Fits and relaxations solved. */
  readonly evaluations: number;
  readonly seconds: number;
  /** Incumbent and bound over time, in seconds since the search for this k began. */
  readonly history: readonly {
    readonly seconds: number;
    readonly incumbent: number;
    readonly lowerBound: number;
  }[];
  readonly heuristics: readonly HeuristicSupport[];
  /**
   * γ is so small that the penalty alone decides: the support is the top k by mean difference of the preprocessed columns, and the
   * objective is within one per cent of what first order in γ promises.
   */
  readonly atMeanDifferenceLimit: boolean;
}
