/**
 * Sums over many subsets of the rows (label sets), by the method of four Russians (Arlazarov, Dinic, Kronrod and Faradzhev 1970):
 * of each four rows the sums of all 16 subsets are tabulated, and a label set then adds one entry for the four rows, or none where
 * they have none of its members.
 */
import { F16, F32, loadCodes, loadHalves, loadValue, U8 } from "./storage";
import { addWidened, mulAdd } from "./vector";

/** Bytes of a tile of 64 rows × 16 columns. */
const TILE: usize = 4096;
/** Bytes of the tables of a tile: 16 groups of four rows × 16 subsets × 16 columns. */
const TABLES: usize = 16384;

/**
 * Table entries that each label set adds for 64 rows. Item: 64 rows. Words: 0 labels u8[features × stride], with 64 readable
 * bytes beyond, 1 stride, 2 rows, 3 sets u32[K]: feature × 4 + (0: negative, 1: positive, 2: labelled), 4 K, 5 first row block,
 * 6 entries u16[blocks × K × 16]: byte offsets, 7 counts u8[blocks × K]: entries in fours, the last four filled up with 0.
 */
export function listSubsets(item: i32, a: usize, thread: i32): void {
  const stride = <usize>load<u32>(a, 4);
  const sets = <usize>load<u32>(a, 12);
  const K = load<i32>(a, 16);
  const first = (item + load<i32>(a, 20)) << 6;
  const rows = min(64, load<i32>(a, 8) - first);
  const labels = <usize>load<u32>(a) + <usize>first;
  let entries = <usize>load<u32>(a, 24) + <usize>(item * K << 5);
  const counts = <usize>load<u32>(a, 28) + <usize>(item * K);
  const valid: u64 = rows == 64 ? ~(<u64>0) : (<u64>1 << rows) - 1;
  for (let k = 0; k < K; k++) {
    const set = load<u32>(sets + <usize>(k << 2));
    const p = labels + <usize>(set >> 2) * stride;
    const kind = set & 3;
    const wanted = i8x16.splat(kind == 2 ? -1 : <i8>kind);
    let bits =
      <u64>i8x16.bitmask(i8x16.eq(v128.load(p), wanted)) |
      ((<u64>i8x16.bitmask(i8x16.eq(v128.load(p, 16), wanted))) << 16) |
      ((<u64>i8x16.bitmask(i8x16.eq(v128.load(p, 32), wanted))) << 32) |
      ((<u64>i8x16.bitmask(i8x16.eq(v128.load(p, 48), wanted))) << 48);
    if (kind == 2) bits = ~bits;
    bits &= valid;
    let to = entries;
    for (let table: u32 = 0; bits != 0; table += 1024) {
      const subset = <u32>bits & 15;
      bits >>= 4;
      if (subset == 0) continue;
      store<u16>(to, <u16>(table + (subset << 6)));
      to += 2;
    }
    const fours = (to - entries + 7) >> 3;
    store<u8>(counts + <usize>k, <u8>fours);
    for (const end = entries + (fours << 3); to < end; to += 2) store<u16>(to, 0);
    entries += 32;
  }
}

@inline
function load4(dtype: i32, p: usize): v128 {
  if (dtype == F32) return v128.load(p);
  if (dtype == F16) return loadHalves(p);
  return loadCodes(p);
}

/** Copies a tile, less the pilot: 16 columns at `offset` of 64 rows. Each line of x is read once, many at the same time. */
@inline
function loadTile(dtype: i32, rows: usize, offset: usize, pilot: usize, tile: usize): void {
  const step: usize = 16 >> dtype;
  const m0 = v128.load(pilot), m1 = v128.load(pilot, 16), m2 = v128.load(pilot, 32), m3 = v128.load(pilot, 48);
  for (const end = tile + TILE; tile < end; tile += 64) {
    const p = <usize>load<u32>(rows) + offset;
    v128.store(tile, f32x4.sub(load4(dtype, p), m0));
    v128.store(tile, f32x4.sub(load4(dtype, p + step), m1), 16);
    v128.store(tile, f32x4.sub(load4(dtype, p + 2 * step), m2), 32);
    v128.store(tile, f32x4.sub(load4(dtype, p + 3 * step), m3), 48);
    rows += 4;
  }
}

function loadFloats(rows: usize, offset: usize, pilot: usize, tile: usize): void {
  loadTile(F32, rows, offset, pilot, tile);
}

function loadHalfTile(rows: usize, offset: usize, pilot: usize, tile: usize): void {
  loadTile(F16, rows, offset, pilot, tile);
}

function loadCodeTile(rows: usize, offset: usize, pilot: usize, tile: usize): void {
  loadTile(U8, rows, offset, pilot, tile);
}

