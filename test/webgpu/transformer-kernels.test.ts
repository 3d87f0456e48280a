/** Every kernel of the forward pass against float64 loops, at sizes below, at and above its tile. */
import { describe, expect, it } from "vitest";
import type { MlpActivation } from "../../src/backends/backend.ts";
import { activationFunction } from "../../src/backends/cpu/transformer/javascript-kernels.ts";
import type { ComputeBuffer, ComputeDevice } from "../../src/backends/webgpu/device.ts";
import {
  ACTIVATION_CODE,
  activateKernel,
  addKernel,
  attentionTile,
  causalAttentionKernel,
  gateKernel,
  gatherRowsKernel,
  headNormKernel,
  layerNormKernel,
  linearKernel,
  linearTile,
  rotaryKernel,
  interveneKernel,
  softcapKernel,
  tokenLossesKernel,
  type AttentionTile,
} from "../../src/backends/webgpu/transformer-kernels.ts";
import { vectorsOf } from "../../src/backends/webgpu/transformer-weights.ts";
import { WEIGHT_CODE, type WeightType } from "../../src/backends/webgpu/weight-matrix.ts";
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from "../../src/data/float16.ts";
import { expectClose } from "../support/expect-close.ts";
import { openTestDevice } from "../support/gpu.ts";
import {
  attentionOracle,
  gamma,
  layerNormOracle,
  linearOracle,
  randomFloats,
  UNIT,
  type AttentionShape,
  type Expected,
} from "../support/transformer-oracle.ts";

/** What a kernel leaves alone must keep this value. */
const SENTINEL = -12345;
const device: ComputeDevice = await openTestDevice();

async function filled(length: number): Promise<ComputeBuffer> {
  return device.allocateFrom("sentinel", new Float32Array(length).fill(SENTINEL));
}

/** Rows of `width` values, each followed by zeros up to a whole number of vectors. */
function inVectors(data: Float32Array, width: number): Float32Array {
  const stride = 4 * vectorsOf(width);
  const out = new Float32Array((data.length / width) * stride);
  for (let r = 0; r < data.length / width; r++)
    out.set(data.subarray(r * width, (r + 1) * width), r * stride);
  return out;
}

/** Columns [first, first + width) of rows of `stride` values. */
function columnsOf(data: Float32Array, stride: number, first: number, width: number): Float32Array {
  const rows = data.length / stride;
  return Float32Array.from(
    { length: rows * width },
    (_, i) => data[Math.floor(i / width) * stride + first + (i % width)],
  );
}

function expectWithin(got: Float32Array, { want, bound }: Expected): void {
  expectClose(got, want, (i) => bound[i]);
}

/** Rows of 16-bit values, each filled up with zeros to whole words of eight. */
function packed(values: Float32Array, width: number, type: "f16" | "bf16"): Uint16Array {
  const stride = 8 * Math.ceil(width / 8);
  const bits = type === "f16" ? floatsToHalves(values) : floatsToBfloats(values);
  const out = new Uint16Array((values.length / width) * stride);
  for (let r = 0; r < values.length / width; r++)
    out.set(bits.subarray(r * width, (r + 1) * width), r * stride);
  return out;
}

/** The values that 16 bits keep of these. */
function kept(values: Float32Array, type: WeightType): Float32Array {
  if (type === "f32") return values;
  return type === "f16" ? halvesToFloats(floatsToHalves(values)) : bfloatsToFloats(floatsToBfloats(values));
}

interface LinearCase {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly overrides?: Partial<Record<keyof typeof linearKernel.overrides, number>>;
}

