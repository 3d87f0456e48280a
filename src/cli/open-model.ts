/** MODEL: a folder, or a name on a hub. */
import { stat } from "node:fs/promises";
import type { Backend } from "../backends/backend.ts";
import { HubError, OptionError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { createBackend } from "../node/create-backend.ts";
import { loadModelFromHub } from "../node/hub.ts";
import { loadModelFolder } from "../node/model.ts";
import type { ModelOptions } from "./options.ts";
import type { Session } from "./session.ts";

/** `organisation/model`, or a model without an organisation. */
const HUB_NAME = /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/;

/** Lends a backend to `use`. */
export async function withBackend<Result>(
  { backend: kind, threads }: Pick<ModelOptions, "backend" | "threads">,
  session: Session,
  use: (backend: Backend) => Promise<Result>,
): Promise<Result> {
  const backend = await createBackend(kind ?? "auto", threads === undefined ? {} : { threads });
  try {
    const { info } = backend;
    session.progress.note(`Computing on ${info.kind}: ${info.device}`);
    return await use(backend);
  } finally {
    backend.dispose();
  }
}

/** Lends a loaded model to `use`. */
export async function withModel<Result>(
  name: string,
  options: ModelOptions,
  session: Session,
  use: (model: LanguageModel) => Promise<Result>,
): Promise<Result> {
  const isFolder = (await stat(name).catch(() => undefined))?.isDirectory() === true;
  if (isFolder && options.revision !== undefined) {
    throw new OptionError(`${name} is a folder, and --revision is for models on a hub.`, "Leave it out.");
  }
  return withBackend(options, session, async (backend) => {
    const model = await (isFolder || !HUB_NAME.test(name)
      ? loadFolder(name, backend, options, session)
      : loadFromHub(name, backend, options, session));
    try {
      const { layers, dMlp, dModel } = model.spec;
      session.progress.note(
        `${model.name ?? name}: ${layers} layers of ${dMlp} neurons, stream of ${dModel}`,
      );
      return await use(model);
    } finally {
      model.dispose();
    }
  });
}

function loadFolder(
  folder: string,
  backend: Backend,
  { hostMemory, gpuMemory }: ModelOptions,
  { signal, progress }: Session,
): Promise<LanguageModel> {
  return loadModelFolder(folder, backend, {
    hostMemory,
    gpuMemory,
    signal,
    onProgress: (done, total) => progress.show("load model", done, total, "tensors"),
  });
}

async function loadFromHub(
  name: string,
  backend: Backend,
  { hostMemory, gpuMemory, revision }: ModelOptions,
  { signal, progress }: Session,
): Promise<LanguageModel> {
  progress.note(`There is no folder ${name}: asking the hub.`);
  try {
    return await loadModelFromHub(name, backend, {
      revision,
      hostMemory,
      gpuMemory,
      signal,
      onProgress: (stage, done, total) =>
        stage === "download"
          ? progress.show("download", done, total, "bytes")
          : progress.show("load model", done, total, "tensors"),
    });
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    const problem = error.message.slice(0, -error.remedy.length).trimEnd();
    throw new HubError(
      error.reason,
      `There is no folder ${name}, and from the hub: ${problem}`,
      error.remedy,
      {
        cause: error,
      },
    );
  }
}
