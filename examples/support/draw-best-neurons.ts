/** Each feature's best single neuron: its activation on every held-out text, as SVG that reads in both colour schemes. */
import type { ChosenProbe } from "sparseprobe";

/** The best neuron of one feature, and what it does on held-out texts. */
export interface BestNeuron {
  readonly dataset: string;
  readonly chosen: ChosenProbe;
  /** One per held-out text. */
  readonly activations: readonly number[];
  /** Whether each of those texts has the feature. */
  readonly positive: readonly boolean[];
}

const ROW = 30;
const LEFT = 190;
const RIGHT = 620;
const WIDTH = 700;

/** Draws one strip per feature, grouped by data set. */
export function drawBestNeurons(neurons: readonly BestNeuron[]): string {
  const out: string[] = [];
  let y = 46;
  let dataset = "";
  for (const neuron of neurons) {
    if (neuron.dataset !== dataset) {
      dataset = neuron.dataset;
      out.push(`<text x="12" y="${y + 6}" class="head">${escape(dataset)}</text>`);
      y += 24;
    }
    out.push(strip(neuron, y));
    y += ROW;
  }
  const height = y + 22;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Activation of each feature's best neuron on held-out texts">
<style>
text { font: 13px system-ui, sans-serif; fill: #222; }
.head { font-weight: 600; }
.faint { fill: #777; }
.rest { fill: #999; fill-opacity: 0.45; }
.has { fill: #d55e00; fill-opacity: 0.75; }
.rule { stroke: #8886; }
@media (prefers-color-scheme: dark) { text { fill: #ddd; } .faint { fill: #999; } .has { fill: #ff9a4d; } }
</style>
<circle class="has" cx="${LEFT}" cy="16" r="5"/><text x="${LEFT + 10}" y="20">text with the feature</text>
<circle class="rest" cx="${LEFT + 170}" cy="16" r="5"/><text x="${LEFT + 180}" y="20">other text</text>
<text class="faint" x="${LEFT}" y="${height - 14}">mean activation; each row runs from its least to its greatest value</text>
<text class="faint" x="${WIDTH - 12}" y="20" text-anchor="end">F1</text>
${out.join("\n")}
</svg>
`;
}

function strip({ chosen, activations, positive }: BestNeuron, y: number): string {
  const low = Math.min(...activations);
  const high = Math.max(...activations);
  const x = (value: number): string =>
    (LEFT + ((value - low) / (high - low || 1)) * (RIGHT - LEFT)).toFixed(1);
  const dot = (i: number, kind: string, up: number): string =>
    `<circle class="${kind}" cx="${x(activations[i])}" cy="${y + up}" r="4.5"/>`;
  const all = activations.map((_, i) => i);
  return [
    `<line class="rule" x1="${LEFT}" x2="${RIGHT}" y1="${y}" y2="${y}"/>`,
    `<text x="24" y="${y + 4}">${escape(chosen.feature)}</text>`,
    `<text class="faint" x="${LEFT - 14}" y="${y + 4}" text-anchor="end">L${chosen.layer} N${chosen.neurons[0]}</text>`,
    ...all.filter((i) => !positive[i]).map((i) => dot(i, "rest", 3)),
    ...all.filter((i) => positive[i]).map((i) => dot(i, "has", -3)),
    `<text x="${WIDTH - 12}" y="${y + 4}" text-anchor="end">${chosen.test.f1?.toFixed(2) ?? "–"}</text>`,
  ].join("\n");
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
