/**
 * The backend that runs everywhere: SIMD WebAssembly on worker threads, on the calling thread where threads cannot share
 * memory, and float64 JavaScript where SIMD WebAssembly does not run.
 */
import {
  Activations,
  assertShape,
  assertStorageType,
  zeroActivations,
  type ActivationsOptions,
} from "../../data/activations.ts";
import type { ClassMoments } from "../../data/class-moments.ts";
import type { LabelMatrix } from "../../data/labels.ts";
import type { TensorSource } from "../../data/tensor.ts";
import { BackendUnavailableError, OptionError } from "../../errors.ts";
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
import { CpuActivations, hostOf } from "./cpu-activations.ts";
import type { CpuStatistics } from "./statistics.ts";
import type { KernelPool } from "./wasm/kernel-pool.ts";
import { supportedVariant, type KernelVariant } from "./wasm/kernel-variant.ts";
import { browserWorkers, type SpawnWorker } from "./wasm/worker-thread.ts";

export interface CpuBackendOptions {
  /**
   * Threads that compute; default 1. More need memory that threads can share: in a browser, a page that is cross-origin
   * isolated. Where they cannot be had, one is used, and `info.threads` says so.
   */
  readonly threads?: number;
  /**
   * `"simd"` is SIMD WebAssembly; `"reference"` the readable float64 implementation in JavaScript that the tests measure the
   * others by, 10 to 100 times slower, on one thread. Default: "simd" where it runs.
   */
  readonly kernels?: "simd" | "reference";
  /** How to start worker threads; default: a browser's workers. */
  readonly spawn?: SpawnWorker | undefined;
  /** Why another backend was not taken, for `info`. */
  readonly fallbackReason?: string;
}

/**
 * A CPU backend. Long calls let the event loop turn about every 30 ms and check their signal there. Results do not depend on the
 * number of threads.
 *
 * @throws BackendUnavailableError when "simd" is asked for and SIMD WebAssembly does not run here
 * @throws OptionError when the number of threads is not a whole number of at least 1, or `kernels` is unknown
 */
export function createCpuBackend(options: CpuBackendOptions = {}): Backend {
  const { threads = 1, kernels, spawn = browserWorkers() } = options;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new OptionError(`threads is ${threads}.`, "Give a whole number of at least 1.");
  }
  if (kernels !== undefined && !["simd", "reference"].includes(kernels)) {
    throw new OptionError(
      `The kernels ${JSON.stringify(kernels)} are not known.`,
      'Use "simd" or "reference".',
    );
  }
  const variant = kernels === "reference" ? undefined : supportedVariant();
  if (kernels === "simd" && !variant) {
    throw new BackendUnavailableError(
      "SIMD WebAssembly does not run here.",
      "Leave the kernels option out to use the slower reference, or use another engine.",
    );
  }
  return new CpuBackend(variant, threads, spawn, options.fallbackReason);
}

class CpuBackend implements Backend {
  readonly #variant: KernelVariant | undefined;
  readonly #threads: number;
  readonly #spawn: SpawnWorker | undefined;
  readonly #fallbackReason: string | undefined;
  /** Byte offsets of what {@link allocate} gave. */
  readonly #allocated = new Set<number>();
  /** The pool, once it is wanted; null where the engine refuses the kernels. */
  #pool: Promise<KernelPool | null> | undefined;
  #opened: KernelPool | null | undefined;

  constructor(
    variant: KernelVariant | undefined,
    threads: number,
    spawn: SpawnWorker | undefined,
    fallbackReason: string | undefined,
  ) {
    this.#variant = variant;
    this.#spawn = spawn;
    this.#threads = variant && spawn && typeof SharedArrayBuffer === "function" ? threads : 1;
    this.#fallbackReason = fallbackReason;
  }

