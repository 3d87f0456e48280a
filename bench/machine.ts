/** What this machine is, and how fast it can read memory and multiply at all: the limits that results are held against. */
import { readFile } from "node:fs/promises";
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { Worker } from "node:worker_threads";
import type { LimitsName } from "./assembly/build.mjs";
import type { GpuLimits } from "./gpu.ts";

/** Limits reached by all of `threads` threads together. */
export interface Limits {
  readonly threads: number;
  readonly gigabytesPerSecond: number;
  readonly gigaflopsPerSecond: number;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** How the limits were measured. */
  readonly method: string;
  readonly limits: readonly Limits[];
  /** The GPU that ours computed on, where one did. */
  readonly gpu?: GpuLimits;
  /** Load averages over one minute: above 0 at the start, others are using the machine. */
  readonly load: { readonly before: number; readonly after: number };
}

/** Larger than any cache of the machines that this runs on, small enough for a worker each. */
const READ_BYTES = 2 ** 28;
const ROUNDS = 20_000_000;
const TRIES = 7;

/** Describes the machine and measures its limits, at one thread and at `threads`. */
export async function measureMachine(threads: number): Promise<Omit<Machine, "load">> {
  const fused = WebAssembly.validate(await limitsModule("limits-relaxed.wasm"));
  const wasm = await limitsModule(fused ? "limits-relaxed.wasm" : "limits.wasm");
  const limits: Limits[] = [];
  for (const count of new Set([1, threads])) limits.push(await measureLimits(wasm, count));
  const [cpu] = cpus();
  return {
    cpu: cpu.model.trim(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release().split(".").slice(0, 2).join(".")}`,
    node: process.version,
    method: `WebAssembly SIMD, 128 bits, ${fused ? "" : "no "}fused multiply-add, best of 7: reading 256 MiB a thread, and twelve chains of x·m + s on four f32 lanes`,
    limits,
  };
}

/** The compiled loops: beside a bundled bench, which has no compiler, else compiled now. */
async function limitsModule(name: LimitsName): Promise<BufferSource> {
  try {
    return new Uint8Array(await readFile(new URL(name, import.meta.url)));
  } catch {
    const { compileLimits } = await import("./assembly/build.mjs");
    return new Uint8Array(await compileLimits(name));
  }
}

/** A name for files: the GPU where one computed, else the CPU and its cores. */
export function machineName({ cpu, cores, gpu }: Pick<Machine, "cpu" | "cores" | "gpu">): string {
  const words = (gpu?.device ?? cpu).toLowerCase().replace(/\(r\)|\(tm\)|\(.*?\)|processor|cpu|@.*$/g, "");
  const name = words.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return gpu ? name : `${name}-${cores}-cores`;
}

export function oneMinuteLoad(): number {
  return loadavg()[0];
}

/** Runs in a worker: plain JavaScript, since a worker does not inherit the loader of TypeScript everywhere. */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
const memory = new WebAssembly.Memory({ initial: workerData.bytes / 65536 + 1 });
new Uint8Array(memory.buffer).fill(1);
const { read, multiplyAdd } = new WebAssembly.Instance(new WebAssembly.Module(workerData.wasm), {
  env: { memory },
}).exports;
read(65536, 65536, 1000);
multiplyAdd(100000, 0.5, 1);
parentPort.on("message", (what) => {
  const start = performance.now();
  if (what === "read") read(65536, workerData.bytes, 1);
  else multiplyAdd(workerData.rounds, 0.5, 1);
  parentPort.postMessage(performance.now() - start);
});
parentPort.postMessage("ready");
`;

async function measureLimits(wasm: BufferSource, threads: number): Promise<Limits> {
  const workers = Array.from(
    { length: threads },
    () => new Worker(WORKER, { eval: true, workerData: { wasm, bytes: READ_BYTES, rounds: ROUNDS } }),
  );
  const next = (worker: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", (message) => {
        worker.off("error", reject);
        resolve(message);
      });
    });
  try {
    await Promise.all(workers.map(next));
    // All together take as long as the slowest.
    const slowest = async (what: string): Promise<number> => {
      const answers = workers.map(async (worker) => {
        const answer = next(worker);
        worker.postMessage(what);
        return Number(await answer);
      });
      return Math.max(...(await Promise.all(answers))) / 1000;
    };
    let [read, multiply] = [Infinity, Infinity];
    for (let i = 0; i < TRIES; i++) {
      read = Math.min(read, await slowest("read"));
      multiply = Math.min(multiply, await slowest("multiplyAdd"));
    }
    return {
      threads,
      gigabytesPerSecond: (threads * READ_BYTES) / read / 1e9,
      gigaflopsPerSecond: (threads * ROUNDS * 96) / multiply / 1e9,
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
