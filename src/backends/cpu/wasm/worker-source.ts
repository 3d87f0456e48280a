/**
 * The program of a worker thread, as text: it is started from memory, so that no bundler has to find a file.
 *
 * A worker gets the compiled kernels and the shared memory once. A job then names a kernel; the worker takes items off a
 * common counter until none is left, and says so.
 */
export const WORKER_SOURCE: string = `
let kernels, counter, thread;
self.onmessage = ({ data }) => {
  try {
    if (data.module) {
      kernels = new WebAssembly.Instance(data.module, { env: { memory: data.memory } }).exports;
      counter = new Int32Array(data.counter);
      thread = data.thread;
    } else {
      const job = kernels[data.job];
      for (;;) {
        const item = Atomics.add(counter, 0, 1);
        if (item >= data.items) break;
        job(item, data.args, thread);
      }
    }
    self.postMessage(null);
  } catch (error) {
    if (counter) Atomics.store(counter, 0, 0x3fffffff);
    self.postMessage(String(error?.stack ?? error));
  }
};
`;
