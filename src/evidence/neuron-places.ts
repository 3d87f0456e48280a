/** Which neuron of a model is meant. */
import type { HookPoint, TransformerSpec } from "../backends/backend.ts";
import { hookWidth, parseHookPoint } from "../backends/hook-points.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";

/** A neuron of a layer's MLP (`mlp.hook_post`), or a column of any hook point. */
export type NeuronPlace =
  | { readonly layer: number; readonly neuron: number }
  | { readonly hookPoint: HookPoint; readonly neuron: number };

/** A neuron that exists. */
export interface ResolvedNeuron {
  readonly hookPoint: HookPoint;
  readonly layer: number;
  readonly neuron: number;
}

/**
 * @throws EmptyDataError when there are none
 * @throws OptionError when a layer or a hook point does not exist
 * @throws ShapeError when a neuron does not exist
 */
export function resolveNeurons(spec: TransformerSpec, places: readonly NeuronPlace[]): ResolvedNeuron[] {
  if (!Array.isArray(places)) {
    throw new OptionError("The neurons are not a list.", "Give a list: [{ layer: 3, neuron: 17 }] for one.");
  }
  if (places.length === 0) throw new EmptyDataError("There are no neurons.", "Give at least one.");
  return places.map((place: NeuronPlace) => {
    const hookPoint: HookPoint =
      "hookPoint" in place ? place.hookPoint : `blocks.${place.layer}.mlp.hook_post`;
    const { layer } = parseHookPoint(spec, hookPoint);
    const width = hookWidth(spec, hookPoint);
    const { neuron } = place;
    if (!Number.isInteger(neuron) || neuron < 0 || neuron >= width) {
      throw new ShapeError(
        `Neuron ${neuron} of ${hookPoint} does not exist.`,
        `Neurons run from 0 to ${width - 1}.`,
      );
    }
    return { hookPoint, layer, neuron };
  });
}
