import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { HookPoint, TokenBatch } from "../../src/backends/backend.ts";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { aggregateRows } from "../../src/backends/cpu/reference/aggregate-rows.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import type { CpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import { loadCpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import {
  BackendUnavailableError,
  ContextLengthError,
  DisposedError,
  EmptyDataError,
  MissingTensorError,
  OptionError,
  ShapeError,
} from "../../src/errors.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import type { TensorSource } from "../../src/data/tensor.ts";
import {
  fixturePath,
  fixtureSpec,
  FOLDERS,
  loadFixture,
  loadTransformer,
  readGolden,
  sequence,
  worstShare,
  type Golden,
} from "./fixtures.ts";

const KERNELS = ["wasm", "javascript"] as const;

/** A batch over and over. */
function repeated({ tokens, offsets }: TokenBatch, copies: number): TokenBatch {
  const sequences = offsets.length - 1;
  return {
    tokens: Uint32Array.from({ length: copies * tokens.length }, (_, i) => tokens[i % tokens.length]),
    offsets: Uint32Array.from(
      { length: copies * sequences + 1 },
      (_, s) => Math.floor(s / sequences) * tokens.length + offsets[s % sequences],
    ),
  };
}

describe.each(FOLDERS)("the %s model against torch", (folder) => {
  it("gives every hook point and the last logits", async () => {
    const model = await loadFixture(folder);
    const { batch, points, logits } = await readGolden(folder);
    const result = await model.transformer.forward(batch, { hookPoints: [...points.keys()], logits: "last" });
    expect(points.size).toBeGreaterThanOrEqual(5);
    for (const [point, want] of points) {
      const got = await result.activations.get(point)!.read();
      expect(worstShare(got.toFloat32(), want), point).toBeLessThan(1);
      expect(got.provenance.hookPoint).toBe(point);
    }
    expect(worstShare(result.logits!, logits), "logits").toBeLessThan(1);
  });
});

