/** Random neurons whose ablation takes away as much as that of the neurons given. */
import { OptionError } from "../errors.ts";
import { Random } from "../random.ts";

/** A control for each neuron, in the same order. */
export interface MatchedDraw {
  readonly neurons: readonly number[];
  /** Scale of each control as a multiple of its neuron's; null where the neuron's is 0. */
  readonly scaleRatios: readonly (number | null)[];
}

/**
 * For each neuron one of the `candidates` others whose scales are nearest to its own by their ratio, none twice. A draw depends
 * on the seed and its number alone.
 *
 * @param width neurons of the layer
 * @param scaleOf root mean square of what is taken away from neuron j in the place of the i-th one
 * @throws OptionError when there are fewer other neurons than are to be drawn
 */
export function drawMatched(
  width: number,
  scaleOf: (neuron: number, place: number) => number,
  neurons: Uint32Array,
  candidates: number,
  seed: number,
  draw: number,
): MatchedDraw {
  const random = new Random(seed, `ablation control ${draw}`);
  const taken = new Set<number>(neurons);
  if (2 * neurons.length > width) {
    throw new OptionError(
      `There are ${width - neurons.length} other neurons for ${neurons.length} controls.`,
      "Ablate at most half of a layer's neurons, or leave controls out.",
    );
  }
  // A scale of 0 is infinitely far from any other.
  const distance = (a: number, b: number): number =>
    a === b ? 0 : a === 0 || b === 0 ? Number.MAX_VALUE : Math.abs(Math.log(a / b));
  const scaleRatios: (number | null)[] = [];
  const drawn = Array.from(neurons, (neuron, place) => {
    const scale = scaleOf(neuron, place);
    const near = Array.from({ length: width }, (_, other) => other)
      .filter((other) => !taken.has(other))
      .map((other) => ({ other, far: distance(scaleOf(other, place), scale) }))
      .sort((a, b) => a.far - b.far || a.other - b.other)
      .slice(0, candidates);
    const { other } = near[random.below(near.length)];
    taken.add(other);
    scaleRatios.push(scale === 0 ? null : scaleOf(other, place) / scale);
    return other;
  });
  return { neurons: drawn, scaleRatios };
}
