/**
 * Sweeps activations that are four times as large as the memory given, as a process of its own, and says how much of it was
 * resident at the most: `memory-in-child.ts whole|parts`.
 */
import { forgetPeak, peakBytes, residentBytes } from "../../bench/peak-memory.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { HookPoint } from "../../src/backends/backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import type { ActivationBlocks } from "../../src/probes/activation-source.ts";
import { Random } from "../../src/random.ts";
import { sweep } from "../../src/sweeps/sweep.ts";
import type { SweepMethod, SweepStudy } from "../../src/sweeps/sweep-study.ts";

const LIMIT = 128 * 2 ** 20;
const ROWS = 2 ** 14;
const [mode] = process.argv.slice(2);

/** `whole`: six hook points, each of which fits. `parts`: one that does not. */
const points = mode === "whole" ? 6 : 1;
const neurons = (4 * LIMIT) / (4 * ROWS * points);

const features = 2;
const values = new Uint8Array(features * ROWS);
const random = new Random(0, "labels");
for (let i = 0; i < values.length; i++) values[i] = random.below(2);

/** Blocks that are made up as they are read: noise, and a feature in each of the first neurons. */
function blocks(point: number): ActivationBlocks {
  const noise = new Float32Array(2 ** 16);
  const draw = new Random(point, "noise");
  for (let i = 0; i < noise.length; i++) noise[i] = draw.uniform();
  return {
    rows: ROWS,
    neurons: Math.floor(neurons),
    *blocks() {
      const step = 1024;
      const d = Math.floor(neurons);
      for (let start = 0; start < ROWS; start += step) {
        const data = new Float32Array(step * d);
        for (let i = 0; i < step; i++) {
          const from = ((start + i) * 7919) % noise.length;
          for (let j = 0; j < d; j++) data[i * d + j] = noise[(from + j * 31) % noise.length];
          for (let f = 0; f < features; f++) data[i * d + f] += values[f * ROWS + start + i] / 2;
        }
        yield new Activations(data, [step, d]);
      }
    },
  };
}

const activations = new Map<HookPoint, ActivationBlocks>();
for (let p = 0; p < points; p++) activations.set(`blocks.${p}.mlp.hook_post`, blocks(p));
const methods: SweepMethod[] = [
  "mean-difference",
  { name: "adaptive", method: "adaptive", options: { schedule: [128, 16] } },
];

const study: SweepStudy = {
  activations: [
    {
      name: "made up",
      activations,
      labels: new LabelMatrix(
        Array.from({ length: features }, (_, f) => `feature ${f}`),
        ROWS,
        values,
      ),
    },
  ],
  methods,
  ks: [1, 16],
  probe: { tolerance: 1e-6 },
};
const backend = createCpuBackend();
forgetPeak();
const before = residentBytes();
let ok = 0;
for await (const row of sweep(study, { backend, memoryBytes: LIMIT })) {
  if (row.status === "ok") ok++;
  else console.error(row.reason);
}
const bytes = 4 * ROWS * Math.floor(neurons) * points;
console.log(JSON.stringify({ grown: peakBytes() - before, limit: LIMIT, ok, bytes }));
