/** Changed activations, losses and chosen logits on the CPU: against torch, and that what changes nothing changes no bit. */
import { beforeAll, afterAll, describe, expect, it } from "vitest";
import type { ForwardRequest, HookPoint, Intervention, TokenBatch } from "../../src/backends/backend.ts";
import { loadCpuTransformer, type CpuTransformer } from "../../src/backends/cpu/transformer/transformer.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import { NonFiniteError, OptionError, ShapeError } from "../../src/errors.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { familyGolden, familyPath, familySpec } from "./families.ts";
import { fixturePath, fixtureSpec, readGolden, worstShare, type Folder } from "./fixtures.ts";
import { CHECKPOINTS, changedLosses, isFamily, lossesOf, type Checkpoint } from "./interventions.ts";

const everyPoint = (points: ReadonlyMap<HookPoint, unknown>): HookPoint[] => [...points.keys()];

async function load(
  name: Checkpoint,
  options: { kernels?: "wasm" | "javascript"; pool?: KernelPool } = {},
): Promise<CpuTransformer> {
  const path = isFamily(name) ? familyPath(name) : fixturePath(name);
  const weights = await openTensorFolder(path);
  try {
    return await loadCpuTransformer(isFamily(name) ? familySpec(name) : fixtureSpec(name), weights, options);
  } finally {
    await weights.close();
  }
}

const golden = (name: Checkpoint) => (isFamily(name) ? familyGolden(name) : readGolden(name));

/** Everything that a pass gives, as plain numbers. */
async function everything(model: CpuTransformer, batch: TokenBatch, request: ForwardRequest) {
  const { activations, logits, losses, logitsOf } = await model.forward(batch, request);
  const rows: [string, Float32Array][] = [];
  for (const [point, x] of activations) {
    rows.push([point, (await x.read()).toFloat32()]);
    x.dispose();
  }
  return { rows, logits, losses, logitsOf };
}

describe.each(CHECKPOINTS)("%s on the CPU", (name) => {
  it.each(["wasm", "javascript"] as const)(
    "gives torch's losses, changed and not, on %s kernels",
    async (kernels) => {
      const model = await load(name, { kernels });
      const { batch } = await golden(name);
      const { losses, withoutFirstMlp, cases } = changedLosses(name);
      const shares: [string, number][] = [];
      const run = async (interventions: readonly Intervention[]): Promise<number[]> => {
        const result = await model.forward(batch, { hookPoints: [], losses: true, interventions });
        expect(result.logits).toBeNull();
        return lossesOf(batch, result.losses!);
      };
      shares.push(["nothing", worstShare(await run([]), losses)]);
      const removed: Intervention = { hookPoint: "blocks.0.mlp.hook_post", kind: "set", values: 0 };
      shares.push(["the first MLP removed", worstShare(await run([removed]), withoutFirstMlp)]);
      for (const [title, { interventions, losses: want }] of Object.entries(cases)) {
        shares.push([title, worstShare(await run(interventions), want)]);
      }
      expect(shares.length).toBeGreaterThan(8);
      expect(shares.filter(([, share]) => !(share < 1))).toEqual([]);
      model.dispose();
    },
  );

  it("changes no bit where nothing is changed, at any hook point", async () => {
    const model = await load(name);
    const { batch, points } = await golden(name);
    const hookPoints = everyPoint(points);
    const request = { hookPoints, logits: "all", losses: true, logitsOf: [3, 0] } as const;
    const want = await everything(model, batch, request);
    const nothing = hookPoints.flatMap((hookPoint): Intervention[] => [
      { hookPoint, kind: "scale", factor: 1 },
      { hookPoint, kind: "add", direction: [1, -2], strength: 0, neurons: [0, 5] },
      { hookPoint, kind: "add", direction: [0, -0], neurons: [0, 5] },
      { hookPoint, kind: "set", values: 7, neurons: [] },
      { hookPoint, kind: "set", values: 7, tokens: [] },
    ]);
    expect(await everything(model, batch, { ...request, interventions: nothing })).toEqual(want);
    // Also where the point is kept apart from what follows it, for the sake of one token: all before it are as they were.
    const last = batch.tokens.length - 1;
    for (const hookPoint of hookPoints) {
      const interventions: Intervention[] = [{ hookPoint, kind: "scale", factor: 3, tokens: [last] }];
      const got = await everything(model, batch, { ...request, interventions });
      for (const [i, [point, rows]] of got.rows.entries()) {
        const before = last * (rows.length / batch.tokens.length);
        expect(rows.subarray(0, before), `${point} for ${hookPoint}`).toEqual(
          want.rows[i][1].subarray(0, before),
        );
      }
      expect(got.losses, hookPoint).toEqual(want.losses);
      expect(got.logits!.subarray(0, -model.spec.vocabulary)).toEqual(
        want.logits!.subarray(0, -model.spec.vocabulary),
      );
    }
    model.dispose();
  });

  it("captures what the rest of the model sees, and stops behind it", async () => {
    const model = await load(name);
    const { batch, points } = await golden(name);
    for (const hookPoint of everyPoint(points)) {
      const interventions: Intervention[] = [
        { hookPoint, kind: "set", values: [2.5, -1], neurons: [4, 1], tokens: [0, 2] },
      ];
      const got = await everything(model, batch, { hookPoints: [hookPoint], interventions });
      const want = await everything(model, batch, { hookPoints: [hookPoint] });
      const width = want.rows[0][1].length / batch.tokens.length;
      for (const token of [0, 2]) {
        want.rows[0][1][token * width + 4] = 2.5;
        want.rows[0][1][token * width + 1] = -1;
      }
      expect(got, hookPoint).toEqual(want);
    }
    model.dispose();
  });

  it("gives chosen logits as all logits have them, and the same bits on several threads", async () => {
    const pool = await KernelPool.open(supportedVariant()!, 3, spawnWorker);
    const [model, threaded] = [await load(name), await load(name, { pool })];
    const { batch } = await golden(name);
    const { vocabulary } = model.spec;
    const chosen = [vocabulary - 1, 0, 9];
    const interventions = Object.values(changedLosses(name).cases).flatMap((entry) => entry.interventions);
    const request = { hookPoints: [], logits: "all", logitsOf: chosen, losses: true, interventions } as const;
    const one = await everything(model, batch, request);
    const want = Array.from(batch.tokens).flatMap((_, t) =>
      chosen.map((id) => one.logits![t * vocabulary + id]),
    );
    expect(Array.from(one.logitsOf!)).toEqual(want);
    expect(await everything(threaded, batch, request)).toEqual(one);
    // Longer than a chunk and than a block of losses.
    const times = Math.ceil(3000 / batch.tokens.length);
    const long: TokenBatch = {
      tokens: Uint32Array.from(
        { length: times * batch.tokens.length },
        (_, i) => batch.tokens[i % batch.tokens.length],
      ),
      offsets: Uint32Array.from(
        { length: times * (batch.offsets.length - 1) + 1 },
        (_, s) =>
          batch.offsets[s % (batch.offsets.length - 1)] +
          Math.floor(s / (batch.offsets.length - 1)) * batch.tokens.length,
      ),
    };
    const everywhere = interventions.map((one): Intervention => ({ ...one, tokens: undefined }));
    const whole = { hookPoints: [], losses: true, logitsOf: chosen, interventions: everywhere };
    const short = await everything(model, batch, whole);
    const [a, b] = [await everything(model, long, whole), await everything(threaded, long, whole)];
    expect(b).toEqual(a);
    for (let i = 0; i < times; i++) {
      expect(a.losses!.subarray(i * batch.tokens.length, (i + 1) * batch.tokens.length)).toEqual(
        short.losses,
      );
    }
    model.dispose();
    threaded.dispose();
    pool.close();
  });
});

