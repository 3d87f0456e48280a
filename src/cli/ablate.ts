/** `sparseprobe ablate`: what neurons are worth to the model. */
import { InvalidArgumentError } from "commander";
import { OptionError } from "../errors.ts";
import type {
  AblationEffect,
  AblationKind,
  AblationRow,
  ControlComparison,
} from "../interventions/ablation-effect.ts";
import { measureAblation } from "../interventions/interventions.ts";
import type { MetricInterval } from "../statistics/bootstrap.ts";
import { required, type CommandFile } from "./command-file.ts";
import { withModel } from "./open-model.ts";
import {
  addModelOptions,
  addTokenOptions,
  finiteNumber,
  list,
  MODEL_HELP,
  NEURONS_HELP,
  readNeurons,
  tokenOptions,
  wholeFrom,
  wholeNumbers,
  type ModelOptions,
  type TokenOptions,
} from "./options.ts";
import { readTexts, TEXTS_HELP } from "./read-texts.ts";
import { print, printJson } from "./session.ts";
import { counted, fixed, signed, tableLines, type Cell, type Column } from "./table.ts";
import { visible } from "./terminal.ts";

interface AblateFlags extends ModelOptions, TokenOptions {
  readonly neurons?: readonly string[];
  readonly how?: AblationKind;
  readonly controls?: number;
  readonly candidates?: number;
  readonly resamples?: number;
  readonly level?: number;
  readonly seed?: number;
  readonly logitsOf?: readonly number[];
}

export const ablate: CommandFile = {
  describe(command) {
    command
      .description(
        "Removes neurons from a model and measures what that does to its loss (cross-entropy of the next token, in " +
          "nats), overall and for each class of text, with bootstrap intervals over documents; beside it, if asked " +
          "for, the same of random neurons of the layer whose removal takes away as much.",
      )
      .usage("MODEL TEXTS --neurons LIST [options]")
      .argument("[model]", "folder, or name on a hub")
      .argument("[texts]", "FILE.jsonl or FILE.txt, or - for standard input; labels are the classes")
      .option("--neurons <list>", "ablated together, all of one layer, e.g. L3.N609,L3.N12 (required)", list)
      .option(
        "--how <change>",
        "zero, mean (over the texts), value:NUMBER or scale:NUMBER (default: zero)",
        readChange,
      )
      .option(
        "--controls <draws>",
        "compare with so many draws of random neurons, a pass each (default: none)",
        wholeFrom(1),
      )
      .option(
        "--candidates <neurons>",
        "of nearest scale, that a control is drawn from (default: 50)",
        wholeFrom(1),
      )
      .option("--resamples <number>", "of the bootstrap (default: 1000)", wholeFrom(1))
      .option("--level <share>", "that intervals cover (default: 0.95)", finiteNumber)
      .option("--seed <number>", "of resamples and controls (default: 0)", wholeFrom(0))
      .option("--logits-of <ids>", "entries of the vocabulary whose logits are compared too", wholeNumbers);
    addTokenOptions(command);
    addModelOptions(command);
    command.addHelpText(
      "after",
      `
Example: does the bundled model need its German neuron for German?
  sparseprobe ablate examples/model/haystack-4m \\
    examples/data/natural-language.jsonl \\
    --neurons L4.N688 --how mean --controls 9

"effect" is the loss after less the loss before: above 0, the model needed the
neurons. "against others" is the effect on a class less that on all other texts.
p is the share of random draws, the neurons themselves counted in, that do at
least as much.

${NEURONS_HELP}
${MODEL_HELP}
${TEXTS_HELP}`,
    );
  },

  async run(command, inputs, session) {
    const flags = command.opts<AblateFlags>();
    const name = required(inputs, "model", "the folder of a model, or its name on a hub");
    const path = required(inputs, "texts", "a file of texts");
    const { neurons: names, controls, candidates } = flags;
    if (names === undefined)
      throw new OptionError("--neurons is missing.", "Write L3.N609 for neuron 609 of layer 3.");
    if (candidates !== undefined && controls === undefined) {
      throw new OptionError("--candidates is for controls.", "Give --controls too.");
    }
    const { texts, labels, docs } = await readTexts(path, session);
    const result = await withModel(name, flags, session, async (model) => {
      const places = readNeurons(names, model.spec);
      const [{ hookPoint }] = places;
      const other = places.findIndex((place) => place.hookPoint !== hookPoint);
      if (other > 0) {
        throw new OptionError(
          `${names[0]} and ${names[other]} are not at one hook point.`,
          "Ablate neurons of different layers one after the other.",
        );
      }
      const effect = await measureAblation(model, texts, {
        ...tokenOptions(flags),
        hookPoint,
        neurons: places.map(({ neuron }) => neuron),
        how: flags.how,
        classes: labels,
        groups: docs,
        resamples: flags.resamples,
        level: flags.level,
        seed: flags.seed,
        logitsOf: flags.logitsOf,
        ...(controls !== undefined && { controls: { draws: controls, candidates } }),
        signal: session.signal,
        onProgress: (done, total) => session.progress.show("ablate", done, total, "tokens"),
      });
      return { effect, token: (id: number) => model.tokenizer.tokenText(id), model: model.name ?? null };
    });
    if (session.json) printJson(session, { model: result.model, ...result.effect });
    else print(session, describe(result.effect, result.token));
  },
};

