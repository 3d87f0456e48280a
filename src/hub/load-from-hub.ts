/** Models by their name on a hub. */
import type { Backend } from "../backends/backend.ts";
import { loadModel, type LanguageModel } from "../model/language-model.ts";
import type { HubModel, HubOptions, LoadFromHubOptions } from "./hub-options.ts";

/**
 * Opens a model on a hub at one commit; nothing but its config's headers is fetched. For `loadModel`, which fetches what it
 * needs, and for `estimateModelMemory`, which needs little. Verified files are kept in the browser's Cache Storage under
 * `"sparseprobe"`; an engine without one keeps them in memory. In Node use the function of the same name of
 * `sparseprobe/node`, which keeps them on disk.
 *
 * @param name `organisation/model`
 * @throws HubError when the hub has no such model or revision, or does not let it be read; see `reason`
 * @throws OptionError when the name, the revision, the token or the endpoint cannot be one
 */
export async function openHubModel(name: string, options: HubOptions = {}): Promise<HubModel> {
  const [{ openModel }, { ChunkStore, openBlobCache }] = await Promise.all([
    import("./hub-model.ts"),
    import("./chunk-store.ts"),
  ]);
  return openModel(
    name,
    options,
    async (client) => new ChunkStore(await openBlobCache(), `${client.endpoint}/${client.name}`),
  );
}

/**
 * Loads a model by its name on a hub: safetensors weights, in one file or in shards. Downloads go on where they were cut
 * off and are verified before they count. The model is named `organisation/model@commit`.
 *
 * @example
 * const model = await loadModelFromHub("EleutherAI/pythia-70m", await createBackend("auto"));
 *
 * @throws HubError when the files cannot be had; see `reason`
 * @throws what `loadModel` throws
 */
export async function loadModelFromHub(
  name: string,
  backend: Backend,
  options: LoadFromHubOptions = {},
): Promise<LanguageModel> {
  const { loadAndClose } = await import("./load-and-close.ts");
  return loadAndClose((hubOptions) => openHubModel(name, hubOptions), backend, options, loadModel);
}