async function runLinear(
  { rows, inputs, outputs, overrides = {} }: LinearCase,
  {
    combine = 0,
    activation = 0,
    firstColumn = 2,
    type = "f32",
  }: { combine?: number; activation?: number; firstColumn?: number; type?: WeightType } = {},
): Promise<{
  x: Float32Array;
  weight: Float32Array;
  bias: Float32Array;
  y: Float32Array;
  before: Float32Array;
}> {
  const x = randomFloats(rows * inputs, "x");
  const weight = kept(randomFloats(outputs * inputs, "weight"), type);
  // The part of the weight starts at output 2 of 2 + outputs + 1.
  const bias = randomFloats(outputs + 3, "bias");
  const stride = outputs + 3;
  const before = combine
    ? randomFloats(rows * stride, "before")
    : new Float32Array(rows * stride).fill(SENTINEL);
  const scope = device.scope();
  try {
    const y = await scope.allocateFrom("y", before);
    const settings = { ...linearKernel.overrides, ...linearTile(rows).overrides, ...overrides };
    const height = settings.workgroup_size / settings.workgroup_columns;
    device
      .batch("test")
      .dispatch(linearKernel, {
        bindings: {
          x: await scope.allocateFrom("x", inVectors(x, inputs)),
          weight: await scope.allocateFrom(
            "weight",
            type === "f32" ? inVectors(weight, inputs) : packed(weight, inputs, type),
          ),
          bias: await scope.allocateFrom("bias", bias),
          y,
        },
        params: {
          rows,
          inputs: vectorsOf(inputs),
          outputs,
          first_output: 2,
          first_column: firstColumn,
          y_stride: stride,
          activation,
          combine,
        },
        overrides: { ...settings, weight_type: WEIGHT_CODE[type] },
        workgroups: [
          Math.ceil(outputs / (4 * settings.workgroup_columns)),
          Math.ceil(rows / (settings.rows_per_thread * height)),
          1,
        ],
      })
      .submit();
    return { x, weight, bias: bias.slice(2, 2 + outputs), y: await device.readFloats(y), before };
  } finally {
    scope.dispose();
  }
}

describe("linear", () => {
  it("puts its outputs where it is told to, under the biases that are theirs", async () => {
    const size = { rows: 5, inputs: 9, outputs: 7 };
    const { x, weight, bias, y } = await runLinear(size, { firstColumn: 1 });
    expectWithin(columnsOf(y, 10, 1, 7), linearOracle(x, weight, bias, 9));
    for (const first of [0, 8])
      expect(columnsOf(y, 10, first, 1)).toEqual(new Float32Array(5).fill(SENTINEL));
  });

  const sizes: LinearCase[] = [
    { rows: 1, inputs: 1, outputs: 1 },
    { rows: 5, inputs: 3, outputs: 7 },
    { rows: 16, inputs: 16, outputs: 64 },
    { rows: 17, inputs: 20, outputs: 65 },
    { rows: 64, inputs: 18, outputs: 5 },
    { rows: 65, inputs: 33, outputs: 66 },
    { rows: 257, inputs: 5, outputs: 3 },
    { rows: 21, inputs: 37, outputs: 19, overrides: { workgroup_size: 32, workgroup_columns: 4 } },
    {
      rows: 21,
      inputs: 37,
      outputs: 35,
      overrides: { workgroup_size: 64, workgroup_columns: 8, rows_per_thread: 8, tile_inputs: 2 },
    },
  ];
  const types: WeightType[] = ["f32", "f16", "bf16"];
  it.each(sizes.flatMap((size) => types.map((type) => ({ ...size, type }))))(
    "$rows × $inputs to $outputs, $type",
    async ({ type, ...size }) => {
      const { x, weight, bias, y } = await runLinear(size, { type });
      const stride = size.outputs + 3;
      const expected = linearOracle(x, weight, bias, size.inputs);
      expectWithin(columnsOf(y, stride, 2, size.outputs), expected);
      expect(columnsOf(y, stride, 0, 2).every((value) => value === SENTINEL)).toBe(true);
      expect(columnsOf(y, stride, stride - 1, 1).every((value) => value === SENTINEL)).toBe(true);
    },
  );

  it("multiplies what is there", async () => {
    const size = { rows: 5, inputs: 6, outputs: 9 };
    const { x, weight, bias, y, before } = await runLinear(size, {
      combine: 2,
      activation: ACTIVATION_CODE.relu,
    });
    const { want, bound } = linearOracle(x, weight, bias, size.inputs);
    const old = columnsOf(before, size.outputs + 3, 2, size.outputs);
    const expected = {
      want: want.map((value, i) => Math.max(value, 0) * old[i]),
      bound: bound.map((value, i) => (value * (1 + UNIT) + UNIT * Math.abs(want[i])) * Math.abs(old[i])),
    };
    expectWithin(columnsOf(y, size.outputs + 3, 2, size.outputs), expected);
  });

  it("adds to what is there", async () => {
    const size = { rows: 5, inputs: 6, outputs: 9 };
    const { x, weight, bias, y, before } = await runLinear(size, { combine: 1 });
    const { want, bound } = linearOracle(x, weight, bias, size.inputs);
    const old = columnsOf(before, size.outputs + 3, 2, size.outputs);
    const expected = {
      want: want.map((value, i) => value + old[i]),
      bound: bound.map((value, i) => value + UNIT * Math.abs(want[i] + old[i]) + value * UNIT),
    };
    expectWithin(columnsOf(y, size.outputs + 3, 2, size.outputs), expected);
  });

  it("applies the non-linearity to the sum", async () => {
    const size = { rows: 5, inputs: 6, outputs: 9 };
    const { x, weight, bias, y } = await runLinear(size, { activation: ACTIVATION_CODE.relu });
    const { want, bound } = linearOracle(x, weight, bias, size.inputs);
    const expected = { want: want.map((value) => Math.max(value, 0)), bound };
    expectWithin(columnsOf(y, size.outputs + 3, 2, size.outputs), expected);
  });
});

