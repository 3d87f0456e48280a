/** Small helpers on four f32 lanes. */

/** Sum of the four lanes. */
@inline
export function sum4(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 2) + (f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 3))
  );
}

/** a·b + c: rounded once where the engine has relaxed SIMD and the processor fuses, twice elsewhere. */
@inline
export function mulAdd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

@inline
export function splat(value: f32): v128 {
  return f32x4.splat(value);
}

/**
 * exp(x) for x ≤ 88, flushed to exp(−87) below −87. x = n·ln 2 + r with |r| ≤ ln 2 / 2 (ln 2 in two parts, so that
 * n·high is exact), then the Taylor series to r⁷: its remainder is below 6e-9 of the value. Adding 1.5·2²³ leaves n in the
 * lowest bits; terms are paired, since a chain of them would wait for every one.
 */
@inline
export function exp4(x: v128): v128 {
  const t = f32x4.pmax(x, splat(-87));
  const whole = mulAdd(t, splat(1.44269504), splat(12582912));
  const n = f32x4.sub(whole, splat(12582912));
  let r = f32x4.sub(t, f32x4.mul(n, splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, splat(-2.12194440e-4)));
  const r2 = f32x4.mul(r, r);
  const p67 = mulAdd(splat(1.0 / 5040), r, splat(1.0 / 720));
  const p45 = mulAdd(splat(1.0 / 120), r, splat(1.0 / 24));
  const p23 = mulAdd(splat(1.0 / 6), r, splat(0.5));
  const p = f32x4.add(mulAdd(mulAdd(mulAdd(p67, r2, p45), r2, p23), r2, r), splat(1));
  return i32x4.add(p, i32x4.shl(whole, 23));
}

/**
 * tanh(x) = 1 − 2/(exp(2|x|) + 1) with the sign of x. Below ¼, where that loses digits, the Taylor series to x⁹, whose
 * remainder is below 1e-8 of the value.
 */
@inline
export function tanh4(x: v128): v128 {
  const a = f32x4.abs(x);
  const e = exp4(f32x4.pmin(f32x4.add(a, a), splat(80)));
  const far = f32x4.sub(splat(1), f32x4.div(splat(2), f32x4.add(e, splat(1))));
  const square = f32x4.mul(x, x);
  let p = mulAdd(splat(62.0 / 2835), square, splat(-17.0 / 315));
  p = mulAdd(p, square, splat(2.0 / 15));
  p = mulAdd(p, square, splat(-1.0 / 3));
  const near = mulAdd(f32x4.mul(a, square), p, a);
  const magnitude = v128.bitselect(near, far, f32x4.lt(a, splat(0.25)));
  return v128.or(magnitude, v128.and(x, splat(-0.0)));
}

/** Adds four f32 to four f64 in memory. */
@inline
export function addWidened(to: usize, v: v128): void {
  v128.store(to, f64x2.add(v128.load(to), f64x2.promote_low_f32x4(v)));
  v128.store(to, f64x2.add(v128.load(to, 16), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 0, 1))), 16);
}
