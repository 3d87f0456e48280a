/** Probes whose support an L1 penalty chooses, out of all neurons. */
import type { Backend } from "../backends/backend.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { standardisation } from "../data/standardisation.ts";
import { SupportSizeError } from "../errors.ts";
import type { RankingOptions } from "../ranking/ranking.ts";
import type { FitColumns } from "./activation-source.ts";
import type { ProbeOrigin } from "./fit-supports.ts";
import { probeSettings, type ProbeOptions } from "./probe-options.ts";
import type { ProbeRecord } from "./probe-record.ts";

/** Duality gap per unit of weight at which an L1 fit has converged, unless the caller says otherwise. */
const TOLERANCE = 1e-10;

/** Proximal Newton steps at most. */
const MAX_ITERATIONS = 1000;

/** {@link ProbeOptions} that make sense where the penalty ranks and C comes as a list. */
export type LassoOptions = Omit<ProbeOptions, "C" | keyof RankingOptions>;

/**
 * Fits one probe per C to the first feature, all in one call.
 *
 * @param columns every neuron, in order
 * @param moments of the training rows
 * @returns one record per C, in the order given
 * @throws SupportSizeError when a C is so small that no neuron has a coefficient
 */
export async function fitLassoRecords(
  backend: Backend,
  { x }: FitColumns,
  labels: LabelMatrix,
  Cs: readonly number[],
  moments: ClassMoments,
  origin: ProbeOrigin,
  options: LassoOptions,
): Promise<ProbeRecord[]> {
  const { tolerance = TOLERANCE, maxIterations = MAX_ITERATIONS } = options;
  const settings = Cs.map((C) => probeSettings({ ...options, C, tolerance, maxIterations }));
  if (settings.length === 0) return [];
  const { center, scale } = standardisation(settings[0].standardise, moments, 0);
  const balanced = settings[0].classWeight === "balanced";
  const fits = await backend.fitLogisticL1(
    x,
    labels,
    Cs.map((C) => ({ feature: 0, C, center, scale })),
    { balanced, tolerance, maxIterations, signal: options.signal, onProgress: options.onProgress },
  );
  const [negative, positive] = labels.counts(0);
  const { neurons, positives, ...provenance } = origin;
  return fits.map(({ support, coefficients, intercept, convergence }, p): ProbeRecord => {
    const C = Cs[p];
    if (support.length === 0) {
      throw new SupportSizeError(
        `At C = ${C} the penalty leaves no neuron a coefficient.`,
        "Give a larger C.",
      );
    }
    const order = Array.from(support.keys()).sort(
      (a, b) => Math.abs(coefficients[b]) - Math.abs(coefficients[a]),
    );
    const weights = order.map((at) => coefficients[at]);
    const chosen = order.map((at) => support[at]);
    const { converged, iterations, objective, gradientNorm, separated, dualityGap } = convergence;
    return {
      feature: labels.features[0],
      positive: positives?.[0] ?? 1,
      neurons,
      support: chosen,
      scores: weights,
      coefficients: weights,
      intercept,
      center: chosen.map((j) => center[j]),
      scale: chosen.map((j) => scale[j]),
      convergence: {
        converged,
        iterations,
        gradientNorm,
        // Σω is the number of rows with either class weight.
        newtonDecrement: dualityGap / (C * (negative + positive)),
        objective,
        separated,
      },
      options: { ...settings[p], ranking: "l1", penalty: "l1" },
      provenance,
    };
  });
}
