/** `sparseprobe neuron`: what neurons respond to, how they are wired and what they write. */
import type { HookPoint } from "../backends/backend.ts";
import type { ClassValue } from "../data/labels.ts";
import { OptionError } from "../errors.ts";
import { logitEffects, neuronEvidence, weightStatistics } from "../evidence/evidence.ts";
import type { LayerWeightStatistics, NeuronWeightStatistics } from "../evidence/read-weight-statistics.ts";
import type { LanguageModel } from "../model/language-model.ts";
import type { NeuronPage } from "../reports/page/neuron-section.ts";
import { htmlReport } from "../reports/report.ts";
import { required, type CommandFile } from "./command-file.ts";
import { describeNeuron } from "./describe-neuron.ts";
import { NEURONS_SCHEMA, type KnownNeuron, type NeuronWeights } from "./known-neuron.ts";
import { withModel } from "./open-model.ts";
import {
  addModelOptions,
  addTokenOptions,
  list,
  MODEL_HELP,
  NEURONS_HELP,
  readNeurons,
  tokenOptions,
  wholeFrom,
  type ModelOptions,
  type TokenOptions,
} from "./options.ts";
import { assertWritable, writeOutput } from "./output-file.ts";
import { readTexts, TEXTS_HELP, type Texts } from "./read-texts.ts";
import { print, printJson, type Session } from "./session.ts";
import { plural } from "./table.ts";
import { hasColours } from "./terminal.ts";

interface NeuronFlags extends ModelOptions, TokenOptions {
  readonly neurons?: readonly string[];
  readonly positive?: string;
  readonly top?: number;
  readonly bottom?: number;
  readonly perGroup?: number;
  readonly context?: number;
  readonly tokens?: number;
  readonly html?: string;
  readonly force?: true;
}

export const neuron: CommandFile = {
  describe(command) {
    command
      .description(
        "Shows what neurons respond to: the tokens with the largest activations, and a histogram for each class of " +
          "text; how they are wired: lengths, biases and angles of their weights; and what they write: the tokens " +
          "whose logits they raise and lower on the direct path. Without texts the first part is left out.",
      )
      .usage("MODEL [TEXTS] --neurons LIST [options]")
      .argument("[model]", "folder, or name on a hub")
      .argument("[texts]", "FILE.jsonl or FILE.txt, or - for standard input; labels are the classes")
      .option("--neurons <list>", "e.g. L3.N609,L4.N12 (required)", list)
      .option("--positive <class>", "the class that is compared with all others (default: each)")
      .option("--top <number>", "examples with the largest activations (default: 10)", wholeFrom(0))
      .option("--bottom <number>", "examples with the smallest (default: 0)", wholeFrom(0))
      .option("--per-group <number>", "examples of one document at most (default: 1)", wholeFrom(1))
      .option("--context <tokens>", "shown on each side of an example (default: 8)", wholeFrom(0))
      .option("--tokens <number>", "whose logits it raises or lowers most (default: 10)", wholeFrom(0));
    command
      .optionsGroup("Output:")
      .option("--html <file>", "write a page with a section for each neuron (needs texts)")
      .option("--force", "replace an existing file");
    addTokenOptions(command);
    addModelOptions(command);
    command.addHelpText(
      "after",
      `
Example: the German neuron of the bundled model
  sparseprobe neuron examples/model/haystack-4m \\
    examples/data/natural-language.jsonl --neurons L4.N688 --positive de

${NEURONS_HELP}
${MODEL_HELP}
${TEXTS_HELP}`,
    );
  },

  async run(command, inputs, session) {
    const flags = command.opts<NeuronFlags>();
    const name = required(inputs, "model", "the folder of a model, or its name on a hub");
    const { neurons: names } = flags;
    if (names === undefined)
      throw new OptionError("--neurons is missing.", "Write L3.N609 for neuron 609 of layer 3.");
    if (flags.html !== undefined) {
      await assertWritable(flags.html, flags.force);
      if (inputs["texts"] === undefined) {
        throw new OptionError("--html shows what neurons respond to.", "Give texts too.");
      }
    }
    const texts = inputs["texts"] === undefined ? undefined : await readTexts(inputs["texts"], session);
    const { model, read, neurons, layers } = await withModel(name, flags, session, (loaded) =>
      study(loaded, names, texts, flags, session),
    );
    if (flags.html !== undefined) {
      const title = `Neurons of ${model ?? name}`;
      const pages = neurons.map((known) => pageOf(known, model, layers));
      await writeOutput(
        flags.html,
        await htmlReport({ title, rows: [], neurons: pages }, { signal: session.signal }),
        session,
      );
    }
    if (session.json) {
      printJson(session, { schema: NEURONS_SCHEMA, model, texts: read, neurons });
      return;
    }
    const colours = hasColours(session.stdout, session.env);
    const head = texts ? [`${plural(texts.texts.length, "text")}; activations are of single tokens`] : [];
    print(session, [...head, ...neurons.flatMap((known) => ["", ...describeNeuron(known, colours)])]);
  },
};

