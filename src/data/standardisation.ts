/** Preprocessing of support columns with the training rows' statistics: x̃ = (x − center) / scale. */
import { OptionError } from "../errors.ts";
import { pooledMoments, type ClassMoments } from "./class-moments.ts";

/**
 * - `"standard"`: subtract the mean, divide by the population standard deviation (1 where it is 0)
 * - `"none"`: raw activations
 * - `"tenth-deviation"`: divide by 10·sd without centring (1 where it is 0), so that every neuron's deviation is 0.1
 * - `"floored-tenth-deviation"`: divide by 10·max(sd, 10⁻³) without centring, as the code of Gurnee et al. (2023) does; the
 *   floor is absolute, so neurons of small values count for less
 */
export type Standardisation = "standard" | "none" | "tenth-deviation" | "floored-tenth-deviation";

export const STANDARDISATIONS: readonly Standardisation[] = [
  "standard",
  "none",
  "tenth-deviation",
  "floored-tenth-deviation",
];

/** What is subtracted from each neuron, and what divides it afterwards; length d each. */
export interface ColumnTransform {
  readonly center: Float64Array;
  readonly scale: Float64Array;
}

/**
 * The transform of every neuron, from the moments of the training rows of feature f.
 * @throws OptionError when the name is unknown
 */
export function standardisation(
  kind: Standardisation,
  moments: ClassMoments,
  feature: number,
): ColumnTransform {
  const d = moments.neurons;
  switch (kind) {
    case "none":
      return { center: new Float64Array(d), scale: new Float64Array(d).fill(1) };
    case "standard": {
      const { mean, sd } = pooledMoments(moments, feature);
      return { center: mean, scale: sd.map((s) => (s === 0 ? 1 : s)) };
    }
    case "tenth-deviation": {
      const { sd } = pooledMoments(moments, feature);
      return { center: new Float64Array(d), scale: sd.map((s) => (s === 0 ? 1 : 10 * s)) };
    }
    case "floored-tenth-deviation": {
      const { sd } = pooledMoments(moments, feature);
      return { center: new Float64Array(d), scale: sd.map((s) => 10 * Math.max(s, 1e-3)) };
    }
    default:
      throw new OptionError(
        `The standardisation "${String(kind)}" is not known.`,
        `Use one of ${STANDARDISATIONS.map((name) => `"${name}"`).join(", ")}.`,
      );
  }
}