describe("activate", () => {
  // From where every activation is 0 or the identity in float32, through all of the transition, with both branches of
  // erf and the place where they meet.
  const x = Float32Array.from({ length: 4001 }, (_, i) => -10 + i / 200);
  x[0] = -1e30;
  x[4000] = 1e30;

  it.each(["gelu", "gelu-tanh", "relu", "silu"] as const)("%s", async (kind: MlpActivation) => {
    const scope = device.scope();
    try {
      const y = await scope.allocateFrom("y", Float32Array.from([...x, SENTINEL]));
      device
        .batch("test")
        .dispatch(activateKernel, {
          bindings: { y },
          params: { count: x.length, activation: ACTIVATION_CODE[kind] },
          workgroups: Math.ceil((x.length + 1) / 64),
        })
        .submit();
      const got = await device.readFloats(y);
      expect(got.at(-1)).toBe(SENTINEL);
      const f = activationFunction(kind);
      // |x|/2 times the error of erf (2e-7), or of 1 − 1/(exp(2a) + 1) and the rounding of a; then three roundings.
      const expected = {
        want: Float64Array.from(x, (value) => (Math.abs(value) > 1e9 ? Math.max(value, 0) : f(value))),
        bound: Float64Array.from(x, (value) =>
          kind === "relu" ? 1e-45 : Math.abs(value) * (kind === "gelu" ? 1e-7 + gamma(3) : gamma(20)) + 1e-37,
        ),
      };
      expectWithin(got.subarray(0, x.length), expected);
    } finally {
      scope.dispose();
    }
  });
});

