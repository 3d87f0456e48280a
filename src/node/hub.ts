/** Models by their name on a hub, for Node: kept on disk, with the settings that the environment gives. */
import type { Backend } from "../backends/backend.ts";
import { loadAndClose } from "../hub/load-and-close.ts";
import type { HubModel, HubOptions, LoadFromHubOptions } from "../hub/hub-options.ts";
import { loadModel, type LanguageModel } from "../model/language-model.ts";
import { machineMemory } from "./model.ts";

/** Where Node keeps what it downloads. */
export interface CacheFolderOptions {
  /**
   * Folder of the cache, shared with the Python package `huggingface_hub`. Default: `HF_HUB_CACHE`, `HF_HOME/hub`, or
   * `~/.cache/huggingface/hub`.
   */
  readonly cacheFolder?: string | undefined;
}

/**
 * `openHubModel` with a cache on disk. `HF_ENDPOINT`, `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, `HF_HUB_OFFLINE`, `HF_HUB_CACHE` and `HF_HOME`
 * of the environment stand in for options that are not given.
 *
 * @throws HubError when the hub has no such model or revision, or does not let it be read; see `reason`
 * @throws OptionError when the name, the revision, the token or the endpoint cannot be one
 */
export async function openHubModel(
  name: string,
  options: HubOptions & CacheFolderOptions = {},
): Promise<HubModel> {
  const [{ openModel }, { defaultCacheFolder, HubCache }] = await Promise.all([
    import("../hub/hub-model.ts"),
    import("./hub-cache.ts"),
  ]);
  const { env } = process;
  const set = (key: string): string | undefined => (env[key] === "" ? undefined : env[key]);
  const settings: HubOptions = {
    ...options,
    endpoint: options.endpoint ?? set("HF_ENDPOINT"),
    token: options.token ?? set("HF_TOKEN") ?? set("HUGGING_FACE_HUB_TOKEN"),
    offline: options.offline ?? /^(1|true|yes|on)$/i.test(env["HF_HUB_OFFLINE"] ?? ""),
  };
  const folder = options.cacheFolder ?? defaultCacheFolder();
  return openModel(name, settings, (client) => Promise.resolve(new HubCache(folder, client.name)));
}

/**
 * Loads a model by its name on a hub, through a cache on disk: safetensors weights, in one file or in shards. Downloads go on
 * where they were cut off, by this process or another, and are verified before they count. The model is named
 * `organisation/model@commit`.
 *
 * @example
 * const model = await loadModelFromHub("EleutherAI/pythia-70m", await createBackend("auto"));
 *
 * @throws HubError when the files cannot be had or kept; see `reason`
 * @throws what `loadModel` throws
 */
export function loadModelFromHub(
  name: string,
  backend: Backend,
  options: LoadFromHubOptions & CacheFolderOptions = {},
): Promise<LanguageModel> {
  const { cacheFolder } = options;
  return loadAndClose(
    (hubOptions) => openHubModel(name, { ...hubOptions, cacheFolder }),
    backend,
    { ...options, hostMemory: options.hostMemory ?? machineMemory() },
    loadModel,
  );
}
