/**
 * Optimal supports on a model's own activations: for each language, the k neurons that no other k of the candidates beat, with
 * the proof's bound. `npm run build`, then `npx tsx --tsconfig tsconfig.examples.json` and this file.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { captureActivations, findOptimalSupports, readLabelledTexts, splitRows } from "sparseprobe";
import { createBackend, loadModelFolder } from "sparseprobe/node";

const { values } = parseArgs({
  options: {
    loss: { type: "string", default: "logistic" },
    ks: { type: "string", default: "1,2,3,4,6,8" },
    features: { type: "string" },
    "time-limit": { type: "string", default: "10" },
  },
});
const here = import.meta.dirname;
const hookPoint = "blocks.4.mlp.hook_post";
const backend = await createBackend("cpu");
const model = await loadModelFolder(resolve(here, "model/haystack-4m"), backend);
const { texts, labels, docs } = readLabelledTexts(
  await readFile(resolve(here, "data/natural-language.jsonl"), "utf8"),
);
const captured = await captureActivations(model, texts, {
  hookPoints: [hookPoint],
  aggregation: "mean",
  skipFirst: 1,
});
const acts = captured.get(hookPoint)!;
const groups = docs ?? texts.map((_, i) => i);
const { train } = splitRows({ labels, groups, seed: 0, fractions: { train: 0.7, test: 0.3 } });

console.log(`${hookPoint}: ${acts.neurons} neurons, ${train.length} training texts, ${values.loss} loss`);
console.log("feature  k   heuristic    optimal      bound      gap  nodes  seconds  over     neurons");
const features = values.features?.split(",") ?? [...new Set(labels)].sort();
for (const feature of features) {
  const results = await findOptimalSupports(acts, labels, values.ks.split(",").map(Number), {
    loss: values.loss as "logistic" | "hinge",
    positive: feature,
    rows: train,
    timeLimit: Number(values["time-limit"]),
    backend,
  });
  for (const {
    k,
    heuristics,
    objective,
    lowerBound,
    relativeGap,
    nodes,
    seconds,
    scope,
    support,
  } of results) {
    const start = heuristics.find(({ name }) => name === "mean-difference")!;
    const over = scope.undecided.length === 0 ? `${scope.neurons}` : `${scope.candidates.length}`;
    console.log(
      [
        String(feature).padEnd(7),
        `${k}`.padStart(2),
        start.objective.toFixed(4).padStart(11),
        objective.toFixed(4).padStart(10),
        lowerBound.toFixed(4).padStart(10),
        relativeGap.toExponential(0).padStart(8),
        `${nodes}`.padStart(6),
        seconds.toFixed(2).padStart(8),
        ` ${over.padEnd(7)}`,
        support.join(" "),
      ].join(" "),
    );
  }
}
model.dispose();
backend.dispose();
