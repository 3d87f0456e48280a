/** A worker thread as the kernel pool needs it: the same in browsers and in Node. */

export interface WorkerThread {
  postMessage(message: unknown): void;
  /** Receives what the worker posts, and the error with which it ended. */
  listen(onMessage: (message: unknown) => void, onError: (error: unknown) => void): void;
  /** Whether the thread keeps the process alive. */
  hold(alive: boolean): void;
  terminate(): void;
}

/** Starts a thread that runs the text of a classic script whose global scope is called `self`. */
export type SpawnWorker = (source: string) => WorkerThread;

/** Starts a worker of a page, or undefined where there are none, or no memory that they could share. */
export function browserWorkers(): SpawnWorker | undefined {
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  if (typeof Worker !== "function" || typeof SharedArrayBuffer !== "function" || isolated !== true)
    return undefined;
  return (source) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(url);
    return {
      postMessage: (message) => worker.postMessage(message),
      listen(onMessage, onError) {
        worker.onmessage = ({ data }) => {
          URL.revokeObjectURL(url);
          onMessage(data);
        };
        worker.onerror = (event) =>
          onError(event.error ?? new Error(event.message || "The worker did not start."));
      },
      hold: () => undefined,
      terminate: () => worker.terminate(),
    };
  };
}
