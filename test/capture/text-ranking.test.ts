/** Rankings that read values, in the path from texts to probes: kept activations, a pass of their own, or none. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { probeTexts } from "../../src/capture/probe-texts.ts";
import type { ProbeTextsInput, ProbeTextsOptions } from "../../src/capture/text-study.ts";
import { readLabelledTexts } from "../../src/datasets/texts.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { COLUMN_RANKINGS, type RankingFunction } from "../../src/ranking/ranking.ts";

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

describe("probeTexts with rankings that read values", () => {
  const hookPoints = ["blocks.0.mlp.hook_post", "blocks.1.mlp.hook_post"] as const;
  const options = { hookPoints, aggregation: "mean", ks: [1, 3] } as const;
  let model: LanguageModel;
  let input: ProbeTextsInput;
  beforeAll(async () => {
    model = await loadModelFolder(example("model/haystack-4m"), createCpuBackend());
    const all = readLabelledTexts(readFileSync(example("data/natural-language.jsonl"), "utf8"));
    const some = [...all.texts.keys()].filter(
      (i) => ["fr", "de", "ru"].includes(String(all.labels[i])) && i % 4 === 0,
    );
    input = {
      texts: some.map((i) => all.texts[i].slice(0, 50)),
      labels: some.map((i) => all.labels[i]),
      docs: some.map((i) => all.docs![i]),
    };
  });
  const run = (more: ProbeTextsOptions) => probeTexts(model, input, { ...options, ...more });
  const chosen = (result: Awaited<ReturnType<typeof run>>) =>
    result.rows.map(({ feature, k, hookPoint, neurons }) => [feature, k, hookPoint, ...neurons]);

  it.each(COLUMN_RANKINGS)("%s: the same neurons whether activations are kept or not", async (ranking) => {
    const probe = { ranking, prefilter: 8, seed: 1 };
    const kept = await run({ probe });
    expect(kept.failures).toEqual([]);
    const read = await run({ probe, keepBytes: 40_000 });
    expect(chosen(read)).toEqual(chosen(kept));
    // The moments' pass fills histograms; the others read the training texts once more.
    const plain = await run({ keepBytes: 0 });
    const extra = read.tokens - plain.tokens;
    expect(extra).toBe(ranking === "mutual-information-histogram" ? 0 : plain.tokens - kept.tokens);
    expect(kept.chosen[0].probe.options).toMatchObject(probe);
  });

  it("refuses to keep more than it may, and says what helps", async () => {
    await expect(run({ probe: { ranking: "linear-svm" }, keepBytes: 0 })).rejects.toThrow(/Set a prefilter/);
    // Histograms need no columns.
    const rows = chosen(await run({ probe: { ranking: "mutual-information-histogram" }, keepBytes: 0 }));
    expect(rows).toEqual(chosen(await run({ probe: { ranking: "mutual-information-histogram" } })));
  });

  it("lets a function read the columns that it asks for", async () => {
    const asked: number[] = [];
    const ranking: RankingFunction = async (moments, _feature, context) => {
      const columns = await context.columns(Uint32Array.of(5, 2));
      asked.push(columns.rows, columns.neurons);
      const scores = new Float64Array(moments.neurons);
      scores[5] = Math.max(...columns.toFloat32().filter((_, i) => i % 2 === 0));
      scores[2] = Math.max(...columns.toFloat32().filter((_, i) => i % 2 === 1));
      return scores;
    };
    const kept = await run({ probe: { ranking: { name: "peak", score: ranking } } });
    const read = await run({ probe: { ranking }, keepBytes: 10_000 });
    expect(kept.chosen[0].probe.options.ranking).toBe("peak");
    expect(read.rows.every(({ neurons }) => neurons.every((j) => j === 2 || j === 5 || j === 0))).toBe(true);
    expect(new Set(asked.filter((_, i) => i % 2 === 1))).toEqual(new Set([2]));
  });

  it("reports the stage, and stops in it", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const call = run({
      probe: { ranking: "mutual-information" },
      signal: controller.signal,
      onProgress: (stage) => {
        if (stage === "select") controller.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
  });
});
