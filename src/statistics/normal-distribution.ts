/** The standard normal distribution function and its inverse. */

/**
 * Φ(z) = P(Z ≤ z), to about 1e-15 absolutely: a Taylor series about zero, and far out Laplace's continued fraction of the
 * tail (Abramowitz and Stegun 1964, 26.2.10 and 26.2.14).
 */
export function normalCdf(z: number): number {
  const x = Math.abs(z);
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x > 5) {
    let fraction = x;
    for (let n = 40; n >= 1; n--) fraction = x + n / fraction;
    const tail = density / fraction;
    return z > 0 ? 1 - tail : tail;
  }
  let term = x;
  let sum = x;
  for (let n = 3; term > sum * 1e-17; n += 2) {
    term *= (x * x) / n;
    sum += term;
  }
  return 0.5 + Math.sign(z) * density * sum;
}

/** Φ⁻¹(p), by bisection; ∓∞ at 0 and 1. */
export function normalQuantile(p: number): number {
  if (p <= 0) return -Infinity;
  if (p >= 1) return Infinity;
  let low = -40;
  let high = 40;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
