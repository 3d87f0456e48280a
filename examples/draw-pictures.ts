/**
 * Pictures of one language in the bundled model: how many neurons of which layer tell it, what the best one responds to, how it is
 * wired, and what happens without it. `npm run build`, then
 * `npx tsx --tsconfig tsconfig.examples.json examples/draw-pictures.ts --out pictures`.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { measureAblation, neuronEvidence, readLabelledTexts, weightStatistics } from "sparseprobe";
import { naturalLanguageDataset } from "sparseprobe/datasets";
import { createBackend, loadModelFolder, pictureFiles } from "sparseprobe/node";
import {
  ablationPicture,
  classHistogramPicture,
  layerWeightsPicture,
  metricByKPicture,
  metricHeatMap,
  renderPng,
  renderSvg,
  type PictureSpec,
} from "sparseprobe/reports";
import { sweep, type SweepRow } from "sparseprobe/sweeps";

const { values } = parseArgs({
  options: {
    feature: { type: "string", default: "fr" },
    ks: { type: "string", default: "1,2,3,4,6,8,12,16,32,64" },
    /** Sets of random neurons that the ablation is compared with. */
    controls: { type: "string", default: "9" },
    /** Every so many-th text. */
    every: { type: "string", default: "1" },
    out: { type: "string", default: "pictures" },
    png: { type: "boolean", default: false },
  },
});
const { feature, out } = values;
const backend = await createBackend("cpu");
const model = await loadModelFolder(resolve(import.meta.dirname, "model/haystack-4m"), backend);
const lines = (await readFile(resolve(import.meta.dirname, "data/natural-language.jsonl"), "utf8")).split(
  "\n",
);
const data = readLabelledTexts(lines.filter((_, i) => i % Number(values.every) === 0).join("\n"));

const dataset = await naturalLanguageDataset(data, model.tokenizer);
const rows: SweepRow[] = [];
const study = {
  models: [model],
  datasets: [dataset],
  features: [feature],
  ks: values.ks.split(",").map(Number),
};
for await (const row of sweep({ ...study, intervals: { metrics: ["f1"] } }, { backend })) {
  rows.push(row);
}

// The best neuron, by validation rows; where several make no mistake, the surest.
const [best] = rows
  .filter(({ k, split, status }) => k === 1 && split === "validation" && status === "ok")
  .sort((a, b) => b.metrics!.f1! - a.metrics!.f1! || a.metrics!.logLoss! - b.metrics!.logLoss!);
const neuron = best.support[0];
const layer = best.layer!;
const { texts, labels } = data;
const evidence = await neuronEvidence(model, texts, {
  neurons: [{ layer, neuron }],
  labels,
  skipFirst: 1,
  top: 1,
});
const ablation = await measureAblation(model, texts, {
  hookPoint: `blocks.${layer}.mlp.hook_post`,
  neurons: [neuron],
  how: "mean",
  classes: labels,
  skipFirst: 1,
  controls: { draws: Number(values.controls) },
});

const rowsOf = "haystack-4m · natural-language";
const pictures: Record<string, PictureSpec> = {
  "f1-by-k": metricByKPicture(rows),
  "heat-map": metricHeatMap(rows),
  "class-histograms": classHistogramPicture(evidence.neurons[0], { positive: feature, rowsOf }),
  "layer-weights": layerWeightsPicture(await weightStatistics(model), {
    model: "haystack-4m",
    neurons: [{ layer, neuron }],
  }),
  ablation: ablationPicture(ablation, { rowsOf }),
};
await mkdir(out, { recursive: true });
for (const [name, picture] of Object.entries(pictures)) {
  await writeFile(join(out, `${name}.svg`), await renderSvg(picture, { width: 700 }));
  if (values.png) {
    await writeFile(
      join(out, `${name}.png`),
      await renderPng(picture, { ...(await pictureFiles()), width: 700 }),
    );
  }
  console.log(`${join(out, `${name}.svg`)}: ${picture.description}`);
}
model.dispose();
backend.dispose();
