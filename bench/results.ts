/** The form of committed results: `bench/results/*.json`. */
import type { Machine } from "./machine.ts";

export const SCHEMA = "sparseprobe-bench/1";

/** How one contender did at one task. */
export interface Entry {
  readonly name: string;
  readonly side: "ours" | "rival";
  /** What computed: "cpu" or "webgpu" for ours, the packages for a rival. */
  readonly backend: string;
  readonly threads: number;
  /** Present where a GPU computed; `threads` are then those of its rivals on the host. */
  readonly on?: "gpu";
  /** "verified": right, and not timed, since the GPU is emulated in software. */
  readonly status: "timed" | "verified" | "not installed" | "not available" | "wrong" | "skipped";
  /** Why it was not timed, or what to know about the time. */
  readonly note?: string;
  /** What was found when its results were verified. */
  readonly check?: string;
  /** Seconds for the whole task, scaled up where `timedItems` is below the task's `items`. */
  readonly seconds?: { readonly minimum: number; readonly median: number; readonly runs: number };
  /** Items timed of the task's `items`. */
  readonly timedItems?: number;
  readonly gigabytesPerSecond?: number;
  readonly gigaflopsPerSecond?: number;
  /** Of the limit of the machine at as many threads, or of its GPU: bandwidth where the task is bound by reading, else multiply-adds. */
  readonly shareOfLimit?: number;
  /** Peak resident memory of the process, its copy of the data included. */
  readonly peakBytes?: number;
}

/** A goal and whether it was reached; `reached` is null where nothing could be measured. */
export interface GoalResult {
  readonly text: string;
  readonly threads: number;
  readonly reached: number | null;
  readonly unit: "×" | "share" | "exponent";
  readonly met: boolean;
  readonly why?: string;
}

/** Where the time of one run of ours went. */
export interface Profile {
  readonly threads: number;
  /** Share of the busy samples of all threads by function, largest first; the small ones are left out. */
  readonly parts: readonly { readonly name: string; readonly share: number }[];
  /** Share of the main thread's samples in which it only waited. */
  readonly waiting: number;
}

/** One task of a job. */
export interface TaskResult {
  readonly job: string;
  readonly task: string;
  readonly size: Readonly<Record<string, number>>;
  /** What `seconds` are for, e.g. 2,048 fits. */
  readonly items: number;
  readonly itemName: string;
  readonly entries: readonly Entry[];
  readonly goals: readonly GoalResult[];
  /** Of runs whose goal was missed. */
  readonly profiles?: readonly Profile[];
  readonly note?: string;
}

export interface BenchResults {
  readonly schema: typeof SCHEMA;
  readonly date: string;
  readonly version: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly ours: { readonly backend: string; readonly device: string; readonly threads: readonly number[] };
  /** Versions of the rivals, or why they did not run. */
  readonly rivals: Readonly<Record<string, string>>;
  /** Anything a reader must know before trusting the figures. */
  readonly note?: string;
  readonly tasks: readonly TaskResult[];
}
