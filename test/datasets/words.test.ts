import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { UNLABELLED } from "../../src/data/labels.ts";
import { readConllu, type ConlluSentence } from "../../src/datasets/conllu.ts";
import { DEPENDENCIES, dependencyDataset } from "../../src/datasets/dependencies.ts";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { MORPHOLOGY, morphologyDataset } from "../../src/datasets/morphology.ts";
import { PARTS_OF_SPEECH, partOfSpeechDataset } from "../../src/datasets/part-of-speech.ts";
import { EmptyDataError, OptionError } from "../../src/errors.ts";
import { Tokenizer } from "../../src/model/tokenizer.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { fixtureJson } from "../model/fixtures.ts";

const example = (path: string): URL => new URL(`../../examples/${path}`, import.meta.url);
const FILE = readFileSync(example("data/english-words.conllu"), "utf8");
/** Written by hand from the texts: of some sentences, each word's tag, relation and features. */
const KEY = JSON.parse(readFileSync(new URL("./word-labels.json", import.meta.url), "utf8")) as {
  readonly text: string;
  readonly words: readonly (readonly [form: string, tag: string, relation: string, features: string])[];
}[];
/** Every token is kept, whatever the share of positives. */
const ALL = { leastRows: 1, maxRows: 1e6, positiveShare: 0.99 };

let sentences: readonly ConlluSentence[];
let tokenizers: [string, Tokenizer][];
beforeAll(async () => {
  sentences = await readConllu(FILE);
  const json: unknown = JSON.parse(readFileSync(example("model/haystack-4m/tokenizer.json"), "utf8"));
  const others = (fixtureJson("../tokenizers.json") as { name: string; json: unknown }[]).filter(({ name }) =>
    ["Llama 2", "Llama 3"].includes(name),
  );
  tokenizers = await Promise.all(
    [{ name: "haystack-4m", json }, ...others].map(async ({ name, json }): Promise<[string, Tokenizer]> => [
      name,
      await Tokenizer.fromJson(json),
    ]),
  );
});

/** What a feature says of a passage's tokens, by position. */
function labelsOf(dataset: FeatureDataset, feature: string, passage: number): Map<number, number> {
  const f = dataset.labels.features.indexOf(feature);
  const found = new Map<number, number>();
  for (const [row, position] of dataset.rows.positions.entries()) {
    if (f >= 0 && dataset.rows.passage[row] === passage) found.set(position, dataset.labels.of(f)[row]);
  }
  return found;
}

const builders = { partOfSpeechDataset, dependencyDataset, morphologyDataset };

