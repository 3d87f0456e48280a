/**
 * Local search: exchanges one neuron of a support for one outside of it for as long as that lowers the objective. Pairs are
 * ranked by the quadratic model of the objective at the fit, and the best few are fitted.
 */
import { choleskyFactor, choleskySolve } from "../backends/cpu/reference/cholesky.ts";
import { product } from "./cuts.ts";
import { margins } from "./relaxation.ts";
import type { FittedSupport, SearchState } from "./search.ts";

/** Exchanges at most, and pairs fitted for each. */
const MAX_EXCHANGES = 50;
const TRIES = 5;
/** Width over which the hinge is rounded off for the model. */
const MODEL_WIDTH = 0.1;

/** @returns the support that no exchange improves, as far as the model sees; the given one where there is none */
export function* swapNeurons(
  shared: SearchState,
  start: FittedSupport,
  expired: () => boolean,
): Generator<undefined, FittedSupport, undefined> {
  let best = start;
  for (let exchange = 0; exchange < MAX_EXCHANGES && !expired(); exchange++) {
    let better: FittedSupport | undefined;
    const pairs = yield* promisingPairs(shared, best);
    for (const { out, enter } of pairs) {
      const support = best.support.map((j) => (j === out ? enter : j));
      better = yield* shared.fitBelow(support, best.objective, best.point);
      if (better) break;
    }
    if (!better) break;
    best = better;
  }
  return best;
}

interface Pair {
  readonly out: number;
  readonly enter: number;
  /** Change of the objective that the model expects. */
  readonly change: number;
}

/**
 * With A the penalised Hessian on the support and the intercept, B its inverse, and h, d a neuron's Hessian entries and gradient:
 * taking out i costs β_i²/(2·B_ii) and moves the others by −β_i·B_i/B_ii; adding j then gains g²/(2c), g the gradient there
 * and c its curvature with the others free.
 */
function* promisingPairs(
  { problem, work, dropped }: SearchState,
  { point }: FittedSupport,
): Generator<undefined, Pair[], undefined> {
  const { columns, signs, weights, gamma, loss, rows } = problem;
  const { z, slope, curvature, v } = work;
  const support = point.candidates;
  const k = support.length;
  const m = k + 1;
  margins(problem, support, point.beta, point.intercept, z);
  work.centre.fill(loss.rounded ? 0.5 : 0);
  loss.derivatives(z, weights, { width: MODEL_WIDTH, centre: work.centre }, slope, curvature);
  yield;
  const bent = Array.from({ length: m }, (_, a) => {
    const x = a === k ? signs : columns[support[a]];
    return x.map((value, i) => value * weights[i] * curvature[i]);
  });
  yield;
  const a = new Float64Array(m * m);
  for (let r = 0; r < m; r++) {
    for (let c = 0; c <= r; c++) a[r * m + c] = product(bent[r], c === k ? signs : columns[support[c]]);
  }
  for (let r = 0; r < k; r++) a[r * m + r] += 1 / gamma;
  a[m * m - 1] += 1e-9 * rows;
  choleskyFactor(a, m);
  const inverse = Array.from({ length: m }, (_, r) => {
    const unit = new Float64Array(m);
    unit[r] = 1;
    return choleskySolve(a, m, unit);
  });
  for (let i = 0; i < rows; i++) v[i] = weights[i] * slope[i];
  yield;
  const pairs: Pair[] = [];
  const inside = new Set(support);
  const h = new Float64Array(m);
  const bh = new Float64Array(m);
  for (let j = 0; j < columns.length; j++) {
    if (inside.has(j) || dropped[j]) continue;
    const x = columns[j];
    for (let r = 0; r < m; r++) h[r] = product(bent[r], x);
    let own = 1 / gamma;
    for (let i = 0; i < rows; i++) own += weights[i] * curvature[i] * x[i] * x[i];
    const d = product(v, x);
    let hbh = 0;
    for (let r = 0; r < m; r++) {
      bh[r] = product(inverse[r], h);
      hbh += h[r] * bh[r];
    }
    for (let i = 0; i < k; i++) {
      const bii = inverse[i][i];
      const beta = point.beta[i];
      const g = -d - (beta * bh[i]) / bii;
      // Σ over the others of h·A⁻¹·h: the inverse without row i, less nothing for i itself.
      const c = own - (hbh - (bh[i] * bh[i]) / bii);
      const change = (beta * beta) / (2 * bii) - (g * g) / (2 * Math.max(c, 1e-12 * own));
      if (change < 0) pairs.push({ out: support[i], enter: j, change });
    }
    yield;
  }
  return pairs.sort((p, q) => p.change - q.change).slice(0, TRIES);
}
