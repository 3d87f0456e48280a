/** Verifies contenders, then times them in turns. */
import type { GpuLimits } from "./gpu.ts";
import type { Limits } from "./machine.ts";
import type { Entry, GoalResult, Profile, TaskResult } from "./results.ts";

/** Wall time of one run and the process's peak memory in it. */
export interface Run {
  readonly seconds: number;
  readonly peakBytes?: number;
}

/** Results that do not hold: the contender is not timed. */
export class WrongAnswerError extends Error {
  override readonly name: string = "WrongAnswerError";
}

/** Nothing is wrong, but it cannot be waited for: the contender is not timed. */
export class SkippedError extends Error {
  override readonly name: string = "SkippedError";
}

export interface Contender {
  readonly name: string;
  readonly side: "ours" | "rival";
  readonly backend: string;
  readonly threads: number;
  /** Given when a GPU computes. */
  readonly on?: "gpu";
  /** Its run takes so long that it is timed once, while it is verified. */
  readonly once?: boolean;
  /** Does all items whatever it is asked for. */
  readonly whole?: boolean;
  /** Why it cannot run; it then appears in the table with this reason. */
  readonly unavailable?: {
    readonly status: "not installed" | "not available" | "skipped";
    readonly why: string;
  };
  readonly note?: string;
  /** Its own limit of multiply-adds, where it uses wider vectors than the machine's limits were measured with. */
  readonly gigaflopsPerSecond?: number;
  /** Says how far its results are from the truth. @throws WrongAnswerError when that is too far, SkippedError */
  verify(): Promise<string>;
  /** Does `items` of the task's items. */
  run(items: number): Promise<Run>;
}

export interface RatioGoal {
  /** Ours is to be at least this many times faster. */
  readonly times: number;
  /** Than which contenders: the fastest of these names. */
  readonly rivals: readonly string[];
  /** How the goal names them. */
  readonly text: string;
}

export interface Task {
  readonly job: string;
  readonly task: string;
  readonly size: Readonly<Record<string, number>>;
  /** Units that the task consists of and that may be timed in part; default 1. */
  readonly items?: number;
  readonly itemName?: string;
  /** Bytes of X that must be read once for the whole task, and operations where they can be told. */
  readonly bytes?: number;
  readonly flops?: number;
  /** What bounds the task, for the share of the limit. */
  readonly boundBy?: "reading" | "multiplying";
  readonly contenders: readonly Contender[];
  readonly goals?: readonly RatioGoal[];
  /** Least share of the limit, and what the limit is called. */
  readonly limitGoal?: { readonly share: number; readonly text: string };
  readonly note?: string;
}

export interface CompareOptions {
  readonly limits: readonly Limits[];
  readonly gpuLimits?: GpuLimits;
  /** The GPU is emulated on the CPU: ours are verified and run once, and their times thrown away. */
  readonly softwareGpu?: boolean;
  /** Says where a call's time goes; asked about runs of ours that missed a goal. */
  readonly profile?: (call: () => Promise<unknown>) => Promise<Omit<Profile, "threads">>;
  /** Seconds that one contender may take for one run; tasks of many items are timed in part to stay within. */
  readonly runSeconds: number;
  /** Rounds at most; a task ends earlier when its rounds have taken 10 × `runSeconds`. */
  readonly rounds: number;
  readonly log: (line: string) => void;
}

const SOFTWARE_GPU = "verified only: the GPU is emulated in software, whose times say nothing about a GPU";

/** One task: verify, choose how many items to time, time in turns, judge the goals. */
export async function compare(task: Task, options: CompareOptions): Promise<TaskResult> {
  const { items = 1 } = task;
  options.log(`${task.job} ${task.task}`);
  const judged: { contender: Contender; entry: Entry; timedItems: number; runs: Run[] }[] = [];
  for (const contender of task.contenders) {
    const { name, side, backend, threads, on, unavailable, note } = contender;
    const base = { name, side, backend, threads, ...(on && { on }), ...(note !== undefined && { note }) };
    let entry: Entry;
    if (unavailable) {
      entry = { ...base, status: unavailable.status, note: unavailable.why };
    } else {
      try {
        entry = { ...base, status: "timed", check: await contender.verify() };
      } catch (error) {
        const skipped = error instanceof SkippedError;
        if (!skipped && !(error instanceof WrongAnswerError)) throw error;
        entry = { ...base, status: skipped ? "skipped" : "wrong", note: error.message };
      }
    }
    options.log(`  ${name}, ${threads} thread(s): ${entry.check ?? `${entry.status}: ${entry.note ?? ""}`}`);
    judged.push({ contender, entry, timedItems: items, runs: [] });
  }
  // Where our own answer is wrong there is nothing to compare.
  const refused = judged.some(({ entry }) => entry.side === "ours" && entry.status === "wrong");
  const timed = refused ? [] : judged.filter(({ entry }) => entry.status === "timed");
  for (const one of timed) {
    if (items === 1 || one.contender.whole === true) continue;
    one.timedItems = await itemsFor(one.contender, items, options.runSeconds);
  }
  const start = performance.now();
  for (let round = 0; round < options.rounds; round++) {
    for (const { contender, timedItems, runs } of timed) {
      if (round === 0 || contender.once !== true) runs.push(await contender.run(timedItems));
    }
    if (round > 0 && performance.now() - start > 10_000 * options.runSeconds) break;
  }
  const entries = judged.map(({ contender, entry, timedItems, runs }): Entry => {
    if (runs.length > 0) {
      if (options.softwareGpu && entry.side === "ours")
        return { ...entry, status: "verified", note: SOFTWARE_GPU };
      return withTimes(entry, task, options, contender, timedItems, runs);
    }
    if (!refused || entry.status !== "timed") return entry;
    return { ...entry, status: "skipped", note: "our own answer is wrong" };
  });
  for (const entry of entries) {
    if (entry.seconds)
      options.log(`  ${entry.name}, ${entry.threads}: ${entry.seconds.minimum.toPrecision(3)} s`);
  }
  const goals = judgeGoals(task, entries);
  const profiles: Profile[] = [];
  for (const { contender, entry, timedItems } of firstOfOurs(judged)) {
    const missed = goals.some(
      ({ threads, met, reached }) => threads === entry.threads && !met && reached !== null,
    );
    if (!missed || !options.profile) continue;
    const profile = await options.profile(() => contender.run(timedItems));
    profiles.push({ threads: entry.threads, ...profile });
  }
  return {
    job: task.job,
    task: task.task,
    size: task.size,
    items,
    itemName: task.itemName ?? "run",
    entries,
    goals,
    ...(profiles.length > 0 && { profiles }),
    ...(task.note !== undefined && { note: task.note }),
  };
}

