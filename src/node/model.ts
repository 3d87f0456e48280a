/** Models from folders, for Node. */
import { readFile, stat } from "node:fs/promises";
import { totalmem } from "node:os";
import { basename, join, resolve } from "node:path";
import type { Backend } from "../backends/backend.ts";
import type { TensorSource } from "../data/tensor.ts";
import { FormatError } from "../errors.ts";
import { loadModel, type LanguageModel, type LoadModelOptions } from "../model/language-model.ts";
import type { ModelFiles } from "../model/model-files.ts";
import { openTensorFolder, type Closable } from "./files.ts";

/**
 * Loads a model from a folder in Hugging Face's layout: `config.json`, `tokenizer.json`, and `model.safetensors` or
 * shards with their index. The model is named after the folder unless `options.name` says otherwise.
 *
 * @example
 * const model = await loadModelFolder("examples/model/haystack-4m", await createBackend("auto"));
 *
 * @throws FormatError when the folder or a file is missing or damaged
 * @throws UnsupportedModelError for an architecture or variant that is not implemented
 * @throws MissingTensorError when the checkpoint does not fit its config
 */
export async function loadModelFolder(
  folder: string,
  backend: Backend,
  options: LoadModelOptions = {},
): Promise<LanguageModel> {
  const files = await openModelFolder(folder);
  try {
    return await loadModel(files, backend, {
      ...options,
      hostMemory: options.hostMemory ?? machineMemory(),
      name: options.name ?? basename(resolve(folder)),
    });
  } finally {
    await files.close();
  }
}

/**
 * The files of a model's folder, for `estimateModelMemory`. Close them when done.
 * @throws FormatError when there is no such folder
 */
export async function openModelFolder(folder: string): Promise<ModelFiles & Closable> {
  await assertFolder(folder);
  let weights: Promise<TensorSource & Closable> | undefined;
  return {
    json: (name) => readJson(join(folder, name), name !== "tokenizer_config.json"),
    tensors: () => (weights ??= openTensorFolder(folder)),
    reopen: () => openTensorFolder(folder),
    close: async () => {
      const opened = await weights?.catch(() => undefined);
      await opened?.close();
    },
  };
}

/** Bytes that this process may have: the machine's, or its container's. */
export function machineMemory(): number {
  // 0 or an enormous number where nothing limits it.
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

async function assertFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new FormatError(
    `There is no folder ${folder}.`,
    "Give a folder with config.json, tokenizer.json and model.safetensors.",
  );
}

async function readJson(path: string, required: boolean): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (!required && (cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new FormatError(`${path} cannot be read.`, "A model folder needs config.json and tokenizer.json.", {
      cause,
    });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`${path} is not JSON: ${String(cause)}.`, "Download the file again.", { cause });
  }
}
