/** Rotary position embedding and causal attention of one sequence. */
import { linear } from "./linear";
import { exp4, splat, sum4 } from "./vector";

/** Query rows of one block: scores of 48 rows are kept at a time. */
const BLOCK: i32 = 48;

/**
 * Rotates the leading `dims` values of every head's query and key in place: the pair (i, i + dims/2) turns by the
 * token's position times frequency i.
 *
 * @param qkv rows of [heads × 3 × dHead]; row r is at position r
 * @param turns cos and sin, [positions × 2 × dims/2]
 */
export function rotate(qkv: usize, turns: usize, rows: i32, heads: i32, dHead: i32, dims: i32): void {
  const half = <usize>(dims >> 1) << 2;
  const width = <usize>dHead << 2;
  for (let r: i32 = 0; r < rows; r++) {
    for (let h: i32 = 0; h < heads; h++) {
      for (let part = 0; part < 2; part++) {
        const v = qkv + <usize>part * width;
        for (let i: usize = 0; i < half; i += 4) {
          const c = load<f32>(turns + i);
          const s = load<f32>(turns + half + i);
          const a = load<f32>(v + i);
          const b = load<f32>(v + half + i);
          store<f32>(v + i, a * c - b * s);
          store<f32>(v + half + i, b * c + a * s);
        }
      }
      qkv += 3 * width;
    }
    turns += 2 * half;
  }
}

/** Softmax of scale·x over the first `valid` values of a row; the rest up to `width` (a multiple of 8) becomes 0. */
function softmax(x: usize, valid: i32, width: i32, scale: f32): void {
  const end = x + (<usize>valid << 2);
  const stop = x + (<usize>width << 2);
  let high: f32 = load<f32>(x);
  for (let p = x; p < end; p += 4) high = max(high, load<f32>(p));
  // Scores beyond the last valid key may be anything: they are overwritten before the sum.
  const body = x + (<usize>((valid + 3) & ~3) << 2);
  const shift = splat(high);
  const factor = splat(scale);
  for (let p = x; p < body; p += 16) v128.store(p, exp4(f32x4.mul(f32x4.sub(v128.load(p), shift), factor)));
  memory.fill(end, 0, stop - end);
  let v = splat(0);
  for (let p = x; p < body; p += 16) v = f32x4.add(v, v128.load(p));
  const inverse = splat(<f32>1 / sum4(v));
  for (let p = x; p < body; p += 16) v128.store(p, f32x4.mul(v128.load(p), inverse));
}

/**
 * Causal attention of one sequence.
 *
 * @param qkv rotated rows of [heads × 3 × dHead]
 * @param z result, rows of [heads × dHead]
 * @param scratch floats: edge 48, keys t8·dHead, values t8·d8, scores 48·t8, with t8 and d8 = rows and dHead rounded up
 *   to 8
 * @param zeros max(t8, d8) zeros: the bias of both products
 */
export function attend(
  qkv: usize, z: usize, rows: i32, heads: i32, dHead: i32, scratch: usize, zeros: usize,
): void {
  const t8 = (rows + 7) & ~7;
  const d8 = (dHead + 7) & ~7;
  const keys = scratch + 192;
  const values = keys + (<usize>(t8 * dHead) << 2);
  const scores = values + (<usize>(t8 * d8) << 2);
  const stride = 3 * heads * dHead;
  const step = <usize>stride << 2;
  const scale: f32 = <f32>1 / sqrt<f32>(<f32>dHead);
  memory.fill(keys, 0, <usize>(t8 * (dHead + d8)) << 2);
  for (let h: i32 = 0; h < heads; h++) {
    const head = qkv + (<usize>(h * 3 * dHead) << 2);
    // Keys transposed and values as they are, in panels of 8 columns.
    for (let t: i32 = 0; t < rows; t++) {
      const k = head + <usize>t * step + (<usize>dHead << 2);
      const v = k + (<usize>dHead << 2);
      const column = keys + (<usize>((t >> 3) * dHead * 8 + (t & 7)) << 2);
      for (let i: i32 = 0; i < dHead; i++) store<f32>(column + (<usize>i << 5), load<f32>(k + (<usize>i << 2)));
      for (let i: i32 = 0; i < dHead; i++) {
        store<f32>(values + (<usize>((i >> 3) * t8 * 8 + t * 8 + (i & 7)) << 2), load<f32>(v + (<usize>i << 2)));
      }
    }
    for (let start: i32 = 0; start < rows; start += BLOCK) {
      const end = min(rows, start + BLOCK);
      const reach = (end + 7) & ~7;
      const queries = head + <usize>start * step;
      linear(queries, stride, keys, dHead, zeros, scores, t8, end - start, dHead, reach, scratch);
      for (let r = start; r < end; r++) {
        softmax(scores + (<usize>((r - start) * t8) << 2), r + 1, reach, scale);
      }
      const out = z + (<usize>(start * heads * dHead + h * dHead) << 2);
      linear(scores, t8, values, t8, zeros, out, heads * dHead, end - start, end, dHead, scratch);
    }
  }
}
