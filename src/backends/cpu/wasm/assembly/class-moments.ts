/**
 * Class sums for few label patterns: within a block of rows, the rows of one pattern are added eight at a time, in f32, to the
 * block's own slot; the slots are then added up in f64, in the order of the blocks.
 */
import { F16, F32, loadCodes, loadHalves, loadValue, U8 } from "./storage";
import { addWidened, mulAdd } from "./vector";

/** Row i of a list, or the blank row beyond its end. */
@inline
function rowAt(order: usize, i: usize, end: usize, x: usize, rowBytes: usize, blank: usize): usize {
  return i < end ? x + <usize>load<u32>(order + (i << 2)) * rowBytes : blank;
}

@inline
function sum8(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128, g: v128, h: v128): v128 {
  return f32x4.add(
    f32x4.add(f32x4.add(a, b), f32x4.add(c, d)),
    f32x4.add(f32x4.add(e, f), f32x4.add(g, h)),
  );
}

/** Adds Σ (x − pilot) of eight rows, 16 columns a step. */
function addFloats(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  pilot: usize, sum: usize, end: usize,
): void {
  let m: v128;
  for (; sum < end; sum += 64) {
    m = v128.load(pilot);
    v128.store(sum, f32x4.add(v128.load(sum), sum8(
      f32x4.sub(v128.load(p0), m), f32x4.sub(v128.load(p1), m), f32x4.sub(v128.load(p2), m), f32x4.sub(v128.load(p3), m),
      f32x4.sub(v128.load(p4), m), f32x4.sub(v128.load(p5), m), f32x4.sub(v128.load(p6), m), f32x4.sub(v128.load(p7), m),
    )));
    m = v128.load(pilot, 16);
    v128.store(sum, f32x4.add(v128.load(sum, 16), sum8(
      f32x4.sub(v128.load(p0, 16), m), f32x4.sub(v128.load(p1, 16), m), f32x4.sub(v128.load(p2, 16), m), f32x4.sub(v128.load(p3, 16), m),
      f32x4.sub(v128.load(p4, 16), m), f32x4.sub(v128.load(p5, 16), m), f32x4.sub(v128.load(p6, 16), m), f32x4.sub(v128.load(p7, 16), m),
    )), 16);
    m = v128.load(pilot, 32);
    v128.store(sum, f32x4.add(v128.load(sum, 32), sum8(
      f32x4.sub(v128.load(p0, 32), m), f32x4.sub(v128.load(p1, 32), m), f32x4.sub(v128.load(p2, 32), m), f32x4.sub(v128.load(p3, 32), m),
      f32x4.sub(v128.load(p4, 32), m), f32x4.sub(v128.load(p5, 32), m), f32x4.sub(v128.load(p6, 32), m), f32x4.sub(v128.load(p7, 32), m),
    )), 32);
    m = v128.load(pilot, 48);
    v128.store(sum, f32x4.add(v128.load(sum, 48), sum8(
      f32x4.sub(v128.load(p0, 48), m), f32x4.sub(v128.load(p1, 48), m), f32x4.sub(v128.load(p2, 48), m), f32x4.sub(v128.load(p3, 48), m),
      f32x4.sub(v128.load(p4, 48), m), f32x4.sub(v128.load(p5, 48), m), f32x4.sub(v128.load(p6, 48), m), f32x4.sub(v128.load(p7, 48), m),
    )), 48);
    p0 += 64; p1 += 64; p2 += 64; p3 += 64; p4 += 64; p5 += 64; p6 += 64; p7 += 64;
    pilot += 64;
  }
}

/** Four stored values as floats: halves by value, codes as they are. */
@inline
function load4(dtype: i32, p: usize): v128 {
  if (dtype == F32) return v128.load(p);
  if (dtype == F16) return loadHalves(p);
  return loadCodes(p);
}

/** Adds Σ (x − pilot) and Σ (x − pilot)² of eight rows, four columns a step. */
@inline
function addSquares(
  dtype: i32,
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  pilot: usize, sum: usize, end: usize, square: usize,
): void {
  const step: usize = 16 >> dtype;
  for (; sum < end; sum += 16) {
    const m = v128.load(pilot);
    const a = f32x4.sub(load4(dtype, p0), m), b = f32x4.sub(load4(dtype, p1), m);
    const c = f32x4.sub(load4(dtype, p2), m), d = f32x4.sub(load4(dtype, p3), m);
    const e = f32x4.sub(load4(dtype, p4), m), f = f32x4.sub(load4(dtype, p5), m);
    const g = f32x4.sub(load4(dtype, p6), m), h = f32x4.sub(load4(dtype, p7), m);
    v128.store(sum, f32x4.add(v128.load(sum), sum8(a, b, c, d, e, f, g, h)));
    const q = mulAdd(d, d, mulAdd(c, c, mulAdd(b, b, f32x4.mul(a, a))));
    const r = mulAdd(h, h, mulAdd(g, g, mulAdd(f, f, f32x4.mul(e, e))));
    v128.store(square, f32x4.add(v128.load(square), f32x4.add(q, r)));
    p0 += step; p1 += step; p2 += step; p3 += step; p4 += step; p5 += step; p6 += step; p7 += step;
    pilot += 16;
    square += 16;
  }
}

