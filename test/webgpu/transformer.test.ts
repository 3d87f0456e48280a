/** The forward pass on a GPU: against torch, against itself in other batches, and what it leaves behind. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { ForwardRequest, HookPoint, TokenBatch, Transformer } from "../../src/backends/backend.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { loadWebGpuTransformer } from "../../src/backends/webgpu/transformer.ts";
import { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import type { TensorSource } from "../../src/data/tensor.ts";
import {
  ContextLengthError,
  DisposedError,
  MissingTensorError,
  OptionError,
  OutOfMemoryError,
} from "../../src/errors.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import {
  fixturePath,
  fixtureSpec,
  FOLDERS,
  readGolden,
  sequence,
  worstShare,
  type Folder,
  type Golden,
} from "../model/fixtures.ts";
import { openTestBackend } from "../support/gpu.ts";

let backend: WebGpuBackend;
/** Cuts weights, groups and captured rows into several parts. */
let cut: WebGpuBackend;

beforeAll(async () => {
  backend = await openTestBackend();
  cut = new WebGpuBackend(backend.device.gpu, { maxBindingBytes: 4096, workBytes: 12_000 });
});

afterAll(() => {
  cut.dispose();
  backend.dispose();
});

afterEach(() => {
  vi.restoreAllMocks();
  expect(backend.device.liveBytes + cut.device.liveBytes).toBe(0);
});

async function load(folder: Folder, on: WebGpuBackend): Promise<Transformer> {
  return (await loadModelFolder(fixturePath(folder), on)).transformer;
}

/** Runs a pass and brings everything to the host. */
async function run(
  model: Transformer,
  batch: TokenBatch,
  request: ForwardRequest,
): Promise<{ points: Map<HookPoint, Float32Array>; logits: Float32Array | null }> {
  const { activations, logits } = await model.forward(batch, request);
  const points = new Map<HookPoint, Float32Array>();
  for (const [point, rows] of activations) {
    points.set(point, (await rows.read()).toFloat32());
    rows.dispose();
  }
  return { points, logits };
}

function expectSame(
  got: ReadonlyMap<HookPoint, Float32Array>,
  want: ReadonlyMap<HookPoint, Float32Array>,
): void {
  expect([...got.keys()]).toEqual([...want.keys()]);
  for (const [point, values] of want) expect(worstShare(got.get(point)!, values), point).toBeLessThan(1);
}

/** The first tokens of every sequence. */
function shortened({ tokens, offsets }: TokenBatch, most: number): TokenBatch {
  const parts = [...offsets.subarray(1)].map((end, s) =>
    tokens.subarray(offsets[s], Math.min(end, offsets[s] + most)),
  );
  const ends = [0];
  for (const part of parts) ends.push(ends.at(-1)! + part.length);
  return { tokens: Uint32Array.from(parts.flatMap((part) => [...part])), offsets: Uint32Array.from(ends) };
}

describe.each(FOLDERS)("the %s model", (folder) => {
  let golden: Golden;
  let hookPoints: HookPoint[];
  beforeAll(async () => {
    golden = await readGolden(folder);
    hookPoints = [...golden.points.keys()];
  });

  it("gives torch's hook points and last logits", async () => {
    const model = await load(folder, backend);
    const { activations, logits } = await model.forward(golden.batch, { hookPoints, logits: "last" });
    for (const [point, want] of golden.points) {
      const got = await activations.get(point)!.read();
      expect(worstShare(got.toFloat32(), want), point).toBeLessThan(1);
      expect(got.provenance.hookPoint).toBe(point);
      activations.get(point)!.dispose();
    }
    expect(worstShare(logits!, golden.logits), "logits").toBeLessThan(1);
    model.dispose();
  });

  it("gives the same when weights, sequences and captured rows are cut into parts", async () => {
    const model = await load(folder, cut);
    const batch = shortened(golden.batch, 10);
    const request: ForwardRequest = { hookPoints, logits: "all" };
    const reference = await loadModelFolder(fixturePath(folder), createCpuBackend());
    const want = await run(reference.transformer, batch, request);
    const got = await run(model, batch, request);
    expectSame(got.points, want.points);
    expect(worstShare(got.logits!, want.logits!)).toBeLessThan(1);
    model.dispose();
  });

  it("reads each sequence as if it were alone", async () => {
    const model = await load(folder, backend);
    const together = await run(model, golden.batch, { hookPoints, logits: "all" });
    const { vocabulary } = model.spec;
    for (let s = 0; s + 1 < golden.batch.offsets.length; s++) {
      const alone = await run(model, sequence(golden.batch, s), { hookPoints, logits: "all" });
      const [start, end] = golden.batch.offsets.subarray(s, s + 2);
      const part = (values: Float32Array): Float32Array => {
        const width = values.length / golden.batch.tokens.length;
        return values.subarray(start * width, end * width);
      };
      expectSame(alone.points, new Map([...together.points].map(([name, values]) => [name, part(values)])));
      const logits = together.logits!.subarray(start * vocabulary, end * vocabulary);
      expect(worstShare(alone.logits!, logits)).toBeLessThan(1);
    }
    model.dispose();
  });

  it("gives each hook point the same when it is asked for alone", async () => {
    const model = await load(folder, backend);
    for (const point of hookPoints) {
      const { points, logits } = await run(model, golden.batch, { hookPoints: [point, point] });
      expectSame(points, new Map([[point, golden.points.get(point)!]]));
      expect(logits).toBeNull();
    }
    model.dispose();
  });
});