describe.each(["parallel", "sequential"] as const)("the %s model", (folder) => {
  let golden: Golden;
  let wasm: CpuTransformer;
  let plain: CpuTransformer;
  beforeAll(async () => {
    golden = await readGolden(folder);
    [wasm, plain] = await Promise.all(KERNELS.map((kernels) => loadTransformer(folder, kernels)));
  });

  it("gives the same on plain JavaScript kernels", async () => {
    expect([wasm.kernels, plain.kernels]).toEqual(["WebAssembly SIMD", "plain JavaScript"]);
    const result = await plain.forward(golden.batch, {
      hookPoints: [...golden.points.keys()],
      logits: "last",
    });
    for (const [point, want] of golden.points) {
      expect(worstShare((await result.activations.get(point)!.read()).toFloat32(), want), point).toBeLessThan(
        1,
      );
    }
    expect(worstShare(result.logits!, golden.logits)).toBeLessThan(1);
  });

  it("reads each sequence as if it were alone, bit for bit", async () => {
    const hookPoints = [...golden.points.keys()];
    for (const model of [wasm, plain]) {
      const together = await model.forward(golden.batch, { hookPoints, logits: "all" });
      for (let s = 0; s + 1 < golden.batch.offsets.length; s++) {
        const alone = await model.forward(sequence(golden.batch, s), { hookPoints, logits: "all" });
        const [start, end] = golden.batch.offsets.subarray(s, s + 2);
        for (const point of hookPoints) {
          const all = (await together.activations.get(point)!.read()).slice(start, end);
          expect((await alone.activations.get(point)!.read()).toFloat32()).toEqual(all.toFloat32());
        }
        const { vocabulary } = model.spec;
        expect(alone.logits).toEqual(together.logits!.slice(start * vocabulary, end * vocabulary));
      }
    }
  });

  it("gives the same values whichever other hook points are asked for, in batches of many chunks", async () => {
    const hookPoints = [...golden.points.keys()];
    const copies = 80;
    const { tokens } = golden.batch;
    const many = repeated(golden.batch, copies);
    const all = await wasm.forward(golden.batch, { hookPoints, logits: "last" });
    for (const point of hookPoints) {
      const { activations, logits } = await wasm.forward(many, { hookPoints: [point] });
      expect(logits).toBeNull();
      expect([...activations.keys()]).toEqual([point]);
      const got = await activations.get(point)!.read();
      const want = (await all.activations.get(point)!.read()).toFloat32();
      for (const copy of [0, 7, copies - 1]) {
        const part = got.slice(copy * tokens.length, (copy + 1) * tokens.length).toFloat32();
        expect(part, `${point}, copy ${copy}`).toEqual(want);
      }
    }
    const { logits } = await wasm.forward(many, { hookPoints: [], logits: "last" });
    expect(logits!.slice(-all.logits!.length)).toEqual(all.logits);
  });

  it("sees no token before its time", async () => {
    const point: HookPoint = "blocks.1.hook_resid_post";
    const long = sequence(golden.batch, 1);
    const short = { tokens: long.tokens.slice(0, 9), offsets: Uint32Array.of(0, 9) };
    const [a, b] = await Promise.all(
      [long, short].map(async (batch) => {
        const { activations } = await wasm.forward(batch, { hookPoints: [point] });
        return (await activations.get(point)!.read()).toFloat32();
      }),
    );
    expect(worstShare(a.slice(0, b.length), b)).toBeLessThan(1);
  });

  it("aggregates segments on the way out", async () => {
    const point: HookPoint = "blocks.0.mlp.hook_post";
    const rows = Uint32Array.of(0, 2, 3, 9, 20, 21);
    const offsets = Uint32Array.of(0, 1, 4, 6);
    const want = golden.points.get(point)!;
    const d = wasm.spec.dMlp;
    const of = (combine: (values: number[]) => number): number[] =>
      [0, 1, 2].flatMap((r) =>
        Array.from({ length: d }, (_, j) =>
          combine(Array.from(rows.subarray(offsets[r], offsets[r + 1]), (row) => want[row * d + j])),
        ),
      );
    const expected = {
      mean: of((values) => values.reduce((a, b) => a + b, 0) / values.length),
      max: of((values) => Math.max(...values)),
      last: of((values) => values.at(-1)!),
      token: Array.from(rows).flatMap((row) => Array.from(want.subarray(row * d, (row + 1) * d))),
    };
    for (const aggregation of ["mean", "max", "last", "token"] as const) {
      const { activations } = await wasm.forward(golden.batch, {
        hookPoints: [point],
        aggregate: { aggregation, segments: { rows, offsets } },
      });
      const got = await activations.get(point)!.read();
      expect(got.rows).toBe(aggregation === "token" ? 6 : 3);
      expect(worstShare(got.toFloat32(), expected[aggregation]), aggregation).toBeLessThan(1);
    }
  });

  it("aggregates segments that span chunks or come in another order", async () => {
    const point: HookPoint = "blocks.1.mlp.hook_post";
    const batch = repeated(golden.batch, 160);
    const count = batch.tokens.length;
    expect(count).toBeGreaterThan(2 * 2048);
    const whole = await wasm.forward(batch, { hookPoints: [point] });
    const x = await whole.activations.get(point)!.read();
    for (const segments of [
      { rows: Uint32Array.of(3, count - 1, 5, 9), offsets: Uint32Array.of(0, 2, 4) },
      { rows: Uint32Array.of(count - 2, 7, 8, count - 1), offsets: Uint32Array.of(0, 1, 3, 4) },
      { rows: Uint32Array.of(7, 8, count - 1), offsets: Uint32Array.of(0, 2, 3) },
    ]) {
      const aggregate = { aggregation: "mean", segments } as const;
      const { activations } = await wasm.forward(batch, { hookPoints: [point], aggregate });
      const want = await aggregateRows(x, "mean", segments, new Pacer(undefined));
      expect((await activations.get(point)!.read()).data).toEqual(want.data);
    }
  });

  it("gives the same bits on several threads, and gives its memory back", async () => {
    const pool = await KernelPool.open(supportedVariant()!, 3, spawnWorker);
    const siblings = vi.spyOn(pool, "sibling");
    const threaded = await loadTransformer(folder, "wasm", pool);
    const own = (await siblings.mock.results[0].value) as KernelPool;
    const used: number[] = [];
    const hookPoints = [...golden.points.keys()];
    const batch = repeated(golden.batch, 160);
    const last = {
      rows: batch.offsets.slice(1).map((end) => end - 1),
      offsets: batch.offsets.map((_, s) => s),
    };
    const means = { aggregation: "mean", segments: last } as const;
    for (const aggregate of [undefined, means, undefined]) {
      const request = { hookPoints, logits: "last", ...(aggregate && { aggregate }) } as const;
      const [one, several] = [await wasm.forward(batch, request), await threaded.forward(batch, request)];
      expect(several.logits).toEqual(one.logits);
      for (const point of hookPoints) {
        const [want, got] = await Promise.all(
          [one, several].map(async ({ activations }) => (await activations.get(point)!.read()).data),
        );
        expect(Buffer.compare(Buffer.from(got.buffer), Buffer.from(want.buffer)), point).toBe(0);
      }
      for (const x of [...one.activations.values(), ...several.activations.values()]) x.dispose();
      used.push(own.memory.used);
    }
    expect(used[2]).toBe(used[1]);
    expect(pool.threads).toBe(3);
    threaded.dispose();
    pool.close();
  });

  it("runs calls that overlap one after the other", async () => {
    const hookPoints: HookPoint[] = ["blocks.1.mlp.hook_post"];
    const batches = [0, 1, 2, 1].map((s) => sequence(golden.batch, s));
    const overlapping = await Promise.all(batches.map((batch) => wasm.forward(batch, { hookPoints })));
    for (const [i, result] of overlapping.entries()) {
      const alone = await wasm.forward(batches[i], { hookPoints });
      expect((await result.activations.get(hookPoints[0])!.read()).toFloat32()).toEqual(
        (await alone.activations.get(hookPoints[0])!.read()).toFloat32(),
      );
    }
  });
});

