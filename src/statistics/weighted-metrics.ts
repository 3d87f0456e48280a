/**
 * All metrics of rows with whole-number weights, from one sort: a resample counts a row as often as it was drawn.
 */
import {
  accuracy,
  balancedAccuracy,
  cohenKappa,
  fowlkesMallows,
  fScore,
  matthewsCorrelation,
  precision,
  recall,
} from "../metrics/confusion.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";

/** Metrics of the same rows under many weights. The rows have been checked by `evaluateBinary`. */
export class WeightedMetrics {
  /** Unit, class and loss of each row, by score descending. */
  readonly #unit: Uint32Array;
  readonly #label: Uint8Array;
  readonly #loss: Float64Array | undefined;
  /** 1 at the last row of each distinct score. */
  readonly #last: Uint8Array;
  /** Rows with a score above 0. */
  readonly #called: number;

  /**
   * @param labels 0 or 1 per row
   * @param scores decision value per row, positive above 0
   * @param unitOf number of the unit whose weight the row has
   */
  constructor(
    labels: ArrayLike<number>,
    scores: ArrayLike<number>,
    probabilities: ArrayLike<number> | undefined,
    unitOf: Uint32Array,
  ) {
    const order = byScoreDescending(scores);
    this.#unit = order.map((i) => unitOf[i]);
    this.#label = Uint8Array.from(order, (i) => labels[i]);
    this.#last = Uint8Array.from(order, (i, at) => (scores[order[at + 1]] === scores[i] ? 0 : 1));
    this.#called = order.reduce((count, i) => count + (scores[i] > 0 ? 1 : 0), 0);
    this.#loss =
      probabilities &&
      Float64Array.from(order, (i) => {
        const p = Math.min(1 - Number.EPSILON, Math.max(Number.EPSILON, probabilities[i]));
        return labels[i] === 1 ? -Math.log(p) : -Math.log(1 - p);
      });
  }

  /**
   * Writes every metric m, in the order of `METRIC_NAMES`, to `out[m · stride + at]`; NaN where it is undefined.
   * @param weights by unit
   */
  evaluate(weights: Uint32Array, out: Float64Array, at: number, stride: number): void {
    const unit = this.#unit;
    const label = this.#label;
    const last = this.#last;
    const rows = unit.length;
    let positives = 0;
    let negatives = 0;
    // Sums over the rows above the current score, and of the rows at it.
    let truePositive = 0;
    let falsePositive = 0;
    let hits = 0;
    let misses = 0;
    let pairs = 0;
    let steps = 0;
    let trapezoids = 0;
    let lastPrecision = 1;
    for (let i = 0; i < rows; i++) {
      const weight = weights[unit[i]];
      if (label[i] === 1) hits += weight;
      else misses += weight;
      if (i === this.#called - 1) {
        truePositive = positives + hits;
        falsePositive = negatives + misses;
      }
      if (last[i] === 0 || hits + misses === 0) continue;
      pairs += misses * (positives + hits / 2);
      positives += hits;
      negatives += misses;
      const precisionHere = positives / (positives + negatives);
      steps += hits * precisionHere;
      trapezoids += (hits * (lastPrecision + precisionHere)) / 2;
      lastPrecision = precisionHere;
      hits = 0;
      misses = 0;
    }
    const counts = {
      truePositive,
      falsePositive,
      falseNegative: positives - truePositive,
      trueNegative: negatives - falsePositive,
    };
    const values: Record<MetricName, number | null> = {
      accuracy: accuracy(counts),
      balancedAccuracy: balancedAccuracy(counts),
      precision: precision(counts),
      recall: recall(counts),
      f1: fScore(counts, 1),
      f05: fScore(counts, 0.5),
      f2: fScore(counts, 2),
      mcc: matthewsCorrelation(counts),
      kappa: cohenKappa(counts),
      fowlkesMallows: fowlkesMallows(counts),
      rocAuc: pairs / (positives * negatives),
      prAuc: trapezoids / positives,
      averagePrecision: steps / positives,
      logLoss: this.#meanLoss(weights, positives + negatives),
    };
    for (const [m, name] of METRIC_NAMES.entries()) out[m * stride + at] = values[name] ?? NaN;
  }

  #meanLoss(weights: Uint32Array, total: number): number | null {
    const loss = this.#loss;
    if (!loss) return null;
    let sum = 0;
    for (let i = 0; i < loss.length; i++) sum += weights[this.#unit[i]] * loss[i];
    return sum / total;
  }
}

/** Row numbers by score, highest first. Plain numbers sort many times faster than row numbers by a comparison. */
function byScoreDescending(scores: ArrayLike<number>): Uint32Array {
  const sorted = Float64Array.from(scores).sort().reverse();
  const filled = new Uint32Array(sorted.length);
  const order = new Uint32Array(sorted.length);
  for (let i = 0; i < sorted.length; i++) {
    let first = 0;
    for (let end = sorted.length; first < end;) {
      const middle = (first + end) >> 1;
      if (sorted[middle] > scores[i]) first = middle + 1;
      else end = middle;
    }
    order[first + filled[first]++] = i;
  }
  return order;
}
