/** Every category of texts through the bundled model: texts to dataset to activations to a probe, on held-out documents. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { UNLABELLED } from "../../src/data/labels.ts";
import { splitRows } from "../../src/data/splits.ts";
import { compoundWordDataset } from "../../src/datasets/compound-words.ts";
import { factDataset } from "../../src/datasets/facts.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { LATEX_FEATURES } from "../../src/datasets/latex-scanner.ts";
import { latexDataset } from "../../src/datasets/latex.ts";
import { readPeople } from "../../src/datasets/people.ts";
import { TEXT_FEATURES } from "../../src/datasets/text-feature-predicates.ts";
import { textFeatureDataset } from "../../src/datasets/text-features.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
const read = (name: string): string => readFileSync(example(`data/${name}`), "utf8");

function documents(name: string): { texts: string[]; groups: string[] } {
  const lines = read(name)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { text: string; doc: string });
  return { texts: lines.map(({ text }) => text), groups: lines.map(({ doc }) => doc) };
}

let model: LanguageModel;
beforeAll(async () => {
  model = await loadModelFolder(example("model/haystack-4m"), createCpuBackend());
});

/** MCC on held-out documents of the best of some layers' probes, for a feature. */
async function probe(dataset: FeatureDataset, features: readonly string[]): Promise<Record<string, number>> {
  const hookPoints = ["blocks.0.mlp.hook_post", "blocks.2.mlp.hook_post"] as const;
  const rows = TokenRows.ofDataset(model, dataset);
  const captured = await captureActivations(model, rows, { hookPoints });
  const result: Record<string, number> = {};
  for (const feature of features) {
    const own = dataset.labels.of(dataset.labels.features.indexOf(feature));
    const used = [...own.keys()].filter((row) => own[row] !== UNLABELLED);
    const groups = rows.groups();
    const parts = splitRows({
      labels: used.map((row) => own[row]),
      groups: used.map((row) => groups[row]),
      seed: 0,
      fractions: { train: 0.7, test: 0.3 },
    });
    result[feature] = -1;
    for (const hookPoint of hookPoints) {
      const acts = captured.get(hookPoint)!.selectRows(used);
      const labels = Uint8Array.from(used, (row) => own[row]);
      const train = acts.selectRows(parts.train);
      const fitted = await SparseProbe.fit(
        train,
        Array.from(parts.train, (i) => labels[i]),
        8,
      );
      const { mcc } = fitted.evaluate(
        acts.selectRows(parts.test),
        Array.from(parts.test, (i) => labels[i]),
      );
      result[feature] = Math.max(result[feature], mcc ?? -1);
    }
  }
  return result;
}

describe("text categories on the bundled model", () => {
  it("text features", async () => {
    const { texts, groups } = documents("code-language.jsonl");
    const dataset = await textFeatureDataset(texts, model.tokenizer, { groups, sampling: { maxRows: 2000 } });
    console.log(dataset.report, await probe(dataset, dataset.labels.features), Object.keys(TEXT_FEATURES));
  });
  it("compound words", async () => {
    const { texts, groups } = documents("compound-words.jsonl");
    const dataset = await compoundWordDataset(texts, model.tokenizer, {
      groups,
      sampling: { positiveShare: 0.34 },
    });
    console.log(JSON.stringify(dataset.report), await probe(dataset, dataset.labels.features));
  });
  it("latex", async () => {
    const { texts, groups } = documents("latex.jsonl");
    const dataset = await latexDataset(texts, model.tokenizer, { groups, sampling: { maxRows: 2000 } });
    console.log(
      JSON.stringify(dataset.report),
      await probe(dataset, dataset.labels.features),
      LATEX_FEATURES,
    );
  });
  it("facts", async () => {
    const { texts } = documents("people.jsonl");
    const people = readPeople(read("people.csv"));
    const dataset = await factDataset(texts, people, model.tokenizer, { sampling: { positiveShare: 0.5 } });
    console.log(JSON.stringify(dataset.report), await probe(dataset, dataset.labels.features));
  });
});