/** A tile of fewer columns, zeros beyond them. */
function loadRest(dtype: i32, rows: usize, offset: usize, columns: usize, pilot: usize, tile: usize): void {
  memory.fill(tile, 0, TILE);
  for (const end = tile + TILE; tile < end; tile += 64) {
    const p = <usize>load<u32>(rows) + offset;
    for (let c: usize = 0; c < columns; c++) {
      const v = dtype == U8 ? <f32>load<u8>(p + c) : loadValue(dtype, p, c, 0, 0);
      store<f32>(tile + (c << 2), v - load<f32>(pilot + (c << 2)));
    }
    rows += 4;
  }
}

/** Squares what was packed. */
function square(tile: usize): void {
  for (const end = tile + TILE; tile < end; tile += 16) {
    const v = v128.load(tile);
    v128.store(tile, f32x4.mul(v, v));
  }
}

/** Tables of four columns × four rows: entry s at t + 64·s is the sum of the rows in s. Returns the sum of all four. */
@inline
function tabulate(p: usize, t: usize): v128 {
  const a = v128.load(p), b = v128.load(p, 64), c = v128.load(p, 128), d = v128.load(p, 192);
  const ab = f32x4.add(a, b), ac = f32x4.add(a, c), bc = f32x4.add(b, c), abc = f32x4.add(ab, c);
  const all = f32x4.add(abc, d);
  v128.store(t, a, 64);
  v128.store(t, b, 128);
  v128.store(t, ab, 192);
  v128.store(t, c, 256);
  v128.store(t, ac, 320);
  v128.store(t, bc, 384);
  v128.store(t, abc, 448);
  v128.store(t, d, 512);
  v128.store(t, f32x4.add(d, a), 576);
  v128.store(t, f32x4.add(d, b), 640);
  v128.store(t, f32x4.add(d, ab), 704);
  v128.store(t, f32x4.add(d, c), 768);
  v128.store(t, f32x4.add(d, ac), 832);
  v128.store(t, f32x4.add(d, bc), 896);
  v128.store(t, all, 960);
  return all;
}

@inline
function squares4(p: usize): v128 {
  const a = v128.load(p), b = v128.load(p, 64), c = v128.load(p, 128), d = v128.load(p, 192);
  return f32x4.add(mulAdd(b, b, f32x4.mul(a, a)), mulAdd(d, d, f32x4.mul(c, c)));
}

@inline
function addTo(p: usize, v: v128): void {
  v128.store(p, f32x4.add(v128.load(p), v));
}

/** Adds a tile's totals (sums and squares, 16 columns each) and its label sets' sums, f32[K × 16] at `sums`. */
function addTile(
  tile: usize, tables: usize, entries: usize, counts: usize, K: i32, totals: usize, sums: usize, squares: i32,
): void {
  for (let column: usize = 0; column < 64; column += 16) {
    let t = f32x4.splat(0);
    for (let g: usize = 0; g < 16; g++) t = f32x4.add(t, tabulate(tile + (g << 8) + column, tables + (g << 10) + column));
    addTo(totals + column, t);
    if (!squares) continue;
    t = f32x4.splat(0);
    for (let g: usize = 0; g < 4096; g += 256) t = f32x4.add(t, squares4(tile + g + column));
    addTo(totals + column + 64, t);
  }
  for (let k = 0; k < K; k++) {
    let e = entries;
    const end = e + (<usize>load<u8>(counts + <usize>k) << 3);
    entries += 32;
    if (e < end) {
      let s0 = v128.load(sums), s1 = v128.load(sums, 16), s2 = v128.load(sums, 32), s3 = v128.load(sums, 48);
      for (; e < end; e += 8) {
        const a = tables + <usize>load<u16>(e), b = tables + <usize>load<u16>(e, 2);
        const c = tables + <usize>load<u16>(e, 4), d = tables + <usize>load<u16>(e, 6);
        s0 = f32x4.add(s0, f32x4.add(f32x4.add(v128.load(a), v128.load(b)), f32x4.add(v128.load(c), v128.load(d))));
        s1 = f32x4.add(s1, f32x4.add(
          f32x4.add(v128.load(a, 16), v128.load(b, 16)), f32x4.add(v128.load(c, 16), v128.load(d, 16))));
        s2 = f32x4.add(s2, f32x4.add(
          f32x4.add(v128.load(a, 32), v128.load(b, 32)), f32x4.add(v128.load(c, 32), v128.load(d, 32))));
        s3 = f32x4.add(s3, f32x4.add(
          f32x4.add(v128.load(a, 48), v128.load(b, 48)), f32x4.add(v128.load(c, 48), v128.load(d, 48))));
      }
      v128.store(sums, s0);
      v128.store(sums, s1, 16);
      v128.store(sums, s2, 32);
      v128.store(sums, s3, 48);
    }
    sums += 64;
  }
}

