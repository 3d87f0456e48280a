/**
 * Passes over the columns of one logistic problem: gradient and curvature in f32, the Hessian, and everything a
 * certificate states in f64.
 *
 * Columns are cut into chunks of 64 rows of one class; the intercept is a column of ones. `columns` are u32 pointers to the
 * columns' first chunks (two more than m), the next chunks follow at `advance` bytes each; `chunks` has one word per chunk: its
 * rows, and 256 added for positives. Gradients know that the last column is ones. The margin of a row is t·z, z = Σ θ_j x_j, t = ±1 its class; the derivative of its loss by z is
 * −t·c·q with q = σ(−t·z) and c the weight of its class. A chunk that is not full has zeros in the rows that it lacks; their
 * margins are set so far out that q is 0.
 */
import { mulAdd } from "./vector";

/** Bytes of one column's 64 rows. */
const CHUNK: usize = 256;
/** Chunks whose f32 sums are added up before they go into f64: 512 rows. */
const GRADIENT_RUN: i32 = 8;
const HESSIAN_RUN: i32 = 16;

@inline
function sumOfLanes(v: v128): f64 {
  return (
    <f64>f32x4.extract_lane(v, 0) +
    <f64>f32x4.extract_lane(v, 2) +
    (<f64>f32x4.extract_lane(v, 1) + <f64>f32x4.extract_lane(v, 3))
  );
}