interface Study {
  readonly model: string | null;
  /** Texts that were read. */
  readonly read: number;
  readonly neurons: readonly KnownNeuron[];
  readonly layers: readonly LayerWeightStatistics[];
}

async function study(
  model: LanguageModel,
  names: readonly string[],
  texts: Texts | undefined,
  flags: NeuronFlags,
  { signal, progress }: Session,
): Promise<Study> {
  const places = readNeurons(names, model.spec);
  const evidence =
    texts &&
    (await neuronEvidence(model, texts.texts, {
      ...tokenOptions(flags),
      neurons: places,
      labels: texts.labels,
      groups: texts.docs,
      ...(flags.positive !== undefined && { positive: classNamed(flags.positive, texts.labels) }),
      top: flags.top ?? 10,
      bottom: flags.bottom,
      perGroup: flags.perGroup,
      context: flags.context,
      signal,
      onProgress: (done, total) => progress.show("read texts", done, total, "tokens"),
    }));
  const post = places.filter(({ hookPoint }) => hookPoint.endsWith(".mlp.hook_post"));
  const layerOf = (hookPoint: HookPoint): number => Number(hookPoint.split(".")[1]);
  const layers = [...new Set(post.map(({ hookPoint }) => layerOf(hookPoint)))];
  const weights = post.length === 0 ? [] : await weightStatistics(model, { layers, signal });
  const logits = post.length === 0 ? [] : await logitEffects(model, post, { tokens: flags.tokens, signal });
  const neurons = places.map(({ hookPoint, neuron: index }, i): KnownNeuron => {
    const layer = layerOf(hookPoint);
    const at = post.indexOf(places[i]);
    return {
      hookPoint,
      layer,
      neuron: index,
      evidence: evidence?.neurons[i] ?? null,
      weights:
        at < 0
          ? null
          : weightsOf(
              weights.find((of) => of.layer === layer)!,
              index,
            ),
      logits: at < 0 ? null : logits[at],
    };
  });
  return { model: model.name ?? null, read: evidence?.texts ?? 0, neurons, layers: weights };
}

/** The neuron as a section of a page; there were texts. */
function pageOf(
  { evidence, logits, layer }: KnownNeuron,
  model: string | null,
  layers: readonly LayerWeightStatistics[],
): NeuronPage {
  const weights = logits && layers.find((of) => of.layer === layer);
  return { model, evidence: evidence!, ...(logits && { logits }), ...(weights && { weights }) };
}

/** The class as the labels have it, which may be numbers or booleans. */
function classNamed(name: string, labels: readonly ClassValue[] | undefined): ClassValue {
  return labels?.find((label) => String(label) === name) ?? name;
}

function weightsOf(
  { stored, folded }: LayerWeightStatistics,
  index: number,
): NonNullable<KnownNeuron["weights"]> {
  return { stored: placeAmong(stored, index), folded: placeAmong(folded, index) };
}

function placeAmong(
  { input, gate, gateCosine, outputNorm }: NeuronWeightStatistics,
  index: number,
): NeuronWeights {
  const named = [
    ...Object.entries(input).map(([name, values]) => [`input.${name}`, values] as const),
    ...Object.entries(gate ?? {}).map(([name, values]) => [`gate.${name}`, values] as const),
    ["gateCosine", gateCosine] as const,
    ["outputNorm", outputNorm] as const,
  ];
  return Object.fromEntries(
    named.flatMap(([name, values]: readonly [string, readonly (number | null)[] | null]) => {
      const value = values?.[index] ?? null;
      if (values === null || value === null) return [];
      const below = values.filter((other) => other !== null && other < value).length;
      return [[name, { value, above: below / values.length }]];
    }),
  );
}
