/**
 * Neurons outside of the candidates: a dual point bounds supports that contain them as well, once their (X_jᵀu)² is known.
 * Where every one of them is ruled out, what was proved over the candidates holds over all neurons.
 */
import { inflated, largestSum, product, type Cut } from "./cuts.ts";
import type { DualPoint } from "./search.ts";
import type { SupportProblem } from "./support-problem.ts";

/** A dual point whose q is being completed over all neurons. */
export interface WideCut {
  readonly constant: number;
  /** By neuron. */
  readonly q: Float64Array;
  readonly v: Float64Array;
  readonly vNorm: number;
}

/** Starts with no neuron looked at. */
export function widen({ cut, v }: DualPoint, neurons: number): WideCut {
  return { constant: cut.constant, q: new Float64Array(neurons), v, vNorm: Math.sqrt(product(v, v)) };
}

/** Fills in the q of some neurons, whose columns are prepared as a problem's are. */
export function* lookAt(
  cuts: readonly WideCut[],
  part: SupportProblem,
  neurons: Uint32Array,
): Generator<undefined, void, undefined> {
  for (const [c, j] of neurons.entries()) {
    for (const { q, v, vNorm } of cuts) q[j] = inflated(part, c, product(v, part.columns[c]), vNorm);
    yield;
  }
}

/**
 * Bounds supports of size k that contain a neuron outside of the candidates.
 * @returns those of these neurons whose bound is below `least`, and the lowest bound of all
 */
export function boundsBeyond(
  cuts: readonly Pick<WideCut, keyof Cut>[],
  outside: Uint32Array,
  k: number,
  gamma: number,
  least: number,
): { undecided: readonly number[]; lowest: number } {
  const scratch = new Float64Array(k + 2);
  const bounds = new Float64Array(outside.length).fill(-Infinity);
  for (const { constant, q } of cuts) {
    const state = new Uint8Array(q.length);
    const { sum, last } = largestSum(q, state, k, scratch);
    for (const [at, j] of outside.entries()) {
      // The k largest where j is among them, else j in place of the least of these.
      const bound = constant - 0.5 * gamma * (q[j] >= last ? sum : sum - last + q[j]);
      bounds[at] = Math.max(bounds[at], bound);
    }
  }
  const undecided: number[] = [];
  let lowest = Infinity;
  for (const [at, bound] of bounds.entries()) {
    if (bound < least) undecided.push(outside[at]);
    lowest = Math.min(lowest, bound);
  }
  return { undecided, lowest };
}
