/** Where the time of a call goes: V8's sampling profiler on this thread and on the workers that compute for it. */
import { Session, type Profiler } from "node:inspector/promises";
import type { Profile } from "./results.ts";

const MICROSECONDS = 500;
/** Functions named in a profile. */
const NAMED = 8;
/** Not work: V8's names for what it samples between events, and for calls that only wait. */
const WAITING = new Set(["(idle)", "(program)", "wait", "(root)"]);

/** The inspector of one worker, reached through the main thread's session. */
class WorkerSession {
  readonly #main: Session;
  readonly #sessionId: string;
  readonly #answers = new Map<number, (result: unknown) => void>();
  #next = 1;

  constructor(main: Session, sessionId: string) {
    this.#main = main;
    this.#sessionId = sessionId;
  }

  received(text: string): void {
    const message = JSON.parse(text) as { id?: number; result?: unknown };
    if (message.id !== undefined) this.#answers.get(message.id)?.(message.result);
  }

  async post(method: string, params: object = {}): Promise<unknown> {
    const id = this.#next++;
    const answered = new Promise<unknown>((resolve) => this.#answers.set(id, resolve));
    await this.#main.post("NodeWorker.sendMessageToWorker", {
      sessionId: this.#sessionId,
      message: JSON.stringify({ id, method, params }),
    });
    return answered;
  }
}

/** Runs the call under the profiler. */
export async function profileCall(call: () => Promise<unknown>): Promise<Omit<Profile, "threads">> {
  const main = new Session();
  main.connect();
  const workers = new Map<string, WorkerSession>();
  main.on("NodeWorker.attachedToWorker", ({ params }) =>
    workers.set(params.sessionId, new WorkerSession(main, params.sessionId)),
  );
  main.on("NodeWorker.receivedMessageFromWorker", ({ params }) =>
    workers.get(params.sessionId)?.received(params.message),
  );
  try {
    await main.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    await main.post("Profiler.enable");
    await main.post("Profiler.setSamplingInterval", { interval: MICROSECONDS });
    await main.post("Profiler.start");
    const sessions = [...workers.values()];
    for (const worker of sessions) {
      await worker.post("Profiler.enable");
      await worker.post("Profiler.setSamplingInterval", { interval: MICROSECONDS });
      await worker.post("Profiler.start");
    }
    await call();
    const { profile } = await main.post("Profiler.stop");
    const others: Profiler.Profile[] = [];
    for (const worker of sessions) {
      others.push(((await worker.post("Profiler.stop")) as Profiler.StopReturnType).profile);
    }
    return summarise(profile, others);
  } finally {
    main.disconnect();
  }
}

/** The functions with the most samples of their own. */
export function summarise(
  main: Profiler.Profile,
  workers: readonly Profiler.Profile[],
): Omit<Profile, "threads"> {
  const hits = new Map<string, number>();
  let busy = 0;
  for (const { nodes } of [main, ...workers]) {
    for (const { callFrame, hitCount = 0 } of nodes) {
      if (hitCount === 0 || WAITING.has(callFrame.functionName)) continue;
      const name = nameOf(callFrame);
      hits.set(name, (hits.get(name) ?? 0) + hitCount);
      busy += hitCount;
    }
  }
  const count = (some: readonly Profiler.ProfileNode[]): number =>
    some.reduce((sum, { hitCount = 0 }) => sum + hitCount, 0);
  const all = count(main.nodes);
  const waited = count(main.nodes.filter(({ callFrame }) => WAITING.has(callFrame.functionName)));
  const parts = [...hits]
    .map(([name, own]) => ({ name, share: own / busy }))
    .sort((a, b) => b.share - a.share)
    .slice(0, NAMED);
  return { parts, waiting: all === 0 ? 0 : waited / all };
}

/** Function and file; a bundled library has many functions in one file, so the line stays out. */
function nameOf({ functionName, url }: Profiler.ProfileNode["callFrame"]): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  if (url.startsWith("wasm://")) return `${name} (WebAssembly)`;
  return name;
}