describe("an intervention is refused", () => {
  let model: CpuTransformer;
  const point: HookPoint = "blocks.0.mlp.hook_post";
  const batch = { tokens: Uint32Array.of(1, 2, 3), offsets: Uint32Array.of(0, 3) };
  const run = (intervention: unknown) =>
    model.forward(batch, { hookPoints: [], losses: true, interventions: [intervention as Intervention] });

  beforeAll(async () => {
    model = await load("parallel" satisfies Folder);
  });
  afterAll(() => {
    model.dispose();
  });

  it.each<[string, unknown, unknown, RegExp]>([
    [
      "at no hook point",
      { hookPoint: "blocks.0.mlp", kind: "scale", factor: 2 },
      OptionError,
      /is not a hook point/,
    ],
    [
      "in a layer beyond",
      { hookPoint: "blocks.2.mlp.hook_post", kind: "scale", factor: 2 },
      OptionError,
      /beyond/,
    ],
    [
      "where streams are parallel",
      { hookPoint: "blocks.0.hook_resid_mid", kind: "set", values: 0 },
      OptionError,
      /parallel/,
    ],
    ["of another kind", { hookPoint: point, kind: "mean" }, OptionError, /"mean" is not known/],
    [
      "of a neuron beyond",
      { hookPoint: point, kind: "set", values: 0, neurons: [64] },
      ShapeError,
      /Neuron 64.*0 to 63/,
    ],
    [
      "of half a neuron",
      { hookPoint: point, kind: "set", values: 0, neurons: [0.5] },
      ShapeError,
      /Neuron 0\.5/,
    ],
    ["of a neuron twice", { hookPoint: point, kind: "set", values: 0, neurons: [3, 3] }, ShapeError, /twice/],
    ["of a token beyond", { hookPoint: point, kind: "set", values: 0, tokens: [3] }, ShapeError, /Token 3/],
    [
      "of tokens out of order",
      { hookPoint: point, kind: "set", values: 0, tokens: [1, 1] },
      ShapeError,
      /out of order/,
    ],
    [
      "with too few values",
      { hookPoint: point, kind: "set", values: [1] },
      ShapeError,
      /1 entries for 64 neurons/,
    ],
    [
      "with a short direction",
      { hookPoint: point, kind: "add", direction: [1], neurons: [1, 2] },
      ShapeError,
      /direction/,
    ],
    ["without values", { hookPoint: point, kind: "set" }, ShapeError, /no entries/],
    ["with NaN", { hookPoint: point, kind: "set", values: NaN }, NonFiniteError, /NaN/],
    ["beyond float32", { hookPoint: point, kind: "scale", factor: 1e39 }, NonFiniteError, /float32/],
    [
      "with an infinite strength",
      { hookPoint: point, kind: "add", direction: [1], neurons: [0], strength: Infinity },
      NonFiniteError,
      /Infinity/,
    ],
  ])("%s", async (_, intervention, error, message) => {
    await expect(run(intervention)).rejects.toThrow(error);
    await expect(run(intervention)).rejects.toThrow(message);
  });

  it("and so is a chosen token that does not exist", async () => {
    await expect(model.forward(batch, { hookPoints: [], logitsOf: [300] })).rejects.toThrow(ShapeError);
  });

  it("and losses of single tokens are none", async () => {
    const alone = { tokens: Uint32Array.of(4, 5), offsets: Uint32Array.of(0, 1, 2) };
    const { losses } = await model.forward(alone, { hookPoints: [], losses: true });
    expect(losses).toEqual(new Float32Array(2));
  });
});
