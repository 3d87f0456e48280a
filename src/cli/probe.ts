/** `sparseprobe probe`: from labelled texts, or activations with labels, to probes of a few neurons. */
import { Option, type Command } from "commander";
import type { Aggregation } from "../backends/backend.ts";
import { probeTexts } from "../capture/probe-texts.ts";
import type { ChosenProbe, ProbeTextsResult, ProbeTextsStage } from "../capture/text-study.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import type { RankingName } from "../ranking/ranking.ts";
import { required, type CommandFile, type Inputs } from "./command-file.ts";
import { withModel } from "./open-model.ts";
import {
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
import { readTextsWithLabels, TEXTS_HELP } from "./read-texts.ts";
import { print, printJson, toJson, type Session } from "./session.ts";
import { counted, fixed, plural, tableLines } from "./table.ts";
import { visible } from "./terminal.ts";

const AGGREGATIONS: readonly Aggregation[] = ["token", "mean", "max", "last"];
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
        "Finds the neurons that tell texts of each class from the rest. Texts are split by document; training texts\n" +
          "rank the neurons and fit a probe for every class, hook point and k; validation texts choose the hook point;\n" +
          "test texts, which chose nothing, score the choice.",
      )
      .argument("[model]", "folder, or name on a hub")
      .argument("[texts]", "texts with labels: FILE.jsonl, or - for standard input")
      .addOption(
        new Option(
          "--hook-points <list>",
          "where to look (default: blocks.*.mlp.hook_post, all neurons)",
        ).argParser(list),
      )
      .addOption(
        new Option("--ks <list>", "numbers of neurons (default: 1…8,10,12,16,32,64,128,256)").argParser(
          wholeNumbers,
        ),
      )
      .addOption(
        new Option(
          "--aggregation <how>",
          "a row per token, or one per text by its tokens' mean, maximum or last (default: token)",
        ).choices(AGGREGATIONS),
      )
      .addOption(
        new Option("--ranking <name>", "how neurons are ranked (default: mean-difference)").choices(RANKINGS),
      )
      .addOption(
        new Option("--prefilter <neurons>", "rank only so many, the first by mean difference").argParser(
          wholeFrom(1),
        ),
      )
      .addOption(
        new Option("--C <number>", "inverse regularisation strength (default: 1)").argParser(finiteNumber),
      )
      .addOption(
        new Option(
          "--choose-by <metric>",
          "metric on validation texts that chooses the hook point (default: f1)",
        ).choices(METRIC_NAMES),
      )
      .addOption(
        new Option(
          "--keep-bytes <bytes>",
          "activations to keep; if more, texts are read twice (default: 256MiB)",
        ).argParser(bytes),
      )
      .addOption(
        new Option("--seed <number>", "seed of the split and of rankings that draw (default: 0)").argParser(
          wholeFrom(0),
        ),
      );
    addTokenOptions(command);
    addModelOptions(command);
    command
      .option("--out <file.json>", "write the whole result there too, with the probes")
      .option("--force", "replace an existing file")
      .addHelpText(
        "after",
        `
Example: which neurons of the bundled model know the language of a text?
  sparseprobe probe examples/model/haystack-4m examples/data/natural-language.jsonl --aggregation mean --ks 1,4

${MODEL_HELP}
${TEXTS_HELP}
${HOOK_POINTS_HELP}`,
      );
  },
  run: probeOnTexts,
};

async function probeOnTexts(command: Command, inputs: Inputs, session: Session): Promise<void> {
  const flags = command.opts<ProbeFlags>();
  const { ranking, prefilter, C, seed, out } = flags;
  const name = required(inputs, "model", "the folder of a model, or its name on a hub");
  const path = required(inputs, "texts", "a file of labelled texts");
  if (out !== undefined) await assertWritable(out, flags.force);
  const texts = await readTextsWithLabels(path, session);
  const { result, model } = await withModel(name, flags, session, async (loaded) => ({
    model: loaded.name ?? null,
    result: await probeTexts(loaded, texts, {
      ...tokenOptions(flags),
      ...(flags.hookPoints && { hookPoints: expandHookPoints(flags.hookPoints, loaded.spec) }),
      ks: flags.ks,
      aggregation: flags.aggregation,
      chooseBy: flags.chooseBy,
      keepBytes: flags.keepBytes,
      seed,
      probe: {
        ...(C !== undefined && { C }),
        ...(ranking && { ranking }),
        ...(prefilter !== undefined && { prefilter }),
        ...(seed !== undefined && { seed }),
      },
      signal: session.signal,
      onProgress: (stage, done, total) => session.progress.show(stage, done, total, UNITS[stage]),
    }),
  }));
  const whole = { model, ...result };
  if (out !== undefined) await writeOutput(out, `${toJson(whole, 1)}\n`, session);
  if (session.json) printJson(session, whole);
  else print(session, describeResult(result));
}

const PART_NAMES = { train: "fit", validation: "choose", test: "score" } as const;

function describeResult({ chosen, failures, split, rows, tokens }: ProbeTextsResult): string[] {
  const parts = Object.entries(PART_NAMES).map(
    ([part, use]) => `${counted(split[part as keyof typeof PART_NAMES].texts.length)} to ${use}`,
  );
  const lines = [
    `Texts: ${parts.join(", ")}; no document is in two parts. Scores are of the last part, which chose nothing.`,
    "",
    ...chosenTable(chosen),
    "",
    `${plural(rows.length, "probe")} fitted, ${counted(tokens)} tokens read`,
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
function chosenTable(chosen: readonly ChosenProbe[]): string[] {
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
