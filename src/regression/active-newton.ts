/** Newton steps of the elastic net on the coordinates that are not zero, within their signs. */
import { choleskyRow, choleskySolve } from "../backends/cpu/reference/cholesky.ts";
import type { Pacer } from "../backends/cpu/pacer.ts";

/** How often a step is halved before it is cut at the first change of sign. */
const HALVINGS = 5;

/**
 * Where no sign changes, ½‖y − Zw‖² + λ₁‖w‖₁ + λ₂/2·‖w‖² is a quadratic, whose minimum one Newton step reaches. A coordinate
 * that the step would take across zero stays at zero; should the objective not fall so, the step is halved, and in
 * the end cut where the first coordinate reaches zero, up to where it falls for certain. Coordinate descent finds the signs, and
 * needs hundreds of sweeps for what these steps do where columns are correlated (projected Newton, Bertsekas 1982).
 *
 * @param w changed in place
 * @param q Zᵀr at w
 * @param gram ZᵀZ [k × k]
 * @returns whether w moved, and whether the whole step was taken: a second one would then gain nothing
 */
export async function stepOnActive(
  w: Float64Array,
  q: Float64Array,
  gram: Float64Array,
  l1: number,
  l2: number,
  pacer: Pacer,
): Promise<"none" | "part" | "whole"> {
  const k = w.length;
  const active = Uint32Array.from(w.keys()).filter((j) => w[j] !== 0);
  const a = active.length;
  if (a === 0) return "none";
  const hessian = new Float64Array(a * a);
  for (let r = 0; r < a; r++) {
    const row = active[r] * k;
    for (let c = 0; c < a; c++) hessian[r * a + c] = gram[row + active[c]];
    hessian[r * a + r] += l2;
  }
  const descent = Float64Array.from(active, (j) => q[j] - l2 * w[j] - l1 * Math.sign(w[j]));
  const factor = hessian.slice();
  for (let r = 0; r < a; r++) {
    choleskyRow(factor, a, r);
    if (pacer.due) await pacer.turn();
  }
  const step = choleskySolve(factor, a, descent);
  // Where columns repeat each other the factor is that of a nearby matrix, and the best length is not 1.
  const { slope, curvature } = alongStep(step, descent, hessian);
  if (!(slope > 0) || !(curvature > 0)) return "none";
  let length = slope / curvature;
  let toFirstZero = Infinity;
  for (let r = 0; r < a; r++) {
    const distance = -w[active[r]] / step[r];
    if (distance > 0) toFirstZero = Math.min(toFirstZero, distance);
  }
  const whole = length < toFirstZero;
  for (let halving = 0; length > toFirstZero && halving <= HALVINGS; halving++) {
    const move = step.map((value, r) => {
      const from = w[active[r]];
      return Math.sign(from + length * value) === Math.sign(from) ? length * value : -from;
    });
    const along = alongStep(move, descent, hessian);
    if (along.slope > along.curvature / 2) {
      for (let r = 0; r < a; r++) w[active[r]] += move[r];
      return "part";
    }
    length /= 2;
  }
  length = Math.min(length, toFirstZero);
  for (let r = 0; r < a; r++) {
    const from = w[active[r]];
    const to = from + length * step[r];
    w[active[r]] = length === -from / step[r] || Math.sign(to) !== Math.sign(from) ? 0 : to;
  }
  return whole ? "whole" : "part";
}

/** descentᵀ·move and moveᵀ·H·move: the quadratic changes by curvature/2 − slope. */
function alongStep(
  move: Float64Array,
  descent: Float64Array,
  hessian: Float64Array,
): { slope: number; curvature: number } {
  const a = move.length;
  let slope = 0;
  let curvature = 0;
  for (let r = 0; r < a; r++) {
    slope += move[r] * descent[r];
    let image = 0;
    for (let c = 0; c < a; c++) image += hessian[r * a + c] * move[c];
    curvature += move[r] * image;
  }
  return { slope, curvature };
}
