/** Comparisons of results that refuse what is too far off. */
import { WrongAnswerError } from "./compare.ts";

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
 * Coefficients of several fits (rows w₁ … w_k, b) against the optimum, relative to the largest coefficient of the fit.
 * @throws WrongAnswerError above `most`
 */
export function assertSameFits(got: ArrayLike<number>, want: readonly Float64Array[], most: number): string {
  const width = want[0].length;
  const flat = want.flatMap((theta) => [...theta]);
  const largest = want.map((theta) => theta.reduce((most, t) => Math.max(most, Math.abs(t)), 0));
  return assertClose("coefficients", got, flat, (i) => largest[Math.floor(i / width)], most);
}
