/**
 * Class moments: count, mean and centred sums of squares of every neuron in each class of every feature. Everything that
 * the moment-based rankings and standardisation need; two batches' moments merge exactly (Chan, Golub, LeVeque 1979).
 */
import { OptionError, ShapeError } from "../errors.ts";

/**
 * Which sums of squares are computed beside the means:
 * - `"class"`: of each class about its own mean, and with them those within the classes (Welch's t needs these)
 * - `"within"`: Σ over both classes of the squares about the class's own mean: all that the library's other rankings and
 *   standardisation need, and for many features a third of the work
 * - `"none"`: means alone
 */
export type MomentSquares = "class" | "within" | "none";

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
  /** Σ (x − mean)² of each class, [features × 2 × neurons]; null unless asked for with `"class"`. */
  readonly sumOfSquares: Float64Array | null;
  /** Σ over both classes of (x − its class's mean)², [features × neurons]; null with `"none"`. */
  readonly withinSquares: Float64Array | null;
}

/** Moments with the squares of each class. */
export interface PerClassMoments extends ClassMoments {
  readonly sumOfSquares: Float64Array;
  readonly withinSquares: Float64Array;
}

/** Moments of no rows at all: the identity of {@link mergeClassMoments}. `squares` is `"class"` when left out. */
export function emptyClassMoments(features: number, neurons: number, squares?: "class"): PerClassMoments;
export function emptyClassMoments(features: number, neurons: number, squares: MomentSquares): ClassMoments;
export function emptyClassMoments(
  features: number,
  neurons: number,
  squares: MomentSquares = "class",
): ClassMoments {
  return {
    features,
    neurons,
    count: new Float64Array(features * 2),
    mean: new Float64Array(features * 2 * neurons),
    sumOfSquares: squares === "class" ? new Float64Array(features * 2 * neurons) : null,
    withinSquares: squares === "none" ? null : new Float64Array(features * neurons),
  };
}

/**
 * Adds the moments of further rows to `into`, in place, and returns it.
 * @throws ShapeError when the two describe different features or neurons
 * @throws OptionError when `into` has sums of squares that `added` lacks
 */
export function mergeClassMoments(into: ClassMoments, added: ClassMoments): ClassMoments {
  if (into.features !== added.features || into.neurons !== added.neurons) {
    throw new ShapeError(
      `Moments of ${added.features} features × ${added.neurons} neurons cannot be added to ` +
        `${into.features} × ${into.neurons}.`,
      "Merge moments of the same features over the same neurons.",
    );
  }
  if ((into.sumOfSquares && !added.sumOfSquares) || (into.withinSquares && !added.withinSquares)) {
    throw new OptionError(
      "The moments to add lack sums of squares that the others have.",
      "Compute both with the same `squares`.",
    );
  }
  const d = into.neurons;
  const { sumOfSquares, withinSquares } = into;
  for (let c = 0; c < into.count.length; c++) {
    const nA = into.count[c];
    const nB = added.count[c];
    if (nB === 0) continue;
    const n = nA + nB;
    const start = c * d;
    const within = (c >> 1) * d;
    for (let j = 0; j < d; j++) {
      const at = start + j;
      const delta = added.mean[at] - into.mean[at];
      into.mean[at] += (delta * nB) / n;
      const between = delta * delta * ((nA * nB) / n);
      if (sumOfSquares) sumOfSquares[at] += added.sumOfSquares![at] + between;
      if (withinSquares) withinSquares[within + j] += between;
    }
    into.count[c] = n;
  }
  if (withinSquares)
    for (let at = 0; at < withinSquares.length; at++) withinSquares[at] += added.withinSquares![at];
  return into;
}

/**
 * The same moments with no more sums of squares than asked for; `withinSquares` is filled from those of the classes. For
 * backends that compute the squares of each class whatever is asked.
 */
export function keepSquares(moments: PerClassMoments, squares: MomentSquares): ClassMoments {
  const { neurons: d, features, sumOfSquares, withinSquares } = moments;
  if (squares === "none") return { ...moments, sumOfSquares: null, withinSquares: null };
  for (let f = 0; f < features; f++) {
    for (let j = 0; j < d; j++) {
      withinSquares[f * d + j] = sumOfSquares[2 * f * d + j] + sumOfSquares[(2 * f + 1) * d + j];
    }
  }
  return squares === "within" ? { ...moments, sumOfSquares: null } : moments;
}

/**
 * Mean and population standard deviation of every neuron over both classes of feature f, length d each.
 * @throws OptionError when the moments have no sums of squares
 */
export function pooledMoments(
  moments: ClassMoments,
  feature: number,
): { mean: Float64Array; sd: Float64Array } {
  const d = moments.neurons;
  const mean = new Float64Array(d);
  const sd = new Float64Array(d);
  const within = squaresWithin(moments, feature);
  const n0 = moments.count[2 * feature];
  const n1 = moments.count[2 * feature + 1];
  const n = n0 + n1;
  if (n === 0) return { mean, sd };
  const share = n1 / n;
  const between = n0 * share;
  const at0 = 2 * feature * d;
  const at1 = at0 + d;
  for (let j = 0; j < d; j++) {
    const delta = moments.mean[at1 + j] - moments.mean[at0 + j];
    mean[j] = moments.mean[at0 + j] + delta * share;
    sd[j] = Math.sqrt((within[j] + delta * delta * between) / n);
  }
  return { mean, sd };
}

/**
 * The squares within the classes of feature f, length d (a view).
 * @throws OptionError when the moments have none
 */
export function squaresWithin(moments: ClassMoments, feature: number): Float64Array {
  const { withinSquares, neurons: d } = moments;
  if (withinSquares) return withinSquares.subarray(feature * d, (feature + 1) * d);
  throw withoutSquares("within");
}

/** What to throw where moments lack the squares that something reads. */
export function withoutSquares(squares: "within" | "class"): OptionError {
  return new OptionError(
    "These moments lack the sums of squares.",
    `Compute them with squares: "${squares}"${squares === "within" ? ' or "class"' : ""}.`,
  );
}
