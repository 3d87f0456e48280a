/** Tokenizers and rows for the tests of text categories. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

export const readText = (name: string): string => readFileSync(path(name), "utf8");

export function bundledTokenizer(): Promise<Tokenizer> {
  return Tokenizer.fromJson(JSON.parse(readText("examples/model/haystack-4m/tokenizer.json")));
}

/** The bundled tokenizer, one that writes spaces as ▁ without cutting at words first, and one that composes characters. */
export async function threeTokenizers(): Promise<[name: string, tokenizer: Tokenizer][]> {
  const fixtures = JSON.parse(readText("test/fixtures/tokenizers.json")) as { name: string; json: unknown }[];
  const others = fixtures.filter(({ name }) => name === "Llama 2" || name === "Qwen");
  return [
    ["bundled", await bundledTokenizer()],
    ...(await Promise.all(
      others.map(async ({ name, json }): Promise<[string, Tokenizer]> => [
        name,
        await Tokenizer.fromJson(json),
      ]),
    )),
  ];
}

/** Bundled documents. */
export function documents(name: string): { texts: string[]; groups: string[] } {
  const lines = readText(`examples/data/${name}`)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { text: string; doc: string });
  return { texts: lines.map(({ text }) => text), groups: lines.map(({ doc }) => doc) };
}

/** What a feature says of every row, by the text of the row's tokens; rows without a label are left out. */
export function labelled(
  dataset: FeatureDataset,
  feature: string,
  tokenizer: Tokenizer,
): { token: string; label: number; passage: string }[] {
  const { rows, passages, labels } = dataset;
  const own = labels.of(labels.features.indexOf(feature));
  return [...own.entries()]
    .filter(([, label]) => label !== 255)
    .map(([row, label]) => {
      const { tokens, text } = passages[rows.passage[row]];
      const positions = rows.positions.subarray(rows.offsets[row], rows.offsets[row + 1]);
      return {
        token: Array.from(positions, (position) => tokenizer.tokenText(tokens[position])).join(""),
        label,
        passage: text,
      };
    });
}
