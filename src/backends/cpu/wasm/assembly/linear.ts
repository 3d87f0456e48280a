/**
 * y = f(x)·W + bias on packed weights. W [k × n] is stored in panels of 8 columns: panel p holds, for every k, the eight
 * values W[k][8p .. 8p+8), zero beyond n. Rows of x are packed too, a tile's values of one k side by side, so that the inner
 * loop runs over two pointers only.
 */
import { activate } from "./activation";
import { rowMean, rowScale } from "./layer-norm";
import { mulAdd, splat, tanh4 } from "./vector";

/**
 * Rows of a tile. Without fused multiply–add every product needs a register of its own, and 6 rows of accumulators no
 * longer fit 16 of them.
 */
export const ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
/** Rows of an item: a multiple of either tile. */
export const BLOCK: i32 = 48;

/**
 * Four rows × eight columns over `depth` terms.
 *
 * @param x of each term the four rows' values; `xStep` bytes to the next term
 * @param init what the sums start from; `initStep` bytes to the next row's
 */
export function tile4(
  x: usize, xStep: usize, w: usize, depth: i32, init: usize, initStep: usize, y: usize, yStep: usize,
): void {
  let a0 = v128.load(init), b0 = v128.load(init, 16);
  init += initStep;
  let a1 = v128.load(init), b1 = v128.load(init, 16);
  init += initStep;
  let a2 = v128.load(init), b2 = v128.load(init, 16);
  init += initStep;
  let a3 = v128.load(init), b3 = v128.load(init, 16);
  const end = w + (<usize>depth << 5);
  do {
    const p = v128.load(w), q = v128.load(w, 16);
    let s = v128.load32_splat(x);
    a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x, 4);
    a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x, 8);
    a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x, 12);
    a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    w += 32;
    x += xStep;
  } while (w < end);
  v128.store(y, a0); v128.store(y, b0, 16);
  y += yStep;
  v128.store(y, a1); v128.store(y, b1, 16);
  y += yStep;
  v128.store(y, a2); v128.store(y, b2, 16);
  y += yStep;
  v128.store(y, a3); v128.store(y, b3, 16);
}

/** Six rows × eight columns; the sums start from `bias`. */
export function tile6(x: usize, w: usize, depth: i32, bias: usize, y: usize, yStep: usize): void {
  let a0 = v128.load(bias), b0 = v128.load(bias, 16);
  let a1 = a0, b1 = b0, a2 = a0, b2 = b0, a3 = a0, b3 = b0, a4 = a0, b4 = b0, a5 = a0, b5 = b0;
  const end = w + (<usize>depth << 5);
  do {
    const p = v128.load(w), q = v128.load(w, 16);
    let s = v128.load32_splat(x);
    a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x, 4);
    a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x, 8);
    a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x, 12);
    a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x, 16);
    a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x, 20);
    a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    w += 32;
    x += 24;
  } while (w < end);
  v128.store(y, a0); v128.store(y, b0, 16);
  y += yStep;
  v128.store(y, a1); v128.store(y, b1, 16);
  y += yStep;
  v128.store(y, a2); v128.store(y, b2, 16);
  y += yStep;
  v128.store(y, a3); v128.store(y, b3, 16);
  y += yStep;
  v128.store(y, a4); v128.store(y, b4, 16);
  y += yStep;
  v128.store(y, a5); v128.store(y, b5, 16);
}

/** Value i of rows a and b, and of rows c and d, as pairs: of four values, the first two (`high` 0) or the last two. */
@inline
function pairs(a: v128, b: v128, high: bool): v128 {
  return high ? v128.shuffle<i32>(a, b, 2, 6, 3, 7) : v128.shuffle<i32>(a, b, 0, 4, 1, 5);
}

/** (x − mean)·scale·gain + bias of four values of a row. */
@inline
function normed(x: v128, mean: v128, scale: v128, gain: v128, bias: v128): v128 {
  return mulAdd(f32x4.mul(f32x4.sub(x, mean), scale), gain, bias);
}

/**
 * Packs two or four rows of k values side by side, normalised when `gain` is not 0; `centred` from their means. Of the rows,
 * `last` + 1 exist, and the last is repeated.
 */
