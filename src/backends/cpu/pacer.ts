/** Long loops on the main thread: let timers and input through now and then, and stop when asked to. */

/** Milliseconds of work between two turns of the event loop. */
const TURN = 30;

export class Pacer {
  readonly #signal: AbortSignal | undefined;
  #last: number = performance.now();

  /** @throws the signal's reason when it is aborted already */
  constructor(signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#signal = signal;
  }

  /** True when the loop has worked long enough to take a {@link turn}. */
  get due(): boolean {
    return performance.now() - this.#last > TURN;
  }

  /**
   * Lets one turn of the event loop pass.
   * @throws the signal's reason when it was aborted meanwhile
   */
  async turn(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#signal?.throwIfAborted();
    this.#last = performance.now();
  }
}
