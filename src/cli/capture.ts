/** `sparseprobe capture`: activations of a model, into files. */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Option } from "commander";
import type { Aggregation, HookPoint } from "../backends/backend.ts";
import { hookWidth } from "../backends/hook-points.ts";
import { TokenRows } from "../capture/token-rows.ts";
import type { StorageType } from "../data/activations.ts";
import { OptionError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { captureToFolder } from "../node/capture.ts";
import { writeFileAtomically } from "../node/files.ts";
import { required, type CommandFile } from "./command-file.ts";
import { withModel } from "./open-model.ts";
import {
  addAggregation,
  addModelOptions,
  addTokenOptions,
  expandHookPoints,
  HOOK_POINTS_HELP,
  list,
  MODEL_HELP,
  tokenOptions,
  type ModelOptions,
  type TokenOptions,
} from "./options.ts";
import { assertFolderWritable, assertWritable } from "./output-file.ts";
import { readTexts, TEXTS_HELP, type Texts } from "./read-texts.ts";
import { ROWS_FILE } from "./saved-activations.ts";
import { print, printJson, type Session } from "./session.ts";
import { counted, tableLines } from "./table.ts";

interface CaptureFlags extends ModelOptions, TokenOptions {
  readonly hookPoints?: readonly string[];
  readonly aggregation?: Aggregation;
  readonly storage?: StorageType;
  readonly out?: string;
  readonly force?: true;
}

export const capture: CommandFile = {
  describe(command) {
    command
      .description(
        "Runs a model over texts and writes the activations of each hook point to a safetensors file, a row per " +
          "token, or per text. Memory holds one batch; the files appear when all of them are complete.",
      )
      .usage("MODEL TEXTS --hook-points LIST --out PLACE [options]")
      .argument("[model]", "folder, or name on a hub")
      .argument("[texts]", "FILE.jsonl or FILE.txt, or - for standard input")
      .option("--hook-points <list>", "where to look, e.g. blocks.3.mlp.hook_post (required)", list)
      .optionsGroup("Output:")
      .option("--out <place>", "folder, or FILE.safetensors for one hook point (required)")
      .addOption(
        new Option(
          "--storage <type>",
          "float32, float16, or 8 bits with a scale per neuron (default: f32)",
        ).choices(["f32", "f16", "u8"]),
      )
      .option("--force", "replace existing files");
    addAggregation(command);
    addTokenOptions(command);
    addModelOptions(command);
    command.addHelpText(
      "after",
      `
Example: all neurons, averaged over each text, for probes that are fitted later
  sparseprobe capture examples/model/haystack-4m \\
    examples/data/natural-language.jsonl --aggregation mean \\
    --hook-points 'blocks.*.mlp.hook_post' --out activations
  sparseprobe probe --activations activations --ks 1,4

A folder gets a file per hook point, such as blocks.3.mlp.hook_post.safetensors
with the tensor activations [rows × neurons], and ${ROWS_FILE}: which text each
row comes from, its label, doc and token.

${MODEL_HELP}
${TEXTS_HELP}
${HOOK_POINTS_HELP}`,
    );
  },

  async run(command, inputs, session) {
    const flags = command.opts<CaptureFlags>();
    const name = required(inputs, "model", "the folder of a model, or its name on a hub");
    const path = required(inputs, "texts", "a file of texts");
    const { hookPoints: patterns, out, force } = flags;
    if (patterns === undefined) throw new OptionError("--hook-points is missing.", "Say where to look.");
    if (out === undefined) throw new OptionError("--out is missing.", "Say where to write.");
    const single = out.toLowerCase().endsWith(".safetensors");
    await (single ? assertWritable(out, force) : assertFolderWritable(out, force));
    const texts = await readTexts(path, session);
    const written = await withModel(name, flags, session, async (model) => {
      const points = expandHookPoints(patterns, model.spec);
      if (single && points.length > 1) {
        throw new OptionError(
          `${out} is one file, and there are ${points.length} hook points.`,
          "Give --out a folder, which gets a file for each.",
        );
      }
      return captureInto(model, texts, { points, out, single, flags, session });
    });
    if (session.json) printJson(session, written);
    else print(session, describe(written));
  },
};

interface Written {
  readonly model: string | null;
  readonly rows: number;
  readonly tokens: number;
  readonly aggregation: Aggregation;
  readonly files: readonly {
    readonly hookPoint: HookPoint;
    readonly path: string;
    readonly neurons: number;
    readonly bytes: number;
  }[];
}

/** Everything is written to a folder beside the place, and moved there when it is complete. */
async function captureInto(
  model: LanguageModel,
  { texts, labels, docs }: Texts,
  given: {
    readonly points: readonly HookPoint[];
    readonly out: string;
    readonly single: boolean;
    readonly flags: CaptureFlags;
    readonly session: Session;
  },
): Promise<Written> {
  const { points, out, single, flags, session } = given;
  const { signal, progress } = session;
  const rows = await TokenRows.tokenise(model, texts, {
    ...tokenOptions(flags),
    aggregation: flags.aggregation,
    groups: docs,
    signal,
  });
  const place = resolve(out);
  const draft = join(dirname(place), `.${basename(place)}.${randomUUID()}.tmp`);
  await mkdir(draft);
  try {
    const paths = await captureToFolder(model, rows, draft, {
      hookPoints: points,
      storage: flags.storage,
      batchTokens: flags.batchTokens,
      signal,
      onProgress: (done, total) => progress.show("capture", done, total, "tokens"),
    });
    const tokens = rows.tokenTexts(model);
    const lines = Array.from(rows.textOfRow(), (text, row) =>
      JSON.stringify({ text, label: labels?.[text], doc: docs?.[text], token: tokens?.[row] }),
    );
    await writeFileAtomically(join(draft, ROWS_FILE), new TextEncoder().encode(`${lines.join("\n")}\n`));
    signal.throwIfAborted();
    const files = [];
    for (const [hookPoint, path] of paths) {
      const { size } = await stat(path);
      const neurons = hookWidth(model.spec, hookPoint);
      files.push({ hookPoint, path: single ? out : join(out, basename(path)), neurons, bytes: size });
    }
    if (single) await rename(paths.get(points[0])!, place);
    else await moveFolder(draft, place);
    return {
      model: model.name ?? null,
      rows: rows.rows,
      tokens: rows.tokens,
      aggregation: rows.aggregation,
      files,
    };
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function moveFolder(draft: string, place: string): Promise<void> {
  await mkdir(place, { recursive: true });
  for (const name of await readdir(draft)) await rename(join(draft, name), join(place, name));
}

function describe({ rows, tokens, aggregation, files }: Written): string[] {
  return [
    `${counted(rows)} rows (${aggregation === "token" ? "tokens" : `the ${aggregation} of each text`}), ${counted(tokens)} tokens read`,
    "",
    ...tableLines(
      [
        { title: "hook point" },
        { title: "neurons", align: "right" },
        { title: "MB", align: "right" },
        { title: "file" },
      ],
      files.map(({ hookPoint, neurons, bytes, path }) => [
        hookPoint,
        neurons,
        (bytes / 1e6).toFixed(1),
        path,
      ]),
    ),
  ];
}
