/** Plain float64 loops that results are verified against and that quick mode measures ratios to. Written to be read. */

/** Class counts, means and centred sums of squares of one label set, two passes: [class][neuron]. */
export interface LoopMoments {
  readonly count: readonly [number, number];
  readonly mean: readonly [Float64Array, Float64Array];
  readonly sumOfSquares: readonly [Float64Array, Float64Array];
}

export function momentsLoop(
  x: Float32Array,
  rows: number,
  d: number,
  labels: ArrayLike<number>,
): LoopMoments {
  const count: [number, number] = [0, 0];
  const mean: [Float64Array, Float64Array] = [new Float64Array(d), new Float64Array(d)];
  const sumOfSquares: [Float64Array, Float64Array] = [new Float64Array(d), new Float64Array(d)];
  for (let i = 0; i < rows; i++) {
    const sums = mean[labels[i]];
    count[labels[i]]++;
    for (let j = 0; j < d; j++) sums[j] += x[i * d + j];
  }
  for (const c of [0, 1]) for (let j = 0; j < d; j++) mean[c][j] /= count[c];
  for (let i = 0; i < rows; i++) {
    const centre = mean[labels[i]];
    const squares = sumOfSquares[labels[i]];
    for (let j = 0; j < d; j++) squares[j] += (x[i * d + j] - centre[j]) ** 2;
  }
  return { count, mean, sumOfSquares };
}

/** A support's columns in float64, one after the other. */
export function columnsLoop(
  x: Float32Array,
  rows: number,
  d: number,
  support: ArrayLike<number>,
): Float64Array[] {
  return Array.from(support, (j) => Float64Array.from({ length: rows }, (_, i) => x[i * d + j]));
}

/** Weights n/(2·n_class). */
export function balancedWeights(labels: ArrayLike<number>): Float64Array {
  const positive = Array.from(labels).filter((label) => label === 1).length;
  const n = labels.length;
  return Float64Array.from(labels, (label) => n / (2 * (label === 1 ? positive : n - positive)));
}

/** C·Σ ω·log(1 + exp(−s·z)) + ½|w|² at θ = (w, b). */
export function objectiveLoop(
  columns: readonly ArrayLike<number>[],
  labels: ArrayLike<number>,
  weights: Float64Array,
  C: number,
  theta: ArrayLike<number>,
): number {
  const k = columns.length;
  const z = new Float64Array(labels.length).fill(theta[k]);
  for (let c = 0; c < k; c++) for (let i = 0; i < z.length; i++) z[i] += theta[c] * columns[c][i];
  let norm = 0;
  for (let c = 0; c < k; c++) norm += theta[c] ** 2;
  return C * lossLoop(z, labels, weights) + norm / 2;
}

/** Σ ω·log(1 + exp(−s·z)) */
export function lossLoop(z: ArrayLike<number>, labels: ArrayLike<number>, weights: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < labels.length; i++) {
    const margin = labels[i] === 1 ? z[i] : -z[i];
    sum += weights[i] * (Math.max(0, -margin) + Math.log1p(Math.exp(-Math.abs(margin))));
  }
  return sum;
}

/** x·w + b of every row for a probe (w, b) on every neuron. */
export function marginsLoop(
  x: Float32Array,
  rows: number,
  d: number,
  theta: ArrayLike<number>,
): Float64Array {
  const z = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    z[i] = theta[d];
    for (let j = 0; j < d; j++) z[i] += theta[j] * x[i * d + j];
  }
  return z;
}

/** The optimum of a probe, to hold others against. */
export interface OptimalFit {
  /** (w, b) */
  readonly theta: Float64Array;
  /** (f(θ) − f at the optimum) / (C·Σω): the mean loss that θ still has to lose. */
  excess(theta: ArrayLike<number>): number;
}

export function optimumLoop(columns: readonly Float64Array[], labels: ArrayLike<number>, C = 1): OptimalFit {
  const weights = balancedWeights(labels);
  const total = C * weights.reduce((sum, weight) => sum + weight, 0);
  const theta = newtonLoop(columns, labels, C);
  const value = objectiveLoop(columns, labels, weights, C, theta);
  return { theta, excess: (other) => (objectiveLoop(columns, labels, weights, C, other) - value) / total };
}

