/** A study as JSON: what a configuration file holds. */
import type { Aggregation, HookName, HookPoint } from "../backends/backend.ts";
import { STANDARDISATIONS } from "../data/standardisation.ts";
import type { FeatureCategory } from "../datasets/feature-dataset.ts";
import { OptionError } from "../errors.ts";
import { METRIC_NAMES } from "../metrics/evaluate.ts";
import { COLUMN_RANKINGS, MOMENT_RANKINGS } from "../ranking/ranking.ts";
import { JsonField, type JsonObject } from "./json-field.ts";
import { planStudy, splitHookPoint } from "./plan-study.ts";
import type {
  NamedSweepMethod,
  SweepMethod,
  SweepMethodName,
  SweepMethodOptions,
  SweepStudy,
} from "./sweep-study.ts";

/** A model from a folder of this machine. */
export interface DescribedFolder {
  /** Relative to the file of the study. */
  readonly folder: string;
  /** Default: the folder's own name. */
  readonly name?: string;
}

/** A model by its name on a hub. */
export interface DescribedHubModel {
  readonly hub: string;
  /** Default `"main"`. */
  readonly revision?: string;
  /** Default: the name on the hub. */
  readonly name?: string;
}

export type DescribedModel = DescribedFolder | DescribedHubModel;

const WORDS = { files: "conllu", options: ["features", "passageTokens", "skipFirst"] } as const;
const CLASSES = {
  files: "labelled",
  options: ["classes", "windowTokens", "windowsPerText", "skipFirst"],
} as const;

/** A builder's files, and the options that a description can give it. */
export interface DatasetBuilder {
  /** CoNLL-U; JSON Lines of texts with a label; texts, as JSON Lines or one a file; a saved dataset. */
  readonly files: "conllu" | "labelled" | "texts" | "saved";
  readonly options: readonly (keyof DescribedDatasetOptions)[];
}

export type DatasetBuilderName = FeatureCategory | "saved";

/** How each builder reads its files. */
export const DATASET_BUILDERS: Readonly<Record<DatasetBuilderName, DatasetBuilder>> = {
  "part-of-speech": WORDS,
  dependencies: WORDS,
  morphology: WORDS,
  "code-language": CLASSES,
  "natural-language": CLASSES,
  "data-subset": CLASSES,
  "text-features": { files: "texts", options: ["features", "passageTokens", "skipFirst"] },
  "compound-words": { files: "texts", options: ["bigrams", "window", "leastTokens"] },
  latex: { files: "texts", options: ["passageTokens", "skipFirst"] },
  facts: { files: "texts", options: ["columns", "window", "mentionsPerPerson"] },
  own: { files: "labelled", options: ["aggregation", "passageTokens", "skipFirst"] },
  saved: { files: "saved", options: [] },
};

/** Options of the builders; which of them reads what, {@link DATASET_BUILDERS} says. */
export interface DescribedDatasetOptions {
  readonly skipFirst?: number;
  readonly passageTokens?: number;
  readonly windowTokens?: number;
  readonly windowsPerText?: number;
  readonly window?: number;
  readonly leastTokens?: number;
  readonly mentionsPerPerson?: number;
  readonly features?: readonly string[];
  readonly classes?: readonly string[];
  readonly bigrams?: readonly string[];
  readonly columns?: readonly string[];
  readonly aggregation?: Aggregation;
}

/** A dataset that is built from files. */
export interface DescribedDataset {
  /** Default: the builder's name. */
  readonly name?: string;
  readonly builder: DatasetBuilderName;
  /** Relative to the file of the study. */
  readonly files: readonly string[];
  /** `"facts"`: a CSV file of people and what is known of them. */
  readonly people?: string;
  /** How rows are drawn. */
  readonly sampling?: {
    readonly seed?: number;
    readonly maxRows?: number;
    readonly positiveShare?: number;
    readonly leastPositiveShare?: number;
    readonly leastRows?: number;
  };
  readonly options?: DescribedDatasetOptions;
}

/** A study that JSON can hold: models and datasets by name, the other axes as in {@link SweepStudy}. */
export interface StudyDescription extends Pick<
  SweepStudy,
  | "features"
  | "hookPoints"
  | "layers"
  | "ks"
  | "rotations"
  | "seeds"
  | "fractions"
  | "leastPerClass"
  | "probe"
  | "intervals"
> {
  readonly models: readonly DescribedModel[];
  readonly datasets: readonly DescribedDataset[];
  readonly methods?: readonly (SweepMethodName | (NamedSweepMethod & { readonly method: SweepMethodName }))[];
}

const METHODS: readonly SweepMethodName[] = [
  ...(Object.keys(MOMENT_RANKINGS) as (keyof typeof MOMENT_RANKINGS)[]),
  ...COLUMN_RANKINGS,
  "adaptive",
  "optimal",
  "dense",
];

const SAMPLING = ["seed", "maxRows", "positiveShare", "leastPositiveShare", "leastRows"] as const;

