/** Histograms of a neuron's activations, one per class, above each other on one scale. */
import type { ClassActivations, NeuronEvidence } from "../../evidence/collect-evidence.ts";
import { count, digitsFor, fixed } from "./format.ts";
import { html, type Html, type HtmlPart } from "./html.ts";

/** The smallest share of rows that a bar shows: bars are logarithmic from here to all rows. */
const LEAST_SHARE = 1e-4;
const HEIGHT = 24;

export function classHistograms(id: string, { bins, classes, disambiguation }: NeuronEvidence): Html {
  const end = bins.start + bins.width * bins.count;
  const digits = digitsFor(Math.max(Math.abs(bins.start), Math.abs(end)));
  const compared = new Set<unknown>(disambiguation.length === 1 ? [disambiguation[0].positive] : []);
  const quantiles = classes[0]?.quantiles ?? [];
  const name = ({ label }: ClassActivations): HtmlPart =>
    label === null ? (classes.length === 1 ? "all rows" : "no class") : String(label);
  return html`<div class="part">
    <h3>Activations by class</h3>
    <div class="scroll" role="group" aria-labelledby="${id}-classes" tabindex="0">
      <table class="histograms">
        <caption id="${id}-classes">
          Shares of each class's rows by activation, on a logarithmic scale from 0.01 % to 100 %; the line is
          the mean
        </caption>
        <thead>
          <tr>
            <th scope="col">class</th>
            <th scope="col">
              <span class="axis"
                ><span>${fixed(bins.start, digits)}</span><span>activation</span
                ><span>${fixed(end, digits)}</span></span
              >
            </th>
            <th scope="col" class="n">rows</th>
            <th scope="col" class="n">mean</th>
            <th scope="col" class="n" title="Standard deviation">SD</th>
            ${quantiles.map(({ q }) => html`<th scope="col" class="n">${percentile(q)}</th>`)}
            <th scope="col" class="n">largest</th>
          </tr>
        </thead>
        <tbody>
          ${classes.map(
            (of) => html`
<tr${compared.has(of.label) ? html` class="own"` : null}><th scope="row">${name(of)}</th><td>${bars(of, bins)}</td><td class="n">${count(of.rows)}</td><td class="n">${fixed(of.mean, digits)}</td><td class="n">${fixed(of.deviation, digits)}</td>${of.quantiles.map(({ value }) => html`<td class="n">${fixed(value, digits)}</td>`)}<td class="n">${fixed(of.largest, digits)}</td></tr>`,
          )}
        </tbody>
      </table>
    </div>
  </div>`;
}

function percentile(q: number): string {
  return q === 0.5 ? "median" : `${Number((100 * q).toFixed(3))}\u202f%`;
}

function bars(
  { counts, rows, mean }: ClassActivations,
  { start, width, count: bins }: NeuronEvidence["bins"],
): Html {
  let path = "";
  let before = 0;
  for (const [i, rowsIn] of counts.entries()) {
    const height = rowsIn === 0 ? 0 : barHeight(rowsIn / rows);
    if (height !== before) path += `H${i}V${HEIGHT - height}`;
    before = height;
  }
  const at = width > 0 ? (mean - start) / width : bins / 2;
  const x = Number(at.toFixed(2));
  return html`<svg viewBox="0 0 ${bins} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
    <path class="bars" d="M0 ${HEIGHT}${path}H${bins}V${HEIGHT}Z"></path>
    <path class="mean" d="M${x} 0V${HEIGHT}"></path>
  </svg>`;
}

/** One row is always seen. */
function barHeight(share: number): number {
  const height = 1 - Math.log10(Math.max(share, LEAST_SHARE)) / Math.log10(LEAST_SHARE);
  return Number(Math.max(1, HEIGHT * height).toFixed(1));
}
