/** What a sweep is made of: the axes of the study, and how it runs. */
import type { Backend, CallOptions, HookName, HookPoint } from "../backends/backend.ts";
import type { Activations, GroupId } from "../data/activations.ts";
import type { LabelMatrix } from "../data/labels.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import type { MetricName } from "../metrics/evaluate.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { OptimalSupportsOptions } from "../optimal/optimal-support.ts";
import type { ActivationBlocks } from "../probes/activation-source.ts";
import type { ProbeOptions } from "../probes/probe-options.ts";
import type { OwnRanking, RankingFunction, RankingName } from "../ranking/ranking.ts";
import type { SweepJournal } from "./journal.ts";

/** A model that is loaded when its turn comes, and disposed of afterwards. */
export interface SweepModel {
  /** Unique within a study; the rows' `model`. */
  readonly name: string;
  /** Revision on the hub; the rows' `revision`. */
  readonly revision?: string | undefined;
  load(options: CallOptions): Promise<LanguageModel>;
}

/** A dataset that is built when a model's tokenizer is there; models that tokenise alike share it. */
export interface SweepDataset {
  /** Unique within a study; the rows' `dataset`. */
  readonly name: string;
  /** What it is built from, as a digest: part of what a journal is recognised by. Default: the name alone. */
  readonly digest?: string | undefined;
  build(tokenizer: Tokenizer, options: CallOptions): Promise<FeatureDataset>;
}

/** Labelled activations without a model. */
export interface SweepActivations {
  /** The rows' `dataset`. */
  readonly name: string;
  /** The rows' `model`. Default: the provenance of the activations, or `"activations"`. */
  readonly model?: string | undefined;
  /** All of the same rows: in memory, or in blocks that are read again for every pass. */
  readonly activations: ReadonlyMap<HookPoint, Activations | ActivationBlocks>;
  /** One label set per feature over the rows. */
  readonly labels: LabelMatrix;
  /** Document of each row. Default: the groups of the first activations in memory, or each row its own. */
  readonly groups?: readonly GroupId[] | undefined;
  /** The rows' `category`. Default `"own"`. */
  readonly category?: string | undefined;
  /** What the activations are, as a digest. Default: that of their values; of blocks their shapes and labels alone. */
  readonly digest?: string | undefined;
}

/** Ways of choosing supports: every ranking, adaptive thresholding, proved optima, and all neurons. */
export type SweepMethodName = RankingName | "adaptive" | "optimal" | "dense";

/** What a method can be told. Each reads what concerns it, and refuses the rest. */
export interface SweepMethodOptions extends Pick<
  OptimalSupportsOptions,
  "loss" | "gamma" | "candidates" | "relativeGap" | "timeLimit"
> {
  /** Support sizes of this method. Default: those of the study; up to 8 for `"optimal"`. */
  readonly ks?: readonly number[];
  /** Rankings: only so many neurons, the first by mean difference, are ranked. Default: all. */
  readonly prefilter?: number;
  /** `"l1-logistic"` and `"linear-svm"`: inverse regularisation strength of the ranking's fits. */
  readonly C?: number;
  /** `"mutual-information"`: nearest neighbours. */
  readonly neighbours?: number;
  /** `"adaptive"`: sizes at which the ranking is made anew. Default `K_SCHEDULE`. */
  readonly schedule?: readonly number[];
}

/** A method under a name of its own. */
export interface NamedSweepMethod {
  /** The rows' `method`. */
  readonly name: string;
  readonly method: SweepMethodName | RankingFunction | OwnRanking;
  readonly options?: SweepMethodOptions | undefined;
  /** Whether it probes rotated activations as well as the model's own. Default true. */
  readonly rotated?: boolean | undefined;
}

export type SweepMethod = SweepMethodName | NamedSweepMethod;

/** Bootstrap intervals of the metrics. */
export interface SweepIntervals {
  readonly metrics: readonly MetricName[];
  /** Resamples. Default 1000. */
  readonly draws?: number | undefined;
  /** Sizes whose rows have intervals. Default: all of them. */
  readonly ks?: readonly number[] | undefined;
}

/** The axes of a study. Every axis is crossed with every other. */
export interface SweepStudy {
  readonly models?: readonly (SweepModel | LanguageModel)[] | undefined;
  /** Read by every model. */
  readonly datasets?: readonly (FeatureDataset | SweepDataset)[] | undefined;
  /** Beside models and datasets, or without any. */
  readonly activations?: readonly SweepActivations[] | undefined;
  /** Names of the features to probe. Default: all that a dataset has. */
  readonly features?: readonly string[] | undefined;
  /** Where to look: hook points, or names that stand for all `layers`. Default `mlp.hook_post`; of own activations all. */
  readonly hookPoints?: readonly (HookPoint | HookName)[] | undefined;
  /** Layers to look at. Default: all. */
  readonly layers?: readonly number[] | undefined;
  /** Support sizes. Default `K_SCHEDULE`, as far as a hook point has neurons. */
  readonly ks?: readonly number[] | undefined;
  /** Default `["mean-difference"]`. */
  readonly methods?: readonly SweepMethod[] | undefined;
  /** Seeds of random rotations that are probed beside the model's own neurons. Default: none. */
  readonly rotations?: readonly number[] | undefined;
  /** Seeds of splits and of methods that draw. Default `[0]`. */
  readonly seeds?: readonly number[] | undefined;
  /** Shares of each feature's rows. Default `THREE_PARTS`. */
  readonly fractions?: Readonly<Record<"train" | "validation" | "test", number>> | undefined;
  /** Training rows that each class must have for a probe. Default 1. */
  readonly leastPerClass?: number | undefined;
  /** How probes are fitted. */
  readonly probe?:
    Pick<ProbeOptions, "C" | "classWeight" | "standardise" | "tolerance" | "maxIterations"> | undefined;
  /** Default: none. */
  readonly intervals?: SweepIntervals | undefined;
}

/** What is probed at one time: a hook point of a model over a dataset. */
export interface SweepUnit {
  readonly model: string;
  readonly revision: string | null;
  readonly dataset: string;
  readonly hookPoint: HookPoint;
}

export type SweepStage = "load" | "build" | "capture" | "rank" | "fit" | "score";

export interface SweepProgress {
  /** Units that are finished. */
  readonly done: number;
  /** Units in all, as far as they are known: how many a model has is known when it is loaded. */
  readonly total: number;
  /** Rows so far. */
  readonly rows: number;
  /** What is under way; null parts where it concerns more than one. */
  readonly unit: { readonly [Key in keyof SweepUnit]: SweepUnit[Key] | null };
  readonly stage: SweepStage;
  /** How far the stage is, in tokens, fits or rows. */
  readonly part: { readonly done: number; readonly total: number };
}

/** How a sweep runs: nothing here changes its rows but for rounding. */
export interface SweepOptions extends CallOptions {
  /** Where own activations are computed with; models bring their backends. Default: a cpu backend on one thread. */
  readonly backend?: Backend | undefined;
  /** Keeps the rows of finished units, so that a later call goes on behind them. Default: nothing is kept. */
  readonly journal?: SweepJournal | undefined;
  /**
   * Bytes of activations that may be held at once, beside the models. Where there are more, hook points are taken in groups,
   * each with a pass of its own; where not even one fits, columns are gathered in parts. Default 1 GiB.
   */
  readonly memoryBytes?: number | undefined;
  /** Tokens in one forward pass. Default 2048. */
  readonly batchTokens?: number | undefined;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
}
