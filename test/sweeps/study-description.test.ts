/** Studies as JSON, and what is made of them. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { FormatError, OptionError } from "../../src/errors.ts";
import { saveDataset } from "../../src/node/datasets.ts";
import { openStudy } from "../../src/node/study.ts";
import { MemoryJournal } from "../../src/sweeps/journal.ts";
import { DATASET_BUILDERS, readStudy } from "../../src/sweeps/study-description.ts";
import { bundledDataset, loadBundledModel, sweepAll, timeless } from "./studies.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const MINIMAL = { models: ["model"], datasets: [{ builder: "latex", files: ["a.tex"] }] };

describe("readStudy", () => {
  it("gives back a study that is right", () => {
    const full = {
      models: [{ folder: "models/a" }, { hub: "EleutherAI/pythia-70m", revision: "v0", name: "pythia" }],
      datasets: [
        { builder: "part-of-speech", files: ["en.conllu"], options: { features: ["NOUN"], skipFirst: 3 } },
        { builder: "facts", files: ["c.jsonl"], people: "people.csv", name: "people", sampling: { seed: 1 } },
        { builder: "own", files: ["t.jsonl"], options: { aggregation: "max" } },
        { builder: "saved", files: ["d.dataset"] },
      ],
      features: ["NOUN"],
      hookPoints: ["mlp.hook_post", "blocks.1.hook_resid_post"],
      layers: [0, 1],
      ks: [1, 4],
      methods: [
        "adaptive",
        {
          name: "fast",
          method: "optimal",
          options: { ks: [1], timeLimit: 2, candidates: "all", loss: "hinge" },
        },
      ],
      rotations: [1],
      seeds: [0, 1],
      fractions: { train: 0.5, validation: 0.25, test: 0.25 },
      leastPerClass: 5,
      probe: { C: 0.5, classWeight: "none", standardise: "none" },
      intervals: { metrics: ["f1"], draws: 100, ks: [4] },
    };
    expect(readStudy(full)).toEqual(full);
    expect(readStudy(MINIMAL)).toEqual({ ...MINIMAL, models: [{ folder: "model" }] });
  });

  it.each([
    ["no object", [], "The study is not an object"],
    ["no models", {}, "models is missing"],
    ["an empty list", { ...MINIMAL, models: [] }, "models is empty"],
    ["a slip of the pen", { ...MINIMAL, metods: [] }, 'an unknown key "metods" (do you mean "methods"?)'],
    ["an unknown key", { ...MINIMAL, zebra: 1 }, 'an unknown key "zebra"; its keys are models, datasets'],
    [
      "a model without a place",
      { ...MINIMAL, models: [{ name: "x" }] },
      'models[0] needs either a "folder" or a "hub"',
    ],
    [
      "a revision of a folder",
      { ...MINIMAL, models: [{ folder: "x", revision: "1" }] },
      "models[0].revision is for models from a hub",
    ],
    [
      "an unknown builder",
      { ...MINIMAL, datasets: [{ builder: "latx", files: ["a"] }] },
      'datasets[0].builder is "latx", and not one of',
    ],
    [
      "an unknown builder's neighbour",
      { ...MINIMAL, datasets: [{ builder: "latx", files: ["a"] }] },
      'do you mean "latex"?',
    ],
    [
      "another builder's option",
      { ...MINIMAL, datasets: [{ builder: "latex", files: ["a"], options: { window: 3 } }] },
      'datasets[0].options has an unknown key "window"',
    ],
    [
      "facts without people",
      { ...MINIMAL, datasets: [{ builder: "facts", files: ["a"] }] },
      "datasets[0].people is missing",
    ],
    [
      "people without facts",
      { ...MINIMAL, datasets: [{ builder: "latex", files: ["a"], people: "b" }] },
      'datasets[0].people is for the builder "facts"',
    ],
    [
      "a dataset without files",
      { ...MINIMAL, datasets: [{ builder: "latex", files: [] }] },
      "datasets[0].files is empty",
    ],
    [
      "two datasets of a name",
      { ...MINIMAL, datasets: [...MINIMAL.datasets, ...MINIMAL.datasets] },
      'Two datasets are called "latex"',
    ],
    [
      "a hook point that there is not",
      { ...MINIMAL, hookPoints: ["mlp.post"] },
      'hookPoints[0] is "mlp.post", and not a hook point',
    ],
    ["half a k", { ...MINIMAL, ks: [1, 2.5] }, "ks[1] is not a whole number of at least 1"],
    ["a k twice", { ...MINIMAL, ks: [1, 1] }, "ks has 1 in it twice"],
    ["an unknown method", { ...MINIMAL, methods: ["mean-diference"] }, 'methods[0] is "mean-diference"'],
    [
      "another method's option",
      { ...MINIMAL, methods: [{ name: "m", method: "f", options: { C: 1 } }] },
      'The method "m" has no option "C"',
    ],
    [
      "shares that do not add up",
      { ...MINIMAL, fractions: { train: 1, validation: 1, test: 1 } },
      "The fractions are",
    ],
    [
      "a wrong setting of the probe",
      { ...MINIMAL, probe: { standardise: "yes" } },
      'probe.standardise is "yes"',
    ],
    ["an unknown metric", { ...MINIMAL, intervals: { metrics: ["f3"] } }, 'intervals.metrics[0] is "f3"'],
    ["a negative number", { ...MINIMAL, probe: { C: -1 } }, "probe.C is not above 0"],
    ["a prototype's key", JSON.parse('{"__proto__": 1}') as object, 'an unknown key "__proto__"'],
  ])("refuses %s", (_name, json, message) => {
    expect(() => readStudy(json)).toThrow(OptionError);
    expect(() => readStudy(json)).toThrow(message);
  });
});

describe("openStudy", () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "study-"));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it("sweeps models of folders over datasets of files", async () => {
    const backend = createCpuBackend();
    const model = await loadBundledModel(backend);
    const saved = await bundledDataset(model.tokenizer, "natural-language", 70);
    await saveDataset(join(folder, "saved.dataset"), saved);
    const words = "The 3rd of May was hot , but NOT dry . ".repeat(20);
    await writeFile(
      join(folder, "texts.jsonl"),
      Array.from({ length: 8 }, (_, i) => `${JSON.stringify({ text: `${i} ${words}`, doc: i })}\n`).join(""),
    );
    const description = readStudy({
      models: [relative(folder, join(EXAMPLES, "model/haystack-4m"))],
      datasets: [
        { name: "languages", builder: "saved", files: ["saved.dataset"] },
        {
          builder: "code-language",
          files: [join(EXAMPLES, "data/code-language.jsonl")],
          options: { skipFirst: 10 },
        },
        {
          builder: "text-features",
          files: ["texts.jsonl"],
          options: { features: ["contains_digit", "all_capitals"] },
        },
      ],
      features: ["de", "Python", "python", "contains_digit", "all_capitals"],
      layers: [2],
      ks: [1],
    });
    const study = await openStudy(description, backend, { folder });
    const journal = new MemoryJournal();
    const rows = await sweepAll(study, { journal });
    expect(new Set(rows.map(({ model: name, dataset }) => `${name} ${dataset}`))).toEqual(
      new Set(["languages", "code-language", "text-features"].map((name) => `haystack-4m ${name}`)),
    );
    expect(rows.filter(({ status }) => status === "ok").length).toBeGreaterThan(4);
    const direct = await sweepAll({
      models: [model],
      datasets: [{ ...saved, name: "languages" }],
      features: ["de"],
      layers: [2],
      ks: [1],
    });
    expect(timeless(rows.filter(({ dataset }) => dataset === "languages"))).toEqual(timeless(direct));
    // The same files: the same study. Other files: another one.
    expect(await sweepAll(await openStudy(description, backend, { folder }), { journal })).toEqual(rows);
    await writeFile(join(folder, "texts.jsonl"), `${JSON.stringify({ text: words })}\n`);
    const changed = await openStudy(description, backend, { folder });
    await expect(sweepAll(changed, { journal })).rejects.toMatchObject({ reason: "study" });
    model.dispose();
    backend.dispose();
  });

  it("finds out at once about paths that are wrong", async () => {
    const backend = createCpuBackend();
    await expect(openStudy(readStudy(MINIMAL), backend, { folder })).rejects.toThrow(FormatError);
    await expect(
      openStudy(readStudy({ ...MINIMAL, models: [join(EXAMPLES, "model/haystack-4m")] }), backend, {
        folder,
      }),
    ).rejects.toThrow(/a\.tex cannot be read/);
  });
});

it("docs/sweeps.md names every field", () => {
  const page = readFileSync(resolve(import.meta.dirname, "../../docs/sweeps.md"), "utf8");
  const fields = page.slice(page.indexOf("All fields;"));
  const unknownKey = (study: object): string => {
    try {
      readStudy(study);
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error("The key was taken.");
  };
  const dataset = { builder: "own", files: ["a"] };
  const method = { name: "a", method: "optimal" };
  const messages = [
    { zebra: 1 },
    { ...MINIMAL, datasets: [{ ...dataset, zebra: 1 }] },
    { ...MINIMAL, datasets: [{ ...dataset, sampling: { zebra: 1 } }] },
    { ...MINIMAL, methods: [{ ...method, options: { zebra: 1 } }] },
    { ...MINIMAL, probe: { zebra: 1 } },
    { ...MINIMAL, intervals: { zebra: 1 } },
  ].map(unknownKey);
  const keys = messages.flatMap((message) => /its keys are ([^.]*)\./.exec(message)![1].split(", "));
  const options = Object.values(DATASET_BUILDERS).flatMap((builder) => builder.options);
  for (const key of [...keys, ...options, ...Object.keys(DATASET_BUILDERS)]) {
    expect(page.includes(`\`${key}\``) || fields.includes(`"${key}"`), key).toBe(true);
  }
});