function pack(
  x: usize, k: i32, last: usize, to: usize, four: bool, gain: usize, bias: usize, epsilon: f32, centred: bool,
): void {
  const row = <usize>k << 2;
  const step = <usize>ROWS << 2;
  let x0 = x, x1 = x + min(<usize>1, last) * row, x2 = x + min(<usize>2, last) * row, x3 = x + min(<usize>3, last) * row;
  let m0: f32 = 0, m1: f32 = 0, m2: f32 = 0, m3: f32 = 0, s0: f32 = 1, s1: f32 = 1, s2: f32 = 1, s3: f32 = 1;
  if (gain) {
    if (centred) m0 = rowMean(x0, k);
    s0 = rowScale(x0, k, m0, epsilon);
    if (centred) m1 = rowMean(x1, k);
    s1 = rowScale(x1, k, m1, epsilon);
    if (four) {
      if (centred) m2 = rowMean(x2, k);
      s2 = rowScale(x2, k, m2, epsilon);
      if (centred) m3 = rowMean(x3, k);
      s3 = rowScale(x3, k, m3, epsilon);
    }
  }
  const end = x0 + row;
  const body = x0 + (row & ~15);
  for (; x0 < body; x0 += 16, x1 += 16, x2 += 16, x3 += 16) {
    let a = v128.load(x0), b = v128.load(x1), c = v128.load(x2), d = v128.load(x3);
    if (gain) {
      const g = v128.load(gain), h = v128.load(bias);
      a = normed(a, splat(m0), splat(s0), g, h);
      b = normed(b, splat(m1), splat(s1), g, h);
      c = normed(c, splat(m2), splat(s2), g, h);
      d = normed(d, splat(m3), splat(s3), g, h);
      gain += 16;
      bias += 16;
    }
    const low = pairs(a, b, false), high = pairs(a, b, true);
    if (four) {
      const low2 = pairs(c, d, false), high2 = pairs(c, d, true);
      v128.store(to, v128.shuffle<i64>(low, low2, 0, 2)); to += step;
      v128.store(to, v128.shuffle<i64>(low, low2, 1, 3)); to += step;
      v128.store(to, v128.shuffle<i64>(high, high2, 0, 2)); to += step;
      v128.store(to, v128.shuffle<i64>(high, high2, 1, 3)); to += step;
    } else {
      v128.store64_lane(to, low, 0); to += step;
      v128.store64_lane(to, low, 1); to += step;
      v128.store64_lane(to, high, 0); to += step;
      v128.store64_lane(to, high, 1); to += step;
    }
  }
  for (; x0 < end; x0 += 4, x1 += 4, x2 += 4, x3 += 4, to += step) {
    let v = f32x4(load<f32>(x0), load<f32>(x1), load<f32>(x2), load<f32>(x3));
    if (gain) {
      const g = v128.load32_splat(gain), h = v128.load32_splat(bias);
      v = normed(v, f32x4(m0, m1, m2, m3), f32x4(s0, s1, s2, s3), g, h);
      gain += 4;
      bias += 4;
    }
    if (four) v128.store(to, v);
    else v128.store64_lane(to, v, 0);
  }
}

/** Packs `count` rows of k values tile by tile, normalised when `gain` is not 0. */
export function packRows(
  x: usize, k: i32, count: i32, packed: usize, gain: usize, bias: usize, epsilon: f32, centred: bool,
): void {
  for (let r: i32 = 0; r < count; r += ROWS) {
    const from = x + ((<usize>r * <usize>k) << 2);
    const to = packed + ((<usize>r * <usize>k) << 2);
    const last = <usize>(count - 1 - r);
    pack(from, k, last, to, true, gain, bias, epsilon, centred);
    if (ROWS == 6) {
      const fifth = min(<usize>4, last);
      pack(from + ((fifth * <usize>k) << 2), k, last - fifth, to + 16, false, gain, bias, epsilon, centred);
    }
  }
}

/**
 * Item: some columns of 48 rows. Words: 0 x [rows × k], 1 W, 2 bias f32[⌈n/8⌉·8], 3 y [rows × n], 4 rows, 5 k, 6 n, 7 panels
 * of an item, 8 gain f32[k] of a norm of x (0: none), 9 its bias, 10 its epsilon (f32), 11 activation (0: none),
 * 12 activated y [rows × n], 13 s [rows × n] (0: none), 14 t [rows × n] (0: none), 15 s + y + t, 16 what the activated y is
 * multiplied by [rows × n] (0: nothing), 17 limit c of y (f32, 0: none): y becomes c·tanh(y/c), 18 the norm is of x − mean
 * (else of x), 19 scratch, 20 scratch bytes of a thread: 4·(48·k + 64).
 */
