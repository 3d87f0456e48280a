/** Cross-entropy without logits in memory: each row's sum of exponentials, a few columns at a time. */
import { BLOCK, packRows, ROWS, tile4, tile6 } from "./linear";
import { exp4, splat, sum4, tanh4 } from "./vector";

/** Below every logit; its exponential beside that of any other is nothing. */
const LOW: f32 = -1e30;

/**
 * Item: some columns of 48 rows of y = f(x)·W + bias. Words: 0 x [rows × k], 1 W, packed as for linearRows, 2 bias
 * f32[⌈n/8⌉·8], 3 rows, 4 k, 5 n, 6 panels of an item, 7 gain f32[k] of a norm of x (0: none), 8 its bias, 9 its epsilon (f32),
 * 10 the norm is of x − mean (else of x), 11 limit c of y (f32, 0: none): y becomes c·tanh(y/c), 12 targets u32[rows],
 * 13 result: y of the target f32[rows], 14 result: of each group of panels and each row the largest y and Σ exp(y − largest),
 * f32[groups × rows × 2], 15 scratch, 16 scratch bytes of a thread: 4·(48·k + 64 + 8·48).
 */
export function sumExponentials(item: i32, a: usize, thread: i32): void {
  const rows = load<i32>(a, 12);
  const k = load<i32>(a, 16);
  const n = load<i32>(a, 20);
  const perItem = load<i32>(a, 24);
  const panels = (n + 7) >> 3;
  const groups = (panels + perItem - 1) / perItem;
  const first = item / groups * BLOCK;
  const count = min(BLOCK, rows - first);
  const group = item % groups;
  const start = group * perItem;
  const stop = min(panels, start + perItem);
  const packed = <usize>load<u32>(a, 60) + <usize>thread * <usize>load<u32>(a, 64);
  const tile = packed + (<usize>(BLOCK * k) << 2);
  /** Of each row four running maxima and four sums. */
  const running = tile + 256;
  const cap = load<f32>(a, 44);
  const targets = <usize>load<u32>(a, 48) + (<usize>first << 2);
  const own = <usize>load<u32>(a, 52) + (<usize>first << 2);
  packRows(
    <usize>load<u32>(a) + ((<usize>first * <usize>k) << 2), k, count, packed, <usize>load<u32>(a, 28),
    <usize>load<u32>(a, 32), load<f32>(a, 36), load<i32>(a, 40) != 0,
  );
  for (let r: usize = 0; r < <usize>count; r++) {
    v128.store(running + (r << 5), splat(LOW));
    v128.store(running + (r << 5), splat(0), 16);
  }
  for (let p = start; p < stop; p++) {
    const panel = <usize>load<u32>(a, 4) + ((<usize>p * <usize>k) << 5);
    const bias = <usize>load<u32>(a, 8) + (<usize>p << 5);
    const columns = splat(<f32>min(8, n - (p << 3)));
    for (let r: i32 = 0; r < count; r += ROWS) {
      const from = packed + ((<usize>r * <usize>k) << 2);
      if (ROWS == 6) tile6(from, panel, k, bias, tile, 32);
      else tile4(from, 16, panel, k, bias, 0, tile, 32);
      for (let i: i32 = 0, e = min(ROWS, count - r); i < e; i++) {
        const at = tile + (<usize>i << 5);
        let u = v128.load(at), v = v128.load(at, 16);
        if (cap != 0) {
          u = f32x4.mul(tanh4(f32x4.div(u, splat(cap))), splat(cap));
          v = f32x4.mul(tanh4(f32x4.div(v, splat(cap))), splat(cap));
        }
        const target = load<i32>(targets + (<usize>(r + i) << 2));
        if (target >> 3 == p) {
          v128.store(at, u);
          v128.store(at, v, 16);
          store<f32>(own + (<usize>(r + i) << 2), load<f32>(at + (<usize>(target & 7) << 2)));
        }
        // Columns beyond the last.
        u = v128.bitselect(u, splat(LOW), f32x4.lt(f32x4(0, 1, 2, 3), columns));
        v = v128.bitselect(v, splat(LOW), f32x4.lt(f32x4(4, 5, 6, 7), columns));
        const state = running + (<usize>(r + i) << 5);
        const before = v128.load(state);
        const high = f32x4.max(before, f32x4.max(u, v));
        let total = v128.load(state, 16);
        if (v128.any_true(f32x4.ne(high, before))) {
          total = f32x4.mul(total, exp4(f32x4.sub(before, high)));
          v128.store(state, high);
        }
        total = f32x4.add(total, f32x4.add(exp4(f32x4.sub(u, high)), exp4(f32x4.sub(v, high))));
        v128.store(state, total, 16);
      }
    }
  }
  for (let r: i32 = 0; r < count; r++) {
    const state = running + (<usize>r << 5);
    const highs = v128.load(state);
    const high = max(
      max(f32x4.extract_lane(highs, 0), f32x4.extract_lane(highs, 1)),
      max(f32x4.extract_lane(highs, 2), f32x4.extract_lane(highs, 3)),
    );
    const out = <usize>load<u32>(a, 56) + ((<usize>group * <usize>rows + <usize>(first + r)) << 3);
    store<f32>(out, high);
    store<f32>(out, sum4(f32x4.mul(v128.load(state, 16), exp4(f32x4.sub(highs, splat(high))))), 4);
  }
}
