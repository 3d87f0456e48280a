/**
 * Mutual information of one neuron with a class or with a real target, in nats, from the distances to nearest neighbours.
 * With one dimension everything is a walk over sorted values: O(n·log n), and linear after sorting for a class.
 */
import { EmptyDataError, NonFiniteError, OptionError, ShapeError } from "../errors.ts";
import { Random } from "../random.ts";
import {
  digammaTable,
  isAscending,
  NearestInPlane,
  orderOf,
  sortedFloats,
  spreadTies,
  standardDeviation,
  type OrderedValues,
} from "./sorted-values.ts";

export interface InformationOptions {
  /** Nearest neighbours k. Default 3, as in scikit-learn. */
  readonly neighbours?: number | undefined;
  /** Seed of the noise that parts equal values. Default 0. */
  readonly seed?: number | undefined;
  /** What the noise is drawn for, such as the neuron's number: other keys draw other noise. Default `""`. */
  readonly key?: string | undefined;
}

/** Size of the noise in units of the larger of the standard deviation and the mean absolute value. */
const NOISE = 1e-10;

/**
 * Mutual information between a neuron and a class, by the estimator of Ross (2014), "Mutual information between discrete
 * and continuous data sets", PLoS ONE 9(2), as scikit-learn's `mutual_info_classif` computes it:
 *
 *     ψ(n) + ⟨ψ(k_c)⟩ − ⟨ψ(n_c)⟩ − ⟨ψ(m_i)⟩, at least 0,
 *
 * n_c rows in the class of row i, k_c = min(k, n_c − 1), m_i the rows of both classes nearer to row i than its k_c-th
 * neighbour of the same class, itself included. Values that occur more than once are parted by seeded noise of relative size
 * 10⁻¹⁰ (scikit-learn adds such noise to every value, which changes nothing where values differ).
 *
 * @param labels 1, 0 or `UNLABELLED` by row
 * @returns nats; 0 for a constant neuron, and where a class has fewer than two rows
 * @throws ShapeError when the lengths differ
 * @throws EmptyDataError when no row has a label
 * @throws NonFiniteError when a labelled value is NaN or infinite
 * @throws OptionError when `neighbours` is not a whole number of at least 1
 */
export function mutualInformationOfClass(
  column: Float32Array | Float64Array,
  labels: Uint8Array,
  options: InformationOptions = {},
): number {
  return new ClassInformation(labels, options.neighbours).of(column, options);
}

/** {@link mutualInformationOfClass} for many neurons and one label set: the work space is shared. */
export class ClassInformation {
  readonly #rows: readonly [negative: Uint32Array, positive: Uint32Array];
  readonly #length: number;
  readonly #neighbours: number;
  readonly #digamma: Float64Array;
  readonly #classes: readonly [Float64Array, Float64Array];

  /** @throws EmptyDataError | OptionError */
  constructor(labels: Uint8Array, neighbours = 3) {
    assertNeighbours(neighbours);
    this.#rows = [rowsLabelled(labels, 0), rowsLabelled(labels, 1)];
    this.#length = labels.length;
    this.#neighbours = neighbours;
    const [n0, n1] = this.#rows.map((rows) => rows.length);
    if (n0 + n1 === 0) throw new EmptyDataError("No row has a label.", "Give labels of 0 and 1.");
    this.#digamma = digammaTable(n0 + n1);
    this.#classes = [new Float64Array(n0), new Float64Array(n1)];
  }

