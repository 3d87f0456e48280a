/** Datasets as files, for Node. */
import { readFile } from "node:fs/promises";
import { readDataset, writeDataset } from "../datasets/dataset-file.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import { FormatError } from "../errors.ts";
import { openFileSink } from "./files.ts";

/** Characters that are written at once. */
const BLOCK = 2 ** 20;

/**
 * Writes a dataset to one file in JSON Lines, which is there only when it is complete.
 * @throws OptionError when the folder does not exist or may not be written to
 */
export async function saveDataset(
  path: string,
  dataset: FeatureDataset,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const file = await openFileSink(path);
  const encoder = new TextEncoder();
  try {
    let block: string[] = [];
    let size = 0;
    const write = async (): Promise<void> => {
      options.signal?.throwIfAborted();
      await file.write(encoder.encode(block.join("")));
      block = [];
      size = 0;
    };
    for (const line of writeDataset(dataset)) {
      block.push(line);
      size += line.length;
      if (size >= BLOCK) await write();
    }
    await write();
    await file.commit();
  } finally {
    await file.discard();
  }
}

/**
 * Reads a dataset that {@link saveDataset} wrote.
 * @throws FormatError when the file does not exist, may not be read, or is not such a dataset
 */
export async function loadDataset(
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<FeatureDataset> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path, options));
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new FormatError(
      `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
      "Give the path of a file that saveDataset wrote.",
      { cause },
    );
  }
  return readDataset(text, options);
}
