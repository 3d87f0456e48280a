/**
 * The convex envelope of "at most `slots` coefficients": Ω(β) = min Σ β_j²/s_j over 0 ≤ s ≤ 1, Σ s ≤ slots, the square of
 * the k-support norm (Argyriou, Foygel and Srebro, "Sparse prediction with the k-support norm", NIPS 2012). The largest
 * coefficients have s = 1, the others share what is left in proportion to their size.
 */

/**
 * The shares s that are best for given sizes.
 * @param sizes |β| or weights of the kind, not negative
 * @param fixed 1 where s is 1 whatever the size, and takes no slot
 * @param shares filled; where all sizes fit, every share is 1
 */
export function bestShares(
  sizes: Float64Array,
  fixed: Uint8Array,
  slots: number,
  shares: Float64Array,
  count: number,
): void {
  const order: number[] = [];
  let rest = 0;
  for (let a = 0; a < count; a++) {
    shares[a] = fixed[a] ? 1 : 0;
    if (fixed[a]) continue;
    order.push(a);
    rest += sizes[a];
  }
  if (order.length <= slots) {
    for (const a of order) shares[a] = 1;
    return;
  }
  order.sort((a, b) => sizes[b] - sizes[a] || a - b);
  let capped = 0;
  while (capped < slots && sizes[order[capped]] * (slots - capped) >= rest) {
    rest -= sizes[order[capped]];
    shares[order[capped]] = 1;
    capped++;
  }
  const left = slots - capped;
  // Rounding may leave a rest below zero.
  rest = 0;
  for (let t = capped; t < order.length; t++) rest += sizes[order[t]];
  if (left === 0 || !(rest > 0)) return;
  for (let t = capped; t < order.length; t++) {
    shares[order[t]] = Math.min(1, (left * sizes[order[t]]) / rest);
  }
}
