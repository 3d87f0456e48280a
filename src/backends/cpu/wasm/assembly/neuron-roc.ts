/**
 * ROC curve of one neuron: a radix sort of its values, each with its label in the lowest bit, and one walk over the result.
 *
 * Values become whole numbers in their order: with m the magnitude's bits, less those of the smallest magnitude but zero and
 * without the zero bits that all have at the end, ±m, and 0 for both zeros. The sort is stable and negative rows come first,
 * so the label need not be sorted. Counts are exact.
 */

const BUCKETS: i32 = 2048;
/** Most bits of one pass. */
const DIGIT: i32 = 11;
/** Rows up to which two digits order nearly all of them. */
const FEW: i32 = 65536;
/** Elements of the walk between two looks at the largest gain. */
const STRETCH: i32 = 64;

/** Adds the places of digits to their counts' starts: `counts` becomes where each digit's first element goes. */
@inline
function startsOf(counts: usize, buckets: i32, to: usize): void {
  let at = <u32>to;
  for (let p = counts, end = counts + (<usize>buckets << 2); p < end; p += 4) {
    const count = load<u32>(p);
    store<u32>(p, at);
    at += count << 2;
  }
}

/** One stable pass over the digit at `shift`. */
@inline
function scatter(from: usize, end: usize, starts: usize, shift: u32, mask: u32): void {
  for (let p = from; p < end; p += 4) {
    const u = load<u32>(p);
    const start = starts + (<usize>((u >> shift) & mask) << 2);
    const to = load<u32>(start);
    store<u32>(<usize>to, u);
    store<u32>(start, to + 4);
  }
}

/**
 * Sorts by some digits of `width` bits from bit `shift` on, lowest digit first; equal elements keep their order. The result is
 * in `to` after an odd number of digits.
 */
function sortDigits(from: usize, to: usize, n: i32, counts: usize, shift: u32, digits: i32, width: i32): void {
  const buckets = 1 << width;
  const mask = <u32>buckets - 1;
  const counts1 = counts + (BUCKETS << 2), counts2 = counts1 + (BUCKETS << 2);
  const shift1 = shift + width, shift2 = shift1 + width;
  const end = from + (<usize>n << 2);
  memory.fill(counts, 0, 3 * (BUCKETS << 2));
  // One look at each element counts all digits.
  if (digits > 2) {
    for (let p = from; p < end; p += 4) {
      const u = load<u32>(p);
      count(counts, (u >> shift) & mask);
      count(counts1, (u >> shift1) & mask);
      count(counts2, (u >> shift2) & mask);
    }
  } else {
    for (let p = from; p < end; p += 4) {
      const u = load<u32>(p);
      count(counts, (u >> shift) & mask);
      if (digits > 1) count(counts1, (u >> shift1) & mask);
    }
  }
  startsOf(counts, buckets, to);
  scatter(from, end, counts, shift, mask);
  if (digits > 1) {
    startsOf(counts1, buckets, from);
    scatter(to, to + (<usize>n << 2), counts1, shift1, mask);
  }
  if (digits > 2) {
    startsOf(counts2, buckets, to);
    scatter(from, end, counts2, shift2, mask);
  }
}

