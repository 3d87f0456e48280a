/** `loadModelFromHub`, wherever the files are kept. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import type { LanguageModel, loadModel } from "../model/language-model.ts";
import type { ModelFiles, ReopenedWeights } from "../model/model-files.ts";
import type { HubModel, HubOptions, LoadFromHubOptions } from "./hub-options.ts";

export async function loadAndClose(
  open: (options: HubOptions) => Promise<HubModel>,
  backend: Backend,
  options: LoadFromHubOptions,
  load: typeof loadModel,
): Promise<LanguageModel> {
  const { onProgress } = options;
  const files = await open({
    ...options,
    onProgress: (done, total) => onProgress?.("download", done, total),
  });
  // Later reads are of the same commit, whatever the revision names by then.
  const reopen = async (again: CallOptions = {}): Promise<ReopenedWeights> => {
    const reopened = await open({
      ...options,
      revision: files.commit,
      signal: again.signal,
      onProgress: undefined,
    });
    try {
      const weights = await reopened.tensors(again);
      return {
        tensors: weights.tensors,
        read: (tensor, readOptions) => weights.read(tensor, readOptions),
        close: () => reopened.close(),
      };
    } catch (error) {
      await reopened.close();
      throw error;
    }
  };
  const all: ModelFiles = {
    json: (path, readOptions) => files.json(path, readOptions),
    tensors: (readOptions) => files.tensors(readOptions),
    ...(files.headers && { headers: files.headers.bind(files) }),
    reopen,
  };
  try {
    return await load(all, backend, {
      ...options,
      name: options.name ?? files.name,
      onProgress: (done, total) => onProgress?.("load", done, total),
    });
  } finally {
    await files.close();
  }
}
