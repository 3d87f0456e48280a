/** Lets the users of a thing have it one after the other, in this thread. */
const holders = new Map<string, Promise<void>>();

/**
 * Waits for the thing called `key`.
 * @returns what gives it back; a second call does nothing
 * @throws the signal's reason when it is aborted meanwhile
 */
export async function oneAtATime(key: string, signal: AbortSignal | undefined): Promise<() => void> {
  for (;;) {
    signal?.throwIfAborted();
    const holder = holders.get(key);
    if (!holder) break;
    await orAborted(holder, signal);
  }
  let release!: () => void;
  const done = new Promise<void>((resolve) => {
    release = () => {
      if (holders.get(key) === done) holders.delete(key);
      resolve();
    };
  });
  holders.set(key, done);
  return release;
}

function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
    void promise.then(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
  });
}
