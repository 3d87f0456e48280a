/** Datasets from files, by the name of their builder. Loaded when one is built. */
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { GroupId } from "../data/activations.ts";
import { compoundWordDataset } from "../datasets/compound-words.ts";
import { dependencyDataset } from "../datasets/dependencies.ts";
import { factDataset } from "../datasets/facts.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import { latexDataset } from "../datasets/latex.ts";
import { morphologyDataset } from "../datasets/morphology.ts";
import { ownDataset } from "../datasets/own-labels.ts";
import { partOfSpeechDataset } from "../datasets/part-of-speech.ts";
import { readPeople } from "../datasets/people.ts";
import { codeLanguageDataset, dataSubsetDataset, naturalLanguageDataset } from "../datasets/text-classes.ts";
import { TEXT_FEATURES } from "../datasets/text-feature-predicates.ts";
import { textFeatureDataset } from "../datasets/text-features.ts";
import { readLabelledTexts, type LabelledTexts } from "../datasets/texts.ts";
import { FormatError, OptionError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { DescribedDataset } from "../sweeps/study-description.ts";
import { loadDataset } from "./datasets.ts";

/** Builds one dataset; paths are absolute. */
export async function buildDataset(
  dataset: DescribedDataset & { readonly name: string },
  tokenizer: Tokenizer,
  signal: AbortSignal | undefined,
): Promise<FeatureDataset> {
  const { name, builder, files, sampling, options: own = {} } = dataset;
  const { features, aggregation, ...rest } = own;
  const options = { ...rest, name, sampling, signal };
  const contents = (): Promise<string[]> => Promise.all(files.map(readText));
  switch (builder) {
    case "part-of-speech":
      return partOfSpeechDataset(await contents(), tokenizer, { ...options, features });
    case "dependencies":
      return dependencyDataset(await contents(), tokenizer, { ...options, features });
    case "morphology":
      return morphologyDataset(await contents(), tokenizer, { ...options, features });
    case "code-language":
      return codeLanguageDataset(await labelledTexts(files), tokenizer, options);
    case "natural-language":
      return naturalLanguageDataset(await labelledTexts(files), tokenizer, options);
    case "data-subset":
      return dataSubsetDataset(await labelledTexts(files), tokenizer, options);
    case "text-features": {
      const { texts, groups } = await plainTexts(files);
      return textFeatureDataset(texts, tokenizer, { ...options, groups, features: textFeatures(features) });
    }
    case "compound-words": {
      const { texts, groups } = await plainTexts(files);
      return compoundWordDataset(texts, tokenizer, { ...options, groups });
    }
    case "latex": {
      const { texts, groups } = await plainTexts(files);
      return latexDataset(texts, tokenizer, { ...options, groups });
    }
    case "facts": {
      const people = readPeople(await readText(dataset.people!));
      return factDataset((await plainTexts(files)).texts, people, tokenizer, options);
    }
    case "own": {
      const { texts, labels, docs } = await labelledTexts(files);
      return ownDataset({ ...options, texts, labels, docs, aggregation }, tokenizer);
    }
    case "saved":
      return { ...(await loadDataset(files[0], { signal })), name };
  }
}

/** The predicates of some features, by their names. */
function textFeatures(names: readonly string[] | undefined): typeof TEXT_FEATURES | undefined {
  if (!names) return undefined;
  return Object.fromEntries(
    names.map((name) => {
      if (!Object.hasOwn(TEXT_FEATURES, name)) {
        throw new OptionError(
          `The text feature ${JSON.stringify(name)} is not known.`,
          `Choose from ${Object.keys(TEXT_FEATURES).join(", ")}.`,
        );
      }
      return [name, TEXT_FEATURES[name]];
    }),
  );
}

/** Texts with labels of several files, one after the other; documents that have numbers are told apart by their file. */
async function labelledTexts(files: readonly string[]): Promise<LabelledTexts> {
  const read = await Promise.all(files.map(async (path) => readLabelledTexts(await readText(path))));
  const docs = read.some((one) => one.docs)
    ? read.flatMap(({ texts, docs: own }, file) =>
        texts.map((_, i) => documentOf(own?.[i] ?? i, file, files)),
      )
    : undefined;
  return {
    texts: read.flatMap(({ texts }) => texts),
    labels: read.flatMap(({ labels }) => labels),
    ...(docs && { docs }),
  };
}

/** Texts of JSON Lines, `{"text", "doc"?}`, or of files that are one text each; other fields are ignored. */
async function plainTexts(files: readonly string[]): Promise<{ texts: string[]; groups: GroupId[] }> {
  const texts: string[] = [];
  const groups: GroupId[] = [];
  for (const [file, path] of files.entries()) {
    const content = await readText(path);
    if (extname(path) !== ".jsonl") {
      texts.push(content);
      groups.push(basename(path) + (files.length > 1 ? ` (${file + 1})` : ""));
      continue;
    }
    for (const [index, line] of content.split("\n").entries()) {
      if (line.trim() === "") continue;
      const { text, doc } = textLine(line, `Line ${index + 1} of ${path}`);
      texts.push(text);
      groups.push(documentOf(doc ?? index, file, files));
    }
  }
  return { texts, groups };
}

/** Documents of one name in several files are one document; numbers are those of their file. */
function documentOf(doc: GroupId, file: number, files: readonly string[]): GroupId {
  return typeof doc === "number" && files.length > 1 ? `${file + 1}:${doc}` : doc;
}

function textLine(line: string, place: string): { text: string; doc: GroupId | undefined } {
  const remedy = 'Write {"text": "…", "doc": "…"} on each line; doc is optional.';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new FormatError(`${place} is not JSON.`, remedy, { cause });
  }
  const { text, doc } = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  if (typeof text !== "string") throw new FormatError(`${place} has no text.`, remedy);
  if (doc !== undefined && typeof doc !== "string" && !Number.isFinite(doc)) {
    throw new FormatError(`The doc of ${place} is neither text nor a number.`, remedy);
  }
  return { text, doc: doc as GroupId | undefined };
}

async function readText(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).replace(/^\uFEFF/, "");
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): FormatError {
  return new FormatError(`${path} cannot be read: ${String(cause)}.`, "Check the path.", { cause });
}