describe("layer norm", () => {
  it.each([
    { rows: 1, width: 1, offset: 0, threads: 64, centred: 1 },
    { rows: 3, width: 63, offset: 0, threads: 64, centred: 1 },
    { rows: 2, width: 64, offset: 5, threads: 64, centred: 1 },
    { rows: 5, width: 130, offset: 100, threads: 64, centred: 1 },
    { rows: 5, width: 130, offset: 100, threads: 16, centred: 1 },
    { rows: 5, width: 130, offset: 100, threads: 256, centred: 1 },
    { rows: 3, width: 63, offset: 5, threads: 64, centred: 0 },
    { rows: 5, width: 130, offset: 1, threads: 16, centred: 0 },
  ])("$rows × $width around $offset, $threads threads, centred $centred", async (size) => {
    const { rows, width, offset, threads, centred } = size;
    const x = randomFloats(rows * width, "x").map((value) => value + offset);
    const gain = randomFloats(width, "gain");
    const bias = randomFloats(width, "bias");
    const stride = 4 * vectorsOf(width);
    const scope = device.scope();
    try {
      const y = scope.add(await filled(rows * stride));
      device
        .batch("test")
        .dispatch(layerNormKernel, {
          bindings: {
            x: await scope.allocateFrom("x", x),
            gain: await scope.allocateFrom("gain", gain),
            bias: await scope.allocateFrom("bias", bias),
            y,
          },
          params: { rows, width, y_stride: stride, epsilon: 1e-5, centred },
          overrides: { workgroup_size: threads },
          workgroups: rows,
        })
        .submit();
      const got = await device.readFloats(y);
      const expected = layerNormOracle(x, gain, bias, Math.fround(1e-5), centred === 1);
      expectWithin(columnsOf(got, stride, 0, width), expected);
      expect(columnsOf(got, stride, width, stride - width).every((value) => value === SENTINEL)).toBe(true);
    } finally {
      scope.dispose();
    }
  });
});

describe("head norm", () => {
  it("normalises each head alone, and leaves the others", async () => {
    const [rows, heads, width, first] = [5, 3, 7, 4];
    const stride = first + heads * width + 2;
    const x = randomFloats(rows * stride, "x");
    const gain = randomFloats(width, "gain");
    const want = Float64Array.from(x);
    const bound = new Float64Array(x.length).fill(1e-45);
    for (let r = 0; r < rows; r++) {
      for (let h = 0; h < heads; h++) {
        const at = r * stride + first + h * width;
        const noBias = new Float32Array(width);
        const part = layerNormOracle(x.slice(at, at + width), gain, noBias, Math.fround(1e-5), false);
        want.set(part.want, at);
        bound.set(part.bound, at);
      }
    }
    const scope = device.scope();
    try {
      const buffer = await scope.allocateFrom("x", x);
      device
        .batch("test")
        .dispatch(headNormKernel, {
          bindings: { x: buffer, gain: await scope.allocateFrom("gain", gain) },
          params: { rows, row_stride: stride, first_column: first, heads, width, epsilon: 1e-5 },
          workgroups: rows * heads,
        })
        .submit();
      expectWithin(await device.readFloats(buffer), { want, bound });
    } finally {
      scope.dispose();
    }
  });
});

describe("rotary", () => {
  it("turns the first heads, and leaves the others and trailing dimensions alone", async () => {
    const [tokens, heads, width, half] = [5, 3, 7, 2];
    const stride = 5 * width;
    const positions = Uint32Array.from([0, 1, 2, 0, 3]);
    const qkv = randomFloats(tokens * stride, "qkv");
    const turns = randomFloats(4 * 2 * half, "turns");
    const want = Float64Array.from(qkv);
    const bound = new Float64Array(qkv.length).fill(1e-45);
    for (let t = 0; t < tokens; t++) {
      for (let head = 0; head < heads; head++) {
        for (let i = 0; i < half; i++) {
          const at = t * stride + head * width + i;
          const cosine = turns[positions[t] * 2 * half + i];
          const sine = turns[positions[t] * 2 * half + half + i];
          want[at] = qkv[at] * cosine - qkv[at + half] * sine;
          want[at + half] = qkv[at + half] * cosine + qkv[at] * sine;
          bound[at] = gamma(2) * (Math.abs(qkv[at] * cosine) + Math.abs(qkv[at + half] * sine));
          bound[at + half] = gamma(2) * (Math.abs(qkv[at + half] * cosine) + Math.abs(qkv[at] * sine));
        }
      }
    }
    const scope = device.scope();
    try {
      const buffer = await scope.allocateFrom("qkv", qkv);
      device
        .batch("test")
        .dispatch(rotaryKernel, {
          bindings: {
            qkv: buffer,
            turns: await scope.allocateFrom("turns", turns),
            positions: await scope.allocateFrom("positions", positions),
          },
          params: { tokens, row_stride: stride, heads, head_width: width, half },
          workgroups: Math.ceil((tokens * heads * half) / 64),
        })
        .submit();
      expectWithin(await device.readFloats(buffer), { want, bound });
    } finally {
      scope.dispose();
    }
  });
});

