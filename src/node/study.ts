/** Studies from files: models and datasets of a description, ready to be swept. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Backend } from "../backends/backend.ts";
import { FormatError } from "../errors.ts";
import type { LoadFromHubOptions } from "../hub/hub-options.ts";
import { describedName, type DescribedDataset, type StudyDescription } from "../sweeps/study-description.ts";
import type { SweepDataset, SweepModel, SweepStudy } from "../sweeps/sweep-study.ts";
import { loadModelFromHub, type CacheFolderOptions } from "./hub.ts";
import { loadModelFolder } from "./model.ts";

export interface OpenStudyOptions {
  /** Folder that paths are relative to: that of the description's file. Default: the working directory. */
  readonly folder?: string | undefined;
  /** How models are fetched and kept. */
  readonly hub?: Omit<LoadFromHubOptions & CacheFolderOptions, "revision" | "signal"> | undefined;
  /** Stops the reading of files here; loading and building take the sweep's own. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a study of what `readStudy` has read. Files are looked for at once, so that a wrong path is not found out in the
 * middle of a night; models are loaded and datasets built when their turn comes.
 *
 * @example
 * const description = readStudy(JSON.parse(await readFile("study.json", "utf8")));
 * const study = await openStudy(description, await createBackend("auto"));
 * for await (const row of sweep(study, { journal: await openSweepJournal("study.journal.jsonl") })) …
 *
 * @param backend where models compute
 * @throws FormatError when a file or a folder does not exist or cannot be read
 */
export async function openStudy(
  description: StudyDescription,
  backend: Backend,
  options: OpenStudyOptions = {},
): Promise<SweepStudy> {
  const { folder = ".", signal, hub } = options;
  const { models, datasets, ...axes } = description;
  return {
    ...axes,
    models: await Promise.all(
      models.map(async (model): Promise<SweepModel> => {
        const name = describedName(model);
        if ("hub" in model) {
          const { revision = "main" } = model;
          return {
            name,
            revision,
            load: ({ signal: stop }) =>
              loadModelFromHub(model.hub, backend, { ...hub, revision, name, signal: stop }),
          };
        }
        const path = resolve(folder, model.folder);
        if (!(await stat(path).catch(() => undefined))?.isDirectory()) {
          throw new FormatError(`There is no folder ${path}.`, "Give the folder of a model.");
        }
        return { name, load: ({ signal: stop }) => loadModelFolder(path, backend, { name, signal: stop }) };
      }),
    ),
    datasets: await Promise.all(datasets.map((dataset) => describedDataset(dataset, folder, signal))),
  };
}

async function describedDataset(
  dataset: DescribedDataset,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<SweepDataset> {
  const { name = dataset.builder, builder, sampling, options } = dataset;
  const files = dataset.files.map((path) => resolve(folder, path));
  const people = dataset.people === undefined ? undefined : resolve(folder, dataset.people);
  const digest = createHash("sha256").update(JSON.stringify([builder, sampling, options]));
  for (const path of [...files, ...(people === undefined ? [] : [people])]) {
    signal?.throwIfAborted();
    digest.update(await digestOfFile(path));
  }
  return {
    name,
    digest: digest.digest("hex"),
    build: async (tokenizer, { signal: stop }) => {
      const { buildDataset } = await import("./build-dataset.ts");
      const located = { ...dataset, name, files, ...(people !== undefined && { people }) };
      return buildDataset(located, tokenizer, stop);
    },
  };
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  } catch (cause) {
    throw new FormatError(`${path} cannot be read: ${String(cause)}.`, "Check the path.", { cause });
  }
  return hash.digest("hex");
}
