/**
 * Target moments: mean and centred sum of squares of every neuron and of every real target, and their centred products.
 * All that correlation, the F statistic and standardisation need; two batches' moments merge exactly in exact arithmetic
 * (Chan, Golub, LeVeque 1979).
 */
import { ShapeError } from "../errors.ts";
import type { ClassMoments } from "./class-moments.ts";

/** Moments of `targets` real targets over `neurons` columns, in float64. */
export interface TargetMoments {
  readonly targets: number;
  readonly neurons: number;
  /** Rows. */
  readonly count: number;
  /** Mean activation, [neurons]. */
  readonly mean: Float64Array;
  /** Σ (x − mean)², [neurons]. */
  readonly sumOfSquares: Float64Array;
  /** Mean of each target, [targets]. */
  readonly targetMean: Float64Array;
  /** Σ (y − mean)², [targets]. */
  readonly targetSquares: Float64Array;
  /** Σ (y − mean of y)·(x − mean of x), [targets × neurons]. */
  readonly products: Float64Array;
}

/** Moments of no rows at all: the identity of {@link mergeTargetMoments}. */
export function emptyTargetMoments(targets: number, neurons: number): TargetMoments {
  return {
    targets,
    neurons,
    count: 0,
    mean: new Float64Array(neurons),
    sumOfSquares: new Float64Array(neurons),
    targetMean: new Float64Array(targets),
    targetSquares: new Float64Array(targets),
    products: new Float64Array(targets * neurons),
  };
}

/**
 * The moments of two batches together. The arrays of `into` are written and become the result's.
 * @throws ShapeError when the two describe different targets or neurons
 */
export function mergeTargetMoments(into: TargetMoments, added: TargetMoments): TargetMoments {
  if (into.targets !== added.targets || into.neurons !== added.neurons) {
    throw new ShapeError(
      `Moments of ${added.targets} targets × ${added.neurons} neurons cannot be added to ` +
        `${into.targets} × ${into.neurons}.`,
      "Merge moments of the same targets over the same neurons.",
    );
  }
  const count = into.count + added.count;
  if (added.count === 0) return into;
  const d = into.neurons;
  const share = added.count / count;
  const between = into.count * share;
  for (let t = 0; t < into.targets; t++) {
    const shift = (added.targetMean[t] - into.targetMean[t]) * between;
    const start = t * d;
    for (let j = 0; j < d; j++) {
      into.products[start + j] += added.products[start + j] + (added.mean[j] - into.mean[j]) * shift;
    }
  }
  mergeSquares(into.targetMean, into.targetSquares, added.targetMean, added.targetSquares, share, between);
  mergeSquares(into.mean, into.sumOfSquares, added.mean, added.sumOfSquares, share, between);
  return { ...into, count };
}

function mergeSquares(
  mean: Float64Array,
  squares: Float64Array,
  addedMean: Float64Array,
  addedSquares: Float64Array,
  share: number,
  between: number,
): void {
  for (let j = 0; j < mean.length; j++) {
    const delta = addedMean[j] - mean[j];
    mean[j] += delta * share;
    squares[j] += addedSquares[j] + delta * delta * between;
  }
}

/** The neurons' moments as those of one class, for what asks for class moments and does not look at the classes. */
export function asOneClass({ neurons, count, mean, sumOfSquares }: TargetMoments): ClassMoments {
  const both = new Float64Array(2 * neurons);
  both.set(mean);
  return {
    features: 1,
    neurons,
    count: Float64Array.of(count, 0),
    mean: both,
    sumOfSquares: null,
    withinSquares: sumOfSquares,
  };
}