describe("causal attention", () => {
  const small: AttentionTile = {
    queries: 4,
    overrides: {
      workgroup_size: 16,
      workgroup_columns: 4,
      queries_per_thread: 1,
      keys_per_thread: 1,
      head_vectors: 0,
    },
  };

  interface AttentionCase extends Partial<AttentionShape> {
    readonly name: string;
    readonly lengths: number[];
    readonly heads: number;
    readonly width: number;
    readonly tile: AttentionTile;
  }
  const cases: AttentionCase[] = [
    { name: "the device's own tile", lengths: [1, 31, 32, 33], heads: 2, width: 8, tile: deviceTile(8) },
    { name: "odd heads", lengths: [3, 5], heads: 3, width: 7, tile: deviceTile(7) },
    {
      name: "the tile of WebGPU's default limits",
      lengths: [17, 2, 16],
      heads: 1,
      width: 64,
      tile: attentionTile(64, {
        maxComputeWorkgroupStorageSize: 16384,
        maxComputeInvocationsPerWorkgroup: 256,
      }),
    },
    {
      name: "wide heads",
      lengths: [9, 1],
      heads: 1,
      width: 256,
      tile: attentionTile(256, {
        maxComputeWorkgroupStorageSize: 16384,
        maxComputeInvocationsPerWorkgroup: 256,
      }),
    },
    { name: "a tiny tile", lengths: [1, 4, 5, 11], heads: 2, width: 6, tile: withVectors(small, 6) },
    { name: "grouped queries", lengths: [5, 40], heads: 4, width: 8, tile: deviceTile(8), kvHeads: 2 },
    { name: "a window", lengths: [5, 70, 3], heads: 2, width: 8, tile: deviceTile(8), window: 9 },
    { name: "itself alone", lengths: [5, 20], heads: 1, width: 6, tile: withVectors(small, 6), window: 1 },
    {
      name: "a window, limited scores and one head of keys",
      lengths: [30],
      heads: 3,
      width: 6,
      tile: withVectors(small, 6),
      kvHeads: 1,
      window: 5,
      softcap: 2,
    },
    {
      name: "several vectors per thread",
      lengths: [13],
      heads: 1,
      width: 22,
      tile: {
        queries: 8,
        overrides: { ...withVectors(small, 22).overrides, queries_per_thread: 2, keys_per_thread: 3 },
      },
    },
  ];

  function deviceTile(width: number): AttentionTile {
    return attentionTile(width, device.gpu.limits);
  }

  function withVectors(tile: AttentionTile, width: number): AttentionTile {
    return { ...tile, overrides: { ...tile.overrides, head_vectors: vectorsOf(width) } };
  }

  async function attend(
    qkv: Float32Array,
    offsets: readonly number[],
    { heads, kvHeads, headWidth: width, window, softcap, scale }: AttentionShape,
    tile: AttentionTile,
  ): Promise<Float32Array> {
    const blocks: number[] = [];
    for (let s = 0; s + 1 < offsets.length; s++) {
      for (let q = offsets[s]; q < offsets[s + 1]; q += tile.queries) {
        blocks.push(offsets[s], offsets[s + 1], q);
      }
    }
    const stride = heads * width + 1;
    const scope = device.scope();
    try {
      const z = scope.add(await filled(offsets.at(-1)! * stride));
      device
        .batch("test")
        .dispatch(causalAttentionKernel, {
          bindings: {
            qkv: await scope.allocateFrom("qkv", qkv),
            blocks: await scope.allocateFrom("blocks", Uint32Array.from(blocks)),
            z,
          },
          params: {
            block_count: blocks.length / 3,
            heads,
            kv_heads: kvHeads,
            head_width: width,
            z_stride: stride,
            scale,
            softcap,
            window,
          },
          overrides: tile.overrides,
          workgroups: (blocks.length / 3) * heads,
        })
        .submit();
      const got = await device.readFloats(z);
      expect(columnsOf(got, stride, stride - 1, 1).every((value) => value === SENTINEL)).toBe(true);
      return columnsOf(got, stride, 0, stride - 1);
    } finally {
      scope.dispose();
    }
  }

  it.each(cases)("$name: sequences of $lengths, $heads heads of $width", async (attention) => {
    const { lengths, heads, width, tile, kvHeads = heads, window = 2 ** 30, softcap = 0 } = attention;
    const shape = { heads, kvHeads, headWidth: width, window, softcap, scale: 1 / Math.sqrt(width) };
    const offsets = [0];
    for (const length of lengths) offsets.push(offsets.at(-1)! + length);
    // Scores spread over about ±30, so that the running maximum moves.
    const qkv = randomFloats(offsets.at(-1)! * (heads + 2 * kvHeads) * width, "qkv", 5);
    const got = await attend(qkv, offsets, shape, tile);
    expectWithin(got, attentionOracle(qkv, offsets, shape));
  });

  it("is the value itself for a first token, whatever the scores", async () => {
    const qkv = randomFloats(2 * 3 * 4, "qkv", 1e4);
    const shape = { heads: 1, kvHeads: 1, headWidth: 4, window: 2 ** 30, softcap: 0, scale: 0.5 };
    const got = await attend(qkv, [0, 1, 2], shape, withVectors(small, 4));
    expect([...got]).toEqual([...qkv.subarray(8, 12), ...qkv.subarray(20, 24)]);
  });
});

