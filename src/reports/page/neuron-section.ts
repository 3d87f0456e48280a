/** The section of a neuron: what it responds to, how it is wired, what it writes, what the model loses without it. */
import type { AblationEffect, AblationKind, AblationRow } from "../../interventions/ablation-effect.ts";
import type {
  ActivationExample,
  NeuronEvidence,
  TokenDisambiguation,
} from "../../evidence/collect-evidence.ts";
import type {
  LayerWeightStatistics,
  NeuronValues,
  NeuronWeightStatistics,
} from "../../evidence/read-weight-statistics.ts";
import type { LogitEffect, NeuronLogitEffect, TokenEffect } from "../../evidence/read-logit-effects.ts";
import type { MetricInterval } from "../../statistics/bootstrap.ts";
import { classHistograms } from "./class-histograms.ts";
import { count, counted, digitsFor, fixed, interval, percent, signed } from "./format.ts";
import { html, type Html, type HtmlPart } from "./html.ts";
import { passageHtml, tokenHtml } from "./passage.ts";
import { neuronName } from "./study-tables.ts";

/** A neuron and what is known of it: results of the calls as they are. What is left out has no part in the page. */
export interface NeuronPage {
  /** Name of the model, as in the rows. */
  readonly model?: string | null | undefined;
  /** One of the `neurons` of `neuronEvidence`. */
  readonly evidence: NeuronEvidence;
  /** What `logitEffects` says of the neuron. */
  readonly logits?: NeuronLogitEffect | undefined;
  /** What `weightStatistics` says of its layer. */
  readonly weights?: LayerWeightStatistics | undefined;
  /** Results of `measureAblation` for it, alone or with others. */
  readonly ablations?: readonly AblationEffect[] | undefined;
  /** Paragraphs of plain text at the top. */
  readonly notes?: readonly string[] | undefined;
}

export interface PlacedNeuron extends NeuronPage {
  /** Place in the page. */
  readonly id: string;
  /** Features that it was chosen for, and sentences that say so. */
  readonly features: readonly string[];
  readonly chosenFor: readonly Html[];
}

export function neuronHtml(
  page: PlacedNeuron,
  neighbours: { readonly before: PlacedNeuron | undefined; readonly after: PlacedNeuron | undefined },
): Html {
  const { id, evidence, logits, weights, ablations = [], notes = [], model, chosenFor } = page;
  const link = (to: PlacedNeuron | undefined, label: string): HtmlPart =>
    to ? html`<a href="#${to.id}">${label} ${nameOf(to)}</a>` : null;
  return html`<section class="neuron" id="${id}" aria-labelledby="${id}-title">
    <p class="turn">
      <a href="#neurons">All neurons</a> ${link(neighbours.before, "Previous:")}
      ${link(neighbours.after, "Next:")}
    </p>
    <h2 id="${id}-title" tabindex="-1">${nameOf(page)}</h2>
    <p class="where">
      Neuron ${evidence.neuron} of ${evidence.hookPoint}${model ? html`, <bdi>${model}</bdi>` : null}
    </p>
    ${chosenFor.map((part) => html`<p>${part}</p>`)}${notes.map((note) => html`<p>${note}</p>`)}
    ${examplesHtml(id, evidence)} ${classHistograms(id, evidence)}
    ${evidence.disambiguation.map((of, i) => disambiguationHtml(`${id}-tokens-${i + 1}`, of))}
    ${logits ? logitsHtml(id, logits) : null} ${weights ? weightsHtml(id, weights, evidence.neuron) : null}
    ${ablations.map((effect, i) => ablationHtml(`${id}-ablation-${i + 1}`, effect, evidence.neuron))}
  </section>`;
}

export function nameOf({ evidence }: NeuronPage): string {
  return neuronName(evidence.layer, evidence.hookPoint, evidence.neuron);
}

/** A table in a container of its own that scrolls. */
function table(id: string, caption: HtmlPart, head: Html, body: readonly Html[]): Html {
  return html`<div class="scroll" role="group" aria-labelledby="${id}" tabindex="0">
    <table>
      <caption id="${id}">
        ${caption}
      </caption>
      <thead>
        ${head}
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div>`;
}

function examplesHtml(id: string, { top, bottom }: NeuronEvidence): Html {
  const all = [...top, ...bottom];
  const largest = all.reduce(
    (most, { activations }) => activations.reduce((so, value) => Math.max(so, Math.abs(value)), most),
    0,
  );
  const labelled = all.some(({ label }) => label !== null);
  const digits = digitsFor(largest);
  const list = (name: string, caption: string, examples: readonly ActivationExample[]): HtmlPart =>
    examples.length === 0
      ? null
      : table(
          `${id}-${name}`,
          caption,
          html`<tr>
            <th scope="col" class="n">activation</th>
            ${labelled ? html`<th scope="col">class</th>` : null}
            <th scope="col">token</th>
            <th scope="col">passage</th>
          </tr>`,
          examples.map(
            (example) =>
              html`<tr>
                <td class="n">${fixed(example.activation, digits)}</td>
                ${labelled ? html`<td>${label(example.label)}</td>` : null}
                <td>${tokenHtml(example.token)}</td>
                <td>${passageHtml(example, largest)}</td>
              </tr>`,
          ),
        );
  return html`<div class="part examples">
    <h3>Where it is active</h3>
    <p class="note">
      The stronger a token's activation, the stronger its background and the thicker the line under it; dashed
      lines are negative. The token that ranks the passage is in bold.
      <label class="values"><input type="checkbox" /> Show the numbers</label>
    </p>
    ${list("top", "Largest activations", top)}${list("bottom", "Smallest activations", bottom)}
  </div>`;
}

