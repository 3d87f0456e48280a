/** The names that users import, as a snapshot: a change of the public surface has to be meant. */
import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import * as datasets from "../../src/datasets.ts";
import * as gpujs from "../../src/gpujs.ts";
import * as node from "../../src/node.ts";
import * as reports from "../../src/reports.ts";
import * as sweeps from "../../src/sweeps.ts";

const ENTRIES: Readonly<Record<string, object>> = { index: core, node, gpujs, datasets, sweeps, reports };

const kinds = (module: object): string[] =>
  Object.entries(module)
    .map(([name, value]) => `${name}: ${typeof value}`)
    .sort();

describe("public surface", () => {
  it.each(Object.entries(ENTRIES))("of sparseprobe, %s", (_, module) => {
    expect(kinds(module)).toMatchSnapshot();
  });

  it.each(Object.entries(ENTRIES))("is the built package's too: %s", async (entry, module) => {
    const built = new URL(`../../dist/${entry}.js`, import.meta.url).href;
    expect(kinds((await import(built)) as object)).toEqual(kinds(module));
  });
});
