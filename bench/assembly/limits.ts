/** Two loops that reach a machine's limits on 128-bit SIMD: reading memory, and multiplying and adding in registers. */

/** Reads `bytes` from `at`, a multiple of 128, `passes` times; returns something of every byte read. */
export function read(at: usize, bytes: usize, passes: i32): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  for (let pass = 0; pass < passes; pass++) {
    for (let p = at, end = at + bytes; p < end; p += 128) {
      a = v128.xor(a, v128.xor(v128.load(p), v128.load(p, 16)));
      b = v128.xor(b, v128.xor(v128.load(p, 32), v128.load(p, 48)));
      c = v128.xor(c, v128.xor(v128.load(p, 64), v128.load(p, 80)));
      d = v128.xor(d, v128.xor(v128.load(p, 96), v128.load(p, 112)));
    }
  }
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0);
}

/** Ten independent chains of x·m + s on four f32 lanes: 80 operations a round. */
export function multiplyAdd(rounds: i32, factor: f32, summand: f32): f32 {
  const m = f32x4.splat(factor), s = f32x4.splat(summand);
  let a = s, b = s, c = s, d = s, e = s, f = s, g = s, h = s, i = s, j = s;
  for (let round = 0; round < rounds; round++) {
    a = f32x4.add(f32x4.mul(a, m), s);
    b = f32x4.add(f32x4.mul(b, m), s);
    c = f32x4.add(f32x4.mul(c, m), s);
    d = f32x4.add(f32x4.mul(d, m), s);
    e = f32x4.add(f32x4.mul(e, m), s);
    f = f32x4.add(f32x4.mul(f, m), s);
    g = f32x4.add(f32x4.mul(g, m), s);
    h = f32x4.add(f32x4.mul(h, m), s);
    i = f32x4.add(f32x4.mul(i, m), s);
    j = f32x4.add(f32x4.mul(j, m), s);
  }
  const sum = f32x4.add(
    f32x4.add(f32x4.add(a, b), f32x4.add(c, d)),
    f32x4.add(f32x4.add(f32x4.add(e, f), f32x4.add(g, h)), f32x4.add(i, j)),
  );
  return f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3);
}
