/**
 * Class moments: count, mean and centred sum of squares of every neuron in each class of every feature. Everything that
 * the moment-based rankings and standardisation need; two batches' moments merge exactly (Chan, Golub, LeVeque 1979).
 */
import { ShapeError } from "../errors.ts";

/**
 * Moments of `features` label sets over `neurons` columns, in float64. Class c (0 negative, 1 positive) of feature f
 * has its count at `[2f + c]` and neuron j's values at `[(2f + c) · neurons + j]`.
 */
export interface ClassMoments {
  readonly features: number;
  readonly neurons: number;
  /** Rows per feature and class, [features × 2]. */
  readonly count: Float64Array;
  /** Mean activation, [features × 2 × neurons]; 0 where the class is empty. */
  readonly mean: Float64Array;
  /** Σ (x − mean)², [features × 2 × neurons]. */
  readonly sumOfSquares: Float64Array;
}

/** Moments of no rows at all: the identity of {@link mergeClassMoments}. */
export function emptyClassMoments(features: number, neurons: number): ClassMoments {
  return {
    features,
    neurons,
    count: new Float64Array(features * 2),
    mean: new Float64Array(features * 2 * neurons),
    sumOfSquares: new Float64Array(features * 2 * neurons),
  };
}

/**
 * Adds the moments of further rows to `into`, in place, and returns it.
 * @throws ShapeError when the two describe different features or neurons
 */
export function mergeClassMoments(into: ClassMoments, added: ClassMoments): ClassMoments {
  if (into.features !== added.features || into.neurons !== added.neurons) {
    throw new ShapeError(
      `Moments of ${added.features} features × ${added.neurons} neurons cannot be added to ` +
        `${into.features} × ${into.neurons}.`,
      "Merge moments of the same features over the same neurons.",
    );
  }
  const d = into.neurons;
  for (let c = 0; c < into.count.length; c++) {
    const nA = into.count[c];
    const nB = added.count[c];
    if (nB === 0) continue;
    const n = nA + nB;
    for (let j = c * d; j < (c + 1) * d; j++) {
      const delta = added.mean[j] - into.mean[j];
      into.mean[j] += (delta * nB) / n;
      into.sumOfSquares[j] += added.sumOfSquares[j] + delta * delta * ((nA * nB) / n);
    }
    into.count[c] = n;
  }
  return into;
}

/** Mean and population standard deviation of every neuron over both classes of feature f, length d each. */
export function pooledMoments(
  moments: ClassMoments,
  feature: number,
): { mean: Float64Array; sd: Float64Array } {
  const d = moments.neurons;
  const n0 = moments.count[2 * feature];
  const n1 = moments.count[2 * feature + 1];
  const n = n0 + n1;
  const mean = new Float64Array(d);
  const sd = new Float64Array(d);
  const at0 = 2 * feature * d;
  const at1 = at0 + d;
  for (let j = 0; j < d; j++) {
    const delta = moments.mean[at1 + j] - moments.mean[at0 + j];
    mean[j] = n === 0 ? 0 : moments.mean[at0 + j] + (delta * n1) / n;
    const squares =
      moments.sumOfSquares[at0 + j] + moments.sumOfSquares[at1 + j] + delta * delta * ((n0 * n1) / n);
    sd[j] = n === 0 ? 0 : Math.sqrt(squares / n);
  }
  return { mean, sd };
}
