/** What the CPU backend computes on host matrices: in SIMD kernels (`simd/`), and in a readable reference (`reference/`). */
import type { Activations } from "../../data/activations.ts";
import type { ClassMoments } from "../../data/class-moments.ts";
import type { LabelMatrix } from "../../data/labels.ts";
import type {
  Aggregation,
  CallOptions,
  ClassMomentsOptions,
  L1Fit,
  L1Options,
  L1Problem,
  LogisticFit,
  LogisticOptions,
  LogisticProblem,
  NeuronRoc,
  RowSegments,
  SingleNeuronFits,
  SingleNeuronOptions,
} from "../backend.ts";

/** The calls of a `Backend` that compute statistics, on host matrices. */
export interface CpuStatistics {
  classMoments(x: Activations, labels: LabelMatrix, options: ClassMomentsOptions): Promise<ClassMoments>;
  gatherColumns(x: Activations, columns: Uint32Array, options: CallOptions): Promise<Activations>;
  aggregateRows(
    x: Activations,
    aggregation: Aggregation,
    segments: RowSegments,
    options: CallOptions,
  ): Promise<Activations>;
  fitLogistic(
    x: Activations,
    labels: LabelMatrix,
    problems: readonly LogisticProblem[],
    options: LogisticOptions,
  ): Promise<LogisticFit[]>;
  fitSingleNeurons(
    x: Activations,
    labels: LabelMatrix,
    options: SingleNeuronOptions,
  ): Promise<SingleNeuronFits>;
  neuronRoc(x: Activations, labels: LabelMatrix, options: CallOptions): Promise<NeuronRoc>;
  fitLogisticL1(
    x: Activations,
    labels: LabelMatrix,
    problems: readonly L1Problem[],
    options: L1Options,
  ): Promise<L1Fit[]>;
}
