/** Losses of texts and the effect of ablation, against sums of our own over the model's logits. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import type { HookPoint, Intervention } from "../../src/backends/backend.ts";
import { EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import { drawMatched } from "../../src/interventions/matched-neurons.ts";
import { captureLosses, measureAblation } from "../../src/interventions/interventions.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { Random } from "../../src/random.ts";
import { quantile } from "../../src/statistics/bootstrap.ts";
import { loadFixture } from "../model/fixtures.ts";

const TEXTS = [
  "The quick brown fox",
  "def count_words(path):",
  "Un éléphant",
  "for line in open(path)",
  "jumps over the lazy dog.",
  "return counts",
  "Où est passé le garçon ?",
  "Numbers 0 1 2 3",
];
const CLASSES = ["text", "code", "text", "code", "text", "code", "text", 7];
const GROUPS = ["a", "b", "c", "b", "a", "d", "c", "d"];
const POINT: HookPoint = "blocks.0.mlp.hook_post";
const NEURONS = [5, 40];

let model: LanguageModel;
beforeAll(async () => {
  model = await loadFixture("parallel");
});
afterAll(() => {
  model.dispose();
});

/** Losses of a text by the softmax of all its logits, from the second token on. */
async function lossesByLogits(text: string, interventions: readonly Intervention[] = []): Promise<number[]> {
  const tokens = model.tokenizer.encode(text);
  const batch = { tokens, offsets: Uint32Array.of(0, tokens.length) };
  const { logits } = await model.transformer.forward(batch, { hookPoints: [], logits: "all", interventions });
  const { vocabulary } = model.spec;
  return Array.from(tokens.subarray(1), (target, i) => {
    const row = Array.from(logits!.subarray(i * vocabulary, (i + 1) * vocabulary));
    return Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - row[target];
  });
}

/** A sum of some tens of logits' roundings; losses of these texts are below 20. */
const CLOSE = 5;
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe("captureLosses", () => {
  it("gives every token's loss, text by text, whatever the batches", async () => {
    const want = await Promise.all(TEXTS.map((text) => lossesByLogits(text)));
    for (const batchTokens of [1, 30, 2048]) {
      const { losses, texts, positions, mean } = await captureLosses(model, TEXTS, { batchTokens });
      expect(losses.length).toBe(want.flat().length);
      for (const [i, value] of want.flat().entries()) expect(losses[i]).toBeCloseTo(value, CLOSE);
      expect(Array.from(texts)).toEqual(want.flatMap((values, t) => values.map(() => t)));
      expect(Array.from(positions)).toEqual(want.flatMap((values) => values.map((_, i) => i + 1)));
      expect(mean).toBeCloseTo(sum(want.flat()) / want.flat().length, CLOSE);
    }
  });

  it("counts some positions and changes others", async () => {
    const { losses } = await captureLosses(model, TEXTS, {
      positions: (tokens) => [0, 3, tokens.length - 1],
      interventions: [
        {
          hookPoint: POINT,
          neurons: [5],
          kind: "set",
          values: 2,
          at: (_, text) => (text === 1 ? [] : [1, 2]),
        },
      ],
    });
    const want: number[] = [];
    for (const [t, text] of TEXTS.entries()) {
      const tokens = t === 1 ? [] : [1, 2];
      const all = await lossesByLogits(text, [
        { hookPoint: POINT, neurons: [5], kind: "set", values: 2, tokens },
      ]);
      want.push(all[2], all.at(-1)!);
    }
    expect(losses.length).toBe(want.length);
    for (const [i, value] of want.entries()) expect(losses[i]).toBeCloseTo(value, CLOSE);
  });

  it("refuses texts without losses, and positions that do not exist", async () => {
    await expect(captureLosses(model, TEXTS, { positions: () => [0] })).rejects.toThrow(EmptyDataError);
    const at = (): number[] => [500];
    const interventions = [{ hookPoint: POINT, kind: "scale", factor: 2, at }] as const;
    await expect(captureLosses(model, TEXTS, { interventions })).rejects.toThrow(ShapeError);
  });
});