/**
 * Reads the description of a study, after `JSON.parse`.
 *
 * @example
 * const study = readStudy({
 *   models: ["../models/haystack-4m", { hub: "EleutherAI/pythia-70m", revision: "main" }],
 *   datasets: [{ builder: "natural-language", files: ["texts.jsonl"] }],
 *   methods: ["mean-difference", "adaptive"],
 *   rotations: [1],
 * });
 *
 * @throws OptionError naming the path of the first field that is wrong; an unknown key with the known name that is nearest
 */
export function readStudy(json: unknown): StudyDescription {
  const failure = (path: string, what: string): Error =>
    new OptionError(
      `${path === "" ? "The study" : path} ${what}.`,
      "Mend the study's description: docs/sweeps.md lists its fields.",
    );
  const top = new JsonField(json, "", failure).object([
    "models",
    "datasets",
    "features",
    "hookPoints",
    "layers",
    "ks",
    "methods",
    "rotations",
    "seeds",
    "fractions",
    "leastPerClass",
    "probe",
    "intervals",
  ]);
  const numbers = (least: number) => (field: JsonField) => field.items().map((item) => item.whole(least));
  const study: StudyDescription = {
    models: filled(top.get("models")).map(readModel),
    datasets: filled(top.get("datasets")).map(readDataset),
    ...given({
      features: top.get("features").optional((field) => filled(field).map((item) => item.name())),
      hookPoints: top.get("hookPoints").optional((field) => filled(field).map(readHookPoint)),
      layers: top.get("layers").optional(numbers(0)),
      ks: top.get("ks").optional(numbers(1)),
      methods: top.get("methods").optional((field) => filled(field).map(readMethod)),
      rotations: top.get("rotations").optional(numbers(0)),
      seeds: top.get("seeds").optional(numbers(0)),
      fractions: top.get("fractions").optional(readFractions),
      leastPerClass: top.get("leastPerClass").optional((field) => field.whole(1)),
      probe: top.get("probe").optional(readProbe),
      intervals: top.get("intervals").optional(readIntervals),
    }),
  };
  assertStudy(study);
  return study;
}

/** What the sweep would refuse is refused here already: names that are used twice, numbers that do not go together. */
function assertStudy(study: StudyDescription): void {
  planStudy(
    {
      ...study,
      models: study.models.map((model) => ({
        name: describedName(model),
        load: () => Promise.reject(new Error("a description loads nothing")),
      })),
      datasets: study.datasets.map(({ name, builder }) => ({
        name: name ?? builder,
        build: () => Promise.reject(new Error("a description builds nothing")),
      })),
    },
    {},
  );
}

/** The name that a model goes by. */
export function describedName(model: DescribedModel): string {
  if (model.name !== undefined) return model.name;
  if ("hub" in model) return model.hub;
  const parts = model.folder.split(/[\\/]/).filter((part) => part !== "" && part !== ".");
  return parts.at(-1) ?? model.folder;
}

/** The fields that are there. */
function given<T extends object>(fields: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
}

/** The items of a list that has some. */
function filled(field: JsonField): JsonField[] {
  if (field.absent) throw field.wrong("is missing");
  const items = field.items();
  if (items.length === 0) throw field.wrong("is empty");
  return items;
}

function readModel(field: JsonField): DescribedModel {
  if (typeof field.value === "string") return { folder: field.name() };
  const model = field.object(["folder", "hub", "revision", "name"]);
  const folder = model.get("folder");
  const hub = model.get("hub");
  if (folder.absent === hub.absent) throw field.wrong('needs either a "folder" or a "hub"');
  const name = given({ name: model.get("name").optional((value) => value.name()) });
  if (hub.absent) {
    const revision = model.get("revision");
    if (!revision.absent) throw revision.wrong("is for models from a hub");
    return { folder: folder.name(), ...name };
  }
  return {
    hub: hub.name(),
    ...given({ revision: model.get("revision").optional((value) => value.name()) }),
    ...name,
  };
}

function readDataset(field: JsonField): DescribedDataset {
  const dataset = field.object(["name", "builder", "files", "people", "sampling", "options"]);
  const builder = dataset.get("builder").oneOf(Object.keys(DATASET_BUILDERS) as DatasetBuilderName[]);
  const people = dataset.get("people");
  if (people.absent === (builder === "facts")) {
    throw people.wrong(people.absent ? "is missing: a CSV file of people" : `is for the builder "facts"`);
  }
  const files = dataset.get("files");
  const paths = filled(files).map((item) => item.name());
  if (builder === "saved" && paths.length > 1)
    throw files.wrong("has several files, and a saved dataset is one");
  const sampling = dataset.get("sampling");
  if (builder === "saved" && !sampling.absent) throw sampling.wrong("is for datasets that are built");
  return {
    builder,
    files: paths,
    ...given({
      name: dataset.get("name").optional((value) => value.name()),
      people: people.optional((value) => value.name()),
      sampling: sampling.optional(readSampling),
      options: dataset.get("options").optional((value) => readDatasetOptions(value, builder)),
    }),
  };
}

