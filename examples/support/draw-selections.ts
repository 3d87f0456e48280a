/** F1 against k for every way of choosing neurons, with intervals, as SVG that reads in both colour schemes and in print. */
import type { SelectionComparison } from "sparseprobe";

/** Colours that colour-blind readers tell apart (Okabe and Ito 2008), each with a dash of its own. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#b8860b"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const CHANCE = "#888";

const LEFT = 52;
const TOP = 30;
const PLOT = { width: 430, height: 300 };
const WIDTH = 750;
const HEIGHT = TOP + PLOT.height + 56;

/** Draws the F1 of each method's probes on test rows. Points of one k stand side by side. */
export function drawSelections({ rows, methods, ks, feature }: SelectionComparison): string {
  const sizes = [...new Set(ks)].sort((a, b) => a - b);
  const step = PLOT.width / sizes.length;
  const y = (f1: number): number => TOP + (1 - f1) * PLOT.height;
  const x = (k: number, m: number): number =>
    LEFT + (sizes.indexOf(k) + 0.5) * step + (m - (methods.length - 1) / 2) * Math.min(3, step / 14);
  const out: string[] = [];
  for (let tick = 0; tick <= 10; tick += 2) {
    const at = y(tick / 10).toFixed(1);
    out.push(`<line class="grid" x1="${LEFT}" x2="${LEFT + PLOT.width}" y1="${at}" y2="${at}"/>`);
    out.push(
      `<text x="${LEFT - 8}" y="${Number(at) + 4}" text-anchor="end">${(tick / 10).toFixed(1)}</text>`,
    );
  }
  for (const k of sizes) {
    const at = (LEFT + (sizes.indexOf(k) + 0.5) * step).toFixed(1);
    out.push(`<text x="${at}" y="${TOP + PLOT.height + 20}" text-anchor="middle">${k}</text>`);
  }
  for (const [m, { method }] of methods.entries()) {
    const colour = method === "random" ? CHANCE : COLOURS[m % COLOURS.length];
    const dash = DASHES[m % DASHES.length];
    const points = sizes.flatMap((k) => {
      const f1 = rows.find((row) => row.method === method && row.k === k)?.metrics.f1;
      return f1?.estimate === null || f1?.estimate === undefined ? [] : [{ k, f1, estimate: f1.estimate }];
    });
    const line = points.map(({ k, estimate }) => `${x(k, m).toFixed(1)},${y(estimate).toFixed(1)}`).join(" ");
    const stroke = `stroke="${colour}"${dash && ` stroke-dasharray="${dash}"`}`;
    out.push(`<polyline points="${line}" fill="none" ${stroke} stroke-width="2"/>`);
    for (const { k, f1, estimate } of points) {
      const at = x(k, m).toFixed(1);
      if (f1.low !== null && f1.high !== null) {
        out.push(
          `<line x1="${at}" x2="${at}" y1="${y(f1.low).toFixed(1)}" y2="${y(f1.high).toFixed(1)}" stroke="${colour}" stroke-opacity="0.35"/>`,
        );
      }
      out.push(`<circle cx="${at}" cy="${y(estimate).toFixed(1)}" r="3" fill="${colour}"/>`);
    }
    const row = TOP + 14 + 22 * m;
    const legend = LEFT + PLOT.width + 22;
    out.push(
      `<line x1="${legend}" x2="${legend + 28}" y1="${row - 4}" y2="${row - 4}" ${stroke} stroke-width="2"/>`,
    );
    out.push(`<text x="${legend + 36}" y="${row}">${escape(method)}</text>`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="F1 on test rows against the number of neurons, by way of choosing them">
<style>
text { font: 13px system-ui, sans-serif; fill: #222; }
.grid { stroke: #8884; }
@media (prefers-color-scheme: dark) { text { fill: #ddd; } }
</style>
<text x="${LEFT}" y="18">F1 on test rows, ${escape(feature)}; bars: 95 % intervals</text>
${out.join("\n")}
<text x="${LEFT + PLOT.width / 2}" y="${HEIGHT - 12}" text-anchor="middle">k, neurons that the probe reads</text>
</svg>
`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