@inline
function count(counts: usize, digit: u32): void {
  const at = counts + (<usize>digit << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** Moves elements that are out of order, at the price of `most` moves; false when that was not enough. */
function insertionSort(from: usize, end: usize, most: i32): bool {
  let before = load<u32>(from);
  for (let p = from + 4; p < end; p += 4) {
    const u = load<u32>(p);
    // Labels do not count: equal keys stay as they are, and negative rows come first among them.
    if (u >> 1 >= before >> 1) {
      before = u;
      continue;
    }
    let to = p;
    do {
      store<u32>(to, load<u32>(to - 4));
      to -= 4;
      most--;
    } while (to > from && load<u32>(to - 4) >> 1 > u >> 1);
    store<u32>(to, u);
    if (most < 0) return false;
  }
  return true;
}

/**
 * Item: one column. Words: 0 panels [rows][4], negative rows first, 1 bytes of a panel, 2 negatives, 3 positives, 4 results
 * f64[columns][3] (auc, threshold, informedness), 5 scratch, 6 scratch of a thread: 3 × 2048 counts, then twice the rows, in
 * words, each padded to a multiple of 4.
 * A column whose magnitudes span 128 octaves or more, but for zero, gets an auc of −1: it does not fit in 31 bits.
 */
export function neuronRoc(item: i32, a: usize, thread: i32): void {
  const negatives = load<i32>(a, 8), positives = load<i32>(a, 12);
  const n = negatives + positives;
  const panel = <usize>load<u32>(a) + (<usize>item >> 2) * <usize>load<u32>(a, 4) + ((<usize>item & 3) << 2);
  const out = <usize>load<u32>(a, 16) + <usize>item * 24;
  const counts = <usize>load<u32>(a, 20) + <usize>thread * <usize>load<u32>(a, 24);
  const values = counts + 3 * (BUCKETS << 2);
  const padded = (<usize>n + 3) & ~3;
  const other = values + (padded << 2);
  const end = values + (<usize>n << 2);

  // The column, and its largest, its smallest and the union of its magnitudes.
  const magnitudeMask = i32x4.splat(0x7fffffff);
  let largest = i32x4.splat(0), smallest = i32x4.splat(-1), union = largest;
  for (let i: usize = 0; i < padded; i += 4) {
    const p = panel + (i << 4);
    let v = v128.load32_splat(p);
    // Past the last row, the first of the four again.
    if (i + 1 < <usize>n) v = v128.load_lane<u32>(p, v, 1, 16);
    if (i + 2 < <usize>n) v = v128.load_lane<u32>(p, v, 2, 32);
    if (i + 3 < <usize>n) v = v128.load_lane<u32>(p, v, 3, 48);
    v128.store(values + (i << 2), v);
    const magnitude = v128.and(v, magnitudeMask);
    largest = i32x4.max_u(largest, magnitude);
    union = v128.or(union, magnitude);
    // Less one, zero is the largest.
    smallest = i32x4.min_u(smallest, i32x4.sub(magnitude, i32x4.splat(1)));
  }
  largest = i32x4.max_u(largest, v128.shuffle<i32>(largest, largest, 2, 3, 0, 1));
  const high = max(<u32>i32x4.extract_lane(largest, 0), <u32>i32x4.extract_lane(largest, 1));
  if (high >= 0x7f800000) {
    store<f64>(out, NaN);
    store<f64>(out, NaN, 8);
    store<f64>(out, NaN, 16);
    return;
  }
  union = v128.or(union, v128.shuffle<i32>(union, union, 2, 3, 0, 1));
  const bits = <u32>(i32x4.extract_lane(union, 0) | i32x4.extract_lane(union, 1));
  const dropped: u32 = bits == 0 ? 0 : ctz(bits);
  smallest = i32x4.min_u(smallest, v128.shuffle<i32>(smallest, smallest, 2, 3, 0, 1));
  const low = min(<u32>i32x4.extract_lane(smallest, 0), <u32>i32x4.extract_lane(smallest, 1));
  // The smallest magnitude but zero is low + 1, and becomes 1.
  const less: u32 = bits == 0 ? 0 : ((low + 1) >> dropped) - 1;
  const base: u32 = (high >> dropped) - less;
  if (base >= 0x40000000) {
    store<f64>(out, -1);
    return;
  }

  // Keys, and the labels of the positive rows.
  for (let p = values; p < end; p += 16) {
    const v = v128.load(p);
    const sign = i32x4.shr_s(v, 31);
    const m = i32x4.max_s(
      i32x4.sub(i32x4.shr_u(v128.and(v, magnitudeMask), <i32>dropped), i32x4.splat(<i32>less)),
      i32x4.splat(0),
    );
    const signed = i32x4.sub(v128.xor(m, sign), sign);
    v128.store(p, i32x4.shl(i32x4.add(signed, i32x4.splat(<i32>base)), 1));
  }
  const keyBits = <i32>(32 - clz(2 * base + 1));
  for (let p = values + (<usize>negatives << 2); p < end; p += 4) store<u32>(p, load<u32>(p) | 1);
  let sorted: usize = 0;
  if (keyBits > 2 * DIGIT && n <= FEW) {
    // Two digits leave few elements out of order when there are few: they are moved one by one.
    sortDigits(values, other, n, counts, 1 + keyBits - 2 * DIGIT, 2, DIGIT);
    if (insertionSort(values, end, n << 1)) sorted = values;
  }
  if (sorted == 0) {
    const passes = (keyBits + DIGIT - 1) / DIGIT;
    sortDigits(values, other, n, counts, 1, passes, (keyBits + passes - 1) / passes);
    sorted = (passes & 1) == 1 ? other : values;
  }

  // The walk: (TPR − FPR)·pairs of the rule "at or above the value in turn", and its negative, in two lanes of f64.
  const n0 = <f64>negatives, n1 = <f64>positives;
  // What a negative and a positive row change, where the counts were.
  v128.store(counts, f64x2(n1, -n1));
  v128.store(counts, f64x2(-n0, n0), 16);
  let gain = f64x2.splat(0);
  let best: f64 = 0, bestGain = gain, bestAt = sorted, bestBefore: u32 = 0xffffffff;
  let below: u32 = 0, belowGroup: u32 = 0, before: u32 = 0xffffffff;
  let area: u64 = 0;
  const sortedEnd = sorted + (<usize>n << 2);
  for (let stretch = sorted; stretch < sortedEnd; stretch += STRETCH << 2) {
    const stretchEnd = min(sortedEnd, stretch + (STRETCH << 2));
    const gainBefore = gain, keyBefore = before;
    let most = f64x2.splat(-1);
    for (let p = stretch; p < stretchEnd; p += 4) {
      const u = load<u32>(p);
      const key = u >> 1;
      const positive = 0 - (u & 1);
      if (key != before) {
        belowGroup = below;
        most = f64x2.pmax(most, gain);
        before = key;
      }
      gain = f64x2.add(gain, v128.load(counts + (<usize>(u & 1) << 4)));
      // Pairs with a negative row below count twice, equal ones once.
      area += <u64>((below + belowGroup) & positive);
      below += 1 + positive;
    }
    const reached = max(f64x2.extract_lane(most, 0), f64x2.extract_lane(most, 1));
    if (reached >= best) {
      best = reached;
      bestAt = stretch;
      bestGain = gainBefore;
      bestBefore = keyBefore;
    }
  }
  // The last value of the best stretch that reaches the best gain.
  let threshold: u32 = 0, atThreshold: f64 = 0;
  gain = bestGain;
  for (let p = bestAt, stop = min(sortedEnd, bestAt + (STRETCH << 2)); p < stop; p += 4) {
    const u = load<u32>(p);
    const here = f64x2.extract_lane(gain, 0);
    if (u >> 1 != bestBefore && abs(here) == best) {
      threshold = u >> 1;
      atThreshold = here;
    }
    bestBefore = u >> 1;
    gain = f64x2.add(gain, v128.load(counts + (<usize>(u & 1) << 4)));
  }
  const m = <i32>threshold - <i32>base;
  const magnitude = m == 0 ? 0 : (<u32>abs(m) + less) << dropped;
  const value = reinterpret<f32>(magnitude);
  store<f64>(out, <f64>area / (2 * (n0 * n1)));
  store<f64>(out, m < 0 ? -<f64>value : <f64>value, 8);
  store<f64>(out, atThreshold / (n0 * n1), 16);
}
