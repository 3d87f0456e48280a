/** Changed activations, losses and chosen logits on a GPU: against torch, whole and in parts. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type {
  ForwardRequest,
  HookPoint,
  Intervention,
  TokenBatch,
  Transformer,
} from "../../src/backends/backend.ts";
import { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import { OptionError, ShapeError } from "../../src/errors.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { familyGolden, familyPath, familySpec } from "../model/families.ts";
import { fixturePath, fixtureSpec, readGolden, worstShare } from "../model/fixtures.ts";
import { CHECKPOINTS, changedLosses, isFamily, lossesOf, type Checkpoint } from "../model/interventions.ts";
import { openTestBackend } from "../support/gpu.ts";

let backend: WebGpuBackend;
/** Cuts weights, groups, captured rows and columns of the vocabulary into several parts. */
let cut: WebGpuBackend;

beforeAll(async () => {
  backend = await openTestBackend();
  cut = new WebGpuBackend(backend.device.gpu, { maxBindingBytes: 4096, workBytes: 12_000 });
});

afterAll(() => {
  expect(backend.device.liveBytes + cut.device.liveBytes).toBe(0);
  cut.dispose();
  backend.dispose();
});

async function load(name: Checkpoint, on: WebGpuBackend): Promise<Transformer> {
  const weights = await openTensorFolder(isFamily(name) ? familyPath(name) : fixturePath(name));
  try {
    return await on.loadTransformer(isFamily(name) ? familySpec(name) : fixtureSpec(name), weights);
  } finally {
    await weights.close();
  }
}

/** With and without gates, in parallel and one after the other, with post-norms and limits, learned positions, biases. */
const EVERY_KIND: readonly Checkpoint[] = ["gpt2", "gemma2", "parallel"];
const IN_PARTS: readonly Checkpoint[] = ["llama-biases", "gemma2", "phi"];
const FOR_ALL = ["nothing", "the first MLP removed", "zero", "everywhere"];

const golden = (name: Checkpoint) => (isFamily(name) ? familyGolden(name) : readGolden(name));

async function everything(model: Transformer, batch: TokenBatch, request: ForwardRequest) {
  const { activations, logits, losses, logitsOf } = await model.forward(batch, request);
  const rows: [string, Float32Array][] = [];
  for (const [point, x] of activations) {
    rows.push([point, (await x.read()).toFloat32()]);
    x.dispose();
  }
  return { rows, logits, losses, logitsOf };
}

describe.each(CHECKPOINTS)("%s on a GPU", (name) => {
  it("gives torch's losses, changed and not", async () => {
    const { losses, withoutFirstMlp, cases } = changedLosses(name);
    const { batch } = await golden(name);
    const removed: Intervention = { hookPoint: "blocks.0.mlp.hook_post", kind: "set", values: 0 };
    const all: [string, readonly Intervention[], readonly number[]][] = [
      ["nothing", [], losses],
      ["the first MLP removed", [removed], withoutFirstMlp],
      ...Object.entries(cases).map(
        ([title, entry]) => [title, entry.interventions, entry.losses] satisfies [string, unknown, unknown],
      ),
    ];
    for (const on of IN_PARTS.includes(name) ? [backend, cut] : [backend]) {
      const model = await load(name, on);
      const shares: [string, number][] = [];
      // A software GPU is slow: few checkpoints see every kind of change.
      for (const [title, interventions, want] of all) {
        if (!EVERY_KIND.includes(name) && !FOR_ALL.includes(title)) continue;
        if (on === cut && title !== "zero" && title !== "scale") continue;
        const result = await model.forward(batch, { hookPoints: [], losses: true, interventions });
        expect(result.logits).toBeNull();
        shares.push([title, worstShare(lossesOf(batch, result.losses!), want)]);
      }
      expect(shares.filter(([, share]) => !(share < 1))).toEqual([]);
      model.dispose();
    }
  });
});

describe.each(EVERY_KIND)("%s on a GPU, as it is", (name) => {
  it("changes no bit where nothing is changed, and gives chosen logits as all logits have them", async () => {
    const model = await load(name, backend);
    const { batch, points } = await golden(name);
    const hookPoints = [...points.keys()];
    const { vocabulary } = model.spec;
    const chosen = [vocabulary - 1, 0, 9];
    const request = { hookPoints, logits: "all", losses: true, logitsOf: chosen } as const;
    const want = await everything(model, batch, request);
    const nothing = hookPoints.flatMap((hookPoint): Intervention[] => [
      { hookPoint, kind: "scale", factor: 1 },
      { hookPoint, kind: "add", direction: [1, -2], strength: 0, neurons: [0, 5] },
      { hookPoint, kind: "set", values: 7, tokens: [] },
    ]);
    expect(await everything(model, batch, { ...request, interventions: nothing })).toEqual(want);
    const picked = Array.from(batch.tokens).flatMap((_, t) =>
      chosen.map((id) => want.logits![t * vocabulary + id]),
    );
    expect(Array.from(want.logitsOf!)).toEqual(picked);
    // The last token changed everywhere: those before it are as they were.
    const last = batch.tokens.length - 1;
    const interventions = hookPoints.map(
      (hookPoint) => ({ hookPoint, kind: "scale", factor: 3, tokens: [last] }) as const,
    );
    const changed = await everything(model, batch, { ...request, interventions });
    expect(changed.losses).toEqual(want.losses);
    for (const [i, [point, rows]] of changed.rows.entries()) {
      const before = last * (rows.length / batch.tokens.length);
      expect(rows.subarray(0, before), point).toEqual(want.rows[i][1].subarray(0, before));
      expect(rows.subarray(before), point).not.toEqual(want.rows[i][1].subarray(before));
    }
    model.dispose();
  });
});

describe("an intervention on a GPU", () => {
  it("is captured as the rest of the model sees it", async () => {
    const model = await load("gemma2", backend);
    const { batch, points } = await golden("gemma2");
    for (const hookPoint of points.keys()) {
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

  it("is refused where it does not fit the model", async () => {
    const model = await load("gpt2", backend);
    const batch = { tokens: Uint32Array.of(1, 2), offsets: Uint32Array.of(0, 2) };
    const point: HookPoint = "blocks.0.mlp.hook_post";
    const run = (intervention: Intervention) =>
      model.forward(batch, { hookPoints: [], losses: true, interventions: [intervention] });
    await expect(run({ hookPoint: "blocks.9.mlp.hook_post", kind: "set", values: 0 })).rejects.toThrow(
      OptionError,
    );
    await expect(run({ hookPoint: point, kind: "set", values: 0, neurons: [28] })).rejects.toThrow(
      ShapeError,
    );
    model.dispose();
  });
});
