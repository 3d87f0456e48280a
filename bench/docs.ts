/** Writes docs/benchmarks.md from the committed results. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { SCHEMA, type BenchResults } from "./results.ts";
import { renderMarkdown, type Notes } from "./table.ts";

const RESULTS = new URL("results/", import.meta.url);
const NOTES = new URL("notes.json", import.meta.url);
const PAGE = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url));

/** The page's text. */
export async function benchmarksPage(): Promise<string> {
  const page = renderMarkdown(await readAllResults(), await readNotes());
  return format(page, { ...(await resolveConfig(PAGE)), parser: "markdown" });
}

/** The committed results by the names of their files, without ".json". */
export async function readAllResults(): Promise<Map<string, BenchResults>> {
  const names = (await readdir(RESULTS)).filter((name) => name.endsWith(".json")).sort();
  const all = new Map<string, BenchResults>();
  for (const name of names) all.set(name.replace(/\.json$/, ""), await readResults(name));
  return all;
}

/** What was tried for missed goals. */
export async function readNotes(): Promise<Notes> {
  return JSON.parse(await readFile(NOTES, "utf8")) as Notes;
}

async function readResults(name: string): Promise<BenchResults> {
  const results = JSON.parse(await readFile(new URL(name, RESULTS), "utf8")) as { schema: string };
  if (results.schema !== SCHEMA) throw new Error(`bench/results/${name} is not of the form ${SCHEMA}.`);
  return results as BenchResults;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(PAGE, await benchmarksPage());
