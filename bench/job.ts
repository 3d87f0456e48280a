/** What a job is given and gives back. */
import type { Backend } from "sparseprobe";
import { createBackend } from "sparseprobe/node";
import type { CompareOptions, Contender } from "./compare.ts";
import type { DataFiles } from "./data.ts";
import { forgetPeak, peakBytes } from "./peak-memory.ts";
import type { TaskResult } from "./results.ts";
import type { Rival } from "./rival.ts";

export interface JobContext extends CompareOptions {
  readonly files: DataFiles;
  readonly ours: readonly OurBackend[];
  readonly rivals: readonly Rival[];
}

export type Job = (context: JobContext) => Promise<TaskResult[]>;

/** The library's backend at a number of threads, or why there is none. */
export interface OurBackend {
  readonly threads: number;
  readonly backend: Backend;
  readonly unavailable?: { readonly status: "not available"; readonly why: string };
}

/** Threads that the CPU backend can compute with. */
const CPU_THREADS = 1;

/** One backend per number of threads; those that the library cannot serve say so. */
export async function openOurs(threadCounts: readonly number[]): Promise<OurBackend[]> {
  const backend = await createBackend("cpu");
  return threadCounts.map((threads) =>
    threads <= CPU_THREADS
      ? { threads, backend }
      : {
          threads,
          backend,
          unavailable: { status: "not available", why: "the cpu backend computes on one thread" },
        },
  );
}

/** Times a call of ours with its peak memory. */
export async function timeOurs(
  call: () => Promise<unknown>,
): Promise<{ seconds: number; peakBytes: number }> {
  forgetPeak();
  const start = performance.now();
  await call();
  return { seconds: (performance.now() - start) / 1000, peakBytes: peakBytes() };
}

/** Our contenders for one task, one per backend. */
export function ourContenders(
  { ours }: Pick<JobContext, "ours">,
  task: {
    readonly note?: string;
    verify(backend: Backend): Promise<string>;
    run(backend: Backend, items: number): Promise<unknown>;
  },
): Contender[] {
  return ours.map(({ threads, backend, unavailable }) => ({
    name: "sparseprobe",
    side: "ours",
    backend: backend.info.kind,
    threads,
    ...(unavailable && { unavailable }),
    ...(task.note !== undefined && { note: task.note }),
    verify: () => task.verify(backend),
    run: (items) => timeOurs(() => task.run(backend, items)),
  }));
}

/** One rival at every number of threads. */
export function rivalContenders(
  { rivals }: Pick<JobContext, "rivals">,
  rival: {
    readonly name: string;
    readonly packages: readonly string[];
    readonly note?: string;
    verify(process: Rival): Promise<string>;
    run(process: Rival, items: number): Promise<{ seconds: number; peakBytes?: number }>;
  },
): Contender[] {
  return rivals.map((process) => {
    const unavailable = process.unavailable(...rival.packages);
    return {
      name: rival.name,
      side: "rival",
      backend: rival.packages.map((name) => `${name} ${process.versions[name] ?? "-"}`).join(", "),
      threads: process.threads,
      ...(unavailable && { unavailable }),
      ...(rival.note !== undefined && { note: rival.note }),
      verify: () => rival.verify(process),
      run: (items) => rival.run(process, items),
    };
  });
}
