/** A checkpoint split into several safetensors files, with an index that says which tensor lies in which; the work of `openShardedSafetensors`. */
import type { Tensor, TensorInfo, TensorSource } from "../data/tensor.ts";
import { FormatError, MissingTensorError } from "../errors.ts";
import type { ByteSource, ReadOptions } from "./byte-source.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors.ts";

const REMEDY = "Download the checkpoint's index file again.";

/** Shards whose headers are fetched at the same time. */
const CONCURRENT = 8;

export async function openShards(
  indexJson: string,
  open: (fileName: string) => Promise<ByteSource>,
  options: ReadOptions,
): Promise<TensorSource> {
  const shardOf = readWeightMap(indexJson);
  const fileNames = [...new Set(shardOf.values())];
  const files = new Map<string, SafetensorsFile>();
  for (let i = 0; i < fileNames.length; i += CONCURRENT) {
    options.signal?.throwIfAborted();
    const opened = fileNames.slice(i, i + CONCURRENT).map(async (fileName) => {
      files.set(fileName, await openSafetensors(await open(fileName), options));
    });
    // All must settle before an error is thrown, so that a caller who closes what it opened misses none.
    for (const result of await Promise.allSettled(opened)) {
      if (result.status === "rejected") throw result.reason;
    }
  }

  const tensors = new Map<string, TensorInfo>();
  for (const [name, fileName] of shardOf) {
    const info = files.get(fileName)!.tensors.get(name);
    if (!info) {
      throw new MissingTensorError(
        `The index places tensor ${JSON.stringify(name)} in ${fileName}, which does not have it.`,
        "The files belong to different checkpoints: download the index and all shards together.",
      );
    }
    tensors.set(name, info);
  }
  return {
    tensors,
    async read(name: string, readOptions: ReadOptions = {}): Promise<Tensor> {
      const fileName = shardOf.get(name);
      if (fileName !== undefined) return files.get(fileName)!.read(name, readOptions);
      throw new MissingTensorError(
        `The checkpoint has no tensor ${JSON.stringify(name)}.`,
        `It has ${tensors.size} tensors: ${[...tensors.keys()].slice(0, 8).join(", ")}${tensors.size > 8 ? ", …" : ""}.`,
      );
    },
  };
}

/**
 * File names by tensor name.
 * @throws FormatError when the index is damaged, or a file name points elsewhere
 */
export function readWeightMap(indexJson: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(indexJson);
  } catch (cause) {
    throw new FormatError("The safetensors index is not valid JSON.", REMEDY, { cause });
  }
  const map = isObject(index) && Object.hasOwn(index, "weight_map") ? index["weight_map"] : undefined;
  if (!isObject(map) || Object.keys(map).length === 0) {
    throw new FormatError("The safetensors index has no weight_map from tensor names to file names.", REMEDY);
  }
  const shardOf = new Map<string, string>();
  for (const [name, fileName] of Object.entries(map)) {
    if (typeof fileName !== "string" || !isPlainFileName(fileName) || name === "__proto__") {
      throw new FormatError(
        `The safetensors index maps ${JSON.stringify(name)} to ${JSON.stringify(fileName)}.`,
        'Only plain file names that end in ".safetensors" are followed: do not use an index from a source that you do not trust.',
      );
    }
    shardOf.set(name, fileName);
  }
  return shardOf;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A name that stays in its folder on every system, and in its path in a URL: no separators, drives or escapes. */
function isPlainFileName(name: string): boolean {
  return /^[\w-][\w.+ -]{0,200}\.safetensors$/.test(name) && !name.includes("..");
}
