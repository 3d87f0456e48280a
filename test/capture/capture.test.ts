import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Aggregation, HookPoint } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { captureClassMoments } from "../../src/capture/capture-class-moments.ts";
import { captureColumns } from "../../src/capture/capture-columns.ts";
import { probeTexts } from "../../src/capture/probe-texts.ts";
import { TokenRows } from "../../src/capture/token-rows.ts";
import { visitBatches } from "../../src/capture/visit-batches.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { ContextLengthError, EmptyDataError, OptionError, ShapeError } from "../../src/errors.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { fixturePath, loadFixture } from "../model/fixtures.ts";
import { LABELS, TEXTS } from "./texts.ts";

const NEURONS: HookPoint = "blocks.1.mlp.hook_post";
const RESIDUAL: HookPoint = "blocks.0.hook_resid_post";
const AGGREGATIONS: readonly Aggregation[] = ["token", "mean", "max", "last"];

let model: LanguageModel;
beforeAll(async () => {
  model = await loadFixture("parallel");
});

describe("captureActivations", () => {
  it("gives a row per token with its document, token and origin", async () => {
    const groups = TEXTS.map((_, i) => `doc ${i % 3}`);
    const captured = await captureActivations(model, TEXTS, { hookPoints: [NEURONS, RESIDUAL], groups });
    const ids = TEXTS.map((text) => model.tokenizer.encode(text));
    const acts = captured.get(NEURONS)!;
    expect(acts.rows).toBe(ids.reduce((sum, { length }) => sum + length, 0));
    expect([acts.neurons, captured.get(RESIDUAL)!.neurons]).toEqual([64, 32]);
    expect(acts.provenance).toEqual({
      model: "parallel",
      hookPoint: NEURONS,
      aggregation: "token",
      tokens: ids.flatMap((text) => Array.from(text, (id) => model.tokenizer.decode([id]))),
    });
    expect(acts.groups).toEqual(ids.flatMap((text, i) => Array.from(text, () => groups[i])));
    // Rows are what the transformer says of each text on its own.
    let row = 0;
    for (const tokens of ids) {
      const batch = { tokens, offsets: Uint32Array.of(0, tokens.length) };
      const { activations } = await model.transformer.forward(batch, { hookPoints: [NEURONS] });
      const alone = await activations.get(NEURONS)!.read();
      expect(acts.slice(row, row + tokens.length).toFloat32()).toEqual(alone.toFloat32());
      row += tokens.length;
    }
  });

  it.each(AGGREGATIONS)("does not depend on the batches: %s", async (aggregation) => {
    const options = { hookPoints: [NEURONS], aggregation, skipFirst: 2 };
    const whole = (await captureActivations(model, TEXTS, options)).get(NEURONS)!;
    for (const batchTokens of [1, 17, 40]) {
      const parts = (await captureActivations(model, TEXTS, { ...options, batchTokens })).get(NEURONS)!;
      expect(parts.toFloat32()).toEqual(whole.toFloat32());
      expect(parts.groups).toEqual(whole.groups);
      expect(parts.provenance).toEqual(whole.provenance);
    }
  });

  it("aggregates the tokens that count", async () => {
    const each = (await captureActivations(model, TEXTS, { hookPoints: [NEURONS] })).get(NEURONS)!;
    const values = each.toFloat32();
    const d = each.neurons;
    const counts = (tokens: Uint32Array) =>
      Array.from(tokens.keys()).filter((position) => position % 2 === 1 || position === 0);
    const expected: Record<string, number[]> = { mean: [], max: [], last: [] };
    let start = 0;
    for (const text of TEXTS) {
      const tokens = model.tokenizer.encode(text);
      const rows = counts(tokens).map((position) => start + position);
      for (let j = 0; j < d; j++) {
        const column = rows.map((row) => values[row * d + j]);
        expected["mean"].push(Math.fround(column.reduce((a, b) => a + b, 0) / column.length));
        expected["max"].push(Math.max(...column));
        expected["last"].push(column.at(-1)!);
      }
      start += tokens.length;
    }
    for (const aggregation of ["mean", "max", "last"] as const) {
      const captured = await captureActivations(model, TEXTS, {
        hookPoints: [NEURONS],
        aggregation,
        positions: counts,
      });
      const got = captured.get(NEURONS)!;
      expect(Array.from(got.toFloat32()), aggregation).toEqual(expected[aggregation]);
      expect(got.groups).toEqual(TEXTS.map((_, i) => i));
      expect(got.provenance.tokens).toBeUndefined();
    }
  });

  it.each(["f16", "u8"] as const)("stores %s as the float32 capture converted", async (storage) => {
    const full = (await captureActivations(model, TEXTS, { hookPoints: [NEURONS] })).get(NEURONS)!;
    const small = (
      await captureActivations(model, TEXTS, { hookPoints: [NEURONS], storage, batchTokens: 20 })
    ).get(NEURONS)!;
    expect(small.dtype).toBe(storage);
    expect(small.data).toEqual(full.toStorage(storage).data);
  });

  it("reports tokens read and stops between batches when asked to", async () => {
    const seen: [number, number][] = [];
    const controller = new AbortController();
    const capture = captureActivations(model, TEXTS, {
      hookPoints: [NEURONS],
      batchTokens: 30,
      signal: controller.signal,
      onProgress: (done, total) => {
        seen.push([done, total]);
        if (seen.length === 2) controller.abort(new Error("enough"));
      },
    });
    await expect(capture).rejects.toThrow("enough");
    const total = TEXTS.reduce((sum, text) => sum + model.tokenizer.encode(text).length, 0);
    expect(seen).toHaveLength(2);
    expect(seen[1][0]).toBeGreaterThan(seen[0][0]);
    expect(seen.every(([done, all]) => done < total && all === total)).toBe(true);
  });

  it("at the same time on one model gives what one after the other gives, also when one is stopped", async () => {
    const capture = (texts: readonly string[], batchTokens: number, signal?: AbortSignal) =>
      captureActivations(model, texts, { hookPoints: [NEURONS], batchTokens, signal });
    const backwards = [...TEXTS].reverse();
    const want = [await capture(TEXTS, 30), await capture(backwards, 17)];
    const controller = new AbortController();
    const stopped = captureActivations(model, TEXTS, {
      hookPoints: [NEURONS],
      batchTokens: 20,
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error("enough"));
      },
    });
    const together = [capture(TEXTS, 30), capture(backwards, 17)];
    await expect(stopped).rejects.toThrow("enough");
    for (const [at, got] of (await Promise.all(together)).entries()) {
      expect(got.get(NEURONS)!.data).toEqual(want[at].get(NEURONS)!.data);
    }
  });

  describe("while threads compute the next batch", () => {
    const backend = createCpuBackend({ threads: 2, spawn: spawnWorker });
    afterAll(() => backend.dispose());

    /** Passes that have ended, how many of their results are held, and the most at any time. */
    const counted = (threaded: LanguageModel): { passes: number; held: number; most: number } => {
      const count = { passes: 0, held: 0, most: 0 };
      const { transformer } = threaded;
      const forward = transformer.forward.bind(transformer);
      vi.spyOn(transformer, "forward").mockImplementation(async (batch, request) => {
        const result = await forward(batch, request);
        count.passes++;
        for (const x of result.activations.values()) {
          count.most = Math.max(count.most, ++count.held);
          const dispose = x.dispose.bind(x);
          x.dispose = () => {
            count.held--;
            dispose();
          };
        }
        return result;
      });
      return count;
    };

    it("gives the same bits, and holds two batches at most", async () => {
      const threaded = await loadModelFolder(fixturePath("parallel"), backend);
      const count = counted(threaded);
      const options = { hookPoints: [NEURONS, RESIDUAL], batchTokens: 20 };
      const want = await captureActivations(model, TEXTS, options);
      const got = await captureActivations(threaded, TEXTS, options);
      for (const [point, { data }] of want) expect(got.get(point)!.data).toEqual(data);
      expect(count.held).toBe(0);
      expect(count.most).toBeLessThanOrEqual(4);
      threaded.dispose();
    });

    it("gives everything back when what reads a batch fails", async () => {
      const threaded = await loadModelFolder(fixturePath("parallel"), backend);
      const count = counted(threaded);
      const rows = await TokenRows.tokenise(threaded, TEXTS);
      const failing = visitBatches(threaded, rows, [NEURONS], { batchTokens: 20 }, () =>
        Promise.reject(new Error("full")),
      );
      await expect(failing).rejects.toThrow("full");
      // The batch that was under way as well.
      expect(count.passes).toBe(2);
      expect(count.held).toBe(0);
      threaded.dispose();
    });
  });

  it("rejects with the reason of a signal that is aborted already, before the model reads", async () => {
    const reason = { not: "an error" };
    const signal = AbortSignal.abort(reason);
    const forward = vi.spyOn(model.transformer, "forward");
    const options = { hookPoints: [NEURONS], signal };
    const labels = new LabelMatrix(["f"], TEXTS.length, new Uint8Array(TEXTS.length));
    const calls = [
      captureActivations(model, TEXTS, options),
      captureClassMoments(model, TEXTS, labels, options),
      captureColumns(model, TEXTS, new Map([[NEURONS, Uint32Array.of(0)]]), { signal }),
      TokenRows.tokenise(model, TEXTS, { signal }),
      probeTexts(model, { texts: TEXTS, labels: TEXTS.map((_, i) => i % 2) }, { signal, ks: [1] }),
    ];
    for (const call of calls) await expect(call).rejects.toBe(reason);
    expect(forward).not.toHaveBeenCalled();
    forward.mockRestore();
  });

  it("says so when the model is disposed of, before or while it reads", async () => {
    const own = await loadFixture("parallel");
    const capture = captureActivations(own, TEXTS, {
      hookPoints: [NEURONS],
      batchTokens: 20,
      onProgress: () => {
        own.dispose();
      },
    });
    await expect(capture).rejects.toMatchObject({ code: "disposed" });
    own.dispose();
    await expect(captureActivations(own, TEXTS, { hookPoints: [NEURONS] })).rejects.toMatchObject({
      code: "disposed",
    });
  });

  it("names the text that is too long, and can truncate it", async () => {
    const long = "x".repeat(200);
    const capture = captureActivations(model, ["x", long], { hookPoints: [NEURONS] });
    await expect(capture).rejects.toThrow(ContextLengthError);
    await expect(capture).rejects.toThrow(/Text 1 has \d+ tokens, but the model's context holds 64/);
    const cut = await captureActivations(model, ["x", long], { hookPoints: [NEURONS], truncate: true });
    expect(cut.get(NEURONS)!.rows).toBe(1 + 64);
  });

  it.each([
    ["no texts", [], {}, EmptyDataError],
    ["an empty text", ["a", ""], {}, EmptyDataError],
    ["a text of skipped tokens only", ["the fox", "a"], { skipFirst: 1 }, EmptyDataError],
    ["a negative skip", ["a"], { skipFirst: -1 }, OptionError],
    ["positions out of order", ["the fox"], { positions: () => [1, 0] }, ShapeError],
    ["positions beyond the text", ["a"], { positions: () => [1] }, ShapeError],
    ["groups of another length", ["a"], { groups: ["x", "y"] }, ShapeError],
    ["an unknown aggregation", ["a"], { aggregation: "sum" as "mean" }, OptionError],
    ["an unknown storage type", ["a"], { storage: "f64" as "f32" }, OptionError],
    ["no hook points", ["a"], { hookPoints: [] }, OptionError],
    ["a text that is none", ["a", null as unknown as string], {}, OptionError],
    ["one string for a list", "abc" as unknown as string[], {}, OptionError],
    ["an empty batch", ["a"], { batchTokens: 0 }, OptionError],
    [
      "a hook point that is not there",
      ["a"],
      { hookPoints: ["blocks.9.mlp.hook_post"] as const },
      OptionError,
    ],
  ])("refuses %s", async (_, texts, options, error) => {
    await expect(captureActivations(model, texts, { hookPoints: [NEURONS], ...options })).rejects.toThrow(
      error,
    );
  });
});

