/** (x − mean)/√(variance + ε)·gain + bias over each row; the variance is the mean of centred squares. */
import { mulAdd, splat, sum4 } from "./vector";

export function layerNorm(
  x: usize, gain: usize, bias: usize, y: usize, rows: i32, width: i32, epsilon: f32,
): void {
  const bytes = <usize>width << 2;
  const body = <usize>(width & ~3) << 2;
  for (let r: i32 = 0; r < rows; r++) {
    let v = splat(0);
    for (let i: usize = 0; i < body; i += 16) v = f32x4.add(v, v128.load(x + i));
    let total = sum4(v);
    for (let i = body; i < bytes; i += 4) total += load<f32>(x + i);
    const mean = total / <f32>width;
    const m = splat(mean);
    v = splat(0);
    for (let i: usize = 0; i < body; i += 16) {
      const c = f32x4.sub(v128.load(x + i), m);
      v = mulAdd(c, c, v);
    }
    let squares = sum4(v);
    for (let i = body; i < bytes; i += 4) {
      const c = load<f32>(x + i) - mean;
      squares += c * c;
    }
    const scale: f32 = <f32>1 / sqrt<f32>(squares / <f32>width + epsilon);
    const s = splat(scale);
    for (let i: usize = 0; i < body; i += 16) {
      const c = f32x4.mul(f32x4.sub(v128.load(x + i), m), s);
      v128.store(y + i, mulAdd(c, v128.load(gain + i), v128.load(bias + i)));
    }
    for (let i = body; i < bytes; i += 4) {
      store<f32>(y + i, (load<f32>(x + i) - mean) * scale * load<f32>(gain + i) + load<f32>(bias + i));
    }
    x += bytes;
    y += bytes;
  }
}
