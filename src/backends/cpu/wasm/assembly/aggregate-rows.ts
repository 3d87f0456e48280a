/** Rows of each segment combined into one. */

/** The low and the high half of a sum in f64, plus four floats. */
@inline
function high(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
}

/**
 * Item: one output row. Words: 0 x f32 [rows × d], 1 d, 2 rows u32, 3 offsets u32: output r is made of rows[offsets[r] ..
 * offsets[r + 1]), 4 out f32, 5 how: 0 mean (sums in f64), 1 maximum, 2 last. A NaN in a maximum is kept only where it comes
 * first, as with JavaScript's comparison.
 */
export function aggregateRows(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const d = <usize>load<u32>(a, 4);
  const list = <usize>load<u32>(a, 8);
  const offsets = <usize>load<u32>(a, 12) + (<usize>item << 2);
  const out = <usize>load<u32>(a, 16) + ((<usize>item * d) << 2);
  const how = load<i32>(a, 20);
  const from = list + (<usize>load<u32>(offsets) << 2);
  const end = list + (<usize>load<u32>(offsets, 4) << 2);
  const bytes = d << 2;
  if (how == 2) {
    memory.copy(out, x + <usize>load<u32>(end - 4) * bytes, bytes);
    return;
  }
  let i: usize = 0;
  if (how == 1) {
    for (; i + 16 <= bytes; i += 16) {
      let v = v128.load(x + <usize>load<u32>(from) * bytes + i);
      for (let p = from + 4; p < end; p += 4) v = f32x4.pmax(v, v128.load(x + <usize>load<u32>(p) * bytes + i));
      v128.store(out + i, v);
    }
    for (; i < bytes; i += 4) {
      let v = load<f32>(x + <usize>load<u32>(from) * bytes + i);
      for (let p = from + 4; p < end; p += 4) {
        const u = load<f32>(x + <usize>load<u32>(p) * bytes + i);
        if (u > v) v = u;
      }
      store<f32>(out + i, v);
    }
    return;
  }
  const count = <f64>((end - from) >> 2);
  for (; i + 32 <= bytes; i += 32) {
    let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let p = from; p < end; p += 4) {
      const row = x + <usize>load<u32>(p) * bytes + i;
      const u = v128.load(row), v = v128.load(row, 16);
      s0 = f64x2.add(s0, f64x2.promote_low_f32x4(u));
      s1 = f64x2.add(s1, high(u));
      s2 = f64x2.add(s2, f64x2.promote_low_f32x4(v));
      s3 = f64x2.add(s3, high(v));
    }
    const n = f64x2.splat(count);
    v128.store(out + i, halves(f64x2.div(s0, n), f64x2.div(s1, n)));
    v128.store(out + i, halves(f64x2.div(s2, n), f64x2.div(s3, n)), 16);
  }
  for (; i < bytes; i += 4) {
    let s: f64 = 0;
    for (let p = from; p < end; p += 4) s += <f64>load<f32>(x + <usize>load<u32>(p) * bytes + i);
    store<f32>(out + i, <f32>(s / count));
  }
}

/** Two pairs of f64, rounded, as four floats. */
@inline
function halves(low: v128, up: v128): v128 {
  return v128.shuffle<i32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(up), 0, 1, 4, 5);
}
