/** A result of `probeTexts` as text for a terminal. */
import type { ChosenProbe, ProbeTextsResult } from "sparseprobe";

const score = (value: number | null): string => (value === null ? "–" : value.toFixed(3));

/** One line for the best single neuron of each feature, then a block per feature with every k. */
export function describeResult(name: string, result: ProbeTextsResult): string {
  const { split, seconds } = result;
  const features = [...new Set(result.chosen.map((row) => row.feature))];
  const width = Math.max(7, ...features.map((feature) => feature.length));
  const lines = [
    `${name}: ${features.length} features; texts to fit ${split.train.texts.length}, to choose the layer ${split.validation.texts.length}, ` +
      `held out ${split.test.texts.length} (no document on two sides)`,
    "",
    `${"feature".padEnd(width)}  best neuron   sign     F1    MCC    AUC   on held-out documents`,
  ];
  for (const feature of features) {
    const best = smallest(result.chosen.filter((row) => row.feature === feature));
    if (best.k !== 1) continue;
    const sign = best.probe.scores[0] < 0 ? "−" : "+";
    lines.push(
      `${feature.padEnd(width)}  ${`L${best.layer} N${best.neurons[0]}`.padEnd(13)}  ${sign}   ` +
        [best.test.f1, best.test.mcc, best.test.rocAuc].map((value) => score(value).padStart(6)).join(" "),
    );
  }
  for (const feature of features) {
    const rows = result.chosen.filter((row) => row.feature === feature).sort((a, b) => a.k - b.k);
    const line = (title: string, of: (row: ChosenProbe) => string): string =>
      `${title.padStart(width)}  ${rows.map((row) => of(row).padStart(6)).join("")}`;
    lines.push(
      "",
      line(`${feature}  k`, (row) => String(row.k)),
      line("layer", (row) => String(row.layer)),
      line("F1", (row) => score(row.test.f1)),
      line("MCC", (row) => score(row.test.mcc)),
      line("AUC", (row) => score(row.test.rocAuc)),
    );
  }
  for (const { feature, k, hookPoint, reason } of result.failures) {
    lines.push(`Not fitted: ${feature}, k = ${k}${hookPoint ? ` at ${hookPoint}` : ""}: ${reason}`);
  }
  const unconverged = result.rows.filter((row) => !row.converged).length;
  const stages = Object.entries(seconds).map(([stage, time]) => `${stage} ${time.toFixed(1)}`);
  lines.push(
    "",
    `${result.rows.length} probes, ${unconverged} of them not converged; ${result.tokens} tokens read`,
    `Seconds: ${stages.join(", ")}`,
  );
  return lines.join("\n");
}

function smallest(rows: readonly ChosenProbe[]): ChosenProbe {
  return rows.reduce((best, row) => (row.k < best.k ? row : best));
}