  /** @throws ShapeError | NonFiniteError */
  of(column: Float32Array | Float64Array, { seed = 0, key = "" }: InformationOptions = {}): number {
    assertLength(column, this.#length);
    const spread = this.#sort(column);
    const [a, b] = this.#classes;
    if (spread === 0 || a.length < 2 || b.length < 2) return 0;
    spreadTies([a, b], NOISE * spread, () => new Random(seed, `mutual information ${key}`));
    const psi = this.#digamma;
    const n = a.length + b.length;
    const sum = (own: Float64Array, other: Float64Array): number => {
      const k = Math.min(this.#neighbours, own.length - 1);
      return own.length * (psi[k] - psi[own.length]) - sumOfDigammas(own, other, k, psi);
    };
    return Math.max(0, psi[n] + (sum(a, b) + sum(b, a)) / n);
  }

  /** Sorts the values of each class, and returns the scale of the noise; 0 for a constant neuron. */
  #sort(column: Float32Array | Float64Array): number {
    for (const [c, rows] of this.#rows.entries()) {
      const values = this.#classes[c];
      for (let r = 0; r < rows.length; r++) values[r] = column[rows[r]];
      sortedFloats(values, column instanceof Float32Array);
    }
    return noiseScale(this.#classes);
  }
}

/** Σ ψ(m) over the rows of one class, m the rows of both nearer than the row's k-th neighbour in its own class. */
function sumOfDigammas(own: Float64Array, other: Float64Array, k: number, psi: Float64Array): number {
  let sum = 0;
  // own[first … first + k] are the row and its k neighbours, k of which are nearer than the last; other[low … high) are nearer
  // too. All three only move up, but for roundings. Of rows at that very distance, which are many where values lie on a grid,
  // those on one side count.
  let first = 0;
  let low = 0;
  let high = 0;
  for (let i = 0; i < own.length; i++) {
    const x = own[i];
    if (first < i - k) first = i - k;
    while (first < i && first + k + 1 < own.length && own[first + k + 1] - x < x - own[first]) first++;
    const radius = Math.max(x - own[first], own[first + k] - x);
    while (low < other.length && x - other[low] >= radius) low++;
    while (low > 0 && x - other[low - 1] < radius) low--;
    while (high < other.length && other[high] - x <= radius) high++;
    while (high > 0 && other[high - 1] - x > radius) high--;
    sum += psi[k + Math.max(0, high - low)];
  }
  return sum;
}

/**
 * Mutual information between a neuron and a real target, by the first estimator of Kraskov, Stögbauer and Grassberger
 * (2004), "Estimating mutual information", Physical Review E 69, as scikit-learn's `mutual_info_regression` computes it:
 *
 *     ψ(n) + ψ(k) − ⟨ψ(n_x)⟩ − ⟨ψ(n_y)⟩, at least 0.
 *
 * Both variables are divided by their standard deviation; n_x and n_y are the rows, itself included, that are nearer to row i
 * in one variable than its k-th neighbour is in the larger of both distances.
 *
 * @param target one finite value per row
 * @returns nats; 0 for a constant neuron or target
 * @throws ShapeError when the lengths differ, or there are not more rows than neighbours
 * @throws NonFiniteError when a value is NaN or infinite
 * @throws OptionError when `neighbours` is not a whole number of at least 1
 */
export function mutualInformationOfReal(
  column: Float32Array | Float64Array,
  target: Float64Array,
  options: InformationOptions = {},
): number {
  return new RealInformation(target, options).of(column, options.key);
}

/** {@link mutualInformationOfReal} for many neurons and one target, which is prepared once. */
export class RealInformation {
  readonly #rows: number;
  readonly #neighbours: number;
  readonly #seed: number;
  readonly #digamma: Float64Array;
  /** Undefined where the target is constant. */
  readonly #target: OrderedValues | undefined;

  /** @throws ShapeError | NonFiniteError | OptionError */
  constructor(target: Float64Array, { neighbours = 3, seed = 0 }: InformationOptions = {}) {
    assertNeighbours(neighbours);
    if (target.length <= neighbours) {
      throw new ShapeError(
        `There are ${target.length} rows for ${neighbours} neighbours.`,
        "Give more rows, or fewer neighbours.",
      );
    }
    this.#rows = target.length;
    this.#neighbours = neighbours;
    this.#seed = seed;
    this.#digamma = digammaTable(target.length);
    this.#target = orderedValues(target, () => new Random(seed, "mutual information target"));
  }

  /** @throws ShapeError | NonFiniteError */
  of(column: Float32Array | Float64Array, key = ""): number {
    const n = this.#rows;
    assertLength(column, n);
    const x = orderedValues(column, () => new Random(this.#seed, `mutual information ${key}`));
    const y = this.#target;
    if (!x || !y) return 0;
    const k = this.#neighbours;
    const psi = this.#digamma;
    const plane = new NearestInPlane(x.sorted, x.order, y, k);
    let sum = 0;
    for (let at = 0; at < n; at++) {
      const radius = plane.distance(at) || Number.MIN_VALUE;
      sum += psi[countWithin(x.sorted, at, radius)] + psi[countWithin(y.sorted, y.rank[x.order[at]], radius)];
    }
    return Math.max(0, psi[n] + psi[k] - sum / n);
  }
}

/** How many ascending values lie nearer to the one at a place than `radius`, itself included. */
function countWithin(sorted: Float64Array, at: number, radius: number): number {
  const v = sorted[at];
  // Doubling steps away from the place, then halving ones.
  let step = 1;
  while (at - step >= 0 && v - sorted[at - step] < radius) step *= 2;
  let from = Math.max(0, at - step);
  let to = at - (step >> 1);
  while (from < to) {
    const middle = (from + to) >> 1;
    if (v - sorted[middle] >= radius) from = middle + 1;
    else to = middle;
  }
  const low = from;
  step = 1;
  while (at + step < sorted.length && sorted[at + step] - v < radius) step *= 2;
  from = at + (step >> 1);
  to = Math.min(sorted.length, at + step);
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] - v < radius) from = middle + 1;
    else to = middle;
  }
  return from - low;
}

/** Values in standard deviations, equal ones parted by noise; undefined when they are all equal. */
function orderedValues(column: Float32Array | Float64Array, random: () => Random): OrderedValues | undefined {
  const n = column.length;
  const values = Float64Array.from(column);
  const scale = noiseScale([values]);
  if (scale === 0) return undefined;
  const order = orderOf(values, column instanceof Float32Array);
  const sd = standardDeviation(values);
  const sorted = new Float64Array(n);
  for (let r = 0; r < n; r++) sorted[r] = values[order[r]] / sd;
  let noise: Random | undefined;
  for (let start = 0, end = 1; start < n; start = end++) {
    while (end < n && sorted[end] === sorted[start]) end++;
    if (end - start === 1) continue;
    noise ??= random();
    for (let r = start; r < end; r++) {
      sorted[r] += ((NOISE * scale) / sd) * (noise.uint32() / 2 ** 31 - 1);
    }
    sortTogether(sorted, order, start, end);
  }
  if (noise && !isAscending(sorted)) sortTogether(sorted, order, 0, n);
  const rank = new Uint32Array(n);
  for (let r = 0; r < n; r++) rank[order[r]] = r;
  return { sorted, order, rank };
}

/** Sorts values from `start` to `end`, and their rows with them. */
function sortTogether(sorted: Float64Array, order: Uint32Array, start: number, end: number): void {
  const values = sorted.slice(start, end);
  const rows = order.slice(start, end);
  const by = orderOf(values, false);
  for (let r = 0; r < by.length; r++) {
    sorted[start + r] = values[by[r]];
    order[start + r] = rows[by[r]];
  }
}

/**
 * The larger of the standard deviation and the mean absolute value; 0 when all are equal.
 * @throws NonFiniteError when a value is NaN or infinite
 */
function noiseScale(parts: readonly Float64Array[]): number {
  let n = 0;
  let sum = 0;
  let magnitude = 0;
  let low = Infinity;
  let high = -Infinity;
  for (const values of parts) {
    n += values.length;
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      sum += v;
      magnitude += Math.abs(v);
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  if (!Number.isFinite(magnitude)) {
    throw new NonFiniteError("A value is NaN or infinite.", "Remove rows that are not finite.");
  }
  if (!(low < high)) return 0;
  const mean = sum / n;
  let squares = 0;
  for (const values of parts) for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2;
  return Math.max(Math.sqrt(squares / n), magnitude / n);
}

function rowsLabelled(labels: Uint8Array, label: number): Uint32Array {
  const rows = new Uint32Array(labels.length);
  let count = 0;
  for (let i = 0; i < labels.length; i++) if (labels[i] === label) rows[count++] = i;
  return rows.slice(0, count);
}

function assertNeighbours(neighbours: number): void {
  if (Number.isInteger(neighbours) && neighbours >= 1) return;
  throw new OptionError(`neighbours is ${neighbours}.`, "Give a whole number of at least 1.");
}

function assertLength(column: ArrayLike<number>, rows: number): void {
  if (column.length === rows) return;
  throw new ShapeError(`There are ${column.length} values for ${rows} rows.`, "Give one value per row.");
}
