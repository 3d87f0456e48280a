/** Where a model comes from, and what it takes: plain types. */
import type { CallOptions } from "../backends/backend.ts";
import type { TensorInfo, TensorSource } from "../data/tensor.ts";

/** Where a model's files come from: a folder, a server, memory. */
export interface ModelFiles {
  /**
   * A JSON file, parsed; undefined when there is none of that name. Asked for: `config.json`, `tokenizer.json` and,
   * if there is one, `tokenizer_config.json`.
   */
  json(name: string, options?: CallOptions): Promise<unknown>;
  /** The weights. Called once, after config and tokenizer have been read. */
  tensors(options?: CallOptions): Promise<TensorSource>;
  /**
   * The weights again, later, for what reads them from the checkpoint (`weightStatistics`, `logitEffects`). Default:
   * `tensors()`, which must then work more than once.
   */
  reopen?(options?: CallOptions): Promise<ReopenedWeights>;
  /** Types and shapes of the tensors, where they can be had for less than `tensors()`: before a download. */
  headers?(options?: CallOptions): Promise<ReadonlyMap<string, TensorInfo>>;
}

/** Weights to be read after a model has been loaded. */
export type ReopenedWeights = TensorSource & { close?(): Promise<void> };

/** Memory that there is, in bytes, as far as it is known. */
export interface MemoryLimits {
  /** Default in Node: the machine's memory, or what its container may use; elsewhere unlimited. */
  readonly hostMemory?: number | undefined;
  /** WebGPU does not tell it. Default: unlimited, and a device that is too small ends with its own OutOfMemoryError. */
  readonly gpuMemory?: number | undefined;
}

/** What a model takes, in bytes where nothing else is said. */
export interface ModelMemory {
  /** Values of the weights in the files. */
  readonly parameters: number;
  /** As float32. */
  readonly largestTensor: number;
  /** On the host once the model is loaded. */
  readonly host: number;
  /** On the host at the most while it is loaded, beside what the program takes anyway. */
  readonly hostPeak: number;
  /** On the GPU. */
  readonly gpu: number;
  /** Why it does not fit, as a sentence; null when nothing speaks against it. */
  readonly problem: string | null;
}
