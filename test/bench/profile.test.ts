/** The profiler sees what computes, on this thread and on workers. */
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { compileLimits } from "../../bench/assembly/build.mjs";
import { profileCall } from "../../bench/profile.ts";

function burn(milliseconds: number): number {
  let sum = 0;
  for (const end = performance.now() + milliseconds; performance.now() < end;) {
    for (let i = 0; i < 1e5; i++) sum += Math.sqrt(i);
  }
  return sum;
}

/** Sleeps in Atomics.wait between calls, as a worker of kernels may. */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
function burnThere(milliseconds) {
  let sum = 0;
  for (const end = performance.now() + milliseconds; performance.now() < end;) for (let i = 0; i < 1e5; i++) sum += Math.sqrt(i);
  return sum;
}
parentPort.postMessage("ready");
for (;;) {
  Atomics.wait(workerData, 0, 0);
  if (Atomics.load(workerData, 0) === 2) break;
  burnThere(300);
  Atomics.store(workerData, 0, 0);
  parentPort.postMessage("done");
}
`;

describe("profileCall", () => {
  it("names the function that the time goes to", async () => {
    const { parts, waiting } = await profileCall(() => Promise.resolve(burn(300)));
    expect(parts[0].name).toBe("burn");
    expect(parts[0].share).toBeGreaterThan(0.5);
    expect(waiting).toBeLessThan(0.5);
  });

  it("names WebAssembly functions as they are exported", async () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const module = await WebAssembly.compile(new Uint8Array(await compileLimits("limits.wasm")));
    const { multiplyAdd } = (await WebAssembly.instantiate(module, { env: { memory } })).exports;
    const { parts } = await profileCall(() =>
      Promise.resolve((multiplyAdd as (...numbers: number[]) => number)(2e7, 0.5, 1)),
    );
    expect(parts[0].name).toBe("multiplyAdd (WebAssembly)");
  });

  it("counts workers that sleep between calls, and what the main thread waits", async () => {
    const control = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(WORKER, { eval: true, workerData: control });
    const message = (): Promise<unknown> => new Promise((resolve) => worker.once("message", resolve));
    await message();
    const { parts, waiting } = await profileCall(async () => {
      const done = message();
      Atomics.store(control, 0, 1);
      Atomics.notify(control, 0);
      await done;
    });
    Atomics.store(control, 0, 2);
    Atomics.notify(control, 0);
    await worker.terminate();
    expect(parts[0].name).toBe("burnThere");
    expect(waiting).toBeGreaterThan(0.5);
  });
});
