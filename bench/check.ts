/** Comparisons of results that refuse what is too far off. */
import { WrongAnswerError } from "./compare.ts";
import type { OptimalFit } from "./reference-loops.ts";

/** Values, what they should be, and what an error counts relative to. */
export interface Comparison {
  readonly got: ArrayLike<number>;
  readonly want: ArrayLike<number>;
  readonly scale: (index: number) => number;
}

/**
 * The largest of |got − want| / scale over all comparisons.
 * @throws WrongAnswerError above `most`, or when lengths differ or a value is not a number
 */
export function assertAllClose(what: string, comparisons: readonly Comparison[], most: number): string {
  let worst = 0;
  for (const { got, want, scale } of comparisons) {
    if (got.length !== want.length) {
      throw new WrongAnswerError(`${what}: ${got.length} values instead of ${want.length}`);
    }
    for (let i = 0; i < want.length; i++) {
      const off = Math.abs(got[i] - want[i]) / scale(i);
      if (!(off <= worst)) worst = Number.isNaN(off) ? Infinity : off;
    }
  }
  if (!(worst <= most)) {
    throw new WrongAnswerError(`${what}: off by ${worst.toExponential(1)}, allowed ${most.toExponential(0)}`);
  }
  return `${what} within ${worst.toExponential(1)} (allowed ${most.toExponential(0)})`;
}

/** {@link assertAllClose} of one comparison. */
export function assertClose(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  scale: (index: number) => number,
  most: number,
): string {
  return assertAllClose(what, [{ got, want, scale }], most);
}

/**
 * Several fits (rows w₁ … w_k, b) by what their objectives still lack: the excess of the mean weighted loss and penalty over
 * the optimum's. It is what a Newton decrement estimates, and does not change when columns are scaled.
 * @throws WrongAnswerError above `most`
 */
export function assertOptimal(got: ArrayLike<number>, optima: readonly OptimalFit[], most: number): string {
  const width = optima[0].theta.length;
  if (got.length !== width * optima.length) {
    throw new WrongAnswerError(`${got.length} coefficients instead of ${width * optima.length}`);
  }
  const excesses = optima.map((optimum, at) =>
    optimum.excess(Array.prototype.slice.call(got, at * width, (at + 1) * width)),
  );
  // Rounding may put a fit below the optimum that the loop found.
  const excess = excesses.map((one) => Math.max(0, one));
  return assertClose("excess loss", excess, new Float64Array(excess.length), () => 1, most);
}
