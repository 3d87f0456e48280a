/** What one row adds to the logistic objective, in float64: loss, residual and curvature from its decision value. */

/** exp(x) for x ≤ 0, flushed to exp(−700) below −700: x = n·ln 2 + r, then the Taylor series to r¹³ (remainder 4e-18). */
function expOfNegative(x: f64): f64 {
  const t = max(x, -700);
  const n = nearest<f64>(t * 1.4426950408889634);
  const r = t - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  let p: f64 = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  return p * reinterpret<f64>((<i64>n + 1023) << 52);
}

/** log(1 + e) for 0 ≤ e ≤ 1 as 2·artanh(s), s = e/(2 + e) ≤ 1/3: the series to s³³ leaves 1e-18. */
function logOfOnePlus(e: f64): f64 {
  const s = e / (2 + e);
  const q = s * s;
  let p: f64 = 1.0 / 33;
  p = p * q + 1.0 / 31;
  p = p * q + 1.0 / 29;
  p = p * q + 1.0 / 27;
  p = p * q + 1.0 / 25;
  p = p * q + 1.0 / 23;
  p = p * q + 1.0 / 21;
  p = p * q + 1.0 / 19;
  p = p * q + 1.0 / 17;
  p = p * q + 1.0 / 15;
  p = p * q + 1.0 / 13;
  p = p * q + 1.0 / 11;
  p = p * q + 1.0 / 9;
  p = p * q + 1.0 / 7;
  p = p * q + 1.0 / 5;
  p = p * q + 1.0 / 3;
  p = p * q + 1;
  return 2 * s * p;
}

/** Head of a sum's memory: Σ residual, Σ loss, the least margin, Σ curvature; products follow after {@link HEAD} bytes. */
export const HEAD: usize = 32;

/**
 * Residual of a row with decision value z and signed weight a (C·ω, negative for a positive row): a·σ(−margin). Adds to the
 * sums and writes the row's curvature |a|·σ(z)·σ(−z).
 */
export function logisticRow(a: f64, z: f64, sums: usize, curvature: usize): f64 {
  const margin = a < 0 ? z : -z;
  const weight = abs(a);
  const e = expOfNegative(-abs(z));
  const share = 1 / (1 + e);
  const residual = a * (margin > 0 ? e * share : share);
  store<f64>(sums, load<f64>(sums) + residual);
  store<f64>(sums, load<f64>(sums, 8) + weight * (logOfOnePlus(e) + max<f64>(-margin, 0)), 8);
  store<f64>(sums, min<f64>(load<f64>(sums, 16), margin), 16);
  const bend = weight * e * share * share;
  store<f64>(sums, load<f64>(sums, 24) + bend, 24);
  store<f64>(curvature, bend);
  return residual;
}
