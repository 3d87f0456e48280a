/** J6: how time and memory grow as rows, neurons, features and support sizes each double. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createBackend } from "sparseprobe/node";
import type { Backend, DeviceActivations, LabelMatrix } from "sparseprobe";
import { generator, labelMatrix, makeActivations, makeLabels, type Sizes } from "./data.ts";
import type { JobContext } from "./job.ts";
import { FIT } from "./logistic-supports.bench.ts";
import { forgetPeak, peakBytes, residentBytes } from "./peak-memory.ts";
import type { Entry, GoalResult, TaskResult } from "./results.ts";

/** Growth of time per doubling that counts as linear, with room for noise. */
const LINEAR = 1.1;
const MEMORY = 1.3;

/** What a call may take whatever its size: compiled code, garbage not yet collected, scratch of the threads. */
const FIXED = 32 * 2 ** 20;

/** Columns that `fitSingleNeurons` holds as f32 at once. */
const PANELS = 96 * 2 ** 20;

const ROUNDS = 5;

interface Case {
  readonly size: Sizes & { readonly features: number; readonly k: number };
  /** Bytes beyond X that the call is stated to need, and in words. */
  readonly working: number;
  readonly stated: string;
  run(backend: Backend, x: DeviceActivations, labels: LabelMatrix): Promise<unknown>;
}

type Make = (scale: number, base: Sizes) => Case;

function moments(rows: number, neurons: number, features: number): Case {
  return {
    size: { rows, neurons, features, k: 0 },
    working: 3 * 8 * neurons * 3 * features,
    stated: "three times the results",
    run: (backend, x, labels) => backend.classMoments(x, labels, { squares: "within" }),
  };
}

function fits(rows: number, neurons: number, k: number): Case {
  const count = 16;
  return {
    size: { rows, neurons, features: 1, k },
    working: 2 * 4 * rows * Math.min(neurons, count * k),
    stated: "the supports' columns twice",
    run: (backend, x, labels) => {
      const next = generator(3);
      const problems = Array.from({ length: count }, () => ({
        feature: 0,
        support: Uint32Array.from(
          Array.from({ length: neurons }, (_, j) => [next(), j])
            .sort((a, b) => a[0] - b[0])
            .slice(0, k)
            .map(([, j]) => j),
        ),
      }));
      return backend.fitLogistic(x, labels, problems, FIT);
    },
  };
}

function singleNeurons(rows: number, neurons: number): Case {
  return {
    size: { rows, neurons, features: 1, k: 1 },
    working: 3 * 8 * neurons * 5 + Math.min(4 * rows * neurons, PANELS),
    stated: "three times the results and 96 MiB of columns at most",
    run: (backend, x, labels) => backend.fitSingleNeurons(x, labels, FIT),
  };
}

const AXES: readonly { readonly name: string; readonly make: Make; readonly power: number }[] = [
  { name: "class moments, rows", make: (s, b) => moments(b.rows * s, b.neurons, 1), power: 1 },
  { name: "class moments, neurons", make: (s, b) => moments(b.rows, b.neurons * s, 1), power: 1 },
  { name: "class moments, features", make: (s, b) => moments(b.rows, b.neurons, 16 * s), power: 1 },
  { name: "a probe of every neuron, rows", make: (s, b) => singleNeurons(b.rows * s, b.neurons), power: 1 },
  {
    name: "a probe of every neuron, neurons",
    make: (s, b) => singleNeurons(b.rows, b.neurons * s),
    power: 1,
  },
  { name: "16 fits, rows", make: (s, b) => fits(b.rows * s, b.neurons, 8), power: 1 },
  // A Hessian has k² entries: linear in the columns is not to be had, k² is the bound.
  { name: "16 fits, k", make: (s, b) => fits(b.rows, b.neurons, 8 * s), power: 2 },
];

const SCALES = [1, 2, 4];

