/** `sparseprobe sweep`: a whole study from its description. */
import { dirname } from "node:path";
import { FormatError, OptionError } from "../errors.ts";
import { openStudy } from "../node/study.ts";
import { openSweepJournal } from "../node/sweep-journal.ts";
import { rowsToJsonLines } from "../sweeps/rows-jsonl.ts";
import { readStudy, type StudyDescription } from "../sweeps/study-description.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";
import type { SweepProgress } from "../sweeps/sweep-study.ts";
import { sweep as runSweep } from "../sweeps/sweep.ts";
import { required, type CommandFile } from "./command-file.ts";
import { withBackend } from "./open-model.ts";
import { addBackendOptions, bytes, wholeFrom, type ModelOptions } from "./options.ts";
import { assertWritable } from "./output-file.ts";
import { readTextFile } from "./read-file.ts";
import { rowsFormat, writeRows } from "./rows-file.ts";
import { print, type Session } from "./session.ts";
import { SweepSummary } from "./sweep-summary.ts";
import { plural } from "./table.ts";
import { visible } from "./terminal.ts";

interface SweepFlags extends Pick<ModelOptions, "backend" | "threads"> {
  readonly out?: string;
  readonly force?: true;
  readonly resume?: string;
  readonly memoryBytes?: number;
  readonly batchTokens?: number;
}

export const sweep: CommandFile = {
  describe(command) {
    command
      .description(
        "Runs a whole study: every model × dataset × feature × hook point × method × k × seed becomes two rows, scored " +
          "on validation and on test rows. What fails is a row that says why, and stops nothing.",
      )
      .usage("STUDY.json [options]")
      .argument("[study]", "the study's description; paths in it are relative to it")
      .optionsGroup("Output:")
      .option("--out <file>", "rows as .jsonl, .csv or .parquet (default: the summary alone)")
      .option("--force", "replace an existing file")
      .option("--resume <journal>", "keep finished work in this file, and go on from there if it exists")
      .optionsGroup("Work:")
      .option("--memory-bytes <bytes>", "activations held at once, e.g. 2GB (default: 1GiB)", bytes)
      .option("--batch-tokens <tokens>", "tokens in one pass of the model (default: 2048)", wholeFrom(1));
    addBackendOptions(command);
    command.addHelpText(
      "after",
      `
Example: study.json
  {
    "models": ["examples/model/haystack-4m"],
    "datasets": [
      {
        "builder": "natural-language",
        "files": ["examples/data/natural-language.jsonl"]
      }
    ],
    "ks": [1, 4],
    "methods": ["mean-difference", "adaptive"]
  }

  sparseprobe sweep study.json --out rows.jsonl --resume study.journal

Run again after an interruption, of whatever kind, the command goes on where it
stopped, and the rows are those of a run that was not interrupted. With --json
rows go to standard output as they come, as JSON Lines.
`,
    );
  },

  async run(command, inputs, session) {
    const flags = command.opts<SweepFlags>();
    const path = required(inputs, "study", "the description of a study");
    const { out, force, resume } = flags;
    if (out !== undefined) {
      rowsFormat(out);
      await assertWritable(out, force);
    }
    if (resume !== undefined && resume === out) {
      throw new OptionError(`--out and --resume both name ${out}.`, "Give each a file of its own.");
    }
    const description = await readDescription(path, session.signal);
    if (out === undefined && resume === undefined && !session.json) {
      session.progress.note(
        "The rows are not kept: for that, give --out FILE, or --json for standard output.",
      );
    }
    const summary = new SweepSummary();
    await withBackend(flags, session, async (backend) => {
      const study = await openStudy(description, backend, { folder: dirname(path), signal: session.signal });
      const journal = resume === undefined ? undefined : await openSweepJournal(resume);
      try {
        const rows = runSweep(study, {
          backend,
          journal,
          memoryBytes: flags.memoryBytes,
          batchTokens: flags.batchTokens,
          signal: session.signal,
          onProgress: (progress) => show(progress, session),
        });
        const seen = watched(rows, summary, session);
        await (out === undefined ? exhaust(seen) : writeRows(out, seen, session.signal));
      } finally {
        await journal?.close();
      }
    });
    if (out !== undefined) session.progress.note(`Written: ${out}`);
    if (!session.json) print(session, summary.lines());
    if (summary.rows > 0 && summary.failed === summary.rows) {
      throw new Error(`All ${plural(summary.rows, "row")} failed; each says why.`);
    }
  },
};

async function readDescription(path: string, signal: AbortSignal): Promise<StudyDescription> {
  const text = await readTextFile(path, signal);
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new FormatError(`${path} is not JSON: ${(cause as Error).message}.`, "Correct the file.", {
      cause,
    });
  }
  return readStudy(value);
}

async function exhaust(rows: AsyncGenerator<SweepRow>): Promise<void> {
  let next = await rows.next();
  while (!next.done) next = await rows.next();
}

/** The rows, seen on their way. */
async function* watched(
  rows: AsyncIterable<SweepRow>,
  summary: SweepSummary,
  session: Session,
): AsyncGenerator<SweepRow> {
  for await (const row of rows) {
    summary.add(row);
    if (session.json) print(session, [rowsToJsonLines([row]).trimEnd()]);
    yield row;
  }
}

function show({ done, total, unit, stage, part }: SweepProgress, { progress }: Session): void {
  const place = [unit.model, unit.dataset, unit.hookPoint].filter((name) => name !== null).join(" ");
  const share = part.total > 0 ? ` ${Math.floor((100 * part.done) / part.total)} %` : "";
  progress.show("sweep", done, total, "hook points", visible(`${place}: ${stage}${share}`));
}
