/**
 * One logistic probe per neuron, four neurons to a vector, by Newton's method on growing samples of the rows.
 *
 * A panel holds four neurons' values y, negative rows first, and within each class rows in an order whose beginnings are fair
 * samples. With τ = v·y + c for negative and its opposite for positive rows, in units of log₂e and with the sign turned, so that
 * e = 2^τ, a row is missed by u = 1/(1 + e), its loss is −log(e·u), and its curvature u·(1 − u). Sums run in f32 over blocks of
 * 32 rows and in f64 across them, apart for the two classes, whose weights are applied to the sums.
 *
 * A call advances its panels by so many rows at most and leaves what it has done in their states: no item takes long.
 */
import { mulAdd, splat } from "./vector";

/** Rows of a block in f32. */
const BLOCK: i32 = 32;
const LOG2E: f64 = 1.4426950408889634;
const LN2: f64 = 0.6931471805599453;
/** Unit roundoff of f32. */
const ROUNDING: f64 = 5.960464477539063e-8;

/* A panel's state: f64[4] each, unless it says otherwise. */
/** Slope v and intercept c of τ: numbers that f32 holds. */
const V: usize = 0;
const C: usize = 32;
/** The last step, and the slope of the objective along it where it started; 0 when there is none to look back at. */
const STEP_V: usize = 64;
const STEP_C: usize = 96;
const DESCENT: usize = 128;
/** Given: the penalty's curvature in v, the largest |y|, and Σ y² of each class. */
const PENALTY: usize = 160;
const REACH: usize = 192;
const SQUARES: usize = 224;
/** Results: slope and intercept of z = −τ·ln 2, bound of the Newton decrement, objective. */
const OUT: usize = 288;
/** i32[4]: 0 at work, 1 finished within the tolerance, 2 as far as f32 goes. */
const STATUS: usize = 416;
/** i32 each: sample, step on it, class and row in turn. */
const SAMPLE: usize = 432;
const STEP: usize = 436;
const CLASS: usize = 440;
const ROW: usize = 444;
/** Sums of u, u·y, q, q·y, q·y², losses by class: f64[2][6][4]. */
const SUMS: usize = 448;
const CLASS_SUMS: usize = 192;

/** Steps on a sample before the next larger one is tried, and on all rows before the neuron is given up. */
const SAMPLE_STEPS: i32 = 12;
const LAST_STEPS: i32 = 12;

/* The problem: i32 negatives, positives, samples, then rows of each class by sample, i32[8][2]; from 80 on f64. */
const ROWS_OF: usize = 16;
/** C times the weight of a row, by class. */
const WEIGHT: usize = 80;
/** C·Σω. */
const TOTAL: usize = 96;
const TOLERANCE: usize = 104;