describe("two passes", () => {
  it.each(AGGREGATIONS)("stream the moments of the captured matrix: %s", async (aggregation) => {
    const rows = await TokenRows.tokenise(model, TEXTS, { aggregation });
    const labels = rows.labelRows(LABELS);
    const hookPoints = [NEURONS, RESIDUAL];
    const streamed = await captureClassMoments(model, rows, labels, { hookPoints, batchTokens: 25 });
    const captured = await captureActivations(model, rows, { hookPoints });
    for (const point of hookPoints) {
      const x = await model.backend.upload(captured.get(point)!);
      const want = await model.backend.classMoments(x, labels);
      const got = streamed.get(point)!;
      expect(got.count).toEqual(want.count);
      // Sums in float32 over at most 25 rows at a time here, over all there: γ(50) of values and squares.
      for (const key of ["mean", "withinSquares"] as const) {
        got[key]!.forEach((value, i) =>
          expect(Math.abs(value - want[key]![i])).toBeLessThanOrEqual(
            50 * 2 ** -24 * (1 + Math.abs(want[key]![i])),
          ),
        );
      }
    }
  });

  it.each(AGGREGATIONS)("keep the columns asked for: %s", async (aggregation) => {
    const options = { aggregation, groups: TEXTS.map((_, i) => i % 4), skipFirst: 1 };
    const columns = new Map([
      [NEURONS, Uint32Array.of(63, 0, 17)],
      [RESIDUAL, Uint32Array.of(5)],
    ]);
    const kept = await captureColumns(model, TEXTS, columns, { ...options, batchTokens: 25 });
    const captured = await captureActivations(model, TEXTS, { ...options, hookPoints: [...columns.keys()] });
    for (const [point, neurons] of columns) {
      const want = captured.get(point)!.gatherColumns(neurons);
      expect(kept.get(point)!.toFloat32()).toEqual(want.toFloat32());
      expect(kept.get(point)!.groups).toEqual(want.groups);
      expect(kept.get(point)!.provenance).toEqual(want.provenance);
    }
  });

  it("refuse labels of other rows, and neurons that are not there", async () => {
    await expect(
      captureClassMoments(model, TEXTS, LABELS, { hookPoints: [NEURONS], aggregation: "token" }),
    ).rejects.toThrow(ShapeError);
    await expect(captureColumns(model, TEXTS, new Map([[NEURONS, Uint32Array.of(64)]]))).rejects.toThrow(
      ShapeError,
    );
  });
});

describe("TokenRows", () => {
  it("selects texts and keeps their numbers", async () => {
    const all = await TokenRows.tokenise(model, TEXTS, {
      aggregation: "token",
      groups: Array.from("abcdefghi"),
    });
    const some = all.selectTexts([4, 1]);
    const lengths = [4, 1].map((text) => model.tokenizer.encode(TEXTS[text]).length);
    expect(some.rows).toBe(lengths[0] + lengths[1]);
    expect(Array.from(some.textOfRow())).toEqual([
      ...new Array<number>(lengths[0]).fill(4),
      ...new Array<number>(lengths[1]).fill(1),
    ]);
    expect(new Set(some.groups())).toEqual(new Set(["e", "b"]));
    expect(Array.from(some.labelRows(LABELS).of(0))).toEqual([
      ...new Array<number>(lengths[0]).fill(0),
      ...new Array<number>(lengths[1]).fill(1),
    ]);
    expect(() => all.selectTexts([9])).toThrow(ShapeError);
    expect(() => all.selectTexts([])).toThrow(EmptyDataError);
  });
});
