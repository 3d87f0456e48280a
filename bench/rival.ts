/** Python rivals: one long-lived process per number of threads, told over standard input what to run. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import type { Run } from "./compare.ts";

const SERVER = new URL("rivals/serve.py", import.meta.url).pathname;
const REMEDY =
  "pip install -r bench/rivals/requirements.txt && pip install --no-deps -r bench/rivals/requirements-no-deps.txt, and give " +
  "that Python with --python";

/** Variables that the BLAS and OpenMP libraries in use read when they start. */
const THREAD_VARIABLES = [
  "OMP_NUM_THREADS",
  "OPENBLAS_NUM_THREADS",
  "MKL_NUM_THREADS",
  "VECLIB_MAXIMUM_THREADS",
  "NUMEXPR_NUM_THREADS",
];

interface Answer {
  readonly ok: boolean;
  readonly error?: string;
  readonly versions?: Readonly<Record<string, string | null>>;
  readonly seconds?: number;
  readonly peakBytes?: number;
  readonly result?: unknown;
}

export interface RivalOptions {
  /** Asks PyTorch for a GPU: the version of the package "CUDA" is then its name. */
  readonly cuda?: boolean;
}

/** A Python process with `threads` threads; `missing` says why there is none. */
export class Rival {
  readonly threads: number;
  /** Version by package; null where it is not installed. */
  readonly versions: Readonly<Record<string, string | null>>;
  /** Why Python itself did not start. */
  readonly missing: string | undefined;
  /** The latest run. */
  last: Run | undefined;
  readonly #child: ChildProcessWithoutNullStreams | undefined;
  readonly #lines: AsyncIterator<string> | undefined;

  private constructor(
    threads: number,
    started: {
      child?: ChildProcessWithoutNullStreams;
      lines?: AsyncIterator<string>;
      versions?: Readonly<Record<string, string | null>>;
      missing?: string;
    },
  ) {
    this.threads = threads;
    this.versions = started.versions ?? {};
    this.missing = started.missing;
    this.#child = started.child;
    this.#lines = started.lines;
  }

  /** Starts Python. Never throws for want of it: the result then says what is missing. */
  static async start(python: string, threads: number, options: RivalOptions = {}): Promise<Rival> {
    const child = spawn(python, ["-u", SERVER, ...(options.cuda ? ["--cuda"] : [])], {
      env: {
        ...process.env,
        ...Object.fromEntries(THREAD_VARIABLES.map((name) => [name, String(threads)])),
        TOKENIZERS_PARALLELISM: threads > 1 ? "true" : "false",
        RAYON_NUM_THREADS: String(threads),
        HF_HUB_OFFLINE: "1",
      },
    });
    let complaint = "";
    child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2000)));
    const failed = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", () => resolve(complaint || "it stopped at once"));
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([failed, lines.next()]);
    if (typeof first === "string" || first.done === true) {
      const why = typeof first === "string" ? first : await failed;
      return new Rival(threads, { missing: `${python} did not start (${why.trim()}): ${REMEDY}` });
    }
    const { versions } = JSON.parse(first.value) as Answer;
    return new Rival(threads, { child, lines, versions: versions ?? {} });
  }

  /** For a contender that needs `packages`: undefined when all is there. */
  unavailable(...packages: readonly string[]): { status: "not installed"; why: string } | undefined {
    if (this.missing !== undefined) return { status: "not installed", why: this.missing };
    const absent = packages.filter((name) => !this.versions[name]);
    if (absent.length === 0) return undefined;
    if (absent.join() === "CUDA") return { status: "not installed", why: "PyTorch finds no GPU here" };
    return { status: "not installed", why: `Python lacks ${absent.join(", ")}: ${REMEDY}` };
  }

  /** The GPU that PyTorch computes on, where it was asked for and found. */
  get cuda(): string | undefined {
    return this.versions["CUDA"] ?? undefined;
  }

  /** Gives a module of `bench/rivals` its data. */
  async load(module: string, parameters: object): Promise<void> {
    // Every module needs NumPy; its contenders say so themselves.
    if (this.unavailable("numpy")) return;
    await this.#ask({ do: "load", module, parameters });
  }

  /** Runs a task of the loaded module; with `save`, its result goes to that file afterwards. */
  async run(task: string, parameters: object, save?: string): Promise<Run> {
    const { seconds, peakBytes } = await this.#ask({ do: "run", task, parameters, save });
    this.last = { seconds: seconds!, ...(peakBytes !== undefined && { peakBytes }) };
    return this.last;
  }

  /** Runs a task whose result is plain data. */
  async answer<T>(task: string, parameters: object): Promise<T> {
    return (await this.#ask({ do: "run", task, parameters, answer: true })).result as T;
  }

  close(): void {
    this.#child?.stdin.end();
  }

  async #ask(message: object): Promise<Answer> {
    this.#child!.stdin.write(`${JSON.stringify(message)}\n`);
    const line = await this.#lines!.next();
    if (line.done === true) throw new Error("The Python process of the rivals has stopped.");
    const answer = JSON.parse(line.value) as Answer;
    if (!answer.ok) throw new Error(`A rival failed:\n${answer.error}`);
    return answer;
  }
}
