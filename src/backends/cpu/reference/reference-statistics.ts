/** All statistics by the readable float64 implementation. */
import { splitWide } from "../../split-wide.ts";
import { Pacer } from "../pacer.ts";
import type { CpuStatistics } from "../statistics.ts";
import { aggregateRows } from "./aggregate-rows.ts";
import { classMoments } from "./class-moments.ts";
import { fitDense } from "./fit-dense.ts";
import { fitLogistic } from "./fit-logistic.ts";
import { fitLogisticL1 } from "./fit-logistic-l1.ts";
import { fitSingleNeurons } from "./fit-single-neurons.ts";
import { neuronRoc } from "./neuron-roc.ts";

export const referenceStatistics: CpuStatistics = {
  classMoments: async (x, labels, { signal, squares }) => classMoments(x, labels, new Pacer(signal), squares),
  gatherColumns: async (x, columns, { signal }) => {
    signal?.throwIfAborted();
    return Promise.resolve(x.gatherColumns(columns));
  },
  aggregateRows: async (x, aggregation, segments, { signal }) =>
    aggregateRows(x, aggregation, segments, new Pacer(signal)),
  fitLogistic: async (x, labels, problems, options) => {
    const pacer = new Pacer(options.signal);
    return splitWide(
      problems,
      x.rows,
      options,
      (part, partOptions) => fitLogistic(x, labels, part, partOptions, pacer),
      (part, partOptions) => fitDense(x, labels, part, partOptions, pacer),
    );
  },
  fitSingleNeurons: async (x, labels, options) =>
    fitSingleNeurons(x, labels, options, new Pacer(options.signal)),
  neuronRoc: async (x, labels, { signal }) => neuronRoc(x, labels, new Pacer(signal)),
  fitLogisticL1: async (x, labels, problems, options) =>
    fitLogisticL1(x, labels, problems, options, new Pacer(options.signal)),
};
