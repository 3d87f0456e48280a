/** Results of rivals, read back for verification. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readNpy } from "sparseprobe";
import type { Rival } from "./rival.ts";

/** Runs a task of the loaded module and returns its array, flat. */
export async function rivalArray(
  rival: Rival,
  folder: string,
  task: string,
  parameters: object,
): Promise<Float64Array> {
  const path = join(folder, `${task}-${rival.threads}.npy`);
  await rival.run(task, parameters, path);
  return Float64Array.from(readNpy(await readFile(path)).data as ArrayLike<number>);
}
