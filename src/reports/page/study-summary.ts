/** What was run, what was found, what failed: the first section of the page. */
import type { Aggregation } from "../../backends/backend.ts";
import type { MetricName } from "../../metrics/evaluate.ts";
import { quantile } from "../../statistics/bootstrap.ts";
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import { chooseBest, probeKey, type ChosenProbe } from "./best-probes.ts";
import { count, counted, fixed, interval } from "./format.ts";
import { html, type Html, type HtmlPart } from "./html.ts";
import { METRIC_TITLES } from "./metric-titles.ts";
import { hookName, neuronName } from "./study-tables.ts";

const INTERVALS =
  " Intervals are 95 % bootstrap intervals over documents of the test rows; one without width says that all resamples of these few rows agree, not that all rows would.";

export interface SummaryContent {
  readonly rows: readonly SweepRow[];
  readonly metric: MetricName;
  /** Single neurons of the model itself. */
  readonly chosen: readonly ChosenProbe[];
  readonly place: (row: SweepRow) => string | null;
}

export function summaryHtml({ rows, metric, chosen, place }: SummaryContent): Html {
  return html`${findings(rows, metric, chosen, place)}
    <h3>What was run</h3>
    <dl class="facts">
      ${studyFacts(rows).map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    <h3>How choosing and reporting were kept apart</h3>
    ${separation(rows, metric)}
    <h3>What failed</h3>
    ${failures(rows)}`;
}

function findings(
  rows: readonly SweepRow[],
  metric: MetricName,
  chosen: readonly ChosenProbe[],
  place: (row: SweepRow) => string | null,
): HtmlPart {
  const title = METRIC_TITLES[metric].short;
  const tested = chosen.flatMap(({ test }) => (test ? [test] : []));
  const middle = medianOf(tested, metric);
  if (middle === null) {
    return html`<p>No single neuron has been chosen on validation rows and scored on test rows.</p>`;
  }
  const rotated = chooseBest(
    rows.filter(({ rotation, k }) => rotation !== null && k === 1),
    metric,
  ).flatMap(({ test }) => (test ? [test] : []));
  const baseline = medianOf(rotated, metric);
  const good = tested.filter((row) => (row.metrics[metric] ?? 0) >= 0.9).length;
  const seeds = new Set(tested.map(({ seed }) => seed)).size;
  const best = [...chosen]
    .filter(({ test }) => test !== null)
    .sort((a, b) => goodness(b.validation, metric) - goodness(a.validation, metric))
    .slice(0, LISTED);
  return html`<p class="finding">
      Over
      ${seeds > 1 ? `${count(tested.length)} pairs of feature and seed` : counted(tested.length, "feature")}
      the best single neuron has a median test ${title} of
      <strong>${fixed(middle, 3)}</strong
      >${metric === "logLoss" ? null : html`; it is at least 0.9 for ${count(good)} of them`}${
        baseline === null
          ? null
          : html`. The best single direction of randomly rotated activations has a median of
              <strong>${fixed(baseline, 3)}</strong>`
      }.
    </p>
    <ol class="best">
      ${best.map(({ validation, test }) => {
        const name = neuronName(validation.layer, validation.hookPoint, validation.support[0]);
        const link = place(validation);
        const bounds = test?.intervals[metric];
        return html`<li>
          <bdi>${validation.feature}</bdi>
          <span class="where">${link ? html`<a href="${link}">${name}</a>` : name}</span>
          <span class="n">${fixed(test?.metrics[metric] ?? null, 3)}</span>${
            bounds ? html` <small class="n">${interval(bounds.low, bounds.high, 3)}</small>` : null
          }
        </li>`;
      })}
    </ol>
    <p class="note">
      The ${counted(best.length, "feature")} with the highest validation ${title}, with test
      ${title}${best.some(({ test }) => test?.intervals[metric]) ? " and its 95 % interval" : null}. All of
      them are in <a href="#best-neurons">best neurons</a>.
    </p>`;
}

/** Neurons that the summary names. */
const LISTED = 5;

function goodness({ metrics }: SweepRow, metric: MetricName): number {
  const value = metrics?.[metric] ?? -Infinity;
  return metric === "logLoss" ? -value : value;
}

function medianOf(rows: readonly SweepRow[], metric: MetricName): number | null {
  const values = rows.flatMap(({ metrics }) => metrics?.[metric] ?? []).sort((a, b) => a - b);
  return values.length > 0 ? quantile(values, 0.5) : null;
}

