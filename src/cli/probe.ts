/** `sparseprobe probe`: from labelled texts, or activations with labels, to probes of a few neurons. */
import { Option } from "commander";
import type { Aggregation } from "../backends/backend.ts";
import { probeTexts } from "../capture/probe-texts.ts";
import type { ProbeTextsStage } from "../capture/text-study.ts";
import { OptionError } from "../errors.ts";
import { METRIC_NAMES, type MetricName, type Metrics } from "../metrics/evaluate.ts";
import type { ProbeJson } from "../probes/probe-record.ts";
import type { RankingName } from "../ranking/ranking.ts";
import { required, type CommandFile, type Inputs } from "./command-file.ts";
import { withBackend, withModel } from "./open-model.ts";
import {
  addAggregation,
  addModelOptions,
  addTokenOptions,
  bytes,
  expandHookPoints,
  finiteNumber,
  HOOK_POINTS_HELP,
  list,
  MODEL_HELP,
  tokenOptions,
  wholeFrom,
  wholeNumbers,
  type ModelOptions,
  type TokenOptions,
} from "./options.ts";
import { assertWritable, writeOutput } from "./output-file.ts";
import { probeSaved, type SavedOptions, type SavedRow } from "./probe-activations.ts";
import { readTextsWithLabels, TEXTS_HELP } from "./read-texts.ts";
import { findActivations, readRowLabels } from "./saved-activations.ts";
import { print, printJson, toJson, type Session } from "./session.ts";
import { counted, fixed, plural, tableLines } from "./table.ts";
import { visible } from "./terminal.ts";

const RANKINGS: readonly RankingName[] = [
  "mean-difference",
  "standardised-mean-difference",
  "welch-t",
  "f",
  "point-biserial",
  "random",
  "mutual-information",
  "mutual-information-histogram",
  "l1-logistic",
  "linear-svm",
];

interface ProbeFlags extends ModelOptions, TokenOptions {
  readonly hookPoints?: readonly string[];
  readonly ks?: readonly number[];
  readonly aggregation?: Aggregation;
  readonly ranking?: RankingName;
  readonly prefilter?: number;
  readonly C?: number;
  readonly chooseBy?: MetricName;
  readonly keepBytes?: number;
  readonly seed?: number;
  readonly activations?: string;
  readonly labels?: string;
  readonly out?: string;
  readonly force?: true;
}

const UNITS: Readonly<Record<ProbeTextsStage, string>> = {
  tokenise: "texts",
  moments: "tokens",
  select: "tokens",
  columns: "tokens",
  fit: "probes",
  evaluate: "hook points",
};

export const probe: CommandFile = {
  describe(command) {
    command
      .description(
        "Finds the neurons that tell texts of each class from the rest. Texts are split by document: training texts " +
          "rank the neurons and fit a probe for every class, hook point and k; validation texts choose the hook " +
          "point; test texts, which chose nothing, score the choice.",
      )
      .usage("MODEL TEXTS [options]\n       sparseprobe probe --activations PATH [--labels FILE] [options]")
      .argument("[model]", "folder, or name on a hub")
      .argument("[texts]", "texts with labels: FILE.jsonl, or - for standard input")
      .option("--hook-points <list>", "where to look (default: blocks.*.mlp.hook_post, all neurons)", list)
      .option("--ks <list>", "numbers of neurons (default: 1…8,10,12,16,32,64,128,256)", wholeNumbers)
      .addOption(
        new Option("--ranking <name>", "how neurons are ranked (default: mean-difference)").choices(RANKINGS),
      )
      .option("--prefilter <neurons>", "rank only so many, the first by mean difference", wholeFrom(1))
      .option("--C <number>", "inverse regularisation strength (default: 1)", finiteNumber)
      .addOption(
        new Option(
          "--choose-by <metric>",
          "metric on validation texts that chooses the hook point (default: f1)",
        ).choices(METRIC_NAMES),
      )
      .option(
        "--keep-bytes <bytes>",
        "activations to keep; if more, texts are read twice (default: 256MiB)",
        bytes,
      )
      .option("--seed <number>", "seed of the split and of rankings that draw (default: 0)", wholeFrom(0));
    addAggregation(command);
    addTokenOptions(command);
    addModelOptions(command);
    command
      .optionsGroup("Saved activations:")
      .option(
        "--activations <path>",
        "instead of MODEL and TEXTS: a .safetensors or .npy file, or a folder of them",
      )
      .option(
        "--labels <file>",
        "a label per row of the activations: .jsonl, .txt or .npy (default: beside or in them)",
      )
      .optionsGroup("Output:")
      .option("--out <file.json>", "write the whole result there too, with the probes")
      .option("--force", "replace an existing file")
      .addHelpText(
        "after",
        `
Example: which neurons of the bundled model know the language of a text?
  sparseprobe probe examples/model/haystack-4m \\
    examples/data/natural-language.jsonl --aggregation mean --ks 1,4

The same on activations that "sparseprobe capture" or another program has saved,
with labels of their rows:
  sparseprobe probe --activations activations --ks 1,4
  sparseprobe probe --activations layer-3.npy --labels labels.npy

${MODEL_HELP}
${TEXTS_HELP}
${HOOK_POINTS_HELP}`,
      );
  },
  async run(command, inputs, session) {
    const flags = command.opts<ProbeFlags>();
    const { out } = flags;
    if (out !== undefined) await assertWritable(out, flags.force);
    const { whole, lines, probes } = await (flags.activations === undefined
      ? probeOnTexts(flags, inputs, session)
      : probeOnActivations(flags.activations, flags, inputs, session));
    if (out !== undefined) await writeOutput(out, `${toJson(whole, 1)}\n`, session);
    if (session.json) printJson(session, whole);
    else print(session, lines);
    if (probes === 0) throw new Error("No probe could be fitted; the result says why.");
  },
};

