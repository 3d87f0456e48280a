/**
 * Logistic sums over some columns, gathered into panels: panel p holds columns 8p … 8p + 7 of every row, f32[n × 8], zero beyond
 * the last column. Column 0 is the intercept's, all ones.
 */
import { HEAD, logisticRow } from "./logistic-row";
import { loadValue, storageShift } from "./storage";
import { mulAdd } from "./vector";

/** Rows of an item, and of a float32 sum. */
const BLOCK: i32 = 512;

/** Rows that are read in one go: 8 × 8,192 floats stay in the second-level cache. */
const STREAMED: i32 = 8;

/** Bytes of a panel's row. */
const ROW: usize = 32;

/** Where column c of a row lies, from the row's place in panel 0. */
@inline
function columnOffset(c: usize, panelBytes: usize): usize {
  return (c >> 3) * panelBytes + ((c & 7) << 2);
}

/**
 * Copies columns as they are, without centre or scale. Item: 64 rows of x.
 * Words: 0 x, 1 storage type, 2 neurons d, 3 rows of x here, 4 index of the first, 5 place of each row u32 (2³² − 1: none),
 * 6 columns u32[k], 7 k, 8 scale f32[d], 9 offset f32[d] (u8 only), 10 panels, 11 n, 12 the panels' column of each u32[k].
 */
export function gatherPanels(item: i32, a: usize, thread: i32): void {
  const dtype = load<i32>(a, 4);
  const rowBytes = <usize>load<u32>(a, 8) << storageShift(dtype);
  const columns = <usize>load<u32>(a, 24);
  const bytes = <usize>load<u32>(a, 28) << 2;
  const targets = <usize>load<u32>(a, 48);
  const panelBytes = <usize>load<u32>(a, 44) << 5;
  const scale = <usize>load<u32>(a, 32);
  const offset = <usize>load<u32>(a, 36);
  // Where many of a row's cache lines are wanted, reading all of them in order is faster than fetching each by itself.
  const stream = bytes > (rowBytes >> 6);
  const tile = stream ? STREAMED : 64;
  for (let first = item << 6, last = min(first + 64, load<i32>(a, 12)); first < last; first += tile) {
    const rows = min(tile, last - first);
    const places = <usize>load<u32>(a, 20) + (<usize>(load<i32>(a, 16) + first) << 2);
    const x = <usize>load<u32>(a) + <usize>first * rowBytes;
    let touched: u32 = 0;
    if (stream) for (let p = x, end = x + <usize>rows * rowBytes; p + 64 <= end; p += 64) touched |= load<u32>(p);
    // Column by column: the rows' parts of one panel stay in cache while its eight columns are written.
    for (let c: usize = 0; c < bytes; c += 4) {
      const to = <usize>load<u32>(a, 40) + columnOffset(<usize>load<u32>(targets + c), panelBytes);
      const j = <usize>load<u32>(columns + c);
      let row = x;
      for (let r: i32 = 0; r < rows; r++, row += rowBytes) {
        const place = load<u32>(places + (<usize>r << 2));
        if (place == 0xffffffff) continue;
        // What was touched is written and overwritten, or the engine might leave the reading out.
        store<u32>(to + (<usize>place << 5), touched);
        store<f32>(to + (<usize>place << 5), loadValue(dtype, row, j, scale, offset));
      }
    }
  }
}

/**
 * Copies columns from other panels of the same rows, and writes the ones of column 0. Item: 512 rows.
 * Words: 0 panels, 1 n, 2 other panels, 3 k, 4 their columns u32[k], 5 columns here u32[k].
 */
export function movePanels(item: i32, a: usize, thread: i32): void {
  const n = load<i32>(a, 4);
  const panelBytes = <usize>n << 5;
  const bytes = <usize>load<u32>(a, 12) << 2;
  const from = <usize>load<u32>(a, 8);
  const sources = <usize>load<u32>(a, 16);
  const targets = <usize>load<u32>(a, 20);
  const first = <usize>(item * BLOCK) << 5;
  const end = <usize>min((item + 1) * BLOCK, n) << 5;
  const to = <usize>load<u32>(a);
  for (let at = first; at < end; at += ROW) store<f32>(to + at, 1);
  for (let c: usize = 0; c < bytes; c += 4) {
    const source = from + columnOffset(<usize>load<u32>(sources + c), panelBytes);
    const target = to + columnOffset(<usize>load<u32>(targets + c), panelBytes);
    for (let at = first; at < end; at += ROW) store<f32>(target + at, load<f32>(source + at));
  }
}