export function linearRows(item: i32, a: usize, thread: i32): void {
  const rows = load<i32>(a, 16);
  const k = load<i32>(a, 20);
  const n = load<i32>(a, 24);
  const perItem = load<i32>(a, 28);
  const panels = (n + 7) >> 3;
  const groups = (panels + perItem - 1) / perItem;
  const first = item / groups * BLOCK;
  const count = min(BLOCK, rows - first);
  const start = item % groups * perItem;
  const stop = min(panels, start + perItem);
  const packed = <usize>load<u32>(a, 76) + <usize>thread * <usize>load<u32>(a, 80);
  const edge = packed + (<usize>(BLOCK * k) << 2);
  const gain = <usize>load<u32>(a, 32);
  const normBias = <usize>load<u32>(a, 36);
  const epsilon = load<f32>(a, 40);
  const centred = load<i32>(a, 72) != 0;
  const rowBytes = <usize>n << 2;
  const x = <usize>load<u32>(a) + ((<usize>first * <usize>k) << 2);
  const y = <usize>load<u32>(a, 12) + <usize>first * rowBytes;

  packRows(x, k, count, packed, gain, normBias, epsilon, centred);
  for (let p = start; p < stop; p++) {
    const panel = <usize>load<u32>(a, 4) + ((<usize>p * <usize>k) << 5);
    const bias = <usize>load<u32>(a, 8) + (<usize>p << 5);
    const columns = min(8, n - (p << 3));
    for (let r: i32 = 0; r < count; r += ROWS) {
      const tile = packed + ((<usize>r * <usize>k) << 2);
      const to = y + <usize>r * rowBytes + (<usize>p << 5);
      // Tiles at the lower and the right edge go through scratch.
      const whole = columns == 8 && r + ROWS <= count;
      const out = whole ? to : edge;
      const step = whole ? rowBytes : 32;
      if (ROWS == 6) tile6(tile, panel, k, bias, out, step);
      else tile4(tile, 16, panel, k, bias, 0, out, step);
      if (whole) continue;
      for (let i: i32 = 0, e = min(ROWS, count - r); i < e; i++) {
        memory.copy(to + <usize>i * rowBytes, edge + (<usize>i << 5), <usize>columns << 2);
      }
    }
  }
  const from = <usize>start << 5;
  const bytes = min(<usize>stop << 5, rowBytes) - from;
  const cap = load<f32>(a, 68);
  if (cap != 0) for (let r: usize = 0; r < <usize>count; r++) limit(y + from + r * rowBytes, bytes, cap, edge);
  const activation = load<i32>(a, 44);
  if (activation) {
    const to = <usize>load<u32>(a, 48) + <usize>first * rowBytes + from;
    const factors = <usize>load<u32>(a, 64);
    const factor = factors + <usize>first * rowBytes + from;
    for (let r: usize = 0; r < <usize>count; r++) {
      activate(activation, y + from + r * rowBytes, to + r * rowBytes, bytes, edge);
      if (factors) multiply(to + r * rowBytes, factor + r * rowBytes, bytes);
    }
  }
  const s = <usize>load<u32>(a, 52);
  if (!s) return;
  const t = <usize>load<u32>(a, 56);
  const offset = <usize>first * rowBytes + from;
  for (let r: usize = 0; r < <usize>count; r++) {
    const at = offset + r * rowBytes;
    sum(s + at, y + from + r * rowBytes, t ? t + at : 0, <usize>load<u32>(a, 60) + at, bytes);
  }
}

/** y = c·tanh(y/c). */
function limit(y: usize, bytes: usize, c: f32, spare: usize): void {
  const body = y + (bytes & ~15);
  for (; y < body; y += 16) v128.store(y, f32x4.mul(tanh4(f32x4.div(v128.load(y), splat(c))), splat(c)));
  const rest = bytes & 15;
  if (!rest) return;
  memory.copy(spare, y, rest);
  v128.store(spare, f32x4.mul(tanh4(f32x4.div(v128.load(spare), splat(c))), splat(c)));
  memory.copy(y, spare, rest);
}

/** to = to·x. */
export function multiply(to: usize, x: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(v128.load(to + i), v128.load(x + i)));
  for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(to + i) * load<f32>(x + i));
}

/** to = s + y + t. */
export function sum(s: usize, y: usize, t: usize, to: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    let v = f32x4.add(v128.load(s + i), v128.load(y + i));
    if (t) v = f32x4.add(v, v128.load(t + i));
    v128.store(to + i, v);
  }
  for (; i < bytes; i += 4) {
    let v = load<f32>(s + i) + load<f32>(y + i);
    if (t) v += load<f32>(t + i);
    store<f32>(to + i, v);
  }
}
