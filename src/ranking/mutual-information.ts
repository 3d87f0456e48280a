/** Mutual information by nearest neighbours (Kraskov, Stögbauer, Grassberger 2004, estimator 1), in nats. */
import { Random } from "../random.ts";

export interface MutualInformationOptions {
  /** Neighbours of a point that set its distance. Default 3. */
  readonly neighbours?: number;
  /** Seed of the tiny noise that parts equal values. */
  readonly seed: number;
  /** What the noise is for: part of its stream's name. */
  readonly key: string;
}

/**
 * Mutual information of two real variables, at least 0: ψ(n) + ψ(k) − mean(ψ(n_x + 1) + ψ(n_y + 1)), as scikit-learn's
 * `mutual_info_regression`. Both are divided by their standard deviation, and 1e-10 of noise parts ties.
 * @param column one value per row
 * @param target one value per row, as many
 */
export function mutualInformationOfReal(
  column: ArrayLike<number>,
  target: ArrayLike<number>,
  options: MutualInformationOptions,
): number {
  const n = column.length;
  const k = Math.min(options.neighbours ?? 3, n - 1);
  if (k < 1) return 0;
  const random = new Random(options.seed, options.key);
  const x = prepared(column, random);
  const y = prepared(target, random);
  const order = Uint32Array.from(x.keys()).sort((a, b) => x[a] - x[b]);
  const xs = Float64Array.from(order, (i) => x[i]);
  const ys = Float64Array.from(order, (i) => y[i]);
  const ySorted = ys.slice().sort();
  const nearest = new Float64Array(k);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    nearest.fill(Infinity);
    // Walk outwards in x until no neighbour can be nearer than the k-th found.
    let left = i - 1;
    let right = i + 1;
    for (;;) {
      const before = left >= 0 ? xs[i] - xs[left] : Infinity;
      const after = right < n ? xs[right] - xs[i] : Infinity;
      const step = Math.min(before, after);
      if (!(step < nearest[k - 1])) break;
      const other = before <= after ? left-- : right++;
      insert(nearest, Math.max(step, Math.abs(ys[other] - ys[i])));
    }
    const radius = nearest[k - 1];
    sum += digamma(countWithin(xs, xs[i], radius)) + digamma(countWithin(ySorted, ys[i], radius));
  }
  return Math.max(0, digamma(n) + digamma(k) - sum / n);
}

/** Divided by the standard deviation, with noise. */
function prepared(values: ArrayLike<number>, random: Random): Float64Array {
  const out = Float64Array.from(values);
  const n = out.length;
  const mean = out.reduce((sum, value) => sum + value, 0) / n;
  const sd = Math.sqrt(out.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n);
  let size = 0;
  for (let i = 0; i < n; i++) {
    if (sd > 0) out[i] /= sd;
    size += Math.abs(out[i]) / n;
  }
  const noise = 1e-10 * Math.max(1, size);
  for (let i = 0; i < n; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    out[i] += noise * radius * Math.cos(2 * Math.PI * random.uniform());
  }
  return out;
}

function insert(nearest: Float64Array, distance: number): void {
  let at = nearest.length - 1;
  if (!(distance < nearest[at])) return;
  for (; at > 0 && nearest[at - 1] > distance; at--) nearest[at] = nearest[at - 1];
  nearest[at] = distance;
}

/** Values strictly nearer than the radius, the point itself included. */
function countWithin(sorted: Float64Array, centre: number, radius: number): number {
  const first = firstIndex(sorted, (value) => centre - value < radius);
  const last = firstIndex(sorted, (value) => value - centre >= radius);
  return Math.max(1, last - first);
}

/** The first index at which the test holds; it holds from there on. */
function firstIndex(sorted: Float64Array, holds: (value: number) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(sorted[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** ψ(x), x > 0: recurrence up to 10, then the asymptotic series (Abramowitz and Stegun 6.3.5, 6.3.18). */
function digamma(x: number): number {
  let shift = 0;
  for (; x < 10; x++) shift -= 1 / x;
  const f = 1 / (x * x);
  const series =
    f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132 - f * (691 / 32760))))));
  return shift + Math.log(x) - 1 / (2 * x) - series;
}
