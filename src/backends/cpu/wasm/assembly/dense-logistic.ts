/**
 * One pass over the rows of a wide logistic problem: four rows at a time, a decision value each, what follows from it, and
 * the rows times that added to the sums while they are still in cache. X is read once and never centred or scaled: the
 * caller folds both into the factors and the shift.
 *
 * Rows are named by a list (labelled rows only). Item: the rows starts[item] … starts[item + 1] of the list; sums of
 * item i go to slab i mod slabs, which no other item of the same run may use.
 *
 * Words: 0 x, 1 storage type, 2 columns k, 3 index of x's first row, 4 list u32[n], 5 starts u32[items + 1], 6 first item,
 * 7 factors f32[k] or f64[k], 8 shift f64, 9 what follows (below), 10 by row f64[n], 11 curvature out f64[n], 12 slabs,
 * 13 bytes of a slab, 14 their number, 15 scale f32[k], 16 offset f32[k] (u8 only), 17 scratch per thread, 18 bytes of it.
 * A slab is a head (logistic-row.ts) and f64[k].
 *
 * What follows: 0 the logistic residual, `by row` being signed weights; 1 the decision value times `by row`; 2 `by row`
 * itself, without a decision value.
 */
import { HEAD, logisticRow } from "./logistic-row";
import { F16, F32, loadCodes, loadHalves, loadValue, storageShift } from "./storage";
import { mulAdd, sum4 } from "./vector";

const RESIDUAL: i32 = 0;
const PRODUCT: i32 = 1;

/** Rows whose float32 sums are added before they go to float64. */
const BLOCK: i32 = 512;

/** Where the row is, or is decoded to. */
function rowOf(a: usize, p: usize, scratch: usize): usize {
  const dtype = load<i32>(a, 4);
  const k = <usize>load<u32>(a, 8);
  const index = <usize>(load<u32>(<usize>load<u32>(a, 16) + (p << 2)) - load<u32>(a, 12));
  const row = <usize>load<u32>(a) + index * (k << storageShift(dtype));
  if (dtype == F32) return row;
  const scale = <usize>load<u32>(a, 60);
  const offset = <usize>load<u32>(a, 64);
  let c: usize = 0;
  if (dtype == F16) for (; c + 4 <= k; c += 4) v128.store(scratch + (c << 2), loadHalves(row + (c << 1)));
  else {
    for (; c + 4 <= k; c += 4) {
      const scaled = f32x4.mul(v128.load(scale + (c << 2)), loadCodes(row + c));
      v128.store(scratch + (c << 2), f32x4.add(scaled, v128.load(offset + (c << 2))));
    }
  }
  for (; c < k; c++) store<f32>(scratch + (c << 2), loadValue(dtype, row, c, scale, offset));
  return scratch;
}

/** The factor of row p in the sums. */
function followUp(a: usize, p: usize, z: f64, sums: usize): f64 {
  const what = load<i32>(a, 36);
  const byRow = load<f64>(<usize>load<u32>(a, 40) + (p << 3));
  if (what == RESIDUAL) return logisticRow(byRow, z, sums, <usize>load<u32>(a, 44) + (p << 3));
  const value = what == PRODUCT ? byRow * z : byRow;
  store<f64>(sums, load<f64>(sums) + value);
  return value;
}

@inline
function slabOf(a: usize, item: i32): usize {
  const slab = <usize>((load<u32>(a, 24) + <u32>item) % load<u32>(a, 56));
  return <usize>load<u32>(a, 48) + slab * <usize>load<u32>(a, 52);
}

/** Adds the float32 sums g [bytes / 4] to the float64 sums and clears them. */
function flush(g: usize, sums: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 16 <= bytes; c += 16) {
    const v = v128.load(g + c);
    const to = sums + (c << 1);
    v128.store(to, f64x2.add(v128.load(to), f64x2.promote_low_f32x4(v)));
    v128.store(to, f64x2.add(v128.load(to, 16), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3))), 16);
  }
  for (; c < bytes; c += 4) store<f64>(sums + (c << 1), load<f64>(sums + (c << 1)) + <f64>load<f32>(g + c));
  memory.fill(g, 0, bytes);
}

