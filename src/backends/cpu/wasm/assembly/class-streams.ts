/**
 * Class sums of one or two label patterns from f32 rows in the order of memory: four streams of eight neighbouring rows are read
 * side by side, since the processor fetches ahead along long runs of memory and not across scattered rows. Each step takes a
 * row from every stream and adds the rows of each pattern to its sums, f32 within a block; slots are added up in f64.
 */

/** Rows of a stream, and of the four streams. */
const RUN: usize = 8;
const GROUP: usize = 32;

/** Columns that are shifted by the pilot together, or not at all. */
const SEGMENT: usize = 64;

@inline
function less(v: v128, m: v128, shifted: bool): v128 {
  return shifted ? f32x4.sub(v, m) : v;
}

/** Sum of the first k of four. */
@inline
function firstOf(k: i32, a: v128, b: v128, c: v128, d: v128): v128 {
  if (k == 1) return a;
  if (k == 2) return f32x4.add(a, b);
  if (k == 3) return f32x4.add(f32x4.add(a, b), c);
  return f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
}

/** Adds Σ (x − pilot) of four rows, the first k to `sum` and the others to `other`, 16 columns a step. */
@inline
function addRows(
  k: i32, shifted: bool, p0: usize, p1: usize, p2: usize, p3: usize, pilot: usize, sum: usize, other: usize, bytes: usize,
): void {
  let m = f32x4.splat(0);
  for (const end = p0 + bytes; p0 < end; p0 += 64) {
    if (shifted) m = v128.load(pilot);
    let a = less(v128.load(p0), m, shifted), b = less(v128.load(p1), m, shifted);
    let c = less(v128.load(p2), m, shifted), d = less(v128.load(p3), m, shifted);
    if (k > 0) v128.store(sum, f32x4.add(v128.load(sum), firstOf(k, a, b, c, d)));
    if (k < 4) v128.store(other, f32x4.add(v128.load(other), firstOf(4 - k, d, c, b, a)));
    if (shifted) m = v128.load(pilot, 16);
    a = less(v128.load(p0, 16), m, shifted); b = less(v128.load(p1, 16), m, shifted);
    c = less(v128.load(p2, 16), m, shifted); d = less(v128.load(p3, 16), m, shifted);
    if (k > 0) v128.store(sum, f32x4.add(v128.load(sum, 16), firstOf(k, a, b, c, d)), 16);
    if (k < 4) v128.store(other, f32x4.add(v128.load(other, 16), firstOf(4 - k, d, c, b, a)), 16);
    if (shifted) m = v128.load(pilot, 32);
    a = less(v128.load(p0, 32), m, shifted); b = less(v128.load(p1, 32), m, shifted);
    c = less(v128.load(p2, 32), m, shifted); d = less(v128.load(p3, 32), m, shifted);
    if (k > 0) v128.store(sum, f32x4.add(v128.load(sum, 32), firstOf(k, a, b, c, d)), 32);
    if (k < 4) v128.store(other, f32x4.add(v128.load(other, 32), firstOf(4 - k, d, c, b, a)), 32);
    if (shifted) m = v128.load(pilot, 48);
    a = less(v128.load(p0, 48), m, shifted); b = less(v128.load(p1, 48), m, shifted);
    c = less(v128.load(p2, 48), m, shifted); d = less(v128.load(p3, 48), m, shifted);
    if (k > 0) v128.store(sum, f32x4.add(v128.load(sum, 48), firstOf(k, a, b, c, d)), 48);
    if (k < 4) v128.store(other, f32x4.add(v128.load(other, 48), firstOf(4 - k, d, c, b, a)), 48);
    p1 += 64; p2 += 64; p3 += 64;
    if (shifted) pilot += 64;
    if (k > 0) sum += 64;
    if (k < 4) other += 64;
  }
}

function addAsTheyAre(
  k: i32, p0: usize, p1: usize, p2: usize, p3: usize, sum: usize, other: usize, bytes: usize,
): void {
  if (k == 4) addRows(4, false, p0, p1, p2, p3, 0, sum, other, bytes);
  else if (k == 3) addRows(3, false, p0, p1, p2, p3, 0, sum, other, bytes);
  else if (k == 2) addRows(2, false, p0, p1, p2, p3, 0, sum, other, bytes);
  else if (k == 1) addRows(1, false, p0, p1, p2, p3, 0, sum, other, bytes);
  else addRows(0, false, p0, p1, p2, p3, 0, sum, other, bytes);
}

