/** The committed checkpoints of every family, and torch's results on them. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { TransformerSpec } from "../../src/backends/backend.ts";
import { readModelConfig } from "../../src/model/config.ts";
import { readGoldenFile, type Golden } from "./fixtures.ts";

export const FAMILIES = [
  "gpt2",
  "llama",
  "llama-biases",
  "mistral",
  "qwen2",
  "qwen3",
  "gemma2",
  "gemma3",
  "phi",
  "phi3",
] as const;
export type Family = (typeof FAMILIES)[number];

export const familyPath = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/families/${name}`, import.meta.url));

export function familyConfig(family: Family): Record<string, unknown> {
  return JSON.parse(readFileSync(familyPath(`${family}/config.json`), "utf8")) as Record<string, unknown>;
}

export function familySpec(family: Family): TransformerSpec {
  return readModelConfig(familyConfig(family)).spec;
}

export async function familyGolden(family: Family): Promise<Golden> {
  return readGoldenFile(familyPath(`${family}/golden.safetensors`));
}
