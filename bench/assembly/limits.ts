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

/** a·m + s, fused where the engine has relaxed SIMD, as the kernels' products are. */
@inline
function step(a: v128, m: v128, s: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, m, s);
  return f32x4.add(f32x4.mul(a, m), s);
}

/** Twelve independent chains of x·m + s on four f32 lanes, fewer would wait for each other: 96 operations a round. */
export function multiplyAdd(rounds: i32, factor: f32, summand: f32): f32 {
  const m = f32x4.splat(factor), s = f32x4.splat(summand);
  let a = s, b = s, c = s, d = s, e = s, f = s, g = s, h = s, i = s, j = s, k = s, l = s;
  for (let round = 0; round < rounds; round++) {
    a = step(a, m, s);
    b = step(b, m, s);
    c = step(c, m, s);
    d = step(d, m, s);
    e = step(e, m, s);
    f = step(f, m, s);
    g = step(g, m, s);
    h = step(h, m, s);
    i = step(i, m, s);
    j = step(j, m, s);
    k = step(k, m, s);
    l = step(l, m, s);
  }
  const sum = f32x4.add(
    f32x4.add(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)), f32x4.add(f32x4.add(e, f), f32x4.add(g, h))),
    f32x4.add(f32x4.add(i, j), f32x4.add(k, l)),
  );
  return f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3);
}
