/** The MLP's non-linearity, four values at a time. */
import { exp4, mulAdd, splat } from "./vector";

/**
 * erfc(|x|/√2) = 2^(a·P(a)) within 8e-8, a = |x| up to 4√2 and the value there beyond. P of degree 7 is fitted to
 * log₂ erfc on [0, 4√2], and 2^f of degree 6 on [−½, ½]: minimax fits of this project (Lawson's iteration in float64, absolute
 * error 1.6e-8, relative error 2e-9); the rest is float32 rounding. Adding 1.5·2²³ leaves the nearest whole number in the
 * lowest bits. Terms are paired, since a chain of them would wait for every one. Pseudo-minimum and -maximum are one instruction
 * each, and keep a NaN that comes first.
 */
@inline
function twoTails(a: v128): v128 {
  a = f32x4.pmin(a, splat(5.656854249492381));
  const a2 = f32x4.mul(a, a);
  const q67 = mulAdd(splat(-2.834912720572902e-6), a, splat(3.9377689972752705e-5));
  const q45 = mulAdd(splat(-0.00018618024478200823), a, splat(-0.00013693637447431684));
  const q23 = mulAdd(splat(0.00706342002376914), a, splat(-0.052496179938316345));
  const q01 = mulAdd(splat(-0.4592081904411316), a, splat(-1.1511051654815674));
  const high = mulAdd(q67, a2, q45), low = mulAdd(q23, a2, q01);
  const q = f32x4.mul(mulAdd(high, f32x4.mul(a2, a2), low), a);
  const whole = f32x4.add(q, splat(12582912));
  const f = f32x4.sub(q, f32x4.sub(whole, splat(12582912)));
  const f2 = f32x4.mul(f, f);
  const p45 = mulAdd(splat(0.0013398873852565885), f, splat(0.00961843691766262));
  const p23 = mulAdd(splat(0.055503323674201965), f, splat(0.24022647738456726));
  const p01 = mulAdd(splat(0.6931471824645996), f, splat(1));
  const p46 = mulAdd(splat(0.00015353361959569156), f2, p45);
  const p = mulAdd(mulAdd(p46, f2, p23), f2, p01);
  return i32x4.add(p, i32x4.shl(whole, 23));
}

/** y = erf(x); `count` is a multiple of 4. */
export function erf(x: usize, y: usize, count: i32): void {
  const end = x + (<usize>count << 2);
  for (; x < end; x += 16, y += 16) {
    const v = v128.load(x);
    const magnitude = f32x4.sub(splat(1), twoTails(f32x4.mul(f32x4.abs(v), splat(1.4142135623730951))));
    v128.store(y, v128.or(magnitude, v128.and(v, splat(-0.0))));
  }
}

/** x/2·(1 + erf(x/√2)) = max(x, 0) − |x|/2·erfc(|x|/√2), which loses no digits on either side. */
@inline
function gelu4(v: v128): v128 {
  const a = f32x4.abs(v);
  return f32x4.sub(f32x4.pmax(v, splat(0)), f32x4.mul(f32x4.mul(a, splat(0.5)), twoTails(a)));
}

/** x/2·(1 + tanh(√(2/π)(x + 0.044715x³))), with tanh(a) = 1 − 2/(exp(2a) + 1) */
@inline
function geluTanh4(v: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(v, v), v);
  const a = f32x4.mul(mulAdd(cube, splat(0.044715), v), splat(1.5957691216057308));
  const e = exp4(f32x4.pmin(a, splat(80)));
  // x/2·(1 + tanh) = x·(1 − 1/(exp(2a) + 1))
  return f32x4.sub(v, f32x4.div(v, f32x4.add(e, splat(1))));
}

/** x/(1 + exp(−x)) */
@inline
function silu4(v: v128): v128 {
  const e = exp4(f32x4.pmin(f32x4.neg(v), splat(88)));
  return f32x4.div(v, f32x4.add(e, splat(1)));
}

/** y = f(x) over whole vectors. */
function activateVectors(activation: i32, x: usize, y: usize, end: usize): void {
  if (activation == 1) for (; x < end; x += 16, y += 16) v128.store(y, gelu4(v128.load(x)));
  else if (activation == 2) for (; x < end; x += 16, y += 16) v128.store(y, geluTanh4(v128.load(x)));
  else if (activation == 3) for (; x < end; x += 16, y += 16) v128.store(y, f32x4.max(v128.load(x), splat(0)));
  else for (; x < end; x += 16, y += 16) v128.store(y, silu4(v128.load(x)));
}

/**
 * y = f(x) over `bytes` bytes of floats.
 * @param activation 1 GELU, 2 GELU's tanh form, 3 ReLU, 4 SiLU
 * @param spare 16 bytes of scratch
 */
export function activate(activation: i32, x: usize, y: usize, bytes: usize, spare: usize): void {
  const body = bytes & ~15;
  activateVectors(activation, x, y, x + body);
  const rest = bytes - body;
  if (!rest) return;
  memory.copy(spare, x + body, rest);
  activateVectors(activation, spare, spare, spare + 16);
  memory.copy(y + body, spare, rest);
}
