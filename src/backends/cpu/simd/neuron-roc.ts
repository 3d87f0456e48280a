/** ROC curve of every neuron, by the SIMD kernels: one radix sort per neuron and feature. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { NeuronRoc } from "../../backend.ts";
import { assertLabelSets, rowsByClass, unknownRoc, type LabelledRows } from "../../single-neurons.ts";
import { Pacer } from "../pacer.ts";
import { rocOfNeurons } from "../reference/neuron-roc.ts";
import { forEachColumnBlock, forEachPanels } from "../wasm/kernel-columns.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";

/** Counts of the three digits: see assembly/neuron-roc.ts. */
const COUNT_BYTES = 3 * 2048 * 4;

/**
 * Area under the ROC curve and best threshold of every neuron for every label set.
 * @throws ShapeError | OneClassError
 */
export async function neuronRoc(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  signal?: AbortSignal,
): Promise<NeuronRoc> {
  assertLabelSets(x, labels);
  signal?.throwIfAborted();
  const d = x.neurons;
  const features = labels.features.length;
  const roc = unknownRoc(features, d);
  const pacer = new Pacer(signal);
  const lists: LabelledRows[] = [];
  for (let f = 0; f < features; f++) {
    lists.push(rowsByClass(labels.of(f)));
    if (pacer.due) await pacer.turn();
  }
  const scope = new Scope(pool.memory);
  try {
    const most = Math.max(...lists.map(({ rows }) => rows.length));
    const scratchBytes = COUNT_BYTES + 2 * 4 * (4 * Math.ceil(most / 4)) + 64;
    const scratch = scope.allocate(pool.threads * scratchBytes);
    await forEachColumnBlock(
      pool,
      x,
      async (block) => {
        for (const [f, list] of lists.entries()) {
          const wide: number[] = [];
          await forEachPanels(
            pool,
            x,
            block,
            list,
            undefined,
            async (panels) => {
              const part = new Scope(pool.memory);
              try {
                const out = part.allocate(24 * panels.columns);
                await pool.run(
                  "neuronRoc",
                  panels.columns,
                  [panels.at, panels.stride, list.negatives, list.positives, out, scratch, scratchBytes],
                  { signal, operations: 20 * list.rows.length * panels.columns },
                );
                const found = pool.memory.f64(out, 3 * panels.columns);
                for (let c = 0; c < panels.columns; c++) {
                  const at = f * d + panels.first + c;
                  if (found[3 * c] === -1) wide.push(panels.first + c);
                  roc.auc[at] = found[3 * c];
                  roc.threshold[at] = found[3 * c + 1];
                  roc.informedness[at] = found[3 * c + 2];
                }
              } finally {
                part.close();
              }
            },
            signal,
          );
          await rocOfNeurons(x, labels, f, Uint32Array.from(wide), roc, new Pacer(signal));
        }
      },
      signal,
    );
  } finally {
    scope.close();
  }
  return roc;
}
