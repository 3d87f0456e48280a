/**
 * What needs Node: files, folders of checkpoints and a GPU through the optional package `webgpu`.
 *
 * @example
 * import { createBackend, loadModelFolder } from "sparseprobe/node";
 *
 * const backend = await createBackend("auto");
 * console.log(backend.info.device, backend.info.fallbackReason ?? "");
 *
 * @module
 */
export { createBackend } from "./node/create-backend.ts";
export type { NodeBackendOptions } from "./node/create-backend.ts";
export { requestNodeDevice } from "./node/gpu.ts";
export type { NodeDeviceOptions } from "./node/gpu.ts";
export { fileSource, openFileSink, openTensorFolder, writeFileAtomically } from "./node/files.ts";
export type { Closable, FileSink } from "./node/files.ts";
export { captureToFolder } from "./node/capture.ts";
export { loadDataset, saveDataset } from "./node/datasets.ts";
export { loadModelFromHub, openHubModel } from "./node/hub.ts";
export type { CacheFolderOptions } from "./node/hub.ts";
export { loadModelFolder, openModelFolder } from "./node/model.ts";
export { openStudy } from "./node/study.ts";
export type { OpenStudyOptions } from "./node/study.ts";
export { openSweepJournal } from "./node/sweep-journal.ts";
export { pictureFiles } from "./node/picture-files.ts";