/** Newton's method with the full Hessian and halved steps, to the last digits: θ = (w, b). */
export function newtonLoop(
  columns: readonly Float64Array[],
  labels: ArrayLike<number>,
  C = 1,
  tolerance = 1e-20,
): Float64Array {
  const k = columns.length;
  const n = labels.length;
  const m = k + 1;
  const weights = balancedWeights(labels);
  let theta = new Float64Array(m);
  let value = objectiveLoop(columns, labels, weights, C, theta);
  for (let iteration = 0; iteration < 100; iteration++) {
    const gradient = new Float64Array(m);
    const hessian = new Float64Array(m * m);
    const row = new Float64Array(m).fill(1);
    for (let i = 0; i < n; i++) {
      let z = theta[k];
      for (let c = 0; c < k; c++) {
        row[c] = columns[c][i];
        z += theta[c] * row[c];
      }
      const p = 1 / (1 + Math.exp(-z));
      const slope = C * weights[i] * (p - labels[i]);
      const curvature = C * weights[i] * p * (1 - p);
      for (let a = 0; a < m; a++) {
        gradient[a] += slope * row[a];
        for (let b = 0; b <= a; b++) hessian[a * m + b] += curvature * row[a] * row[b];
      }
    }
    for (let c = 0; c < k; c++) {
      gradient[c] += theta[c];
      hessian[c * m + c] += 1;
    }
    const step = solveLoop(hessian, gradient, m);
    let slope = 0;
    for (let a = 0; a < m; a++) slope += gradient[a] * step[a];
    let length = 1;
    let next = theta;
    for (let halving = 0; halving < 40; halving++, length /= 2) {
      next = theta.map((t, a) => t - length * step[a]);
      if (objectiveLoop(columns, labels, weights, C, next) <= value * (1 + 1e-12)) break;
    }
    theta = next;
    value = objectiveLoop(columns, labels, weights, C, theta);
    if (slope <= tolerance * 2 * C * n) break;
  }
  return theta;
}

/** Solves the symmetric system whose lower triangle is given, by Cholesky; overwrites the matrix. */
function solveLoop(a: Float64Array, rhs: Float64Array, m: number): Float64Array {
  for (let i = 0; i < m; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * m + j];
      for (let t = 0; t < j; t++) sum -= a[i * m + t] * a[j * m + t];
      a[i * m + j] = i === j ? Math.sqrt(sum) : sum / a[j * m + j];
    }
  }
  const out = Float64Array.from(rhs);
  for (let i = 0; i < m; i++) {
    for (let t = 0; t < i; t++) out[i] -= a[i * m + t] * out[t];
    out[i] /= a[i * m + i];
  }
  for (let i = m - 1; i >= 0; i--) {
    for (let t = i + 1; t < m; t++) out[i] -= a[t * m + i] * out[t];
    out[i] /= a[i * m + i];
  }
  return out;
}

/** Area under the ROC curve of one score, ties counted half. */
export function aucLoop(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a] - scores[b]);
  let [negatives, positives, below] = [0, 0, 0];
  for (let start = 0; start < order.length;) {
    let end = start;
    let [tiedPositive, tiedNegative] = [0, 0];
    while (end < order.length && scores[order[end]] === scores[order[start]]) {
      if (labels[order[end++]] === 1) tiedPositive++;
      else tiedNegative++;
    }
    below += tiedPositive * (negatives + tiedNegative / 2);
    positives += tiedPositive;
    negatives += tiedNegative;
    start = end;
  }
  return below / (positives * negatives);
}

/** TPR − FPR of the rule "score ≥ t". */
export function informednessLoop(scores: ArrayLike<number>, labels: ArrayLike<number>, t: number): number {
  const share = (label: number): number => {
    const rows = Array.from(labels, (_, i) => i).filter((i) => labels[i] === label);
    return rows.filter((i) => scores[i] >= t).length / rows.length;
  };
  return share(1) - share(0);
}

/** {@link informednessLoop} where its absolute value is largest over the observed values t. */
export function bestInformednessLoop(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const positive = Array.from(labels).filter((label) => label === 1).length;
  const negative = labels.length - positive;
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a] - scores[b]);
  let [best, positivesBelow, negativesBelow] = [0, 0, 0];
  for (const [at, i] of order.entries()) {
    const informedness = negativesBelow / negative - positivesBelow / positive;
    const first = at === 0 || scores[i] !== scores[order[at - 1]];
    if (first && Math.abs(informedness) > Math.abs(best)) best = informedness;
    if (labels[i] === 1) positivesBelow++;
    else negativesBelow++;
  }
  return best;
}

/** Y [rows × n] = X [rows × k] · W [k × n], float32, row by row: the products of a forward pass as one would write them. */
export function productLoop(
  x: Float32Array,
  w: Float32Array,
  rows: number,
  k: number,
  n: number,
): Float32Array {
  const y = new Float32Array(rows * n);
  for (let i = 0; i < rows; i++) {
    for (let t = 0; t < k; t++) {
      const value = x[i * k + t];
      for (let j = 0; j < n; j++) y[i * n + j] += value * w[t * n + j];
    }
  }
  return y;
}
