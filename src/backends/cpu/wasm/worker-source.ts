/**
 * The program of a worker thread, as text: it is started from memory, so that no bundler has to find a file.
 *
 * A worker gets each pool's compiled kernels and memory once. A message then lists the steps of a program; workers take items
 * off a common counter until none is left, and the first item of a step that reads what earlier ones wrote waits until those
 * are done.
 */
export const WORKER_SOURCE: string = `
const NEXT = 0, DONE = 1;
const kernels = new Map();
let shared, thread, stop;

/** Waits until "after" items are done; false when the program was stopped. */
function reach(after) {
  for (let turn = 0; ; turn++) {
    const done = Atomics.load(shared, DONE);
    if (done >= after) return done < stop;
    // Most waits are shorter than waking up would take.
    if (turn > 2000) Atomics.wait(shared, DONE, done);
  }
}

function work({ number, steps }) {
  const jobs = kernels.get(number);
  const gates = new Set(steps.map(({ after }) => after));
  for (let s = 0; ;) {
    const item = Atomics.add(shared, NEXT, 1);
    while (s < steps.length && item >= steps[s].end) s++;
    if (s === steps.length || !reach(steps[s].after)) return;
    const { job, first, args } = steps[s];
    jobs[job](item - first, args, thread);
    if (gates.has(Atomics.add(shared, DONE, 1) + 1)) Atomics.notify(shared, DONE);
  }
}

self.onmessage = ({ data }) => {
  try {
    if (data.steps) {
      for (const number of data.release) kernels.delete(number);
      if (data.module) {
        const { exports } = new WebAssembly.Instance(data.module, { env: { memory: data.memory } });
        kernels.set(data.number, exports);
      }
      work(data);
    } else {
      shared = new Int32Array(data.shared);
      thread = data.thread;
      stop = data.stop;
    }
    self.postMessage(null);
  } catch (error) {
    // The first failure stops the others; more of them must not overflow the counters.
    if (shared && Atomics.load(shared, DONE) < stop) {
      Atomics.add(shared, NEXT, stop);
      Atomics.add(shared, DONE, stop);
      Atomics.notify(shared, DONE);
    }
    self.postMessage(String(error?.stack ?? error));
  }
};
`;