describe("a forward pass", () => {
  let golden: Golden;
  beforeAll(async () => {
    golden = await readGolden("parallel");
  });
  const request: ForwardRequest = {
    hookPoints: ["blocks.0.mlp.hook_pre", "blocks.1.hook_attn_out"],
    logits: "last",
    aggregate: {
      aggregation: "mean",
      segments: { rows: Uint32Array.of(0, 2, 3, 6), offsets: Uint32Array.of(0, 1, 4) },
    },
  };

  it("aggregates on the device as the CPU backend does", async () => {
    const model = await load("parallel", backend);
    const reference = await loadModelFolder(fixturePath("parallel"), createCpuBackend());
    for (const aggregation of ["token", "mean", "max", "last"] as const) {
      const asked = { ...request, aggregate: { ...request.aggregate!, aggregation } };
      const got = await run(model, golden.batch, asked);
      expectSame(got.points, (await run(reference.transformer, golden.batch, asked)).points);
    }
    model.dispose();
  });

  it("frees its memory wherever it is aborted, and can be repeated", async () => {
    const model = await load("parallel", cut);
    const batch = shortened(golden.batch, 3);
    const live = cut.device.liveBytes;
    let places = 0;
    for (let place = 1; ; place++) {
      const { signal } = new AbortController();
      let calls = 0;
      vi.spyOn(signal, "throwIfAborted").mockImplementation(() => {
        if (++calls === place) throw new Error("stop");
      });
      const outcome = await run(model, batch, { ...request, signal }).catch((error: unknown) => error);
      expect(cut.device.liveBytes).toBe(live);
      if (!(outcome instanceof Error)) break;
      expect(outcome.message).toBe("stop");
      places++;
    }
    expect(places).toBeGreaterThan(10);
    model.dispose();
  });

  it("stops when it is aborted while layers are under way", async () => {
    const model = await load("parallel", backend);
    const live = backend.device.liveBytes;
    const controller = new AbortController();
    const running = model.forward(golden.batch, { ...request, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("later")), 1);
    await expect(running).rejects.toThrow("later");
    expect(backend.device.liveBytes).toBe(live);
    model.dispose();
  });

  it("names batchTokens when a batch does not fit", async () => {
    const model = await load("parallel", cut);
    const live = cut.device.liveBytes;
    const long = sequence(golden.batch, 1);
    const running = model.forward(long, { hookPoints: ["blocks.0.mlp.hook_post"] });
    await expect(running).rejects.toThrow(OutOfMemoryError);
    await expect(running).rejects.toThrow(/50 tokens.*smaller batchTokens/);
    expect(cut.device.liveBytes).toBe(live);
    model.dispose();
  });

  it("refuses what the CPU backend refuses", async () => {
    const model = await load("parallel", backend);
    const one = { tokens: Uint32Array.of(1), offsets: Uint32Array.of(0, 1) };
    const long = { tokens: new Uint32Array(65), offsets: Uint32Array.of(0, 65) };
    const mid: HookPoint = "blocks.0.hook_resid_mid";
    await expect(model.forward(one, { hookPoints: [mid] })).rejects.toThrow(OptionError);
    await expect(model.forward(one, { hookPoints: [] })).rejects.toThrow(OptionError);
    await expect(model.forward(long, { hookPoints: ["blocks.0.mlp.hook_post"] })).rejects.toThrow(
      ContextLengthError,
    );
    model.dispose();
    model.dispose();
    await expect(model.forward(one, { hookPoints: [], logits: "last" })).rejects.toThrow(DisposedError);
  });

  it("ends cleanly when the model is disposed of under it", async () => {
    const model = await load("parallel", cut);
    const running = model.forward(shortened(golden.batch, 10), request);
    model.dispose();
    await expect(running).rejects.toThrow(DisposedError);
    await expect(cut.device.idle()).resolves.toBeUndefined();
  });
});

describe("loading weights", () => {
  it("names missing tensors before it reads any", async () => {
    const empty: TensorSource = {
      tensors: new Map(),
      read: () => Promise.reject(new Error("nothing may be read")),
    };
    await expect(backend.loadTransformer(fixtureSpec("parallel"), empty)).rejects.toThrow(MissingTensorError);
  });

  it("says that the weights are too large for the device", async () => {
    const weights = await openTensorFolder(fixturePath("parallel"));
    const { device } = backend;
    const loading = loadWebGpuTransformer(device, fixtureSpec("parallel"), weights, { maxBindingBytes: 64 });
    await expect(loading).rejects.toThrow(OutOfMemoryError);
    await expect(loading).rejects.toThrow(/weights do not fit the device.*smaller model/);
    await weights.close();
  });

  it("reports progress, and frees everything when a tensor cannot be read", async () => {
    const weights = await openTensorFolder(fixturePath("parallel"));
    const steps: number[] = [];
    let left = 9;
    const failing: TensorSource = {
      tensors: weights.tensors,
      read: (name, options) =>
        left-- > 0 ? weights.read(name, options) : Promise.reject(new Error("cable cut")),
    };
    const onProgress = (done: number): void => void steps.push(done);
    await expect(backend.loadTransformer(fixtureSpec("parallel"), failing, { onProgress })).rejects.toThrow(
      "cable cut",
    );
    expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await weights.close();
  });
});
