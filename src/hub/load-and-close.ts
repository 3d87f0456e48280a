/** `loadModelFromHub`, wherever the files are kept. */
import type { Backend } from "../backends/backend.ts";
import type { LanguageModel, loadModel } from "../model/language-model.ts";
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
  try {
    return await load(files, backend, {
      ...options,
      name: options.name ?? files.name,
      onProgress: (done, total) => onProgress?.("load", done, total),
    });
  } finally {
    await files.close();
  }
}
