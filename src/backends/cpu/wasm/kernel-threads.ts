/** Worker threads that kernel pools share: programs of one pool or of several run one after the other. */
import { DeviceError, DisposedError } from "../../../errors.ts";
import { WORKER_SOURCE } from "./worker-source.ts";
import type { SpawnWorker, WorkerThread } from "./worker-thread.ts";

/** Kernels over a memory, as workers need them. */
export interface LinkedKernels {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** Items `first` … `end` − 1 of a program belong to this job; they wait until `after` items are done. */
export interface ThreadStep {
  readonly job: string;
  readonly first: number;
  readonly end: number;
  readonly after: number;
  /** Byte offset of the job's arguments. */
  readonly args: number;
}

/** Words that the threads share: the next item, and how many are done. */
const NEXT = 0;
const DONE = 1;
/** Added to both, ends a program early: no item is left, and nobody waits any longer. */
const STOP = 2 ** 29;

export class KernelThreads {
  readonly #spawn: SpawnWorker | undefined;
  readonly #wanted: number;
  readonly #shared: Int32Array | undefined;
  #starting: Promise<WorkerThread[]> | undefined;
  #ready: readonly WorkerThread[] = [];
  /** What the workers hold, and under which number. */
  readonly #linked = new Map<LinkedKernels, number>();
  #numbers = 0;
  /** Numbers of kernels that the workers can let go of. */
  #released: number[] = [];
  /** Why there are fewer threads than wanted. */
  #refusal: unknown;
  #busy = false;
  #closed = false;
  /** Rejects what workers have been asked and have not answered: a terminated worker says nothing. */
  readonly #pending = new Set<(reason: unknown) => void>();
  readonly #waiting: (() => void)[] = [];

  /** @param wanted threads; more than one needs `spawn` and shared memory */
  constructor(wanted: number, spawn: SpawnWorker | undefined) {
    const possible = spawn !== undefined && typeof SharedArrayBuffer === "function";
    this.#wanted = possible ? wanted : 1;
    this.#spawn = spawn;
    if (this.#wanted > 1) this.#shared = new Int32Array(new SharedArrayBuffer(8));
  }

  /** Threads that programs are spread over. */
  get count(): number {
    return this.#refusal === undefined ? this.#wanted : 1;
  }

  /** Runs `work` when everything that was asked for before is over. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy = true;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#busy = false;
    }
  }

  /**
   * Does all items of a program on the workers, of which there must be several; only inside {@link exclusively}.
   *
   * @returns false when no worker could be started: nothing has been done then
   * @throws the signal's reason when it is aborted; the items under way are finished first
   * @throws DeviceError when a kernel fails
   */
  async run(
    kernels: LinkedKernels,
    steps: readonly ThreadStep[],
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    this.#assertOpen();
    if (this.#ready.length === 0) {
      this.#starting ??= this.#start();
      this.#ready = await this.#starting;
      this.#assertOpen();
      if (this.#ready.length === 0) return false;
      signal?.throwIfAborted();
    }
    const shared = this.#shared!;
    Atomics.store(shared, NEXT, 0);
    Atomics.store(shared, DONE, 0);
    const stop = (): void => {
      Atomics.add(shared, NEXT, STOP);
      Atomics.add(shared, DONE, STOP);
      Atomics.notify(shared, DONE);
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      // All have stopped before anybody gives memory back.
      const answers = await Promise.allSettled(this.#ask({ ...this.#link(kernels), steps }));
      const failed = answers.find((answer) => answer.status === "rejected");
      if (failed) throw failed.reason;
    } catch (cause) {
      this.#assertOpen();
      this.#giveUp(cause);
      throw new DeviceError(
        `A worker thread failed in ${steps.map(({ job }) => job).join(", ")}: ` +
          (cause instanceof Error ? cause.message : String(cause)),
        "Make a new backend; if it happens again, please report it.",
        { cause },
      );
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    signal?.throwIfAborted();
    return true;
  }

  /** The workers let go of a memory, with their next program. */
  release(kernels: LinkedKernels): void {
    const number = this.#linked.get(kernels);
    if (number === undefined) return;
    this.#linked.delete(kernels);
    this.#released.push(number);
  }

  /** Ends the threads; a program under way ends with a DisposedError. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#ready) worker.terminate();
    for (const reject of this.#pending) reject(closed());
    this.#ready = [];
  }

  /** What tells the workers which kernels to run: their number, and the kernels themselves the first time. */
  #link(kernels: LinkedKernels): object {
    const release = this.#released;
    this.#released = [];
    const known = this.#linked.get(kernels);
    if (known !== undefined) return { number: known, release };
    const number = this.#numbers++;
    this.#linked.set(kernels, number);
    return { number, release, module: kernels.module, memory: kernels.memory };
  }

  #ask(message: object): Promise<void>[] {
    return this.#ready.map((worker) => this.#answer(worker, message));
  }

  /** @throws DisposedError */
  #assertOpen(): void {
    if (this.#closed) throw closed();
  }

  /** Goes on without worker threads. */
  #giveUp(refusal: unknown): void {
    this.#refusal = refusal;
    for (const worker of this.#ready) worker.terminate();
    this.#ready = [];
  }

  /** Starts the threads; when that fails, work goes on with the calling one alone. */
  async #start(): Promise<WorkerThread[]> {
    const workers: WorkerThread[] = [];
    try {
      for (let thread = 0; thread < this.#wanted; thread++) workers.push(this.#spawn!(WORKER_SOURCE));
      await Promise.all(
        workers.map((worker, thread) =>
          this.#answer(worker, { shared: this.#shared!.buffer, thread, stop: STOP }),
        ),
      );
      this.#assertOpen();
      return workers;
    } catch (refusal) {
      this.#ready = workers;
      this.#giveUp(refusal);
      return [];
    }
  }

  /** Posts a message and waits for the answer: null, or what went wrong. */
  #answer(worker: WorkerThread, message: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.hold(true);
      const fail = (error: unknown): void => {
        this.#pending.delete(fail);
        worker.hold(false);
        reject(error instanceof Error ? error : new Error(error as string));
      };
      this.#pending.add(fail);
      worker.listen(
        (error) => {
          if (error !== null) {
            fail(error);
            return;
          }
          this.#pending.delete(fail);
          worker.hold(false);
          resolve();
        },
        (error) => {
          // It died outside a kernel: nobody else told the others to stop.
          const shared = this.#shared!;
          Atomics.add(shared, NEXT, STOP);
          Atomics.add(shared, DONE, STOP);
          Atomics.notify(shared, DONE);
          fail(error ?? new Error("The worker stopped."));
        },
      );
      worker.postMessage(message);
    });
  }
}

function closed(): DisposedError {
  return new DisposedError("The backend was disposed of while it computed.", "Create a new one.");
}