  get info(): BackendInfo {
    const simd = this.#variant !== undefined && this.#opened !== null;
    const threads = simd ? (this.#opened?.threads ?? this.#threads) : 1;
    return {
      kind: "cpu",
      threads,
      device: simd
        ? `WebAssembly with ${this.#variant === "simd" ? "SIMD" : "relaxed SIMD"}, ${threads} ${threads === 1 ? "thread" : "threads"}`
        : "float64 JavaScript, 1 thread",
      ...(this.#fallbackReason !== undefined && { fallbackReason: this.#fallbackReason }),
    };
  }

  async upload(activations: Activations, options: CallOptions = {}): Promise<DeviceActivations> {
    options.signal?.throwIfAborted();
    return Promise.resolve(new CpuActivations(activations));
  }

  adopt(): never {
    throw new BackendUnavailableError(
      "A GPU buffer cannot be read by the cpu backend.",
      "Create a webgpu backend on the buffer's own device, or pass the values as a Float32Array.",
    );
  }

  async allocate(rows: number, neurons: number, options: ActivationsOptions = {}): Promise<Activations> {
    const pool = await this.#kernels();
    // Memory that is not shared moves when it grows, so nothing that lives longer than a call can lie in it.
    if (!pool?.memory.shared) return zeroActivations(rows, neurons, options);
    const { dtype = "f32" } = options;
    assertStorageType(dtype);
    assertShape(rows, neurons);
    const data = pool.memory.zeros(rows * neurons, dtype);
    try {
      const activations = new Activations(data, [rows, neurons], options);
      this.#allocated.add(data.byteOffset);
      return activations;
    } catch (error) {
      pool.memory.free(data.byteOffset);
      throw error;
    }
  }

  async release(activations: Activations): Promise<void> {
    const memory = (await this.#kernels())?.memory;
    const at = memory?.addressOf(activations.data);
    if (at === undefined || !this.#allocated.delete(at)) return;
    memory?.free(at);
  }

  async classMoments(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: ClassMomentsOptions = {},
  ): Promise<ClassMoments> {
    return (await this.#statistics()).classMoments(hostOf(x), labels, options);
  }

  async gatherColumns(
    x: DeviceActivations,
    columns: Uint32Array,
    options: CallOptions = {},
  ): Promise<Activations> {
    return (await this.#statistics()).gatherColumns(hostOf(x), columns, options);
  }

  async aggregateRows(
    x: DeviceActivations,
    aggregation: Aggregation,
    segments: RowSegments,
    options: CallOptions = {},
  ): Promise<DeviceActivations> {
    const statistics = await this.#statistics();
    return new CpuActivations(await statistics.aggregateRows(hostOf(x), aggregation, segments, options));
  }

  async fitLogistic(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly LogisticProblem[],
    options: LogisticOptions,
  ): Promise<LogisticFit[]> {
    return (await this.#statistics()).fitLogistic(hostOf(x), labels, problems, options);
  }

  async fitSingleNeurons(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: SingleNeuronOptions,
  ): Promise<SingleNeuronFits> {
    return (await this.#statistics()).fitSingleNeurons(hostOf(x), labels, options);
  }

  async neuronRoc(x: DeviceActivations, labels: LabelMatrix, options: CallOptions = {}): Promise<NeuronRoc> {
    return (await this.#statistics()).neuronRoc(hostOf(x), labels, options);
  }

  async fitLogisticL1(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly L1Problem[],
    options: L1Options,
  ): Promise<L1Fit[]> {
    return (await this.#statistics()).fitLogisticL1(hostOf(x), labels, problems, options);
  }

  async loadTransformer(
    spec: TransformerSpec,
    weights: TensorSource,
    options: LoadTransformerOptions = {},
  ): Promise<Transformer> {
    const pool = await this.#kernels();
    const { loadCpuTransformer } = await import("./transformer/transformer.ts");
    return loadCpuTransformer(spec, weights, {
      ...options,
      ...(pool ? { pool } : { kernels: "javascript" }),
    });
  }

  dispose(): void {
    const memory = this.#opened?.memory;
    for (const at of this.#allocated) memory?.free(at);
    this.#allocated.clear();
    // The pool of one thread belongs to all such backends.
    if (this.#threads > 1) this.#opened?.close();
  }

  /** The SIMD kernels, or null for the reference. */
  #kernels(): Promise<KernelPool | null> {
    this.#pool ??= this.#open();
    return this.#pool;
  }

  async #open(): Promise<KernelPool | null> {
    const variant = this.#variant;
    if (!variant) return null;
    const { KernelPool, poolOfOne } = await import("./wasm/kernel-pool.ts");
    try {
      this.#opened = await (this.#threads > 1
        ? KernelPool.open(variant, this.#threads, this.#spawn)
        : poolOfOne(variant));
    } catch (error) {
      // A page's security policy may forbid what the engine could do, and a small machine may lack the address space.
      if (!(error instanceof WebAssembly.CompileError || error instanceof RangeError)) throw error;
      this.#opened = null;
    }
    return this.#opened;
  }

  /** The code is loaded when it is first wanted. */
  async #statistics(): Promise<CpuStatistics> {
    const pool = await this.#kernels();
    if (pool) return (await import("./simd/simd-statistics.ts")).simdStatistics(pool);
    return (await import("./reference/reference-statistics.ts")).referenceStatistics;
  }
}
