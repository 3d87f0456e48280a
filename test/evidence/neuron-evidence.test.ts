import { beforeAll, describe, expect, it } from "vitest";
import type { Aggregation, HookPoint } from "../../src/backends/backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import type { ClassValue } from "../../src/data/labels.ts";
import {
  EmptyDataError,
  LabelError,
  NonFiniteError,
  OptionError,
  ShapeError,
  type ErrorCode,
} from "../../src/errors.ts";
import { neuronEvidence } from "../../src/evidence/evidence.ts";
import type {
  ActivationExample,
  NeuronEvidence,
  NeuronEvidenceOptions,
} from "../../src/evidence/collect-evidence.ts";
import type { NeuronPlace } from "../../src/evidence/neuron-places.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { TEXTS } from "../capture/texts.ts";
import { loadFixture } from "../model/fixtures.ts";

const AGGREGATIONS: readonly Aggregation[] = ["token", "mean", "max", "last"];
/** Every text twice, so that tokens repeat and activations tie. */
const texts = [...TEXTS, ...TEXTS, TEXTS[0].slice(0, 12), `${TEXTS[3]} ${TEXTS[4]}`];
const labels = texts.map((text) => (/[а-я]/.test(text) ? "cyrillic" : /[;:]/.test(text) ? "code" : "latin"));
const groups = texts.map((_, i) => `doc ${i % 7}`);
const NEURONS: NeuronPlace[] = [
  { layer: 1, neuron: 17 },
  { hookPoint: "blocks.0.hook_resid_post", neuron: 5 },
  { layer: 0, neuron: 63 },
  { layer: 1, neuron: 0 },
  { layer: 1, neuron: 17 },
];
const pointOf = (place: NeuronPlace): HookPoint =>
  "hookPoint" in place ? place.hookPoint : `blocks.${place.layer}.mlp.hook_post`;

let model: LanguageModel;
beforeAll(async () => {
  model = await loadFixture("parallel");
});

/** One neuron's rows, the plain way: everything captured, everything kept. */
interface Row {
  readonly text: number;
  readonly position: number;
  readonly token: number;
  readonly value: number;
  readonly label: ClassValue | null;
}

async function captured(place: NeuronPlace, aggregation: Aggregation, skipFirst: number): Promise<Row[]> {
  const hookPoint = pointOf(place);
  const options = { hookPoints: [hookPoint], aggregation, skipFirst };
  const column = (await captureActivations(model, texts, options))
    .get(hookPoint)!
    .gatherColumns([place.neuron]);
  const values = column.toFloat32();
  let row = 0;
  return texts.flatMap((text, t) => {
    const ids = model.tokenizer.encode(text);
    const positions = Array.from(ids.keys()).slice(skipFirst);
    const rows = aggregation === "token" ? positions : [positions[0]];
    return rows.map((position) => ({
      text: t,
      position,
      token: ids[position],
      value: values[row++],
      label: labels[t],
    }));
  });
}

