/** Ctrl-C: the first asks the work to stop and clean up, the second does not wait for it. */

/** Why a command stopped before its end. */
export class Interruption extends Error {
  constructor(
    readonly signalName: "SIGINT" | "SIGTERM",
    readonly exitCode: number,
  ) {
    super(`Stopped by ${signalName}.`);
    this.name = "Interruption";
  }
}

/** The reader of stdout has gone (`| head`): there is nobody to work for. */
export class ReaderGone extends Error {
  constructor() {
    super("Nobody reads the output any more.");
    this.name = "ReaderGone";
  }
}

/** 128 and the signal's number, as shells count. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** npm and npx pass on the signal that the terminal sends anyway: two that close together are one. */
const ONE_SIGNAL_MILLISECONDS = 200;

/** As far as signals go; `process` is one. */
export interface SignalSource {
  on(event: "SIGINT" | "SIGTERM", listener: () => void): unknown;
  off(event: "SIGINT" | "SIGTERM", listener: () => void): unknown;
}

/**
 * Aborts `controller` at the first signal and calls `kill` at the second.
 * @returns what stops listening
 */
export function listenForInterruption(
  source: SignalSource,
  controller: AbortController,
  kill: (exitCode: number) => void,
  now: () => number = () => performance.now(),
): () => void {
  let first: number | undefined;
  const listeners = Object.entries(EXIT_CODES).map(([name, exitCode]) => {
    const signalName = name as keyof typeof EXIT_CODES;
    const listener = (): void => {
      const at = now();
      if (first === undefined) {
        first = at;
        controller.abort(new Interruption(signalName, exitCode));
      } else if (at - first >= ONE_SIGNAL_MILLISECONDS) {
        kill(exitCode);
      }
    };
    source.on(signalName, listener);
    return [signalName, listener] as const;
  });
  return () => {
    for (const [name, listener] of listeners) source.off(name, listener);
  };
}
