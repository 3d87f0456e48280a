/** Examples run as users run them: on the built package, as processes of their own. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
let folder: string;

const example = (name: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(
    process.execPath,
    ["node_modules/tsx/dist/cli.mjs", "--tsconfig", "tsconfig.examples.json", `examples/${name}.ts`, ...args],
    { cwd: ROOT },
  );

interface Report {
  readonly backend: { readonly kind: string };
  readonly results: Record<
    string,
    { readonly chosen: { feature: string; k: number; neurons: number[]; test: { f1: number } }[] }
  >;
}

/** The first words of a few bundled passages in three languages: a software GPU reads tens of tokens a second. */
async function fewTexts(): Promise<string> {
  const lines = (await readFile(join(ROOT, "examples/data/natural-language.jsonl"), "utf8"))
    .trim()
    .split("\n");
  const texts = lines.map((line) => JSON.parse(line) as { text: string; label: string; doc: string });
  const kept = texts
    .filter(({ label, doc }) => ["en", "fr", "ru"].includes(label) && Number(doc.slice(-2)) % 8 === 0)
    .map((entry) => JSON.stringify({ ...entry, text: entry.text.slice(0, 40) }));
  const path = join(folder, "few.jsonl");
  await writeFile(path, kept.join("\n"));
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sparseprobe-examples-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("examples", () => {
  it("own-activations finds the planted neurons, in under 30 lines", async () => {
    const { stdout } = await example("own-activations");
    expect(stdout).toMatch(/^k 1: .*neurons 41$/m);
    expect(stdout).toMatch(/^k 2: .*neurons 41 7$/m);
    const source = await readFile(join(ROOT, "examples/own-activations.ts"), "utf8");
    expect(source.split("\n").length).toBeLessThan(30);
  });

  it("honest-statistics chooses, reports with intervals, and says what chance would find", async () => {
    const { stdout } = await example("honest-statistics");
    expect(stdout).toMatch(/out of 72 candidates: blocks\.\d\.mlp\.hook_post, k \d/);
    expect(stdout).toMatch(/^ {2}f1 +0\.\d{3} {3}0\.\d{3} … [01]\.\d{3}$/m);
    expect(stdout).toMatch(/ at a false discovery rate of 5 %/);
    expect(stdout).not.toMatch(/NaN|undefined/);
  });

  it("compare-selections prints every method, proves the optimal supports, and draws a picture", async () => {
    const picture = join(folder, "selections.svg");
    const { stdout } = await example(
      "compare-selections",
      "--texts",
      "84",
      "--ks",
      "1,2",
      "--picture",
      picture,
    );
    expect(stdout).toMatch(/^mean-difference +0\.\d{3} +0\.\d{3} /m);
    expect(stdout).toMatch(/^optimal +0\.\d{3}\* +0\.\d{3}\* /m);
    expect(stdout).not.toMatch(/NaN|undefined/);
    expect(await readFile(picture, "utf8")).toMatch(/linear-svm[\s\S]*<\/svg>/);
  });

  it("study writes a report with its styles, and rows in three formats; again, it goes on from its journal", async () => {
    const out = join(folder, "study");
    const few = [
      "--datasets",
      "natural-language,compound-words",
      "--layers",
      "2",
      "--ks",
      "1,8,64",
      "--neurons",
      "1",
    ];
    const { stdout } = await example("study", ...few, "--out", out);
    expect(stdout).toMatch(/^natural-language {10,}7 +[01]\.\d\d +[01]\.\d\d/m);
    expect(stdout).toMatch(/^compound-words {10,}21 /m);
    const page = await readFile(join(out, "report.html"), "utf8");
    expect(page).toMatch(/<style>[^<]{2000,}<\/style>/);
    expect(page).not.toMatch(/\[object Object\]|\bNaN\b|\bundefined\b/);
    expect(page.length).toBeLessThan(2e6);
    const rows = await readFile(join(out, "rows.jsonl"), "utf8");
    const parquet = await readFile(join(out, "rows.parquet"));
    expect(parquet.subarray(0, 4).toString("latin1")).toBe("PAR1");
    await example("study", ...few, "--out", out, "--neurons", "0");
    // Seconds, too: nothing was fitted again.
    expect(await readFile(join(out, "rows.jsonl"), "utf8")).toBe(rows);
  });

  it("neuron-evidence shows that the French neuron responds to French, not to French tokens", async () => {
    const { stdout } = await example("neuron-evidence", "--controls", "2", "--ablate", "fr");
    for (const language of ["de", "en", "es", "fr", "it", "pt", "ru"]) {
      expect(stdout).toMatch(new RegExp(`^${language}: L\\d N\\d+; held-out F1 0\\.\\d\\d, AUC 0`, "m"));
    }
    expect(stdout).toMatch(/^fr: L4 N765[\s\S]*?on the same token: 9\d % of the difference remains/m);
    expect(stdout).toMatch(/‖W_in‖·b_in -\d/);
    // Ablating it costs its own language something, and the interval of that excludes nothing at all.
    expect(stdout).toMatch(/^fr L4 N765 +\+0\.\d{4} \(\+0\.\d{4} … \+0\.\d{4}\) +[+-]0\.000\d /m);
    expect(stdout).toMatch(/^ {2}raises \(kurtosis \d/m);
    expect(stdout).not.toMatch(/NaN|undefined/);
  });

  it("draw-pictures draws what it finds", async () => {
    const { stdout } = await example(
      "draw-pictures",
      ...["--every", "3", "--ks", "1,2", "--controls", "1", "--png", "--out", folder],
    );
    expect(stdout.match(/^.*\.svg: .*\d.*$/gm)).toHaveLength(5);
    for (const name of ["f1-by-k", "heat-map", "class-histograms", "layer-weights", "ablation"]) {
      expect(await readFile(join(folder, `${name}.svg`), "utf8")).toMatch(/^<svg[\s\S]*<\/svg>$/);
      expect((await readFile(join(folder, `${name}.png`))).subarray(1, 4).toString()).toBe("PNG");
    }
  });

  it("find-neurons gives the same neurons and scores on both backends", async () => {
    const data = await fewTexts();
    const reports = await Promise.all(
      ["cpu", "webgpu"].map(async (backend) => {
        const out = join(folder, `${backend}.json`);
        const picture = join(folder, `${backend}.svg`);
        const { stdout } = await example(
          "find-neurons",
          ...["--backend", backend, "--data", data, "--ks", "1,3", "--out", out, "--picture", picture],
        );
        expect(stdout).toMatch(/fr +L\d N\d+ /);
        expect(await readFile(picture, "utf8")).toContain("</svg>");
        return JSON.parse(await readFile(out, "utf8")) as Report;
      }),
    );
    const [cpu, webgpu] = reports;
    expect([cpu.backend.kind, webgpu.backend.kind]).toEqual(["cpu", "webgpu"]);
    const summary = (report: Report): unknown =>
      report.results["few"].chosen.map(({ feature, k, neurons, test }) => ({
        feature,
        k,
        neurons,
        f1: test.f1,
      }));
    expect(summary(webgpu)).toEqual(summary(cpu));
  });

  it.each([
    [["--backend", "abacus"], /^Error: The backend "abacus" is not known. Use/m],
    [["--model", "no-such-folder"], /^Error: There is no folder/m],
    [["--data", "no-such-file.jsonl"], /^Error: .*no-such-file/m],
    [["--ks", "0"], /^Error: k is 0.*Give a whole number/m],
    [["--colour"], /^Error: Unknown option/m],
  ])("find-neurons %j says what is wrong and exits with 1", async (args, message) => {
    await expect(example("find-neurons", ...args)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(message) as string,
    });
  });
});
