/**
 * The two steps of fitting probes, apart: choose supports from class moments, then fit them on columns that hold at
 * least their neurons. A pipeline that streams activations runs them with a second pass in between.
 */
import type { Backend, LogisticProblem } from "../backends/backend.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import type { ClassValue, LabelMatrix } from "../data/labels.ts";
import { standardisation, type ColumnTransform } from "../data/standardisation.ts";
import { NonFiniteError, OneClassError, ShapeError, type SparseProbeError } from "../errors.ts";
import { assertSupportSizes, scoreNeurons, strongest } from "../ranking/ranking.ts";
import type { FitColumns } from "./activation-source.ts";
import { probeSettings, type ProbeOptions } from "./probe-options.ts";
import type { ProbeProvenance, ProbeRecord } from "./probe-record.ts";

/** The k strongest neurons of one feature. */
export interface SelectedSupport {
  /** Index of the feature in the label matrix. */
  readonly feature: number;
  /** Strongest first, length k. */
  readonly neurons: Uint32Array;
  /** Signed ranking scores of these neurons. */
  readonly scores: Float64Array;
}

/** A probe that could not be fitted, and why. */
export interface ProbeFailure {
  readonly feature: string;
  readonly k: number;
  readonly error: SparseProbeError;
}

/** What every probe of a batch is told about its origin. */
export interface ProbeOrigin extends ProbeProvenance {
  /** Columns of the whole activation matrix. */
  readonly neurons: number;
  /** The class that label 1 stands for, by feature. Default 1. */
  readonly positives?: readonly ClassValue[];
}

/**
 * Ranks the neurons of every feature and cuts the ranking at every k. Supports are nested: one feature's support of
 * size k starts its larger ones.
 *
 * @param moments class moments of the training rows
 * @returns supports, features first and then `ks` in the order given; features of one class, or with activations
 * that are not finite, are failures
 * @throws SupportSizeError when there is no k, or one is not a whole number from 1 to the number of neurons
 * @throws ShapeError when moments and labels are of different features
 * @throws OptionError when the ranking's name is unknown
 */
export function selectSupports(
  moments: ClassMoments,
  labels: { readonly features: readonly string[] },
  ks: readonly number[],
  options: Pick<ProbeOptions, "ranking"> = {},
): { supports: SelectedSupport[]; failures: ProbeFailure[] } {
  assertSupportSizes(ks, moments.neurons);
  if (labels.features.length !== moments.features) {
    throw new ShapeError(
      `The moments are of ${moments.features} features, the labels of ${labels.features.length}.`,
      "Give the labels that the moments were computed from.",
    );
  }
  const supports: SelectedSupport[] = [];
  const failures: ProbeFailure[] = [];
  for (const [f, feature] of labels.features.entries()) {
    try {
      assertUsable(moments, f, feature);
      const scores = scoreNeurons(moments, f, options.ranking ?? "mean-difference");
      const order = strongest(scores, Math.max(...ks));
      for (const k of ks) {
        const neurons = order.slice(0, k);
        supports.push({ feature: f, neurons, scores: Float64Array.from(neurons, (j) => scores[j]) });
      }
    } catch (error) {
      if (!(error instanceof OneClassError || error instanceof NonFiniteError)) throw error;
      for (const k of ks) failures.push({ feature, k, error });
    }
  }
  return { supports, failures };
}

/** Every neuron that some support contains, ascending: the columns that a second pass has to keep. */
export function candidateNeurons(supports: readonly SelectedSupport[]): Uint32Array {
  const all = new Set<number>();
  for (const { neurons } of supports) for (const j of neurons) all.add(j);
  return Uint32Array.from(all).sort();
}

/**
 * Fits one probe per support, in one batch.
 *
 * @param columns all rows of at least the supports' neurons
 * @param labels the labels that `moments` was computed from; rows that are `UNLABELLED` have no influence
 * @returns one record per support, in their order; a fit that has not converged says so
 * @throws ShapeError when a support's neuron is not among the columns
 */
export async function fitRecords(
  backend: Backend,
  columns: FitColumns,
  labels: LabelMatrix,
  supports: readonly SelectedSupport[],
  moments: ClassMoments,
  origin: ProbeOrigin,
  options: ProbeOptions = {},
): Promise<ProbeRecord[]> {
  const settings = probeSettings(options);
  const { neurons, positives, ...provenance } = origin;
  const place =
    columns.neurons && new Map<number, number>(Array.from(columns.neurons, (neuron, c) => [neuron, c]));
  const transforms = new Map<number, ColumnTransform>();
  const problems = supports.map(({ feature, neurons: support }): Required<LogisticProblem> => {
    let transform = transforms.get(feature);
    if (!transform) {
      transform = standardisation(settings.standardise, moments, feature);
      transforms.set(feature, transform);
    }
    const { center, scale } = transform;
    return {
      feature,
      support: place ? support.map((j) => columnOf(place, j)) : support,
      center: Float64Array.from(support, (j) => center[j]),
      scale: Float64Array.from(support, (j) => scale[j]),
    };
  });
  const fits = await backend.fitLogistic(columns.x, labels, problems, {
    C: settings.C,
    balanced: settings.classWeight === "balanced",
    tolerance: settings.tolerance,
    maxIterations: settings.maxIterations,
    signal: options.signal,
    onProgress: options.onProgress,
  });
  return supports.map(({ feature, neurons: support, scores }, p) => ({
    feature: labels.features[feature],
    positive: positives?.[feature] ?? 1,
    neurons,
    support: Array.from(support),
    scores: Array.from(scores),
    coefficients: Array.from(fits[p].coefficients),
    intercept: fits[p].intercept,
    center: Array.from(problems[p].center),
    scale: Array.from(problems[p].scale),
    convergence: fits[p].convergence,
    options: settings,
    provenance,
  }));
}

function columnOf(place: ReadonlyMap<number, number>, neuron: number): number {
  const column = place.get(neuron);
  if (column !== undefined) return column;
  throw new ShapeError(
    `Neuron ${neuron} is in a support but not among the gathered columns.`,
    "Gather the neurons that candidateNeurons() returns.",
  );
}

/** @throws OneClassError | NonFiniteError when feature f cannot be ranked */
export function assertUsable(moments: ClassMoments, f: number, feature: string): void {
  const [negative, positive] = moments.count.subarray(2 * f, 2 * f + 2);
  if (negative === 0 || positive === 0) {
    throw new OneClassError(
      `Feature "${feature}" has ${positive} positive and ${negative} negative training rows.`,
      "A probe needs rows of both classes: add examples of the missing one or leave the feature out.",
    );
  }
  const { neurons: d, mean, withinSquares } = moments;
  for (let j = 0; j < d; j++) {
    const at = 2 * f * d + j;
    if (Number.isFinite(mean[at] + mean[at + d]) && Number.isFinite(withinSquares?.[f * d + j] ?? 0))
      continue;
    throw new NonFiniteError(
      `Neuron ${j} is NaN, infinite or too large to square in a training row of feature "${feature}".`,
      "Remove rows that are not finite, rescale the neuron, or store the activations in a type with a larger range.",
    );
  }
}