function addSquaresOfFloats(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  pilot: usize, sum: usize, end: usize, square: usize,
): void {
  addSquares(F32, p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, end, square);
}

function addSquaresOfHalves(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  pilot: usize, sum: usize, end: usize, square: usize,
): void {
  addSquares(F16, p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, end, square);
}

function addSquaresOfCodes(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  pilot: usize, sum: usize, end: usize, square: usize,
): void {
  addSquares(U8, p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, end, square);
}

/** Sum of eight rows' codes, 16 columns a step. Whole numbers below 2²⁴ in f32: exact. */
function addCodes(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  sum: usize, end: usize,
): void {
  for (; sum < end; sum += 64) {
    const a = v128.load(p0), b = v128.load(p1), c = v128.load(p2), d = v128.load(p3);
    const e = v128.load(p4), f = v128.load(p5), g = v128.load(p6), h = v128.load(p7);
    const low = i16x8.add(
      i16x8.add(
        i16x8.add(i16x8.extend_low_i8x16_u(a), i16x8.extend_low_i8x16_u(b)),
        i16x8.add(i16x8.extend_low_i8x16_u(c), i16x8.extend_low_i8x16_u(d)),
      ),
      i16x8.add(
        i16x8.add(i16x8.extend_low_i8x16_u(e), i16x8.extend_low_i8x16_u(f)),
        i16x8.add(i16x8.extend_low_i8x16_u(g), i16x8.extend_low_i8x16_u(h)),
      ),
    );
    const high = i16x8.add(
      i16x8.add(
        i16x8.add(i16x8.extend_high_i8x16_u(a), i16x8.extend_high_i8x16_u(b)),
        i16x8.add(i16x8.extend_high_i8x16_u(c), i16x8.extend_high_i8x16_u(d)),
      ),
      i16x8.add(
        i16x8.add(i16x8.extend_high_i8x16_u(e), i16x8.extend_high_i8x16_u(f)),
        i16x8.add(i16x8.extend_high_i8x16_u(g), i16x8.extend_high_i8x16_u(h)),
      ),
    );
    v128.store(sum, f32x4.add(v128.load(sum), f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(low))));
    v128.store(sum, f32x4.add(v128.load(sum, 16), f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(low))), 16);
    v128.store(sum, f32x4.add(v128.load(sum, 32), f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(high))), 32);
    v128.store(sum, f32x4.add(v128.load(sum, 48), f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(high))), 48);
    p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
  }
}

/** The even halves of eight, times 2⁻¹¹²: a half's bits, shifted into a float's fields. */
@inline
function evenHalves(h: v128): v128 {
  return v128.and(i32x4.shr_s(i32x4.shl(h, 16), 3), i32x4.splat(0x8fffe000));
}

/** The odd halves. */
@inline
function oddHalves(h: v128): v128 {
  return v128.and(i32x4.shr_s(h, 3), i32x4.splat(0x8fffe000));
}

/**
 * Adds the sum of eight rows' halves, eight columns a step. An exponent of ones (an infinity or NaN) is counted as a number:
 * `largest` keeps the largest magnitude of each column, as twice the half's bits, by which such columns are found.
 */
function addHalves(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  sum: usize, end: usize, largest: usize,
): void {
  const scale = f32x4.splat(5.192296858534828e33);
  for (; sum < end; sum += 32) {
    const a = v128.load(p0), b = v128.load(p1), c = v128.load(p2), d = v128.load(p3);
    const e = v128.load(p4), f = v128.load(p5), g = v128.load(p6), h = v128.load(p7);
    const even = sum8(
      evenHalves(a), evenHalves(b), evenHalves(c), evenHalves(d),
      evenHalves(e), evenHalves(f), evenHalves(g), evenHalves(h),
    );
    const odd = sum8(
      oddHalves(a), oddHalves(b), oddHalves(c), oddHalves(d),
      oddHalves(e), oddHalves(f), oddHalves(g), oddHalves(h),
    );
    v128.store(sum, mulAdd(v128.shuffle<i32>(even, odd, 0, 4, 1, 5), scale, v128.load(sum)));
    v128.store(sum, mulAdd(v128.shuffle<i32>(even, odd, 2, 6, 3, 7), scale, v128.load(sum, 16)), 16);
    const m = i16x8.max_u(
      i16x8.max_u(
        i16x8.max_u(i16x8.shl(a, 1), i16x8.shl(b, 1)), i16x8.max_u(i16x8.shl(c, 1), i16x8.shl(d, 1)),
      ),
      i16x8.max_u(
        i16x8.max_u(i16x8.shl(e, 1), i16x8.shl(f, 1)), i16x8.max_u(i16x8.shl(g, 1), i16x8.shl(h, 1)),
      ),
    );
    v128.store(largest, i16x8.max_u(v128.load(largest), m));
    p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
    largest += 16;
  }
}

