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
];

const HELP = `
Start here, with the model that comes with the repository:
  sparseprobe probe examples/model/haystack-4m examples/data/natural-language.jsonl --aggregation mean --ks 1,4

Results go to standard output, progress and notes to standard error.
Exit codes: 0 done, 1 failed while working, 2 wrong usage or input, 130 interrupted (Ctrl-C).
`;

/** Runs the command line of this process and sets its exit code. */
export async function runCommandLine(host: NodeJS.Process): Promise<void> {
  const controller = new AbortController();
  const stop = listenForInterruption(host, controller, (exitCode) => host.exit(exitCode));
  // Without a listener a reader that has gone would end the process with a stack.
  host.stdout.on("error", (error: NodeJS.ErrnoException) =>
    controller.abort(error.code === "EPIPE" ? new ReaderGone() : error),
  );
  host.stderr.on("error", () => undefined);
  let progress: Progress | undefined;
  let verbose = false;
  try {
    await parse(host, (options) => {
      verbose = options.verbose === true;
      const { stdin, stdout, stderr, env } = host;
      progress = new Progress({ stream: stderr, env, quiet: options.quiet === true });
      const { signal } = controller;
      return { stdin, stdout, env, signal, progress, json: options.json === true };
    });
    controller.signal.throwIfAborted();
    host.exitCode = 0;
  } catch (thrown) {
    const error: unknown = controller.signal.aborted ? controller.signal.reason : thrown;
    progress?.clear();
    const said = describeError(error, verbose);
    if (said !== undefined) host.stderr.write(`${said}\n`);
    host.exitCode = exitCodeOf(error);
  } finally {
    stop();
  }
}

async function parse(host: NodeJS.Process, begin: (options: CommonOptions) => Session): Promise<void> {
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
      const { config } = command.opts<CommonOptions>();
      const session = begin(command.opts<CommonOptions>());
      const given = argumentsOf(command);
      const inputs =
        config === undefined
          ? given
          : { ...(await applyConfigFile(command, config, session.signal)), ...given };
      await file.run(command, inputs, config === undefined ? session : begin(command.opts<CommonOptions>()));
    });
  }
  try {
    await program.parseAsync(host.argv);
  } catch (error) {
    // What commander throws it has said already.
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
