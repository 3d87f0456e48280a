/** Layer norm's two numbers of a row; the variance is the mean of centred squares. */
import { mulAdd, splat, sum4 } from "./vector";

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

/** 1/√(variance + ε) of a row. */
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