@inline
function low(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

@inline
function high(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
}

/**
 * Losses, residuals, curvatures and the gradient in float64. Item: 512 rows.
 * Words: 0 panels, 1 their number, 2 n, 3 factors f64[8 × panels], 4 signed weights f64[n], 5 residuals out f64[n], 6 curvatures
 * out f64[n], 7 sums out, a head (logistic-row.ts) and f64[8 × panels] for each item, 8 scratch f64[512] per thread.
 */
export function panelSums(item: i32, a: usize, thread: i32): void {
  const count = load<i32>(a, 4);
  const n = load<i32>(a, 8);
  const first = item * BLOCK;
  const rows = min(BLOCK, n - first);
  const from = <usize>load<u32>(a) + (<usize>first << 5);
  const panelBytes = <usize>n << 5;
  const factors = <usize>load<u32>(a, 12);
  const signed = <usize>load<u32>(a, 16) + (<usize>first << 3);
  const residuals = <usize>load<u32>(a, 20) + (<usize>first << 3);
  const curvatures = <usize>load<u32>(a, 24) + (<usize>first << 3);
  const sums = <usize>load<u32>(a, 28) + <usize>item * (HEAD + (<usize>count << 6));
  const z = <usize>load<u32>(a, 32) + (<usize>thread << 12);
  const end = <usize>rows << 5;
  memory.fill(sums, 0, HEAD);
  store<f64>(sums, Infinity, 16);
  memory.fill(z, 0, <usize>rows << 3);
  for (let p = 0; p < count; p++) {
    const x = from + <usize>p * panelBytes;
    const f = factors + (<usize>p << 6);
    const f0 = v128.load(f), f1 = v128.load(f, 16), f2 = v128.load(f, 32), f3 = v128.load(f, 48);
    if (!v128.any_true(v128.or(v128.or(f0, f1), v128.or(f2, f3)))) continue;
    let to = z;
    for (let at: usize = 0; at < end; at += ROW) {
      const u = v128.load(x + at), v = v128.load(x + at, 16);
      const s = f64x2.add(f64x2.mul(low(u), f0), f64x2.mul(high(u), f1));
      const t = f64x2.add(s, f64x2.add(f64x2.mul(low(v), f2), f64x2.mul(high(v), f3)));
      store<f64>(to, load<f64>(to) + (f64x2.extract_lane(t, 0) + f64x2.extract_lane(t, 1)));
      to += 8;
    }
  }
  for (let i: usize = 0, bytes = <usize>rows << 3; i < bytes; i += 8) {
    store<f64>(residuals + i, logisticRow(load<f64>(signed + i), load<f64>(z + i), sums, curvatures + i));
  }
  for (let p = 0; p < count; p++) {
    const x = from + <usize>p * panelBytes;
    let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0;
    let r = residuals;
    for (let at: usize = 0; at < end; at += ROW) {
      const u = v128.load(x + at), v = v128.load(x + at, 16);
      const q = v128.load64_splat(r);
      s0 = f64x2.add(f64x2.mul(low(u), q), s0);
      s1 = f64x2.add(f64x2.mul(high(u), q), s1);
      s2 = f64x2.add(f64x2.mul(low(v), q), s2);
      s3 = f64x2.add(f64x2.mul(high(v), q), s3);
      r += 8;
    }
    const to = sums + HEAD + (<usize>p << 6);
    v128.store(to, s0); v128.store(to, s1, 16); v128.store(to, s2, 32); v128.store(to, s3, 48);
  }
}

/** Adds four floats to four doubles. */
@inline
function add4(to: usize, v: v128): void {
  v128.store(to, f64x2.add(v128.load(to), low(v)));
  v128.store(to, f64x2.add(v128.load(to, 16), high(v)), 16);
}

/**
 * Adds Σ d·(x_r − center_r)·x_c to out[r][c] for the columns r of one panel and all c up to its end: float32 in blocks of 512
 * rows, float64 across. Item: a panel, the last one first.
 * Words: 0 panels, 1 their number, 2 n, 3 first row, a multiple of 512, 4 end, 5 d f64[n], 6 center f32[8 × panels],
 * 7 out f64[8 × panels]², 8 scratch f32[512 × 8] per thread.
 */
export function panelGram(item: i32, a: usize, thread: i32): void {
  const count = load<i32>(a, 4);
  const panel = count - 1 - item;
  const panelBytes = <usize>load<u32>(a, 8) << 5;
  const x = <usize>load<u32>(a);
  const own = x + <usize>panel * panelBytes;
  const end = load<i32>(a, 16);
  const center = <usize>load<u32>(a, 24) + (<usize>panel << 5);
  const c0 = v128.load(center), c1 = v128.load(center, 16);
  const stride = <usize>count << 6;
  const out = <usize>load<u32>(a, 28) + (<usize>panel << 3) * stride;
  const w = <usize>load<u32>(a, 32) + (<usize>thread << 14);
  for (let first = load<i32>(a, 12); first < end; first += BLOCK) {
    const bytes = <usize>min(BLOCK, end - first) << 5;
    const offset = <usize>first << 5;
    let d = <usize>load<u32>(a, 20) + (<usize>first << 3);
    for (let at: usize = 0; at < bytes; at += ROW) {
      const q = f32x4.splat(<f32>load<f64>(d));
      v128.store(w + at, f32x4.mul(q, f32x4.sub(v128.load(own + offset + at), c0)));
      v128.store(w + at, f32x4.mul(q, f32x4.sub(v128.load(own + offset + at, 16), c1)), 16);
      d += 8;
    }
    for (let p = 0; p <= panel; p++) {
      const other = x + <usize>p * panelBytes + offset;
      for (let half: usize = 0; half < ROW; half += 16) {
        let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        let q = w + half;
        for (let y = other, last = other + bytes; y < last; y += ROW) {
          const u = v128.load(y), v = v128.load(y, 16);
          let s = v128.load32_splat(q); a0 = mulAdd(s, u, a0); b0 = mulAdd(s, v, b0);
          s = v128.load32_splat(q, 4); a1 = mulAdd(s, u, a1); b1 = mulAdd(s, v, b1);
          s = v128.load32_splat(q, 8); a2 = mulAdd(s, u, a2); b2 = mulAdd(s, v, b2);
          s = v128.load32_splat(q, 12); a3 = mulAdd(s, u, a3); b3 = mulAdd(s, v, b3);
          q += ROW;
        }
        let to = out + (half >> 2) * stride + (<usize>p << 6);
        add4(to, a0); add4(to + 32, b0); to += stride;
        add4(to, a1); add4(to + 32, b1); to += stride;
        add4(to, a2); add4(to + 32, b2); to += stride;
        add4(to, a3); add4(to + 32, b3);
      }
    }
  }
}