/** Every sentence a document of its own: its passage is the sentence. */
const apart = new Map<string, Promise<FeatureDataset>>();
function sentencesApart(
  builder: keyof typeof builders,
  name: string,
  tokenizer: Tokenizer,
): Promise<FeatureDataset> {
  const key = `${builder} ${name}`;
  const file = FILE.replaceAll(/# newdoc.*\n/g, "").replaceAll("# sent_id", "# newdoc\n# sent_id");
  const built = apart.get(key) ?? builders[builder](file, tokenizer, { skipFirst: 0, sampling: ALL });
  apart.set(key, built);
  return built;
}

describe("labels of words", () => {
  it.each(KEY)("are those of the hand-made key: $text", async ({ text, words }) => {
    // Places of the key's words, found in the text one after the other.
    let at = 0;
    const places = words.map(([form]) => {
      const start = text.indexOf(form, at);
      return [start, (at = start + form.length)] as const;
    });
    const expected: [
      keyof typeof builders,
      readonly string[],
      (word: (typeof words)[0], feature: string) => number,
    ][] = [
      ["partOfSpeechDataset", PARTS_OF_SPEECH, ([, tag], feature) => Number(tag === feature)],
      ["dependencyDataset", DEPENDENCIES, ([, , relation], feature) => Number(relation === feature)],
      [
        "morphologyDataset",
        MORPHOLOGY,
        ([, , , features], feature) => {
          const own = features.split(" ");
          if (own.includes(feature)) return 1;
          if (feature === "eos") return 0;
          const attribute = feature.split("_")[0];
          if (own.some((one) => one.split("_")[0] === attribute)) return 0;
          // Attributes that English marks on few values are not all in the key: nouns and pronouns that are not
          // plural are singular, but for "you"; verbs without Voice are its negatives where the sentence has no other value.
          return ["Number", "Voice", "Tense", "Mood", "Person"].includes(attribute) ? -1 : UNLABELLED;
        },
      ],
    ];
    for (const [name, tokenizer] of tokenizers) {
      const { starts, ends } = tokenizer.locate(text)!;
      for (const [builder, features, label] of expected) {
        const dataset = await sentencesApart(builder, name, tokenizer);
        const passage = dataset.passages.findIndex((one) => one.text === text);
        let positives = 0;
        const wrong: object[] = [];
        for (const feature of features) {
          const labels = labelsOf(dataset, feature, passage);
          for (const [token, start] of starts.entries()) {
            const word = places.findIndex(([from, to]) => from < ends[token] && to > start);
            if (word < 0) {
              if (labels.has(token)) wrong.push({ feature, token });
            } else if (dataset.labels.features.includes(feature)) {
              // A word's last token ends the sentence, not each of its tokens.
              const last = !(token + 1 < starts.length && places[word][1] > starts[token + 1]);
              const want = feature === "eos" && !last ? 0 : label(words[word], feature);
              const got = labels.get(token);
              if (want < 0 ? got === 1 : got !== want) wrong.push({ feature, token, got, want });
              positives += Number(want === 1);
            } else {
              // Each passage has one sentence, and so its first end only.
              expect(feature).toBe("first_eos");
            }
          }
        }
        expect(wrong).toEqual([]);
        expect(positives).toBeGreaterThan(0);
      }
    }
  });

  it("cover the features, in whole documents", async () => {
    const [[, tokenizer]] = tokenizers;
    const options = { passageTokens: 256, sampling: { leastRows: 4 } };
    const pos = await partOfSpeechDataset(FILE, tokenizer, options);
    expect([...pos.labels.features].sort()).toEqual([...PARTS_OF_SPEECH].sort());
    const documents = new Set(sentences.map(({ document }) => document));
    expect(new Set(pos.passages.map(({ group }) => group))).toEqual(documents);
    expect(pos.passages.length).toBeGreaterThanOrEqual(documents.size);
    for (const { tokens, text } of pos.passages) {
      expect(tokens.length).toBeLessThanOrEqual(256);
      expect(tokens).toEqual(tokenizer.encode(text));
    }
    expect(Math.min(...pos.rows.positions)).toBe(5);
    expect(pos.report.dropped["tokens at the start of a passage"]).toBe(5 * pos.passages.length);
    const frequent = pos.report.features.filter(({ offered }) => offered.positives >= 60);
    expect(frequent.map(({ feature }) => feature)).toEqual(
      expect.arrayContaining(["NOUN", "VERB", "PUNCT", "PRON", "DET", "ADP", "PROPN", "ADJ"]),
    );
    const dependencies = await dependencyDataset(FILE, tokenizer, options);
    expect([...dependencies.labels.features].sort()).toEqual([...DEPENDENCIES].sort());
    // Numbers that count and that order are as frequent: at a fifth of positives too few of the former would be left.
    const even = { ...options, sampling: { leastRows: 4, positiveShare: 0.5 } };
    const morphology = await morphologyDataset(FILE, tokenizer, even);
    expect([...morphology.labels.features].sort()).toEqual([...MORPHOLOGY].sort());
  });

  it("tell the first end of a sentence in a passage from the later ones", async () => {
    const [[, tokenizer]] = tokenizers;
    const dataset = await morphologyDataset(FILE, tokenizer, { sampling: ALL, skipFirst: 0 });
    const labels = dataset.labels.of(dataset.labels.features.indexOf("first_eos"));
    const eos = dataset.labels.of(dataset.labels.features.indexOf("eos"));
    const { passage, positions } = dataset.rows;
    const ends = [...passage.keys()].filter((row) => eos[row] === 1);
    expect(ends.length).toBe(sentences.length);
    for (const [e, row] of ends.entries()) {
      const first = e === 0 || passage[ends[e - 1]] !== passage[row];
      expect(labels[row]).toBe(Number(first));
      const { tokens } = dataset.passages[passage[row]];
      const upTo = tokenizer.decode(tokens.slice(0, positions[row] + 1)).trim();
      expect(sentences.some(({ text }) => upTo.endsWith(text))).toBe(true);
    }
    expect([...labels.keys()].every((row) => labels[row] === UNLABELLED || eos[row] === 1)).toBe(true);
  });

  it("start passages with documents of each file, and drop what is too long", async () => {
    const [[, tokenizer]] = tokenizers;
    const two = await partOfSpeechDataset([FILE, FILE], tokenizer, { sampling: ALL });
    const one = await partOfSpeechDataset(FILE, tokenizer, { sampling: ALL });
    expect(two.passages.length).toBe(2 * one.passages.length);
    expect(new Set(two.passages.map(({ group }) => group)).size).toBe(
      2 * new Set(one.passages.map(({ group }) => group)).size,
    );
    const short = await partOfSpeechDataset(FILE, tokenizer, {
      sampling: ALL,
      passageTokens: 15,
      skipFirst: 1,
    });
    expect(short.report.dropped["sentences longer than a passage"]).toBeGreaterThan(10);
    expect(Math.max(...short.passages.map(({ tokens }) => tokens.length))).toBeLessThanOrEqual(15);
    const anonymous = await partOfSpeechDataset(FILE.replaceAll(/# newdoc.*\n/g, ""), tokenizer, {
      sampling: ALL,
    });
    expect(new Set(anonymous.passages.map(({ group }) => group)).size).toBe(anonymous.passages.length);
  });

  it("go through the bundled model to a probe", async () => {
    const model = await loadModelFolder(example("model/haystack-4m").pathname, createCpuBackend());
    const dataset = await partOfSpeechDataset(FILE, model.tokenizer, { features: ["PUNCT"] });
    const point = "blocks.2.mlp.hook_post" as const;
    const rows = TokenRows.ofDataset(model, dataset);
    const activations = (await captureActivations(model, rows, { hookPoints: [point] })).get(point)!;
    const probe = await SparseProbe.fit(activations, dataset.labels, 4);
    // The model knows punctuation: better than always saying "no", whose F1 is 0, or "yes", whose F1 is 1/3.
    expect(probe.evaluate(activations, dataset.labels).f1).toBeGreaterThan(0.6);
    model.dispose();
  });

  it("refuse what they do not know", async () => {
    const [[, tokenizer]] = tokenizers;
    await expect(partOfSpeechDataset(FILE, tokenizer, { features: ["noun"] })).rejects.toThrow(OptionError);
    await expect(morphologyDataset(FILE, tokenizer, { features: ["Plural"] })).rejects.toThrow(OptionError);
    await expect(partOfSpeechDataset(FILE, tokenizer, { passageTokens: 0 })).rejects.toThrow(OptionError);
    await expect(partOfSpeechDataset(FILE, tokenizer, { skipFirst: 1000 })).rejects.toThrow(EmptyDataError);
    await expect(partOfSpeechDataset([], tokenizer)).rejects.toThrow(EmptyDataError);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(partOfSpeechDataset(FILE, tokenizer, { signal })).rejects.toThrow("enough");
  });
});
