/** How much memory a model will take, before it is loaded or fetched. */
import type { BackendInfo, CallOptions, WeightStorage } from "../backends/backend.ts";
import type { MemoryLimits, ModelFiles, ModelMemory } from "./model-files.ts";

/**
 * What a model will take on a backend, from its config and the headers of its weights: of a model on a hub, some hundred
 * kilobytes are fetched. Matrices are kept as `options.weights` says on a GPU, all other weights as float32. Activations and the working memory of a pass come on top: they depend on
 * what is asked for.
 *
 * @param files a model on a hub (`openHubModel`), in a folder (`openModelFolder` of `sparseprobe/node`), or of your own
 * @param kind as in `backend.info.kind`
 */
export async function estimateModelMemory(
  files: ModelFiles,
  kind: BackendInfo["kind"],
  options: CallOptions & MemoryLimits & { readonly weights?: WeightStorage | undefined } = {},
): Promise<ModelMemory> {
  const { estimateMemory } = await import("./model-memory.ts");
  return estimateMemory(files, kind, options);
}
