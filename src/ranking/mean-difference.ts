/** Scores from class moments: how far apart a neuron's two class means lie. */
import { squaresWithin, type ClassMoments } from "../data/class-moments.ts";

/**
 * Mean difference of every neuron, mean(x | y = 1) − mean(x | y = 0), in the activations' units.
 * Gurnee et al. (2023), "Finding Neurons in a Haystack".
 * @returns signed scores, length d
 */
export function meanDifference(moments: ClassMoments, feature: number): Float64Array {
  const { neurons: d, mean } = moments;
  const out = new Float64Array(d);
  const negative = 2 * feature * d;
  for (let j = 0; j < d; j++) out[j] = mean[negative + d + j] - mean[negative + j];
  return out;
}

/**
 * Mean difference in units of the neuron's standard deviation over both classes (population, as in "standard"
 * standardisation); 0 for a constant neuron. Ranks neurons as the ANOVA F statistic does.
 * @returns signed scores, length d
 * @throws OptionError when the moments have no sums of squares
 */
export function standardisedMeanDifference(moments: ClassMoments, feature: number): Float64Array {
  const scores = meanDifference(moments, feature);
  const within = squaresWithin(moments, feature);
  const n0 = moments.count[2 * feature];
  const n1 = moments.count[2 * feature + 1];
  const n = n0 + n1;
  const between = (n0 * n1) / n;
  for (let j = 0; j < scores.length; j++) {
    const delta = scores[j];
    const sd = Math.sqrt((within[j] + delta * delta * between) / n);
    scores[j] = sd === 0 || n === 0 ? 0 : delta / sd;
  }
  return scores;
}
