/** Scores from class moments: how far apart a neuron's two class means lie. */
import { pooledMoments, type ClassMoments } from "../data/class-moments.ts";

/**
 * Mean difference of every neuron, mean(x | y = 1) − mean(x | y = 0), in the activations' units.
 * Gurnee et al. (2023), "Finding Neurons in a Haystack".
 * @returns signed scores, length d
 */
export function meanDifference(moments: ClassMoments, feature: number): Float64Array {
  const d = moments.neurons;
  const out = new Float64Array(d);
  const negative = 2 * feature * d;
  for (let j = 0; j < d; j++) out[j] = moments.mean[negative + d + j] - moments.mean[negative + j];
  return out;
}

/**
 * Mean difference in units of the neuron's standard deviation over both classes (population, as in "standard"
 * standardisation); 0 for a constant neuron. Ranks neurons as the ANOVA F statistic does.
 * @returns signed scores, length d
 */
export function standardisedMeanDifference(moments: ClassMoments, feature: number): Float64Array {
  const { sd } = pooledMoments(moments, feature);
  return meanDifference(moments, feature).map((delta, j) => (sd[j] === 0 ? 0 : delta / sd[j]));
}
