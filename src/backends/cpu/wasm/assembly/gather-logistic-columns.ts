/** The columns of logistic problems, each on its own, rows in a given order. */
import { loadValue, storageShift } from "./storage";

/**
 * Item: 64 rows of the output. Words: 0 x, 1 storage type, 2 neurons d, 3 first row of x in the matrix, 4 rows of x,
 * 5 columns u32[k], 6 k, 7 scale f32[d], 8 offset f32[d] (u8 only), 9 order u32[64 · items]: the row of the matrix, or
 * 2³² − 1 for a zero, 10 out f32[k][stride], 11 stride in bytes. Rows that are not in x are left as they are.
 */
export function gatherLogisticColumns(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const dtype = load<i32>(a, 4);
  const rowBytes = (<usize>load<u32>(a, 8)) << storageShift(dtype);
  const first = load<u32>(a, 12);
  const rows = load<u32>(a, 16);
  const columns = <usize>load<u32>(a, 20);
  const k = <usize>load<u32>(a, 24);
  const scale = <usize>load<u32>(a, 28);
  const offset = <usize>load<u32>(a, 32);
  const order = <usize>load<u32>(a, 36) + (<usize>item << 8);
  const out = <usize>load<u32>(a, 40) + (<usize>item << 8);
  const stride = <usize>load<u32>(a, 44);
  for (let i: usize = 0; i < 256; i += 4) {
    const r = load<u32>(order + i) - first;
    if (r >= rows) continue;
    const row = x + <usize>r * rowBytes;
    let to = out + i;
    for (let c: usize = 0; c < k << 2; c += 4) {
      store<f32>(to, loadValue(dtype, row, <usize>load<u32>(columns + c), scale, offset));
      to += stride;
    }
  }
}

/**
 * Item: one column. Words: 0 columns f32[k][stride], 1 stride in bytes, 2 chunks of 64 rows, 3 a word per chunk (its rows in
 * the low byte), 4 rows, 5 out f64[k][2]: mean and standard deviation; not finite when the column is not.
 */
export function describeColumns(item: i32, a: usize, thread: i32): void {
  const column = <usize>load<u32>(a) + <usize>item * <usize>load<u32>(a, 4);
  const count = <usize>load<u32>(a, 8);
  const chunks = <usize>load<u32>(a, 12);
  const rows = <f64>load<u32>(a, 16);
  const out = <usize>load<u32>(a, 20) + (<usize>item << 4);
  let total = f64x2.splat(0);
  for (let p = column, end = column + (count << 8); p < end; p += 32) {
    const s = f32x4.add(v128.load(p), v128.load(p, 16));
    total = f64x2.add(total, f64x2.promote_low_f32x4(s));
    total = f64x2.add(total, f64x2.promote_low_f32x4(i8x16.shuffle(s, s, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)));
  }
  const mean = (f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1)) / rows;
  const pilot = f32x4.splat(<f32>mean);
  let squares: f64 = 0;
  for (let c: usize = 0; c < count; c++) {
    const p = column + (c << 8);
    let s = f32x4.splat(0);
    const full = load<u8>(chunks + (c << 2));
    for (let i: usize = 0; i < 256; i += 16) {
      const v = f32x4.sub(v128.load(p + i), pilot);
      s = f32x4.add(s, f32x4.mul(v, v));
    }
    squares += <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1) + <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
    // Zeros stand in for the rows that the chunk lacks.
    squares -= <f64>(64 - <i32>full) * <f64>(<f32>mean) * <f64>(<f32>mean);
  }
  store<f64>(out, mean);
  store<f64>(out, sqrt(max(0, squares) / rows), 8);
}

/** Item: one column, minus its pilot f64, where a chunk has rows. Words: 0 from, 1 to, 2 stride, 3 chunks, 4 their words, 5 pilots. */
export function centreColumns(item: i32, a: usize, thread: i32): void {
  const stride = <usize>item * <usize>load<u32>(a, 8);
  let from = <usize>load<u32>(a) + stride;
  let to = <usize>load<u32>(a, 4) + stride;
  const chunks = <usize>load<u32>(a, 16);
  const pilot = f32x4.splat(<f32>load<f64>(<usize>load<u32>(a, 20) + (<usize>item << 3)));
  for (let c: usize = 0, end = <usize>load<u32>(a, 12); c < end; c++) {
    for (let i: usize = 0; i < 256; i += 16) v128.store(to + i, f32x4.sub(v128.load(from + i), pilot));
    for (let i = <usize>load<u8>(chunks + (c << 2)); i < 64; i++) store<f32>(to + (i << 2), 0);
    from += 256;
    to += 256;
  }
}
