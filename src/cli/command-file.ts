/** What the file of a command exports. */
import type { Command } from "commander";
import { OptionError } from "../errors.ts";
import type { Session } from "./session.ts";

/** A command: what it takes, and what it does with it. */
export interface CommandFile {
  /** Adds arguments, options and help. All arguments are optional to the parser: a config file may hold them. */
  describe(command: Command): void;
  /** Works. The options are `command.opts()`, with those of the config file. */
  run(command: Command, inputs: Inputs, session: Session): Promise<void>;
}

/** Arguments by name. */
export type Inputs = Readonly<Record<string, string | undefined>>;

/** @throws OptionError when an argument was not given */
export function required(inputs: Inputs, name: string, what: string): string {
  const value = inputs[name];
  if (value !== undefined) return value;
  throw new OptionError(`${name.toUpperCase()} is missing: ${what}.`, "See --help for an example.");
}
