/** Each command, built, in a process of its own, on the bundled model and a few texts. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { splitRows, THREE_PARTS } from "../../src/data/splits.ts";
import { writeNpy } from "../../src/io/npy.ts";
import type { ProbeJson } from "../../src/probes/probe-record.ts";
import { CLI, MODEL, ROOT, runCli, whenSaid, type Ended } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "sparseprobe-cli-"));
const at = (name: string): string => join(folder, name);
/** Five topics in three languages. */
const TEXTS = at("texts.jsonl");
const CPU = ["--backend", "cpu", "--threads", "1"];

beforeAll(() => {
  if (!existsSync(CLI)) throw new Error(`${CLI} is missing: build first (npm run build).`);
  const lines = readFileSync(join(ROOT, "examples/data/natural-language.jsonl"), "utf8")
    .split("\n")
    .filter((line) => /"label": "(en|fr|ru)", "doc": "topic-0[1-5]/.test(line));
  expect(lines).toHaveLength(15);
  writeFileSync(TEXTS, `${lines.join("\n")}\n`);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** The run went well; what it wrote is JSON. */
async function json<Result>(args: readonly string[], input?: string): Promise<Result> {
  const ended = await runCli([...args, "--json", "--quiet"], input === undefined ? {} : { input });
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  return JSON.parse(ended.stdout) as Result;
}

interface Probed {
  readonly model: string | null;
  readonly chosen: readonly {
    readonly feature: string;
    readonly k: number;
    readonly hookPoint: string;
    readonly neurons: readonly number[];
    readonly test: Readonly<Record<string, number | null>>;
    readonly probe: ProbeJson;
  }[];
  readonly rows: readonly unknown[];
  readonly failures: readonly unknown[];
}

/** Wrong usage or input: a problem, a remedy, and no stack. */
function expectRefused(ended: Ended, problem: RegExp): void {
  expect(ended.stdout).toBe("");
  expect(ended.stderr).toMatch(problem);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
  expect(ended.code).toBe(2);
}

describe("probe", () => {
  const PROBE = ["probe", MODEL, TEXTS, ...CPU, "--aggregation", "mean", "--ks", "1,2"];

  it("prints a table of the chosen probes, notes apart from it", async () => {
    const { code, stdout, stderr } = await runCli(PROBE);
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines[0]).toMatch(/^Texts: 9 to fit, 3 to choose, 3 to score/);
    expect(lines[2]).toMatch(/^feature +k +hook point +neurons .* F1 +precision +recall +MCC +ROC AUC$/);
    expect(lines.slice(3, 9).map((line) => line.split(/ +/).slice(0, 2))).toEqual(
      ["en", "fr", "ru"].flatMap((feature) => [
        [feature, "1"],
        [feature, "2"],
      ]),
    );
    expect(stdout).toContain("36 probes fitted");
    expect(stderr).toContain("haystack-4m: 6 layers of 768 neurons");
  });

  it("gives the whole result as JSON, on stdout and in a file", async () => {
    const out = at("result.json");
    const result = await json<Probed>([...PROBE, "--out", out]);
    expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(result);
    expect(result.model).toBe("haystack-4m");
    expect(result.rows).toHaveLength(36);
    expect(result.chosen.map(({ feature, k }) => `${feature} ${k}`).sort()).toEqual(
      ["en", "fr", "ru"].flatMap((feature) => [`${feature} 1`, `${feature} 2`]),
    );
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("does not replace a file unasked, and says so before it works", async () => {
    const out = at("taken.json");
    writeFileSync(out, "mine");
    const refused = await runCli([...PROBE, "--out", out]);
    expectRefused(refused, /taken\.json exists\. Give another name, or --force to replace it\./);
    expect(refused.stderr).not.toContain("Computing");
    expect(readFileSync(out, "utf8")).toBe("mine");
    await json([
      "probe",
      MODEL,
      TEXTS,
      ...CPU,
      "--aggregation",
      "mean",
      "--ks",
      "1",
      "--out",
      out,
      "--force",
    ]);
    expect(readFileSync(out, "utf8")).toMatch(/^\{/);
  });

  it("reads texts from standard input", async () => {
    const piped = await json<Probed>(
      ["probe", MODEL, "-", ...CPU, "--aggregation", "mean", "--ks", "1,2"],
      readFileSync(TEXTS, "utf8"),
    );
    expect(piped.chosen).toEqual((await json<Probed>(PROBE)).chosen);
  });

  it("finds on captured activations what it finds on the texts", async () => {
    const acts = at("captured");
    await json([
      "capture",
      MODEL,
      TEXTS,
      ...CPU,
      "--aggregation",
      "mean",
      "--hook-points",
      "blocks.*.mlp.hook_post",
      "--out",
      acts,
    ]);
    const saved = await json<Probed>(["probe", "--activations", acts, ...CPU, "--ks", "1,2"]);
    const live = await json<Probed>(PROBE);
    const sorted = ({ chosen }: Probed): Probed["chosen"] =>
      [...chosen].sort((a, b) => a.feature.localeCompare(b.feature) || a.k - b.k);
    const wanted = sorted(live);
    expect(saved.chosen).toHaveLength(wanted.length);
    for (const [i, { probe, test, ...row }] of sorted(saved).entries()) {
      const { probe: wantedProbe, test: wantedTest, ...wantedRow } = wanted[i];
      const choice = ({ feature, k, hookPoint, neurons }: typeof row) => ({ feature, k, hookPoint, neurons });
      expect(choice(row)).toEqual(choice(wantedRow));
      expect(probe.coefficients).toEqual(wantedProbe.coefficients);
      // Decisions are summed in another order: the log-loss, a mean of a few numbers below 10, differs by some of its last bits.
      const { logLoss, ...metrics } = test;
      expect(wantedTest).toMatchObject(metrics);
      expect(Math.abs(logLoss! - wantedTest["logLoss"]!)).toBeLessThan(1e-13);
    }
    expect(saved.failures).toEqual([]);
  });

  it("goes on past a row that cannot be scored, and fails when no probe can be fitted", async () => {
    const rows = 60;
    const labels = Array.from({ length: rows }, (_, i) => i % 2);
    const data = Float32Array.from(
      { length: 2 * rows },
      (_, i) => ((i * 7919) % 13) + labels[i >> 1] * (i % 2) * 20,
    );
    const folder = at("scored");
    mkdirSync(folder);
    writeFileSync(join(folder, "a.npy"), writeNpy({ dtype: "F32", shape: [rows, 2], data }));
    const { test } = splitRows({ labels, seed: 0, fractions: THREE_PARTS });
    const spoilt = data.slice();
    spoilt[2 * test[0]] = NaN;
    writeFileSync(join(folder, "b.npy"), writeNpy({ dtype: "F32", shape: [rows, 2], data: spoilt }));
    const numbers = { dtype: "I32", shape: [rows], data: Int32Array.from(labels) } as const;
    writeFileSync(at("scored.npy"), writeNpy(numbers));
    const probe = ["probe", "--activations", folder, "--labels", at("scored.npy"), ...CPU, "--ks", "1,2"];
    const { rows: found, failures } = await json<
      Probed & { readonly rows: readonly { readonly hookPoint: string; readonly k: number }[] }
    >(probe);
    expect(found.map(({ hookPoint, k }) => `${hookPoint} ${k}`).sort()).toEqual(["a 1", "a 2", "b 1"]);
    expect(failures).toMatchObject([{ hookPoint: "b", k: 2 }]);

    spoilt.fill(NaN);
    writeFileSync(at("spoilt.npy"), writeNpy({ dtype: "F32", shape: [rows, 2], data: spoilt }));
    const none = await runCli([
      "probe",
      "--activations",
      at("spoilt.npy"),
      "--labels",
      at("scored.npy"),
      ...CPU,
    ]);
    expect(none.stderr).toContain("No probe could be fitted");
    expect(none.code).toBe(1);
  });

  it("reads activations and labels of NumPy", async () => {
    // The second of three neurons tells the classes apart.
    const rows = 40;
    const labels = Int32Array.from({ length: rows }, (_, i) => i % 2);
    const data = Float32Array.from({ length: 3 * rows }, (_, i) =>
      i % 3 === 1 ? 5 * labels[Math.floor(i / 3)] + (i % 5) / 10 : (i * 7919) % 13,
    );
    writeFileSync(at("acts.npy"), writeNpy({ dtype: "F32", shape: [rows, 3], data }));
    writeFileSync(at("labels.npy"), writeNpy({ dtype: "I32", shape: [rows], data: labels }));
    writeFileSync(at("labels.txt"), Array.from(labels, (label) => (label === 1 ? "yes\n" : "no\n")).join(""));
    const numbers = await json<Probed>([
      "probe",
      "--activations",
      at("acts.npy"),
      "--labels",
      at("labels.npy"),
      ...CPU,
      "--ks",
      "1",
    ]);
    expect(numbers.chosen.map(({ neurons, test }) => [neurons, test["f1"]])).toEqual([[[1], 1]]);
    const names = await json<Probed>([
      "probe",
      "--activations",
      at("acts.npy"),
      "--labels",
      at("labels.txt"),
      ...CPU,
      "--ks",
      "1",
    ]);
    expect(names.chosen.map(({ feature, neurons }) => [feature, neurons])).toEqual([
      ["no", [1]],
      ["yes", [1]],
    ]);
    expectRefused(
      await runCli(["probe", "--activations", at("acts.npy"), ...CPU]),
      /There are no labels for .*acts\.npy/,
    );
    expectRefused(
      await runCli(["probe", MODEL, "--activations", at("acts.npy"), "--labels", at("labels.npy")]),
      /model is given beside --activations/,
    );
  });
});

describe("capture", () => {
  it("writes a file per hook point, and which row is what", async () => {
    const out = at("tokens");
    const { rows, files } = await json<{
      rows: number;
      files: { path: string; neurons: number; bytes: number }[];
    }>([
      "capture",
      MODEL,
      TEXTS,
      ...CPU,
      "--hook-points",
      "blocks.0.hook_resid_post,blocks.1.mlp.hook_pre",
      "--storage",
      "f16",
      "--skip-first",
      "1",
      "--out",
      out,
    ]);
    expect(readdirSync(out).sort()).toEqual([
      "blocks.0.hook_resid_post.safetensors",
      "blocks.1.mlp.hook_pre.safetensors",
      "rows.jsonl",
    ]);
    expect(files.map(({ path, neurons }) => [path, neurons])).toEqual([
      [join(out, "blocks.0.hook_resid_post.safetensors"), 192],
      [join(out, "blocks.1.mlp.hook_pre.safetensors"), 768],
    ]);
    for (const { path, bytes } of files) expect(readFileSync(path)).toHaveLength(bytes);
    const lines = readFileSync(join(out, "rows.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(rows);
    expect(JSON.parse(lines[0])).toMatchObject({ text: 0, label: "en", doc: "topic-01" });
    expect(JSON.parse(lines[rows - 1])).toMatchObject({ text: 14, label: "ru", doc: "topic-05" });
    // What was written is what later probes read.
    const { chosen } = await json<Probed>(["probe", "--activations", out, ...CPU, "--ks", "1"]);
    expect(chosen).toHaveLength(3);
  });

  it("writes one file for one hook point, of plain lines of text", async () => {
    const out = at("one.safetensors");
    writeFileSync(at("plain.txt"), "A first line.\n\nAnd a second one.\n");
    const ended = await runCli([
      "capture",
      MODEL,
      at("plain.txt"),
      ...CPU,
      "--hook-points",
      "blocks.2.hook_resid_pre",
      "--aggregation",
      "last",
      "--out",
      out,
    ]);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^2 rows \(the last of each text\)/);
    expect(readFileSync(out).length).toBeGreaterThan(2 * 192 * 4);
    expectRefused(
      await runCli([
        "capture",
        MODEL,
        at("plain.txt"),
        ...CPU,
        "--hook-points",
        "blocks.*.hook_resid_pre",
        "--out",
        at("two.safetensors"),
      ]),
      /one file, and there are 6 hook points/,
    );
    expect(existsSync(at("two.safetensors"))).toBe(false);
  });

  it("does not mix its files into a folder that holds others, unasked", async () => {
    mkdirSync(at("full"));
    writeFileSync(at("full/notes.txt"), "mine");
    const args = [
      "capture",
      MODEL,
      at("plain.txt"),
      ...CPU,
      "--hook-points",
      "blocks.2.hook_resid_pre",
      "--out",
      at("full"),
    ];
    expectRefused(await runCli(args), /The folder .*full is not empty\./);
    expect((await runCli([...args, "--force"])).code).toBe(0);
    expect(readdirSync(at("full")).sort()).toEqual([
      "blocks.2.hook_resid_pre.safetensors",
      "notes.txt",
      "rows.jsonl",
    ]);
  });
});

describe("ablate", () => {
  const ABLATE = ["ablate", MODEL, TEXTS, ...CPU, "--neurons", "L4.N688,L4.N12", "--resamples", "50"];

  it("measures the effect by class, with controls", async () => {
    const result = await json<{
      neurons: number[];
      hookPoint: string;
      classes: { class: string }[];
      draws: unknown[];
    }>([...ABLATE, "--how", "mean", "--controls", "2"]);
    expect(result).toMatchObject({
      model: "haystack-4m",
      hookPoint: "blocks.4.mlp.hook_post",
      neurons: [688, 12],
      how: "mean",
      unit: "group",
      units: 5,
    });
    expect(result.classes.map((row) => row.class)).toEqual(["en", "fr", "ru"]);
    expect(result.draws).toHaveLength(2);
  });

  it("prints a table", async () => {
    const { code, stdout } = await runCli([...ABLATE, "--how", "scale:0.5", "--logits-of", "5"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^blocks\.4\.mlp\.hook_post, neurons 688 12: .* over 5 documents\n/);
    expect(stdout).toMatch(/^texts of +texts +tokens +before +after +effect +95 % +against others +95 %$/m);
    expect(stdout).toMatch(/^all +15 +[\d,]+ +\d\.\d{4}/m);
    expect(stdout).toMatch(/^fr +5 /m);
  });

  it("refuses what no neuron, and what no change is", async () => {
    expectRefused(
      await runCli(["ablate", MODEL, TEXTS, "--neurons", "L4-688", ...CPU]),
      /"L4-688" does not name a neuron\. Write L3\.N609/,
    );
    expectRefused(
      await runCli(["ablate", MODEL, TEXTS, "--neurons", "L4.N688,L3.N1", ...CPU]),
      /L4\.N688 and L3\.N1 are not at one hook point/,
    );
    expectRefused(await runCli(["ablate", MODEL, TEXTS, "--neurons", "L4.N9999", ...CPU]), /9999/);
    expectRefused(
      await runCli(["ablate", MODEL, TEXTS, "--neurons", "L4.N1", "--how", "half"]),
      /Write zero, mean, value:NUMBER or scale:NUMBER/,
    );
    expectRefused(await runCli(["ablate", MODEL, TEXTS]), /--neurons is missing/);
  });
});

describe("neuron", () => {
  it("shows passages, weights and logits", async () => {
    const { code, stdout } = await runCli([
      "neuron",
      MODEL,
      TEXTS,
      ...CPU,
      "--neurons",
      "L4.N688,blocks.3.hook_resid_post:17",
      "--top",
      "2",
      "--positive",
      "fr",
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^L4\.N688$/m);
    expect(stdout).toMatch(/^blocks\.3\.hook_resid_post:17$/m);
    expect(stdout).toMatch(/^ {4}fr +[\d,]+ +-?\d\.\d{3} +\d\.\d{3} +│.*│$/m);
    expect(stdout).toMatch(/⟦.+⟧/);
    expect(stdout).toContain("‖W_in‖·b_in");
    expect(stdout).toMatch(/raises "/);
    expect(stdout).not.toContain("\x1b");
  });

  it("gives everything as JSON, without texts too", async () => {
    interface Known {
      neurons: {
        evidence: unknown;
        weights: { folded: Record<string, { value: number; above: number }> } | null;
        logits: unknown;
      }[];
    }
    const { neurons } = await json<Known>(["neuron", MODEL, ...CPU, "--neurons", "L4.N688"]);
    expect(neurons).toHaveLength(1);
    expect(neurons[0]).toMatchObject({ layer: 4, neuron: 688, evidence: null });
    const { value, above } = neurons[0].weights!.folded["outputNorm"];
    expect(value).toBeGreaterThan(0);
    expect(above).toBeGreaterThan(0);
    const read = await json<Known>(["neuron", MODEL, TEXTS, ...CPU, "--neurons", "L4.N688", "--top", "1"]);
    expect(read.neurons[0].evidence).toMatchObject({
      neuron: 688,
      top: [{ position: expect.any(Number) as number }],
    });
  });

  it("sends no control characters of the texts to the terminal", async () => {
    const hostile = JSON.stringify({ text: "red \u001b[31m and \u202e back \u0007", label: "\u001b[2J" });
    const { code, stdout } = await runCli(
      ["neuron", MODEL, "-", ...CPU, "--neurons", "L0.N1", "--top", "5"],
      {
        input: `${hostile}\n`,
      },
    );
    expect(code).toBe(0);
    expect(stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(stdout).toContain("␛[2J");
  });
});

describe("wrong usage and input", () => {
  it.each([
    ["a command that is none", ["prob"], /unknown command 'prob'\n\(Did you mean probe\?\)/],
    [
      "an option that is none",
      ["probe", "--agregation", "mean"],
      /unknown option '--agregation'\n\(Did you mean --aggregation\?\)/,
    ],
    [
      "a value that is none",
      ["probe", "--ks", "one"],
      /--ks <list>' argument 'one' is invalid\. Give whole numbers/,
    ],
    [
      "a choice that is none",
      ["probe", "--aggregation", "sum"],
      /Allowed choices are token, mean, max, last/,
    ],
    ["no arguments", ["probe"], /MODEL is missing/],
    ["too many", ["probe", "a", "b", "c"], /too many arguments/],
    ["nothing at all", [], /^Usage: sparseprobe/],
    [
      "texts that are not there",
      ["probe", MODEL, "missing.jsonl"],
      /missing\.jsonl does not exist\. Check the path\./,
    ],
    ["texts of another kind", ["probe", MODEL, "texts.docx"], /Give a \.jsonl or \.txt file/],
    [
      "a folder that is not there",
      ["probe", "./no-model", "examples/data/code-language.jsonl", ...CPU],
      /There is no folder \.\/no-model/,
    ],
    [
      "an output in no folder",
      ["probe", MODEL, "examples/data/code-language.jsonl", "--out", "no/such/out.json"],
      /does not exist\. Create it first/,
    ],
    [
      "a hook point that is none",
      [
        "probe",
        MODEL,
        "examples/data/code-language.jsonl",
        ...CPU,
        "--hook-points",
        "blocks.9.mlp.hook_post",
      ],
      /beyond the model's 6 layers/,
    ],
    [
      "a revision of a folder",
      ["probe", MODEL, "examples/data/code-language.jsonl", ...CPU, "--revision", "main"],
      /--revision is for models on a hub/,
    ],
  ] as const)("refuses %s", async (_, args, problem) => {
    expectRefused(await runCli(args), problem);
  });

  it("names the line of the texts that is wrong", async () => {
    const input = '{"text": "a", "label": "x"}\n{"text": "b", "label": ';
    expectRefused(await runCli(["probe", MODEL, "-", ...CPU], { input }), /Line 2 is not JSON/);
    const unlabelled = '{"text": "a"}\n{"text": "b"}\n';
    expectRefused(await runCli(["probe", MODEL, "-", ...CPU], { input: unlabelled }), /have no labels/);
    const mixed = '{"text": "a"}\n{"text": "b", "label": "x"}\n';
    expectRefused(
      await runCli(["neuron", MODEL, "-", "--neurons", "L0.N0"], { input: mixed }),
      /Line 2 has a label, but/,
    );
  });

  it("refuses texts that are not UTF-8", async () => {
    writeFileSync(at("latin1.txt"), Buffer.from([0x47, 0x72, 0xf6, 0xdf, 0x65]));
    expectRefused(
      await runCli(["neuron", MODEL, at("latin1.txt"), "--neurons", "L0.N0"]),
      /is not UTF-8 text/,
    );
  });

  it("shows a stack when asked", async () => {
    const { stderr } = await runCli(["probe", MODEL, "missing.jsonl", "--verbose"]);
    expect(stderr).toMatch(
      /FormatError: missing\.jsonl does not exist.*\n\s+at [\s\S]*caused by Error: ENOENT/,
    );
  });

  it("fails with 1 while working: a model that no hub can be asked for", async () => {
    const { code, stderr } = await runCli(["probe", "no-such/model", TEXTS, ...CPU], {
      env: { HF_HUB_CACHE: at("hub") },
    });
    expect(stderr).toContain("There is no folder no-such/model: asking the hub.");
    expect(stderr).toMatch(/^error: /m);
    expect(code).toBe(1);
  });
});

describe("a config file", () => {
  const write = (value: unknown): string => {
    writeFileSync(at("config.json"), typeof value === "string" ? value : JSON.stringify(value));
    return at("config.json");
  };

  it("stands in for arguments and options, and the command line wins", async () => {
    const config = write({
      model: MODEL,
      texts: TEXTS,
      aggregation: "mean",
      ks: [1, 2],
      "skip-first": 1,
      backend: "cpu",
      threads: 1,
      json: true,
      quiet: true,
    });
    const { code, stdout, stderr } = await runCli(["probe", "--config", config, "--ks", "2"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const fromFile = JSON.parse(stdout) as Probed;
    expect(fromFile.chosen.map(({ k }) => k)).toEqual([2, 2, 2]);
    const spelled = await json<Probed>([
      "probe",
      MODEL,
      TEXTS,
      ...CPU,
      "--aggregation",
      "mean",
      "--ks",
      "2",
      "--skip-first",
      "1",
    ]);
    expect(fromFile.chosen).toEqual(spelled.chosen);
  });

  it.each([
    [
      "an unknown name",
      { agregation: "mean" },
      /config\.json: "agregation" is not an option of probe\. Did you mean "aggregation"\?/,
    ],
    [
      "a name like no other",
      { temperature: 1 },
      /"temperature" is not an option of probe\. There are model, texts, hookPoints/,
    ],
    ["a value out of range", { seed: -1 }, /"seed" is -1\. Give a whole number from 0\./],
    [
      "a choice that is none",
      { aggregation: "sum" },
      /"aggregation" is "sum"\. Use one of token, mean, max, last\./,
    ],
    ["a value of another kind", { ks: { a: 1 } }, /"ks" is \{"a":1\}\. Write a string, a number or a list/],
    ["a word for a flag", { truncate: "yes" }, /"truncate" is "yes"\. Write true or false\./],
    ["a config file in a config file", { config: "other.json" }, /"config" is not an option/],
    ["a list", [1], /is not a JSON object/],
    ["no JSON", "{", /is not JSON/],
  ] as const)("with %s is refused", async (_, value, problem) => {
    expectRefused(await runCli(["probe", "--config", write(value)]), problem);
  });
});

describe("a run that is disturbed", () => {
  it("stops at SIGINT with 130, and leaves nothing half written", async () => {
    const out = at("interrupted");
    const before = readdirSync(folder).sort();
    // All tokens of all texts at all layers: seconds of work.
    const args = [
      "capture",
      MODEL,
      "examples/data/natural-language.jsonl",
      ...CPU,
      "--hook-points",
      "blocks.*.mlp.hook_post",
      "--storage",
      "u8",
      "--out",
      out,
    ];
    const { code, stdout, stderr } = await runCli(args, {
      meanwhile: (child) => whenSaid(child, "6 layers", () => setTimeout(() => child.kill("SIGINT"), 300)),
    });
    expect(stderr).toMatch(/Interrupted\.\n$/);
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  it("stops at SIGINT while it waits for standard input", async () => {
    const { code, stderr } = await runCli(["neuron", MODEL, "-", "--neurons", "L0.N0"], {
      meanwhile: (child) => setTimeout(() => child.kill("SIGINT"), 500),
    });
    expect({ code, stderr }).toEqual({ code: 130, stderr: "Interrupted.\n" });
  });

  it("ends quietly when nobody reads the result, as in | head", async () => {
    const { code, stderr } = await runCli(
      ["neuron", MODEL, ...CPU, "--neurons", "L0.N0", "--json", "--quiet"],
      {
        meanwhile: (child) => child.stdout!.destroy(),
      },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it.runIf(existsSync("/dev/full"))("fails when the result cannot be written", async () => {
    const { execFile } = await import("node:child_process");
    const ended = await new Promise<{ code: unknown; stderr: string }>((done) => {
      const command = `exec "$0" "$1" neuron ${MODEL} --neurons L0.N0 --json --quiet ${CPU.join(" ")} > /dev/full`;
      execFile("/bin/sh", ["-c", command, process.execPath, CLI], { cwd: ROOT }, (error, _, stderr) =>
        done({ code: error?.code, stderr }),
      );
    });
    expect(ended.stderr).toMatch(/^error: .*ENOSPC/);
    expect(ended.code).toBe(1);
  });
});
