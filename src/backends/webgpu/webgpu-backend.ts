/** The WebGPU backend: statistics in float32 on the device, fits certified there in pairs of float32. */
import { zeroActivations, type Activations, type ActivationsOptions } from "../../data/activations.ts";
import type { ClassMoments } from "../../data/class-moments.ts";
import type { LabelMatrix } from "../../data/labels.ts";
import type { TensorSource } from "../../data/tensor.ts";
import { DisposedError, OptionError, ShapeError } from "../../errors.ts";
import type {
  Aggregation,
  Backend,
  BackendInfo,
  CallOptions,
  ClassMomentsOptions,
  DeviceActivations,
  ForeignBuffer,
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
  Transformer,
  TransformerSpec,
} from "../backend.ts";
import { fitLogisticL1OnHost, fitLogisticOnHost } from "../fit-on-host.ts";
import { splitWide } from "../split-wide.ts";
import { aggregateRows } from "./aggregate-rows.ts";
import { classMoments } from "./class-moments.ts";
import { ComputeDevice, Usage } from "./device.ts";
import { fitLogistic } from "./fit-logistic.ts";
import { fitSingleNeurons } from "./fit-single-neurons.ts";
import { gatherColumns } from "./gather-columns.ts";
import { neuronRoc } from "./neuron-roc.ts";
import { loadWebGpuTransformer } from "./transformer.ts";
import {
  deviceMatrix,
  ITEM_BYTES,
  rowChunks,
  WebGpuActivations,
  type RowChunk,
} from "./webgpu-activations.ts";

export interface WebGpuBackendOptions {
  /** The device was made for this backend, which destroys it when disposed of. Default false. */
  readonly owned?: boolean;
  /** Largest binding in bytes, at most the device's own limit, which is the default. Larger matrices are cut by rows. */
  readonly maxBindingBytes?: number;
  /** Bytes that one call may allocate for work beside its inputs. Default 256 MiB. */
  readonly workBytes?: number;
}

/** {@link Backend} on a GPU device. */
export class WebGpuBackend implements Backend {
  readonly info: BackendInfo;
  /** The wrapped device, with its accounting of live buffers. */
  readonly device: ComputeDevice;
  readonly #maxBindingBytes: number;
  readonly #workBytes: number;
  #disposed = false;

  /** @throws OptionError when a size is not a positive number */
  constructor(gpu: GPUDevice, options: WebGpuBackendOptions = {}) {
    this.device = new ComputeDevice(gpu, { owned: options.owned ?? false });
    const { maxBindingBytes = Infinity, workBytes = 256 * 2 ** 20 } = options;
    for (const [name, value] of Object.entries({ maxBindingBytes, workBytes })) {
      if (!(value >= 4096)) throw new OptionError(`${name} is ${value}.`, "Give at least 4096 bytes.");
    }
    this.#maxBindingBytes = Math.min(maxBindingBytes, this.device.maxBindingBytes);
    this.#workBytes = workBytes;
    this.info = { kind: "webgpu", device: this.device.description, threads: 1 };
  }

  async upload(activations: Activations, options: CallOptions = {}): Promise<DeviceActivations> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#assertLive();
    this.device.assertUsable();
    const { rows, neurons, dtype, data, code } = activations;
    const scope = this.device.scope();
    try {
      const chunks: RowChunk[] = [];
      for (const part of rowChunks(rows, neurons * ITEM_BYTES[dtype], this.#maxBindingBytes)) {
        const values = data.subarray(part.firstRow * neurons, (part.firstRow + part.rows) * neurons);
        const buffer = await scope.allocateFrom("activations", values, signal);
        chunks.push({ ...part, buffer, offset: 0, byteLength: values.byteLength });
      }
      const affine = new Float32Array(code ? 2 * neurons : 0);
      if (code) {
        affine.set(code.scale);
        affine.set(code.offset, neurons);
      }
      const result = new WebGpuActivations(this.device, {
        rows,
        neurons,
        dtype,
        chunks,
        code: code && { host: code, buffer: await scope.allocateFrom("affine code", affine, signal) },
        groups: activations.groups,
        provenance: activations.provenance,
      });
      scope.releaseAll();
      return result;
    } finally {
      scope.dispose();
    }
  }

  async allocate(rows: number, neurons: number, options: ActivationsOptions = {}): Promise<Activations> {
    return Promise.resolve(zeroActivations(rows, neurons, options));
  }

  async release(): Promise<void> {
    // Ordinary arrays: the garbage collector has them.
  }

