/** A neuron as lines of text: what is marked, and how. */
import { expect, it } from "vitest";
import { describeNeuron } from "../../src/cli/describe-neuron.ts";
import type { KnownNeuron } from "../../src/cli/known-neuron.ts";

const known: KnownNeuron = {
  hookPoint: "blocks.2.mlp.hook_post",
  layer: 2,
  neuron: 7,
  evidence: {
    hookPoint: "blocks.2.mlp.hook_post",
    layer: 2,
    neuron: 7,
    top: [
      {
        text: 0,
        position: 5,
        activation: 3,
        label: "de",
        group: 0,
        token: "c",
        first: 3,
        tokens: ["\x1b[2J", "b", "c", "d"],
        activations: [-1, 1.5, 3, 0.9],
        passage: "",
      },
    ],
    bottom: [],
    bins: { start: 0, width: 1, count: 4 },
    classes: [
      {
        label: "de",
        rows: 1000,
        mean: 1,
        deviation: 1,
        least: 0,
        largest: 3,
        quantiles: [],
        counts: [999, 0, 0, 1],
      },
    ],
    disambiguation: [],
  },
  weights: null,
  logits: null,
};

it("marks the token with brackets, and draws shares of rows on a logarithmic scale", () => {
  const lines = describeNeuron(known, false);
  expect(lines[0]).toBe("L2.N7");
  // All rows but one, and one in a thousand.
  expect(lines[2]).toMatch(/^ {4}de +1,000 +1\.000 +1\.000 +│█ {2}▂│$/);
  expect(lines.at(-1)).toMatch(/^ +3\.000 +de +␛\[2Jb⟦c⟧d$/);
});

it("marks the token in reverse on a terminal, and underlines others from a third of the largest on", () => {
  const line = describeNeuron(known, true).at(-1)!;
  expect(line.endsWith("␛[2J\x1b[4mb\x1b[24m\x1b[7mc\x1b[27md")).toBe(true);
});
