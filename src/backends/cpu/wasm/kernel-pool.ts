/** Runs kernels over the items of jobs: on this thread, or on worker threads that share its memory. */
import { DeviceError } from "../../../errors.ts";
import { Pacer } from "../pacer.ts";
import { KernelMemory } from "./kernel-memory.ts";
import { KernelThreads, type LinkedKernels, type ThreadStep } from "./kernel-threads.ts";
import type { KernelVariant } from "./kernel-variant.ts";
import {
  compileKernels,
  instantiateKernels,
  type CompiledKernels,
  type KernelFunctions,
} from "./load-kernels.ts";
import type { SpawnWorker } from "./worker-thread.ts";

/** Words of arguments that a pool has room for from the start. */
const ARGUMENTS = 64;

/** Elementary operations below which a program is not worth waking other threads for: about 0.2 ms. */
const SMALL_PROGRAM = 400_000;

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Elementary operations of all items together, roughly: few of them stay on the calling thread. Default: many. */
  readonly operations?: number;
}

/** One job of a program. */
export interface Step {
  readonly job: string;
  readonly items: number;
  /** Words: byte offsets, counts; fractions go through memory. */
  readonly args: readonly number[];
  /** It reads nothing that the step before writes, so it need not wait for it. Default false. */
  readonly beside?: boolean;
}

/**
 * A job is an exported kernel `job(item, args, thread)`: it does the part `item` of the work that the words at `args`
 * describe, in scratch memory of its own by `thread`. Items are taken in any order by any thread, so a job must give the
 * same result whoever does which.
 */
export class KernelPool {
  readonly memory: KernelMemory;
  readonly variant: KernelVariant;
  readonly #compiled: CompiledKernels;
  readonly #kernels: KernelFunctions;
  readonly #linked: LinkedKernels;
  readonly #threads: KernelThreads;
  /** Arguments of the program that runs. */
  #args: number;
  #argsWords = ARGUMENTS;

  private constructor(
    compiled: CompiledKernels,
    memory: KernelMemory,
    kernels: KernelFunctions,
    threads: KernelThreads,
  ) {
    this.memory = memory;
    this.variant = compiled.variant;
    this.#compiled = compiled;
    this.#kernels = kernels;
    this.#linked = { module: compiled.module, memory: memory.memory };
    this.#threads = threads;
    this.#args = memory.allocate(4 * ARGUMENTS);
  }

  /**
   * @param threads that compute; more than one needs `spawn` and shared memory
   * @throws WebAssembly.CompileError where the engine or a security policy refuses the kernels
   */
  static async open(variant: KernelVariant, threads = 1, spawn?: SpawnWorker): Promise<KernelPool> {
    const shared = typeof SharedArrayBuffer === "function";
    return KernelPool.#over(await compileKernels(variant, shared), new KernelThreads(threads, spawn));
  }

  static async #over(compiled: CompiledKernels, threads: KernelThreads): Promise<KernelPool> {
    const memory = new KernelMemory(compiled.shared);
    return new KernelPool(compiled, memory, await instantiateKernels(compiled, memory.memory), threads);
  }

  /** A pool with a memory of its own that computes on the threads of this one. */
  sibling(): Promise<KernelPool> {
    return KernelPool.#over(this.#compiled, this.#threads);
  }

  /** Threads that jobs are spread over: kernels with scratch per thread size it by this. */
  get threads(): number {
    return this.#threads.count;
  }

  /** A kernel that is called directly, on this thread. */
  kernel(name: string): (...args: number[]) => number | undefined {
    return this.#kernels[name];
  }

  /**
   * Does items 0 … items − 1 of a job. Jobs of pools with common threads run one after the other.
   *
   * @param args words: byte offsets, counts; fractions go through memory
   * @throws the signal's reason when it is aborted; the items under way are finished first
   * @throws DeviceError when a kernel fails
   */
  run(job: string, items: number, args: readonly number[], options: RunOptions = {}): Promise<void> {
    return this.runProgram([{ job, items, args }], options);
  }

  /**
   * Does all steps of a program in order. Threads go from one to the next without the calling thread.
   * @throws what {@link run} throws
   */
  runProgram(steps: readonly Step[], options: RunOptions = {}): Promise<void> {
    return this.#threads.exclusively(async () => {
      options.signal?.throwIfAborted();
      const program = this.#layOut(steps);
      const items = program.at(-1)?.end ?? 0;
      const small = items <= 1 || (options.operations ?? Infinity) < SMALL_PROGRAM;
      if (small || this.threads === 1 || !(await this.#threads.run(this.#linked, program, options.signal))) {
        await this.#runHere(program, options.signal);
      }
    });
  }

  /** The worker threads let go of this pool's memory. */
  release(): void {
    this.#threads.release(this.#linked);
  }

  /** Ends the worker threads, of siblings too. */
  close(): void {
    this.#threads.close();
  }

  /** Writes the arguments and numbers the items through. */
  #layOut(steps: readonly Step[]): ThreadStep[] {
    const words = steps.reduce((sum, { args }) => sum + args.length, 0);
    if (words > this.#argsWords) {
      const larger = this.memory.allocate(4 * words);
      this.memory.free(this.#args);
      this.#args = larger;
      this.#argsWords = words;
    }
    const values = this.memory.u32(this.#args, this.#argsWords);
    const program: ThreadStep[] = [];
    let [at, end, after] = [0, 0, 0];
    for (const { job, items, args, beside = false } of steps) {
      values.set(args, at);
      if (!beside) after = end;
      program.push({ job, first: end, end: end + items, after, args: this.#args + 4 * at });
      at += args.length;
      end += items;
    }
    return program;
  }

  async #runHere(program: readonly ThreadStep[], signal: AbortSignal | undefined): Promise<void> {
    const pacer = new Pacer(signal);
    for (const { job, first, end, args } of program) {
      const kernel = this.#kernels[job];
      for (let item = 0; item < end - first; item++) {
        try {
          kernel(item, args, 0);
        } catch (cause) {
          throw new DeviceError(
            `The kernel ${job} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
            "Please report it.",
            { cause },
          );
        }
        if (pacer.due) await pacer.turn();
      }
    }
  }
}

/** The kernels of all backends with one thread: such a backend needs no memory of its own. */
const poolsOfOne = new Map<KernelVariant, Promise<KernelPool>>();

/** The pool of one thread that everything in this process may share. */
export function poolOfOne(variant: KernelVariant): Promise<KernelPool> {
  let pool = poolsOfOne.get(variant);
  if (!pool) {
    pool = KernelPool.open(variant);
    poolsOfOne.set(variant, pool);
    // What failed once may work the next time.
    pool.catch(() => poolsOfOne.delete(variant));
  }
  return pool;
}