@inline
function sumOfPair(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** a·b + c on two f64, as {@link mulAdd} on four f32. */
@inline
function mulAdd2(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f64x2.relaxed_madd(a, b, c);
  return f64x2.add(f64x2.mul(a, b), c);
}

@inline
function add(p: usize, value: f64): void {
  store<f64>(p, load<f64>(p) + value);
}

/**
 * Engines put a constant together anew wherever it is used, also in a loop: those of the exponentials are read from memory,
 * {@link FLOATS} vectors of f32 and then {@link DOUBLES} of f64.
 */
const FLOATS: usize = 6;
const DOUBLES: usize = 8;
export const CONSTANT_BYTES: usize = (FLOATS + DOUBLES) << 4;

/**
 * Writes them. 2^f = (Q + P)/(Q − P) with P/Q = tanh(f·ln 2/2), P = f·(p₀ + p₁f² + …), Q = q₀ + q₁f² + … with a leading 1, which
 * meet the tangent at Chebyshev's points of |f| ≤ ½: to 6e-9 in f32 and 2e-17 in f64. A sigmoid takes one division of it all.
 */
export function writeConstants(p: usize): void {
  v128.store(p, f32x4.splat(FAR));
  v128.store(p, f32x4.splat(-FAR), 16);
  v128.store(p, f32x4.splat(12582912), 32);
  v128.store(p, f32x4.splat(7.215027377), 48);
  v128.store(p, f32x4.splat(0.05770039812), 64);
  v128.store(p, f32x4.splat(20.81816845), 80);
  p += FLOATS << 4;
  v128.store(p, f64x2.splat(LIMIT));
  v128.store(p, f64x2.splat(-1000), 16);
  v128.store(p, f64x2.splat(6755399441055744), 32);
  v128.store(p, f64x2.splat(1513.86075067044488), 48);
  v128.store(p, f64x2.splat(20.2016706494635995), 64);
  v128.store(p, f64x2.splat(0.0230943994538303536), 80);
  v128.store(p, f64x2.splat(4368.07879517738866), 96);
  v128.store(p, f64x2.splat(233.177751975232485), 112);
}

/** Exponents of 2 beyond which 1 + 2^y is 2^y: in f32, and in f64 but for 4e-15, where products of 16 bear them. */
const FAR: f32 = 60;
const LIMIT: f64 = 48;

/**
 * Replaces exponents y = margin·log₂e of 64 rows by factor·q, q = 1/(1 + 2^y); `curvature`: where |factor|·q·(1 − q) goes, or 0.
 */
@inline
function replaceByResiduals(at: usize, factor: v128, curvature: usize, keeps: bool, constants: usize): void {
  const most = v128.load(constants), least = v128.load(constants, 16), magic = v128.load(constants, 32);
  const p0 = v128.load(constants, 48), p1 = v128.load(constants, 64), q0 = v128.load(constants, 80);
  const size = f32x4.abs(factor);
  for (let i: usize = 0; i < CHUNK; i += 16) {
    const y = f32x4.pmax(f32x4.pmin(v128.load(at + i), most), least);
    const t = f32x4.add(y, magic);
    const f = f32x4.sub(y, f32x4.sub(t, magic));
    const square = f32x4.mul(f, f);
    const p = f32x4.mul(f, mulAdd(square, p1, p0));
    const q = f32x4.add(square, q0);
    const low = f32x4.sub(q, p);
    const high = i32x4.add(f32x4.add(q, p), i32x4.shl(t, 23));
    const share = f32x4.div(low, f32x4.add(low, high));
    v128.store(at + i, f32x4.mul(share, factor));
    if (keeps) v128.store(curvature + i, f32x4.mul(size, f32x4.sub(share, f32x4.mul(share, share))));
  }
}

/** Exponents y = margin·log₂e of a chunk's rows from their columns at `at` on, `rows` of them; `w`: f32 weights in those units. */
@inline
function writeMargins(columns: usize, at: usize, m: usize, w: usize, rows: usize, out: usize): void {
  const end = (m - 1) << 2;
  const intercept = v128.load32_splat(w + end);
  for (let half: usize = 0; half < CHUNK; half += 128) {
    let z0 = intercept;
    let z1 = z0, z2 = z0, z3 = z0, z4 = z0, z5 = z0, z6 = z0, z7 = z0;
    for (let j: usize = 0; j < end; j += 4) {
      const v = v128.load32_splat(w + j);
      const x = <usize>load<u32>(columns + j) + at + half;
      z0 = mulAdd(v, v128.load(x), z0);
      z1 = mulAdd(v, v128.load(x, 16), z1);
      z2 = mulAdd(v, v128.load(x, 32), z2);
      z3 = mulAdd(v, v128.load(x, 48), z3);
      z4 = mulAdd(v, v128.load(x, 64), z4);
      z5 = mulAdd(v, v128.load(x, 80), z5);
      z6 = mulAdd(v, v128.load(x, 96), z6);
      z7 = mulAdd(v, v128.load(x, 112), z7);
    }
    const o = out + half;
    v128.store(o, z0);
    v128.store(o, z1, 16);
    v128.store(o, z2, 32);
    v128.store(o, z3, 48);
    v128.store(o, z4, 64);
    v128.store(o, z5, 80);
    v128.store(o, z6, 96);
    v128.store(o, z7, 112);
  }
  for (let i = rows; i < 64; i++) store<f32>(out + (i << 2), FAR);
}

/**
 * Adds Σ −t·c·q·x of chunks from … to − 1 to out f64[m]. `weights`: f32 θ·log₂e for positive chunks, m of them, then its
 * negative at `stride` bytes. `curvature`: where c·q·(1 − q) of each row goes, f32[64 per chunk], or 0. `work`: 256 + 16·m bytes.
 */
export function addGradient(
  columns: usize, advance: usize, m: usize, chunks: usize, from: i32, to: i32, weights: usize, stride: usize,
  positive: f32, negative: f32, curvature: usize, constants: usize, work: usize, out: usize,
): void {
  const sums = work + CHUNK;
  const end = (m - 1) << 2;
  memory.fill(sums, 0, m << 4);
  for (let c = from; c < to; c++) {
    const word = load<u32>(chunks + (<usize>c << 2));
    const w = word >= 256 ? weights : weights + stride;
    const factor = f32x4.splat(word >= 256 ? -positive : negative);
    writeMargins(columns, <usize>c * advance, m, w, <usize>(word & 255), work);
    if (curvature) replaceByResiduals(work, factor, curvature + (<usize>c << 8), true, constants);
    else replaceByResiduals(work, factor, 0, false, constants);
    for (let half: usize = 0; half < CHUNK; half += 128) {
      const at = <usize>c * advance + half;
      const r = work + half;
      const r0 = v128.load(r), r1 = v128.load(r, 16), r2 = v128.load(r, 32), r3 = v128.load(r, 48);
      const r4 = v128.load(r, 64), r5 = v128.load(r, 80), r6 = v128.load(r, 96), r7 = v128.load(r, 112);
      let g = sums;
      for (let j: usize = 0; j < end; j += 4) {
        const x = <usize>load<u32>(columns + j) + at;
        let even = mulAdd(r0, v128.load(x), v128.load(g));
        let odd = f32x4.mul(r1, v128.load(x, 16));
        even = mulAdd(r2, v128.load(x, 32), even);
        odd = mulAdd(r3, v128.load(x, 48), odd);
        even = mulAdd(r4, v128.load(x, 64), even);
        odd = mulAdd(r5, v128.load(x, 80), odd);
        even = mulAdd(r6, v128.load(x, 96), even);
        odd = mulAdd(r7, v128.load(x, 112), odd);
        v128.store(g, f32x4.add(even, odd));
        g += 16;
      }
      const left = f32x4.add(f32x4.add(r0, r1), f32x4.add(r2, r3));
      const right = f32x4.add(f32x4.add(r4, r5), f32x4.add(r6, r7));
      v128.store(g, f32x4.add(v128.load(g), f32x4.add(left, right)));
    }
    if ((c & (GRADIENT_RUN - 1)) == GRADIENT_RUN - 1 || c == to - 1) {
      for (let j: usize = 0; j < m; j++) {
        const g = sums + (j << 4);
        add(out + (j << 3), sumOfLanes(v128.load(g)));
        v128.store(g, f32x4.splat(0));
      }
    }
  }
}

/** Size up to which {@link addMoments} takes a problem. */
export const MOST_MOMENTS: usize = 9;

/**
 * Adds what a chunk's rows give column a, a constant: Σ r·x_a, Σ d·x_a, and Σ d·x_a·x_b for b ≤ a, to vectors one after the other;
 * with column 0, Σ r and Σ d to those of the ones.
 */
@inline
function addColumnMoments(
  a: usize, columns: usize, at: usize, r: usize, d: usize, sums: usize, ofOnes: usize,
): void {
  const x = <usize>load<u32>(columns + (a << 2)) + at;
  const x0 = <usize>load<u32>(columns) + at, x1 = <usize>load<u32>(columns, 4) + at;
  const x2 = a > 2 ? <usize>load<u32>(columns, 8) + at : 0, x3 = a > 3 ? <usize>load<u32>(columns, 12) + at : 0;
  const x4 = a > 4 ? <usize>load<u32>(columns, 16) + at : 0, x5 = a > 5 ? <usize>load<u32>(columns, 20) + at : 0;
  const x6 = a > 6 ? <usize>load<u32>(columns, 24) + at : 0;
  let g = v128.load(sums), h = v128.load(sums, 16), own = v128.load(sums + ((a + 2) << 4));
  let s0 = v128.load(sums, 32), s1 = v128.load(sums, 48), s2 = v128.load(sums, 64), s3 = v128.load(sums, 80);
  let s4 = v128.load(sums, 96), s5 = v128.load(sums, 112), s6 = v128.load(sums, 128);
  let residuals = v128.load(ofOnes), curvatures = v128.load(ofOnes, 16);
  for (let i: usize = 0; i < CHUNK; i += 16) {
    const value = v128.load(x + i);
    const residual = v128.load(r + i);
    const curvature = v128.load(d + i);
    const weighted = f32x4.mul(curvature, value);
    if (a == 0) {
      residuals = f32x4.add(residuals, residual);
      curvatures = f32x4.add(curvatures, curvature);
    }
    g = mulAdd(residual, value, g);
    h = f32x4.add(h, weighted);
    own = mulAdd(weighted, value, own);
    if (a > 0) s0 = mulAdd(weighted, v128.load(x0 + i), s0);
    if (a > 1) s1 = mulAdd(weighted, v128.load(x1 + i), s1);
    if (a > 2) s2 = mulAdd(weighted, v128.load(x2 + i), s2);
    if (a > 3) s3 = mulAdd(weighted, v128.load(x3 + i), s3);
    if (a > 4) s4 = mulAdd(weighted, v128.load(x4 + i), s4);
    if (a > 5) s5 = mulAdd(weighted, v128.load(x5 + i), s5);
    if (a > 6) s6 = mulAdd(weighted, v128.load(x6 + i), s6);
  }
  v128.store(sums, g);
  v128.store(sums, h, 16);
  if (a == 0) {
    v128.store(ofOnes, residuals);
    v128.store(ofOnes, curvatures, 16);
  }
  if (a > 0) v128.store(sums, s0, 32);
  if (a > 1) v128.store(sums, s1, 48);
  if (a > 2) v128.store(sums, s2, 64);
  if (a > 3) v128.store(sums, s3, 80);
  if (a > 4) v128.store(sums, s4, 96);
  if (a > 5) v128.store(sums, s5, 112);
  if (a > 6) v128.store(sums, s6, 128);
  v128.store(sums + ((a + 2) << 4), own);
}

/** Where the sums of column a begin. */
@inline
function momentsOf(a: usize): usize {
  return ((a * (a + 5)) >> 1) << 4;
}

/** Numbers that {@link addMoments} adds to, of each class. */
@inline
export function momentCount(m: usize): usize {
  return m + m * m;
}

/**
 * Per class, negatives first, adds to f64[m + m²] Σ q·x and the lower triangle of Σ q·(1 − q)·x_a·x_b over chunks from … to − 1, for
 * 2 ≤ m ≤ {@link MOST_MOMENTS}: one pass, in which nothing but the columns leaves the nearest cache. `work`: {@link momentWorkBytes}.
 */
export function addMoments(
  columns: usize, advance: usize, m: usize, chunks: usize, from: i32, to: i32, weights: usize, stride: usize,
  constants: usize, work: usize, out: usize,
): void {
  const k = m - 1;
  const d = work + CHUNK;
  const bytes = momentsOf(k) + 32;
  const one = f32x4.splat(1);
  memory.fill(d + CHUNK, 0, 2 * bytes);
  let run = 0;
  for (let c = from; c < to; c++) {
    const word = load<u32>(chunks + (<usize>c << 2));
    const at = <usize>c * advance;
    const sums = d + CHUNK + (word >= 256 ? bytes : 0);
    const ofOnes = sums + momentsOf(k);
    writeMargins(columns, at, m, word >= 256 ? weights : weights + stride, <usize>(word & 255), work);
    replaceByResiduals(work, one, d, true, constants);
    addColumnMoments(0, columns, at, work, d, sums, ofOnes);
    if (k > 1) addColumnMoments(1, columns, at, work, d, sums + momentsOf(1), ofOnes);
    if (k > 2) addColumnMoments(2, columns, at, work, d, sums + momentsOf(2), ofOnes);
    if (k > 3) addColumnMoments(3, columns, at, work, d, sums + momentsOf(3), ofOnes);
    if (k > 4) addColumnMoments(4, columns, at, work, d, sums + momentsOf(4), ofOnes);
    if (k > 5) addColumnMoments(5, columns, at, work, d, sums + momentsOf(5), ofOnes);
    if (k > 6) addColumnMoments(6, columns, at, work, d, sums + momentsOf(6), ofOnes);
    if (k > 7) addColumnMoments(7, columns, at, work, d, sums + momentsOf(7), ofOnes);
    if (++run < GRADIENT_RUN && c < to - 1) continue;
    run = 0;
    flushMoments(m, d + CHUNK, out);
    flushMoments(m, d + CHUNK + bytes, out + (momentCount(m) << 3));
    memory.fill(d + CHUNK, 0, 2 * bytes);
  }
}

/** Bytes of scratch of {@link addMoments}. */
@inline
export function momentWorkBytes(m: usize): usize {
  return 2 * CHUNK + 2 * (momentsOf(m - 1) + 32);
}

/** Adds f32 sums of one class to its f64. */
function flushMoments(m: usize, sums: usize, gradient: usize): void {
  const k = m - 1;
  const hessian = gradient + (m << 3);
  for (let a: usize = 0; a < m; a++) {
    const from = sums + momentsOf(a);
    add(gradient + (a << 3), sumOfLanes(v128.load(from)));
    add(hessian + ((k * m + a) << 3), sumOfLanes(v128.load(from, 16)));
    if (a == k) return;
    for (let b: usize = 0; b <= a; b++) {
      add(hessian + ((a * m + b) << 3), sumOfLanes(v128.load(from + (b << 4), 32)));
    }
  }
}

/** From both classes' moments and the weights of a row: the gradient and the Hessian's lower triangle. */
export function weighMoments(
  m: usize, moments: usize, positive: f64, negative: f64, gradient: usize, hessian: usize,
): void {
  const bytes = momentCount(m) << 3;
  for (let i: usize = 0; i < m << 3; i += 8) {
    const p = moments + i;
    store<f64>(gradient + i, negative * load<f64>(p) - positive * load<f64>(p + bytes));
  }
  for (let i: usize = 0; i < (m * m) << 3; i += 8) {
    const p = moments + (m << 3) + i;
    store<f64>(hessian + i, negative * load<f64>(p) + positive * load<f64>(p + bytes));
  }
}

/** Rows r and r + 1 of the weighted columns times four columns, into accumulators. */
@inline
function multiply2x4(y: usize, columns: usize, at: usize, sums: usize, stride: usize): void {
  const x0 = <usize>load<u32>(columns) + at;
  const x1 = <usize>load<u32>(columns, 4) + at;
  const x2 = <usize>load<u32>(columns, 8) + at;
  const x3 = <usize>load<u32>(columns, 12) + at;
  const below = sums + stride;
  let s0 = v128.load(sums), s1 = v128.load(sums, 16), s2 = v128.load(sums, 32), s3 = v128.load(sums, 48);
  let t0 = v128.load(below), t1 = v128.load(below, 16), t2 = v128.load(below, 32), t3 = v128.load(below, 48);
  for (let i: usize = 0; i < CHUNK; i += 16) {
    const a = v128.load(y + i);
    const b = v128.load(y + i, 256);
    let x = v128.load(x0 + i);
    s0 = mulAdd(a, x, s0);
    t0 = mulAdd(b, x, t0);
    x = v128.load(x1 + i);
    s1 = mulAdd(a, x, s1);
    t1 = mulAdd(b, x, t1);
    x = v128.load(x2 + i);
    s2 = mulAdd(a, x, s2);
    t2 = mulAdd(b, x, t2);
    x = v128.load(x3 + i);
    s3 = mulAdd(a, x, s3);
    t3 = mulAdd(b, x, t3);
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  v128.store(sums, s2, 32);
  v128.store(sums, s3, 48);
  v128.store(below, t0);
  v128.store(below, t1, 16);
  v128.store(below, t2, 32);
  v128.store(below, t3, 48);
}

/** The same with two columns: what is left at the diagonal. */
@inline
function multiply2x2(y: usize, columns: usize, at: usize, sums: usize, stride: usize): void {
  const x0 = <usize>load<u32>(columns) + at;
  const x1 = <usize>load<u32>(columns, 4) + at;
  const below = sums + stride;
  let s0 = v128.load(sums), s1 = v128.load(sums, 16);
  let t0 = v128.load(below), t1 = v128.load(below, 16);
  for (let i: usize = 0; i < CHUNK; i += 16) {
    const a = v128.load(y + i);
    const b = v128.load(y + i, 256);
    let x = v128.load(x0 + i);
    s0 = mulAdd(a, x, s0);
    t0 = mulAdd(b, x, t0);
    x = v128.load(x1 + i);
    s1 = mulAdd(a, x, s1);
    t1 = mulAdd(b, x, t1);
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  v128.store(below, t0);
  v128.store(below, t1, 16);
}

/** Columns of a row of accumulators. */
@inline
function paddedTo4(m: usize): usize {
  return (m + 3) & ~(<usize>3);
}

/** Bytes of {@link hessianRows}' accumulators. */
@inline
export function accumulatorBytes(m: usize): usize {
  return (m + 1) * (paddedTo4(m) << 4);
}

/**
 * Rows first … end − 1 (first even; end even, or m) of the lower triangle Σ d·x_a·x_b over chunks 0 … count − 1, into
 * hessian f64[m × m]. `scaled`: 256·(end − first + 1) bytes; `sums`: {@link accumulatorBytes}.
 */
export function hessianRows(
  columns: usize, advance: usize, m: usize, first: usize, end: usize, count: i32, curvature: usize,
  scaled: usize, sums: usize, hessian: usize,
): void {
  const stride = paddedTo4(m) << 4;
  const even = (end + 1) & ~(<usize>1);
  memory.fill(sums + first * stride, 0, (even - first) * stride);
  for (let a = first; a < end; a++) memory.fill(hessian + ((a * m) << 3), 0, (a + 1) << 3);
  memory.fill(scaled, 0, (even - first) << 8);
  for (let c: i32 = 0; c < count; c++) {
    const at = <usize>c * advance;
    const d = curvature + (<usize>c << 8);
    let y = scaled;
    for (let a = first; a < end; a++) {
      const x = <usize>load<u32>(columns + (a << 2)) + at;
      for (let i: usize = 0; i < CHUNK; i += 32) {
        v128.store(y + i, f32x4.mul(v128.load(x + i), v128.load(d + i)));
        v128.store(y + i, f32x4.mul(v128.load(x + i, 16), v128.load(d + i, 16)), 16);
      }
      y += CHUNK;
    }
    y = scaled;
    for (let a = first; a < even; a += 2) {
      const row = sums + a * stride;
      let b: usize = 0;
      for (; b + 4 <= a + 2; b += 4) multiply2x4(y, columns + (b << 2), at, row + (b << 4), stride);
      if (b < a + 2) multiply2x2(y, columns + (b << 2), at, row + (b << 4), stride);
      y += 2 * CHUNK;
    }
    if ((c & (HESSIAN_RUN - 1)) == HESSIAN_RUN - 1 || c == count - 1) {
      for (let a = first; a < end; a++) {
        const row = sums + a * stride;
        const to = hessian + ((a * m) << 3);
        for (let b: usize = 0; b <= a; b++) add(to + (b << 3), sumOfLanes(v128.load(row + (b << 4))));
      }
      memory.fill(sums + first * stride, 0, (even - first) * stride);
    }
  }
}

/** Words of {@link addEvaluation}'s result beyond the gradient. */
export const EVALUATION: usize = 7;

/** Multiplies the pair (mantissa in [1, 2), exponent) at p by a positive factor. */
function multiplyInto(p: usize, factor: f64): void {
  let bits = reinterpret<u64>(factor);
  add(p + 8, <f64>(<i32>(bits >> 52) - 1023));
  bits = reinterpret<u64>(reinterpret<f64>((bits & MANTISSA) | ONE) * load<f64>(p));
  add(p + 8, <f64>(<i32>(bits >> 52) - 1023));
  store<f64>(p, reinterpret<f64>((bits & MANTISSA) | ONE));
}

const MANTISSA: u64 = 0x000fffffffffffff;
/** The bits of 1. */
const ONE: u64 = 0x3ff0000000000000;

/** Sets up what {@link addEvaluation} and {@link mergeEvaluation} add to. */
export function clearEvaluation(out: usize, m: usize): void {
  memory.fill(out, 0, (m + EVALUATION) << 3);
  const rest = out + (m << 3);
  store<f64>(rest, 1);
  store<f64>(rest, 1, 24);
  store<f64>(rest, -Infinity, 48);
}

/** Adds one evaluation to another. */
export function mergeEvaluation(out: usize, from: usize, m: usize): void {
  for (let j: usize = 0; j < m; j++) add(out + (j << 3), load<f64>(from + (j << 3)));
  const to = out + (m << 3);
  const rest = from + (m << 3);
  for (let p: usize = 0; p < 48; p += 24) {
    multiplyInto(to + p, load<f64>(rest + p));
    add(to + p + 8, load<f64>(rest + p, 8));
    add(to + p + 16, load<f64>(rest + p, 16));
  }
  store<f64>(to, max(load<f64>(to, 48), load<f64>(rest, 48)), 48);
}

/**
 * Exponents y = −margin·log₂e of 64 rows in f64, from their columns at `at` on, and the largest of them; `signed`: f64 weights in
 * those units.
 */
@inline
function writeExponents(columns: usize, at: usize, m: usize, signed: usize, out: usize): v128 {
  const end = (m - 1) << 2;
  let most = f64x2.splat(-Infinity);
  for (let part: usize = 0; part < CHUNK; part += 64) {
    let z0 = v128.load64_splat(signed + (end << 1));
    let z1 = z0, z2 = z0, z3 = z0, z4 = z0, z5 = z0, z6 = z0, z7 = z0;
    for (let j: usize = 0; j < end; j += 4) {
      const w = v128.load64_splat(signed + (j << 1));
      const x = <usize>load<u32>(columns + j) + at + part;
      z0 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x)), z0);
      z1 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 8)), z1);
      z2 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 16)), z2);
      z3 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 24)), z3);
      z4 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 32)), z4);
      z5 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 40)), z5);
      z6 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 48)), z6);
      z7 = mulAdd2(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 56)), z7);
    }
    const o = out + (part << 1);
    v128.store(o, z0);
    v128.store(o, z1, 16);
    v128.store(o, z2, 32);
    v128.store(o, z3, 48);
    v128.store(o, z4, 64);
    v128.store(o, z5, 80);
    v128.store(o, z6, 96);
    v128.store(o, z7, 112);
    most = f64x2.pmax(most, f64x2.pmax(f64x2.pmax(z0, z1), f64x2.pmax(z2, z3)));
    most = f64x2.pmax(most, f64x2.pmax(f64x2.pmax(z4, z5), f64x2.pmax(z6, z7)));
  }
  return most;
}