/** Of what the rows say, each thing once. */
function studyFacts(rows: readonly SweepRow[]): (readonly [name: string, value: HtmlPart])[] {
  // What could not be opened has no features, hook points or sizes: its rows say why, under what failed.
  const different = (of: (row: SweepRow) => string | null): string[] => [
    ...new Set(rows.map(of).filter((word) => word !== null)),
  ];
  const numbers = (of: (row: SweepRow) => number | null): number[] =>
    [...new Set(rows.map(of).filter((value) => value !== null))].sort((a, b) => a - b);
  const models = different(({ model, revision }) => (revision === null ? model : `${model} @ ${revision}`));
  const features = new Map<string, Set<string>>();
  for (const { category, dataset, feature } of rows) {
    if (category === null || feature === null) continue;
    const known = features.get(category) ?? new Set();
    features.set(category, known.add(JSON.stringify([dataset, feature])));
  }
  const rotations = rows.filter(({ rotation }) => rotation !== null).length;
  // Both rows of a probe say how long it took.
  const secondsOf = (part: SweepRow["split"]): number =>
    rows.reduce((sum, { split, seconds }) => sum + (split === part ? (seconds ?? 0) : 0), 0);
  const seconds = Math.max(secondsOf("validation"), secondsOf("test"));
  const total = [...features.values()].reduce((sum, { size }) => sum + size, 0);
  return [
    [models.length === 1 ? "Model" : "Models", list(models)],
    ["Datasets", list(different(({ dataset }) => dataset))],
    [
      "Features",
      html`${count(total)}:
      ${commas([...features].map(([category, { size }]) => html`<bdi>${category}</bdi> ${count(size)}`))}`,
    ],
    ["Rows are", list(different(({ aggregation }) => aggregation && AGGREGATIONS[aggregation]))],
    ["Hook points", list(different(({ hookPoint }) => hookPoint && hookName(hookPoint)))],
    ["Layers", ranges(numbers(({ layer }) => layer))],
    ["Methods", list(different(({ method }) => method))],
    ["k", ranges(numbers(({ k }) => k))],
    ["Seeds", ranges(numbers(({ seed }) => seed))],
    ...(rotations > 0 ? [["Rotated", `${count(rotations)} of the rows, as a baseline`] as const] : []),
    ["Results", `${count(rows.length)} rows`],
    ["Time to rank and fit", duration(seconds)],
  ];
}

const AGGREGATIONS: Readonly<Record<Aggregation, string>> = {
  token: "single tokens",
  mean: "means over tokens",
  max: "largest values over tokens",
  last: "last tokens",
};

/** Names more than this are counted. */
const NAMED = 12;

function list(words: readonly string[]): HtmlPart {
  const named = words.slice(0, NAMED).map((word) => html`<bdi>${word}</bdi>`);
  const more = words.length - named.length;
  return commas(more > 0 ? [...named, `${count(more)} more`] : named);
}

const commas = (parts: readonly HtmlPart[]): HtmlPart =>
  parts.flatMap((part, i) => (i === 0 ? [part] : [", ", part]));

/** Whole numbers in rising order, neighbours together: 0–5, 8. */
function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts
    .map(([from, to]) => (to - from > 1 ? `${from}–${to}` : to > from ? `${from}, ${to}` : `${from}`))
    .join(", ");
}

function duration(seconds: number): string {
  if (seconds < 60) return `${fixed(seconds, 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds - 60 * minutes)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function separation(rows: readonly SweepRow[], metric: MetricName): Html {
  const parts = new Set(rows.map(({ split }) => split));
  const title = METRIC_TITLES[metric].short;
  if (!parts.has("validation")) {
    return html`<p>
      These results have no validation rows, so nothing has been chosen here: whoever picks the best of the
      test rows below reports too much.
    </p>`;
  }
  if (!parts.has("test")) {
    return html`<p>
      These results have no test rows: every number is of the rows that probes are chosen by, and too good for
      the best of them.
    </p>`;
  }
  const units = rows.find(({ intervals }) => Object.keys(intervals).length > 0);
  return html`<p>
      Every feature's rows are cut into three parts, with all rows of one document in the same part. Neurons
      are ranked and probes are fitted on the training rows. Among all layers, hook points and methods the
      neuron with the best ${title} on the validation rows is chosen. What is reported as test is that one
      probe's score on the test rows, which had no part in the choice.${units ? INTERVALS : null}
    </p>
    <p class="note">
      The table of all rows shows both parts of every probe. The best test score found by looking through it
      is again a choice, and too good.
    </p>`;
}

function failures(rows: readonly SweepRow[]): Html {
  const reasons = new Map<string, { rows: number; features: Set<string> }>();
  for (const { status, reason, feature } of rows) {
    if (status === "ok") continue;
    const key = reason ?? "no reason given";
    const known = reasons.get(key) ?? { rows: 0, features: new Set() };
    known.rows++;
    if (feature !== null) known.features.add(feature);
    reasons.set(key, known);
  }
  const failed = [...reasons.values()].reduce((sum, of) => sum + of.rows, 0);
  // A probe has a row for each part that it was scored on.
  const fits = [
    ...new Map(rows.filter(({ status }) => status === "ok").map((row) => [probeKey(row), row])).values(),
  ];
  const unconverged = fits.filter(({ converged }) => converged === false).length;
  const separated = fits.filter((row) => row.separated === true).length;
  const sentences = [
    failed === 0 ? "No row failed." : `${count(failed)} of ${counted(rows.length, "row")} have no probe.`,
    unconverged === 0
      ? "Every fit converged."
      : `${counted(unconverged, "fit")} of ${count(fits.length)} did not converge: their coefficients are not the optimum.`,
    separated === 0
      ? ""
      : `In ${counted(separated, "fit")} of ${count(fits.length)} the training rows are separable: the penalty alone holds the coefficients.`,
  ];
  return html`<p>${sentences.filter(Boolean).join(" ")}</p>
    ${
      failed === 0
        ? null
        : html`<div class="scroll" role="group" aria-labelledby="failures-caption" tabindex="0">
            <table>
              <caption id="failures-caption">
                Rows without a probe, by reason
              </caption>
              <thead>
                <tr>
                  <th scope="col">reason</th>
                  <th scope="col" class="n">rows</th>
                  <th scope="col">features</th>
                </tr>
              </thead>
              <tbody>
                ${[...reasons]
                  .sort(([, a], [, b]) => b.rows - a.rows)
                  .map(
                    ([reason, { rows: of, features }]) =>
                      html`<tr>
                        <th scope="row">${reason}</th>
                        <td class="n">${count(of)}</td>
                        <td>${features.size > 0 ? list([...features]) : "all"}</td>
                      </tr>`,
                  )}
              </tbody>
            </table>
          </div>`
    }`;
}
