/** J6: how time and memory grow as rows, neurons, features and support sizes each double. */
import type { Backend, DeviceActivations, LabelMatrix } from "sparseprobe";
import { generator, labelMatrix, makeActivations, makeLabels, type Sizes } from "./data.ts";
import type { JobContext } from "./job.ts";
import { forgetPeak, peakBytes, residentBytes } from "./peak-memory.ts";
import type { Entry, GoalResult, TaskResult } from "./results.ts";

/** Growth of time per doubling that counts as linear, with room for noise. */
const LINEAR = 1.1;
const MEMORY = 1.3;

interface Case {
  readonly size: Sizes & { readonly features: number; readonly k: number };
  /** Bytes beyond X that the call is stated to need. */
  readonly bound: number;
  run(backend: Backend, x: DeviceActivations, labels: LabelMatrix): Promise<unknown>;
}

type Make = (scale: number, base: Sizes) => Case;

/** Moments in float64 for every class, and one accumulator per joint labelling of a group of features, 64 at most a group. */
function moments(rows: number, neurons: number, features: number): Case {
  const groups = Math.ceil(features / 6);
  const patterns = Math.min(64, 2 ** Math.min(6, features));
  return {
    size: { rows, neurons, features, k: 0 },
    bound: 16 * neurons * (2 * features + groups * patterns),
    run: (backend, x, labels) => backend.classMoments(x, labels),
  };
}

/** Gathered columns in float32, and vectors and weights of a fit in float64. */
function fits(rows: number, neurons: number, k: number): Case {
  const count = 16;
  return {
    size: { rows, neurons, features: 1, k },
    bound: 4 * rows * Math.min(neurons, count * k) + 8 * 8 * rows,
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
      return backend.fitLogistic(x, labels, problems, {
        C: 1,
        balanced: true,
        tolerance: 1e-10,
        maxIterations: 100,
      });
    },
  };
}

const AXES: readonly { readonly name: string; readonly make: Make; readonly power: number }[] = [
  { name: "class moments, rows", make: (s, b) => moments(b.rows * s, b.neurons, 1), power: 1 },
  { name: "class moments, neurons", make: (s, b) => moments(b.rows, b.neurons * s, 1), power: 1 },
  { name: "class moments, features", make: (s, b) => moments(b.rows, b.neurons, 16 * s), power: 1 },
  { name: "16 fits, rows", make: (s, b) => fits(b.rows * s, b.neurons, 8), power: 1 },
  // A Hessian has k² entries: linear in the columns is not to be had, k² is the bound.
  { name: "16 fits, k", make: (s, b) => fits(b.rows, b.neurons, 8 * s), power: 2 },
];

const SCALES = [1, 2, 4];

export async function scaling(context: JobContext): Promise<TaskResult[]> {
  const base = {
    rows: Math.max(64, Math.floor(context.files.rows / 4)),
    neurons: Math.max(128, Math.floor(context.files.neurons / 8)),
  };
  const [{ backend, threads }] = context.ours;
  const results: TaskResult[] = [];
  for (const { name, make, power } of AXES) {
    context.log(`J6 ${name}`);
    const entries: Entry[] = [];
    const times: number[] = [];
    let worstMemory = 0;
    for (const scale of SCALES) {
      const one = make(scale, base);
      const { rows, neurons, features, k } = one.size;
      const values = makeLabels(rows, 7);
      const own = await backend.allocate(rows, neurons);
      own.data.set(makeActivations({ rows, neurons }, values, 11));
      const x = await backend.upload(own);
      const labels = labelMatrix(values, rows, features);
      await one.run(backend, x, labels);
      const seconds: number[] = [];
      const peaks: { readonly peak: number; readonly share: number }[] = [];
      for (let round = 0; round < 3; round++) {
        const before = residentBytes();
        forgetPeak();
        const start = performance.now();
        await one.run(backend, x, labels);
        seconds.push((performance.now() - start) / 1000);
        const peak = peakBytes();
        // What was resident before holds X, the engine and garbage of earlier rounds.
        peaks.push({ peak, share: peak / (before + one.bound) });
      }
      x.dispose();
      await backend.release(own);
      seconds.sort((a, b) => a - b);
      times.push(seconds[0]);
      const share = Math.min(...peaks.map((round) => round.share));
      worstMemory = Math.max(worstMemory, share);
      context.log(`  × ${scale}: ${seconds[0].toPrecision(3)} s, ${share.toFixed(2)} of the memory stated`);
      entries.push({
        name: `${rows} × ${neurons}, ${features} features${k > 0 ? `, k = ${k}` : ""}`,
        side: "ours",
        backend: backend.info.kind,
        threads,
        status: "timed",
        seconds: { minimum: seconds[0], median: seconds[1], runs: 3 },
        peakBytes: Math.min(...peaks.map(({ peak }) => peak)),
        note: `stated: what is resident before, X included, and ${(one.bound / 2 ** 20).toFixed(1)} MiB`,
      });
    }
    const exponent = Math.log2(times[times.length - 1] / times[0]) / Math.log2(SCALES[SCALES.length - 1]);
    const goals: GoalResult[] = [
      {
        text: `time grows at most with the power ${power} (to ${(LINEAR * power).toFixed(1)})`,
        threads,
        reached: exponent,
        unit: "exponent",
        met: exponent <= LINEAR * power,
      },
      {
        text: `peak memory at most ${MEMORY} × the stated bound`,
        threads,
        reached: worstMemory,
        unit: "×",
        met: worstMemory <= MEMORY,
      },
    ];
    results.push({ job: "J6", task: name, size: base, items: 1, itemName: "run", entries, goals });
  }
  return results;
}