export async function scaling(context: JobContext): Promise<TaskResult[]> {
  // A quarter of X at first, so that the largest is as large as X.
  const base = {
    rows: Math.max(64, Math.floor(context.files.rows / 4)),
    neurons: Math.max(128, Math.floor(context.files.neurons / 4)),
  };
  const results: TaskResult[] = [];
  for (const axis of AXES) {
    context.log(`J6 ${axis.name}`);
    const measured: Measured[] = [];
    for (const scale of SCALES) {
      const one = await measure(context, axis.make(scale, base));
      context.log(
        `  × ${scale}: ${one.seconds[0].toPrecision(3)} s, ${one.share.toFixed(2)} of the memory stated`,
      );
      measured.push(one);
    }
    const { threads } = measured[0].entry;
    const growth = Math.log2(measured[SCALES.length - 1].seconds[0] / measured[0].seconds[0]);
    const exponent = growth / Math.log2(SCALES[SCALES.length - 1]);
    const share = Math.max(...measured.map((one) => one.share));
    const goals: GoalResult[] = [
      {
        text: `time grows at most with the power ${axis.power} (to ${(LINEAR * axis.power).toFixed(1)})`,
        threads,
        reached: exponent,
        unit: "exponent",
        met: exponent <= LINEAR * axis.power,
      },
      {
        text: `peak memory at most ${MEMORY} × the stated bound`,
        threads,
        reached: share,
        unit: "×",
        met: share <= MEMORY,
      },
    ];
    const entries = measured.map(({ entry }) => entry);
    results.push({ job: "J6", task: axis.name, size: base, items: 1, itemName: "run", entries, goals });
  }
  return results;
}

interface Measured {
  readonly entry: Entry;
  /** Ascending. */
  readonly seconds: readonly number[];
  /** Peak memory of the first run over what is stated, without what the process held before X. */
  readonly share: number;
}

/** In a backend of its own, whose memory no earlier case has grown. */
async function measure({ ours, kind }: JobContext, one: Case): Promise<Measured> {
  const { rows, neurons, features, k } = one.size;
  const { threads } = ours.filter(({ unavailable }) => !unavailable).at(-1)!;
  const backend = await createBackend(kind, { threads });
  const values = makeLabels(rows, 7);
  const labels = labelMatrix(values, rows, features);
  await warmUp(backend, one);
  const made = makeActivations({ rows, neurons }, values, 11);
  await settle();
  const before = residentBytes() - made.byteLength;
  const own = await backend.allocate(rows, neurons);
  own.data.set(made);
  const x = await backend.upload(own);
  const seconds: number[] = [];
  let peak = 0;
  for (let round = 0; round < ROUNDS; round++) {
    if (round === 0) forgetPeak();
    const start = performance.now();
    await one.run(backend, x, labels);
    seconds.push((performance.now() - start) / 1000);
    if (round === 0) peak = peakBytes() - made.byteLength;
  }
  x.dispose();
  await backend.release(own);
  backend.dispose();
  seconds.sort((a, b) => a - b);
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const bound = made.byteLength + one.working + FIXED;
  return {
    seconds,
    share: (peak - before) / bound,
    entry: {
      name: `${rows} × ${neurons}, ${features} features${k > 0 ? `, k = ${k}` : ""}`,
      side: "ours",
      backend: kind,
      threads,
      status: "timed",
      seconds: { minimum: seconds[0], median: seconds[ROUNDS >> 1], runs: ROUNDS },
      peakBytes: peak,
      note:
        `stated: X ${mebibytes(made.byteLength)}, ${one.stated} ${mebibytes(one.working)}, and ${mebibytes(FIXED)}; ` +
        `taken: ${mebibytes(peak - before)}`,
    },
  };
}

/** The same call on little data: code is compiled and threads are started. */
async function warmUp(backend: Backend, one: Case): Promise<void> {
  const size = { rows: 256, neurons: Math.min(one.size.neurons, 256) };
  const values = makeLabels(size.rows, 7);
  const own = await backend.allocate(size.rows, size.neurons);
  own.data.set(makeActivations(size, values, 11));
  const x = await backend.upload(own);
  const small = one.size.k > 1 ? fits(size.rows, size.neurons, Math.min(one.size.k, 8)) : one;
  await small.run(backend, x, labelMatrix(values, size.rows, one.size.features));
  x.dispose();
  await backend.release(own);
}

/** Until threads of earlier cases have ended and what is no longer used has gone: it would blur what this case takes. */
async function settle(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
