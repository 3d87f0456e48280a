/** The error function in float64. */

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);
const SERIES_LIMIT = 2.5;
/** From here on erf rounds to 1 in float64. */
const SATURATION = 6;

/**
 * erf(x) = 2/√π ∫₀ˣ exp(−t²) dt, within 1e-14. Below 2.5 the series exp(−x²)·Σ 2ⁿx²ⁿ⁺¹/(2n+1)!!, all of whose terms
 * have one sign (Abramowitz and Stegun 7.1.6); above, the continued fraction of erfc (7.1.14), evaluated backwards.
 */
export function erf(x: number): number {
  const u = Math.abs(x);
  if (u < SERIES_LIMIT) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return TWO_OVER_SQRT_PI * Math.exp(-x * x) * sum;
  }
  if (u > SATURATION) return Math.sign(x);
  let fraction = u;
  for (let n = 60; n >= 1; n--) fraction = u + n / 2 / fraction;
  return Math.sign(x) * (1 - (Math.exp(-x * x) / fraction) * (TWO_OVER_SQRT_PI / 2));
}