describe("a forward pass refuses", () => {
  let model: CpuTransformer;
  const point: HookPoint = "blocks.0.mlp.hook_post";
  const batch = (tokens: number[], offsets = [0, tokens.length]) => ({
    tokens: Uint32Array.from(tokens),
    offsets: Uint32Array.from(offsets),
  });
  beforeAll(async () => {
    model = await loadTransformer("parallel", "wasm");
  });

  it.each([
    ["a hook point beyond the layers", "blocks.2.mlp.hook_post", /beyond the model's 2 layers/],
    ["an unknown hook point", "blocks.0.hook_q", /is not a hook point/],
    ["resid_mid of a parallel residual", "blocks.0.hook_resid_mid", /in parallel/],
  ])("%s", async (_, name, message) => {
    await expect(model.forward(batch([1]), { hookPoints: [name as HookPoint] })).rejects.toThrow(message);
    await expect(model.forward(batch([1]), { hookPoints: [name as HookPoint] })).rejects.toThrow(OptionError);
  });

  it("nothing to return", async () => {
    await expect(model.forward(batch([1]), { hookPoints: [] })).rejects.toThrow(OptionError);
  });

  it.each([
    ["no sequences", batch([], [0]), EmptyDataError],
    ["an empty sequence", batch([1, 2], [0, 0, 2]), EmptyDataError],
    ["offsets that do not fit", batch([1, 2], [0, 1]), ShapeError],
    ["falling offsets", batch([1, 2, 3], [0, 2, 1, 3]), ShapeError],
    ["a token beyond the vocabulary", batch([300]), ShapeError],
    ["a sequence beyond the context", batch(new Array<number>(65).fill(1)), ContextLengthError],
  ])("%s", async (_, wrong, error) => {
    await expect(model.forward(wrong, { hookPoints: [point] })).rejects.toThrow(error);
  });

  it("to go on after an abort, and can be used again", async () => {
    const aborted = AbortSignal.abort(new Error("enough"));
    await expect(model.forward(batch([1]), { hookPoints: [point], signal: aborted })).rejects.toThrow(
      "enough",
    );
    const controller = new AbortController();
    const tokens = new Array<number>(64 * 2000).fill(5);
    const offsets = Array.from({ length: 2001 }, (_, s) => 64 * s);
    const running = model.forward(batch(tokens, offsets), {
      hookPoints: ["blocks.1.hook_resid_post"],
      signal: controller.signal,
    });
    setTimeout(() => controller.abort(new Error("later")), 1);
    await expect(running).rejects.toThrow("later");
    await expect(model.forward(batch([1]), { hookPoints: [point] })).resolves.toBeDefined();
  });

  it("to run after dispose", async () => {
    const other = await loadTransformer("parallel", "wasm");
    other.dispose();
    other.dispose();
    await expect(other.forward(batch([1]), { hookPoints: [point] })).rejects.toThrow(DisposedError);
  });
});

describe("loading weights", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("falls back to JavaScript where SIMD WebAssembly does not run, and says so", async () => {
    vi.spyOn(WebAssembly, "validate").mockReturnValue(false);
    const weights = await openTensorFolder(fixturePath("parallel"));
    const spec = fixtureSpec("parallel");
    expect((await loadCpuTransformer(spec, weights)).kernels).toBe("plain JavaScript");
    await expect(loadCpuTransformer(spec, weights, { kernels: "wasm" })).rejects.toThrow(
      BackendUnavailableError,
    );
    vi.spyOn(WebAssembly, "validate").mockImplementation(() => {
      throw new Error("forbidden by the page's policy");
    });
    expect((await loadCpuTransformer(spec, weights)).kernels).toBe("plain JavaScript");
    await weights.close();
  });

  const spec = fixtureSpec("parallel");
  const empty: TensorSource = {
    tensors: new Map([["gpt_neox.embed_in.weight", { dtype: "F32" as const, shape: [300, 16] }]]),
    read: () => Promise.reject(new Error("nothing may be read")),
  };

  it("names missing and misshapen tensors before it reads any", async () => {
    const loading = loadCpuTransformer(spec, empty);
    await expect(loading).rejects.toThrow(MissingTensorError);
    await expect(loading).rejects.toThrow(/embed_in\.weight is \[300, 16\], not \[300, 32\]/);
    await expect(loading).rejects.toThrow(/input_layernorm\.weight \[32\] is missing/);
  });

  it("stops when aborted", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(loadCpuTransformer(spec, empty, { signal })).rejects.toThrow("stop");
  });
});
