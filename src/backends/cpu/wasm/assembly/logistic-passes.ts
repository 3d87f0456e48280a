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
/** Chunks of one class whose losses' factors, each at most 2, multiply to less than 2^1023. */
const LOSS_RUN: i32 = 8;

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

@inline
function add(p: usize, value: f64): void {
  store<f64>(p, load<f64>(p) + value);
}

/**
 * Engines put a constant together anew wherever it is used, also in a loop: those of the exponentials are read from memory,
 * {@link EXP2_CONSTANTS} then {@link EXP_CONSTANTS} vectors.
 */
const EXP2_CONSTANTS: usize = 10;
const EXP_CONSTANTS: usize = 16;
export const CONSTANT_BYTES: usize = (EXP2_CONSTANTS + EXP_CONSTANTS) << 4;

/** Writes them. The coefficients interpolate (2^f − 1)/f and (exp(r) − 1)/r at Chebyshev's points. */
export function writeConstants(p: usize): void {
  v128.store(p, f32x4.splat(126));
  v128.store(p, f32x4.splat(-126), 16);
  v128.store(p, f32x4.splat(12582912), 32);
  v128.store(p, f32x4.splat(1), 48);
  v128.store(p, f32x4.splat(0.6931471880262288), 64);
  v128.store(p, f32x4.splat(0.24022650760568126), 80);
  v128.store(p, f32x4.splat(0.05550357114219078), 96);
  v128.store(p, f32x4.splat(0.009618082557277852), 112);
  v128.store(p, f32x4.splat(0.0013390863364671234), 128);
  v128.store(p, f32x4.splat(0.0001545316294512069), 144);
  p += EXP2_CONSTANTS << 4;
  v128.store(p, f64x2.splat(-700));
  v128.store(p, f64x2.splat(1.4426950408889634), 16);
  v128.store(p, f64x2.splat(6755399441055744), 32);
  v128.store(p, f64x2.splat(0.6931471803691238), 48);
  v128.store(p, f64x2.splat(1.9082149292705877e-10), 64);
  v128.store(p, f64x2.splat(1), 80);
  v128.store(p, f64x2.splat(0.5), 96);
  v128.store(p, f64x2.splat(0.16666666666615648), 112);
  v128.store(p, f64x2.splat(0.041666666666624164), 128);
  v128.store(p, f64x2.splat(0.008333333367311603), 144);
  v128.store(p, f64x2.splat(0.0013888888917196719), 160);
  v128.store(p, f64x2.splat(0.0001984119064754424), 176);
  v128.store(p, f64x2.splat(2.4801521322368692e-5), 192);
  v128.store(p, f64x2.splat(2.7632640675430236e-6), 208);
  v128.store(p, f64x2.splat(2.7620075879983367e-7), 224);
  v128.store(p, i64x2.splat(0x8000000000000000), 240);
}

