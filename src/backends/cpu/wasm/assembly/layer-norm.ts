/** Norms of rows; the variance is the mean of centred squares. */
import { mulAdd, splat, sum4 } from "./vector";

/** Rows of an item. */
const ROWS: i32 = 16;

/** Mean of a row. */
export function rowMean(x: usize, width: i32): f32 {
  const body = x + (<usize>(width & ~3) << 2);
  const end = x + (<usize>width << 2);
  let v = splat(0);
  for (; x < body; x += 16) v = f32x4.add(v, v128.load(x));
  let total = sum4(v);
  for (; x < end; x += 4) total += load<f32>(x);
  return total / <f32>width;
}

/** 1/√(variance + ε) of a row, or with a mean of 0 1/√(mean of squares + ε). */
export function rowScale(x: usize, width: i32, mean: f32, epsilon: f32): f32 {
  const body = x + (<usize>(width & ~3) << 2);
  const end = x + (<usize>width << 2);
  const m = splat(mean);
  let v = splat(0);
  for (; x < body; x += 16) {
    const c = f32x4.sub(v128.load(x), m);
    v = mulAdd(c, c, v);
  }
  let squares = sum4(v);
  for (; x < end; x += 4) {
    const c = load<f32>(x) - mean;
    squares += c * c;
  }
  return <f32>1 / sqrt<f32>(squares / <f32>width + epsilon);
}

/** y = (x − mean)·scale·gain + bias, and to = to + y where `to` is not 0. */
function normRow(
  x: usize, width: i32, gain: usize, bias: usize, epsilon: f32, centred: bool, to: usize,
): void {
  const mean: f32 = centred ? rowMean(x, width) : 0;
  const scale = rowScale(x, width, mean, epsilon);
  const m = splat(mean), s = splat(scale);
  const bytes = <usize>width << 2;
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    const v = f32x4.mul(f32x4.sub(v128.load(x + i), m), s);
    const y = mulAdd(v, v128.load(gain + i), v128.load(bias + i));
    v128.store(x + i, y);
    if (to) v128.store(to + i, f32x4.add(v128.load(to + i), y));
  }
  for (; i < bytes; i += 4) {
    const y = (load<f32>(x + i) - mean) * scale * load<f32>(gain + i) + load<f32>(bias + i);
    store<f32>(x + i, y);
    if (to) store<f32>(to + i, load<f32>(to + i) + y);
  }
}

/**
 * Item: 16 rows, normalised in place. Words: 0 x, at the first part of the first row, 1 floats from row to row, 2 rows, 3 parts
 * of a row, normalised one by one with the same gain, 4 width of a part, 5 gain f32[width], 6 bias f32[width], 7 epsilon
 * (f32), 8 the norm is of x − mean (else of x), 9 what the result is added to, laid out as x (0: nothing).
 */
export function normRows(item: i32, a: usize, thread: i32): void {
  const step = <usize>load<u32>(a, 4) << 2;
  const parts = load<i32>(a, 12);
  const width = load<i32>(a, 16);
  const to = <usize>load<u32>(a, 36);
  const first = item * ROWS;
  for (let r = first, end = min(first + ROWS, load<i32>(a, 8)); r < end; r++) {
    for (let p: i32 = 0; p < parts; p++) {
      const at = <usize>r * step + (<usize>(p * width) << 2);
      normRow(
        <usize>load<u32>(a) + at, width, <usize>load<u32>(a, 20), <usize>load<u32>(a, 24), load<f32>(a, 28),
        load<i32>(a, 32) != 0, to ? to + at : 0,
      );
    }
  }
}
