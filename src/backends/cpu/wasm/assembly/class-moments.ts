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

/** Adds up eight vectors of 16 bits. */
@inline
function words8(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128, g: v128, h: v128): v128 {
  return i16x8.add(
    i16x8.add(i16x8.add(a, b), i16x8.add(c, d)),
    i16x8.add(i16x8.add(e, f), i16x8.add(g, h)),
  );
}

/**
 * Adds eight rows' codes, 16 columns a step: the pairs of codes as words, modulo 2¹⁶, and the upper codes alone. The lower codes'
 * sum follows, so long as it is below 2¹⁶: for up to 257 rows.
 */
function addCodes(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  words: usize, end: usize,
): void {
  for (; words < end; words += 32) {
    const a = v128.load(p0), b = v128.load(p1), c = v128.load(p2), d = v128.load(p3);
    const e = v128.load(p4), f = v128.load(p5), g = v128.load(p6), h = v128.load(p7);
    v128.store(words, i16x8.add(v128.load(words), words8(a, b, c, d, e, f, g, h)));
    v128.store(words, i16x8.add(v128.load(words, 16), words8(
      i16x8.shr_u(a, 8), i16x8.shr_u(b, 8), i16x8.shr_u(c, 8), i16x8.shr_u(d, 8),
      i16x8.shr_u(e, 8), i16x8.shr_u(f, 8), i16x8.shr_u(g, 8), i16x8.shr_u(h, 8),
    )), 16);
    p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
  }
}

/** What `addCodes` added, as floats. */
function settleCodes(words: usize, sum: usize, end: usize): void {
  for (; sum < end; sum += 64) {
    const odd = v128.load(words, 16);
    const even = i16x8.sub(v128.load(words), i16x8.shl(odd, 8));
    const low = v128.shuffle<i16>(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
    const high = v128.shuffle<i16>(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
    v128.store(sum, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(low)));
    v128.store(sum, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(low)), 16);
    v128.store(sum, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(high)), 32);
    v128.store(sum, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(high)), 48);
    words += 32;
  }
}

/** The even halves of eight, times 2⁻¹¹²: a half's bits, shifted into a float's fields (as a product with 2¹³). */
@inline
function evenHalves(h: v128): v128 {
  return v128.and(i32x4.dot_i16x8_s(h, i32x4.splat(0x2000)), i32x4.splat(0x8fffe000));
}

/** The odd halves. */
@inline
function oddHalves(h: v128): v128 {
  return v128.and(i32x4.shr_s(h, 3), i32x4.splat(0x8fffe000));
}

@inline
function sum4(a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
}

/**
 * Adds the sum of eight rows' halves, eight columns a step: to four sums of the even columns and four of the odd ones, times
 * 2⁻¹¹². An exponent of ones (an infinity or NaN) is counted as a number. Returns true where there is one.
 */
function addHalves(
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize,
  sum: usize, end: usize,
): bool {
  // Of the halves' bits: positive ones are the largest with a sign, negative ones without.
  let signed = i16x8.splat(0), unsigned = signed;
  for (; sum < end; sum += 32) {
    // Four at a time, for want of registers.
    let a = v128.load(p0), b = v128.load(p1), c = v128.load(p2), d = v128.load(p3);
    signed = i16x8.max_s(signed, i16x8.max_s(i16x8.max_s(a, b), i16x8.max_s(c, d)));
    unsigned = i16x8.max_u(unsigned, i16x8.max_u(i16x8.max_u(a, b), i16x8.max_u(c, d)));
    const even = sum4(evenHalves(a), evenHalves(b), evenHalves(c), evenHalves(d));
    const odd = sum4(oddHalves(a), oddHalves(b), oddHalves(c), oddHalves(d));
    a = v128.load(p4); b = v128.load(p5); c = v128.load(p6); d = v128.load(p7);
    signed = i16x8.max_s(signed, i16x8.max_s(i16x8.max_s(a, b), i16x8.max_s(c, d)));
    unsigned = i16x8.max_u(unsigned, i16x8.max_u(i16x8.max_u(a, b), i16x8.max_u(c, d)));
    v128.store(sum, f32x4.add(v128.load(sum),
      f32x4.add(even, sum4(evenHalves(a), evenHalves(b), evenHalves(c), evenHalves(d)))));
    v128.store(sum, f32x4.add(v128.load(sum, 16),
      f32x4.add(odd, sum4(oddHalves(a), oddHalves(b), oddHalves(c), oddHalves(d)))), 16);
    p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16; p5 += 16; p6 += 16; p7 += 16;
  }
  return v128.any_true(v128.or(
    i16x8.ge_s(signed, i16x8.splat(0x7c00)), i16x8.ge_u(unsigned, i16x8.splat(<i16>0xfc00)),
  ));
}