/** A result, whole and as a table. */
interface Told {
  readonly whole: unknown;
  readonly lines: readonly string[];
  readonly probes: number;
}

async function probeOnTexts(flags: ProbeFlags, inputs: Inputs, session: Session): Promise<Told> {
  const name = required(inputs, "model", "the folder of a model, or its name on a hub");
  const path = required(inputs, "texts", "a file of labelled texts");
  if (flags.labels !== undefined) {
    throw new OptionError("--labels is for --activations.", "Texts bring their labels along.");
  }
  const texts = await readTextsWithLabels(path, session);
  return withModel(name, flags, session, async (model) => {
    const result = await probeTexts(model, texts, {
      ...tokenOptions(flags),
      ...(flags.hookPoints && { hookPoints: expandHookPoints(flags.hookPoints, model.spec) }),
      ks: flags.ks,
      aggregation: flags.aggregation,
      chooseBy: flags.chooseBy,
      keepBytes: flags.keepBytes,
      seed: flags.seed,
      probe: probeOptions(flags),
      signal: session.signal,
      onProgress: (stage, done, total) => session.progress.show(stage, done, total, UNITS[stage]),
    });
    const { train, validation, test } = result.split;
    const split = { train: train.texts, validation: validation.texts, test: test.texts };
    const lines = describeResult({ ...result, split }, "Texts", `${counted(result.tokens)} tokens read`);
    return { whole: { model: model.name ?? null, ...result }, lines, probes: result.chosen.length };
  });
}

/** Options that speak of a model or of texts say nothing about activations. */
const OF_TEXTS = ["hookPoints", "aggregation", "keepBytes", "skipFirst", "truncate", "revision"] as const;

async function probeOnActivations(
  path: string,
  flags: ProbeFlags,
  inputs: Inputs,
  session: Session,
): Promise<Told> {
  const idle = OF_TEXTS.find((name) => flags[name] !== undefined) ?? Object.keys(inputs).at(0);
  if (idle !== undefined) {
    throw new OptionError(
      `${idle} is given beside --activations.`,
      "Leave out what speaks of a model or of texts.",
    );
  }
  const sets = await findActivations(path);
  const labels = await readRowLabels(flags.labels, sets, session.signal);
  const { chooseBy = "f1", seed = 0, ks } = flags;
  const result = await withBackend(flags, session, (backend) =>
    probeSaved(sets, labels, backend, { ks, chooseBy, seed, probe: probeOptions(flags) }, session),
  );
  const lines = describeResult(result, "Rows");
  return { whole: { model: null, ...result }, lines, probes: result.chosen.length };
}

function probeOptions({ C, ranking, prefilter, seed }: ProbeFlags): SavedOptions["probe"] {
  return {
    ...(C !== undefined && { C }),
    ...(ranking && { ranking }),
    ...(prefilter !== undefined && { prefilter }),
    ...(seed !== undefined && { seed }),
  };
}

/** What the results of both forms have in common. */
interface Result {
  readonly chosen: readonly (SavedRow & { readonly test: Metrics; readonly probe: ProbeJson })[];
  readonly rows: readonly SavedRow[];
  readonly failures: readonly {
    readonly feature: string;
    readonly k: number;
    readonly hookPoint: string | null;
    readonly reason: string;
  }[];
  readonly split: Readonly<Record<"train" | "validation" | "test", readonly number[]>>;
}

function describeResult({ chosen, failures, split, rows }: Result, of: string, ...more: string[]): string[] {
  const { train, validation, test } = split;
  const lines = [
    `${of}: ${counted(train.length)} to fit, ${counted(validation.length)} to choose, ${counted(test.length)} to score; ` +
      "no document is in two parts. Scores are of the last part, which chose nothing.",
    "",
    ...chosenTable(chosen),
    "",
    [`${plural(rows.length, "probe")} fitted`, ...more].join(", "),
  ];
  const open = rows.filter(({ converged }) => !converged).length;
  if (open > 0) lines.push(`${plural(open, "probe")} did not converge`);
  for (const { feature, k, hookPoint, reason } of failures) {
    lines.push(
      `Not fitted: ${visible(feature)}, k = ${k}${hookPoint ? ` at ${hookPoint}` : ""}: ${visible(reason)}`,
    );
  }
  return lines;
}

/** A row per feature and k, with the hook point that was chosen. */
function chosenTable(chosen: Result["chosen"]): string[] {
  const features = [...new Set(chosen.map(({ feature }) => feature))];
  const right = (title: string) => ({ title, align: "right" as const });
  return tableLines(
    [
      { title: "feature" },
      right("k"),
      { title: "hook point" },
      { title: "neurons (− if lower in the class)" },
      ...["F1", "precision", "recall", "MCC", "ROC AUC"].map(right),
    ],
    features.flatMap((feature) =>
      chosen
        .filter((row) => row.feature === feature)
        .sort((a, b) => a.k - b.k)
        .map(({ k, hookPoint, neurons, probe: { scores }, test }) => [
          visible(feature),
          k,
          hookPoint,
          neuronList(neurons, scores),
          ...[test.f1, test.precision, test.recall, test.mcc, test.rocAuc].map((value) => fixed(value)),
        ]),
    ),
  );
}

const SHOWN = 4;

function neuronList(neurons: readonly number[], scores: readonly number[]): string {
  const shown = neurons.slice(0, SHOWN).map((neuron, i) => `${scores[i] < 0 ? "−" : ""}${neuron}`);
  return shown.join(" ") + (neurons.length > SHOWN ? " …" : "");
}