/** Adds 16 f32 (or as many as there are columns left) to f64 and clears them. */
function flush(from: usize, to: usize, columns: usize): void {
  if (columns == 16) {
    addWidened(to, v128.load(from));
    addWidened(to + 32, v128.load(from, 16));
    addWidened(to + 64, v128.load(from, 32));
    addWidened(to + 96, v128.load(from, 48));
  } else for (let c: usize = 0; c < columns; c++) {
    const at = to + (c << 3);
    store<f64>(at, load<f64>(at) + <f64>load<f32>(from + (c << 2)));
  }
  memory.fill(from, 0, 64);
}

/**
 * Sums of (x − pilot), or of its squares, over K label sets and over all used rows. Item: `width` columns, all row blocks given.
 * f32 within 512 rows, counted from the first row of the matrix; f64 across.
 *
 * Words: 0 x (of row 0), 1 storage type, 2 d, 3 rows, 4 used u8[rows], 5 blank row (stored; its values are the pilot's),
 * 6 pilot f32[d], 7 first row block (of 64 rows), 8 row blocks, 9 entries, 10 counts, 11 K, 12 width (a multiple of 16),
 * 13 scratch, a multiple of 64, 14 its stride per thread, 15 pending f32[⌈d/16⌉ × (K + 2) × 16], zeros at first, 16 sums
 * f64[(K + 2) × d]: of all used rows, their squares (with word 17 = 1), then of the label sets, 17 squares of the totals (0 or 1),
 * 18 power (1, or 2 for sums of squares).
 */
export function sumSubsets(item: i32, a: usize, thread: i32): void {
  const dtype = load<i32>(a, 4);
  const d = <usize>load<u32>(a, 8);
  const rows = load<i32>(a, 12);
  const used = <usize>load<u32>(a, 16);
  const first = <usize>item * <usize>load<u32>(a, 48);
  const columns = min(<usize>load<u32>(a, 48), d - first);
  const shift = <usize>(2 - dtype);
  const rowBytes = d << shift;
  const x = <usize>load<u32>(a) + (first << shift);
  const blank = <usize>load<u32>(a, 20) + (first << shift);
  const pilot = <usize>load<u32>(a, 24) + (first << 2);
  const K = load<i32>(a, 44);
  const tiles = (columns + 15) >> 4;
  const tables = <usize>load<u32>(a, 52) + <usize>thread * <usize>load<u32>(a, 56);
  const tile = tables + TABLES;
  const list = tile + TILE;
  const tileSums = <usize>(K + 2) << 6;
  const pending = <usize>load<u32>(a, 60) + (first >> 4) * tileSums;
  const sums = <usize>load<u32>(a, 64) + (first << 3);
  const power = load<i32>(a, 72);
  memory.fill(tables, 0, 64);
  for (let b = 0, blocks = load<i32>(a, 32); b < blocks; b++) {
    const block = load<i32>(a, 28) + b;
    for (let r = 0; r < 64; r++) {
      const i = (block << 6) + r;
      const row = i < rows && load<u8>(used + <usize>i) ? x + <usize>i * rowBytes : blank;
      store<u32>(list + <usize>(r << 2), <u32>row);
    }
    const entries = <usize>load<u32>(a, 36) + <usize>(b * K << 5);
    const counts = <usize>load<u32>(a, 40) + <usize>(b * K);
    for (let t: usize = 0; t < tiles; t++) {
      const left = columns - (t << 4);
      const offset = t << (4 + shift);
      const shifts = pilot + (t << 6);
      if (left < 16) loadRest(dtype, list, offset, left, shifts, tile);
      else if (dtype == F32) loadFloats(list, offset, shifts, tile);
      else if (dtype == F16) loadHalfTile(list, offset, shifts, tile);
      else loadCodeTile(list, offset, shifts, tile);
      if (power == 2) square(tile);
      const to = pending + t * tileSums;
      addTile(tile, tables, entries, counts, K, to, to + 128, load<i32>(a, 68));
    }
    if ((block & 7) != 7 && (block + 1) << 6 < rows) continue;
    for (let t: usize = 0; t < tiles; t++) {
      for (let k: usize = 0; k < <usize>(K + 2); k++) {
        flush(pending + t * tileSums + (k << 6), sums + ((k * d + (t << 4)) << 3), min(<usize>16, columns - (t << 4)));
      }
    }
  }
}
