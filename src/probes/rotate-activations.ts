/** Activations in another basis: what neurons are compared with. */
import type { Activations, ActivationsInput } from "../data/activations.ts";
import type { RotateOptions } from "./random-rotation.ts";

/**
 * X·Q with a random orthonormal matrix Q [neurons × neurons], uniform over all of them (Haar measure; Stewart 1980): a sweep
 * over the columns of X·Q shows whether the neurons of X are a special basis. Lengths and angles of rows are kept, so a dense
 * probe without standardisation does as well on both.
 *
 * Q depends on the seed and the number of neurons alone: blocks of rows that are rotated one by one fit together. It is never
 * formed. Time is 2·rows·neurons² multiplications and additions in float64, memory 4·neurons² bytes beside the activations.
 *
 * @param acts activations on the host
 * @returns f32 activations of the same shape; groups and provenance are kept
 * @throws ShapeError | EmptyDataError when the input is not a matrix
 * @throws NonFiniteError when a value is NaN or infinite
 * @throws OptionError when the seed is not a whole number
 */
export async function rotateActivations(
  acts: ActivationsInput,
  options: RotateOptions = {},
): Promise<Activations> {
  const { rotate } = await import("./random-rotation.ts");
  return rotate(acts, options);
}
