/** Worker threads of Node for the CPU kernels. */
import { Worker } from "node:worker_threads";
import type { SpawnWorker } from "../backends/cpu/wasm/worker-thread.ts";

export const spawnWorker: SpawnWorker = (source) => {
  const worker = new Worker(`const self = require("node:worker_threads").parentPort;\n${source}`, {
    eval: true,
    name: "sparseprobe kernels",
    // Flags such as --import or --inspect-brk are meant for the program, not for a helper thread.
    execArgv: [],
  });
  return {
    postMessage: (message) => {
      worker.postMessage(message);
    },
    listen(onMessage, onError) {
      worker.removeAllListeners();
      worker.once("message", onMessage);
      worker.once("error", onError);
    },
    hold(alive) {
      if (alive) worker.ref();
      else worker.unref();
    },
    terminate: () => {
      void worker.terminate();
    },
  };
};
