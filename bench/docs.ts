/** Writes docs/benchmarks.md from the committed results. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { SCHEMA, type BenchResults } from "./results.ts";
import { renderMarkdown } from "./table.ts";

const RESULTS = new URL("results/", import.meta.url);
const PAGE = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url));

/** The page's text. */
export async function benchmarksPage(): Promise<string> {
  const names = (await readdir(RESULTS)).filter((name) => name.endsWith(".json")).sort();
  const all = await Promise.all(names.map(readResults));
  return format(renderMarkdown(all), { ...(await resolveConfig(PAGE)), parser: "markdown" });
}

async function readResults(name: string): Promise<BenchResults> {
  const results = JSON.parse(await readFile(new URL(name, RESULTS), "utf8")) as { schema: string };
  if (results.schema !== SCHEMA) throw new Error(`bench/results/${name} is not of the form ${SCHEMA}.`);
  return results as BenchResults;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(PAGE, await benchmarksPage());
