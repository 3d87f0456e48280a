/** What a job is given and gives back. */
import type { Activations, Backend, DeviceActivations } from "sparseprobe";
import { createBackend } from "sparseprobe/node";
import type { CompareOptions, Contender, RatioGoal, Run } from "./compare.ts";
import type { DataFiles } from "./data.ts";
import { forgetPeak, peakBytes } from "./peak-memory.ts";
import type { TaskResult } from "./results.ts";
import type { Rival } from "./rival.ts";

/** What ours computes on. */
export type OurKind = "cpu" | "webgpu";

export interface JobContext extends CompareOptions {
  readonly files: DataFiles;
  readonly kind: OurKind;
  /** Never empty; the first computes with the fewest threads. */
  readonly ours: readonly OurBackend[];
  readonly rivals: readonly Rival[];
}

export type Job = (context: JobContext) => Promise<TaskResult[]>;

/** The library's backend at a number of threads, or why there is none. */
export interface OurBackend {
  /** For a GPU: the threads of the rivals that it is compared with. */
  readonly threads: number;
  readonly backend: Backend;
  readonly unavailable?: { readonly status: "not available"; readonly why: string };
}

/** One backend per number of threads; those that the library cannot serve here say so. */
export async function openOurs(kind: OurKind, threadCounts: readonly number[]): Promise<OurBackend[]> {
  const opened: OurBackend[] = [];
  for (const threads of threadCounts) {
    const backend = await createBackend(kind, { threads });
    const got = backend.info.threads;
    const why = `the cpu backend computes with ${got} ${got === 1 ? "thread" : "threads"} here`;
    const short = kind === "cpu" && got !== threads;
    opened.push({ threads, backend, ...(short && { unavailable: { status: "not available", why } }) });
  }
  return opened;
}

/** A matrix in the memory of every backend of ours, as rivals hold theirs: nothing is copied there while they are timed. */
export class Placed {
  readonly #held = new Map<Backend, { readonly own: Activations; readonly device: DeviceActivations }>();

  static async in({ ours }: Pick<JobContext, "ours">, x: Activations): Promise<Placed> {
    const placed = new Placed();
    for (const { backend, unavailable } of ours) {
      if (unavailable) continue;
      const options = { dtype: x.dtype, ...(x.code && { code: x.code }) };
      const own = await backend.allocate(x.rows, x.neurons, options);
      own.data.set(x.data);
      placed.#held.set(backend, { own, device: await backend.upload(own) });
    }
    return placed;
  }

  of(backend: Backend): DeviceActivations {
    return this.#held.get(backend)!.device;
  }

  async release(): Promise<void> {
    for (const [backend, { own, device }] of this.#held) {
      device.dispose();
      await backend.release(own);
    }
    this.#held.clear();
  }
}

/** Times a call of ours with its peak memory. */
export async function timeOurs(call: () => Promise<unknown>): Promise<Required<Run>> {
  forgetPeak();
  const start = performance.now();
  await call();
  return { seconds: (performance.now() - start) / 1000, peakBytes: peakBytes() };
}

/** Goals that differ between the CPU and a GPU. */
export function goalsFor(
  { kind }: Pick<JobContext, "kind">,
  goals: Readonly<Partial<Record<OurKind, readonly RatioGoal[]>>>,
): readonly RatioGoal[] {
  return goals[kind] ?? [];
}

/** Our contenders for one task, one per backend. */
export function ourContenders(
  { ours, kind }: Pick<JobContext, "ours" | "kind">,
  task: {
    /** After "sparseprobe, ", where there is more than one way to call it. */
    readonly variant?: string;
    readonly whole?: boolean;
    readonly note?: string;
    verify(backend: Backend): Promise<string>;
    run(backend: Backend, items: number): Promise<unknown>;
  },
): Contender[] {
  return ours.map(({ threads, backend, unavailable }) => ({
    name: task.variant === undefined ? "sparseprobe" : `sparseprobe, ${task.variant}`,
    side: "ours",
    backend: backend.info.kind,
    threads,
    ...(kind === "webgpu" && { on: "gpu" as const }),
    ...(task.whole && { whole: true }),
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
    readonly on?: "gpu";
    readonly once?: boolean;
    readonly whole?: boolean;
    readonly note?: string;
    readonly gigaflopsPerSecond?: (process: Rival) => number | undefined;
    verify(process: Rival): Promise<string>;
    run(process: Rival, items: number): Promise<Run>;
  },
): Contender[] {
  return rivals.map((process) => {
    const unavailable = process.unavailable(...rival.packages);
    const limit = rival.gigaflopsPerSecond?.(process);
    let verified: Run | undefined;
    return {
      name: rival.name,
      side: "rival",
      backend: rival.packages.map((name) => `${name} ${process.versions[name] ?? "-"}`).join(", "),
      threads: process.threads,
      ...(rival.on && { on: rival.on }),
      ...(rival.once && { once: true }),
      ...(rival.whole && { whole: true }),
      ...(unavailable && { unavailable }),
      ...(rival.note !== undefined && { note: rival.note }),
      ...(limit !== undefined && { gigaflopsPerSecond: limit }),
      verify: async () => {
        const said = await rival.verify(process);
        verified = process.last;
        return said;
      },
      run: (items) => (rival.once ? Promise.resolve(verified!) : rival.run(process, items)),
    };
  });
}

/** Rivals that compute in PyTorch: on the host, and beside a GPU of ours on the same GPU. */
export function torchContenders(
  context: Pick<JobContext, "rivals" | "kind">,
  rival: {
    readonly name: string;
    /** Besides PyTorch. */
    readonly packages?: readonly string[];
    readonly whole?: boolean;
    readonly note?: string;
    /** Of the host's processor. */
    readonly gigaflopsPerSecond?: (process: Rival) => number | undefined;
    verify(process: Rival, device: string): Promise<string>;
    run(process: Rival, items: number, device: string): Promise<Run>;
  },
): Contender[] {
  const of = (device: "cpu" | "cuda"): Contender[] =>
    rivalContenders(context, {
      name: torchName(rival.name, device),
      ...(rival.whole && { whole: true }),
      ...(rival.note !== undefined && { note: rival.note }),
      ...(device === "cpu" && rival.gigaflopsPerSecond && { gigaflopsPerSecond: rival.gigaflopsPerSecond }),
      packages: ["torch", ...(rival.packages ?? []), ...(device === "cuda" ? ["CUDA"] : [])],
      ...(device === "cuda" && { on: "gpu" as const }),
      verify: (process) => rival.verify(process, device),
      run: (process, items) => rival.run(process, items, device),
    });
  return context.kind === "webgpu" ? [...of("cpu"), ...of("cuda")] : of("cpu");
}

export function torchName(name: string, device: "cpu" | "cuda"): string {
  return device === "cuda" ? `PyTorch ${name}, same GPU` : `PyTorch ${name}`;
}
