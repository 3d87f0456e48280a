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
export { SparseProbe, K_SCHEDULE } from "./probes/sparse-probe.ts";
export type { EvaluateOptions, FitOptions, ProbeLabels, ProbeLabelSets } from "./probes/sparse-probe.ts";
export type {
  ActivationBlocks,
  ActivationSource,
  FitColumns,
  ForeignActivations,
} from "./probes/activation-source.ts";
export { candidateNeurons, selectSupports } from "./probes/fit-supports.ts";
export type { ProbeFailure, ProbeOrigin, SelectedSupport } from "./probes/fit-supports.ts";
export type { ClassWeight, ProbeOptions, ProbeSettings } from "./probes/probe-options.ts";
export { NeuronProbes, probeNeurons } from "./probes/probe-neurons.ts";
export type { NeuronOrder, NeuronProbe, ProbeNeuronsOptions } from "./probes/probe-neurons.ts";
export type { ProbeJson, ProbeProvenance, ProbeRecord } from "./probes/probe-record.ts";
export type {
  Architecture,
  AttentionLayer,
  HookName,
  MlpActivation,
  RotaryScaling,
  RotarySpec,
} from "./backends/backend.ts";
export type { EncodeOptions } from "./model/tokenizer.ts";

export { createBackend } from "./backends/create-backend.ts";
export type { BackendKind, CreateBackendOptions } from "./backends/create-backend.ts";
export type { SpawnWorker, WorkerThread } from "./backends/cpu/wasm/worker-thread.ts";
export type {
  Aggregation,
  Backend,
  BackendInfo,
  CallOptions,
  ClassMomentsOptions,
  Convergence,
  DeviceActivations,
  ForeignBuffer,
  ForwardRequest,
  ForwardResult,
  HookPoint,
  L1Convergence,
  L1Fit,
  L1Options,
  L1Problem,
  LoadTransformerOptions,
  LogisticFit,
  LogisticOptions,
  LogisticProblem,
  NeuronRoc,
  RowSegments,
  SingleNeuronFits,
  SingleNeuronOptions,
  TokenBatch,
  Transformer,
  TransformerSpec,
} from "./backends/backend.ts";

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
export { splitRows, THREE_PARTS } from "./data/splits.ts";
export type { SplitOptions } from "./data/splits.ts";
export type { Standardisation } from "./data/standardisation.ts";
export type { Tensor, TensorInfo, TensorSource, TensorType } from "./data/tensor.ts";

export { rankNeurons } from "./ranking/ranking.ts";
export type { Ranking, RankingFunction, RankingName } from "./ranking/ranking.ts";

export { evaluateBinary, METRIC_NAMES } from "./metrics/evaluate.ts";
export type { MetricName, Metrics } from "./metrics/evaluate.ts";
export { precisionRecallCurve } from "./metrics/precision-recall.ts";
export type { PrecisionRecallCurve } from "./metrics/precision-recall.ts";

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
export type { TokenRowsOptions } from "./capture/token-rows.ts";
export type { CaptureInput, PassOptions } from "./capture/visit-batches.ts";
export { readLabelledTexts } from "./datasets/texts.ts";
export type { LabelledTexts } from "./datasets/texts.ts";
export { loadModel } from "./model/language-model.ts";
export type { LanguageModel, LoadModelOptions, ModelFiles } from "./model/language-model.ts";
export type { LocatedTokens, Tokenizer } from "./model/tokenizer.ts";

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
export { httpSource } from "./io/http-source.ts";
export type { HttpSourceOptions } from "./io/http-source.ts";
export { readNpy, writeNpy } from "./io/npy.ts";
export { readNpz, writeNpz } from "./io/npz.ts";
export type { ReadNpzOptions } from "./io/npz.ts";
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
  LabelError,
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
export type { ErrorCode } from "./errors.ts";
