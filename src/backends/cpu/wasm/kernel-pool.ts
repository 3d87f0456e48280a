/** Runs kernels over the items of a job: on this thread, or on worker threads that share its memory. */
import { DeviceError } from "../../../errors.ts";
import { Pacer } from "../pacer.ts";
import { KernelMemory } from "./kernel-memory.ts";
import {
  compileKernels,
  instantiateKernels,
  type CompiledKernels,
  type KernelFunctions,
  type KernelVariant,
} from "./load-kernels.ts";
import { WORKER_SOURCE } from "./worker-source.ts";
import type { SpawnWorker, WorkerThread } from "./worker-thread.ts";

/** Words of arguments that a job can have. */
const MAX_ARGUMENTS = 64;

/** Elementary operations below which a job is not worth waking other threads for: about 0.2 ms. */
const SMALL_JOB = 400_000;

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Elementary operations of the whole job, roughly: a small one stays on the calling thread. Default: large. */
  readonly operations?: number;
}

/**
 * A job is an exported kernel `job(item, args, thread)`: it does the part `item` of the work that the words at `args`
 * describe, in scratch memory of its own by `thread`. Items are taken in any order by any thread, so a job must give the
 * same result whoever does which.
 */
export class KernelPool {
  readonly memory: KernelMemory;
  readonly variant: KernelVariant;
  readonly #kernels: KernelFunctions;
  readonly #compiled: CompiledKernels;
  readonly #args: number;
  readonly #spawn: SpawnWorker | undefined;
  readonly #wanted: number;
  /** Next item of the job that runs. */
  readonly #counter: Int32Array;
  #workers: Promise<WorkerThread[]> | undefined;
  #ready: readonly WorkerThread[] = [];
  /** Why there are fewer threads than wanted. */
  #refusal: unknown;
  #busy = false;
  #closed = false;
  readonly #waiting: (() => void)[] = [];

  private constructor(
    compiled: CompiledKernels,
    memory: KernelMemory,
    kernels: KernelFunctions,
    threads: number,
    spawn: SpawnWorker | undefined,
  ) {
    this.memory = memory;
    this.variant = compiled.variant;
    this.#compiled = compiled;
    this.#kernels = kernels;
    this.#args = memory.allocate(4 * MAX_ARGUMENTS);
    this.#spawn = spawn;
    this.#wanted = memory.shared && spawn ? threads : 1;
    this.#counter = new Int32Array(memory.shared ? new SharedArrayBuffer(4) : new ArrayBuffer(4));
  }

  /**
   * @param threads that compute; more than one needs `spawn` and shared memory
   * @throws WebAssembly.CompileError where the engine or a security policy refuses the kernels
   */
  static async open(variant: KernelVariant, threads = 1, spawn?: SpawnWorker): Promise<KernelPool> {
    const shared = typeof SharedArrayBuffer === "function";
    const compiled = await compileKernels(variant, shared);
    const memory = new KernelMemory(shared);
    const kernels = await instantiateKernels(compiled, memory.memory);
    return new KernelPool(compiled, memory, kernels, threads, spawn);
  }

  /** Threads that jobs are spread over: kernels with scratch per thread size it by this. */
  get threads(): number {
    return this.#refusal === undefined ? this.#wanted : 1;
  }

  /** A kernel that is called directly, on this thread. */
  kernel(name: string): (...args: number[]) => number | undefined {
    return this.#kernels[name];
  }

  /**
   * Does items 0 … items − 1 of a job. Jobs of one pool run one after the other.
   *
   * @param args words: byte offsets, counts; fractions go through memory
   * @throws the signal's reason when it is aborted; the items under way are finished first
   * @throws DeviceError when a kernel fails
   */
  async run(job: string, items: number, args: readonly number[], options: RunOptions = {}): Promise<void> {
    if (this.#busy) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy = true;
    try {
      options.signal?.throwIfAborted();
      if (items === 0) return;
      this.memory.u32(this.#args, args.length).set(args);
      const small = items === 1 || (options.operations ?? Infinity) < SMALL_JOB;
      if (small || this.threads === 1) await this.#runHere(job, items, options.signal);
      else await this.#runOnWorkers(job, items, options.signal);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#busy = false;
    }
  }

  /** Ends the worker threads. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#ready) worker.terminate();
    this.#ready = [];
  }

  /** Goes on without worker threads. */
  #giveUp(refusal: unknown): void {
    this.#refusal = refusal;
    for (const worker of this.#ready) worker.terminate();
    this.#ready = [];
  }

  async #runHere(job: string, items: number, signal: AbortSignal | undefined): Promise<void> {
    const kernel = this.#kernels[job];
    const pacer = new Pacer(signal);
    for (let item = 0; item < items; item++) {
      kernel(item, this.#args, 0);
      if (pacer.due) await pacer.turn();
    }
  }

  async #runOnWorkers(job: string, items: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#ready.length === 0) {
      this.#workers ??= this.#start();
      this.#ready = await this.#workers;
      if (this.#ready.length === 0) return this.#runHere(job, items, signal);
    }
    Atomics.store(this.#counter, 0, 0);
    const stop = (): void => {
      Atomics.store(this.#counter, 0, items);
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const message = { job, items, args: this.#args };
      await Promise.all(this.#ready.map((worker) => ask(worker, message)));
    } catch (cause) {
      this.#giveUp(cause);
      throw new DeviceError(
        `A worker thread failed in ${job}: ${cause instanceof Error ? cause.message : String(cause)}`,
        "Make a new backend; if it happens again, please report it.",
        { cause },
      );
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    signal?.throwIfAborted();
  }

  /** Starts the threads; when that fails, work goes on with this one alone. */
  async #start(): Promise<WorkerThread[]> {
    const workers: WorkerThread[] = [];
    try {
      for (let thread = 0; thread < this.#wanted; thread++) workers.push(this.#spawn!(WORKER_SOURCE));
      await Promise.all(
        workers.map((worker, thread) =>
          ask(worker, {
            module: this.#compiled.module,
            memory: this.memory.memory,
            counter: this.#counter.buffer,
            thread,
          }),
        ),
      );
      if (this.#closed) throw new Error("The pool was closed.");
      return workers;
    } catch (refusal) {
      this.#ready = workers;
      this.#giveUp(refusal);
      return [];
    }
  }
}

/** Posts a message and waits for the answer: null, or what went wrong. */
function ask(worker: WorkerThread, message: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.hold(true);
    const settle = (error: unknown): void => {
      worker.hold(false);
      if (error === null) resolve();
      else reject(error instanceof Error ? error : new Error(error as string));
    };
    worker.listen(settle, (error) => settle(error ?? new Error("The worker stopped.")));
    worker.postMessage(message);
  });
}
