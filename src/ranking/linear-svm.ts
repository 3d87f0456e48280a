/**
 * Linear support vector machine with the hinge loss, solved in the dual by coordinate descent with shrinking: Hsieh, Chang,
 * Lin, Keerthi and Sundararajan (2008), "A dual coordinate descent method for large-scale linear SVM", ICML.
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { CallOptions } from "../backends/backend.ts";
import { Random } from "../random.ts";

export interface LinearSvmOptions extends CallOptions {
  /** Inverse regularisation strength C > 0. */
  readonly C: number;
  /** Class weights n/(2·n_class) when true, 1 when false. */
  readonly balanced: boolean;
  /** Duality gap over the objective at which a fit has converged. */
  readonly tolerance: number;
  /** Passes over the rows at most. */
  readonly maxEpochs: number;
  /** Seed of the order in which rows are visited. */
  readonly seed: number;
  /** Called after each pass with passes done and the largest number of them. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface LinearSvmFit {
  readonly coefficients: Float64Array;
  readonly intercept: number;
  readonly converged: boolean;
  /** Passes over the rows, those over few of them included. */
  readonly epochs: number;
  readonly objective: number;
  /** The objective minus a lower bound of its minimum; ‖w − w*‖² + (b − b*)² ≤ 2·gap. */
  readonly dualityGap: number;
}

/**
 * Minimises ½(‖w‖² + b²) + C·Σ ω_i·max(0, 1 − s_i(w·x_i + b)), s = ±1: scikit-learn's
 * `LinearSVC(loss="hinge", intercept_scaling=1)`, which penalises the intercept like a coefficient.
 *
 * @param x [rows × d] row-major, finite
 * @param positive 1 or 0 by row; both occur
 * @throws the signal's reason
 */
export async function fitLinearSvm(
  x: Float32Array | Float64Array,
  d: number,
  positive: Uint8Array,
  options: LinearSvmOptions,
): Promise<LinearSvmFit> {
  const pacer = new Pacer(options.signal);
  const n = positive.length;
  const { C, balanced } = options;
  const positives = positive.reduce((sum, label) => sum + label, 0);
  const bound = Float64Array.from(positive, (label) =>
    balanced ? (C * n) / (2 * (label ? positives : n - positives)) : C,
  );
  const diagonal = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const at = i * d;
    let sum = 1;
    for (let j = 0; j < d; j++) sum += x[at + j] * x[at + j];
    diagonal[i] = sum;
    if (pacer.due) await pacer.turn();
  }
  const w = new Float64Array(d);
  let b = 0;
  const alpha = new Float64Array(n);
  const random = new Random(options.seed, "linear svm");
  const rows = Uint32Array.from(alpha.keys());

  /** The objective at (w, b), and the bound from below that α gives. */
  const certificate = async (): Promise<{ objective: number; dualityGap: number }> => {
    let norm = b * b;
    for (let j = 0; j < d; j++) norm += w[j] * w[j];
    let loss = 0;
    let dual = 0;
    for (let i = 0; i < n; i++) {
      const margin = (positive[i] ? 1 : -1) * (dot(x, i * d, d, w) + b);
      if (margin < 1) loss += bound[i] * (1 - margin);
      dual += alpha[i];
      if (pacer.due) await pacer.turn();
    }
    const objective = norm / 2 + loss;
    return { objective, dualityGap: Math.max(0, objective - (dual - norm / 2)) };
  };

  let active = n;
  /** Rows at a bound whose gradient points out further than this are left out. */
  let outAbove = Infinity;
  let outBelow = -Infinity;
  let violation = 0.1;
  let epochs = 0;
  let end = await certificate();
  const converged = (): boolean => end.dualityGap <= options.tolerance * end.objective;
  while (!converged() && epochs < options.maxEpochs) {
    for (let i = active - 1; i > 0; i--) {
      const r = random.below(i + 1);
      const held = rows[i];
      rows[i] = rows[r];
      rows[r] = held;
    }
    let highest = -Infinity;
    let lowest = Infinity;
    for (let r = 0; r < active; r++) {
      const i = rows[r];
      const sign = positive[i] ? 1 : -1;
      const gradient = sign * (dot(x, i * d, d, w) + b) - 1;
      const a = alpha[i];
      const C_i = bound[i];
      let projected = gradient;
      if (a === 0 && gradient >= 0) projected = 0;
      if (a === C_i && gradient <= 0) projected = 0;
      if ((a === 0 && gradient > outAbove) || (a === C_i && gradient < outBelow)) {
        active--;
        rows[r] = rows[active];
        rows[active] = i;
        r--;
      } else {
        if (projected > highest) highest = projected;
        if (projected < lowest) lowest = projected;
        if (projected !== 0) {
          const next = Math.min(Math.max(a - gradient / diagonal[i], 0), C_i);
          const step = (next - a) * sign;
          if (step !== 0) {
            alpha[i] = next;
            addRow(x, i * d, d, step, w);
            b += step;
          }
        }
      }
      if (pacer.due) await pacer.turn();
    }
    epochs++;
    options.onProgress?.(epochs, options.maxEpochs);
    if (active === 0 || highest - lowest <= violation) {
      if (active === n) {
        end = await certificate();
        violation /= 4;
      } else active = n;
      outAbove = Infinity;
      outBelow = -Infinity;
    } else {
      outAbove = highest > 0 ? highest : Infinity;
      outBelow = lowest < 0 ? lowest : -Infinity;
    }
  }
  if (!converged()) end = await certificate();
  return { coefficients: w, intercept: b, converged: converged(), epochs, ...end };
}

/** Row times w, in four sums that do not wait for each other. */
function dot(x: Float32Array | Float64Array, at: number, d: number, w: Float64Array): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let j = 0;
  for (; j + 3 < d; j += 4) {
    s0 += x[at + j] * w[j];
    s1 += x[at + j + 1] * w[j + 1];
    s2 += x[at + j + 2] * w[j + 2];
    s3 += x[at + j + 3] * w[j + 3];
  }
  for (; j < d; j++) s0 += x[at + j] * w[j];
  return s0 + s1 + (s2 + s3);
}

function addRow(x: Float32Array | Float64Array, at: number, d: number, step: number, w: Float64Array): void {
  for (let j = 0; j < d; j++) w[j] += step * x[at + j];
}