/** Products and exponents of one class's losses, while they are summed: f64[2] and i64[2] each. */
const NUMERATORS: usize = 0;
const NUMERATOR_BITS: usize = 16;
const DENOMINATORS: usize = 32;
const DENOMINATOR_BITS: usize = 48;
const PRODUCT_BYTES: usize = 64;

/** Takes the exponent off a product and adds it, biased, to a sum. */
@inline
function normalise(product: v128, at: usize, exponents: usize): void {
  v128.store(exponents, i64x2.add(v128.load(exponents), i64x2.shr_u(product, 52)));
  v128.store(at, v128.or(v128.and(product, i64x2.splat(MANTISSA)), i64x2.splat(ONE)));
}

/** Replaces exponents y of 64 rows by q = 2^y/(1 + 2^y), and multiplies 1 + 2^y = (low + high)/low into the products. */
@inline
function replaceByShares(at: usize, products: usize, constants: usize): void {
  const k = constants + (FLOATS << 4);
  const upper = v128.load(k), lower = v128.load(k, 16), magic = v128.load(k, 32), p0 = v128.load(k, 48);
  const p1 = v128.load(k, 64), p2 = v128.load(k, 80), q0 = v128.load(k, 96), q1 = v128.load(k, 112);
  for (let half = at, all = at + 512; half < all; half += 256) {
    let numerator = v128.load(products + NUMERATORS);
    let denominator = v128.load(products + DENOMINATORS);
    for (let i = half, end = half + 256; i < end; i += 16) {
      const y = f64x2.pmax(f64x2.pmin(v128.load(i), upper), lower);
      const t = f64x2.add(y, magic);
      const f = f64x2.sub(y, f64x2.sub(t, magic));
      const square = f64x2.mul(f, f);
      const a = f64x2.mul(f, mulAdd2(square, mulAdd2(square, p2, p1), p0));
      const b = mulAdd2(square, f64x2.add(square, q1), q0);
      const low = f64x2.sub(b, a);
      const high = i64x2.add(f64x2.add(b, a), i64x2.shl(t, 52));
      const whole = f64x2.add(low, high);
      v128.store(i, f64x2.div(high, whole));
      numerator = f64x2.mul(numerator, whole);
      denominator = f64x2.mul(denominator, low);
    }
    normalise(numerator, products + NUMERATORS, products + NUMERATOR_BITS);
    normalise(denominator, products + DENOMINATORS, products + DENOMINATOR_BITS);
  }
}

