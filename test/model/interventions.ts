/** What torch makes of changed activations on the committed checkpoints. */
import { readFileSync } from "node:fs";
import type { Intervention, TokenBatch } from "../../src/backends/backend.ts";
import { FAMILIES, type Family } from "./families.ts";
import { FOLDERS, type Folder } from "./fixtures.ts";

export type Checkpoint = Family | Folder;
export const CHECKPOINTS: readonly Checkpoint[] = [...FAMILIES, ...FOLDERS];

export const isFamily = (name: Checkpoint): name is Family => (FAMILIES as readonly string[]).includes(name);

export interface ChangedLosses {
  /** Of each token but a sequence's first. */
  readonly losses: readonly number[];
  readonly withoutFirstMlp: readonly number[];
  readonly cases: Readonly<
    Record<string, { readonly interventions: readonly Intervention[]; readonly losses: readonly number[] }>
  >;
}

const results = JSON.parse(
  readFileSync(new URL("../fixtures/interventions.json", import.meta.url), "utf8"),
) as Record<Checkpoint, ChangedLosses>;

export const changedLosses = (name: Checkpoint): ChangedLosses => results[name];

/** Losses without those that first tokens do not have. */
export function lossesOf({ offsets }: TokenBatch, losses: Float32Array): number[] {
  for (const first of offsets.subarray(0, -1))
    if (losses[first] !== 0) throw new Error("A first token has a loss.");
  return Array.from(losses).filter((_, t) => !offsets.includes(t));
}
