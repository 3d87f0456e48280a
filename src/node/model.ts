/** Models from folders, for Node. */
import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Backend } from "../backends/backend.ts";
import type { TensorSource } from "../data/tensor.ts";
import { FormatError } from "../errors.ts";
import { loadModel, type LanguageModel, type LoadModelOptions } from "../model/language-model.ts";
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
  await assertFolder(folder);
  let weights: (TensorSource & Closable) | undefined;
  try {
    return await loadModel(
      {
        json: (name) => readJson(join(folder, name), name !== "tokenizer_config.json"),
        async tensors() {
          weights = await openTensorFolder(folder);
          return weights;
        },
        reopen: () => openTensorFolder(folder),
      },
      backend,
      { ...options, name: options.name ?? basename(resolve(folder)) },
    );
  } finally {
    await weights?.close();
  }
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