/** The list of all rows from the best down, with at most so many of one document. */
function bestByBruteForce(rows: readonly Row[], sign: 1 | -1, most: number, perGroup: number): Row[] {
  const sorted = [...rows].sort(
    (a, b) => sign * (b.value - a.value) || a.text - b.text || a.position - b.position,
  );
  const taken = new Map<string, number>();
  const best: Row[] = [];
  for (const row of sorted) {
    const group = groups[row.text];
    const before = taken.get(group) ?? 0;
    if (before === perGroup || best.length === most) continue;
    taken.set(group, before + 1);
    best.push(row);
  }
  return best;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function expectHistogram(found: NeuronEvidence, rows: readonly Row[]): void {
  const { start, width, count } = found.bins;
  expect(count).toBeLessThanOrEqual(16);
  expect(count).toBeGreaterThan(16 / 2 - 1);
  expect(Number.isInteger(Math.log2(width))).toBe(true);
  expect(Number.isInteger(start / width)).toBe(true);
  const all = rows.map(({ value }) => value);
  const range = Math.max(...all) - Math.min(...all);
  expect(found.classes.map(({ label }) => label)).toEqual([...new Set(labels)].sort());
  for (const of of found.classes) {
    const values = rows.filter(({ label }) => label === of.label).map(({ value }) => value);
    const counts = new Array<number>(count).fill(0);
    for (const value of values) counts[Math.floor((value - start) / width)]++;
    expect(of.counts).toEqual(counts);
    expect(of.rows).toBe(values.length);
    // Sums of ~100 float64 values.
    const m = mean(values);
    expect(of.mean).toBeCloseTo(m, 12);
    const squares = values.reduce((sum, value) => sum + (value - m) ** 2, 0);
    expect(of.deviation).toBeCloseTo(Math.sqrt(squares / (values.length - 1)), 12);
    expect([of.least, of.largest]).toEqual([Math.min(...values), Math.max(...values)]);
    const sorted = values.sort((a, b) => a - b);
    for (const { q, value } of of.quantiles) {
      // Where a share q of the values lies below: between its neighbours in the sorted list.
      const below = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
      const above = sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length))];
      expect(value).toBeGreaterThanOrEqual(below - range / 1000);
      expect(value).toBeLessThanOrEqual(above + range / 1000);
    }
  }
}

const OPTIONS: NeuronEvidenceOptions = {
  neurons: NEURONS,
  labels,
  groups,
  skipFirst: 1,
  top: 6,
  bottom: 5,
  perGroup: 2,
  context: 3,
  bins: 16,
};

