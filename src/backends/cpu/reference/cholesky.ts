/** Cholesky factorisation A = L·Lᵀ of a symmetric positive definite matrix, row-major, lower triangle. */

/**
 * Replaces the lower triangle of `a` [m × m] by L, in place. A pivot that rounding has pushed to zero or below is
 * raised to m·ε times its original diagonal, so the factor always exists; it is then one of a nearby matrix.
 * @returns the number of pivots raised
 */
export function choleskyFactor(a: Float64Array, m: number): number {
  let raised = 0;
  for (let r = 0; r < m; r++) if (choleskyRow(a, m, r)) raised++;
  return raised;
}

/**
 * Row r of {@link choleskyFactor}, once those above it are done: for callers that pause between rows.
 * @returns whether the pivot was raised
 */
export function choleskyRow(a: Float64Array, m: number, r: number): boolean {
  const row = r * m;
  for (let c = 0; c < r; c++) {
    const other = c * m;
    let even = 0;
    let odd = 0;
    let p = 0;
    for (; p + 1 < c; p += 2) {
      even += a[row + p] * a[other + p];
      odd += a[row + p + 1] * a[other + p + 1];
    }
    if (p < c) even += a[row + p] * a[other + p];
    a[row + c] = (a[row + c] - (even + odd)) / a[other + c];
  }
  const diagonal = a[row + r];
  let pivot = diagonal;
  for (let p = 0; p < r; p++) pivot -= a[row + p] * a[row + p];
  const least = m * Number.EPSILON * Math.max(diagonal, Number.MIN_VALUE / Number.EPSILON);
  const raised = !(pivot > least);
  if (raised) pivot = Math.max(least, Number.MIN_VALUE);
  a[row + r] = Math.sqrt(pivot);
  return raised;
}

/** Solves L·Lᵀ·x = rhs for the lower-triangular factor L [m × m]; float32 factors serve as preconditioners. */
export function choleskySolve(
  factor: Float64Array | Float32Array,
  m: number,
  rhs: Float64Array,
  out: Float64Array = new Float64Array(m),
): Float64Array {
  for (let r = 0; r < m; r++) {
    let sum = rhs[r];
    for (let p = 0; p < r; p++) sum -= factor[r * m + p] * out[p];
    out[r] = sum / factor[r * m + r];
  }
  for (let r = m - 1; r >= 0; r--) {
    const x = out[r] / factor[r * m + r];
    out[r] = x;
    for (let p = 0; p < r; p++) out[p] -= factor[r * m + p] * x;
  }
  return out;
}
