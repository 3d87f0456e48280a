/** All statistics by the SIMD kernels of a pool. */
import { splitWide } from "../../split-wide.ts";
import { Pacer } from "../pacer.ts";
import { aggregateRows } from "../reference/aggregate-rows.ts";
import type { CpuStatistics } from "../statistics.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { classMoments } from "./class-moments.ts";
import { fitDense } from "./fit-dense.ts";
import { fitLogistic } from "./fit-logistic.ts";
import { fitLogisticL1 } from "./fit-logistic-l1.ts";
import { fitSingleNeurons } from "./fit-single-neurons.ts";
import { gatherColumns } from "./gather-columns.ts";
import { neuronRoc } from "./neuron-roc.ts";

export function simdStatistics(pool: KernelPool): CpuStatistics {
  return {
    classMoments: async (x, labels, { signal, squares }) => {
      signal?.throwIfAborted();
      return classMoments(pool, x, labels, squares, signal);
    },
    gatherColumns: (x, columns, { signal }) => gatherColumns(pool, x, columns, signal),
    aggregateRows: async (x, aggregation, segments, { signal }) =>
      aggregateRows(x, aggregation, segments, new Pacer(signal)),
    fitLogistic: (x, labels, problems, options) =>
      splitWide(
        problems,
        x.rows,
        options,
        (part, partOptions) => fitLogistic(pool, x, labels, part, partOptions),
        (part, partOptions) => fitDense(pool, x, labels, part, partOptions, new Pacer(options.signal)),
      ),
    fitSingleNeurons: (x, labels, options) => fitSingleNeurons(pool, x, labels, options),
    neuronRoc: (x, labels, { signal }) => neuronRoc(pool, x, labels, signal),
    fitLogisticL1: async (x, labels, problems, options) =>
      fitLogisticL1(pool, x, labels, problems, options, new Pacer(options.signal)),
  };
}