describe("gather rows", () => {
  it.each([
    { scale: 1, accumulate: 0 },
    { scale: 2, accumulate: 1 },
  ])("takes rows from the parts of a table: %o", async ({ scale, accumulate }) => {
    const [rows, width] = [7, 3];
    const table = randomFloats(rows * width, "table");
    const indices = Uint32Array.from([6, 0, 3, 4, 3, 1]);
    const scope = device.scope();
    try {
      const out = scope.add(await filled(indices.length * width + 1));
      const indexBuffer = await scope.allocateFrom("indices", indices);
      const commands = device.batch("test");
      for (const [first, count] of [
        [0, 4],
        [4, 3],
      ]) {
        commands.dispatch(gatherRowsKernel, {
          bindings: {
            table: await scope.allocateFrom("part", table.slice(first * width, (first + count) * width)),
            indices: indexBuffer,
            out,
          },
          params: {
            rows: indices.length,
            width,
            stride: width,
            first_row: first,
            table_rows: count,
            scale,
            accumulate,
          },
          workgroups: 1,
        });
      }
      commands.submit();
      const want = [...indices].flatMap((i) =>
        Array.from(table.subarray(i * width, (i + 1) * width), (value) =>
          Math.fround(accumulate * SENTINEL + scale * value),
        ),
      );
      expect([...(await device.readFloats(out))]).toEqual([...want, SENTINEL]);
    } finally {
      scope.dispose();
    }
  });
});