  adopt(
    buffer: ForeignBuffer,
    { rows, neurons, dtype }: { rows: number; neurons: number; dtype: "f32" | "f16" },
  ): DeviceActivations {
    this.#assertLive();
    this.device.assertUsable();
    if (!Number.isInteger(rows) || !Number.isInteger(neurons) || rows < 1 || neurons < 1) {
      throw new ShapeError(
        `The shape [${rows}, ${neurons}] is not two positive whole numbers.`,
        "Give [rows, neurons].",
      );
    }
    const rowBytes = neurons * ITEM_BYTES[dtype];
    const needed = Math.ceil((rows * rowBytes) / 4) * 4;
    if (buffer.size < needed) {
      throw new ShapeError(
        `The buffer has ${buffer.size} bytes; ${rows} rows × ${neurons} neurons of ${dtype} need ${needed}.`,
        "Give the shape and storage type that the buffer was filled with.",
      );
    }
    const missing = [
      (buffer.usage & Usage.storage) === 0 && "STORAGE",
      (buffer.usage & Usage.copySource) === 0 && "COPY_SRC",
    ].filter((name) => name !== false);
    if (missing.length > 0) {
      throw new OptionError(
        `The buffer was created without the usage ${missing.join(" and ")}.`,
        "Create it with GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC.",
      );
    }
    if (buffer.mapState !== "unmapped") {
      throw new OptionError(`The buffer is ${buffer.mapState}.`, "Call unmap() first.");
    }
    const foreign = this.device.foreign("adopted activations", buffer as GPUBuffer);
    const alignment = Math.max(4, this.device.bindingAlignment);
    const chunks = rowChunks(rows, rowBytes, this.#maxBindingBytes, alignment).map((part) => ({
      ...part,
      buffer: foreign,
      offset: part.firstRow * rowBytes,
      byteLength: part.rows * rowBytes,
    }));
    const defect = this.device.owns(foreign.gpu).then(
      (own) =>
        own
          ? undefined
          : new OptionError(
              "The buffer belongs to another GPU device.",
              "Create the backend on the buffer's own device, or upload the values.",
            ),
      (error: unknown) => error as Error,
    );
    return new WebGpuActivations(this.device, { rows, neurons, dtype, chunks, defect });
  }

  async classMoments(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: ClassMomentsOptions = {},
  ): Promise<ClassMoments> {
    const matrix = await this.#matrix(x);
    return classMoments(this.device, matrix, labels, this.#maxBindingBytes, options.signal, options.squares);
  }

  async gatherColumns(
    x: DeviceActivations,
    columns: Uint32Array,
    options: CallOptions = {},
  ): Promise<Activations> {
    const matrix = await this.#matrix(x);
    return gatherColumns(this.device, matrix, columns, this.#maxBindingBytes, options.signal);
  }

  async aggregateRows(
    x: DeviceActivations,
    aggregation: Aggregation,
    segments: RowSegments,
    options: CallOptions = {},
  ): Promise<DeviceActivations> {
    const matrix = await this.#matrix(x);
    return aggregateRows(this.device, matrix, aggregation, segments, this.#maxBindingBytes, options.signal);
  }

  async fitLogistic(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly LogisticProblem[],
    options: LogisticOptions,
  ): Promise<LogisticFit[]> {
    const matrix = await this.#matrix(x);
    const limits = { maxBindingBytes: this.#maxBindingBytes, workBytes: this.#workBytes };
    return splitWide(
      problems,
      x.rows,
      options,
      (part, partOptions) => fitLogistic(this.device, matrix, labels, part, partOptions, limits),
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
    return fitLogisticL1OnHost(await this.#matrix(x), labels, problems, options);
  }

  async neuronRoc(x: DeviceActivations, labels: LabelMatrix, options: CallOptions = {}): Promise<NeuronRoc> {
    const matrix = await this.#matrix(x);
    return neuronRoc(this.device, matrix, labels, options, this.#maxBindingBytes);
  }

  /** One probe of every neuron for every feature, each neuron alone; results in f64. */
  async fitSingleNeurons(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: SingleNeuronOptions,
  ): Promise<SingleNeuronFits> {
    const matrix = await this.#matrix(x);
    const limits = { maxBindingBytes: this.#maxBindingBytes, workBytes: this.#workBytes };
    return fitSingleNeurons(this.device, matrix, labels, options, limits);
  }

  async loadTransformer(
    spec: TransformerSpec,
    weights: TensorSource,
    options: LoadTransformerOptions = {},
  ): Promise<Transformer> {
    this.#assertLive();
    const limits = { maxBindingBytes: this.#maxBindingBytes, workBytes: this.#workBytes };
    return loadWebGpuTransformer(this.device, spec, weights, { ...options, ...limits });
  }

  dispose(): void {
    this.#disposed = true;
    this.device.dispose();
  }

  async #matrix(x: DeviceActivations): Promise<WebGpuActivations> {
    this.#assertLive();
    return deviceMatrix(this.device, x);
  }

  /** @throws DisposedError after `dispose()` */
  #assertLive(): void {
    if (this.#disposed) throw new DisposedError("The backend was disposed of.", "Create a new one.");
  }
}
