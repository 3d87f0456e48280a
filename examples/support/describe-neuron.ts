/** A neuron's evidence as text for a terminal. */
import type {
  ActivationExample,
  ClassActivations,
  LayerWeightStatistics,
  LogitEffect,
  NeuronEvidence,
  NeuronLogitEffect,
  NeuronValues,
  TokenEffect,
} from "sparseprobe";

const BARS = " ▁▂▃▄▅▆▇█";
/** Tokens are quoted, so that spaces and line breaks can be seen. */
const quoted = (token: string): string => JSON.stringify(token);
const number = (value: number | null, digits = 2): string => value?.toFixed(digits) ?? "–";
const percent = (share: number | null): string => (share === null ? "–" : `${Math.round(100 * share)} %`);

/** Histograms of a class and of all others, one above the other: bars on a logarithmic scale of the share of rows. */
export function drawHistograms(evidence: NeuronEvidence, positive: string): string[] {
  const { start, width, count } = evidence.bins;
  const own = evidence.classes.filter(({ label }) => label === positive);
  const others = evidence.classes.filter(({ label }) => label !== positive);
  const line = (name: string, classes: readonly ClassActivations[]): string => {
    const rows = classes.reduce((sum, of) => sum + of.rows, 0);
    const bars = Array.from({ length: count }, (_, b) => {
      const share = classes.reduce((sum, of) => sum + of.counts[b], 0) / rows;
      // Eight steps from one row in ten thousand to all of them.
      return BARS[share === 0 ? 0 : Math.min(8, Math.max(1, Math.ceil(2 * (Math.log10(share) + 4))))];
    });
    const mean = classes.reduce((sum, of) => sum + of.mean * (of.rows / rows), 0);
    return `  ${name.padEnd(7)}│${bars.join("")}│ mean ${number(mean)} of ${rows} tokens`;
  };
  const axis = [number(start, 1), number(start + width * count, 1)];
  return [
    line(positive, own),
    line("others", others),
    `          ${axis[0]}${axis[1].padStart(Math.max(0, count - axis[0].length))}`,
  ];
}

/** What of the difference between classes remains on one and the same token. */
export function describeDisambiguation(evidence: NeuronEvidence, tokens: number): string[] {
  return evidence.disambiguation.flatMap((of) => [
    `  on the same token: ${percent(of.share)} of the difference remains (${number(of.within)} of ${number(of.sharedDifference)}, ` +
      `over ${of.sharedTokens} tokens in both classes: ${percent(of.coverage.positive)} and ${percent(of.coverage.negative)} of the rows)`,
    `    ${of.tokens
      .slice(0, tokens)
      .map(
        ({ token, positive, negative }) =>
          `${quoted(token)} ${number(positive.mean)}/${number(negative.mean)}`,
      )
      .join("   ")}`,
  ]);
}

/** Passages with the token marked. */
export function describeExamples(examples: readonly ActivationExample[], most: number): string[] {
  return examples.slice(0, most).map(({ activation, label, position, first, tokens }) => {
    const at = position - first;
    const text = `${tokens.slice(0, at).join("")}⟦${tokens[at]}⟧${tokens.slice(at + 1).join("")}`;
    return `    ${number(activation).padStart(6)}  ${String(label)}  ${text.replaceAll(/\s+/g, " ")}`;
  });
}

/** Weights of a neuron, and where they stand among those of its layer. */
export function describeWeights({ folded }: LayerWeightStatistics, neuron: number): string {
  const among = (name: string, values: NeuronValues | null): string[] => {
    const value = values?.[neuron];
    if (values === null || value === null || value === undefined) return [];
    const below = values.filter((other) => other !== null && other < value).length;
    return [`${name} ${number(value)} (${percent(below / values.length)})`];
  };
  return `  weights (above so many of the layer): ${[
    ...among("‖W_in‖", folded.input.norm),
    ...among("b_in", folded.input.bias),
    ...among("‖W_out‖", folded.outputNorm),
    ...among("cos(W_in, W_out)", folded.input.cosine),
    ...among("‖W_in‖·b_in", folded.input.normTimesBias),
  ].join(", ")}`;
}

/** Tokens whose logits a neuron raises and lowers. */
export function describeEffect({ folded }: NeuronLogitEffect, tokens: number): string[] {
  const list = (effects: readonly TokenEffect[]): string =>
    effects
      .slice(0, tokens)
      .map(({ token, effect }) => `${quoted(token)} ${number(effect)}`)
      .join("  ");
  const { top, bottom, kurtosis }: LogitEffect = folded;
  return [`  raises (kurtosis ${number(kurtosis, 1)}): ${list(top)}`, `  lowers: ${list(bottom)}`];
}
