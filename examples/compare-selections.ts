/**
 * Which way of choosing neurons is best for a feature? Seven rankings, adaptive thresholding, certified optimal supports and chance,
 * on the bundled model's activations: a table, and a picture. `npm run build`, then
 * `npx tsx --tsconfig tsconfig.examples.json examples/compare-selections.ts`.
 */
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { captureActivations, compareSelections, readLabelledTexts, TokenRows } from "sparseprobe";
import { createBackend, loadModelFolder } from "sparseprobe/node";
import { renderSvg, selectionPicture } from "sparseprobe/reports";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "natural-language" },
    feature: { type: "string", default: "fr" },
    texts: { type: "string" },
    layer: { type: "string", default: "4" },
    ks: { type: "string", default: "1,2,3,4,6,8,16,32" },
    picture: { type: "string", default: "selections.svg" },
  },
});
const here = import.meta.dirname;
const hookPoint = `blocks.${Number(values.layer)}.mlp.hook_post` as const;
const backend = await createBackend("cpu");
const model = await loadModelFolder(resolve(here, "model/haystack-4m"), backend);
const path = resolve(here, `data/${values.data}.jsonl`);
const lines = (await readFile(path, "utf8")).trim().split("\n");
const { texts, labels, docs } = readLabelledTexts(
  lines.slice(0, values.texts === undefined ? undefined : Number(values.texts)).join("\n"),
);
const tokens = await TokenRows.tokenise(model, texts, { skipFirst: 1, groups: docs });
const captured = await captureActivations(model, tokens, { hookPoints: [hookPoint] });
const comparison = await compareSelections(
  captured.get(hookPoint)!,
  Array.from(tokens.textOfRow(), (text) => labels[text]),
  values.ks.split(",").map(Number),
  {
    backend,
    positive: values.feature,
    resamples: 200,
    optimal: { timeLimit: 10 },
  },
);

const { rows, methods, ks, split } = comparison;
console.log(
  `"${comparison.feature}" in ${hookPoint}: F1 on ${split.test.length} test tokens after choosing and fitting on ${split.train.length}\n`,
);
console.log(`${"method".padEnd(28)}${ks.map((k) => `k ${k}`.padStart(7)).join("")}   seconds`);
for (const { method, seconds, failures } of methods) {
  const cells = ks.map((k) => {
    const row = rows.find((r) => r.method === method && r.k === k);
    const f1 = row?.metrics.f1?.estimate;
    return `${f1?.toFixed(3) ?? "–"}${row?.proof?.proved ? "*" : " "}`.padStart(7);
  });
  console.log(`${method.padEnd(28)}${cells.join("")}${seconds.toFixed(2).padStart(10)}`);
  for (const { k, reason } of failures) console.log(`  k ${k}: ${reason}`);
}
console.log(
  "\n* proved optimal for the training objective of its own scaling; it need not be best on test tokens.",
);
const widest = rows
  .map(({ metrics }) => metrics.f1)
  .filter((f1) => f1 !== undefined && f1.low !== null && f1.high !== null)
  .map((f1) => f1!.high! - f1!.low!);
console.log(
  `95 % intervals, by document, are up to ${Math.max(...widest).toFixed(2)} wide: smaller differences mean little.`,
);
const drawn = selectionPicture(comparison, { rowsOf: `haystack-4m · ${hookPoint} · ${values.data}` });
await writeFile(values.picture, await renderSvg(drawn));
console.log(`\nPicture: ${values.picture}`);
model.dispose();
backend.dispose();
