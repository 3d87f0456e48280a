import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { probeTexts } from "../../src/capture/probe-texts.ts";
import type { ProbeTextsResult } from "../../src/capture/text-study.ts";
import { splitRows, THREE_PARTS } from "../../src/data/splits.ts";
import { readLabelledTexts, type LabelledTexts } from "../../src/datasets/texts.ts";
import { ShapeError } from "../../src/errors.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

describe("probeTexts on the bundled model", () => {
  const hookPoints = ["blocks.0.mlp.hook_post", "blocks.1.mlp.hook_post"] as const;
  let model: LanguageModel;
  let data: LabelledTexts;
  let labels: string[];
  let result: ProbeTextsResult;
  const stages: string[] = [];
  beforeAll(async () => {
    model = await loadModelFolder(example("model/haystack-4m"), createCpuBackend());
    const all = readLabelledTexts(readFileSync(example("data/natural-language.jsonl"), "utf8"));
    const some = [...all.texts.keys()].filter((i) => ["fr", "de", "ru"].includes(String(all.labels[i])));
    data = {
      texts: some.map((i) => all.texts[i].slice(0, 120)),
      labels: some.map((i) => all.labels[i]),
      docs: some.map((i) => all.docs![i]),
    };
    labels = data.labels.map(String);
    result = await probeTexts(
      model,
      { texts: data.texts, labels, docs: data.docs },
      {
        hookPoints,
        aggregation: "mean",
        ks: [1, 3],
        seed: 3,
        keepBytes: 0,
        onProgress: (stage) => {
          if (stages.at(-1) !== stage) stages.push(stage);
        },
      },
    );
  });

  it("tells languages apart by single neurons", () => {
    expect(result.chosen.map(({ feature, k }) => [feature, k])).toEqual([
      ["de", 1],
      ["de", 3],
      ["fr", 1],
      ["fr", 3],
      ["ru", 1],
      ["ru", 3],
    ]);
    for (const { test } of result.chosen) expect(test.f1).toBeGreaterThan(0.9);
    expect(result.failures).toEqual([]);
    expect(result.rows).toHaveLength(12);
    expect(stages).toEqual(["moments", "columns", "fit", "evaluate"]);
    expect(result.seconds.total).toBeGreaterThan(result.seconds.columns);
  });

  it("chooses the hook point on validation rows alone, of equals the one with the smaller log-loss", () => {
    for (const chosen of result.chosen) {
      const rivals = result.rows.filter(({ feature, k }) => feature === chosen.feature && k === chosen.k);
      const best = Math.max(...rivals.map(({ validation }) => validation.f1!));
      const leaders = rivals.filter(({ validation }) => validation.f1 === best);
      leaders.sort((a, b) => a.validation.logLoss! - b.validation.logLoss!);
      expect(leaders[0].hookPoint).toBe(chosen.hookPoint);
    }
  });

  it("gives the probes that fitting the whole captured matrix gives", async () => {
    const { train, validation, test } = splitRows({
      labels: labels.map((label) => ["de", "fr", "ru"].map((name) => (label === name ? 1 : 0)).join()),
      groups: data.docs!,
      seed: 3,
      fractions: THREE_PARTS,
    });
    expect(result.split).toEqual({
      train: { texts: [...train], rows: train.length },
      validation: { texts: [...validation], rows: validation.length },
      test: { texts: [...test], rows: test.length },
    });
    const captured = await captureActivations(model, data.texts, { hookPoints, aggregation: "mean" });
    for (const chosen of result.chosen) {
      const acts = captured.get(chosen.hookPoint)!;
      const whole = await SparseProbe.fit(acts, labels, chosen.k, { positive: chosen.feature, rows: train });
      const streamed = SparseProbe.fromJSON(chosen.probe);
      expect(streamed.support).toEqual(whole.support);
      expect(streamed.provenance).toEqual(whole.provenance);
      // Moments are summed in float32, batch by batch here and at once there: they differ in the last bits.
      streamed.coefficients.forEach((value, c) =>
        expect(Math.abs(value / whole.coefficients[c] - 1)).toBeLessThan(1e-5),
      );
      expect(streamed.evaluate(acts, labels, { rows: test }).f1).toBe(chosen.test.f1);
      expect(whole.evaluate(acts, labels, { rows: validation }).f1).toBe(chosen.validation.f1);
    }
  });

  it("finds the same when one pass is enough", async () => {
    const once = await probeTexts(
      model,
      { texts: data.texts, labels, docs: data.docs },
      { hookPoints, aggregation: "mean", ks: [1, 3], seed: 3 },
    );
    expect(once.tokens).toBeLessThan(result.tokens);
    expect(once.rows.map(({ neurons }) => neurons)).toEqual(result.rows.map(({ neurons }) => neurons));
    expect(once.chosen.map(({ test }) => test.f1)).toEqual(result.chosen.map(({ test }) => test.f1));
    expect(once.split).toEqual(result.split);
  });

  it("is plain data", () => {
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  it("reports a feature that cannot be fitted and fits the others", async () => {
    const { chosen, failures } = await probeTexts(
      model,
      {
        texts: data.texts,
        labels: { russian: labels.map((label) => label === "ru"), nothing: labels.map(() => false) },
        docs: data.docs,
      },
      { hookPoints: [hookPoints[0]], aggregation: "token", ks: [1], skipFirst: 1 },
    );
    expect(chosen.map(({ feature }) => feature)).toEqual(["russian"]);
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ feature: "nothing", k: 1, hookPoint: null });
    expect(failures[0].reason).toMatch(/label/);
  });

  it("refuses labels of other texts", async () => {
    const input = { texts: data.texts.slice(1), labels };
    await expect(probeTexts(model, input, { ks: [1] })).rejects.toThrow(ShapeError);
  });

  it.each([
    ["an unknown metric", { chooseBy: "accurracy" as "accuracy" }, "option"],
    ["two parts", { fractions: { train: 0.7, test: 0.3 } as unknown as typeof THREE_PARTS }, "option"],
    ["a part of its own", { fractions: { ...THREE_PARTS, train: 0.5, other: 0.1 } }, "option"],
    ["no k", { ks: [] }, "support-size"],
    ["too large a k", { ks: [1, 100_000] }, "support-size"],
    ["no hook points", { hookPoints: [] }, "option"],
    ["room that is no number", { keepBytes: NaN }, "option"],
    ["a wrong probe option", { probe: { C: -1 } }, "option"],
  ])("refuses %s before the model reads", async (_, options, code) => {
    let stages = 0;
    const onProgress = () => {
      stages++;
    };
    const probing = probeTexts(model, { texts: data.texts, labels }, { ks: [1], onProgress, ...options });
    await expect(probing).rejects.toMatchObject({ code });
    expect(stages).toBe(0);
  });

  it("says why when there is no feature that can be read", async () => {
    const input = { texts: data.texts, labels: labels.map(() => "fr") };
    await expect(probeTexts(model, input, { ks: [1] })).rejects.toMatchObject({ code: "one-class" });
  });

  it("stops when aborted", async () => {
    const controller = new AbortController();
    const probing = probeTexts(
      model,
      { texts: data.texts, labels },
      { hookPoints, ks: [1], signal: controller.signal, onProgress: () => controller.abort(new Error("no")) },
    );
    await expect(probing).rejects.toThrow("no");
  });
});
