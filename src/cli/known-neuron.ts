/** What the command line knows of a neuron, and gives as JSON. */
import type { HookPoint } from "../backends/backend.ts";
import type { NeuronEvidence } from "../evidence/collect-evidence.ts";
import type { NeuronLogitEffect } from "../evidence/read-logit-effects.ts";

/** All that is known of one neuron; null where there are no texts, or it is no neuron of an MLP. */
export interface KnownNeuron {
  readonly hookPoint: HookPoint;
  readonly layer: number;
  readonly neuron: number;
  readonly evidence: NeuronEvidence | null;
  readonly weights: { readonly stored: NeuronWeights; readonly folded: NeuronWeights } | null;
  readonly logits: NeuronLogitEffect | null;
}

/** Says what the JSON is, for `report --neurons`. */
export const NEURONS_SCHEMA = "sparseprobe/neurons";

/** Statistics of a neuron's weights by name, such as `input.norm`, with the share of the layer's neurons that are below. */
export type NeuronWeights = Readonly<Record<string, { readonly value: number; readonly above: number }>>;
