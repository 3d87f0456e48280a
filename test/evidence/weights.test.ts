/** Weight statistics and logit effects against torch's own modules, for every family. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { bytesSource } from "../../src/io/byte-source.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { EmptyDataError, MissingTensorError, OptionError, ShapeError } from "../../src/errors.ts";
import { logitEffects, weightStatistics } from "../../src/evidence/evidence.ts";
import type { LogitEffect } from "../../src/evidence/read-logit-effects.ts";
import type { LayerWeightStatistics, NeuronValues } from "../../src/evidence/read-weight-statistics.ts";
import { loadModel, type LanguageModel } from "../../src/model/language-model.ts";
import type { ModelFiles } from "../../src/model/model-files.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { FAMILIES, familyPath } from "../model/families.ts";
import { fixtureJson, fixturePath, FOLDERS, loadFixture } from "../model/fixtures.ts";

interface Effect {
  readonly values: number[];
  readonly moments: number[];
}
interface Golden {
  readonly stored: Record<string, number[]>;
  readonly folded: Record<string, number[]>;
  readonly effects: { readonly neuron: number; readonly stored: Effect; readonly folded: Effect }[];
}
const goldens = JSON.parse(
  readFileSync(new URL("../fixtures/evidence.json", import.meta.url), "utf8"),
) as Record<string, Golden>;
const MODELS = [...FAMILIES, ...FOLDERS];

/** The families' checkpoints have no tokenizer: any will do that has their ids. */
async function load(
  name: string,
  tokenizer = fixtureJson("parallel/tokenizer.json"),
): Promise<LanguageModel> {
  const folder = (FOLDERS as readonly string[]).includes(name) ? fixturePath(name) : familyPath(name);
  const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8")) as unknown;
  const weights = await openTensorFolder(folder);
  try {
    return await loadModel(
      {
        json: (file) =>
          Promise.resolve(
            file === "config.json" ? config : file === "tokenizer.json" ? tokenizer : undefined,
          ),
        tensors: () => Promise.resolve(weights),
        reopen: () => openTensorFolder(folder),
      },
      createCpuBackend(),
    );
  } finally {
    await weights.close();
  }
}

/**
 * transformers normalises in float32 where the norm is an RMS norm, and fixtures have 7 digits: values are found from sums of up to 64
 * float32 terms and differences of them.
 */
function expectClose(got: ArrayLike<number | null>, want: readonly number[], what: string): void {
  expect(got.length, what).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs));
  const worst = Math.max(...want.map((value, i) => Math.abs(got[i]! - value)));
  expect(worst / (largest + Number.MIN_VALUE), what).toBeLessThan(1e-5);
}

function flat({
  input,
  gate,
  gateCosine,
  outputNorm,
}: LayerWeightStatistics["stored"]): [string, NeuronValues | null][] {
  return [
    ["input.norm", input.norm],
    ["input.bias", input.bias],
    ["input.cosine", input.cosine],
    ["gate.norm", gate && gate.norm],
    ["gate.bias", gate && gate.bias],
    ["gate.cosine", gate && gate.cosine],
    ["gateCosine", gateCosine],
    ["outputNorm", outputNorm],
  ];
}