/** In float32, with float64 sums across blocks of 512 rows. Scratch: g f32[k], then four rows f32[k] each. */
export function denseFloat(item: i32, a: usize, thread: i32): void {
  const bytes = <usize>load<u32>(a, 8) << 2;
  const body = bytes & ~31;
  const w = <usize>load<u32>(a, 28);
  const shift = load<f64>(<usize>load<u32>(a, 32));
  const dots = load<i32>(a, 36) <= PRODUCT;
  const slab = slabOf(a, item);
  const stride = (bytes + 63) & ~63;
  const g = <usize>load<u32>(a, 68) + <usize>thread * <usize>load<u32>(a, 72);
  const decoded = g + stride;
  const starts = <usize>load<u32>(a, 20) + (<usize>(load<u32>(a, 24) + <u32>item) << 2);
  const end = <usize>load<u32>(starts, 4);
  memory.fill(g, 0, bytes);
  let pending: i32 = 0;
  for (let p = <usize>load<u32>(starts); p < end; p += 4) {
    const last = end - 1;
    const x0 = rowOf(a, p, decoded);
    const x1 = p + 1 > last ? x0 : rowOf(a, p + 1, decoded + stride);
    const x2 = p + 2 > last ? x0 : rowOf(a, p + 2, decoded + 2 * stride);
    const x3 = p + 3 > last ? x0 : rowOf(a, p + 3, decoded + 3 * stride);
    let z0: f32 = 0, z1: f32 = 0, z2: f32 = 0, z3: f32 = 0;
    if (dots) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      let c: usize = 0;
      for (; c < body; c += 32) {
        const v = v128.load(w + c), u = v128.load(w + c, 16);
        a0 = mulAdd(v, v128.load(x0 + c), a0); b0 = mulAdd(u, v128.load(x0 + c, 16), b0);
        a1 = mulAdd(v, v128.load(x1 + c), a1); b1 = mulAdd(u, v128.load(x1 + c, 16), b1);
        a2 = mulAdd(v, v128.load(x2 + c), a2); b2 = mulAdd(u, v128.load(x2 + c, 16), b2);
        a3 = mulAdd(v, v128.load(x3 + c), a3); b3 = mulAdd(u, v128.load(x3 + c, 16), b3);
      }
      z0 = sum4(f32x4.add(a0, b0)); z1 = sum4(f32x4.add(a1, b1));
      z2 = sum4(f32x4.add(a2, b2)); z3 = sum4(f32x4.add(a3, b3));
      for (; c < bytes; c += 4) {
        const v = load<f32>(w + c);
        z0 += v * load<f32>(x0 + c); z1 += v * load<f32>(x1 + c);
        z2 += v * load<f32>(x2 + c); z3 += v * load<f32>(x3 + c);
      }
    }
    const r0 = <f32>followUp(a, p, <f64>z0 + shift, slab);
    const r1 = p + 1 > last ? <f32>0 : <f32>followUp(a, p + 1, <f64>z1 + shift, slab);
    const r2 = p + 2 > last ? <f32>0 : <f32>followUp(a, p + 2, <f64>z2 + shift, slab);
    const r3 = p + 3 > last ? <f32>0 : <f32>followUp(a, p + 3, <f64>z3 + shift, slab);
    const q0 = f32x4.splat(r0), q1 = f32x4.splat(r1), q2 = f32x4.splat(r2), q3 = f32x4.splat(r3);
    let c: usize = 0;
    for (; c < body; c += 32) {
      let s = mulAdd(q0, v128.load(x0 + c), v128.load(g + c));
      let t = f32x4.mul(q1, v128.load(x1 + c));
      s = mulAdd(q2, v128.load(x2 + c), s);
      t = mulAdd(q3, v128.load(x3 + c), t);
      v128.store(g + c, f32x4.add(s, t));
      s = mulAdd(q0, v128.load(x0 + c, 16), v128.load(g + c, 16));
      t = f32x4.mul(q1, v128.load(x1 + c, 16));
      s = mulAdd(q2, v128.load(x2 + c, 16), s);
      t = mulAdd(q3, v128.load(x3 + c, 16), t);
      v128.store(g + c, f32x4.add(s, t), 16);
    }
    for (; c < bytes; c += 4) {
      store<f32>(
        g + c,
        load<f32>(g + c) +
          (r0 * load<f32>(x0 + c) + r1 * load<f32>(x1 + c) + (r2 * load<f32>(x2 + c) + r3 * load<f32>(x3 + c))),
      );
    }
    pending += 4;
    if (pending == BLOCK) {
      flush(g, slab + HEAD, bytes);
      pending = 0;
    }
  }
  flush(g, slab + HEAD, bytes);
}

