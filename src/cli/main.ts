/** Reads the command line, runs one command and says how it went. */
import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import type { CommandFile, Inputs } from "./command-file.ts";
import { applyConfigFile } from "./config-file.ts";
import { describeError, exitCodeOf } from "./exit-codes.ts";
import { listenForInterruption, ReaderGone } from "./interruption.ts";
import { addCommonOptions, type CommonOptions } from "./options.ts";
import { Progress } from "./progress.ts";
import type { Session } from "./session.ts";

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Only the command that is wanted is loaded. */
  readonly load: () => Promise<CommandFile>;
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: "probe",
    summary: "find the neurons that tell classes of text apart",
    load: async () => (await import("./probe.ts")).probe,
  },
  {
    name: "neuron",
    summary: "what neurons respond to, how they are wired and what they write",
    load: async () => (await import("./neuron.ts")).neuron,
  },
  {
    name: "ablate",
    summary: "what becomes of the model's loss without some neurons",
    load: async () => (await import("./ablate.ts")).ablate,
  },
  {
    name: "capture",
    summary: "activations of a model over texts, into files",
    load: async () => (await import("./capture.ts")).capture,
  },
  {
    name: "sweep",
    summary: "a whole study from its description, as rows",
    load: async () => (await import("./sweep.ts")).sweep,
  },
  {
    name: "report",
    summary: "one HTML page of a study's rows",
    load: async () => (await import("./report.ts")).report,
  },
];

const HELP = `
Start here, with the model and the texts that come with the repository:
  sparseprobe probe examples/model/haystack-4m \\
    examples/data/natural-language.jsonl --aggregation mean --ks 1,4

"sparseprobe COMMAND --help" explains a command, with an example.

Results go to standard output, progress and notes to standard error. Exit codes
are 0 done, 1 failed while working, 2 wrong usage or input, 130 interrupted by
Ctrl-C, which cleans up; a second Ctrl-C stops at once.
`;

/** Runs the command line of this process and sets its exit code. */
export async function runCommandLine(host: NodeJS.Process): Promise<void> {
  const { stdin, stdout, stderr, env } = host;
  const controller = new AbortController();
  const { signal } = controller;
  const stop = listenForInterruption(host, controller, (exitCode) => host.exit(exitCode));
  let progress: Progress | undefined;
  let verbose = false;
  const fail = (error: unknown): void => {
    progress?.clear();
    const said = describeError(error, verbose);
    if (said !== undefined) stderr.write(`${said}\n`);
    host.exitCode = exitCodeOf(error);
  };
  // A result that cannot be written is often found out after the work has ended.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    const reason = error.code === "EPIPE" ? new ReaderGone() : error;
    if (ended) fail(reason);
    else controller.abort(reason);
  });
  stderr.on("error", () => undefined);
  let ended = false;
  const begin = (options: CommonOptions): Session => {
    verbose = options.verbose === true;
    progress = new Progress({ stream: stderr, env, quiet: options.quiet === true });
    return { stdin, stdout, env, signal, progress, json: options.json === true };
  };
  try {
    await parse(host, begin, signal);
    signal.throwIfAborted();
    host.exitCode = 0;
  } catch (error) {
    fail(signal.aborted ? signal.reason : error);
  } finally {
    ended = true;
    stop();
  }
}

async function parse(
  host: NodeJS.Process,
  begin: (options: CommonOptions) => Session,
  signal: AbortSignal,
): Promise<void> {
  const words = host.argv.slice(2).filter((word) => !word.startsWith("-"));
  const wanted = words[0] === "help" ? words[1] : words[0];
  const program = new Command("sparseprobe")
    .description("Finds the neurons of a language model that carry a feature: k-sparse probes.")
    .version(versionOf(host.argv[1]))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
    })
    .showHelpAfterError("Add --help to see how it is used.")
    .addHelpText("after", HELP);
  for (const { name, summary, load } of COMMANDS) {
    const command = program.command(name).summary(summary);
    if (name !== wanted) continue;
    const file = await load();
    file.describe(command);
    addCommonOptions(command);
    command.action(async () => {
      const given = argumentsOf(command);
      const { config } = command.opts<CommonOptions>();
      const inputs =
        config === undefined ? given : { ...(await applyConfigFile(command, config, signal)), ...given };
      await file.run(command, inputs, begin(command.opts<CommonOptions>()));
    });
  }
  try {
    await program.parseAsync(host.argv);
  } catch (error) {
    // Help and version are errors to commander; what else it throws it has said already.
    if (error instanceof CommanderError && error.exitCode === 0) return;
    throw error;
  }
}

function argumentsOf(command: Command): Inputs {
  return Object.fromEntries(
    command.registeredArguments.flatMap((argument, i) =>
      i < command.args.length ? [[argument.name(), command.args[i]]] : [],
    ),
  );
}

/** Of the package that the script at `path` belongs to. */
function versionOf(path: string): string {
  const text = readFileSync(join(realpathSync(path), "../../package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