/** What `addHalves` added, in the order of the columns and at its size. */
function settleHalves(sum: usize, end: usize): void {
  const scale = f32x4.splat(5.192296858534828e33);
  for (; sum < end; sum += 32) {
    const even = f32x4.mul(v128.load(sum), scale), odd = f32x4.mul(v128.load(sum, 16), scale);
    v128.store(sum, v128.shuffle<i32>(even, odd, 0, 4, 1, 5));
    v128.store(sum, v128.shuffle<i32>(even, odd, 2, 6, 3, 7), 16);
  }
}

/** Marks the columns in which a row has a half that is not finite. */
function markSpecial(row: usize, columns: usize, special: usize): void {
  for (let c: usize = 0; c < columns; c++) {
    if ((load<u16>(row + (c << 1)) & 0x7c00) == 0x7c00) store<u8>(special + c, 1);
  }
}

/**
 * Item: (block of rows) × (part of the columns). Words: 0 x (of row 0), 1 storage type, 2 d, 3 order u32[rows], 4 starts
 * u32[blocks × patterns + 1] into it, 5 patterns, 6 first block, 7 column parts, 8 columns of a part (a multiple of 16),
 * 9 squares (0 or 1), 10 pilot f32[d], 11 blank row (stored; its values are the pilot's), 12 slots
 * f32[blocks × patterns × (1 + squares) × d], 13 scratch of a thread for sums alone and 14 its stride in bytes: for f16 u8[d], set to
 * 1 where a value is not finite, for u8 2·d bytes. Blocks of codes without squares have no more than 256 rows.
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
  const scratch = <usize>load<u32>(a, 52) + <usize>thread * <usize>load<u32>(a, 56) + (dtype == U8 ? first << 1 : first);
  const stats = 1 + squares;
  let sum = <usize>load<u32>(a, 48) + ((<usize>block * <usize>(patterns * stats) * d + first) << 2);
  const starts = <usize>load<u32>(a, 16) + <usize>((block + load<i32>(a, 24)) * patterns << 2);
  for (let p = 0; p < patterns; p++) {
    const end = <usize>load<u32>(starts + <usize>(p << 2), 4);
    let i = <usize>load<u32>(starts + <usize>(p << 2));
    const square = sum + (d << 2);
    memory.fill(sum, 0, columns << 2);
    if (squares) memory.fill(square, 0, columns << 2);
    else if (dtype == U8) memory.fill(scratch, 0, whole << 1);
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
      else if (dtype == U8) addCodes(p0, p1, p2, p3, p4, p5, p6, p7, scratch, scratch + (whole << 1));
      else if (addHalves(p0, p1, p2, p3, p4, p5, p6, p7, sum, stop)) {
        for (let r = i, last = min(i + 8, end); r < last; r++) {
          markSpecial(from + <usize>load<u32>(order + (r << 2)) * rowBytes, whole, scratch);
        }
      }
    }
    if (!squares && dtype == F16) settleHalves(sum, sum + (whole << 2));
    else if (!squares && dtype == U8) settleCodes(scratch, sum, sum + (whole << 2));
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