/**
 * Item: (block of rows) × (part of the columns). Words: 0 x (of row 0), 1 storage type, 2 d, 3 order u32[rows], 4 starts
 * u32[blocks × patterns + 1] into it, 5 patterns, 6 first block, 7 column parts, 8 columns of a part (a multiple of 16),
 * 9 squares (0 or 1), 10 pilot f32[d], 11 blank row (stored; its values are the pilot's), 12 slots
 * f32[blocks × patterns × (1 + squares) × d], 13 largest u16[threads × d], 14 its stride in bytes (f16 sums only).
 */
export function sumPatterns(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const dtype = load<i32>(a, 4);
  const d = <usize>load<u32>(a, 8);
  const order = <usize>load<u32>(a, 12);
  const patterns = load<i32>(a, 20);
  const parts = load<i32>(a, 28);
  const width = <usize>load<u32>(a, 32);
  const squares = load<i32>(a, 36);
  const block = item / parts;
  const first = <usize>(item - block * parts) * width;
  const columns = min(width, d - first);
  const whole = columns & ~15;
  const shift = <usize>(2 - dtype);
  const rowBytes = d << shift;
  const from = x + (first << shift);
  const pilot = <usize>load<u32>(a, 40) + (first << 2);
  const blank = <usize>load<u32>(a, 44) + (first << shift);
  const largest = <usize>load<u32>(a, 52) + <usize>thread * <usize>load<u32>(a, 56) + (first << 1);
  const stats = 1 + squares;
  let sum = <usize>load<u32>(a, 48) + ((<usize>block * <usize>(patterns * stats) * d + first) << 2);
  const starts = <usize>load<u32>(a, 16) + <usize>((block + load<i32>(a, 24)) * patterns << 2);
  for (let p = 0; p < patterns; p++) {
    const end = <usize>load<u32>(starts + <usize>(p << 2), 4);
    let i = <usize>load<u32>(starts + <usize>(p << 2));
    const square = sum + (d << 2);
    memory.fill(sum, 0, columns << 2);
    if (squares) memory.fill(square, 0, columns << 2);
    for (let c = whole; c < columns; c++) {
      let s: f32 = 0, q: f32 = 0;
      for (let r = i; r < end; r++) {
        const v = valueAt(dtype, from + <usize>load<u32>(order + (r << 2)) * rowBytes, c) - load<f32>(pilot + (c << 2));
        s += v;
        q += v * v;
      }
      store<f32>(sum + (c << 2), s);
      if (squares) store<f32>(square + (c << 2), q);
    }
    for (; i < end; i += 8) {
      const p0 = rowAt(order, i, end, from, rowBytes, blank);
      const p1 = rowAt(order, i + 1, end, from, rowBytes, blank);
      const p2 = rowAt(order, i + 2, end, from, rowBytes, blank);
      const p3 = rowAt(order, i + 3, end, from, rowBytes, blank);
      const p4 = rowAt(order, i + 4, end, from, rowBytes, blank);
      const p5 = rowAt(order, i + 5, end, from, rowBytes, blank);
      const p6 = rowAt(order, i + 6, end, from, rowBytes, blank);
      const p7 = rowAt(order, i + 7, end, from, rowBytes, blank);
      const stop = sum + (whole << 2);
      if (squares) {
        if (dtype == F32) addSquaresOfFloats(p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, stop, square);
        else if (dtype == F16) addSquaresOfHalves(p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, stop, square);
        else addSquaresOfCodes(p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, stop, square);
      } else if (dtype == F32) addFloats(p0, p1, p2, p3, p4, p5, p6, p7, pilot, sum, stop);
      else if (dtype == F16) addHalves(p0, p1, p2, p3, p4, p5, p6, p7, sum, stop, largest);
      else addCodes(p0, p1, p2, p3, p4, p5, p6, p7, sum, stop);
    }
    sum += <usize>stats * (d << 2);
  }
}

/** One stored value; a code as it is. */
@inline
function valueAt(dtype: i32, row: usize, column: usize): f32 {
  return dtype == U8 ? <f32>load<u8>(row + column) : loadValue(dtype, row, column, 0, 0);
}

/**
 * Adds slots to f64 sums, in their order. Item: 512 columns. Words: 0 slots f32[slots × length], 1 slots, 2 length,
 * 3 totals f64[length].
 */
export function addSlots(item: i32, a: usize, thread: i32): void {
  const slots = <usize>load<u32>(a, 4);
  const length = <usize>load<u32>(a, 8);
  const first = <usize>item << 9;
  const count = min(<usize>512, length - first);
  const from = <usize>load<u32>(a) + (first << 2);
  const to = <usize>load<u32>(a, 12) + (first << 3);
  for (let s: usize = 0; s < slots; s++) {
    let p = from + s * (length << 2);
    let q = to;
    for (const end = to + ((count & ~3) << 3); q < end; q += 32) {
      addWidened(q, v128.load(p));
      p += 16;
    }
    for (const end = to + (count << 3); q < end; q += 8) {
      store<f64>(q, load<f64>(q) + <f64>load<f32>(p));
      p += 4;
    }
  }
}