function readChange(text: string): AblationKind {
  if (text === "zero" || text === "mean") return text;
  const [, kind, amount] = /^(value|scale):(.+)$/.exec(text) ?? [];
  if (kind === "value") return { value: finiteNumber(amount) };
  if (kind === "scale") return { scale: finiteNumber(amount) };
  throw new InvalidArgumentError("Write zero, mean, value:NUMBER or scale:NUMBER.");
}

function describe(effect: AblationEffect, token: (id: number) => string): string[] {
  const { hookPoint, neurons, overall, classes, level, unit, units, draws } = effect;
  const percent = `${Number((100 * level).toPrecision(6))} %`;
  const withContrast = classes.some(({ contrast }) => contrast !== null);
  const right = (title: string): Column => ({ title, align: "right" });
  const columns = [
    { title: "texts of" },
    ...["texts", "tokens", "before", "after", "effect", percent].map(right),
    ...(withContrast ? [right("against others"), right(percent)] : []),
    ...(draws.length > 0 ? [right("p"), ...(withContrast ? [right("p against others")] : [])] : []),
  ];
  const line = ({
    class: name,
    texts,
    tokens,
    before,
    after,
    effect: of,
    contrast,
    controls,
  }: AblationRow): Cell[] => [
    name === null ? "all" : visible(String(name)),
    counted(texts),
    counted(tokens),
    fixed(before, 4),
    fixed(after, 4),
    signed(of.estimate, 4),
    interval(of),
    ...(withContrast ? [signed(contrast?.estimate ?? null, 4), contrast && interval(contrast)] : []),
    ...(draws.length > 0 ? [p(controls?.effect), ...(withContrast ? [p(controls?.contrast)] : [])] : []),
  ];
  const lines = [
    `${hookPoint}, neurons ${neurons.join(" ")}: loss in nats per token; intervals over ${counted(units)} ${unit === "group" ? "documents" : "texts"}`,
    ...(draws.length > 0
      ? [`p against ${counted(draws.length)} draws of random neurons of equal scale`]
      : []),
    "",
    ...tableLines(columns, [line(overall), ...classes.map(line)]),
  ];
  if (overall.logits.length > 0) {
    lines.push(
      "",
      ...tableLines(
        [
          { title: "texts of" },
          { title: "token" },
          ...["logit before", "after", "effect", percent].map(right),
        ],
        [overall, ...classes].flatMap((row) =>
          row.logits.map((logit) => [
            row.class === null ? "all" : visible(String(row.class)),
            `${logit.token} ${visible(JSON.stringify(token(logit.token)))}`,
            fixed(logit.before),
            fixed(logit.after),
            signed(logit.effect.estimate),
            interval(logit.effect, 3),
          ]),
        ),
      ),
    );
  }
  return lines;
}

function interval({ low, high }: MetricInterval, digits = 4): string | null {
  return low === null || high === null ? null : `${signed(low, digits)} … ${signed(high, digits)}`;
}

function p(comparison: ControlComparison | null | undefined): string | null {
  return fixed(comparison?.pValue ?? null);
}