/** By number of threads, the contender of ours that goals are about. */
function firstOfOurs<T extends { readonly entry: Entry }>(judged: readonly T[]): T[] {
  const ours = judged.filter(({ entry }) => entry.side === "ours");
  return ours.filter(({ entry }, at) => ours.findIndex((one) => one.entry.threads === entry.threads) === at);
}

/** How many items take about `runSeconds`, found from ever larger parts: few say little where many are done at once. */
async function itemsFor(contender: Contender, items: number, runSeconds: number): Promise<number> {
  let tried = Math.min(items, 4);
  await contender.run(tried);
  for (;;) {
    const { seconds } = await contender.run(tried);
    const affordable = Math.floor((runSeconds * tried) / seconds);
    if (tried === items || seconds > runSeconds / 8) return Math.min(items, Math.max(tried, affordable));
    tried = Math.min(items, 8 * tried);
  }
}

function withTimes(
  entry: Entry,
  task: Task,
  { limits, gpuLimits }: CompareOptions,
  { gigaflopsPerSecond: ownLimit }: Contender,
  timedItems: number,
  runs: readonly Run[],
): Entry {
  const { items = 1 } = task;
  const seconds = runs.map((run) => (run.seconds * items) / timedItems).sort((a, b) => a - b);
  const middle = seconds.length >> 1;
  const median = seconds.length % 2 === 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  const [minimum] = seconds;
  const peaks = runs.flatMap(({ peakBytes }) => peakBytes ?? []);
  const limit = entry.on ? gpuLimits : limits.find(({ threads }) => threads === entry.threads);
  const bytes = task.bytes === undefined ? undefined : task.bytes / minimum / 1e9;
  const flops = task.flops === undefined ? undefined : task.flops / minimum / 1e9;
  const most = ownLimit ?? limit?.gigaflopsPerSecond;
  const share =
    task.boundBy === "reading"
      ? limit && bytes !== undefined && bytes / limit.gigabytesPerSecond
      : most !== undefined && flops !== undefined && flops / most;
  return {
    ...entry,
    seconds: { minimum, median, runs: runs.length },
    ...(timedItems < items && { timedItems }),
    ...(bytes !== undefined && { gigabytesPerSecond: bytes }),
    ...(flops !== undefined && { gigaflopsPerSecond: flops }),
    ...(typeof share === "number" && { shareOfLimit: share }),
    ...(peaks.length > 0 && { peakBytes: Math.max(...peaks) }),
  };
}

/** Every goal at every number of threads that somebody ran with. */
function judgeGoals(task: Task, entries: readonly Entry[]): GoalResult[] {
  const results: GoalResult[] = [];
  const threadCounts = [...new Set(entries.map(({ threads }) => threads))].sort((a, b) => a - b);
  for (const threads of threadCounts) {
    const ours = entries.find((entry) => entry.side === "ours" && entry.threads === threads);
    const timed = ours?.seconds && ours;
    const noOurs = ours?.note ?? "not measured";
    for (const goal of task.goals ?? []) {
      const times = entries.flatMap((entry) =>
        entry.threads === threads && goal.rivals.includes(entry.name) ? (entry.seconds?.minimum ?? []) : [],
      );
      const reached = timed?.seconds && times.length > 0 ? Math.min(...times) / timed.seconds.minimum : null;
      results.push({
        text: `at least ${goal.times} × ${goal.text}`,
        threads,
        reached,
        unit: "×",
        met: reached !== null && reached >= goal.times,
        ...(reached === null && { why: timed ? "the rival did not run" : noOurs }),
      });
    }
    if (task.limitGoal !== undefined) {
      const reached = timed?.shareOfLimit ?? null;
      results.push({
        text: `at least ${Math.round(100 * task.limitGoal.share)} % of ${task.limitGoal.text}`,
        threads,
        reached,
        unit: "share",
        met: reached !== null && reached >= task.limitGoal.share,
        ...(reached === null && { why: noOurs }),
      });
    }
  }
  return results;
}