describe("weights of 16 bits", () => {
  it.each(["f16", "bf16"] as const)("are unpacked to the bit, whatever they are: %s", async (type) => {
    // All finite numbers; of bfloat16 those that a float32 unit may take for zero are left out.
    const [first, end] = type === "f16" ? [0, 0x7c00] : [0x80, 0x7f80];
    const width = 2 * (end - first);
    const bits = Uint16Array.from({ length: width }, (_, i) => first + (i >> 1) + 0x8000 * (i & 1));
    const want = type === "f16" ? halvesToFloats(bits) : bfloatsToFloats(bits);
    const scope = device.scope();
    try {
      const out = await scope.allocate("out", 4 * width);
      device
        .batch("test")
        .dispatch(gatherRowsKernel, {
          bindings: {
            table: await scope.allocateFrom("table", bits),
            indices: await scope.allocateFrom("indices", Uint32Array.of(0)),
            out,
          },
          params: { rows: 1, width, stride: width, first_row: 0, table_rows: 1, scale: 1, accumulate: 0 },
          overrides: { weight_type: WEIGHT_CODE[type] },
          workgroups: Math.ceil(width / 64),
        })
        .submit();
      const got = await device.readFloats(out);
      expect(Buffer.compare(Buffer.from(got.buffer), Buffer.from(want.buffer, 0, want.byteLength))).toBe(0);
    } finally {
      scope.dispose();
    }
  });
});

describe("gate", () => {
  it("multiplies what the non-linearity gives", async () => {
    const x = randomFloats(100, "x", 3);
    const y = randomFloats(100, "y", 5);
    const scope = device.scope();
    try {
      const buffer = await scope.allocateFrom("y", Float32Array.from([...y, SENTINEL]));
      device
        .batch("test")
        .dispatch(gateKernel, {
          bindings: { x: await scope.allocateFrom("x", x), y: buffer },
          params: { count: 100, activation: ACTIVATION_CODE.silu },
          workgroups: 2,
        })
        .submit();
      const got = await device.readFloats(buffer);
      expect(got.at(-1)).toBe(SENTINEL);
      const f = activationFunction("silu");
      const want = Float64Array.from(y, (value, i) => f(value) * x[i]);
      expectWithin(got.subarray(0, 100), { want, bound: want.map((value) => gamma(20) * Math.abs(value)) });
    } finally {
      scope.dispose();
    }
  });
});

describe("softcap", () => {
  it("limits logits of any size, and keeps the digits of small ones", async () => {
    const y = Float32Array.from({ length: 400 }, (_, i) => (i - 200) / 20);
    y[0] = -1e30;
    y[1] = 1e-6;
    const scope = device.scope();
    try {
      const buffer = await scope.allocateFrom("y", Float32Array.from([...y, SENTINEL]));
      device
        .batch("test")
        .dispatch(softcapKernel, { bindings: { y: buffer }, params: { count: 400, cap: 3 }, workgroups: 7 })
        .submit();
      const got = await device.readFloats(buffer);
      expect(got.at(-1)).toBe(SENTINEL);
      const want = Float64Array.from(y, (value) => 3 * Math.tanh(value / 3));
      // Above ¼, 2/(exp + 1) is below 0.76, three times what is left of 1 after it.
      expectWithin(got.subarray(0, 400), { want, bound: want.map((value) => gamma(30) * Math.abs(value)) });
    } finally {
      scope.dispose();
    }
  });
});

describe("add", () => {
  it("adds the first values only", async () => {
    const scope = device.scope();
    try {
      const y = await scope.allocateFrom("y", Float32Array.from([1, 2, 3]));
      device
        .batch("test")
        .dispatch(addKernel, {
          bindings: { x: await scope.allocateFrom("x", Float32Array.from([10, 20, 30])), y },
          params: { count: 2 },
          workgroups: 1,
        })
        .submit();
      expect([...(await device.readFloats(y))]).toEqual([11, 22, 3]);
    } finally {
      scope.dispose();
    }
  });
});

