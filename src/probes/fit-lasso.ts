/** Probes whose support an L1 penalty, or an elastic net, chooses out of all neurons. */
import type { L1Convergence } from "../backends/backend.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { standardisation, type ColumnTransform } from "../data/standardisation.ts";
import { SupportSizeError } from "../errors.ts";
import type { RankingOptions } from "../ranking/ranking.ts";
import type { ActivationSource } from "./activation-source.ts";
import type { ProbeOrigin } from "./fit-supports.ts";
import { probeSettings, type ProbeSettings } from "./probe-options.ts";
import type { ProbeRecord } from "./probe-record.ts";
import type { FitOptions, ProbeLabels } from "./one-feature.ts";
import { withTrainingData } from "./training-data.ts";

/** Duality gap per unit of weight at which an L1 fit has converged, unless the caller says otherwise. */
const TOLERANCE = 1e-10;

/** Proximal Newton steps at most. */
export const L1_MAX_ITERATIONS = 1000;

/** {@link FitOptions} that make sense where the penalty ranks and C comes as a list. */
export interface LassoOptions extends Omit<FitOptions, "C" | keyof RankingOptions> {
  /**
   * Share ρ of the penalty that is L1, above 0 and at most 1: ρ·‖w‖₁ + (1 − ρ)/2·‖w‖². Below 1 it is the elastic net, which
   * keeps neurons that say the same together. Default 1.
   */
  readonly l1Ratio?: number;
}

/**
 * Fits one probe per C to all neurons of one feature, all in one call.
 *
 * @returns one record per C, in the order given
 * @throws SupportSizeError when a C is so small that no neuron has a coefficient
 */
export async function fitLasso(
  acts: ActivationSource,
  labels: ProbeLabels,
  Cs: readonly number[],
  options: LassoOptions,
): Promise<ProbeRecord[]> {
  const { tolerance = TOLERANCE, maxIterations = L1_MAX_ITERATIONS, l1Ratio = 1, signal } = options;
  const settings = Cs.map((C) => probeSettings({ ...options, C, tolerance, maxIterations }));
  return withTrainingData(
    acts,
    labels,
    options,
    async ({ backend, source, labels: rows, moments, origin }) => {
      if (settings.length === 0) return [];
      const all = Uint32Array.from({ length: source.neurons }, (_, j) => j);
      const { x } = await source.columns(all, { signal });
      const transform = standardisation(settings[0].standardise, moments, 0);
      const fits = await backend.fitLogisticL1(
        x,
        rows,
        Cs.map((C) => ({ feature: 0, C, l1Ratio, ...transform })),
        {
          balanced: settings[0].classWeight === "balanced",
          tolerance,
          maxIterations,
          signal,
          onProgress: options.onProgress,
        },
      );
      return fits.map((fit, p) => {
        if (fit.support.length === 0) {
          throw new SupportSizeError(
            `At C = ${Cs[p]} the penalty leaves no neuron a coefficient.`,
            "Give a larger C.",
          );
        }
        const order = Array.from(fit.support.keys()).sort(
          (a, b) => Math.abs(fit.coefficients[b]) - Math.abs(fit.coefficients[a]),
        );
        return l1Record(
          {
            neurons: order.map((at) => fit.support[at]),
            coefficients: order.map((at) => fit.coefficients[at]),
            intercept: fit.intercept,
            convergence: fit.convergence,
          },
          rows,
          transform,
          origin,
          { ...settings[p], ranking: l1Ratio < 1 ? "elastic-net" : "l1" },
          l1Ratio,
        );
      });
    },
  );
}

/**
 * The record of a fit with an L1 penalty; its scores are the coefficients.
 * @param fit neurons strongest first, coefficients in their order
 */
export function l1Record(
  fit: {
    readonly neurons: readonly number[];
    readonly coefficients: readonly number[];
    readonly intercept: number;
    readonly convergence: L1Convergence;
  },
  labels: LabelMatrix,
  { center, scale }: ColumnTransform,
  origin: ProbeOrigin,
  settings: ProbeSettings,
  l1Ratio: number,
): ProbeRecord {
  const [negative, positive] = labels.counts(0);
  const { neurons, positives, ...provenance } = origin;
  const { converged, iterations, objective, gradientNorm, separated, dualityGap } = fit.convergence;
  return {
    feature: labels.features[0],
    positive: positives?.[0] ?? 1,
    neurons,
    support: fit.neurons,
    scores: fit.coefficients,
    coefficients: fit.coefficients,
    intercept: fit.intercept,
    center: fit.neurons.map((j) => center[j]),
    scale: fit.neurons.map((j) => scale[j]),
    convergence: {
      converged,
      iterations,
      gradientNorm,
      // Σω is the number of rows with either class weight.
      newtonDecrement: dualityGap / (settings.C * (negative + positive)),
      objective,
      separated,
    },
    options: { ...settings, ...(l1Ratio < 1 ? { penalty: "elastic-net", l1Ratio } : { penalty: "l1" }) },
    provenance,
  };
}
