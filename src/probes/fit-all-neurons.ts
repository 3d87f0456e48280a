/** The dense probe: all neurons with an L2 penalty, what sparse probes are measured against. */
import type { ActivationSource } from "./activation-source.ts";
import { fitRecords } from "./fit-supports.ts";
import type { ProbeRecord } from "./probe-record.ts";
import type { FitOptions, ProbeLabels } from "./one-feature.ts";
import { withTrainingData } from "./training-data.ts";

/** Fits all neurons of one feature; the record's support is ordered by |coefficient|, and its scores are the coefficients. */
export async function fitAllNeurons(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: Omit<FitOptions, "ranking">,
): Promise<ProbeRecord> {
  return withTrainingData(
    acts,
    labels,
    options,
    async ({ backend, source, labels: rows, moments, origin }) => {
      const neurons = Uint32Array.from({ length: source.neurons }, (_, j) => j);
      const columns = await source.columns(neurons, { signal: options.signal });
      const unranked = { feature: 0, neurons, scores: new Float64Array(neurons.length) };
      const [record] = await fitRecords(backend, columns, rows, [unranked], moments, origin, options);
      const { coefficients, center, scale } = record;
      const order = Array.from(neurons).sort((a, b) => Math.abs(coefficients[b]) - Math.abs(coefficients[a]));
      const weights = order.map((j) => coefficients[j]);
      return {
        ...record,
        support: order,
        scores: weights,
        coefficients: weights,
        center: order.map((j) => center[j]),
        scale: order.map((j) => scale[j]),
        options: { ...record.options, ranking: "none" },
      };
    },
  );
}
