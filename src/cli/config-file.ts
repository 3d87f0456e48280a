/** `--config FILE.json`: options and arguments of a command by name, for what is not on the command line. */
import type { Argument, Command, Option } from "commander";
import { FormatError, OptionError } from "../errors.ts";
import type { Inputs } from "./command-file.ts";
import { nearest } from "../sweeps/json-field.ts";
import { readTextFile } from "./read-file.ts";

/** Options that concern the run and not the work: they are the command line's own. */
const NOT_IN_FILES = ["config", "help"];

/**
 * Puts the file's options into the command, where the command line did not give them, and returns its arguments.
 *
 * @throws FormatError when the file is not a JSON object
 * @throws OptionError for a name that the command does not have, with the nearest one, and for values that an option refuses
 */
export async function applyConfigFile(command: Command, path: string, signal: AbortSignal): Promise<Inputs> {
  const options = new Map<string, Option>();
  for (const option of command.options) {
    if (option.long === undefined || NOT_IN_FILES.includes(option.attributeName())) continue;
    options.set(option.attributeName(), option);
    options.set(option.long.slice(2), option);
  }
  const inputs = new Map<string, Argument>(command.registeredArguments.map((a) => [a.name(), a]));
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(parse(await readTextFile(path, signal), path))) {
    const option = options.get(name);
    if (option) {
      if (command.getOptionValueSource(option.attributeName()) === "cli") continue;
      const read = readValue(option, value, `${path}: "${name}"`);
      if (read !== undefined) command.setOptionValueWithSource(option.attributeName(), read, "config");
    } else if (inputs.has(name)) {
      given[name] = asText(value, `${path}: "${name}"`);
    } else {
      const names = [...inputs.keys(), ...Array.from(options.values(), (known) => known.attributeName())];
      const close = nearest(name, [...inputs.keys(), ...options.keys()]);
      throw new OptionError(
        `${path}: "${name}" is not an option of ${command.name()}.`,
        close === undefined ? `There are ${[...new Set(names)].join(", ")}.` : `Did you mean "${close}"?`,
      );
    }
  }
  return given;
}

function parse(text: string, path: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new FormatError(`${path} is not JSON: ${(cause as Error).message}.`, "Correct the file.", {
      cause,
    });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new FormatError(
    `${path} is not a JSON object.`,
    'Write options by name: { "ks": [1, 2], "seed": 3 }.',
  );
}

/** The value as the option's own parser reads it from the command line; undefined: as if not given. */
function readValue(option: Option, value: unknown, place: string): unknown {
  if (!option.required && !option.optional) {
    if (typeof value === "boolean") return value ? true : undefined;
    throw new OptionError(`${place} is ${JSON.stringify(value)}.`, "Write true or false.");
  }
  const text = Array.isArray(value)
    ? value.map((part) => asText(part, place)).join(",")
    : asText(value, place);
  if (option.argChoices && !option.argChoices.includes(text)) {
    throw new OptionError(
      `${place} is ${JSON.stringify(value)}.`,
      `Use one of ${option.argChoices.join(", ")}.`,
    );
  }
  const read: ((text: string, before: unknown) => unknown) | undefined = option.parseArg;
  if (!read) return text;
  try {
    return read(text, undefined);
  } catch (cause) {
    throw new OptionError(`${place} is ${JSON.stringify(value)}.`, (cause as Error).message, { cause });
  }
}

function asText(value: unknown, place: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  throw new OptionError(
    `${place} is ${JSON.stringify(value)}.`,
    "Write a string, a number or a list of these.",
  );
}
