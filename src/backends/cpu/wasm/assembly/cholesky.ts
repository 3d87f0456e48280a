/** Cholesky factorisation of a symmetric positive definite matrix in f64, row-major, lower triangle. */

/** Inner product of two vectors of n. */
@inline
export function dot(a: usize, b: usize, n: usize): f64 {
  let even = f64x2.splat(0);
  let odd = even;
  let i: usize = 0;
  for (const end = (n & ~(<usize>3)) << 3; i < end; i += 32) {
    even = f64x2.add(even, f64x2.mul(v128.load(a + i), v128.load(b + i)));
    odd = f64x2.add(odd, f64x2.mul(v128.load(a + i, 16), v128.load(b + i, 16)));
  }
  even = f64x2.add(even, odd);
  let sum = f64x2.extract_lane(even, 0) + f64x2.extract_lane(even, 1);
  for (; i < n << 3; i += 8) sum += load<f64>(a + i) * load<f64>(b + i);
  return sum;
}

/** a += factor·b over n values. */
@inline
export function addScaled(a: usize, factor: f64, b: usize, n: usize): void {
  const f = f64x2.splat(factor);
  let i: usize = 0;
  for (const end = (n & ~(<usize>1)) << 3; i < end; i += 16) {
    v128.store(a + i, f64x2.add(v128.load(a + i), f64x2.mul(f, v128.load(b + i))));
  }
  if (n & 1) store<f64>(a + i, load<f64>(a + i) + factor * load<f64>(b + i));
}

/**
 * Replaces the lower triangle of a [m × m] by L with L·Lᵀ = a. A pivot below `least` of its diagonal entry is raised to
 * that: the factor then is one of a nearby matrix.
 */
export function choleskyFactor(a: usize, m: usize, least: f64): void {
  for (let first: usize = 0; first < m; first += 4) {
    const end = min(first + 4, m);
    // Four rows at once read the rows above once, and do not wait for one another's sums.
    if (end - first == 4) for (let c: usize = 0; c < first; c++) eliminate4(a, m, first, c);
    for (let r = first; r < end; r++) {
      const row = a + ((r * m) << 3);
      for (let c = end - first == 4 ? first : 0; c < r; c++) {
        const other = a + ((c * m) << 3);
        const at = row + (c << 3);
        store<f64>(at, (load<f64>(at) - dot(row, other, c)) / load<f64>(other + (c << 3)));
      }
      const at = row + (r << 3);
      const diagonal = load<f64>(at);
      store<f64>(at, sqrt(max(diagonal - dot(row, row, r), max(least * diagonal, 1e-300))));
    }
  }
}

/** Entries c of rows first … first + 3, from their entries before. */
function eliminate4(a: usize, m: usize, first: usize, c: usize): void {
  const bytes = m << 3;
  const other = a + c * bytes;
  const r0 = a + first * bytes;
  const r1 = r0 + bytes;
  const r2 = r1 + bytes;
  const r3 = r2 + bytes;
  let s0 = f64x2.splat(0);
  let s1 = s0, s2 = s0, s3 = s0;
  let i: usize = 0;
  for (const end = (c & ~(<usize>1)) << 3; i < end; i += 16) {
    const v = v128.load(other + i);
    s0 = f64x2.add(s0, f64x2.mul(v, v128.load(r0 + i)));
    s1 = f64x2.add(s1, f64x2.mul(v, v128.load(r1 + i)));
    s2 = f64x2.add(s2, f64x2.mul(v, v128.load(r2 + i)));
    s3 = f64x2.add(s3, f64x2.mul(v, v128.load(r3 + i)));
  }
  const scale = 1 / load<f64>(other + (c << 3));
  const last = c & 1 ? load<f64>(other + i) : 0;
  const at = c << 3;
  store<f64>(r0 + at, (load<f64>(r0 + at) - sumOfPair(s0) - last * load<f64>(r0 + i)) * scale);
  store<f64>(r1 + at, (load<f64>(r1 + at) - sumOfPair(s1) - last * load<f64>(r1 + i)) * scale);
  store<f64>(r2 + at, (load<f64>(r2 + at) - sumOfPair(s2) - last * load<f64>(r2 + i)) * scale);
  store<f64>(r3 + at, (load<f64>(r3 + at) - sumOfPair(s3) - last * load<f64>(r3 + i)) * scale);
}

@inline
function sumOfPair(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** Solves L·Lᵀ·x = v in place. */
export function choleskySolve(factor: usize, m: usize, v: usize): void {
  for (let r: usize = 0; r < m; r++) {
    const row = factor + ((r * m) << 3);
    const at = v + (r << 3);
    store<f64>(at, (load<f64>(at) - dot(row, v, r)) / load<f64>(row + (r << 3)));
  }
  for (let r = <isize>m - 1; r >= 0; r--) {
    const row = factor + ((<usize>r * m) << 3);
    const at = v + (<usize>r << 3);
    const x = load<f64>(at) / load<f64>(row + (<usize>r << 3));
    store<f64>(at, x);
    addScaled(v, -x, row, <usize>r);
  }
}
