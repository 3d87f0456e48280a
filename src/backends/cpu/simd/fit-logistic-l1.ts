/** Logistic fits with an L1 penalty or an elastic net, on the SIMD kernels. */
import type { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { L1Fit, L1Options, L1Problem } from "../../backend.ts";
import type { Pacer } from "../pacer.ts";
import { fitWithDesigns } from "../reference/fit-logistic-l1.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { gatherColumns } from "./gather-columns.ts";
import { KernelL1Design } from "./l1-design.ts";

/** Fits every problem; what `fitWithDesigns` throws, and OutOfMemoryError when a working set does not fit. */
export async function fitLogisticL1(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  problems: readonly L1Problem[],
  options: L1Options,
  pacer: Pacer,
): Promise<L1Fit[]> {
  return fitWithDesigns(x, labels, problems, options, pacer, {
    gather: (columns) => gatherColumns(pool, x, columns, options.signal),
    design(part, rows, weights, center, scale) {
      const design = new KernelL1Design(pool, part, rows, weights, center, scale, options.signal);
      return { design, close: () => design.close() };
    },
  });
}
