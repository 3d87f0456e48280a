/**
 * Which neuron of the bundled model tells JavaScript, and how sure is that? `npm run build`, then
 * `npx tsx --tsconfig tsconfig.examples.json examples/honest-statistics.ts`.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  captureActivations,
  crossValidate,
  permutationTest,
  permutationTestScore,
  probeControls,
  readLabelledTexts,
  selectAndTest,
  supportStability,
  type HookPoint,
  type MetricName,
} from "sparseprobe";
import { createBackend, loadModelFolder } from "sparseprobe/node";

const FEATURE = "javascript";
const METRICS: readonly MetricName[] = ["f1", "mcc", "rocAuc", "averagePrecision", "logLoss"];
const started = performance.now();
const number = (value: number | null | undefined, digits = 3): string =>
  value?.toFixed(digits) ?? "undefined";

const backend = await createBackend("cpu");
try {
  // 1. Real activations: the mean over each text, of every MLP layer. Texts of one topic are one document.
  const model = await loadModelFolder(resolve(import.meta.dirname, "model/haystack-4m"), backend);
  const path = resolve(import.meta.dirname, "data/code-language.jsonl");
  const { texts, labels, docs } = readLabelledTexts(await readFile(path, "utf8"));
  const hookPoints = Array.from(
    { length: model.spec.layers },
    (_, layer): HookPoint => `blocks.${layer}.mlp.hook_post`,
  );
  const layers = await captureActivations(model, texts, {
    hookPoints,
    aggregation: "mean",
    skipFirst: 1,
    groups: docs,
  });
  const common = { backend, positive: FEATURE, seed: 0 };
  console.log(
    `${texts.length} texts, of which ${labels.filter((l) => l === FEATURE).length} are "${FEATURE}"`,
  );

  // 2. Layer, k and C are chosen on validation texts; test texts report once.
  const ks = [1, 2, 4, 8];
  const Cs = [0.01, 0.1, 1];
  const study = await selectAndTest(layers, labels, ks, { ...common, Cs });
  const { chosen, split, test } = study;
  const point = chosen.activations as HookPoint;
  const x = layers.get(point)!;
  console.log(
    `\nChosen on ${split.validation.length} validation texts out of ${study.considered} candidates: ` +
      `${point}, k ${chosen.k}, C ${chosen.C}, neurons ${chosen.support.join(" ")} (F1 ${number(chosen.validation.f1)})`,
  );
  console.log(
    `\nOn ${split.test.length} test texts of ${test.units} documents, with 95 % intervals by document:`,
  );
  for (const name of METRICS) {
    const { estimate, low, high } = test.metrics[name];
    console.log(`  ${name.padEnd(17)} ${number(estimate)}   ${number(low)} … ${number(high)}`);
  }

  // 3. What a 5-fold cross-validation on the other texts says about k and C.
  const rows = [...split.train, ...split.validation];
  const folds = await crossValidate(x, labels, ks, { ...common, Cs, rows, rule: "one-standard-error" });
  console.log(`\n${folds.folds.length}-fold cross-validation of ${point}, F1 ± standard error:`);
  for (const k of ks) {
    const cells = folds.rows
      .filter((row) => row.k === k)
      .map((row) => `C ${row.C}: ${number(row.mean)} ± ${number(row.standardError)}`);
    console.log(`  k ${k}   ${cells.join("   ")}`);
  }
  console.log(`  simplest within one standard error: k ${folds.chosen?.k}, C ${folds.chosen?.C}`);

  // 4. Probes that should know nothing.
  const held = { train: split.train, test: split.validation };
  const controls = await probeControls(x, labels, ks, { ...common, split: held, draws: 40, scheme: "rows" });
  console.log("\nF1 on validation texts   probe   shuffled labels   random neurons   selectivity (p)");
  for (const row of controls.rows) {
    const shuffled = row.controls["shuffled-labels"].selectivity.f1;
    const random = row.controls["random-support"].selectivity.f1;
    console.log(
      `  k ${String(row.k).padEnd(21)} ${number(shuffled.probe)}   ${number(shuffled.controlMean).padEnd(15)}   ` +
        `${number(random.controlMean).padEnd(14)}   ${number(shuffled.selectivity)} (${number(shuffled.pValue)})`,
    );
  }

  // 5. How many neurons tell the classes apart, out of all that were looked at? Labels change places within documents.
  const train = { ...common, rows: split.train };
  const tests = await permutationTest(x, labels, { ...train, permutations: 999 });
  const count = (values: Float64Array): number => values.filter((value) => value <= 0.05).length;
  console.log(
    `\n${x.neurons} neurons of ${point}, ${tests.permutations} permutations ${tests.scheme}: ` +
      `${count(tests.pValues)} with p ≤ 0.05, ${count(tests.qValues)} at a false discovery rate of 5 %, ` +
      `${count(tests.adjustedPValues)} with any false one in 5 % of experiments`,
  );
  const whole = await permutationTestScore(x, labels, chosen.k, { ...common, rows, C: chosen.C });
  console.log(`The whole probe, selection and all: F1 ${number(whole.score)}, p ${number(whole.pValue)}`);

  // 6. Would other documents have chosen the same neurons?
  const { rows: stability } = await supportStability(x, labels, ks, train);
  console.log("\nRandom halves of the training documents:");
  for (const { k, support, jaccard, stability: value, low, high } of stability) {
    const shares = support.slice(0, 4).map(({ neuron, frequency }) => `${neuron}: ${number(frequency, 2)}`);
    console.log(
      `  k ${k}   stability ${number(value, 2)} (${number(low, 2)} … ${number(high, 2)}), Jaccard ${number(jaccard, 2)}, ` +
        `chosen ${shares.join(", ")}${support.length > 4 ? " …" : ""}`,
    );
  }
  model.dispose();
} finally {
  backend.dispose();
}
console.log(`\nAll of it: ${((performance.now() - started) / 1000).toFixed(1)} s.`);
