/** The columns of logistic problems, cut into chunks of 64 rows in a given order. */
import { F32, loadValue, storageShift } from "./storage";

/** Bytes of scratch of one thread: addresses of 64 rows and where they go. */
const LIST: usize = 512;

/**
 * Item: 64 rows, of the output when `byPlace` is 1, else of x. Words: 0 x, 1 storage type, 2 neurons d, 3 first row of x in the
 * matrix, 4 rows of x, 5 columns u32[k], 6 k, 7 scale f32[d], 8 offset f32[d] (u8 only), 9 byPlace, 10 table u32: by place the
 * row of the matrix, or by row of the matrix its place; 2³² − 1 where there is none; 11 out, 12 bytes from column to column,
 * 13 bytes from chunk to chunk, 14 scratch, 512 bytes per thread. Rows that are not in x are left as they are.
 */
export function gatherLogisticColumns(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const dtype = load<i32>(a, 4);
  const rowBytes = (<usize>load<u32>(a, 8)) << storageShift(dtype);
  const firstRow = load<u32>(a, 12);
  const rows = load<u32>(a, 16);
  const columns = <usize>load<u32>(a, 20);
  const k = <usize>load<u32>(a, 24);
  const scale = <usize>load<u32>(a, 28);
  const offset = <usize>load<u32>(a, 32);
  const byPlace = load<u32>(a, 36);
  const table = <usize>load<u32>(a, 40);
  const out = <usize>load<u32>(a, 44);
  const stride = <usize>load<u32>(a, 48);
  const advance = <usize>load<u32>(a, 52);
  const list = <usize>load<u32>(a, 56) + <usize>thread * LIST;
  let end = list;
  for (let i: u32 = 0; i < 64; i++) {
    const at = (<u32>item << 6) + i;
    let row = at;
    let place = at;
    if (byPlace) row = load<u32>(table + (<usize>at << 2)) - firstRow;
    else if (row < rows) place = load<u32>(table + (<usize>(at + firstRow) << 2));
    if (row >= rows || place == <u32>-1) continue;
    store<u32>(end, <u32>(x + <usize>row * rowBytes));
    store<u32>(end, <u32>(out + <usize>(place >> 6) * advance + (<usize>(place & 63) << 2)), 4);
    end += 8;
  }
  let p = list;
  // Rows in turn of which a few stay in the caches while neighbouring columns are read.
  if (dtype == F32 && byPlace) {
    for (; p + GROUP <= end; p += GROUP) gatherGroup(p, columns, k, stride);
  }
  for (let c: usize = 0; c < k; c++) {
    const j = <usize>load<u32>(columns + (c << 2));
    const to = c * stride;
    if (dtype == F32) {
      const from = j << 2;
      for (let q = p; q < end; q += 8) {
        store<f32>(<usize>load<u32>(q, 4) + to, load<f32>(<usize>load<u32>(q) + from));
      }
    } else {
      for (let q = p; q < end; q += 8) {
        store<f32>(<usize>load<u32>(q, 4) + to, loadValue(dtype, <usize>load<u32>(q), j, scale, offset));
      }
    }
  }
}

/** Bytes of the list that eight rows take. */
const GROUP: usize = 64;

/** Columns of eight rows that the list puts side by side. */
function gatherGroup(list: usize, columns: usize, k: usize, stride: usize): void {
  const r0 = <usize>load<u32>(list), r1 = <usize>load<u32>(list, 8), r2 = <usize>load<u32>(list, 16);
  const r3 = <usize>load<u32>(list, 24), r4 = <usize>load<u32>(list, 32), r5 = <usize>load<u32>(list, 40);
  const r6 = <usize>load<u32>(list, 48), r7 = <usize>load<u32>(list, 56);
  let to = <usize>load<u32>(list, 4);
  for (let c = columns, end = columns + (k << 2); c < end; c += 4) {
    const j = <usize>load<u32>(c) << 2;
    let low = v128.load32_zero(r0 + j);
    let high = v128.load32_zero(r4 + j);
    low = v128.load32_lane(r1 + j, low, 1);
    high = v128.load32_lane(r5 + j, high, 1);
    low = v128.load32_lane(r2 + j, low, 2);
    high = v128.load32_lane(r6 + j, high, 2);
    low = v128.load32_lane(r3 + j, low, 3);
    high = v128.load32_lane(r7 + j, high, 3);
    v128.store(to, low);
    v128.store(to, high, 16);
    to += stride;
  }
}

/**
 * Item: one column. Words: 0 columns, 1 bytes from column to column, 2 from chunk to chunk, 3 chunks, 4 a word per chunk (its
 * rows in the low byte), 5 rows, 6 out f64[k][2]: mean and standard deviation; not finite when the column is not.
 */
export function describeColumns(item: i32, a: usize, thread: i32): void {
  const column = <usize>load<u32>(a) + <usize>item * <usize>load<u32>(a, 4);
  const advance = <usize>load<u32>(a, 8);
  const count = <usize>load<u32>(a, 12);
  const chunks = <usize>load<u32>(a, 16);
  const rows = <f64>load<u32>(a, 20);
  const out = <usize>load<u32>(a, 24) + (<usize>item << 4);
  let total: f64 = 0;
  for (let c: usize = 0; c < count; c++) {
    const p = column + c * advance;
    let s = f32x4.splat(0);
    for (let i: usize = 0; i < 256; i += 16) s = f32x4.add(s, v128.load(p + i));
    total += sumOfLanes(s);
  }
  const mean = total / rows;
  const pilot = <f32>mean;
  let squares: f64 = 0;
  for (let c: usize = 0; c < count; c++) {
    const p = column + c * advance;
    let s = f32x4.splat(0);
    for (let i: usize = 0; i < 256; i += 16) {
      const v = f32x4.sub(v128.load(p + i), f32x4.splat(pilot));
      s = f32x4.add(s, f32x4.mul(v, v));
    }
    // Zeros stand in for the rows that the chunk lacks.
    squares += sumOfLanes(s) - <f64>(64 - <i32>load<u8>(chunks + (c << 2))) * <f64>pilot * <f64>pilot;
  }
  store<f64>(out, mean);
  store<f64>(out, sqrt(max(0, squares) / rows), 8);
}

@inline
function sumOfLanes(s: v128): f64 {
  return (
    <f64>f32x4.extract_lane(s, 0) +
    <f64>f32x4.extract_lane(s, 1) +
    <f64>f32x4.extract_lane(s, 2) +
    <f64>f32x4.extract_lane(s, 3)
  );
}

/**
 * Item: one column, minus its pilot where a chunk has rows. Words: 0 columns, 1 bytes from column to column, 2 from chunk to
 * chunk, 3 chunks, 4 a word per chunk, 5 out, laid out alike, 6 pilots f64[k].
 */
export function centreColumns(item: i32, a: usize, thread: i32): void {
  const start = <usize>item * <usize>load<u32>(a, 4);
  let from = <usize>load<u32>(a) + start;
  const advance = <usize>load<u32>(a, 8);
  const chunks = <usize>load<u32>(a, 16);
  let to = <usize>load<u32>(a, 20) + start;
  const pilot = f32x4.splat(<f32>load<f64>(<usize>load<u32>(a, 24) + (<usize>item << 3)));
  for (let c: usize = 0, end = <usize>load<u32>(a, 12); c < end; c++) {
    for (let i: usize = 0; i < 256; i += 16) v128.store(to + i, f32x4.sub(v128.load(from + i), pilot));
    for (let i = <usize>load<u8>(chunks + (c << 2)); i < 64; i++) store<f32>(to + (i << 2), 0);
    from += advance;
    to += advance;
  }
}
