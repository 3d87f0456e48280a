/** Activations and labels that were saved before, by `capture` or by other programs. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Activations, type GroupId } from "../data/activations.ts";
import type { ClassValue } from "../data/labels.ts";
import { EmptyDataError, FormatError, LabelError, OptionError } from "../errors.ts";
import { readActivations } from "../io/activations-file.ts";
import { readNpy } from "../io/npy.ts";
import type { RawTensor } from "../io/raw-tensor.ts";
import { openSafetensors } from "../io/safetensors.ts";
import { fileSource } from "../node/files.ts";
import { readBytes, readTextFile } from "./read-file.ts";

/** What `capture` writes beside the activations: a line per row. */
export const ROWS_FILE = "rows.jsonl";
/** Tensor of a file of activations that holds labels. */
const LABELS_TENSOR = "labels";

/** A set of activations that is read when its turn comes. */
export interface SavedActivations {
  readonly path: string;
  /** Name of the file without its ending, which for files of `capture` is the hook point. */
  readonly name: string;
}

/**
 * A file, or the safetensors and npy files of a folder, in the order of their names with numbers as numbers.
 * @throws FormatError | EmptyDataError when there are none
 */
export async function findActivations(path: string): Promise<SavedActivations[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new FormatError(`${path} does not exist.`, "Check the path.");
  const names = found.isDirectory() ? (await readdir(path)).filter(isActivations) : [basename(path)];
  if (names.length === 0) {
    throw new EmptyDataError(
      `The folder ${path} has no .safetensors or .npy files.`,
      "Write some with capture.",
    );
  }
  if (!isActivations(names[0])) {
    throw new OptionError(
      `${path} is no kind of file that is read.`,
      "Give a .safetensors or .npy file, or a folder.",
    );
  }
  const folder = found.isDirectory() ? path : dirname(path);
  return names
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .map((name) => ({ path: join(folder, name), name: name.replace(/\.[^.]+$/, "") }));
}

function isActivations(name: string): boolean {
  return /\.(safetensors|npy)$/i.test(name) && !name.startsWith(".");
}

/** @throws FormatError | MissingTensorError | ShapeError when the file does not hold a matrix of activations */
export async function readSaved({ path }: SavedActivations, signal: AbortSignal): Promise<Activations> {
  if (path.toLowerCase().endsWith(".npy")) {
    const { shape, data, dtype } = readNpy(await readBytes(path, signal));
    if (shape.length === 2 && (dtype === "F32" || dtype === "F64" || dtype === "F16")) {
      const half = dtype === "F16" && data instanceof Uint16Array;
      if (half) return new Activations(data, [shape[0], shape[1]], { dtype: "f16" });
      const values = data instanceof Float32Array ? data : Float32Array.from(data as Float64Array);
      return new Activations(values, [shape[0], shape[1]]);
    }
    throw new FormatError(
      `${path} holds ${dtype} [${shape.join(", ")}].`,
      "Save a matrix [rows × neurons] of float16, float32 or float64.",
    );
  }
  const source = await fileSource(path);
  try {
    return await readActivations(await openSafetensors(source), { signal });
  } finally {
    await source.close();
  }
}

/** Labels of rows, and their documents where the file has them. */
export interface RowLabels {
  readonly labels: readonly ClassValue[];
  readonly docs?: readonly GroupId[];
}

/**
 * Labels from a file; without one, from the rows file that lies beside the activations, or from the tensor `labels` in them.
 * @throws LabelError when there are none
 */
export async function readRowLabels(
  given: string | undefined,
  activations: readonly SavedActivations[],
  signal: AbortSignal,
): Promise<RowLabels> {
  if (given !== undefined) return readLabelsFile(given, signal);
  const [{ path }] = activations;
  if (path.toLowerCase().endsWith(".safetensors")) {
    const source = await fileSource(path);
    try {
      const file = await openSafetensors(source, { signal });
      if (file.tensors.has(LABELS_TENSOR)) {
        return { labels: classesOf(await file.readRaw(LABELS_TENSOR, { signal }), path) };
      }
    } finally {
      await source.close();
    }
  }
  const beside = join(dirname(path), ROWS_FILE);
  if ((await stat(beside).catch(() => undefined))?.isFile()) return readLabelsFile(beside, signal);
  throw new LabelError(`There are no labels for ${path}.`, "Give them with --labels FILE.");
}

async function readLabelsFile(path: string, signal: AbortSignal): Promise<RowLabels> {
  const ending = /\.([^./\\]+)$/.exec(path)?.[1].toLowerCase();
  if (ending === "npy") return { labels: classesOf(readNpy(await readBytes(path, signal)), path) };
  if (ending === "txt") {
    const lines = (await readTextFile(path, signal)).replace(/^\uFEFF/, "").split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    return { labels: lines.map((line) => line.trim()) };
  }
  if (ending === "jsonl" || ending === "ndjson") return readRowLines(await readTextFile(path, signal), path);
  throw new OptionError(`${path} is no kind of file that is read.`, "Give labels as .jsonl, .txt or .npy.");
}

function readRowLines(content: string, path: string): RowLabels {
  const labels: ClassValue[] = [];
  const docs: GroupId[] = [];
  for (const [index, line] of content
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (line.trim() === "") continue;
    const place = `Line ${index + 1} of ${path}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new FormatError(`${place} is not JSON.`, 'Write {"label": "…"} on each line.', { cause });
    }
    const { label, doc } = (value ?? {}) as Record<string, unknown>;
    if (typeof label !== "string" && typeof label !== "boolean" && typeof label !== "number") {
      throw new LabelError(
        `${place} has no label.`,
        'Write {"label": "…", "doc": "…"} on each line; doc is optional.',
      );
    }
    labels.push(label);
    if (typeof doc === "string" || typeof doc === "number") docs.push(doc);
  }
  if (docs.length > 0 && docs.length !== labels.length) {
    throw new FormatError(
      `Only some lines of ${path} have a doc.`,
      "Name the document of every line, or of none.",
    );
  }
  return { labels, ...(docs.length > 0 && { docs }) };
}

/** Two classes 0 and 1, or −1 and 1, stay numbers; more are names, each of which is found against the rest. */
function classesOf({ data, shape, dtype }: RawTensor, path: string): ClassValue[] {
  if (shape.length !== 1 || dtype === "F16" || dtype === "BF16") {
    throw new FormatError(
      `The labels of ${path} are ${dtype} [${shape.join(", ")}].`,
      "Save one whole number per row.",
    );
  }
  const values = Array.from(data as Iterable<number | bigint>, Number);
  const kinds = new Set(values);
  const binary = [0, -1].some((negative) => [...kinds].every((kind) => kind === 1 || kind === negative));
  return binary ? values : values.map(String);
}