/** 2^t for t in [−126, 126], where `clamp` takes it: 2^n·p(f), n the nearest integer, p of degree 6 with an error below 2⁻²³ (Estrin). */
@inline
function exp2(t: v128, clamp: bool): v128 {
  const clamped = clamp ? f32x4.pmin(f32x4.pmax(t, splat(-126)), splat(126)) : t;
  const shifted = f32x4.add(clamped, splat(12582912));
  const f = f32x4.sub(clamped, f32x4.sub(shifted, splat(12582912)));
  const f2 = f32x4.mul(f, f);
  const low = mulAdd(splat(6.931471805599453e-1), f, splat(1));
  const middle = mulAdd(splat(5.550332471162809e-2), f, splat(2.402264791363012e-1));
  let high = mulAdd(splat(1.339887440266574e-3), f, splat(9.61843735767464e-3));
  high = mulAdd(splat(1.5353361883195e-4), f2, high);
  let p = mulAdd(middle, f2, low);
  p = mulAdd(high, f32x4.mul(f2, f2), p);
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/** Adds four f32 to four f64. */
function flush(at: usize, v: v128): void {
  v128.store(at, f64x2.add(v128.load(at), f64x2.promote_low_f32x4(v)));
  const high = v128.shuffle<i32>(v, v, 2, 3, 2, 3);
  v128.store(at, f64x2.add(v128.load(at, 16), f64x2.promote_low_f32x4(high)), 16);
}

/** Sums over `count` rows from y on at slope v and intercept c; `exps` is room for a block. */
@inline
function addRows(y: usize, count: i32, v: v128, c: v128, sums: usize, exps: usize, losses: bool, clamp: bool): void {
  const one = splat(1);
  // Products of what is left after each block, f64: logarithms are taken every 16 blocks, long before 2⁻¹⁰²².
  let low = f64x2.splat(1), high = low;
  for (let start = 0; start < count; start += BLOCK) {
    const end = y + (<usize>min(BLOCK, count - start) << 4);
    // Two loops: the second's work hides the first's latencies badly when they are one.
    for (let p = y, e = exps; p < end; p += 16, e += 16) v128.store(e, exp2(mulAdd(v, v128.load(p), c), clamp));
    let u0 = splat(0), u1 = u0, q0 = u0, q1 = u0, q2 = u0, product = one, excess = u0;
    for (let e = exps; y < end; y += 16, e += 16) {
      const x = v128.load(y);
      const exp = v128.load(e);
      const u = f32x4.div(one, f32x4.add(one, exp));
      const hit = f32x4.mul(exp, u);
      const q = f32x4.mul(u, hit);
      const qx = f32x4.mul(q, x);
      u0 = f32x4.add(u0, u);
      u1 = mulAdd(u, x, u1);
      q0 = f32x4.add(q0, q);
      q1 = f32x4.add(q1, qx);
      q2 = mulAdd(qx, x, q2);
      if (losses) {
        // −log₂(hit) = max(−τ, 0) − log₂(max(u, hit)): the product of 32 factors of ½ … 1 stays in range.
        excess = f32x4.add(excess, f32x4.pmin(mulAdd(v, x, c), splat(0)));
        product = f32x4.mul(product, f32x4.pmax(u, hit));
      }
    }
    flush(sums, u0);
    flush(sums + 32, u1);
    flush(sums + 64, q0);
    flush(sums + 96, q1);
    flush(sums + 128, q2);
    if (losses) {
      flush(sums + 160, f32x4.neg(excess));
      low = f64x2.mul(low, f64x2.promote_low_f32x4(product));
      high = f64x2.mul(high, f64x2.promote_low_f32x4(v128.shuffle<i32>(product, product, 2, 3, 2, 3)));
      if ((start & (16 * BLOCK - 1)) == 15 * BLOCK || start + BLOCK >= count) {
        subtractLogarithms(sums + 160, low);
        subtractLogarithms(sums + 176, high);
        low = f64x2.splat(1);
        high = low;
      }
    }
  }
}

function subtractLogarithms(at: usize, product: v128): void {
  store<f64>(at, load<f64>(at) - log2(f64x2.extract_lane(product, 0)));
  store<f64>(at, load<f64>(at, 8) - log2(f64x2.extract_lane(product, 1)), 8);
}

/** log₂ of a positive normal number, to 1e-12: 2·artanh((m − 1)/(m + 1)) of the mantissa. */
function log2(x: f64): f64 {
  const bits = reinterpret<u64>(x);
  const m = reinterpret<f64>((bits & 0xfffffffffffff) | 0x3ff0000000000000);
  const s = (m - 1) / (m + 1);
  const s2 = s * s;
  let series: f64 = 0;
  for (let k: i32 = 23; k > 0; k -= 2) series = series * s2 + 1.0 / <f64>k;
  return <f64>(<i32>(bits >> 52) - 1023) + 2 * LOG2E * s * series;
}

@inline
function four(at: usize): v128 {
  return f32x4(<f32>load<f64>(at), <f32>load<f64>(at, 8), <f32>load<f64>(at, 16), <f32>load<f64>(at, 24));
}

/** One neuron's Newton step from the sums of a sample; true when it is finished, or when it wants the next sample. */
function advance(s: usize, lane: usize, problem: usize, sample: i32, last: bool, step: i32): bool {
  const at = s + (lane << 3);
  const status = s + STATUS + (lane << 2);
  const sizes = problem + ROWS_OF + (<usize>sample << 3);
  const n0 = <f64>load<i32>(problem), n1 = <f64>load<i32>(problem, 4);
  // Weights of a sampled row stand for those that were left out.
  const r0 = (load<f64>(problem + WEIGHT) * n0) / <f64>load<i32>(sizes);
  const r1 = (load<f64>(problem + WEIGHT, 8) * n1) / <f64>load<i32>(sizes, 4);
  const total = load<f64>(problem + TOTAL);
  const a = at + SUMS, b = a + CLASS_SUMS;
  // In w = −v·ln 2 and the intercept likewise: z = w·y + t is −τ of negative rows.
  const w = -load<f64>(at + V) * LN2, t = -load<f64>(at + C) * LN2;
  const penalty = load<f64>(at + PENALTY);
  const g0 = r0 * load<f64>(a) - r1 * load<f64>(b);
  const g1 = r0 * load<f64>(a, 32) - r1 * load<f64>(b, 32) + penalty * w;
  const q = r0 * load<f64>(a, 64) + r1 * load<f64>(b, 64);
  const h01 = r0 * load<f64>(a, 96) + r1 * load<f64>(b, 96);
  const qyy = r0 * load<f64>(a, 128) + r1 * load<f64>(b, 128);
  const h11 = qyy + penalty;
  // Look back, unless the step was so short that Newton's method cannot fail: the objective is convex, and a slope that has
  // turned by less than half of its size is no overshoot to speak of.
  const stepV = load<f64>(at + STEP_V), stepC = load<f64>(at + STEP_C), descent = load<f64>(at + DESCENT);
  if (descent > 0 && abs(stepV) * load<f64>(at + REACH) + abs(stepC) > 0.7) {
    const slope = g1 * stepV + g0 * stepC;
    if (!(slope <= 0.5 * descent)) {
      // Back by all of the step but the secant's share.
      const share = max(0.1, min(0.6, descent / (descent + slope)));
      const kept = share == share ? share : 0.1;
      moveTo(at, w - (1 - kept) * stepV, t - (1 - kept) * stepC);
      store<f64>(at + STEP_V, kept * stepV);
      store<f64>(at + STEP_C, kept * stepC);
      store<f64>(at + DESCENT, kept * descent);
      if (last && step >= LAST_STEPS) store<i32>(status, 2);
      return last ? load<i32>(status) != 0 : false;
    }
  }
  const det = q * h11 - h01 * h01;
  const dw = (h01 * g0 - q * g1) / det, dt = (h01 * g1 - h11 * g0) / det;
  const lambda2 = -(g1 * dw + g0 * dt);
  if (!(lambda2 >= 0 && lambda2 < Infinity && det > 0)) {
    // Saturated, or not finite: float64 sees further.
    store<i32>(status, 2);
    store<f64>(at + OUT, NaN);
    return true;
  }
  const decrement = lambda2 / (2 * total);
  if (last) {
    const reach = abs(dw) * load<f64>(at + REACH) + abs(dt);
    const grown = exponential(min(reach, 40));
    // The Hessian changes by e^±reach along the step; the gradient that is left is bounded by what it does not see.
    const curve = reach > 0.5 ? (grown - 1 - reach) / reach : reach * (0.5 + reach / 5);
    const tight = 1 - abs(h01) / sqrt(q * h11);
    const own = curve + (2 * ROUNDING * <f64>(BLOCK + 40)) / tight;
    // What rounding may have done to the gradient: sums of BLOCK terms, and the error of τ in each.
    const turns = 6 * ROUNDING, chain = ROUNDING * <f64>(BLOCK + 12);
    const squares0 = load<f64>(at + SQUARES), squares1 = load<f64>(at + SQUARES, 32);
    const u0 = load<f64>(a), u1 = load<f64>(b);
    const cross = sqrt(q * qyy);
    const e0 = chain * (r0 * u0 + r1 * u1) + turns * (abs(w) * cross + abs(t) * q);
    const e1 =
      chain * (r0 * sqrt(u0 * squares0) + r1 * sqrt(u1 * squares1)) + turns * (abs(w) * qyy + abs(t) * cross);
    const noise = sqrt((e0 * e0 * h11 + 2 * e0 * e1 * abs(h01) + e1 * e1 * q) / det);
    const left = (own * sqrt(lambda2) + noise) * sqrt(grown);
    const bound = (left * left) / (2 * total);
    const reached = bound <= load<f64>(problem + TOLERANCE);
    if (step > 0 && (reached || own * sqrt(lambda2) < noise)) {
      store<f64>(at + OUT, w + dw);
      store<f64>(at + OUT, t + dt, 32);
      store<f64>(at + OUT, bound, 64);
      const losses = LN2 * (r0 * load<f64>(a, 160) + r1 * load<f64>(b, 160));
      store<f64>(at + OUT, losses + (penalty * w * w) / 2 - lambda2 / 2, 96);
      store<i32>(status, reached ? 1 : 2);
      return true;
    }
    if (step >= LAST_STEPS) {
      store<f64>(at + OUT, w);
      store<f64>(at + OUT, t, 32);
      store<i32>(status, 2);
      return true;
    }
  }
  moveTo(at, w + dw, t + dt);
  store<f64>(at + STEP_V, dw);
  store<f64>(at + STEP_C, dt);
  store<f64>(at + DESCENT, lambda2);
  // The optimum of a sample of m rows is off by a decrement of about 1/m, and a step at δ leaves less than δ²: near enough.
  return !last && decrement * decrement * <f64>(load<i32>(sizes) + load<i32>(sizes, 4)) <= 0.3;
}

/** e^x for 0 ≤ x ≤ 40, to 1e-9 and never below: the series of x/64, squared six times. */
function exponential(x: f64): f64 {
  const h = x / 64;
  let e = 1 + h * (1 + (h / 2) * (1 + (h / 3) * (1 + (h / 4) * (1 + (h / 5) * (1 + h / 6)))));
  for (let i = 0; i < 6; i++) e *= e;
  return e * (1 + 1e-7);
}

/** Sets w and t to numbers whose v and c f32 holds. */
function moveTo(at: usize, w: f64, t: f64): void {
  store<f64>(at + V, <f64>(<f32>(-w * LOG2E)));
  store<f64>(at + C, <f64>(<f32>(-t * LOG2E)));
}

/**
 * Item: some panels. Words: 0 panels, 1 bytes of a panel, 2 states, 3 bytes of a state, 4 number of panels, 5 panels of an item,
 * 6 rows that a panel advances by at most, 7 problem, 8 scratch (BLOCK · 16 bytes), 9 scratch of a thread.
 */
export function fitSingleNeurons(item: i32, a: usize, thread: i32): void {
  const problem = <usize>load<u32>(a, 28);
  const exps = <usize>load<u32>(a, 32) + <usize>thread * <usize>load<u32>(a, 36);
  const perItem = load<i32>(a, 20);
  const samples = load<i32>(problem, 8);
  for (let panel = item * perItem, end = min(panel + perItem, load<i32>(a, 16)); panel < end; panel++) {
    const y = <usize>load<u32>(a) + <usize>panel * <usize>load<u32>(a, 4);
    const s = <usize>load<u32>(a, 8) + <usize>panel * <usize>load<u32>(a, 12);
    let left = load<i32>(a, 24);
    while (left > 0 && !allDone(s)) {
      const sample = load<i32>(s + SAMPLE), step = load<i32>(s + STEP), side = load<i32>(s + CLASS);
      const last = sample == samples - 1;
      const row = load<i32>(s + ROW);
      if (side == 0 && row == 0) memory.fill(s + SUMS, 0, 2 * CLASS_SUMS);
      const rows = load<i32>(problem + ROWS_OF + (<usize>sample << 3) + (<usize>side << 2));
      const count = min(rows - row, left);
      const base = y + (<usize>(row + (side == 1 ? load<i32>(problem) : 0)) << 4);
      let v = four(s + V), c = four(s + C);
      if (side == 1) {
        v = f32x4.neg(v);
        c = f32x4.neg(c);
      }
      const sums = s + SUMS + <usize>side * CLASS_SUMS;
      // The first step on all rows is never the last one: its losses are not asked for.
      const losses = last && step > 0;
      if (tame(s)) {
        if (losses) addRows(base, count, v, c, sums, exps, true, false);
        else addRows(base, count, v, c, sums, exps, false, false);
      } else if (losses) addRows(base, count, v, c, sums, exps, true, true);
      else addRows(base, count, v, c, sums, exps, false, true);
      left -= count;
      store<i32>(s + ROW, row + count);
      if (row + count < rows) break;
      store<i32>(s + ROW, 0);
      store<i32>(s + CLASS, side + 1);
      if (side == 0) continue;
      store<i32>(s + CLASS, 0);
      let next = true;
      for (let lane: usize = 0; lane < 4; lane++) {
        if (load<i32>(s + STATUS + (lane << 2)) == 0 && !advance(s, lane, problem, sample, last, step)) next = false;
      }
      if (!last && (next || step == SAMPLE_STEPS)) {
        store<i32>(s + SAMPLE, sample + 1);
        store<i32>(s + STEP, 0);
        // Slopes of two samples are not to be compared.
        memory.fill(s + DESCENT, 0, 32);
      } else store<i32>(s + STEP, step + 1);
    }
  }
}

/** Whether no row's |τ| can exceed 125. */
function tame(s: usize): bool {
  for (let at = s; at < s + 32; at += 8) {
    if (!(abs(load<f64>(at + V)) * load<f64>(at + REACH) + abs(load<f64>(at + C)) <= 125)) return false;
  }
  return true;
}

@inline
function allDone(s: usize): bool {
  return v128.all_true<i32>(v128.load(s + STATUS));
}
