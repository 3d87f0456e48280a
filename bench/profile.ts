/** Where the time of a call goes: V8's sampling profiler on this thread and on the workers that compute for it. */
import { Session, type Debugger, type Profiler } from "node:inspector/promises";
import type { Profile } from "./results.ts";

const MICROSECONDS = 500;
/** Short calls are repeated: a few samples say nothing. */
const LEAST_MILLISECONDS = 1000;
/** Smaller shares are left out. */
const LEAST_SHARE = 0.01;
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

/** Runs the call under the profiler, for a second at least. */
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
  // Workers that only wait do not keep the process alive, and their answers are waited for.
  const alive = setInterval(() => undefined, 1000);
  try {
    await main.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    const sessions = [...workers.values()];
    for (const worker of sessions) {
      await worker.post("Profiler.enable");
      await worker.post("Profiler.setSamplingInterval", { interval: MICROSECONDS });
      await worker.post("Profiler.start");
    }
    await main.post("Profiler.enable");
    await main.post("Profiler.setSamplingInterval", { interval: MICROSECONDS });
    await main.post("Profiler.start");
    const start = performance.now();
    do await call();
    while (performance.now() - start < LEAST_MILLISECONDS);
    const { profile } = await main.post("Profiler.stop");
    const others: Profiler.Profile[] = [];
    for (const worker of sessions) {
      others.push(((await worker.post("Profiler.stop")) as Profiler.StopReturnType).profile);
    }
    return summarise(profile, others, await kernelNames(main));
  } finally {
    clearInterval(alive);
    main.disconnect();
  }
}

/** Names of exported WebAssembly functions by script and index. Asked for afterwards: a debugger slows WebAssembly down. */
async function kernelNames(main: Session): Promise<ReadonlyMap<string, string>> {
  const scripts: Debugger.ScriptParsedEventDataType[] = [];
  main.on("Debugger.scriptParsed", ({ params }) => scripts.push(params));
  await main.post("Debugger.enable");
  const names = new Map<string, string>();
  for (const { scriptId, url } of scripts.filter((script) => script.url.startsWith("wasm://"))) {
    // Node's types do not have the bytecode, which V8 sends.
    const source: Debugger.GetScriptSourceReturnType & { readonly bytecode?: string } = await main.post(
      "Debugger.getScriptSource",
      { scriptId },
    );
    const { bytecode } = source;
    if (bytecode === undefined) continue;
    for (const [index, name] of exportedFunctions(Buffer.from(bytecode, "base64"))) {
      names.set(`${url} wasm-function[${index}]`, name);
    }
  }
  await main.post("Debugger.disable");
  return names;
}

/** Function index and name from the export section of a WebAssembly module. */
function exportedFunctions(module: Uint8Array): [index: number, name: string][] {
  const EXPORTS = 7;
  const found: [number, string][] = [];
  let at = 8;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = module[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  while (at < module.length) {
    const section = module[at++];
    const end = number() + at;
    if (section === EXPORTS) {
      for (let count = number(); count > 0; count--) {
        const length = number();
        const name = new TextDecoder().decode(module.subarray(at, at + length));
        at += length;
        const isFunction = module[at++] === 0;
        const index = number();
        if (isFunction) found.push([index, name]);
      }
    }
    at = end;
  }
  return found;
}

/** The functions with the most samples of their own. */
function summarise(
  main: Profiler.Profile,
  workers: readonly Profiler.Profile[],
  kernels: ReadonlyMap<string, string>,
): Omit<Profile, "threads"> {
  const hits = new Map<string, number>();
  let busy = 0;
  for (const { nodes } of [main, ...workers]) {
    for (const { callFrame, hitCount = 0 } of nodes) {
      if (hitCount === 0 || WAITING.has(callFrame.functionName)) continue;
      const name = nameOf(callFrame, kernels);
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
    .filter(({ share }) => share >= LEAST_SHARE)
    .sort((a, b) => b.share - a.share)
    .slice(0, NAMED);
  return { parts, waiting: all === 0 ? 0 : waited / all };
}

/** The function's name; a bundled library has many functions in one file, so the file stays out. */
function nameOf(
  { functionName, url }: Profiler.ProfileNode["callFrame"],
  kernels: ReadonlyMap<string, string>,
): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url.startsWith("wasm://") ? `${kernels.get(`${url} ${name}`) ?? name} (WebAssembly)` : name;
}
