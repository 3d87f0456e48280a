/**
 * sparseprobe: finds the neurons of a language model that carry a feature.
 *
 * @example
 * import { SparseProbe, splitRows } from "sparseprobe";
 *
 * // Six rows of three neurons; the second neuron tells the classes apart.
 * const activations = [[0, 1, 5], [1, 9, 4], [0, 2, 6], [1, 8, 5], [1, 1, 4], [0, 9, 6]];
 * const labels = ["en", "fr", "en", "fr", "en", "fr"];
 * const probe = await SparseProbe.fit(activations, labels, 1);
 * console.log(probe.support, probe.evaluate(activations, labels).f1); // [ 1 ] 1
 *
 * @module
 */
export type {
  ActivationBlocks,
  ActivationSource,
  FitColumns,
  ForeignActivations,
} from "./probes/activation-source.ts";
export type { AdaptiveOptions } from "./probes/adaptive-thresholding.ts";
export type { EnumerateOptions, NeuronMetrics, NeuronRow } from "./probes/enumerate-by-f1.ts";
export { enumerateNeurons } from "./probes/enumerate-neurons.ts";
export type { LassoOptions } from "./probes/fit-lasso.ts";
export { candidateNeurons, selectSupports } from "./probes/fit-supports.ts";
export type { ProbeFailure, ProbeOrigin, SelectedSupport } from "./probes/fit-supports.ts";
export type { MulticlassJson, MulticlassProbes, UnfittedClass } from "./probes/fitted-multiclass.ts";
export { MulticlassProbe } from "./probes/multiclass-probe.ts";
export type { NeuronOrder, NeuronProbe, NeuronProbes, ProbeNeuronsOptions } from "./probes/neuron-probes.ts";
export { probeNeurons } from "./probes/probe-neurons.ts";
export type { ClassWeight, ProbeOptions, ProbeSettings } from "./probes/probe-options.ts";
export type { ProbeJson, ProbeProvenance, ProbeRecord } from "./probes/probe-record.ts";
export type { PruneOptions, PruneStep, SingleNeuronF1 } from "./probes/prune-by-f1.ts";
export { pruneNeurons } from "./probes/prune-neurons.ts";
export type { RotateOptions } from "./probes/random-rotation.ts";
export { rankActivations } from "./probes/rank-activations.ts";
export type { RankActivationsOptions } from "./probes/rank-source.ts";
export { rotateActivations } from "./probes/rotate-activations.ts";
export { K_SCHEDULE, SparseProbe } from "./probes/sparse-probe.ts";
export type { EvaluateOptions, FitOptions, ProbeLabels, ProbeLabelSets } from "./probes/sparse-probe.ts";

export { rankNeurons } from "./ranking/ranking.ts";
export type {
  ColumnRankingName,
  MomentRankingFunction,
  MomentRankingName,
  OwnRanking,
  Ranking,
  RankingChoice,
  RankingContext,
  RankingFunction,
  RankingName,
  RankingOptions,
  RankingParameters,
} from "./ranking/ranking.ts";
export type { RegressionRankingFunction } from "./ranking/regression-ranking.ts";

export type { RegressionFailure, RegressionProbes } from "./regression/fit-regression.ts";
export type {
  FitRegressionOptions,
  RegressionOptions,
  RegressionPenalty,
  RegressionRankingName,
  RegressionSettings,
} from "./regression/regression-options.ts";
export { RegressionProbe } from "./regression/regression-probe.ts";
export type { RegressionJson, RegressionRecord } from "./regression/regression-record.ts";
export type { RegressionConvergence } from "./regression/solution.ts";

export { findOptimalSupports } from "./optimal/find-optimal-supports.ts";
export type {
  HeuristicSupport,
  OptimalScope,
  OptimalSupport,
  OptimalSupportsOptions,
  OptimalSupportsProgress,
} from "./optimal/optimal-support.ts";

