import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { HookPoint, TokenBatch, TransformerSpec } from "../../src/backends/backend.ts";
import { loadCpuTransformer, type CpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import type { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { readModelConfig } from "../../src/model/config.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { fileSource, openTensorFolder } from "../../src/node/files.ts";
import { loadModelFolder } from "../../src/node/model.ts";

export const FOLDERS = ["parallel", "sequential", "relu"] as const;
export type Folder = (typeof FOLDERS)[number];

export const fixturePath = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/model/${name}`, import.meta.url));

export function fixtureJson(name: string): unknown {
  return JSON.parse(readFileSync(fixturePath(name), "utf8")) as unknown;
}

export function fixtureSpec(folder: Folder): TransformerSpec {
  return readModelConfig(fixtureJson(`${folder}/config.json`)).spec;
}

export async function loadFixture(folder: Folder): Promise<LanguageModel> {
  return loadModelFolder(fixturePath(folder), createCpuBackend());
}

/** A fixture whose embeddings are not tied, on the kernels asked for. */
export async function loadTransformer(
  folder: "parallel" | "sequential",
  kernels: "wasm" | "javascript",
  pool?: KernelPool,
): Promise<CpuTransformer> {
  const weights = await openTensorFolder(fixturePath(folder));
  try {
    return await loadCpuTransformer(fixtureSpec(folder), weights, { kernels, pool });
  } finally {
    await weights.close();
  }
}

export interface Golden {
  readonly batch: TokenBatch;
  readonly points: ReadonlyMap<HookPoint, Float32Array>;
  /** Of each sequence's last token; of the families' checkpoints, of every token. */
  readonly logits: Float32Array;
  /** Of each token but a sequence's first, where the file has them. */
  readonly losses: Float32Array;
}

export async function readGolden(folder: Folder): Promise<Golden> {
  return readGoldenFile(fixturePath(`${folder}/golden.safetensors`));
}

export async function readGoldenFile(path: string): Promise<Golden> {
  const source = await fileSource(path);
  try {
    const file = await openSafetensors(source);
    const read = async (name: string) => (await file.read(name)).data;
    const points = new Map<HookPoint, Float32Array>();
    for (const name of file.tensors.keys()) {
      if (name.startsWith("blocks.")) points.set(name as HookPoint, await read(name));
    }
    return {
      batch: {
        tokens: Uint32Array.from(await read("tokens")),
        offsets: Uint32Array.from(await read("offsets")),
      },
      points,
      logits: await read("logits"),
      losses: file.tensors.has("losses") ? await read("losses") : new Float32Array(),
    };
  } finally {
    await source.close();
  }
}

/** Sequence s of a batch on its own. */
export function sequence(batch: TokenBatch, s: number): TokenBatch {
  const tokens = batch.tokens.slice(batch.offsets[s], batch.offsets[s + 1]);
  return { tokens, offsets: Uint32Array.of(0, tokens.length) };
}

/**
 * Largest difference as a share of the allowed one. Two float32 evaluations of a network of these sizes differ by a
 * few units of rounding (2^-24) for each of the ~10 roundings in a row that a value goes through, relative to the
 * largest value of the tensor, since sums cancel: 2e-6 of it per layer norm in depth is allowed five times over.
 */
export function worstShare(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]));
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const share = Math.abs(got[i] - want[i]) / (1e-5 * largest);
    if (!(share <= worst)) worst = share;
  }
  return worst;
}
