/** The work of `pruneNeurons`. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { RowSelection } from "../data/labels.ts";
import { OptionError, SupportSizeError } from "../errors.ts";
import type { Metrics } from "../metrics/evaluate.ts";
import { assertSupportSize } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import { fitRecords, type SelectedSupport } from "./fit-supports.ts";
import { momentSquares, probeSettings } from "./probe-options.ts";
import type { ProbeRecord } from "./probe-record.ts";
import { SparseProbe } from "./sparse-probe.ts";
import type { FitOptions, ProbeLabels } from "./one-feature.ts";
import { rankFirst } from "./rank-source.ts";
import { withTrainingData } from "./training-data.ts";

export interface PruneOptions extends FitOptions {
  /** Neurons of each probe. Default 5. */
  readonly k?: number;
  /** Probes to fit, each without the neurons removed before. Default 10. */
  readonly steps?: number;
  /** Rows whose F1 chooses the neuron to remove. Default: the training rows. */
  readonly validation?: RowSelection;
  /** Rows that the metrics are measured on. Default: those of `validation`. */
  readonly test?: RowSelection;
}

/** One neuron's probe of its own. */
export interface SingleNeuronF1 {
  readonly neuron: number;
  /** On the validation rows; null where no row is positive and none is called positive. */
  readonly f1: number | null;
}

/** One step of iterative pruning. Plain data. */
export interface PruneStep {
  /** From 0. */
  readonly step: number;
  /** Fitted to the k strongest neurons that were left. */
  readonly probe: SparseProbe;
  /** On the test rows. */
  readonly metrics: Metrics;
  /** Each neuron of the support alone, in support order. */
  readonly singles: readonly SingleNeuronF1[];
  /** The neuron with the best F1 of its own, the stronger one of a tie: gone in the next step. */
  readonly removed: number;
}

/** See `pruneNeurons`. */
export async function pruneByF1(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: PruneOptions,
): Promise<readonly PruneStep[]> {
  probeSettings(options);
  const { k = 5, steps = 10, rows, signal, onProgress } = options;
  const { validation = rows, test = validation } = options;
  if (!Number.isInteger(steps) || steps < 1) {
    throw new OptionError(`steps is ${steps}.`, "Give a whole number of at least 1.");
  }
  const squares = momentSquares(options);
  const pacer = new Pacer(signal);
  return withTrainingData(
    acts,
    labels,
    options,
    async (data) => {
      const { backend, source, allLabels, labels: training, moments, origin } = data;
      assertSupportSize(k, source.neurons);
      const width = k + steps - 1;
      const most = Math.min(source.neurons, options.prefilter ?? Infinity);
      if (width > most) {
        throw new SupportSizeError(
          `${steps} steps with k = ${k} need ${width} neurons, and there are ${most} to choose from.`,
          "Take fewer steps, a smaller k, or a larger pre-filter.",
        );
      }
      const { ranked, scores } = await rankFirst(data, width, options);
      const columns = await source.columns(ranked, { signal });
      const at = columns.neurons ? ranked.map((_, c) => c) : ranked;
      const host = await backend.gatherColumns(columns.x, at, { signal });
      const gathered = { x: await backend.upload(host, { signal }), neurons: ranked };
      const supportOf = (neurons: Uint32Array): SelectedSupport => ({
        feature: 0,
        neurons,
        scores: Float64Array.from(neurons, (j) => scores[j]),
      });
      const total = width + steps;
      const fit = (supports: SelectedSupport[], before: number): Promise<ProbeRecord[]> =>
        fitRecords(backend, gathered, training, supports, moments, origin, {
          ...options,
          onProgress: onProgress && ((done) => onProgress(before + done, total)),
        });
      /** The same probe, reading the gathered columns. */
      const onColumns = (record: ProbeRecord): SparseProbe =>
        new SparseProbe({
          ...record,
          neurons: width,
          support: record.support.map((j) => ranked.indexOf(j)),
        });
      try {
        const alone = await fit(
          Array.from(ranked, (j) => supportOf(Uint32Array.of(j))),
          0,
        );
        const f1: (number | null)[] = [];
        for (const record of alone) {
          f1.push(onColumns(record).evaluate(host, allLabels, validation && { rows: validation }).f1);
          if (pacer.due) await pacer.turn();
        }
        // What a neuron does alone does not depend on the step: the order of removal is known before the probes are fitted.
        const { supports, removed } = removeOneByOne(f1, k, steps);
        const records = await fit(
          supports.map((places) => supportOf(Uint32Array.from(places, (place) => ranked[place]))),
          width,
        );
        const results: PruneStep[] = [];
        for (const [step, record] of records.entries()) {
          results.push(
            Object.freeze({
              step,
              probe: new SparseProbe(record),
              metrics: onColumns(record).evaluate(host, allLabels, test && { rows: test }),
              singles: supports[step].map((place) => ({ neuron: ranked[place], f1: f1[place] })),
              removed: ranked[removed[step]],
            }),
          );
          if (pacer.due) await pacer.turn();
        }
        return Object.freeze(results);
      } finally {
        gathered.x.dispose();
      }
    },
    squares,
  );
}

/** Places in the ranking: of each step's k neurons, and of the one that it removes. */
function removeOneByOne(
  f1: readonly (number | null)[],
  k: number,
  steps: number,
): { supports: number[][]; removed: number[] } {
  const left = Array.from(f1.keys());
  const supports: number[][] = [];
  const removed: number[] = [];
  for (let step = 0; step < steps; step++) {
    const support = left.slice(0, k);
    supports.push(support);
    const best = support.reduce((a, b) => ((f1[b] ?? -1) > (f1[a] ?? -1) ? b : a));
    removed.push(best);
    left.splice(left.indexOf(best), 1);
  }
  return { supports, removed };
}