export { benjaminiHochberg } from "./statistics/benjamini-hochberg.ts";
export type { BootstrapProbeOptions } from "./statistics/bootstrap-probe.ts";
export type { BootstrapRowsOptions, BootstrapRowsResult, Measured } from "./statistics/bootstrap-rows.ts";
export type {
  BootstrapOptions,
  BootstrapResult,
  FullBootstrapResult,
  IntervalMethod,
  MetricInterval,
} from "./statistics/bootstrap.ts";
export type {
  ControlDraw,
  ControlName,
  ControlRejection,
  ControlResult,
  ProbeControls,
  ProbeControlsOptions,
  ProbeControlsRow,
  Selectivity,
} from "./statistics/controls.ts";
export type {
  ChoiceRule,
  CrossValidateOptions,
  CrossValidation,
  CrossValidationRow,
  FoldResult,
} from "./statistics/cross-validation.ts";
export type {
  Candidate,
  NamedActivations,
  SelectAndTestOptions,
  SelectAndTestResult,
  ThreeParts,
} from "./statistics/model-selection.ts";
export type { PermutationTestScore, PermutationTestScoreOptions } from "./statistics/permutation-score.ts";
export type { PermutationTest, PermutationTestOptions } from "./statistics/permutation-test.ts";
export type { PermutationScheme } from "./statistics/permute-labels.ts";
export type {
  CompareSelectionsOptions,
  MethodReport,
  RankedSelection,
  SelectionComparison,
  SelectionMethod,
  SelectionRow,
} from "./statistics/selection-comparison.ts";
export type {
  SelectionFrequency,
  SupportStability,
  SupportStabilityOptions,
  SupportStabilityRow,
} from "./statistics/stability.ts";
export {
  bootstrapMetrics,
  bootstrapProbe,
  bootstrapRows,
  compareSelections,
  crossValidate,
  permutationTest,
  permutationTestScore,
  probeControls,
  selectAndTest,
  supportStability,
} from "./statistics/statistics.ts";
export type { FoldRows, StatisticsOptions, StudyOptions } from "./statistics/study.ts";

export type {
  ActivationExample,
  ClassActivations,
  NeuronEvidence,
  NeuronEvidenceOptions,
  NeuronEvidenceResult,
  TokenDisambiguation,
} from "./evidence/collect-evidence.ts";
export { logitEffects, neuronEvidence, weightStatistics } from "./evidence/evidence.ts";
export type { NeuronPlace, ResolvedNeuron } from "./evidence/neuron-places.ts";
export type {
  LogitEffect,
  LogitEffectsOptions,
  NeuronLogitEffect,
  TokenEffect,
} from "./evidence/read-logit-effects.ts";
export type {
  InputStatistics,
  LayerWeightStatistics,
  NeuronValues,
  NeuronWeightStatistics,
  WeightStatisticsOptions,
  WeightSummaries,
  WeightSummary,
} from "./evidence/read-weight-statistics.ts";
export type { SharedToken, WithinTokens } from "./evidence/token-table.ts";

export type {
  AblationControlOptions,
  AblationDraw,
  AblationEffect,
  AblationKind,
  AblationOptions,
  AblationRow,
  ControlComparison,
  LogitChange,
} from "./interventions/ablation-effect.ts";
export type { CaptureLossesOptions, TokenLosses } from "./interventions/capture-losses.ts";
export { captureLosses, measureAblation } from "./interventions/interventions.ts";
export type { LossTextsOptions, TextIntervention, TextPositions } from "./interventions/text-passes.ts";

export { captureActivations } from "./capture/capture-activations.ts";
export type { CaptureOptions } from "./capture/capture-activations.ts";
export { captureClassMoments } from "./capture/capture-class-moments.ts";
export { captureColumns } from "./capture/capture-columns.ts";
export { probeTexts } from "./capture/probe-texts.ts";
export type {
  ChosenProbe,
  ProbeTextsInput,
  ProbeTextsOptions,
  ProbeTextsResult,
  ProbeTextsRow,
  ProbeTextsStage,
} from "./capture/text-study.ts";
export { TokenRows } from "./capture/token-rows.ts";
export type { TokeniseOptions, TokenRowsOptions } from "./capture/token-rows.ts";
export type { CaptureInput, PassOptions } from "./capture/visit-batches.ts";

export { readLabelledTexts } from "./datasets/texts.ts";
export type { LabelledTexts } from "./datasets/texts.ts";

export { estimateModelMemory } from "./model/estimate-model-memory.ts";
export { loadModel } from "./model/language-model.ts";
export type { LanguageModel, LoadModelOptions } from "./model/language-model.ts";
export type { MemoryLimits, ModelFiles, ModelMemory, ReopenedWeights } from "./model/model-files.ts";
export type { EncodeOptions, LocatedTokens, Tokenizer } from "./model/tokenizer.ts";

export type { HubModel, HubOptions, HubStage, LoadFromHubOptions } from "./hub/hub-options.ts";
export { loadModelFromHub, openHubModel } from "./hub/load-from-hub.ts";