/** 2^y for y brought to [−126, 126], at 64 places of memory; relative error 5e-9 and its own rounding. */
function replaceByExp2(at: usize, constants: usize): void {
  const high = v128.load(constants), low = v128.load(constants, 16), magic = v128.load(constants, 32);
  const c0 = v128.load(constants, 48), c1 = v128.load(constants, 64), c2 = v128.load(constants, 80);
  const c3 = v128.load(constants, 96), c4 = v128.load(constants, 112), c5 = v128.load(constants, 128);
  const c6 = v128.load(constants, 144);
  for (const end = at + CHUNK; at < end; at += 16) {
    const y = f32x4.pmax(f32x4.pmin(v128.load(at), high), low);
    const t = f32x4.add(y, magic);
    const f = f32x4.sub(y, f32x4.sub(t, magic));
    const square = f32x4.mul(f, f);
    const first = mulAdd(mulAdd(c3, f, c2), square, mulAdd(c1, f, c0));
    const last = mulAdd(c6, square, mulAdd(c5, f, c4));
    v128.store(at, i32x4.add(mulAdd(last, f32x4.mul(square, square), first), i32x4.shl(t, 23)));
  }
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
    const intercept = v128.load32_splat(w + end);
    const factor = f32x4.splat(word >= 256 ? -positive : negative);
    for (let half: usize = 0; half < CHUNK; half += 128) {
      const at = <usize>c * advance + half;
      let z0 = intercept;
      let z1 = z0, z2 = z0, z3 = z0, z4 = z0, z5 = z0, z6 = z0, z7 = z0;
      for (let j: usize = 0; j < end; j += 4) {
        const v = v128.load32_splat(w + j);
        const x = <usize>load<u32>(columns + j) + at;
        z0 = mulAdd(v, v128.load(x), z0);
        z1 = mulAdd(v, v128.load(x, 16), z1);
        z2 = mulAdd(v, v128.load(x, 32), z2);
        z3 = mulAdd(v, v128.load(x, 48), z3);
        z4 = mulAdd(v, v128.load(x, 64), z4);
        z5 = mulAdd(v, v128.load(x, 80), z5);
        z6 = mulAdd(v, v128.load(x, 96), z6);
        z7 = mulAdd(v, v128.load(x, 112), z7);
      }
      const o = work + half;
      v128.store(o, z0);
      v128.store(o, z1, 16);
      v128.store(o, z2, 32);
      v128.store(o, z3, 48);
      v128.store(o, z4, 64);
      v128.store(o, z5, 80);
      v128.store(o, z6, 96);
      v128.store(o, z7, 112);
    }
    for (let i = <usize>(word & 255); i < 64; i++) store<f32>(work + (i << 2), 126);
    replaceByExp2(work, constants);
    const one = v128.load(constants, 48);
    if (curvature) {
      const d = curvature + (<usize>c << 8);
      const size = f32x4.abs(factor);
      for (let i: usize = 0; i < CHUNK; i += 16) {
        const q = f32x4.div(one, f32x4.add(one, v128.load(work + i)));
        v128.store(work + i, f32x4.mul(q, factor));
        v128.store(d + i, f32x4.mul(size, f32x4.sub(q, f32x4.mul(q, q))));
      }
    } else {
      for (let i: usize = 0; i < CHUNK; i += 16) {
        v128.store(work + i, f32x4.div(factor, f32x4.add(one, v128.load(work + i))));
      }
    }
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

/** exp(−|m|) of 64 margins at `from`: x = n·ln 2 + r with ln 2 in two parts; to 6e-16 and its own rounding. */
function replaceByExp(from: usize, to: usize, constants: usize): void {
  const k = constants + (EXP2_CONSTANTS << 4);
  const lowest = v128.load(k), log2e = v128.load(k, 16), magic = v128.load(k, 32), ln2 = v128.load(k, 48);
  const rest2 = v128.load(k, 64), one = v128.load(k, 80), c0 = v128.load(k, 96), c1 = v128.load(k, 112);
  const c2 = v128.load(k, 128), c3 = v128.load(k, 144), c4 = v128.load(k, 160), c5 = v128.load(k, 176);
  const c6 = v128.load(k, 192), c7 = v128.load(k, 208), c8 = v128.load(k, 224), sign = v128.load(k, 240);
  for (let i: usize = 0; i < 512; i += 16) {
    const x = f64x2.pmax(v128.or(v128.load(from + i), sign), lowest);
    const shifted = f64x2.add(f64x2.mul(x, log2e), magic);
    const n = f64x2.sub(shifted, magic);
    const r = f64x2.sub(f64x2.sub(x, f64x2.mul(n, ln2)), f64x2.mul(n, rest2));
    const r2 = f64x2.mul(r, r);
    const r4 = f64x2.mul(r2, r2);
    const p0 = f64x2.add(c0, f64x2.mul(r, c1));
    const p1 = f64x2.add(c2, f64x2.mul(r, c3));
    const p2 = f64x2.add(c4, f64x2.mul(r, c5));
    const p3 = f64x2.add(c6, f64x2.mul(r, c7));
    const high = f64x2.add(f64x2.add(p2, f64x2.mul(r2, p3)), f64x2.mul(r4, c8));
    const low = f64x2.add(p0, f64x2.mul(r2, p1));
    const e = f64x2.add(f64x2.add(one, r), f64x2.mul(r2, f64x2.add(low, f64x2.mul(r4, high))));
    v128.store(to + i, i64x2.add(e, i64x2.shl(shifted, 52)));
  }
}

/** Multiplies the pair (mantissa in [1, 2), exponent) at p by a positive factor. */
function multiplyInto(p: usize, factor: f64): void {
  let bits = reinterpret<u64>(factor);
  add(p + 8, <f64>(<i32>(bits >> 52) - 1023));
  bits = reinterpret<u64>(reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000) * load<f64>(p));
  add(p + 8, <f64>(<i32>(bits >> 52) - 1023));
  store<f64>(p, reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000));
}

/** Sets up what {@link addEvaluation} and {@link mergeEvaluation} add to. */
export function clearEvaluation(out: usize, m: usize): void {
  memory.fill(out, 0, (m + EVALUATION) << 3);
  const rest = out + (m << 3);
  store<f64>(rest, 1);
  store<f64>(rest, 1, 24);
  store<f64>(rest, Infinity, 48);
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
  store<f64>(to, min(load<f64>(to, 48), load<f64>(rest, 48)), 48);
}

/**
 * In f64, over chunks from … to − 1, adds to out f64[m + 7]: the gradient Σ −t·c·q·x; then for negatives, and then for
 * positives, Π(1 + exp(−|margin|)) as mantissa and exponent, and Σ max(−margin, 0); and the least margin. `weights`: f64 θ[m], and its
 * negative at `stride` bytes.
 * `work`: 1024 + 16·m bytes.
 */
