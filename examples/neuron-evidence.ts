/**
 * What do the bundled model's language neurons respond to, what do they write, and does the model need them? The case study of
 * Gurnee et al. (2023) in small. `npm run build`, then
 * `npx tsx --tsconfig tsconfig.examples.json examples/neuron-evidence.ts`.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  logitEffects,
  measureAblation,
  neuronEvidence,
  probeTexts,
  readLabelledTexts,
  weightStatistics,
} from "sparseprobe";
import { createBackend, loadModelFolder } from "sparseprobe/node";
import {
  describeDisambiguation,
  describeEffect,
  describeExamples,
  describeWeights,
  drawHistograms,
} from "./support/describe-neuron.ts";

const { values } = parseArgs({
  options: {
    /** Sets of random neurons that each ablation is compared with. */
    controls: { type: "string", default: "9" },
    /** Languages whose neuron is ablated, with commas between. Default: all of them. */
    ablate: { type: "string" },
  },
});
const started = performance.now();
const backend = await createBackend("cpu");
try {
  const model = await loadModelFolder(resolve(import.meta.dirname, "model/haystack-4m"), backend);
  const path = resolve(import.meta.dirname, "data/natural-language.jsonl");
  const data = readLabelledTexts(await readFile(path, "utf8"));

  // 1. The best neuron of each language, token by token: chosen on some documents, scored on others.
  const { chosen, split } = await probeTexts(model, data, {
    ks: [1],
    skipFirst: 1,
    seed: 0,
  });
  const neurons = chosen.map(({ feature, layer, neurons: [neuron] }) => ({
    layer,
    neuron,
    positive: feature,
  }));

  // 2. What they respond to, on documents that had no part in choosing them.
  const held = split.test.texts;
  const evidence = await neuronEvidence(
    model,
    held.map((i) => data.texts[i]),
    {
      neurons,
      labels: held.map((i) => data.labels[i]),
      groups: data.docs && held.map((i) => data.docs![i]),
      skipFirst: 1,
      top: 5,
    },
  );

  // 3. How they are wired, read from the checkpoint.
  const layers = await weightStatistics(model);
  const effects = await logitEffects(model, neurons);

  console.log(
    `${evidence.texts} held-out texts, ${evidence.rows} tokens; tokens are shown as own mean/others' mean`,
  );
  for (const [i, of] of evidence.neurons.entries()) {
    const { feature, test, probe } = chosen[i];
    console.log(
      `\n${feature}: L${of.layer} N${of.neuron}${probe.scores[0] < 0 ? ", lower on its language" : ""}; ` +
        `held-out F1 ${test.f1?.toFixed(2) ?? "–"}, AUC ${test.rocAuc?.toFixed(2) ?? "–"}`,
    );
    for (const line of [
      ...drawHistograms(of, feature),
      ...describeDisambiguation(of, 6),
      "  largest activations:",
      ...describeExamples(of.top, 5),
      describeWeights(layers[of.layer], of.neuron),
      ...describeEffect(effects[i], 6),
    ]) {
      console.log(line);
    }
  }
  console.log("\n‖W_in‖·b_in, median by layer, norms folded in:");
  for (const { layer, summary } of layers) {
    const { q05, median, q95 } = summary.folded["input.normTimesBias"];
    console.log(
      `  layer ${layer}   ${median.toFixed(2)}   (5 … 95 %: ${q05.toFixed(2)} … ${q95.toFixed(2)})`,
    );
  }

  // 4. Whether the model needs them: held-out texts with the neuron at its mean over them, by language.
  console.log(
    "\nThe neuron at its mean: change of the loss in nats a token, 95 % interval by document; p among random neurons of equal scale",
  );
  console.log("           on its own language                 on the others                       p");
  const nats = (value: number | null): string => ((value ?? 0) < 0 ? "" : "+") + (value?.toFixed(4) ?? "–");
  const ablated = values.ablate?.split(",");
  for (const { layer, neuron, positive } of neurons) {
    if (ablated && !ablated.includes(positive)) continue;
    const { classes } = await measureAblation(
      model,
      held.map((i) => data.texts[i]),
      {
        hookPoint: `blocks.${layer}.mlp.hook_post`,
        neurons: [neuron],
        how: "mean",
        classes: held.map((i) => (data.labels[i] === positive ? positive : "others")),
        groups: data.docs && held.map((i) => data.docs![i]),
        controls: { draws: Number(values.controls) },
      },
    );
    const cells = [positive, "others"].map((name) => {
      const { estimate, low, high } = classes.find((row) => row.class === name)!.effect;
      return `${nats(estimate)} (${nats(low)} … ${nats(high)})`.padEnd(36);
    });
    const { contrast } = classes.find((row) => row.class === positive)!.controls ?? {};
    console.log(
      `${positive} ${`L${layer} N${neuron}`.padEnd(8)} ${cells.join("")}${contrast?.pValue?.toFixed(2) ?? "–"}`,
    );
  }
  model.dispose();
} finally {
  backend.dispose();
}
console.log(`\nAll of it: ${((performance.now() - started) / 1000).toFixed(1)} s.`);
