/** Small studies for the tests of this folder. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { Backend, HookPoint } from "../../src/backends/backend.ts";
import type { Activations } from "../../src/data/activations.ts";
import { assembleDataset } from "../../src/datasets/assemble-dataset.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { readLabelledTexts } from "../../src/datasets/texts.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import type { Tokenizer } from "../../src/model/tokenizer.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import type { SweepActivations } from "../../src/sweeps/sweep-study.ts";
import { sweep } from "../../src/sweeps/sweep.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");

export function loadBundledModel(backend: Backend = createCpuBackend()): Promise<LanguageModel> {
  return loadModelFolder(resolve(EXAMPLES, "model/haystack-4m"), backend);
}

/** The bundled texts of a kind, one row per text, a feature per class. */
export function bundledDataset(
  tokenizer: Tokenizer,
  kind: "natural-language" | "code-language",
  texts = Infinity,
): Promise<FeatureDataset> {
  const read = readLabelledTexts(readFileSync(resolve(EXAMPLES, `data/${kind}.jsonl`), "utf8"));
  // Every few texts, so that all classes are there.
  const step = Math.max(1, Math.floor(read.texts.length / texts));
  const chosen = read.texts.flatMap((text, i) =>
    i % step === 0 ? [{ text, label: String(read.labels[i]), group: read.docs![i] }] : [],
  );
  const passages = chosen.map(({ text, group }) => ({ text, group, tokens: tokenizer.encode(text) }));
  const classes = [...new Set(chosen.map(({ label }) => label))].sort();
  return assembleDataset({
    name: kind,
    category: kind,
    tokenizer,
    aggregation: "mean",
    passages,
    candidates: passages.map(({ tokens }, passage) => ({
      passage,
      positions: Array.from({ length: tokens.length - 1 }, (_, i) => i + 1),
    })),
    labels: new Map(
      classes.map((name) => [name, Uint8Array.from(chosen, ({ label }) => (label === name ? 1 : 0))]),
    ),
  });
}

/** Own activations at some hook points, rows in documents of three. */
export function ownActivations(
  seed: number,
  { rows = 300, neurons = 24, features = 2, points = 2, name = "own" } = {},
): SweepActivations {
  const activations = new Map<HookPoint, Activations>();
  for (let layer = 0; layer < points; layer++) {
    activations.set(`blocks.${layer}.mlp.hook_post`, randomActivations(seed + layer, rows, neurons));
  }
  const [first] = activations.values();
  return {
    name,
    activations,
    labels: randomLabels(seed, first, features),
    groups: Array.from({ length: rows }, (_, i) => Math.floor(i / 3)),
  };
}

export async function collect(rows: AsyncIterable<SweepRow>): Promise<SweepRow[]> {
  const out: SweepRow[] = [];
  for await (const row of rows) out.push(row);
  return out;
}

export async function sweepAll(...given: Parameters<typeof sweep>): Promise<SweepRow[]> {
  return collect(sweep(...given));
}

/** Rows without the one field that differs between equal runs. */
export function timeless(rows: readonly SweepRow[]): SweepRow[] {
  return rows.map((row) => ({ ...row, seconds: null }));
}