describe.each(MODELS)("%s", (name) => {
  it("has the weight statistics that torch's modules show", async () => {
    const model = await load(name);
    const last = model.spec.layers - 1;
    const [of] = await weightStatistics(model, { layers: [last] });
    expect(of.layer).toBe(last);
    for (const kind of ["stored", "folded"] as const) {
      for (const [key, values] of flat(of[kind])) {
        const want = goldens[name][kind][key] as number[] | undefined;
        // What a map without a bias makes of zero is zero.
        if (values === null) expect(want ?? [0], key).toEqual((want ?? [0]).map(() => 0));
        else expectClose(values, want!, `${kind} ${key}`);
      }
      for (const { norm, bias, normTimesBias } of [of[kind].input, of[kind].gate ?? of[kind].input]) {
        expect(normTimesBias).toEqual(bias && norm.map((length, n) => length! * bias[n]!));
      }
      const { neurons, least, median, largest, mean } = of.summary[kind]["outputNorm"];
      const sorted = (of[kind].outputNorm as number[]).toSorted((a, b) => a - b);
      expect([neurons, least, largest]).toEqual([model.spec.dMlp, sorted[0], sorted[sorted.length - 1]]);
      const middle = (sorted.length - 1) / 2;
      expect(median).toBeCloseTo((sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2, 12);
      expect(mean).toBeCloseTo(sorted.reduce((a, b) => a + b) / sorted.length, 12);
      expect(Object.keys(of.summary[kind]).includes("gateCosine")).toBe(model.spec.mlp.gated);
    }
    expect(JSON.parse(JSON.stringify(of))).toEqual(of);
    model.dispose();
  });

  it("has the logit effects that torch's modules show", async () => {
    const model = await load(name);
    const layer = model.spec.layers - 1;
    const { effects } = goldens[name];
    const found = await logitEffects(
      model,
      effects.map(({ neuron }) => ({ layer, neuron })),
      { values: true, tokens: 7 },
    );
    for (const [i, want] of effects.entries()) {
      expect(found[i]).toMatchObject({ layer, neuron: want.neuron });
      for (const kind of ["stored", "folded"] as const) {
        const { values, mean, deviation, skewness, kurtosis, top, bottom }: LogitEffect = found[i][kind];
        expectClose(values!, want[kind].values, kind);
        const [wantMean, wantDeviation, ...shape] = want[kind].moments;
        expect(Math.abs(mean - wantMean)).toBeLessThan(1e-5 * Math.max(...want[kind].values.map(Math.abs)));
        expectClose([deviation], [wantDeviation], "deviation");
        expectClose([skewness, kurtosis], shape, "shape");
        const known = Array.from(values!.keys()).filter((id) => model.tokenizer.has(id));
        const sorted = known.toSorted((a, b) => values![b] - values![a] || a - b);
        expect(top.map(({ id }) => id)).toEqual(sorted.slice(0, 7));
        expect(bottom.map(({ id }) => id)).toEqual(sorted.slice(-7).reverse());
        for (const { id, token, effect } of [...top, ...bottom]) {
          expect([token, effect]).toEqual([model.tokenizer.tokenText(id), values![id]]);
        }
      }
    }
    model.dispose();
  });
});

describe("weights of a loaded model", () => {
  it("are read again from its folder, layer by layer, and files are closed", async () => {
    const model = await loadFixture("sequential");
    const seen: [number, number][] = [];
    const all = await weightStatistics(model, { onProgress: (done, total) => seen.push([done, total]) });
    expect(all.map(({ layer }) => layer)).toEqual([0, 1]);
    expect(seen).toEqual([
      [1, 2],
      [2, 2],
    ]);
    expect(await weightStatistics(model, { layers: [1] })).toEqual([all[1]]);
    const [plain] = await logitEffects(model, [{ layer: 0, neuron: 5 }]);
    expect(JSON.parse(JSON.stringify(plain))).toEqual(plain);
    expect(plain.stored.values).toBeNull();
    expect(plain.folded.top).toHaveLength(10);
    expect(Object.isFrozen(plain.folded.top[0])).toBe(true);
    // Layers come in the order asked for, whatever order they are read in.
    const places = [
      { layer: 1, neuron: 2 },
      { layer: 0, neuron: 5 },
      { hookPoint: "blocks.1.mlp.hook_post", neuron: 0 },
    ] as const;
    const several = await logitEffects(model, places);
    expect(several[1]).toEqual(plain);
    expect(several.map(({ layer, neuron }) => [layer, neuron])).toEqual([
      [1, 2],
      [0, 5],
      [1, 0],
    ]);
  });

  it("are closed when a call is stopped or fails", async () => {
    const bytes = new Uint8Array(readFileSync(`${fixturePath("parallel")}/model.safetensors`));
    const open = { count: 0 };
    const files: ModelFiles = {
      json: (name) =>
        Promise.resolve(name === "tokenizer_config.json" ? undefined : fixtureJson(`parallel/${name}`)),
      tensors: () => openSafetensors(bytesSource(bytes)),
      async reopen() {
        open.count++;
        const file = await openSafetensors(bytesSource(bytes));
        return {
          tensors: file.tensors,
          read: (name, options) => file.read(name, options),
          close: () => {
            open.count--;
            return Promise.resolve();
          },
        };
      },
    };
    const model = await loadModel(files, createCpuBackend());
    const controller = new AbortController();
    const stopped = weightStatistics(model, {
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    await logitEffects(model, [{ layer: 0, neuron: 5 }]);
    await expect(
      logitEffects(model, [{ layer: 0, neuron: 5 }], { signal: AbortSignal.abort(new Error("before")) }),
    ).rejects.toThrow("before");
    expect(open.count).toBe(0);
    // The folder may have gone since.
    const gone = await loadModel(
      { ...files, reopen: () => openTensorFolder("no-such-folder") },
      createCpuBackend(),
    );
    await expect(weightStatistics(gone)).rejects.toThrow(MissingTensorError);
  });

  it("list no ids that the tokenizer does not have, but count them", async () => {
    const tokenizer = structuredClone(fixtureJson("parallel/tokenizer.json")) as {
      model: { vocab: Record<string, number>; merges: unknown[] };
    };
    const { vocab } = tokenizer.model;
    tokenizer.model.merges = [];
    tokenizer.model.vocab = Object.fromEntries(Object.entries(vocab).filter(([, id]) => id % 3 !== 0));
    const whole = await load("parallel");
    const padded = await load("parallel", tokenizer);
    expect(padded.tokenizer.has(3)).toBe(false);
    const neuron = [{ layer: 1, neuron: 5 }];
    const options = { values: true, tokens: 1000 };
    const [all] = await logitEffects(whole, neuron, options);
    const [some] = await logitEffects(padded, neuron, options);
    expect(some.folded.values).toEqual(all.folded.values);
    expect(some.folded.kurtosis).toBe(all.folded.kurtosis);
    const known = all.folded.top.map(({ id }) => id).filter((id) => padded.tokenizer.has(id));
    expect(known.length).toBeLessThan(all.folded.top.length);
    expect(some.folded.top.map(({ id }) => id)).toEqual(known);
    expect(some.folded.bottom.map(({ id }) => id)).toEqual(known.reverse());
  });

  it("are asked for by layers and neurons that exist", async () => {
    const model = await loadFixture("parallel");
    await expect(weightStatistics(model, { layers: [2] })).rejects.toThrow(OptionError);
    await expect(weightStatistics(model, { layers: [] })).rejects.toThrow(EmptyDataError);
    await expect(logitEffects(model, [])).rejects.toThrow(EmptyDataError);
    await expect(logitEffects(model, [{ layer: 2, neuron: 0 }])).rejects.toThrow(OptionError);
    await expect(logitEffects(model, [{ layer: 0, neuron: 64 }])).rejects.toThrow(ShapeError);
    await expect(logitEffects(model, [{ hookPoint: "blocks.0.hook_resid_post", neuron: 0 }])).rejects.toThrow(
      OptionError,
    );
    await expect(logitEffects(model, [{ layer: 0, neuron: 0 }], { tokens: -1 })).rejects.toThrow(OptionError);
  });
});
