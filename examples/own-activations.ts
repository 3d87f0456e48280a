/** Probing a matrix of your own: `npm run build`, then `npx tsx --tsconfig tsconfig.examples.json` and this file. */
import { Random, SparseProbe, splitRows } from "sparseprobe";

// 1. Activations [rows × neurons], labels and documents. Here: noise, with a feature planted in neurons 7 and 41.
const [rows, neurons] = [600, 512];
const random = new Random(7, "example");
const labels = Array.from({ length: rows }, () => random.uniform() < 0.3);
const documents = labels.map((_, row) => Math.floor(row / 4));
const data = Float32Array.from({ length: rows * neurons }, () => 2 * random.uniform() - 1);
for (const row of labels.keys()) {
  if (!labels[row]) continue;
  data[row * neurons + 7] -= 0.8;
  data[row * neurons + 41] += 1;
}
const activations = { data, shape: [rows, neurons] };

// 2. Rows of one document stay on one side.
const fractions = { train: 0.7, test: 0.3 };
const { train, test } = splitRows({ labels, groups: documents, seed: 0, fractions });

// 3. One probe per k, fitted on the training rows and scored on the others.
for (const k of [1, 2, 3, 5, 10]) {
  const probe = await SparseProbe.fit(activations, labels, k, { rows: train });
  const { f1, rocAuc } = probe.evaluate(activations, labels, { rows: test });
  console.log(`k ${k}: F1 ${f1?.toFixed(3)}, AUC ${rocAuc?.toFixed(3)}, neurons ${probe.support.join(" ")}`);
}
