/** A neuron as text for a terminal. */
import type { ActivationExample, NeuronEvidence } from "../evidence/collect-evidence.ts";
import type { NeuronLogitEffect, TokenEffect } from "../evidence/read-logit-effects.ts";
import { WEIGHT_STATISTICS } from "../reports/pictures/layer-weights.ts";
import type { KnownNeuron, NeuronWeights } from "./known-neuron.ts";
import { counted, fixed, tableLines } from "./table.ts";
import { visible } from "./terminal.ts";

const BARS = " ▁▂▃▄▅▆▇█";
/** Bins of a histogram that are drawn. */
const CELLS = 40;

/** @param colours whether tokens are marked by how they are printed, instead of by brackets */
export function describeNeuron(known: KnownNeuron, colours: boolean): string[] {
  const { hookPoint, layer, neuron, evidence, weights, logits } = known;
  const title = hookPoint.endsWith(".mlp.hook_post") ? `L${layer}.N${neuron}` : `${hookPoint}:${neuron}`;
  return [
    colours ? `\x1b[1m${title}\x1b[22m` : title,
    ...(evidence ? describeEvidence(evidence, colours) : []),
    ...(weights ? describeWeights(weights.folded) : []),
    ...(logits ? describeLogits(logits) : []),
  ];
}

function describeEvidence(evidence: NeuronEvidence, colours: boolean): string[] {
  const largest = Math.max(0, ...evidence.top.flatMap(({ activations }) => activations));
  const example = (of: ActivationExample): string[] => [
    fixed(of.activation)!,
    of.label === null ? "" : visible(String(of.label)),
    marked(of, largest, colours),
  ];
  const columns = [
    { title: "activation", align: "right" as const },
    { title: "class" },
    { title: "passage" },
  ];
  return [
    ...indented(
      tableLines(
        ["class", "tokens", "mean", "deviation"]
          .map((title, c) => ({ title, align: c === 0 ? ("left" as const) : ("right" as const) }))
          .concat([{ title: histogramTitle(evidence), align: "left" }]),
        histograms(evidence),
      ),
    ),
    ...(evidence.top.length > 0
      ? ["", "  largest activations", ...indented(tableLines(columns, evidence.top.map(example)))]
      : []),
    ...(evidence.bottom.length > 0
      ? ["", "  smallest activations", ...indented(tableLines(columns, evidence.bottom.map(example)))]
      : []),
    ...evidence.disambiguation.flatMap(({ positive, share, sharedTokens, tokens }) => [
      "",
      `  ${visible(String(positive))} on one and the same token: ${percent(share)} of the difference remains, over ${counted(sharedTokens)} tokens that both have` +
        (tokens.length > 0 ? ":" : ""),
      ...(tokens.length > 0
        ? [
            `    ${tokens
              .slice(0, 6)
              .map(
                (of) =>
                  `${quoted(of.token)} ${fixed(of.positive.mean, 2)} against ${fixed(of.negative.mean, 2)}`,
              )
              .join("; ")}`,
          ]
        : []),
    ]),
  ];
}

function histogramTitle({ bins: { start, width, count } }: NeuronEvidence): string {
  return `from ${fixed(start, 2)} to ${fixed(start + width * count, 2)}, logarithmic`;
}

function histograms({ bins, classes }: NeuronEvidence): (string | null)[][] {
  const cells = Math.min(CELLS, bins.count);
  return classes.map(({ label, rows, mean, deviation, counts }) => {
    const shares = new Array<number>(cells).fill(0);
    for (const [b, count] of counts.entries()) shares[Math.floor((b * cells) / bins.count)] += count / rows;
    // Eight steps from one row in ten thousand to all of them.
    const bars = shares.map((share) =>
      share === 0 ? BARS[0] : BARS[Math.min(8, Math.max(1, Math.ceil(2 * (Math.log10(share) + 4))))],
    );
    return [
      label === null ? "–" : visible(String(label)),
      counted(rows),
      fixed(mean),
      fixed(deviation),
      `│${bars.join("")}│`,
    ];
  });
}

/** A passage with the example's token marked, and on a terminal those that the neuron responds to as well. */
function marked(
  { first, position, tokens, activations }: ActivationExample,
  largest: number,
  colours: boolean,
): string {
  return tokens
    .map((token, i) => {
      const text = visible(token);
      if (first + i === position) return colours ? `\x1b[7m${text}\x1b[27m` : `⟦${text}⟧`;
      const strong = largest > 0 && activations[i] >= largest / 3;
      return colours && strong ? `\x1b[4m${text}\x1b[24m` : text;
    })
    .join("");
}

function describeWeights(weights: NeuronWeights): string[] {
  const parts = Object.entries(weights).map(
    ([name, { value, above }]) =>
      `${(WEIGHT_STATISTICS as Readonly<Record<string, string>>)[name] ?? name} ${fixed(value)} (${percent(above)})`,
  );
  return ["", "  weights, with norms folded in (above so many of its layer)", `    ${parts.join(", ")}`];
}

function describeLogits({ folded: { top, bottom, kurtosis } }: NeuronLogitEffect): string[] {
  const effects = (list: readonly TokenEffect[]): string =>
    list.map(({ token, effect }) => `${quoted(token)} ${fixed(effect, 2)}`).join("  ");
  return [
    "",
    `  logits per unit of activation (kurtosis ${fixed(kurtosis, 1) ?? "–"})`,
    `    raises ${effects(top)}`,
    `    lowers ${effects(bottom)}`,
  ];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `    ${line}`);
}

/** Quoted, so that spaces can be seen. */
function quoted(token: string): string {
  return `"${visible(token)}"`;
}

function percent(share: number | null): string {
  return share === null ? "–" : `${Math.round(100 * share)} %`;
}
