/** A checkpoint split into several safetensors files. */
import type { TensorSource } from "../data/tensor.ts";
import type { ByteSource, ReadOptions } from "./byte-source.ts";

/**
 * Opens the shards that an index names. Only their headers are read, each once; tensors are read on demand. Tensors
 * that a shard holds and the index does not name are left out.
 *
 * @param indexJson text of `model.safetensors.index.json`
 * @param open opens a file next to the index; called once per shard, with a plain file name
 * @throws FormatError when the index or a shard is damaged, or a file name points elsewhere
 * @throws MissingTensorError when a shard lacks a tensor that the index promises
 */
export async function openShardedSafetensors(
  indexJson: string,
  open: (fileName: string) => Promise<ByteSource>,
  options: ReadOptions = {},
): Promise<TensorSource> {
  const { openShards } = await import("./shards.ts");
  return openShards(indexJson, open, options);
}