describe("intervene", () => {
  const stride = 9;
  const before = Float32Array.from({ length: 70 * stride }, (_, i) => (i % 13) / 8 - 0.7);

  async function run(
    kind: number,
    columns: readonly number[],
    values: readonly number[],
    rows: readonly number[] | number,
  ): Promise<Float32Array> {
    const scope = device.scope();
    try {
      const x = await scope.allocateFrom("x", before);
      const list = await scope.allocateFrom("columns", Uint32Array.from(columns));
      const listed = typeof rows !== "number";
      const count = columns.length * (listed ? rows.length : rows);
      const bindings = {
        x,
        columns: list,
        values: await scope.allocateFrom("values", Float32Array.from(values)),
        rows: listed ? await scope.allocateFrom("rows", Uint32Array.from(rows)) : list,
      };
      device
        .batch("test")
        .dispatch(interveneKernel, {
          bindings,
          params: { count, width: columns.length, stride, kind, listed: listed ? 1 : 0 },
          workgroups: Math.ceil(count / 64),
        })
        .submit();
      return await device.readFloats(x);
    } finally {
      scope.dispose();
    }
  }

  it.each<[string, number, (x: number, value: number) => number]>([
    ["sets", 0, (_, value) => value],
    ["scales", 1, (x, value) => x * value],
    ["adds", 2, (x, value) => x + value],
  ])("%s columns of the first rows, and of rows listed, and no other value", async (_, kind, f) => {
    const columns = [7, 0, 3];
    const values = [0.5, -3, 0.1];
    for (const rows of [1, 65, [0], [69, 4, 33], Array.from({ length: 66 }, (_, i) => i + 3)]) {
      const want = before.slice();
      const list = typeof rows === "number" ? Array.from({ length: rows }, (_, i) => i) : rows;
      for (const row of list) {
        for (const [i, column] of columns.entries()) {
          const at = row * stride + column;
          want[at] = f(want[at], Math.fround(values[i]));
        }
      }
      expect(await run(kind, columns, values, rows)).toEqual(want);
    }
  });
});

describe("token-losses", () => {
  it.each([1, 63, 64, 65, 200])("sums %i columns in blocks of any size", async (vocabulary) => {
    const rows = 5;
    const logits = randomFloats(rows * vocabulary, "logits").map((value) => 30 * value);
    const targets = Uint32Array.from({ length: rows }, (_, r) => (r * 37) % vocabulary);
    const want = Float64Array.from(targets, (target, r) => {
      const row = logits.subarray(r * vocabulary, (r + 1) * vocabulary);
      const high = Math.max(...row);
      return Math.log(row.reduce((sum, value) => sum + Math.exp(value - high), 0)) + high - row[target];
    });
    for (const size of [vocabulary, 64, 17]) {
      const scope = device.scope();
      try {
        const losses = await filled(rows + 1);
        const running = await filled(3 * rows + 1);
        const bindings = { targets: await scope.allocateFrom("targets", targets), running, losses };
        for (let first = 0; first < vocabulary; first += size) {
          const columns = Math.min(size, vocabulary - first);
          const part = await scope.allocateFrom("logits", columnsOf(logits, vocabulary, first, columns));
          device
            .batch("test")
            .dispatch(tokenLossesKernel, {
              bindings: { ...bindings, logits: part },
              params: { rows, columns, first },
              workgroups: rows,
            })
            .submit();
        }
        const got = await device.readFloats(losses);
        expect(got.at(-1)).toBe(SENTINEL);
        expect((await device.readFloats(running)).at(-1)).toBe(SENTINEL);
        // Logits of up to 120 are subtracted, exponentials are of the sum's size at most, and exp of WGSL may be off by
        // 3 + 2·|x| units.
        expectClose(got.subarray(0, rows), want, () => gamma(10) * 120 + gamma(vocabulary + 3));
        losses.dispose();
        running.dispose();
      } finally {
        scope.dispose();
      }
    }
  });
});
