/** Long loops on the calling thread: let timers and input through now and then, and stop when asked to. */

/** Milliseconds of work between two turns of the event loop. */
const TURN = 30;

/** When the event loop last had a turn through a pacer: many short calls in a row share the clock. */
let lastTurn = 0;

export class Pacer {
  readonly #signal: AbortSignal | undefined;

  /** @throws the signal's reason when it is aborted already */
  constructor(signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#signal = signal;
    // Work that starts after a pause has had its turn.
    const now = performance.now();
    if (now - lastTurn > 10 * TURN) lastTurn = now;
  }

  /** True when the loop has worked long enough to take a {@link turn}. */
  get due(): boolean {
    return performance.now() - lastTurn > TURN;
  }

  /**
   * Lets one turn of the event loop pass.
   * @throws the signal's reason when it was aborted meanwhile
   */
  async turn(): Promise<void> {
    await turnOfTheEventLoop();
    lastTurn = performance.now();
    this.#signal?.throwIfAborted();
  }
}

/** `setTimeout` costs a millisecond or more; Node's `setImmediate` and a browser's message do not. */
function turnOfTheEventLoop(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => void };
  return new Promise((resolve) => {
    if (setImmediate) setImmediate(resolve);
    else {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}
