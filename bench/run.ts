/** `npm run bench`: verifies, times and judges the jobs beside their rivals, prints a table and writes the results. */
import { execFileSync, fork } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeData, type DataFiles } from "./data.ts";
import { measureGpu, type GpuLimits } from "./gpu.ts";
import { machineName, measureMachine, oneMinuteLoad } from "./machine.ts";
import { floorsFrom, QUICK_SIZES, readFloors, runQuick, writeFloors, type QuickResult } from "./quick.ts";
import { SCHEMA, type BenchResults, type TaskResult } from "./results.ts";
import { Rival } from "./rival.ts";
import type { JobAnswer, JobName, JobRequest } from "./run-job.ts";
import { renderText } from "./table.ts";

const HELP = `Times the library beside its rivals, in one run, after verifying every result.

  npm run bench -- [options]

  --jobs J1,J2        which jobs (default all; on a GPU those with goals for one)
                        J1   class moments, 1 feature, from f32, f16 and u8
                        J1b  class moments, 64 features
                        J2   2,048 supports of each size k = 1 … 64
                        J3   dense L2 probe
                        J4   a probe and the AUC of every neuron
                        J5   texts to probes, with the bundled model
                        J6   how time and memory grow
                        J7   capture, tokens a second: the bundled model, and layers as wide as Pythia-70M's
  --backend KIND      what ours computes on: cpu (default) or webgpu; beside a GPU, rivals get all --threads, and PyTorch
                      runs on the same GPU where it has CUDA. A GPU emulated in software is verified and not timed
  --threads N         threads to compare at: on the cpu beside 1 (default 2), on a GPU alone (default all cores)
  --rows N            rows of the activations (default 20000)
  --neurons N         neurons (default 8192)
  --rounds N          runs of every contender at most (default 5)
  --run-seconds S     seconds that one run of many items may take; items are timed in part (default 2)
  --python PATH       Python with the packages of bench/rivals/requirements.txt
                      (default $SPARSEPROBE_BENCH_PYTHON, else python3); what is missing is said in the table
  --note TEXT         recorded with the results, e.g. what else the machine was doing
  --out FILE          results as JSON (default bench/results/<machine>.json, only when all jobs run at full size)
  --quick             small sizes without Python: ratios to plain loops, fails under bench/quick-floors.json
  --set-floors N      runs quick mode N times and writes half of the lowest ratios as bench/quick-floors.json
  --help              this text
`;

const NAMES: readonly JobName[] = ["J1", "J1b", "J2", "J3", "J4", "J5", "J6", "J7"];
/** Those with goals for a GPU, and the whole path. */
const GPU_JOBS: ReadonlySet<JobName> = new Set(["J1", "J1b", "J2", "J4", "J5", "J7"]);
/** Those that do not read the matrix that is made for the others. */
const OWN_DATA: ReadonlySet<JobName> = new Set(["J5", "J6", "J7"]);
const FULL = { rows: 20_000, neurons: 8_192 };
const here = import.meta.dirname;

