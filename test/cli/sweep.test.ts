/** `sweep` and `report`, built, in processes of their own. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readRows } from "../../src/sweeps/rows-jsonl.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import { MODEL, ROOT, runCli, whenSaid } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "sparseprobe-sweep-"));
const at = (name: string): string => join(folder, name);
const CPU = ["--backend", "cpu", "--threads", "1"];

function writeStudy(name: string, change: Readonly<Record<string, unknown>> = {}): string {
  const study = {
    models: [join(ROOT, MODEL)],
    // Relative to the study.
    datasets: [
      {
        builder: "natural-language",
        files: ["texts.jsonl"],
        sampling: { positiveShare: 0.5, leastRows: 5 },
      },
    ],
    layers: [1, 3],
    ks: [1, 2],
    ...change,
  };
  writeFileSync(at(name), JSON.stringify(study));
  return at(name);
}

/** Times differ from run to run. */
const untimed = (rows: readonly SweepRow[]): unknown[] => rows.map((row) => ({ ...row, seconds: null }));
const rowsIn = (name: string): SweepRow[] => readRows(readFileSync(at(name), "utf8"));

beforeAll(async () => {
  const lines = readFileSync(join(ROOT, "examples/data/natural-language.jsonl"), "utf8")
    .split("\n")
    .filter((line) => /"label": "(en|ru)", "doc": "topic-0/.test(line));
  expect(lines).toHaveLength(18);
  writeFileSync(at("texts.jsonl"), `${lines.join("\n")}\n`);
  const ended = await runCli([
    "sweep",
    writeStudy("study.json"),
    ...CPU,
    "--quiet",
    "--out",
    at("rows.jsonl"),
  ]);
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(ended.stdout).toMatch(/^\d+ rows\n/);
  expect(ended.stdout).toMatch(/^haystack-4m +natural-language +ru +L\d\.N\d+ +[\d.]+ +blocks/m);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

it("writes a row per feature, layer, k and part", () => {
  const rows = rowsIn("rows.jsonl");
  const features = new Set(rows.map(({ feature }) => feature));
  expect(features.size).toBeGreaterThan(0);
  expect(rows).toHaveLength(features.size * 2 * 2 * 2);
  expect(new Set(rows.map(({ layer }) => layer))).toEqual(new Set([1, 3]));
});

it("gives the same rows as JSON Lines on stdout, and as CSV", async () => {
  const { code, stdout } = await runCli([
    "sweep",
    at("study.json"),
    ...CPU,
    "--json",
    "--out",
    at("rows.csv"),
  ]);
  expect(code).toBe(0);
  expect(untimed(readRows(stdout))).toEqual(untimed(rowsIn("rows.jsonl")));
  const csv = readFileSync(at("rows.csv"), "utf8").trimEnd().split("\r\n");
  expect(csv).toHaveLength(1 + rowsIn("rows.jsonl").length);
  expect(csv.filter((line) => line.startsWith("model,"))).toHaveLength(1);
});

it("goes on from its journal after Ctrl-C, and ends with the same rows", async () => {
  const args = ["sweep", at("study.json"), ...CPU, "--resume", at("journal"), "--json"];
  const stopped = await runCli([...args, "--out", at("resumed.jsonl")], {
    // The first hook point is finished when its rows come.
    meanwhile: (child) => {
      child.stdout!.once("data", () => child.kill("SIGINT"));
      whenSaid(child, "error", () => child.kill("SIGKILL"));
    },
  });
  expect(stopped).toMatchObject({ code: 130 });
  expect(stopped.stderr).toMatch(/Interrupted\.\n$/);
  expect(existsSync(at("resumed.jsonl"))).toBe(false);
  expect(readFileSync(at("journal"), "utf8")).toContain('{"finished":');
  const resumed = await runCli([...args, "--out", at("resumed.jsonl")]);
  expect(resumed.code).toBe(0);
  expect(untimed(rowsIn("resumed.jsonl"))).toEqual(untimed(rowsIn("rows.jsonl")));
  expect(readdirSync(folder).filter((name) => /\.(tmp|lock)$/.test(name))).toEqual([]);
  const other = await runCli([
    "sweep",
    writeStudy("other.json", { ks: [3] }),
    ...CPU,
    "--resume",
    at("journal"),
  ]);
  expect(other.stderr).toMatch(/is of another study/);
  expect(other.code).toBe(2);
});

it("says which rows failed, and fails when all of them did", async () => {
  // Far more rows of each class than there are.
  const none = await runCli(["sweep", writeStudy("none.json", { leastPerClass: 100_000 }), ...CPU]);
  expect(none.stdout).toMatch(/^\d+ rows, \d+ of them failed\n\d+ rows failed: /);
  expect(none.stderr).toMatch(/^The rows are not kept: .*--out FILE/m);
  expect(none.stderr).toMatch(/error: All \d+ rows failed/);
  expect(none.code).toBe(1);
  // One hook point that is not there, of several features.
  const nowhere = await runCli(["sweep", writeStudy("nowhere.json", { layers: [44] }), ...CPU]);
  expect(nowhere.stdout).toMatch(/^\d+ rows failed \(\w+(, \w+)*\): The model has no hook point blocks\.44/m);
});

it.each([
  ["an unknown key", { layer: [1] }, [], /unknown key "layer" \(do you mean "layers"\?\)/],
  [
    "a dataset that is not there",
    { datasets: [{ builder: "latex", files: ["no.tex"] }] },
    [],
    /no\.tex cannot be read/,
  ],
  ["a file of rows of no known kind", {}, ["--out", "rows.xlsx"], /Give \.jsonl, \.csv or \.parquet/],
  [
    "rows and journal in one file",
    {},
    ["--out", "one.jsonl", "--resume", "one.jsonl"],
    /both name one\.jsonl/,
  ],
] as const)("refuses %s", async (_, change, args, problem) => {
  const { code, stdout, stderr } = await runCli(["sweep", writeStudy("wrong.json", change), ...CPU, ...args]);
  expect(stderr).toMatch(problem);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
});

it("makes a page of rows and neurons", async () => {
  const neurons = await runCli([
    "neuron",
    MODEL,
    at("texts.jsonl"),
    ...CPU,
    "--neurons",
    "L1.N211",
    "--json",
    "--html",
    at("neuron.html"),
  ]);
  expect(neurons.code).toBe(0);
  expect(readFileSync(at("neuron.html"), "utf8").slice(0, 15)).toMatch(/^<!doctype html>$/i);
  writeFileSync(at("neurons.json"), neurons.stdout);
  const args = [
    "report",
    at("rows.jsonl"),
    "--neurons",
    at("neurons.json"),
    "--title",
    "A <b>title</b>",
    "--out",
    at("report.html"),
  ];
  const made = await runCli([...args, "--json"]);
  expect(made.code).toBe(0);
  const page = readFileSync(at("report.html"), "utf8");
  expect(JSON.parse(made.stdout)).toMatchObject({
    rows: rowsIn("rows.jsonl").length,
    neurons: 1,
    bytes: Buffer.byteLength(page),
  });
  expect((JSON.parse(made.stdout) as { pictures: number }).pictures).toBeGreaterThan(1);
  // Not the page itself: a failure would print all of it.
  expect({
    svg: page.includes("<svg"),
    escaped: !page.includes("<b>title"),
    csp: /http-equiv="?Content-Security-Policy/i.test(page),
    // The build makes text of both.
    style: /<style>:root[^<]{4000,}<\/style>/.test(page),
    script: /<script>"use strict"/.test(page),
  }).toEqual({ svg: true, escaped: true, csp: true, style: true, script: true });
  expect((await runCli(args)).stderr).toMatch(/report\.html exists/);
  const plain = await runCli([...args, "--force", "--without-pictures"]);
  expect(plain.stdout).toMatch(/ 0 pictures, 1 neuron, \d+ kB$/m);
  expect(readFileSync(at("report.html")).length).toBeLessThan(Buffer.byteLength(page));
});

it.each([
  [
    "rows that are none",
    ["study.json"],
    /study\.json does not hold rows as \.jsonl: Line 1 is not a row of a sweep: .*\. Give what "sparseprobe sweep/,
  ],
  ["no output", ["rows.jsonl"], /--out is missing/],
  [
    "neurons that are none",
    ["rows.jsonl", "--neurons", "study.json", "--out", "no.html"],
    /study\.json holds no neurons/,
  ],
] as const)("report refuses %s", async (_, args, problem) => {
  const located = args.map((arg) => (/^[a-z]+\.[a-z]+$/.test(arg) ? at(arg) : arg));
  const out =
    args.includes("--out" as never) || problem.source.includes("out") ? [] : ["--out", at("no.html")];
  const { code, stderr } = await runCli(["report", ...located, ...out]);
  expect(stderr).toMatch(problem);
  expect(code).toBe(2);
  expect(existsSync(at("no.html"))).toBe(false);
});