describe("neuronEvidence", () => {
  it.each(AGGREGATIONS)("is what all activations say: %s", async (aggregation) => {
    const result = await neuronEvidence(model, texts, { ...OPTIONS, aggregation, batchTokens: 60 });
    expect(result).toMatchObject({ model: "parallel", aggregation, texts: texts.length, emptyTexts: [] });
    for (const [n, place] of NEURONS.entries()) {
      const found = result.neurons[n];
      expect([found.hookPoint, found.neuron]).toEqual([pointOf(place), place.neuron]);
      const rows = await captured(place, aggregation, 1);
      expect(result.rows).toBe(rows.length);
      const each = await captured(place, "token", 0);
      for (const [list, sign, most] of [
        [found.top, 1, 6],
        [found.bottom, -1, 5],
      ] as const) {
        const want = bestByBruteForce(rows, sign, most, 2);
        const key = ({ text, activation }: ActivationExample) => [text, activation];
        expect(list.map(key)).toEqual(want.map(({ text, value }) => [text, value + 0]));
        for (const [i, example] of list.entries()) {
          const { text, position, first } = example;
          const ids = model.tokenizer.encode(texts[text]);
          const counting = each.filter((row) => row.text === text && row.position >= 1);
          if (aggregation === "token") expect(position).toBe(want[i].position);
          else if (aggregation === "last") expect(position).toBe(ids.length - 1);
          else {
            const extreme = counting.map(({ value }) => sign * value);
            expect(sign * counting[position - 1].value).toBe(Math.max(...extreme));
          }
          const end = Math.min(ids.length, position + 4);
          expect(first).toBe(Math.max(0, position - 3));
          expect(example.tokens).toEqual(
            Array.from(ids.slice(first, end), (id) => model.tokenizer.tokenText(id)),
          );
          expect(example.token).toBe(model.tokenizer.tokenText(ids[position]));
          expect(example.passage).toBe(model.tokenizer.decode(ids.slice(first, end)));
          expect(example.activations).toEqual(
            each
              .filter((row) => row.text === text && row.position >= first && row.position < end)
              .map(({ value }) => value + 0),
          );
          expect([example.label, example.group]).toEqual([labels[text], groups[text]]);
        }
      }
      expectHistogram(found, rows);
    }
    expect(result.neurons[4]).toEqual(result.neurons[0]);
  });

  it.each([1, 2])(
    "splits the difference of classes into tokens and context: at least %i rows",
    async (least) => {
      const result = await neuronEvidence(model, texts, { ...OPTIONS, leastCount: least, sharedTokens: 4 });
      let seen = 0;
      for (const [n, place] of NEURONS.entries()) {
        const rows = await captured(place, "token", 1);
        const found = result.neurons[n];
        const { disambiguation } = found;
        expect(disambiguation.map(({ positive }) => positive)).toEqual(["code", "cyrillic", "latin"]);
        for (const of of disambiguation) {
          const [own, other] = [true, false].map((same) =>
            rows.filter(({ label }) => (label === of.positive) === same),
          );
          const values = (list: readonly Row[], token?: number): number[] =>
            list.filter((row) => token === undefined || row.token === token).map(({ value }) => value);
          expect(of.difference).toBeCloseTo(mean(values(own)) - mean(values(other)), 12);
          const shared = [...new Set(rows.map(({ token }) => token))].filter(
            (token) => Math.min(values(own, token).length, values(other, token).length) >= least,
          );
          expect(of.sharedTokens).toBe(shared.length);
          const inShared = (list: readonly Row[]): Row[] =>
            list.filter(({ token }) => shared.includes(token));
          const [a, b] = [inShared(own), inShared(other)];
          expect(of.coverage.positive).toBeCloseTo(a.length / own.length, 12);
          expect(of.coverage.negative).toBeCloseTo(b.length / other.length, 12);
          if (shared.length === 0) {
            expect(of).toMatchObject({ within: null, share: null, agreement: null, tokens: [] });
            expect(of.reason).toMatch(/No token/);
            continue;
          }
          if (of.share === null) expect(of.reason).toMatch(/same mean/);
          else {
            seen++;
            expect(of.reason).toBeNull();
            expect(of.share).toBeCloseTo(of.within! / of.sharedDifference!, 9);
          }
          // Another way to write it: what the mean would be if both classes had the same tokens, those halfway between.
          const weight = (token: number): number =>
            (values(a, token).length / a.length + values(b, token).length / b.length) / 2;
          const standardised = (list: readonly Row[]): number =>
            shared.reduce((sum, token) => sum + weight(token) * mean(values(list, token)), 0);
          expect(of.within).toBeCloseTo(standardised(a) - standardised(b), 12);
          expect(of.sharedDifference).toBeCloseTo(mean(values(a)) - mean(values(b)), 12);
          expect(of.within! + of.composition!).toBeCloseTo(of.sharedDifference!, 12);
          // MLP and attention of this model read the same: neurons of the first layer see nothing but their token.
          if (found.hookPoint === "blocks.0.mlp.hook_post") {
            expect(Math.abs(of.within!)).toBeLessThan(1e-15);
            continue;
          }
          const agreeing = shared.filter(
            (token) => Math.sign(mean(values(a, token)) - mean(values(b, token))) === Math.sign(of.within!),
          );
          expect(of.agreement).toBeCloseTo(
            agreeing.reduce((sum, token) => sum + weight(token), 0),
            12,
          );
          const rarer = (token: number): number => Math.min(values(a, token).length, values(b, token).length);
          const listed = shared.sort((x, y) => rarer(y) - rarer(x) || x - y).slice(0, 4);
          expect(of.tokens.map(({ id }) => id)).toEqual(listed);
          for (const { id, token, positive, negative, difference } of of.tokens) {
            expect(token).toBe(model.tokenizer.tokenText(id));
            expect([positive.rows, negative.rows]).toEqual([values(a, id).length, values(b, id).length]);
            expect(positive.mean).toBeCloseTo(mean(values(a, id)), 12);
            expect(negative.mean).toBeCloseTo(mean(values(b, id)), 12);
            expect(difference).toBe(positive.mean - negative.mean);
          }
        }
      }
      expect(seen).toBeGreaterThan(4);
    },
  );

  it.each(AGGREGATIONS)("does not depend on how the texts are cut into batches: %s", async (aggregation) => {
    const options = { ...OPTIONS, aggregation };
    const whole = await neuronEvidence(model, texts, options);
    for (const batchTokens of [1, 23]) {
      expect(await neuronEvidence(model, texts, { ...options, batchTokens })).toEqual(whole);
    }
    const rows = await TokenRows.tokenise(model, texts, { aggregation, groups, skipFirst: 1 });
    expect(await neuronEvidence(model, rows, options)).toEqual(whole);
  });

  it("is plain frozen data that survives JSON", async () => {
    const result = await neuronEvidence(model, texts, OPTIONS);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    expect(Object.isFrozen(result.neurons[0].top[0].tokens)).toBe(true);
  });

  it("puts equal activations in the order of the texts", async () => {
    const same = new Array<string>(5).fill(TEXTS[2]);
    const { neurons } = await neuronEvidence(model, same, { neurons: [NEURONS[0]], top: 3, bottom: 3 });
    const { top, bottom } = neurons[0];
    expect(top.map(({ text }) => text)).toEqual([0, 1, 2]);
    expect(bottom.map(({ text }) => text)).toEqual([0, 1, 2]);
    expect(new Set(top.map(({ activation }) => activation)).size).toBe(1);
  });

  it("takes labels of rows, of two kinds, of some texts, and none", async () => {
    const rows = await TokenRows.tokenise(model, texts, { groups, skipFirst: 1 });
    const byText = await neuronEvidence(model, rows, OPTIONS);
    const rowLabels = Array.from(rows.textOfRow(), (text) => labels[text]);
    expect(await neuronEvidence(model, rows, { ...OPTIONS, labels: rowLabels, labelsOf: "row" })).toEqual(
      byText,
    );

    const two = labels.map((label) => label === "cyrillic");
    const flags = await neuronEvidence(model, texts, { ...OPTIONS, labels: two });
    const [own] = flags.neurons[0].disambiguation;
    expect(own).toEqual({ ...byText.neurons[0].disambiguation[1], positive: true });
    expect(flags.neurons[0].classes[1]).toEqual({ ...byText.neurons[0].classes[1], label: true });

    const positive = await neuronEvidence(model, texts, {
      ...OPTIONS,
      neurons: [{ ...NEURONS[0], positive: "latin" }, NEURONS[1]],
      positive: "code",
    });
    expect(positive.neurons.map(({ disambiguation }) => disambiguation.map((of) => of.positive))).toEqual([
      ["latin"],
      ["code"],
    ]);

    const some = labels.map((label) => (label === "latin" ? null : label));
    const partly = await neuronEvidence(model, texts, { ...OPTIONS, labels: some });
    expect(partly.neurons[0].classes.map(({ label }) => label)).toEqual(["code", "cyrillic", null]);
    expect(partly.neurons[0].classes[2].counts).toEqual(byText.neurons[0].classes[2].counts);
    expect(partly.neurons[0].disambiguation.map((of) => of.positive)).toEqual(["cyrillic"]);
    const none = await neuronEvidence(model, texts, { ...OPTIONS, labels: undefined });
    expect(none.neurons[0].classes).toHaveLength(1);
    expect(none.neurons[0].disambiguation).toEqual([]);
    expect(none.neurons[0].top.map(({ text }) => text)).toEqual(
      byText.neurons[0].top.map(({ text }) => text),
    );
    const off = await neuronEvidence(model, texts, { ...OPTIONS, disambiguate: false });
    expect(off.neurons.every(({ disambiguation }) => disambiguation.length === 0)).toBe(true);
  });

  it("survives texts of all sorts, and lists those without tokens", async () => {
    const odd = ["", "a\u0000b\u0000", "👩‍👩‍👧‍👦 🏳️‍🌈", "\ud800 lone", "\u202eright to left", "", "́̀̂", "a".repeat(40)];
    const result = await neuronEvidence(model, odd, {
      neurons: [NEURONS[0]],
      labels: [0, 1, 0, 1, 0, 1, 0, 1],
      bottom: 8,
    });
    expect(result.emptyTexts).toEqual([0, 5]);
    expect(result.texts).toBe(6);
    expect(result.neurons[0].top.map(({ text }) => text).sort()).toEqual([1, 2, 3, 4, 6, 7]);
    expect(result.neurons[0].classes.map(({ rows }) => rows).reduce((a, b) => a + b)).toBe(result.rows);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    const short = await neuronEvidence(model, ["a", TEXTS[0]], { neurons: [NEURONS[0]], skipFirst: 1 });
    expect(short.emptyTexts).toEqual([0]);
  });

  it("shows a single value as a bin without width", async () => {
    const { neurons } = await neuronEvidence(model, ["a", "a"], {
      neurons: [NEURONS[0]],
      labels: ["x", "y"],
    });
    const [neuron] = neurons;
    const { activation } = neuron.top[0];
    expect(neuron.bins).toEqual({ start: activation, width: 0, count: 1 });
    expect(neuron.classes).toMatchObject([
      { label: "x", rows: 1, counts: [1], mean: activation, deviation: null },
      { label: "y", rows: 1, counts: [1] },
    ]);
    expect(neuron.classes[0].quantiles.every(({ value }) => value === activation)).toBe(true);
    expect(neuron.disambiguation).toMatchObject([
      { share: null, sharedDifference: 0, reason: expect.stringMatching(/same mean/) as string },
    ]);
  });

  it("reports tokens, stops between batches, and leaves nothing behind", async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const running = neuronEvidence(model, texts, {
      ...OPTIONS,
      batchTokens: 30,
      signal: controller.signal,
      onProgress: (done) => {
        seen.push(done);
        if (seen.length === 2) controller.abort(new Error("enough"));
      },
    });
    await expect(running).rejects.toThrow("enough");
    expect(seen).toHaveLength(2);
    await expect(
      neuronEvidence(model, texts, { ...OPTIONS, signal: AbortSignal.abort(new Error("before")) }),
    ).rejects.toThrow("before");
  });

  it.each<[string, Partial<NeuronEvidenceOptions>, ErrorCode]>([
    ["no neurons", { neurons: [] }, "empty-data"],
    ["neurons that are no list", { neurons: NEURONS[0] as never }, "option"],
    ["a layer that is not there", { neurons: [{ layer: 2, neuron: 0 }] }, "option"],
    ["half a layer", { neurons: [{ layer: 0.5, neuron: 0 }] }, "option"],
    ["a neuron that is not there", { neurons: [{ layer: 1, neuron: 64 }] }, "shape"],
    ["a neuron below 0", { neurons: [{ layer: 1, neuron: -1 }] }, "shape"],
    [
      "a hook point that is not there",
      { neurons: [{ hookPoint: "blocks.0.x" as never, neuron: 0 }] },
      "option",
    ],
    ["too few labels", { labels: ["a", "b"] }, "shape"],
    ["labels of two kinds", { labels: texts.map((_, i) => (i % 2 ? "a" : 1)) }, "labels"],
    ["labels of rows that do not match", { labels, labelsOf: "row" }, "shape"],
    ["labels of something else", { labelsOf: "word" as never }, "option"],
    ["a class that is not there", { positive: "greek" }, "option"],
    ["bins beyond what is kept", { bins: 4096 }, "option"],
    ["one bin", { bins: 1 }, "option"],
    ["a quantile beyond 1", { quantiles: [1.5] }, "option"],
    ["a negative number of examples", { top: -1 }, "option"],
    ["documents without examples", { perGroup: 0 }, "option"],
  ])("refuses %s", async (_, options, code) => {
    const classes = [EmptyDataError, OptionError, ShapeError, LabelError, NonFiniteError];
    const error: unknown = await neuronEvidence(model, texts, { ...OPTIONS, ...options }).catch(
      (e: unknown) => e,
    );
    expect(classes.some((type) => error instanceof type)).toBe(true);
    expect(error).toMatchObject({ code });
  });

  it("refuses texts of which none has a token, and labels that are too few for chosen rows", async () => {
    await expect(neuronEvidence(model, ["", ""], OPTIONS)).rejects.toThrow(ShapeError);
    await expect(neuronEvidence(model, ["", ""], { neurons: NEURONS })).rejects.toThrow(EmptyDataError);
    const rows = (await TokenRows.tokenise(model, texts)).selectTexts([0, 9]);
    await expect(neuronEvidence(model, rows, { neurons: NEURONS, labels: ["a", "b"] })).rejects.toThrow(
      ShapeError,
    );
  });
});