function readSampling(field: JsonField): NonNullable<DescribedDataset["sampling"]> {
  const sampling = field.object(SAMPLING);
  return given(
    Object.fromEntries(SAMPLING.map((key) => [key, sampling.get(key).optional((value) => value.number())])),
  );
}

function readDatasetOptions(field: JsonField, builder: DatasetBuilderName): DescribedDatasetOptions {
  const options = field.object(DATASET_BUILDERS[builder].options);
  const names = (value: JsonField): string[] => filled(value).map((item) => item.name());
  const number = (key: keyof DescribedDatasetOptions, least: number): number | undefined =>
    options.get(key).optional((value) => value.whole(least));
  return given({
    skipFirst: number("skipFirst", 0),
    passageTokens: number("passageTokens", 1),
    windowTokens: number("windowTokens", 1),
    windowsPerText: number("windowsPerText", 1),
    window: number("window", 1),
    leastTokens: number("leastTokens", 1),
    mentionsPerPerson: number("mentionsPerPerson", 1),
    features: options.get("features").optional(names),
    classes: options.get("classes").optional(names),
    bigrams: options.get("bigrams").optional(names),
    columns: options.get("columns").optional(names),
    aggregation: options
      .get("aggregation")
      .optional((value) => value.oneOf(["token", "mean", "max", "last"] as const)),
  });
}

function readHookPoint(field: JsonField): HookPoint | HookName {
  const parts = splitHookPoint(field.text());
  if (!parts) {
    throw field.wrong(
      `is ${JSON.stringify(field.value)}, and not a hook point such as "blocks.3.mlp.hook_post" or, for all layers, "mlp.hook_post"`,
    );
  }
  return parts.layer === null ? parts.name : `blocks.${parts.layer}.${parts.name}`;
}

function readMethod(
  field: JsonField,
): Extract<SweepMethod, string> | (NamedSweepMethod & { method: SweepMethodName }) {
  if (typeof field.value === "string") return field.oneOf(METHODS);
  const method = field.object(["name", "method", "options", "rotated"]);
  return {
    name: method.get("name").name(),
    method: method.get("method").oneOf(METHODS),
    ...given({
      options: method.get("options").optional(readMethodOptions),
      rotated: method.get("rotated").optional((value) => value.flag()),
    }),
  };
}

function readMethodOptions(field: JsonField): SweepMethodOptions {
  const options = field.object([
    "ks",
    "prefilter",
    "C",
    "neighbours",
    "schedule",
    "loss",
    "gamma",
    "candidates",
    "relativeGap",
    "timeLimit",
  ]);
  const sizes = (value: JsonField): number[] => filled(value).map((item) => item.whole(1));
  const positive = (key: string): number | undefined =>
    options.get(key).optional((value) => value.positive());
  return given({
    ks: options.get("ks").optional(sizes),
    prefilter: options.get("prefilter").optional((value) => value.whole(1)),
    C: positive("C"),
    neighbours: options.get("neighbours").optional((value) => value.whole(1)),
    schedule: options.get("schedule").optional(sizes),
    loss: options.get("loss").optional((value) => value.oneOf(["logistic", "hinge"] as const)),
    gamma: positive("gamma"),
    candidates: options
      .get("candidates")
      .optional((value) =>
        value.value === "all"
          ? "all"
          : Array.isArray(value.value)
            ? value.items().map((item) => item.whole(0))
            : value.whole(1),
      ),
    relativeGap: positive("relativeGap"),
    timeLimit: positive("timeLimit"),
  });
}

function readFractions(field: JsonField): NonNullable<SweepStudy["fractions"]> {
  const fractions = field.object(["train", "validation", "test"]);
  const share = (part: string): number => fractions.get(part).positive();
  return { train: share("train"), validation: share("validation"), test: share("test") };
}

function readProbe(field: JsonField): NonNullable<SweepStudy["probe"]> {
  const probe: JsonObject = field.object(["C", "classWeight", "standardise", "tolerance", "maxIterations"]);
  return given({
    C: probe.get("C").optional((value) => value.positive()),
    classWeight: probe.get("classWeight").optional((value) => value.oneOf(["balanced", "none"] as const)),
    standardise: probe.get("standardise").optional((value) => value.oneOf(STANDARDISATIONS)),
    tolerance: probe.get("tolerance").optional((value) => value.positive()),
    maxIterations: probe.get("maxIterations").optional((value) => value.whole(1)),
  });
}

function readIntervals(field: JsonField): NonNullable<SweepStudy["intervals"]> {
  const intervals = field.object(["metrics", "draws", "ks"]);
  return {
    metrics: filled(intervals.get("metrics")).map((item) => item.oneOf(METRIC_NAMES)),
    ...given({
      draws: intervals.get("draws").optional((value) => value.whole(2)),
      ks: intervals.get("ks").optional((value) => value.items().map((item) => item.whole(1))),
    }),
  };
}
