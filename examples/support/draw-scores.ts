/** F1 on held-out documents against k, one panel per data set, as SVG that reads in both colour schemes. */
import type { ProbeTextsResult } from "sparseprobe";

// Okabe and Ito's palette, which colour-blind readers can tell apart; dashes tell a second round.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#888888"];
const PANEL = { width: 400, height: 300, left: 46, right: 96, top: 34, bottom: 44 };

/** Draws one panel per named result, side by side. */
export function drawScores(results: Readonly<Record<string, ProbeTextsResult>>): string {
  const panels = Object.entries(results);
  const width = panels.length * PANEL.width;
  const body = panels.map(
    ([name, result], p) => `<g transform="translate(${p * PANEL.width} 0)">${panel(name, result)}</g>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${PANEL.height}" width="${width}" height="${PANEL.height}" role="img" aria-label="F1 on held-out documents against the number of neurons k">
<style>text{font:12px system-ui,sans-serif;fill:#222}.axis{stroke:#888}.grid{stroke:#8884}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>
${body.join("\n")}
</svg>
`;
}

function panel(name: string, result: ProbeTextsResult): string {
  const ks = [...new Set(result.chosen.map((row) => row.k))].sort((a, b) => a - b);
  const features = [...new Set(result.chosen.map((row) => row.feature))];
  const scores = result.chosen.map((row) => row.test.f1 ?? 0);
  const low = Math.max(0, Math.floor(Math.min(1, ...scores) * 10) / 10 - 0.1);
  const right = PANEL.width - PANEL.right;
  const bottom = PANEL.height - PANEL.bottom;
  const top = Math.log2(Math.max(2, ks[ks.length - 1]));
  const x = (k: number): number => PANEL.left + (Math.log2(k) / top) * (right - PANEL.left);
  const y = (f1: number): number => bottom - ((f1 - low) / (1 - low)) * (bottom - PANEL.top);
  const out = [`<text x="${PANEL.left}" y="18" font-weight="600">${escape(name)}</text>`];
  for (let tenth = Math.round(low * 10); tenth <= 10; tenth += low < 0.5 ? 2 : 1) {
    const at = y(tenth / 10).toFixed(1);
    out.push(`<line class="grid" x1="${PANEL.left}" x2="${right}" y1="${at}" y2="${at}"/>`);
    out.push(
      `<text x="${PANEL.left - 6}" y="${at}" dy="4" text-anchor="end">${(tenth / 10).toFixed(1)}</text>`,
    );
  }
  for (const k of ks.filter((size) => Number.isInteger(Math.log2(size)))) {
    out.push(`<text x="${x(k).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${k}</text>`);
  }
  out.push(`<line class="axis" x1="${PANEL.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`);
  out.push(
    `<text x="${(PANEL.left + right) / 2}" y="${bottom + 34}" text-anchor="middle">neurons in the probe, k</text>`,
  );
  out.push(
    `<text transform="translate(12 ${(PANEL.top + bottom) / 2}) rotate(-90)" text-anchor="middle">F1, held-out documents</text>`,
  );
  const labels: { name: string; colour: string; at: number; f1: number }[] = [];
  for (const [f, feature] of features.entries()) {
    const rows = result.chosen.filter((row) => row.feature === feature).sort((a, b) => a.k - b.k);
    const colour = COLOURS[f % COLOURS.length];
    const dash = f >= COLOURS.length ? ' stroke-dasharray="5 3"' : "";
    const points = rows.map((row) => `${x(row.k).toFixed(1)},${y(row.test.f1 ?? 0).toFixed(1)}`).join(" ");
    out.push(`<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`);
    labels.push({ name: feature, colour, at: y(rows[0].test.f1 ?? 0), f1: rows[0].test.f1 ?? 0 });
  }
  // Names at the right, in the order of the single best neurons, spread so that none covers another.
  labels.sort((a, b) => a.at - b.at);
  for (const [i, label] of labels.entries()) {
    const at = PANEL.top + 8 + i * 16;
    out.push(
      `<line x1="${right + 8}" x2="${right + 20}" y1="${at}" y2="${at}" stroke="${label.colour}" stroke-width="3"/>`,
    );
    out.push(`<text x="${right + 24}" y="${at}" dy="4">${escape(label.name)}</text>`);
  }
  return out.join("\n");
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
