/** Files that a command writes: never over an existing one unasked, and whole or not at all. */
import { constants } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { OptionError } from "../errors.ts";
import { writeFileAtomically } from "../node/files.ts";
import type { Session } from "./session.ts";

/**
 * Refuses, before any work is done, what could not be written after it.
 * @throws OptionError when the file is there already and `force` is not set, or its folder is not or may not be written to
 */
export async function assertWritable(path: string, force: true | undefined): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new OptionError(`${path} is a folder.`, "Give the name of a file.");
  if (found && !force)
    throw new OptionError(`${path} exists.`, "Give another name, or --force to replace it.");
  await assertWritableFolder(dirname(resolve(path)));
}

/**
 * The same for a folder, which is taken as it is if it is empty.
 * @throws OptionError when it is a file, holds something and `force` is not set, or may not be made or written to
 */
export async function assertFolderWritable(path: string, force: true | undefined): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return assertWritableFolder(dirname(resolve(path)));
  if (!found.isDirectory()) throw new OptionError(`${path} is a file.`, "Give a folder.");
  if (!force && (await readdir(path)).length > 0) {
    throw new OptionError(
      `The folder ${path} is not empty.`,
      "Give another name, or --force to replace files of the same names.",
    );
  }
  await assertWritableFolder(path);
}

async function assertWritableFolder(folder: string): Promise<void> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new OptionError(`The folder ${folder} does not exist.`, "Create it first.");
  }
  try {
    await access(folder, constants.W_OK);
  } catch (cause) {
    throw new OptionError(`The folder ${folder} may not be written to.`, "Choose another.", { cause });
  }
}

/** Writes a file whole, and says so. */
export async function writeOutput(path: string, text: string, session: Session): Promise<void> {
  session.signal.throwIfAborted();
  await writeFileAtomically(path, new TextEncoder().encode(text));
  session.progress.note(`Written: ${path}`);
}