function addShifted(
  k: i32, p0: usize, p1: usize, p2: usize, p3: usize, pilot: usize, sum: usize, other: usize, bytes: usize,
): void {
  if (k == 4) addRows(4, true, p0, p1, p2, p3, pilot, sum, other, bytes);
  else if (k == 3) addRows(3, true, p0, p1, p2, p3, pilot, sum, other, bytes);
  else if (k == 2) addRows(2, true, p0, p1, p2, p3, pilot, sum, other, bytes);
  else if (k == 1) addRows(1, true, p0, p1, p2, p3, pilot, sum, other, bytes);
  else addRows(0, true, p0, p1, p2, p3, pilot, sum, other, bytes);
}

/**
 * Item: (block of rows) × (part of the columns). Words: 0 x (of row 0), 1 d, 2 order u32: the used rows in the order of memory,
 * row × 2 + pattern, 3 starts u32[blocks + 1] into it, 4 patterns (1 or 2), 5 first block, 6 column parts, 7 columns of a part
 * (a multiple of 64), 8 pilot f32[d], 9 segments u8[⌈d/64⌉]: 1 where a pilot of these 64 columns is not 0, 10 slots
 * f32[blocks × patterns × d], 11 four words of scratch per thread.
 */
export function sumStreams(item: i32, a: usize, thread: i32): void {
  const d = <usize>load<u32>(a, 4);
  const order = <usize>load<u32>(a, 8);
  const patterns = load<i32>(a, 16);
  const parts = load<i32>(a, 24);
  const width = <usize>load<u32>(a, 28);
  const block = item / parts;
  const first = <usize>(item - block * parts) * width;
  const columns = min(width, d - first);
  const whole = (columns & ~15) << 2;
  const x = <usize>load<u32>(a) + (first << 2);
  const pilot = <usize>load<u32>(a, 32) + (first << 2);
  const segments = <usize>load<u32>(a, 36) + first / SEGMENT;
  const sum = <usize>load<u32>(a, 40) + ((<usize>(block * patterns) * d + first) << 2);
  const other = sum + (patterns > 1 ? d << 2 : 0);
  const sorted = <usize>load<u32>(a, 44) + <usize>(thread << 4);
  const starts = <usize>load<u32>(a, 12) + <usize>((block + load<i32>(a, 20)) << 2);
  const from = order + (<usize>load<u32>(starts) << 2), end = order + (<usize>load<u32>(starts, 4) << 2);
  memory.fill(sum, 0, columns << 2);
  if (patterns > 1) memory.fill(other, 0, columns << 2);
  // What the streams do not reach, column by column.
  for (let c = whole; c < columns << 2; c += 4) {
    let s: f32 = 0, t: f32 = 0;
    for (let p = from; p < end; p += 4) {
      const entry = load<u32>(p);
      const v = load<f32>(x + <usize>(entry >> 1) * (d << 2) + c) - load<f32>(pilot + c);
      if (entry & 1) t += v;
      else s += v;
    }
    store<f32>(sum + c, s);
    if (patterns > 1) store<f32>(other + c, t);
  }
  for (let p = from; p < end; p += GROUP << 2) {
    const count = min(GROUP, (end - p) >> 2);
    const run = min(RUN, (count + 3) >> 2);
    for (let r: usize = 0; r < run; r++) {
      // Rows of the first pattern come first. What is missing of four rows is the pilot, of which nothing is left.
      let low = sorted, high = sorted + 12;
      for (let s: usize = 0; s < 4; s++) {
        const i = s * run + r;
        const entry = i < count ? load<u32>(p + (i << 2)) : 0;
        const row = i < count ? x + <usize>(entry >> 1) * (d << 2) : pilot;
        if (entry & 1) {
          store<u32>(high, <u32>row);
          high -= 4;
        } else {
          store<u32>(low, <u32>row);
          low += 4;
        }
      }
      const k = <i32>((low - sorted) >> 2);
      const p0 = <usize>load<u32>(sorted), p1 = <usize>load<u32>(sorted, 4);
      const p2 = <usize>load<u32>(sorted, 8), p3 = <usize>load<u32>(sorted, 12);
      for (let c: usize = 0; c < whole; ) {
        const flags = segments + (c >> 8);
        const shifted = load<u8>(flags);
        let next = c;
        for (let f = flags; next < whole && load<u8>(f) == shifted; f++) next += SEGMENT << 2;
        const bytes = min(next, whole) - c;
        if (shifted) addShifted(k, p0 + c, p1 + c, p2 + c, p3 + c, pilot + c, sum + c, other + c, bytes);
        else addAsTheyAre(k, p0 + c, p1 + c, p2 + c, p3 + c, sum + c, other + c, bytes);
        c += bytes;
      }
    }
  }
}