class UsageError extends Error {}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      jobs: { type: "string" },
      backend: { type: "string", default: "cpu" },
      threads: { type: "string" },
      rows: { type: "string", default: String(FULL.rows) },
      neurons: { type: "string", default: String(FULL.neurons) },
      rounds: { type: "string", default: "5" },
      "run-seconds": { type: "string", default: "2" },
      python: { type: "string", default: process.env["SPARSEPROBE_BENCH_PYTHON"] ?? "python3" },
      note: { type: "string" },
      out: { type: "string" },
      quick: { type: "boolean", default: false },
      "set-floors": { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values["set-floors"] !== undefined) {
    const runs: QuickResult[][] = [];
    for (let left = count("set-floors", values["set-floors"]); left > 0; left--) {
      const results = await runQuick(QUICK_SIZES, {}, () => undefined);
      for (const { name, ratio } of results)
        console.log(`${name}: ${ratio.toFixed(2)} × the plain loop's speed`);
      runs.push(results);
    }
    await writeFloors(floorsFrom(runs));
    return;
  }
  if (values.quick) {
    const results = await runQuick(QUICK_SIZES, await readFloors(), console.log);
    if (values.out !== undefined) await save(values.out, results);
    const failed = results.filter(({ passed }) => !passed);
    if (failed.length > 0) {
      throw new UsageError(
        `Slower than allowed: ${failed.map(({ name }) => name).join("; ")}. Run it again on a quiet machine; if it stays, ` +
          "a change has cost speed.",
      );
    }
    return;
  }
  const kind = values.backend;
  if (kind !== "cpu" && kind !== "webgpu") {
    throw new UsageError(`--backend is ${kind}: use cpu or webgpu.`);
  }
  const names = NAMES.filter((name) => kind === "cpu" || GPU_JOBS.has(name));
  const jobs = (values.jobs ?? names.join(",")).split(",").map((name) => {
    const job = NAMES.find((known) => known === name);
    if (!job) throw new UsageError(`There is no job ${name}: use ${NAMES.join(", ")}.`);
    return job;
  });
  const threads = count("threads", values.threads ?? String(kind === "cpu" ? 2 : availableParallelism()));
  const sizes = { rows: count("rows", values.rows), neurons: count("neurons", values.neurons) };
  const rounds = count("rounds", values.rounds);
  const runSeconds = Number(values["run-seconds"]);
  if (!(runSeconds > 0))
    throw new UsageError(`--run-seconds is ${values["run-seconds"]}: give seconds above 0.`);

  const before = oneMinuteLoad();
  console.log("Measuring the machine's limits …");
  const measured = await measureMachine(threads);
  for (const limit of measured.limits) {
    console.log(
      `  ${limit.threads} thread(s): ${limit.gigabytesPerSecond.toFixed(1)} GB/s, ${limit.gigaflopsPerSecond.toFixed(1)} GFLOP/s`,
    );
  }
  const gpu = kind === "webgpu" ? await gpuLimits(values.python, threads) : undefined;
  const folder = await mkdtemp(join(tmpdir(), "sparseprobe-bench-"));
  // A gigabyte or two is not left behind by Ctrl-C.
  process.once("SIGINT", () => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  });
  try {
    const matrixJobs = jobs.some((job) => !OWN_DATA.has(job));
    if (matrixJobs) console.log(`Making ${sizes.rows} × ${sizes.neurons} activations …`);
    const files: DataFiles = matrixJobs
      ? await writeData(folder, sizes)
      : { ...sizes, folder, x: join(folder, "x.npy"), labels: join(folder, "labels.npy") };
    const tasks: TaskResult[] = [];
    let device = "";
    let ourThreads: readonly number[] = [];
    let rivals: Record<string, string> = {};
    for (const job of jobs) {
      const answer = await runJobProcess({
        job,
        kind,
        files,
        limits: measured.limits,
        ...(gpu && { gpuLimits: gpu }),
        threadCounts: kind === "cpu" ? [...new Set([1, threads])] : [threads],
        python: values.python,
        rounds,
        runSeconds,
      });
      tasks.push(...answer.tasks);
      ({ device, threads: ourThreads } = answer);
      rivals = { ...rivals, ...answer.rivals };
    }
    // A bundled bench carries the commit that it was made from, as a published package does.
    const { version, gitHead } = JSON.parse(await readFile(join(here, "../package.json"), "utf8")) as {
      version: string;
      gitHead?: string;
    };
    const results: BenchResults = {
      schema: SCHEMA,
      date: new Date().toISOString().slice(0, 10),
      version,
      commit: gitHead ?? commit(),
      machine: { ...measured, ...(gpu && { gpu }), load: { before, after: oneMinuteLoad() } },
      ours: { backend: kind, device, threads: ourThreads },
      rivals,
      ...(values.note !== undefined && { note: values.note }),
      tasks,
    };
    console.log(renderText(results));
    const complete =
      jobs.length === names.length &&
      sizes.rows === FULL.rows &&
      sizes.neurons === FULL.neurons &&
      gpu?.software !== true;
    const name = machineName({ ...measured, ...(gpu && { gpu }) });
    const out = values.out ?? (complete ? join(here, `results/${name}.json`) : undefined);
    if (out !== undefined) {
      await save(out, results);
      console.log(`Written: ${out}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runJobProcess(request: JobRequest): Promise<JobAnswer> {
  return new Promise((done, fail) => {
    const script = import.meta.url.endsWith(".ts") ? "run-job.ts" : "run-job.mjs";
    const child = fork(fileURLToPath(new URL(script, import.meta.url)), { serialization: "json" });
    let answer: JobAnswer | undefined;
    child.once("message", (message) => (answer = message as JobAnswer));
    child.once("error", fail);
    child.once("exit", (code) => {
      if (answer) done(answer);
      else fail(new Error(`${request.job} stopped with code ${code}.`));
    });
    child.send(request);
  });
}

/** Measures the GPU and says what it is. */
async function gpuLimits(python: string, threads: number): Promise<GpuLimits> {
  const rival = await Rival.start(python, threads, { cuda: true });
  try {
    const limits = await measureGpu(rival);
    console.log(`  ${limits.device}: copies ${limits.gigabytesPerSecond.toFixed(1)} GB/s (${limits.method})`);
    if (limits.software) {
      console.log(
        "  This GPU is emulated in software: results are verified, and no time of ours is recorded.",
      );
    }
    return limits;
  } finally {
    rival.close();
  }
}

function count(name: string, value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new UsageError(`--${name} is ${value}: give a whole number of at least 1.`);
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: here, encoding: "utf8" }).trim();
  } catch {
    return "unknown commit";
  }
}

async function save(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(resolve(path)), { recursive: true });
  await writeFile(path, `${JSON.stringify(value, null, 1)}\n`);
}

try {
  await main();
} catch (error) {
  const expected =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
  console.error(expected === true ? `Error: ${(error as Error).message}` : error);
  process.exitCode = 1;
}
