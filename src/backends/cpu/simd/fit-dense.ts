/** Batches of wide logistic fits on the SIMD kernels. X is read where it lies, or copied block by block in every pass. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../../backend.ts";
import type { Pacer } from "../pacer.ts";
import { fitWideProblems, sampleOf, type OpenWideProblem, type WideProblem } from "../reference/fit-dense.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { DenseObjective } from "./dense-objective.ts";
import { gatherColumns } from "./gather-columns.ts";
import { PANEL, panelGram } from "./panels.ts";

/** Fits every problem; what `fitWideProblems` throws, and OutOfMemoryError when a support's columns do not fit. */
export async function fitDense(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  pacer: Pacer,
): Promise<LogisticFit[]> {
  const { signal } = options;
  return fitWideProblems(x, labels, problems, options, pacer, async (problem) => {
    const order = columnsInOrder(problem.support, x.neurons);
    if (order) return open(pool, x, order, problem, signal);
    // Some of the columns: gathered once, into as much memory as they need.
    const gathered = await gatherColumns(pool, x, problem.support, signal);
    return open(pool, gathered, undefined, problem, signal);
  });
}

/** The support itself when it names every column once, in any order; undefined otherwise. */
function columnsInOrder(support: Uint32Array, neurons: number): Uint32Array | undefined {
  if (support.length !== neurons) return undefined;
  return new Set(support).size === neurons ? support : undefined;
}

/**
 * @param x every column is in the problem
 * @param order column of each place in the support; absent: that place itself
 */
function open(
  pool: KernelPool,
  x: Activations,
  order: Uint32Array | undefined,
  { rows, labels, weights, C, scale }: WideProblem,
  signal: AbortSignal | undefined,
): OpenWideProblem {
  const k = x.neurons;
  const picked = sampleOf(rows.length);
  const values = new Float32Array(picked.length * k);
  const row = new Float32Array(k);
  for (const [s, i] of picked.entries()) {
    x.decodeRow(rows[i], row);
    for (let j = 0; j < k; j++) values[s * k + j] = row[order ? order[j] : j];
  }
  const signed = weights.map((weight, i) => (labels[i] === 1 ? -C * weight : C * weight));
  let objective: DenseObjective | undefined;
  return {
    sample: { values, weights: Float64Array.from(picked, (i) => weights[i]) },
    gramOfRows: (sample, s, width) => gramOfRows(pool, sample, s, width, signal),
    objective: (center) =>
      (objective = new DenseObjective(pool, x, rows, signed, center, scale, order, signal)),
    close: () => objective?.close(),
  };
}

/** Inner products of rows [s × k]: the kernels' panels hold columns, so the rows stand in for them. */
async function gramOfRows(
  pool: KernelPool,
  rows: Float32Array,
  s: number,
  k: number,
  signal: AbortSignal | undefined,
): Promise<Float64Array> {
  const scope = new Scope(pool.memory);
  try {
    const count = Math.ceil(s / PANEL);
    const at = scope.zeros(4 * PANEL * count * k);
    const values = pool.memory.f32(at, PANEL * count * k);
    for (let i = 0; i < s; i++) {
      let to = (i - (i % PANEL)) * k + (i % PANEL);
      for (let j = i * k; j < (i + 1) * k; j++, to += PANEL) values[to] = rows[j];
    }
    const ones = scope.copyOf(new Float64Array(k).fill(1));
    const size = PANEL * count;
    const panels = { at, rows: k, count };
    const gram = await panelGram(pool, scope, panels, ones, new Float32Array(size), signal);
    const out = new Float64Array(s * s);
    for (let p = 0; p < s; p++) {
      for (let q = 0; q <= p; q++) {
        out[p * s + q] = gram[p * size + q];
        out[q * s + p] = gram[p * size + q];
      }
    }
    return out;
  } finally {
    scope.close();
  }
}