function label(value: ActivationExample["label"]): HtmlPart {
  return value === null ? "–" : String(value);
}

function disambiguationHtml(id: string, of: TokenDisambiguation): Html {
  const positive = String(of.positive);
  const digits = 2;
  const sentence =
    of.within === null || of.sharedDifference === null
      ? html`${of.reason ?? "Nothing can be said."}`
      : html`Of the difference between the means of <bdi>${positive}</bdi> and all others, on tokens that both
          have, <strong>${percent(of.share)}</strong> remains when the token is the same
          (${signed(of.within, digits)} of ${signed(of.sharedDifference, digits)}); the rest comes from
          different tokens. ${counted(of.sharedTokens, "token")} occur in both; they make up
          ${percent(of.coverage.positive)} of the rows of <bdi>${positive}</bdi> and
          ${percent(of.coverage.negative)} of the others.`;
  return html`<div class="part">
    <h3>Class or token? <bdi>${positive}</bdi></h3>
    <p>${sentence}</p>
    ${
      of.tokens.length === 0
        ? null
        : table(
            id,
            "The same token in both classes: mean activation and rows",
            html`<tr>
              <th scope="col">token</th>
              <th scope="col" class="n"><bdi>${positive}</bdi></th>
              <th scope="col" class="n">rows</th>
              <th scope="col" class="n">others</th>
              <th scope="col" class="n">rows</th>
              <th scope="col" class="n">difference</th>
            </tr>`,
            of.tokens.map(
              ({ token, positive: own, negative, difference }) =>
                html`<tr>
                  <th scope="row">${tokenHtml(token)}</th>
                  <td class="n">${fixed(own.mean, digits)}</td>
                  <td class="n">${count(own.rows)}</td>
                  <td class="n">${fixed(negative.mean, digits)}</td>
                  <td class="n">${count(negative.rows)}</td>
                  <td class="n">${signed(difference, digits)}</td>
                </tr>`,
            ),
          )
    }
  </div>`;
}

function logitsHtml(id: string, { folded }: NeuronLogitEffect): Html {
  const side = (name: string, title: string, effects: readonly TokenEffect[]): HtmlPart => {
    const largest = Math.abs(effects.at(0)?.effect ?? 0);
    return table(
      `${id}-${name}`,
      title,
      html`<tr>
        <th scope="col">token</th>
        <th scope="col" class="n">logit</th>
      </tr>`,
      effects.map(
        ({ token, effect }) =>
          html`<tr>
            <th scope="row">${tokenHtml(token)}</th>
            <td class="n">${signed(effect, digitsFor(largest))}</td>
          </tr>`,
      ),
    );
  };
  return html`<div class="part">
    <h3>What it writes</h3>
    <p>${describeShape(folded)}</p>
    <div class="beside">
      ${side("raises", "Raises most", folded.top)}${side("lowers", "Lowers most", folded.bottom)}
    </div>
    <p class="note">
      Direct effect of one unit of activation on the logits, less the mean over the vocabulary, with the final
      norm's gain folded in.
    </p>
  </div>`;
}

function describeShape({ deviation, skewness, kurtosis }: LogitEffect): string {
  const spread = `Standard deviation over the vocabulary ${fixed(deviation, digitsFor(deviation))}`;
  if (skewness === null || kurtosis === null) return `${spread}.`;
  return `${spread}, skewness ${fixed(skewness, 2)}, kurtosis ${fixed(kurtosis, 1)} (3 for a normal distribution; larger where few tokens are meant).`;
}

