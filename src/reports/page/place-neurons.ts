/** Where a neuron's section is in the page, and what the rows say of the neuron. */
import type { MetricName } from "../../metrics/evaluate.ts";
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import type { ChosenProbe } from "./best-probes.ts";
import { fixed, interval } from "./format.ts";
import { html, type Html } from "./html.ts";
import { METRIC_TITLES } from "./metric-titles.ts";
import { nameOf, type NeuronPage, type PlacedNeuron } from "./neuron-section.ts";

/** In the order given; two sections of one neuron get different places. */
export function placeNeurons(
  neurons: readonly NeuronPage[],
  chosen: readonly ChosenProbe[],
  metric: MetricName,
): PlacedNeuron[] {
  const taken = new Set<string>();
  const models = new Set(neurons.map(({ model }) => model ?? null));
  return neurons.map((page) => {
    const name = models.size > 1 ? `${page.model ?? ""} ${nameOf(page)}` : nameOf(page);
    const base = `neuron-${name.trim().replaceAll(/[^\w.-]+/g, "-")}`;
    let id = base;
    for (let i = 2; taken.has(id); i++) id = `${base}-${i}`;
    taken.add(id);
    const own = chosen.filter(({ validation }) => isOf(validation, page));
    return {
      ...page,
      id,
      chosenFor: own.map((probe) => describeChoice(probe, metric)),
      features: [...new Set(own.map(({ validation }) => validation.feature))],
    };
  });
}

/** Whether a row's strongest neuron is the one that the section shows. */
export function isOf(row: SweepRow, { model, evidence }: NeuronPage): boolean {
  return (
    (model === undefined || model === null || model === row.model) &&
    row.hookPoint === evidence.hookPoint &&
    row.support[0] === evidence.neuron
  );
}

function describeChoice({ validation, test }: ChosenProbe, metric: MetricName): Html {
  const title = METRIC_TITLES[metric].short;
  const bounds = test?.intervals[metric];
  const score = test?.metrics[metric] ?? null;
  return html`Best single neuron for <bdi>${validation.feature}</bdi> (<bdi>${validation.dataset}</bdi>):
    ${title} ${fixed(validation.metrics[metric] ?? null, 3)} on validation
    rows${
      score === null
        ? null
        : html`,
            <strong>${fixed(score, 3)}</strong>${bounds ? ` (${interval(bounds.low, bounds.high, 3)})` : null}
            on test rows`
    }.`;
}

export function neuronList(neurons: readonly PlacedNeuron[]): Html {
  return html`<ul class="list">
    ${neurons.map(
      (page) =>
        html`<li>
          <a href="#${page.id}">${nameOf(page)}</a
          >${page.features.length > 0 ? html` <small>${page.features.map((feature, i) => html`${i > 0 ? ", " : null}<bdi>${feature}</bdi>`)}</small>` : null}
        </li>`,
    )}
  </ul>`;
}