export function addEvaluation(
  columns: usize, advance: usize, m: usize, chunks: usize, from: i32, to: i32, weights: usize, stride: usize,
  positive: f64, negative: f64, constants: usize, work: usize, out: usize,
): void {
  const sums = work + 1024;
  const end = (m - 1) << 2;
  const rest = out + (m << 3);
  memory.fill(sums, 0, m << 4);
  const one = v128.load(constants + ((EXP2_CONSTANTS + 5) << 4));
  const zero = f64x2.splat(0);
  let least = f64x2.splat(Infinity);
  let product0 = one;
  let product1 = one;
  let run0 = 0;
  let run1 = 0;
  for (let c = from; c < to; c++) {
    const word = load<u32>(chunks + (<usize>c << 2));
    const isPositive = word >= 256;
    const signed = isPositive ? weights : weights + stride;
    for (let part: usize = 0; part < CHUNK; part += 64) {
      const at = <usize>c * advance + part;
      let z0 = v128.load64_splat(signed + (end << 1));
      let z1 = z0, z2 = z0, z3 = z0, z4 = z0, z5 = z0, z6 = z0, z7 = z0;
      for (let j: usize = 0; j < end; j += 4) {
        const w = v128.load64_splat(signed + (j << 1));
        const x = <usize>load<u32>(columns + j) + at;
        z0 = f64x2.add(z0, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x))));
        z1 = f64x2.add(z1, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 8))));
        z2 = f64x2.add(z2, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 16))));
        z3 = f64x2.add(z3, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 24))));
        z4 = f64x2.add(z4, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 32))));
        z5 = f64x2.add(z5, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 40))));
        z6 = f64x2.add(z6, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 48))));
        z7 = f64x2.add(z7, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 56))));
      }
      const o = work + (part << 1);
      v128.store(o, z0);
      v128.store(o, z1, 16);
      v128.store(o, z2, 32);
      v128.store(o, z3, 48);
      v128.store(o, z4, 64);
      v128.store(o, z5, 80);
      v128.store(o, z6, 96);
      v128.store(o, z7, 112);
    }
    const factor = f64x2.splat(isPositive ? -positive : negative);
    for (let i = <usize>(word & 255); i < 64; i++) store<f64>(work + (i << 3), 700);
    let product = isPositive ? product1 : product0;
    let hinge = zero;
    let ofIntercept = v128.load(sums + (end << 2));
    replaceByExp(work, work + 512, constants);
    for (let i: usize = 0; i < 512; i += 16) {
      const margin = v128.load(work + i);
      const a = v128.load(work + i, 512);
      const whole = f64x2.add(one, a);
      least = f64x2.pmin(least, margin);
      hinge = f64x2.add(hinge, f64x2.pmin(zero, margin));
      product = f64x2.mul(product, whole);
      // q = a/(1 + a) for rows on their side, 1/(1 + a) for others.
      const part = v128.bitselect(one, a, f64x2.lt(margin, zero));
      const r = f64x2.div(f64x2.mul(factor, part), whole);
      ofIntercept = f64x2.add(ofIntercept, r);
      v128.store(work + i, r);
    }
    v128.store(sums + (end << 2), ofIntercept);
    if (isPositive) {
      product1 = product;
      add(rest + 40, -sumOfPair(hinge));
      if (++run1 == LOSS_RUN) {
        multiplyInto(rest + 24, f64x2.extract_lane(product1, 0) * f64x2.extract_lane(product1, 1));
        product1 = one;
        run1 = 0;
      }
    } else {
      product0 = product;
      add(rest + 16, -sumOfPair(hinge));
      if (++run0 == LOSS_RUN) {
        multiplyInto(rest, f64x2.extract_lane(product0, 0) * f64x2.extract_lane(product0, 1));
        product0 = one;
        run0 = 0;
      }
    }
    for (let j: usize = 0; j < end; j += 4) {
      const x = <usize>load<u32>(columns + j) + <usize>c * advance;
      let even = v128.load(sums + (j << 2));
      let odd = f64x2.splat(0);
      for (let i: usize = 0; i < CHUNK; i += 32) {
        const r = work + (i << 1);
        even = f64x2.add(even, f64x2.mul(v128.load(r), f64x2.promote_low_f32x4(v128.load64_zero(x + i))));
        odd = f64x2.add(odd, f64x2.mul(v128.load(r, 16), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 8))));
        even = f64x2.add(even, f64x2.mul(v128.load(r, 32), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 16))));
        odd = f64x2.add(odd, f64x2.mul(v128.load(r, 48), f64x2.promote_low_f32x4(v128.load64_zero(x + i, 24))));
      }
      v128.store(sums + (j << 2), f64x2.add(even, odd));
    }
  }
  for (let j: usize = 0; j < m; j++) add(out + (j << 3), sumOfPair(v128.load(sums + (j << 4))));
  multiplyInto(rest, f64x2.extract_lane(product0, 0) * f64x2.extract_lane(product0, 1));
  multiplyInto(rest + 24, f64x2.extract_lane(product1, 0) * f64x2.extract_lane(product1, 1));
  store<f64>(
    rest,
    min(load<f64>(rest, 48), min(f64x2.extract_lane(least, 0), f64x2.extract_lane(least, 1))),
    48,
  );
}