/** What exponents beyond {@link LIMIT} add to log₂ of the losses. */
function excessOf(exponents: usize): f64 {
  let sum: f64 = 0;
  for (let i: usize = 0; i < 512; i += 8) sum += max(load<f64>(exponents + i) - LIMIT, 0);
  return sum;
}

/**
 * In f64, over chunks from … to − 1, adds to out f64[m + 7]: the gradient Σ −t·c·q·x; then for negatives, and then for
 * positives, Π(1 + exp(−margin)) as mantissa and exponent, and what margins too low for that add to its logarithm; and the largest of
 * −margin·log₂e. `weights`: f64 −θ·log₂e, m of them, and their negatives at `stride` bytes. `work`: {@link evaluationBytes}.
 */
export function addEvaluation(
  columns: usize, advance: usize, m: usize, chunks: usize, from: i32, to: i32, weights: usize, stride: usize,
  positive: f64, negative: f64, constants: usize, work: usize, out: usize,
): void {
  const allProducts = work + 512;
  const sums = allProducts + 2 * PRODUCT_BYTES;
  const end = (m - 1) << 2;
  const rest = out + (m << 3);
  memory.fill(allProducts, 0, 2 * PRODUCT_BYTES + (m << 4));
  const one = f64x2.splat(1);
  for (let p: usize = 0; p < 2 * PRODUCT_BYTES; p += 32) v128.store(allProducts + p, one);
  let most = f64x2.splat(-Infinity);
  for (let c = from; c < to; c++) {
    const word = load<u32>(chunks + (<usize>c << 2));
    const isPositive = word >= 256;
    const at = <usize>c * advance;
    let largest = writeExponents(columns, at, m, isPositive ? weights : weights + stride, work);
    if ((word & 255) < 64) {
      for (let i = <usize>(word & 255); i < 64; i++) store<f64>(work + (i << 3), -1000);
      largest = f64x2.splat(-Infinity);
      for (let i: usize = 0; i < 512; i += 16) largest = f64x2.pmax(largest, v128.load(work + i));
    }
    most = f64x2.pmax(most, largest);
    if (v128.any_true(f64x2.gt(largest, f64x2.splat(LIMIT)))) {
      add(rest + (isPositive ? 40 : 16), excessOf(work) * 0.6931471805599453);
    }
    replaceByShares(work, allProducts + (isPositive ? PRODUCT_BYTES : 0), constants);
    const factor = f64x2.splat(isPositive ? -positive : negative);
    const r0 = v128.load(work), r1 = v128.load(work, 16), r2 = v128.load(work, 32), r3 = v128.load(work, 48);
    for (let j: usize = 0; j < end; j += 4) {
      const x = <usize>load<u32>(columns + j) + at;
      let s0 = f64x2.mul(r0, f64x2.promote_low_f32x4(v128.load64_zero(x)));
      let s1 = f64x2.mul(r1, f64x2.promote_low_f32x4(v128.load64_zero(x, 8)));
      let s2 = f64x2.mul(r2, f64x2.promote_low_f32x4(v128.load64_zero(x, 16)));
      let s3 = f64x2.mul(r3, f64x2.promote_low_f32x4(v128.load64_zero(x, 24)));
      for (let i: usize = 32; i < CHUNK; i += 32) {
        const r = work + (i << 1);
        s0 = mulAdd2(v128.load(r), f64x2.promote_low_f32x4(v128.load64_zero(x + i)), s0);
        s1 = mulAdd2(v128.load(r, 16), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 8)), s1);
        s2 = mulAdd2(v128.load(r, 32), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 16)), s2);
        s3 = mulAdd2(v128.load(r, 48), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 24)), s3);
      }
      const sum = sums + (j << 2);
      v128.store(sum, mulAdd2(factor, f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3)), v128.load(sum)));
    }
    let s0 = f64x2.add(r0, r1), s1 = f64x2.add(r2, r3);
    for (let i: usize = 64; i < 512; i += 64) {
      s0 = f64x2.add(s0, f64x2.add(v128.load(work + i), v128.load(work + i, 16)));
      s1 = f64x2.add(s1, f64x2.add(v128.load(work + i, 32), v128.load(work + i, 48)));
    }
    const sum = sums + (end << 2);
    v128.store(sum, mulAdd2(factor, f64x2.add(s0, s1), v128.load(sum)));
  }
  for (let j: usize = 0; j < m; j++) add(out + (j << 3), sumOfPair(v128.load(sums + (j << 4))));
  for (let side: usize = 0; side < 2; side++) {
    const products = allProducts + side * PRODUCT_BYTES;
    const p = rest + 24 * side;
    multiplyInto(p, productOfPair(v128.load(products + NUMERATORS)) / productOfPair(v128.load(products + DENOMINATORS)));
    const exponents = i64x2.sub(v128.load(products + NUMERATOR_BITS), v128.load(products + DENOMINATOR_BITS));
    // The bias is the same in both.
    add(p + 8, <f64>(i64x2.extract_lane(exponents, 0) + i64x2.extract_lane(exponents, 1)));
  }
  store<f64>(
    rest,
    max(load<f64>(rest, 48), max(f64x2.extract_lane(most, 0), f64x2.extract_lane(most, 1))),
    48,
  );
}

/** Bytes of scratch of {@link addEvaluation}. */
@inline
export function evaluationBytes(m: usize): usize {
  return 512 + 2 * PRODUCT_BYTES + (m << 4);
}

@inline
function productOfPair(v: v128): f64 {
  return f64x2.extract_lane(v, 0) * f64x2.extract_lane(v, 1);
}