export type {
  ActivationChange,
  Aggregation,
  Architecture,
  AttentionLayer,
  Backend,
  BackendInfo,
  CallOptions,
  ClassMomentsOptions,
  Convergence,
  DeviceActivations,
  ForeignBuffer,
  ForwardRequest,
  ForwardResult,
  HookName,
  HookPoint,
  Intervention,
  L1Convergence,
  L1Fit,
  L1Options,
  L1Problem,
  L1Start,
  LoadTransformerOptions,
  LogisticFit,
  LogisticOptions,
  LogisticProblem,
  MlpActivation,
  NeuronRoc,
  RotaryScaling,
  RotarySpec,
  RowSegments,
  SingleNeuronFits,
  SingleNeuronOptions,
  TokenBatch,
  Transformer,
  TransformerSpec,
  WeightStorage,
} from "./backends/backend.ts";
export type { SpawnWorker, WorkerThread } from "./backends/cpu/wasm/worker-thread.ts";
export { createBackend } from "./backends/create-backend.ts";
export type { BackendKind, CreateBackendOptions } from "./backends/create-backend.ts";

export { Activations } from "./data/activations.ts";
export type {
  ActivationsInput,
  ActivationsOptions,
  AffineCode,
  GroupId,
  Provenance,
  StorageType,
} from "./data/activations.ts";
export { emptyClassMoments, mergeClassMoments, pooledMoments } from "./data/class-moments.ts";
export type { ClassMoments, MomentSquares, PerClassMoments } from "./data/class-moments.ts";
export { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from "./data/float16.ts";
export { LabelMatrix, readLabels, readLabelSets, UNLABELLED } from "./data/labels.ts";
export type { ClassValue, LabelSets, LabelsInput, RowSelection } from "./data/labels.ts";
export { splitFolds, splitRows, THREE_PARTS } from "./data/splits.ts";
export type { Fold, FoldOptions, SplitOptions } from "./data/splits.ts";
export type { Standardisation } from "./data/standardisation.ts";
export type { TargetMoments } from "./data/target-moments.ts";
export type { TargetSets, TargetsInput } from "./data/targets.ts";
export type { Tensor, TensorInfo, TensorSource, TensorType } from "./data/tensor.ts";

export { evaluateBinary, METRIC_NAMES } from "./metrics/evaluate.ts";
export type { MetricName, Metrics } from "./metrics/evaluate.ts";
export type { ClassMetrics, MulticlassMetricName, MulticlassMetrics } from "./metrics/multiclass.ts";
export { precisionRecallCurve } from "./metrics/precision-recall.ts";
export type { PrecisionRecallCurve } from "./metrics/precision-recall.ts";
export type { RegressionMetricName, RegressionMetrics } from "./metrics/regression.ts";

export {
  activationBlocks,
  ActivationsWriter,
  readActivations,
  writeActivations,
} from "./io/activations-file.ts";
export type {
  ActivationBlocksOptions,
  ActivationFileBlocks,
  ActivationsHeader,
  WriteActivationsOptions,
} from "./io/activations-file.ts";
export { blobSource, bytesSource } from "./io/byte-source.ts";
export type { ByteSource, ReadOptions } from "./io/byte-source.ts";
export type { HttpSourceOptions } from "./io/http-ranges.ts";
export { httpSource } from "./io/http-source.ts";
export { readNpy, writeNpy } from "./io/npy.ts";
export type { NpzArrays, ReadNpzOptions } from "./io/npz-archive.ts";
export { readNpz, writeNpz } from "./io/npz.ts";
export type { Named, RawArray, RawTensor } from "./io/raw-tensor.ts";
export { openSafetensors, SafetensorsWriter, writeSafetensors } from "./io/safetensors.ts";
export type { ByteSink, SafetensorsFile } from "./io/safetensors.ts";
export { openShardedSafetensors } from "./io/sharded-safetensors.ts";

export { Random } from "./random.ts";

export {
  BackendUnavailableError,
  ContextLengthError,
  DeviceError,
  DeviceLostError,
  DisposedError,
  EmptyDataError,
  FormatError,
  HubError,
  LabelError,
  MissingPackageError,
  MissingTensorError,
  NonFiniteError,
  OneClassError,
  OptionError,
  OutOfMemoryError,
  ShapeError,
  SparseProbeError,
  SupportSizeError,
  UnsupportedModelError,
} from "./errors.ts";
export type { ErrorCode, HubFailure } from "./errors.ts";
