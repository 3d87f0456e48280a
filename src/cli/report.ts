/** `sparseprobe report`: a study as one HTML page. */
import { Option } from "commander";
import { FormatError, MissingPackageError, OptionError } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import type { NeuronPage } from "../reports/page/neuron-section.ts";
import { htmlReport, type ReportContent, type ReportOptions } from "../reports/report.ts";
import { studyPictures } from "../reports/study-pictures.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";
import { readRows } from "../sweeps/rows-jsonl.ts";
import { required, type CommandFile } from "./command-file.ts";
import { NEURONS_SCHEMA, type KnownNeuron } from "./known-neuron.ts";
import { assertWritable, writeOutput } from "./output-file.ts";
import { readTextFile } from "./read-file.ts";
import { print, printJson, type Session } from "./session.ts";
import { plural } from "./table.ts";

interface ReportFlags {
  readonly out?: string;
  readonly force?: true;
  readonly title?: string;
  readonly metric?: MetricName;
  readonly neurons?: string;
  readonly withoutPictures?: true;
}

export const report: CommandFile = {
  describe(command) {
    command
      .description(
        "Makes one HTML file of the rows of a sweep: a summary, the best neuron of every feature, pictures, sortable " +
          "tables, and a section for each neuron given. It works offline, and shows what comes from texts as text.",
      )
      .usage("ROWS.jsonl --out REPORT.html [options]")
      .argument("[rows]", "rows of a sweep as .jsonl")
      .option("--title <text>", "of the page (default: the name of the file)")
      .addOption(
        new Option(
          "--metric <name>",
          "that chooses on validation rows, and that pictures show (default: f1)",
        ).choices(METRIC_NAMES),
      )
      .option("--neurons <file.json>", 'neurons to show, as "sparseprobe neuron --json" gives them')
      .option("--without-pictures", "leave out what needs the packages vega and vega-lite")
      .optionsGroup("Output:")
      .option("--out <file.html>", "where to write (required)")
      .option("--force", "replace an existing file");
    command.addHelpText(
      "after",
      `
Example: with rows.jsonl from "sparseprobe sweep study.json --out rows.jsonl"
  sparseprobe report rows.jsonl --out report.html --title "Languages"

The same with what a neuron responds to:
  sparseprobe neuron examples/model/haystack-4m \\
    examples/data/natural-language.jsonl --neurons L4.N688 --json > neurons.json
  sparseprobe report rows.jsonl --neurons neurons.json --out neurons.html
`,
    );
  },

  async run(command, inputs, session) {
    const flags = command.opts<ReportFlags>();
    const path = required(inputs, "rows", "a .jsonl file of rows");
    const { out, title = path.replace(/^.*[/\\]/, "").replace(/\.[^.]+$/, ""), metric } = flags;
    if (out === undefined) throw new OptionError("--out is missing.", "Say where to write.");
    await assertWritable(out, flags.force);
    const rows = readRowsOf(path, await readTextFile(path, session.signal));
    const neurons = flags.neurons === undefined ? [] : await readNeuronPages(flags.neurons, session.signal);
    const pictures = flags.withoutPictures ? [] : studyPictures(rows, { metric });
    const page = await pageWithPictures({ title, rows, neurons, pictures }, { metric }, session);
    await writeOutput(out, page.html, session);
    const bytes = Buffer.byteLength(page.html);
    const shown = { file: out, bytes, rows: rows.length, pictures: page.pictures, neurons: neurons.length };
    if (session.json) printJson(session, shown);
    else {
      const parts = [
        plural(rows.length, "row"),
        plural(page.pictures, "picture"),
        plural(neurons.length, "neuron"),
      ];
      print(session, [`${out}: ${parts.join(", ")}, ${(bytes / 1000).toFixed(0)} kB`]);
    }
  },
};

function readRowsOf(path: string, text: string): SweepRow[] {
  try {
    return readRows(text);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new FormatError(
      `${path} does not hold rows as .jsonl: ${cause.message.slice(0, -cause.remedy.length).trimEnd()}`,
      'Give what "sparseprobe sweep STUDY.json --out FILE.jsonl" has written.',
      { cause },
    );
  }
}

/** A page is worth having without pictures too, if the packages that draw them are not there. */
export async function pageWithPictures(
  content: ReportContent,
  options: ReportOptions,
  { progress, signal }: Session,
): Promise<{ html: string; pictures: number }> {
  const watched: ReportOptions = {
    ...options,
    signal,
    onProgress: (done, total) => progress.show("draw", done, total, "pictures"),
  };
  try {
    return { html: await htmlReport(content, watched), pictures: content.pictures?.length ?? 0 };
  } catch (error) {
    if (!(error instanceof MissingPackageError)) throw error;
    progress.note(`Without pictures: ${error.message}`);
    return { html: await htmlReport({ ...content, pictures: [] }, watched), pictures: 0 };
  }
}

async function readNeuronPages(path: string, signal: AbortSignal): Promise<NeuronPage[]> {
  const remedy = 'Give what "sparseprobe neuron MODEL TEXTS --json" has written.';
  let value: unknown;
  try {
    value = JSON.parse(await readTextFile(path, signal));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new FormatError(`${path} is not JSON.`, remedy, { cause });
  }
  const { schema, model, neurons } = (value ?? {}) as Partial<
    Record<"schema" | "model" | "neurons", unknown>
  >;
  if (schema !== NEURONS_SCHEMA || !Array.isArray(neurons)) {
    throw new FormatError(`${path} holds no neurons.`, remedy);
  }
  const name = typeof model === "string" ? model : null;
  return (neurons as readonly KnownNeuron[]).map(({ evidence, logits }) => {
    if (!evidence) throw new FormatError(`The neurons of ${path} have seen no texts.`, remedy);
    return { model: name, evidence, ...(logits && { logits }) };
  });
}