describe("measureAblation", () => {
  const options = {
    hookPoint: POINT,
    neurons: NEURONS,
    classes: CLASSES,
    groups: GROUPS,
    resamples: 200,
    seed: 3,
  };

  it("compares losses by class, with a bootstrap of documents", async () => {
    const result = await measureAblation(model, TEXTS, options);
    const zero: Intervention = { hookPoint: POINT, neurons: NEURONS, kind: "set", values: 0 };
    const before = await Promise.all(TEXTS.map((text) => lossesByLogits(text)));
    const after = await Promise.all(TEXTS.map((text) => lossesByLogits(text, [zero])));
    const meanOf = (values: number[][], texts: readonly number[]): number =>
      sum(texts.map((t) => sum(values[t]))) / sum(texts.map((t) => values[t].length));
    const effectOf = (texts: readonly number[]): number => meanOf(after, texts) - meanOf(before, texts);
    const all = [...TEXTS.keys()];
    const of = (name: unknown): number[] => all.filter((t) => CLASSES[t] === name);
    expect(result.classes.map((row) => row.class)).toEqual(["text", "code", 7]);
    expect([result.unit, result.units, result.values]).toEqual(["group", 4, [0, 0]]);
    for (const row of [result.overall, ...result.classes]) {
      const texts = row.class === null ? all : of(row.class);
      expect(row.texts).toBe(texts.length);
      expect(row.tokens).toBe(sum(texts.map((t) => before[t].length)));
      expect(row.before).toBeCloseTo(meanOf(before, texts), CLOSE);
      expect(row.after).toBeCloseTo(meanOf(after, texts), CLOSE);
      expect(row.effect.estimate).toBeCloseTo(effectOf(texts), CLOSE);
      expect(row.controls).toBeNull();
    }
    const [text, code, seven] = result.classes;
    expect(text.contrast!.estimate).toBeCloseTo(
      effectOf(of("text")) - effectOf(all.filter((t) => CLASSES[t] !== "text")),
      CLOSE,
    );
    // The texts of the drawn documents, one after the other.
    const documents = ["a", "b", "c", "d"];
    const drawn: number[] = [];
    for (let r = 0; r < 200; r++) {
      const random = new Random(3, `ablation bootstrap ${r}`);
      const texts = documents.flatMap(() => {
        const document = documents[random.below(4)];
        return all.filter((t) => GROUPS[t] === document);
      });
      drawn.push(effectOf(texts));
    }
    drawn.sort((a, b) => a - b);
    expect(result.overall.effect.low).toBeCloseTo(quantile(drawn, 0.025), CLOSE);
    expect(result.overall.effect.high).toBeCloseTo(quantile(drawn, 0.975), CLOSE);
    // A class of one document is missing in a third of the resamples.
    expect(seven.effect.low).toBeNull();
    expect(seven.effect.undefinedBecause).toMatch(/^undefined in \d+ of 200 resamples$/);
    expect(code.effect.estimate).not.toBe(text.effect.estimate);
    expect(Object.isFrozen(result.classes[0].effect)).toBe(true);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  it("finds exactly nothing where nothing is changed", async () => {
    for (const how of [{ scale: 1 }, "zero"] as const) {
      const none = how === "zero" ? { neurons: [] } : {};
      const { overall, classes } = await measureAblation(model, TEXTS, { ...options, how, ...none });
      for (const row of [overall, ...classes]) {
        expect(row.effect.estimate).toBe(0);
        expect(row.after).toBe(row.before);
      }
      expect([overall.effect.low, overall.effect.high]).toEqual([0, 0]);
    }
  });

  it("takes means over the positions that it changes", async () => {
    const at = (): number[] => [1, 2];
    const result = await measureAblation(model, TEXTS, { ...options, how: "mean", at });
    const acts = await captureActivations(model, TEXTS, { hookPoints: [POINT], positions: at });
    const x = acts.get(POINT)!;
    const values = x.toFloat32();
    for (const [i, neuron] of NEURONS.entries()) {
      let total = 0;
      for (let r = 0; r < x.rows; r++) total += values[r * x.neurons + neuron];
      expect(result.values![i]).toBeCloseTo(total / x.rows, CLOSE);
    }
    const same = await measureAblation(model, TEXTS, { ...options, how: { value: [...result.values!] }, at });
    expect(same.overall).toEqual(result.overall);
  });

  it("compares with neurons that the ablation takes as much from, draw by draw the same", async () => {
    const few = await measureAblation(model, TEXTS, { ...options, controls: { draws: 3, candidates: 6 } });
    const more = await measureAblation(model, TEXTS, {
      ...options,
      controls: { draws: 5, candidates: 6 },
      resamples: 10,
    });
    expect(more.draws.slice(0, 3)).toEqual(few.draws);
    const x = (await captureActivations(model, TEXTS, { hookPoints: [POINT] })).get(POINT)!;
    const values = x.toFloat32();
    const scale = (j: number): number => {
      let squares = 0;
      for (let r = 0; r < x.rows; r++) squares += values[r * x.neurons + j] ** 2;
      return Math.sqrt(squares / x.rows);
    };
    for (const { neurons, scaleRatios, effect } of more.draws) {
      expect(neurons.some((neuron) => NEURONS.includes(neuron))).toBe(false);
      for (const [i, neuron] of neurons.entries()) {
        expect(scaleRatios[i]).toBeCloseTo(scale(neuron) / scale(NEURONS[i]), 4);
      }
      const alone = await measureAblation(model, TEXTS, { ...options, neurons, resamples: 10 });
      expect(alone.overall.effect.estimate).toBe(effect);
    }
    const { overall, classes } = more;
    const asLarge = more.draws.filter(({ effect }) => effect! >= overall.effect.estimate!).length;
    expect(overall.controls!.effect.pValue).toBe((1 + asLarge) / 6);
    expect(classes[0].controls!.contrast!.mean).not.toBeNull();
  });

  it("follows chosen logits", async () => {
    const { overall } = await measureAblation(model, TEXTS.slice(0, 1), {
      hookPoint: POINT,
      neurons: NEURONS,
      logitsOf: [9, 70],
    });
    const tokens = model.tokenizer.encode(TEXTS[0]);
    const batch = { tokens, offsets: Uint32Array.of(0, tokens.length) };
    const { logits } = await model.transformer.forward(batch, { hookPoints: [], logits: "all" });
    for (const [l, token] of [9, 70].entries()) {
      let total = 0;
      for (let t = 0; t + 1 < tokens.length; t++) total += logits![t * model.spec.vocabulary + token];
      expect(overall.logits[l].token).toBe(token);
      expect(overall.logits[l].before).toBeCloseTo(total / (tokens.length - 1), CLOSE);
      expect(overall.logits[l].effect.estimate).toBeCloseTo(
        overall.logits[l].after! - overall.logits[l].before!,
        10,
      );
    }
    expect(overall.effect.undefinedBecause).toBe("there is one group alone");
  });

  it("says how far it is, and stops when told to", async () => {
    const seen: number[] = [];
    let total = 0;
    await measureAblation(model, TEXTS, {
      ...options,
      how: "mean",
      batchTokens: 20,
      controls: { draws: 1 },
      onProgress: (done, all) => {
        seen.push(done);
        total = all;
      },
    });
    expect(seen.at(-1)).toBe(total);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    const controller = new AbortController();
    const stopped = measureAblation(model, TEXTS, {
      ...options,
      batchTokens: 20,
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
  });

  it.each<[string, object, unknown]>([
    ["another ablation", { how: "median" }, OptionError],
    ["a neuron that does not exist", { neurons: [64] }, ShapeError],
    ["another hook point", { hookPoint: "blocks.0.mlp.hook" }, OptionError],
    ["classes of other texts", { classes: ["a"] }, ShapeError],
    ["groups of other texts", { groups: ["a"] }, ShapeError],
    ["a level of 1", { level: 1 }, OptionError],
    ["no draws", { controls: { draws: 0 } }, OptionError],
    ["one resample", { resamples: 1 }, OptionError],
    [
      "controls of more than half",
      { neurons: Array.from({ length: 33 }, (_, i) => i), controls: {} },
      OptionError,
    ],
    ["a mean over no position", { how: "mean", at: () => [] }, EmptyDataError],
  ])("refuses %s", async (_, wrong, error) => {
    const asked = measureAblation(model, TEXTS, { ...options, ...wrong });
    await expect(asked).rejects.toThrow(error);
  });
});

describe("drawMatched", () => {
  it("draws evenly from the nearest by ratio, and the only equal for a scale of 0", () => {
    const scales = [1, 1.1, 0.9, 5, 0, 0, 1.05, 100];
    const counts = new Map<number, number>();
    for (let draw = 0; draw < 600; draw++) {
      const { neurons, scaleRatios } = drawMatched(8, (j) => scales[j], Uint32Array.of(0, 4), 3, 1, draw);
      counts.set(neurons[0], (counts.get(neurons[0]) ?? 0) + 1);
      expect(scaleRatios[0]).toBe(scales[neurons[0]]);
      expect(scaleRatios[1]).toBeNull();
      expect(neurons[1]).not.toBe(neurons[0]);
    }
    expect([...counts.keys()].sort()).toEqual([1, 2, 6]);
    // Three standard deviations of a binomial count.
    for (const count of counts.values())
      expect(Math.abs(count - 200)).toBeLessThan(3 * Math.sqrt((600 * 2) / 9));
  });
});
