/** The gpu.js backend: statistics in float32 in WebGL2 shaders, fits finished in float64 on the host. */
import { zeroActivations, type Activations, type ActivationsOptions } from "../../data/activations.ts";
import type { ClassMoments } from "../../data/class-moments.ts";
import type { LabelMatrix } from "../../data/labels.ts";
import { BackendUnavailableError, OptionError, UnsupportedModelError } from "../../errors.ts";
import type {
  Aggregation,
  Backend,
  BackendInfo,
  CallOptions,
  ClassMomentsOptions,
  DeviceActivations,
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
  Transformer,
} from "../backend.ts";
import { fitLogisticL1OnHost, fitLogisticOnHost } from "../fit-on-host.ts";
import { fitSingleNeuronsOnHost, neuronRocOnHost } from "../single-neurons-on-host.ts";
import { splitWide } from "../split-wide.ts";
import { aggregateRows } from "./aggregate-rows.ts";
import { classMoments } from "./class-moments.ts";
import { GpuJsDevice, TEXTURE_VALUES, type GpuJsConstructor, type GpuJsMode } from "./device.ts";
import { fitLogistic, LEAST_PRODUCTS, type FitLimits } from "./fit-logistic.ts";
import { gatherColumns } from "./gather-columns.ts";
import { matrixOf, uploadActivations } from "./gpujs-activations.ts";

export interface GpuJsBackendOptions {
  readonly mode: GpuJsMode;
  /** Values that one texture may hold, at most {@link TEXTURE_VALUES}, which is the default. */
  readonly textureValues?: number;
  /** Products n·k² from which on a fit uses the device. Default {@link LEAST_PRODUCTS}. */
  readonly leastProducts?: number;
}

/** {@link Backend} on gpu.js. It runs no models. */
export class GpuJsBackend implements Backend {
  readonly info: BackendInfo;
  readonly #device: GpuJsDevice;
  readonly #limits: FitLimits;

  /**
   * @throws BackendUnavailableError when there is no WebGL2 with float32 textures
   * @throws OptionError when `textureValues` is out of range
   */
  constructor(GPU: GpuJsConstructor, options: GpuJsBackendOptions) {
    const { mode, textureValues = TEXTURE_VALUES, leastProducts = LEAST_PRODUCTS } = options;
    if (!(textureValues >= 64 && textureValues <= TEXTURE_VALUES)) {
      throw new OptionError(`textureValues is ${textureValues}.`, `Give 64 to ${TEXTURE_VALUES}.`);
    }
    this.#device = new GpuJsDevice(GPU, mode);
    this.#limits = { textureValues, leastProducts };
    this.info = { kind: "gpujs", device: this.#device.description, threads: 1 };
  }

  async upload(activations: Activations, options: CallOptions = {}): Promise<DeviceActivations> {
    options.signal?.throwIfAborted();
    this.#device.assertLive();
    return uploadActivations(this.#device, activations, this.#limits.textureValues, options.signal);
  }

  async allocate(rows: number, neurons: number, options: ActivationsOptions = {}): Promise<Activations> {
    return Promise.resolve(zeroActivations(rows, neurons, options));
  }

  async release(): Promise<void> {
    // Ordinary arrays: the garbage collector has them.
  }

  adopt(): DeviceActivations {
    throw new BackendUnavailableError(
      "A WebGPU buffer cannot be read by the gpujs backend.",
      "Create a webgpu backend on the buffer's own device, or pass the values as a Float32Array.",
    );
  }

  async classMoments(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: ClassMomentsOptions = {},
  ): Promise<ClassMoments> {
    return classMoments(this.#device, matrixOf(this.#device, x), labels, options.signal, options.squares);
  }

  async gatherColumns(
    x: DeviceActivations,
    columns: Uint32Array,
    options: CallOptions = {},
  ): Promise<Activations> {
    return gatherColumns(this.#device, matrixOf(this.#device, x), columns, options.signal);
  }

  async aggregateRows(
    x: DeviceActivations,
    aggregation: Aggregation,
    segments: RowSegments,
    options: CallOptions = {},
  ): Promise<DeviceActivations> {
    const matrix = matrixOf(this.#device, x);
    return aggregateRows(
      this.#device,
      matrix,
      aggregation,
      segments,
      this.#limits.textureValues,
      options.signal,
    );
  }

  async fitLogistic(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly LogisticProblem[],
    options: LogisticOptions,
  ): Promise<LogisticFit[]> {
    const matrix = matrixOf(this.#device, x);
    return splitWide(
      problems,
      x.rows,
      options,
      (part, partOptions) => fitLogistic(this.#device, matrix, labels, part, partOptions, this.#limits),
      (part, partOptions) => fitLogisticOnHost(matrix, labels, part, partOptions),
    );
  }

  /** On the host: the matrix is read back, and the CPU's kernels fit it. */
  async fitLogisticL1(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly L1Problem[],
    options: L1Options,
  ): Promise<L1Fit[]> {
    return fitLogisticL1OnHost(matrixOf(this.#device, x), labels, problems, options);
  }

  /** On the host: a single column is not worth the way to the device and back. */
  async fitSingleNeurons(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: SingleNeuronOptions,
  ): Promise<SingleNeuronFits> {
    const matrix = matrixOf(this.#device, x);
    return fitSingleNeuronsOnHost(
      matrix,
      (columns, { signal }) => gatherColumns(this.#device, matrix, columns, signal),
      labels,
      options,
    );
  }

  /** On the host, which sorts. */
  async neuronRoc(x: DeviceActivations, labels: LabelMatrix, options: CallOptions = {}): Promise<NeuronRoc> {
    const matrix = matrixOf(this.#device, x);
    return neuronRocOnHost(
      matrix,
      (columns, { signal }) => gatherColumns(this.#device, matrix, columns, signal),
      labels,
      options,
    );
  }

  /** @throws UnsupportedModelError always */
  loadTransformer(): Promise<Transformer> {
    return Promise.reject(
      new UnsupportedModelError(
        "The gpujs backend runs no models.",
        "Capture activations with the cpu or the webgpu backend, and probe them here.",
      ),
    );
  }

  dispose(): void {
    this.#device.dispose();
  }
}
