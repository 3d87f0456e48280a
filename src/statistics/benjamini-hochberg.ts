/** The false discovery rate of many tests. */
import { OptionError } from "../errors.ts";

/**
 * Benjamini–Hochberg q-values: q of a test is the smallest false discovery rate at which it is among the discoveries,
 * min over all p′ ≥ p of p′·m/rank(p′). Holds for tests that are independent or positively dependent (Benjamini and
 * Hochberg 1995; Benjamini and Yekutieli 2001).
 *
 * @param pValues one per test, between 0 and 1
 * @returns q-values in the order of the tests
 * @throws OptionError when a value is not a number between 0 and 1
 * @example
 * benjaminiHochberg([0.01, 0.04, 0.03]); // [0.03, 0.04, 0.04]
 */
export function benjaminiHochberg(pValues: ArrayLike<number>): Float64Array {
  const p = Float64Array.from(pValues);
  const bad = p.findIndex((value) => !(value >= 0 && value <= 1));
  if (bad >= 0) {
    throw new OptionError(`P-value ${bad} is ${pValues[bad]}.`, "Give numbers between 0 and 1.");
  }
  const order = Uint32Array.from(p.keys()).sort((a, b) => p[a] - p[b]);
  const q = new Float64Array(p.length);
  let smallest = 1;
  for (let rank = p.length; rank >= 1; rank--) {
    const test = order[rank - 1];
    smallest = Math.min(smallest, (p[test] * p.length) / rank);
    q[test] = smallest;
  }
  return q;
}