/** The lower two of four floats, in float64. */
@inline
function low(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

/** The upper two. */
@inline
function high(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
}

@inline
function add2(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

@inline
function sum2(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** The same in float64 throughout. Scratch: g's room unused, then four rows f32[k] each. */
export function denseDouble(item: i32, a: usize, thread: i32): void {
  const bytes = <usize>load<u32>(a, 8) << 2;
  const body = bytes & ~15;
  const w = <usize>load<u32>(a, 28);
  const shift = load<f64>(<usize>load<u32>(a, 32));
  const dots = load<i32>(a, 36) <= PRODUCT;
  const slab = slabOf(a, item);
  const g = slab + HEAD;
  const stride = (bytes + 63) & ~63;
  const decoded = <usize>load<u32>(a, 68) + <usize>thread * <usize>load<u32>(a, 72) + stride;
  const starts = <usize>load<u32>(a, 20) + (<usize>(load<u32>(a, 24) + <u32>item) << 2);
  const end = <usize>load<u32>(starts, 4);
  for (let p = <usize>load<u32>(starts); p < end; p += 4) {
    const last = end - 1;
    const x0 = rowOf(a, p, decoded);
    const x1 = p + 1 > last ? x0 : rowOf(a, p + 1, decoded + stride);
    const x2 = p + 2 > last ? x0 : rowOf(a, p + 2, decoded + 2 * stride);
    const x3 = p + 3 > last ? x0 : rowOf(a, p + 3, decoded + 3 * stride);
    let z0: f64 = 0, z1: f64 = 0, z2: f64 = 0, z3: f64 = 0;
    if (dots) {
      let a0 = f64x2.splat(0), a1 = a0, a2 = a0, a3 = a0;
      let c: usize = 0;
      for (; c < body; c += 16) {
        const u = v128.load(w + (c << 1)), v = v128.load(w + (c << 1), 16);
        let x = v128.load(x0 + c); a0 = add2(v, high(x), add2(u, low(x), a0));
        x = v128.load(x1 + c); a1 = add2(v, high(x), add2(u, low(x), a1));
        x = v128.load(x2 + c); a2 = add2(v, high(x), add2(u, low(x), a2));
        x = v128.load(x3 + c); a3 = add2(v, high(x), add2(u, low(x), a3));
      }
      z0 = sum2(a0); z1 = sum2(a1); z2 = sum2(a2); z3 = sum2(a3);
      for (; c < bytes; c += 4) {
        const v = load<f64>(w + (c << 1));
        z0 += v * <f64>load<f32>(x0 + c); z1 += v * <f64>load<f32>(x1 + c);
        z2 += v * <f64>load<f32>(x2 + c); z3 += v * <f64>load<f32>(x3 + c);
      }
    }
    const r0 = followUp(a, p, z0 + shift, slab);
    const r1 = p + 1 > last ? <f64>0 : followUp(a, p + 1, z1 + shift, slab);
    const r2 = p + 2 > last ? <f64>0 : followUp(a, p + 2, z2 + shift, slab);
    const r3 = p + 3 > last ? <f64>0 : followUp(a, p + 3, z3 + shift, slab);
    const q0 = f64x2.splat(r0), q1 = f64x2.splat(r1), q2 = f64x2.splat(r2), q3 = f64x2.splat(r3);
    let c: usize = 0;
    for (; c < body; c += 16) {
      const to = g + (c << 1);
      const y0 = v128.load(x0 + c), y1 = v128.load(x1 + c), y2 = v128.load(x2 + c), y3 = v128.load(x3 + c);
      v128.store(to, f64x2.add(
        add2(q0, low(y0), add2(q1, low(y1), v128.load(to))), add2(q2, low(y2), f64x2.mul(q3, low(y3)))));
      v128.store(to, f64x2.add(
        add2(q0, high(y0), add2(q1, high(y1), v128.load(to, 16))), add2(q2, high(y2), f64x2.mul(q3, high(y3)))), 16);
    }
    for (; c < bytes; c += 4) {
      const to = g + (c << 1);
      store<f64>(
        to,
        load<f64>(to) +
          (r0 * <f64>load<f32>(x0 + c) + r1 * <f64>load<f32>(x1 + c) +
            (r2 * <f64>load<f32>(x2 + c) + r3 * <f64>load<f32>(x3 + c))),
      );
    }
  }
}
