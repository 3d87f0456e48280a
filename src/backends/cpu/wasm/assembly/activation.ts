/** The MLP's non-linearity, four values at a time. */
import { exp4, mulAdd, splat } from "./vector";

/**
 * erf(|x|) within 1.0e-7 absolute. Below 0.9: |x|·P(x²), P of degree 5. Above: 1 − exp(Q(|x|)), Q of degree 6 fitted to
 * log erfc on [0.9, 4]. Both are minimax fits of this project (Lawson's iteration in float64; truncation 5e-9 and
 * 2e-9), and the rest of the error is float32 rounding.
 */
@inline
function erfOfMagnitude(u: v128): v128 {
  const z = f32x4.mul(u, u);
  let p = mulAdd(splat(-0.0005938383215633681), z, splat(0.004977800060083423));
  p = mulAdd(p, z, splat(-0.02675091814825799));
  p = mulAdd(p, z, splat(0.11281134039738128));
  p = mulAdd(p, z, splat(-0.3761237470135646));
  p = mulAdd(p, z, splat(1.1283790918708512));
  const near = f32x4.mul(u, p);
  const t = f32x4.min(u, splat(4));
  let q = mulAdd(splat(0.00019718162034094953), t, splat(-0.0030556065745363345));
  q = mulAdd(q, t, splat(0.02227708331123729));
  q = mulAdd(q, t, splat(-0.10403735208761823));
  q = mulAdd(q, t, splat(-0.6370597614020704));
  q = mulAdd(q, t, splat(-1.1277495577508614));
  q = mulAdd(q, t, splat(-0.00017749574918969743));
  const far = f32x4.sub(splat(1), exp4(q));
  return v128.bitselect(near, far, f32x4.lt(u, splat(0.9)));
}

@inline
function erf4(x: v128): v128 {
  const sign = v128.and(x, splat(-0.0));
  return v128.or(erfOfMagnitude(v128.andnot(x, splat(-0.0))), sign);
}

/** y = erf(x); `count` is a multiple of 4. */
export function erf(x: usize, y: usize, count: i32): void {
  const end = x + (<usize>count << 2);
  for (; x < end; x += 16, y += 16) v128.store(y, erf4(v128.load(x)));
}

/** x/2·(1 + erf(x/√2)) */
@inline
function gelu4(v: v128): v128 {
  const half = f32x4.mul(v, splat(0.5));
  return mulAdd(half, erf4(f32x4.mul(v, splat(0.7071067811865476))), half);
}

/** x/2·(1 + tanh(√(2/π)(x + 0.044715x³))), with tanh(a) = 1 − 2/(exp(2a) + 1) */
@inline
function geluTanh4(v: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(v, v), v);
  const a = f32x4.mul(mulAdd(cube, splat(0.044715), v), splat(1.5957691216057308));
  const e = exp4(f32x4.min(a, splat(80)));
  // x/2·(1 + tanh) = x·(1 − 1/(exp(2a) + 1))
  return f32x4.sub(v, f32x4.div(v, f32x4.add(e, splat(1))));
}

/** y = f(x) over whole vectors. */
function activateVectors(activation: i32, x: usize, y: usize, end: usize): void {
  if (activation == 1) for (; x < end; x += 16, y += 16) v128.store(y, gelu4(v128.load(x)));
  else if (activation == 2) for (; x < end; x += 16, y += 16) v128.store(y, geluTanh4(v128.load(x)));
  else for (; x < end; x += 16, y += 16) v128.store(y, f32x4.max(v128.load(x), splat(0)));
}

/**
 * y = f(x) over `bytes` bytes of floats.
 * @param activation 1 GELU, 2 GELU's tanh form, 3 ReLU
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