function weightsHtml(id: string, { layer, stored, folded }: LayerWeightStatistics, neuron: number): Html {
  const named = (
    of: NeuronWeightStatistics,
  ): (readonly [name: string, values: NeuronValues | null | undefined])[] => [
    ["‖W_in‖", of.input.norm],
    ["b_in", of.input.bias],
    ["‖W_in‖·b_in", of.input.normTimesBias],
    ["‖W_out‖", of.outputNorm],
    ["cos(W_in, W_out)", of.input.cosine],
    ["‖W_gate‖", of.gate?.norm],
    ["b_gate", of.gate?.bias],
    ["‖W_gate‖·b_gate", of.gate?.normTimesBias],
    ["cos(W_gate, W_out)", of.gate?.cosine],
    ["cos(W_gate, W_in)", of.gateCosine],
  ];
  const [raw, whole] = [named(stored), named(folded)];
  const body = raw.flatMap(([name, values], i) => {
    const seen = whole[i][1];
    return values || seen
      ? [
          html`<tr>
            <th scope="row">${name}</th>
            <td class="n">${fixed(values?.[neuron] ?? null, 3)}</td>
            <td class="n">${rank(values, neuron)}</td>
            <td class="n">${fixed(seen?.[neuron] ?? null, 3)}</td>
            <td class="n">${rank(seen, neuron)}</td>
          </tr>`,
        ]
      : [];
  });
  return html`<div class="part">
    <h3>How it is wired</h3>
    ${table(
      `${id}-weights`,
      `Weights of the neuron, and the share of layer ${layer}'s neurons that lie below`,
      html`<tr>
        <th scope="col">quantity</th>
        <th scope="col" class="n">stored</th>
        <th scope="col" class="n">below</th>
        <th scope="col" class="n">norms folded in</th>
        <th scope="col" class="n">below</th>
      </tr>`,
      body,
    )}
  </div>`;
}

function rank(values: NeuronValues | null | undefined, neuron: number): string {
  const value = values?.[neuron];
  if (!values || value === null || value === undefined) return "–";
  const known = values.filter((other) => other !== null);
  return percent(known.filter((other) => other < value).length / known.length);
}

function ablationHtml(id: string, effect: AblationEffect, neuron: number): Html {
  const { overall, classes, level, resamples, unit, units, draws } = effect;
  const rows = [...classes, overall];
  const compared = rows.some(({ contrast }) => contrast !== null);
  const controlled = rows.some(({ controls }) => controls !== null);
  const logits = overall.logits.length > 0;
  const others = effect.neurons.filter((other) => other !== neuron);
  return html`<div class="part">
    <h3>What is lost without it</h3>
    <p>
      ${describeAblation(effect.how)}${others.length === 0 ? null : ` together with ${counted(others.length, "other neuron")} of ${effect.hookPoint}`}:
      change of the loss, in nats per token.
    </p>
    ${table(
      `${id}-loss`,
      `Loss by class, with ${percent(level)} intervals over ${counted(units, unit === "group" ? "document" : "text")} (${count(resamples)} resamples)`,
      html`<tr>
        <th scope="col">class</th>
        <th scope="col" class="n">tokens</th>
        <th scope="col" class="n">before</th>
        <th scope="col" class="n">after</th>
        <th scope="col" class="n">change</th>
        ${compared ? html`<th scope="col" class="n">against other classes</th>` : null}${controlled ? html`<th scope="col" class="n" title="Share of sets of random neurons of equal scale whose ablation changes the loss at least as much, counting this one">p among random neurons</th>` : null}
      </tr>`,
      rows.map(
        (row) =>
          html`<tr>
            <th scope="row">${row.class === null ? "all" : String(row.class)}</th>
            <td class="n">${count(row.tokens)}</td>
            <td class="n">${fixed(row.before, 4)}</td>
            <td class="n">${fixed(row.after, 4)}</td>
            ${change(row.effect)}${compared ? (row.contrast ? change(row.contrast) : html`<td class="n">–</td>`) : null}${controlled ? html`<td class="n">${pValue(row)}</td>` : null}
          </tr>`,
      ),
    )}
    ${controlled ? html`<p class="note">p is of the contrast where there is one, of the change otherwise, among ${counted(draws.length, "set")} of random neurons.</p>` : null}
    ${
      logits
        ? table(
            `${id}-logits`,
            "Mean logit of chosen tokens by class",
            html`<tr>
              <th scope="col">class</th>
              <th scope="col" class="n">token id</th>
              <th scope="col" class="n">before</th>
              <th scope="col" class="n">after</th>
              <th scope="col" class="n">change</th>
            </tr>`,
            rows.flatMap((row) =>
              row.logits.map(
                ({ token, before, after, effect: by }) =>
                  html`<tr>
                    <th scope="row">${row.class === null ? "all" : String(row.class)}</th>
                    <td class="n">${token}</td>
                    <td class="n">${fixed(before, 3)}</td>
                    <td class="n">${fixed(after, 3)}</td>
                    ${change(by)}
                  </tr>`,
              ),
            ),
          )
        : null
    }
  </div>`;
}

function pValue({ controls }: AblationRow): string {
  const p = controls?.contrast ? controls.contrast.pValue : controls?.effect.pValue;
  return fixed(p ?? null, 2);
}

function change({ estimate, low, high }: MetricInterval): Html {
  return html`<td class="n">
    ${signed(estimate, 4)}${low === null ? null : html` <small>${interval(low, high, 4)}</small>`}
  </td>`;
}

function describeAblation(how: AblationKind): string {
  if (how === "zero") return "The neuron at zero";
  if (how === "mean") return "The neuron at its mean";
  if ("scale" in how) return `The neuron times ${how.scale}`;
  return typeof how.value === "number"
    ? `The neuron at ${fixed(how.value, 3)}`
    : "The neuron at a fixed value";
}
