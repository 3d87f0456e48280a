import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { erf } from "../../src/backends/cpu/transformer/erf.ts";
import { javascriptKernels } from "../../src/backends/cpu/transformer/javascript-kernels.ts";
import { simdKernels } from "../../src/backends/cpu/transformer/simd-kernels.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import type { TransformerSpec } from "../../src/backends/backend.ts";
import type {
  FloatBuffer,
  LinearMap,
  TransformerKernels,
} from "../../src/backends/cpu/transformer/kernels.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import { Random } from "../../src/random.ts";
import { fixtureJson } from "./fixtures.ts";

const SPEC: TransformerSpec = {
  architecture: "gpt_neox",
  layers: 1,
  dModel: 20,
  heads: 2,
  kvHeads: 2,
  dHead: 10,
  dMlp: 40,
  vocabulary: 11,
  context: 200,
  embedding: { scale: 1, learnedPositions: false },
  norm: { kind: "layer", epsilon: 1e-5, gainOffset: 0 },
  attention: {
    scale: 1 / Math.sqrt(10),
    softcap: null,
    biases: true,
    outputBias: true,
    headNorms: false,
    layers: [{ rotary: { dims: 6, base: 1000, scaling: null }, window: null }],
  },
  mlp: { gated: false, activation: "gelu", biases: true },
  residual: { parallel: true, sharedNorm: false, postNorms: false },
  unembedding: { tied: false, bias: false, softcap: null },
};
const [LAYER] = SPEC.attention.layers;
const { rotary } = LAYER;

/** 2⁻²⁴: the relative error of one float32 rounding. */
const UNIT = 2 ** -24;

const normals = (random: Random, length: number): Float32Array =>
  Float32Array.from({ length }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    return radius * Math.cos(2 * Math.PI * random.uniform());
  });

const VARIANT = supportedVariant()!;

const both = async (spec: TransformerSpec): Promise<TransformerKernels[]> => [
  simdKernels(await KernelPool.open(VARIANT), spec),
  javascriptKernels(spec),
];

function filled(kernels: TransformerKernels, data: Float32Array): FloatBuffer {
  const buffer = kernels.allocate(data.length);
  buffer.view().set(data);
  return buffer;
}

/** A map that gives its input: products with 1 and 0 are exact. */
const identity = (kernels: TransformerKernels, width: number): LinearMap => {
  const weight = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0));
  return kernels.linearMap(weight, null, width, width);
};

/** What both implementations make of a request, SIMD first. */
async function onBoth(
  spec: TransformerSpec,
  ask: (kernels: TransformerKernels) => FloatBuffer,
): Promise<Float32Array[]> {
  const results: Float32Array[] = [];
  for (const kernels of await both(spec)) {
    const buffer = ask(kernels);
    await kernels.run();
    results.push(buffer.view().slice());
  }
  return results;
}

describe("the kernels' memory", () => {
  it("say so when 4 GiB are not enough", async () => {
    const [kernels] = await both(SPEC);
    expect(() => kernels.allocate(2 ** 30)).toThrow(OutOfMemoryError);
  });
});

describe("erf", () => {
  const { x, erf: want } = fixtureJson("erf.json") as { x: number[]; erf: number[] };
  let pool: KernelPool;
  beforeAll(async () => {
    pool = await KernelPool.open(VARIANT);
  });

  it("in float64 is within 2e-15 of CPython's", () => {
    const errors = x.map((value, i) => Math.abs(erf(value) - want[i]));
    expect(Math.max(...errors)).toBeLessThan(2e-15);
    expect([erf(-1.5), erf(-3), erf(40), erf(-40), erf(0)]).toEqual([-erf(1.5), -erf(3), 1, -1, 0]);
  });

  it("in the kernels is within 1.2e-7 of CPython's, and odd", () => {
    const count = Math.ceil(x.length / 4) * 4;
    const { memory } = pool;
    const from = memory.allocate(4 * count);
    const to = memory.allocate(4 * count);
    const run = (sign: number): Float32Array => {
      memory.f32(from, x.length).set(x.map((value) => sign * value));
      pool.kernel("erf")(from, to, count);
      return memory.f32(to, x.length).slice();
    };
    const up = run(1);
    expect(Math.max(...x.map((_, i) => Math.abs(up[i] - want[i])))).toBeLessThan(1.2e-7);
    expect(Array.from(run(-1), (value) => -value)).toEqual(Array.from(up));
  });
});

describe("WebAssembly and JavaScript kernels agree on", () => {
  it("linear maps of any shape, within the rounding of a sum of products", async () => {
    const [fast, plain] = await both(SPEC);
    const size = fc.integer({ min: 1, max: 30 });
    await fc.assert(
      fc.asyncProperty(
        size,
        fc.oneof(size, fc.constantFrom(512, 513, 1030)),
        size,
        fc.nat(),
        async (rows, k, n, seed) => {
          const random = new Random(seed);
          const x = normals(random, rows * k);
          const w = normals(random, n * k);
          const bias = seed % 3 === 0 ? null : normals(random, n);
          const run = async (kernels: TransformerKernels): Promise<Float32Array> => {
            const y = filled(kernels, new Float32Array(rows * n + 5).fill(-77));
            kernels.linear(filled(kernels, x), kernels.linearMap(w, bias, n, k), y, rows);
            await kernels.run();
            return y.view().slice();
          };
          const [got, want] = await Promise.all([run(fast), run(plain)]);
          for (let r = 0; r < rows; r++) {
            for (let o = 0; o < n; o++) {
              let magnitude = bias ? Math.abs(bias[o]) : 0;
              for (let i = 0; i < k; i++) magnitude += Math.abs(x[r * k + i] * w[o * k + i]);
              const difference = Math.abs(got[r * n + o] - want[r * n + o]);
              expect(difference).toBeLessThanOrEqual((k + 2) * UNIT * magnitude);
            }
          }
          // Nothing is written beyond the result.
          expect(Array.from(got.subarray(rows * n))).toEqual([-77, -77, -77, -77, -77]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([1, 4, 30, 33])("layer norms of width %i", async (width) => {
    const random = new Random(width);
    const rows = 3;
    const [gain, bias] = [normals(random, width), normals(random, width)];
    const x = normals(random, rows * width).map((value) => 5 + 3 * value);
    const [got, want] = await onBoth(SPEC, (kernels) => {
      const y = kernels.allocate(rows * width);
      const norm = { gain: filled(kernels, gain), bias: filled(kernels, bias) };
      kernels.linear(filled(kernels, x), identity(kernels, width), y, rows, { norm });
      return y;
    });
    // Centring loses at most the mean over the deviation (about 2, and one value alone is its own mean) in each rounding.
    got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(width === 1 ? 1e-3 : 1e-5));
  });

  it.each([1, 4, 30, 33])("RMS norms of width %i, before a map, in place and added", async (width) => {
    const random = new Random(width);
    const spec: TransformerSpec = { ...SPEC, dModel: 40, norm: { ...SPEC.norm, kind: "rms" } };
    const [rows, count, first] = [37, 3, 5];
    const stride = first + count * width + 2;
    const gain = normals(random, width);
    const x = normals(random, rows * stride).map((value) => 1 + value);
    const before = normals(random, rows * stride);
    const mapped = await onBoth(spec, (kernels) => {
      const y = kernels.allocate(rows * width);
      const norm = { gain: filled(kernels, gain), bias: null };
      kernels.linear(filled(kernels, x.slice(0, rows * width)), identity(kernels, width), y, rows, { norm });
      return y;
    });
    const inPlace = await onBoth(spec, (kernels) => {
      const y = filled(kernels, x);
      kernels.normalise(y, { gain: filled(kernels, gain), bias: null }, rows, { stride, first, count });
      return y;
    });
    const added = await onBoth(spec, (kernels) => {
      const sum = filled(kernels, before);
      const norm = { gain: filled(kernels, gain), bias: null };
      kernels.normalise(filled(kernels, x), norm, rows, { stride, first, count }, sum);
      return sum;
    });
    for (const [got, want] of [mapped, inPlace, added]) {
      // A sum of squares, a root and three products, of values below 10.
      got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(10 * (width + 10) * UNIT));
    }
    expect(inPlace[0].subarray(0, first)).toEqual(x.subarray(0, first));
    expect(added[0].slice(-2)).toEqual(before.slice(-2));
  });

  it("layer norms in place", async () => {
    const random = new Random(3);
    const [gain, bias, x] = [20, 20, 40].map((length) => normals(random, length));
    const [got, want] = await onBoth(SPEC, (kernels) => {
      const y = filled(kernels, x);
      const norm = { gain: filled(kernels, gain), bias: filled(kernels, bias) };
      kernels.normalise(y, norm, 2, { stride: 20, first: 0, count: 1 });
      return y;
    });
    got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(1e-5));
  });

  it("gated activations", async () => {
    const random = new Random(11);
    const [rows, width] = [50, 27];
    const [x, factors] = [normals(random, rows * width), normals(random, rows * width)];
    const [got, want] = await onBoth({ ...SPEC, mlp: { ...SPEC.mlp, activation: "silu" } }, (kernels) => {
      const y = kernels.allocate(rows * width);
      const factor = filled(kernels, factors);
      kernels.linear(filled(kernels, x), identity(kernels, width), y, rows, { activated: y, factor });
      return y;
    });
    got.forEach((value, i) =>
      expect(Math.abs(value - want[i])).toBeLessThanOrEqual(Math.abs(x[i] * factors[i]) * (1e-7 + 5 * UNIT)),
    );
  });

  it("soft limits", async () => {
    const x = Float32Array.from({ length: 2001 }, (_, i) => (i - 1000) / 50);
    x[0] = -1e6;
    x[1] = 1e-6;
    const [got, want] = await onBoth(SPEC, (kernels) => {
      const y = kernels.allocate(x.length);
      kernels.linear(filled(kernels, x), identity(kernels, 1), y, x.length, { softcap: 3 });
      return y;
    });
    // tanh is within 2e-7 of its value, by the Taylor series below ¼ and by exp above.
    got.forEach((value, i) =>
      expect(Math.abs(value - want[i]), `at ${x[i]}`).toBeLessThanOrEqual(6e-7 * Math.abs(want[i])),
    );
  });

  it.each([1, 2, 7, 8, 9, 47, 48, 49, 100, 200])("attention over %i tokens", async (length) => {
    const random = new Random(length);
    const { heads, dHead } = SPEC;
    const other = 3;
    const qkv = normals(random, (other + length) * heads * 3 * dHead);
    const [got, want] = await onBoth(SPEC, (kernels) => {
      const z = kernels.allocate((other + length) * heads * dHead);
      kernels.attention(filled(kernels, qkv), [0, other, other + length], z, LAYER);
      return z;
    });
    // Weighted means of values below 5; scores of about 10 roundings each, exponentiated.
    got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(5 * 50 * UNIT));
  });

  it.each([
    { length: 37, window: null, softcap: 5, kvHeads: 2, dims: 10 },
    { length: 150, window: 1, softcap: null, kvHeads: 1, dims: 6 },
    { length: 150, window: 7, softcap: null, kvHeads: 4, dims: 6 },
    { length: 150, window: 100, softcap: 2, kvHeads: 2, dims: 6 },
    { length: 5, window: 3, softcap: 0.5, kvHeads: 1, dims: 0 },
    { length: 9, window: null, softcap: null, kvHeads: 1, dims: null },
  ])("attention of 4 heads of queries: %o", async ({ length, window, softcap, kvHeads, dims }) => {
    const heads = 4;
    const { dHead } = SPEC;
    const spec: TransformerSpec = {
      ...SPEC,
      heads,
      kvHeads,
      attention: { ...SPEC.attention, scale: 0.7, softcap },
    };
    const qkv = normals(new Random(length), (3 + length) * (heads + 2 * kvHeads) * dHead);
    const [got, want] = await onBoth(spec, (kernels) => {
      const z = kernels.allocate((3 + length) * heads * dHead);
      const layer = { rotary: dims === null ? null : { ...rotary!, dims }, window };
      kernels.attention(filled(kernels, qkv), [0, 3, 3 + length], z, layer);
      return z;
    });
    got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(5 * 50 * UNIT));
  });

  it("attention in sequences that grow beyond the tables of angles", async () => {
    const { heads, dHead } = SPEC;
    for (const kernels of await both({ ...SPEC, context: 700 })) {
      const z = kernels.allocate(700 * heads * dHead);
      const qkv = normals(new Random(6), 700 * 3 * heads * dHead);
      // Both read their angles in one run, and the second replaces the table of the first.
      for (const length of [4, 700]) kernels.attention(filled(kernels, qkv), [0, length], z, LAYER);
      await kernels.run();
      const all = z.view().slice();
      const again = kernels.allocate(700 * heads * dHead);
      kernels.attention(filled(kernels, qkv), [0, 700], again, LAYER);
      await kernels.run();
      expect(again.view()).toEqual(all);
    }
  });

  it("attention whose scores are far apart", async () => {
    const { heads, dHead } = SPEC;
    const qkv = normals(new Random(5), 40 * heads * 3 * dHead).map((value) => 40 * value);
    const [got, want] = await onBoth(SPEC, (kernels) => {
      const z = kernels.allocate(40 * heads * dHead);
      kernels.attention(filled(kernels, qkv), [0, 40], z, LAYER);
      return z;
    });
    // Scores of some thousands carry an absolute error of 1e-3, and so do the weights, of values up to 160.
    got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(0.5));
    expect(got.every(Number.isFinite)).toBe(true);
  });

  it.each([1, 3, 8, 13, 40])("rows combined, %i neurons wide, to the bit", async (width) => {
    const x = normals(new Random(width), 50 * width).map((value) => 1000 * value);
    const rows = Uint32Array.from({ length: 60 }, (_, i) => (i * 7) % 50);
    const segments = { rows, offsets: Uint32Array.of(0, 1, 3, 10, 60) };
    for (const how of ["mean", "max", "last"] as const) {
      const [got, want] = await onBoth(SPEC, (kernels) => {
        const out = filled(kernels, new Float32Array(6 * width));
        kernels.aggregate(filled(kernels, x), width, how, segments, out, 2);
        return out;
      });
      expect(got, how).toEqual(want);
    }
  });

  it.each([
    { rows: 1, k: 7, n: 1, cap: 0, size: 1 },
    { rows: 5, k: 20, n: 13, cap: 0, size: 1 },
    { rows: 97, k: 12, n: 700, cap: 3, size: 1 },
    // Several groups of columns, of which one row's largest may be in any; logits up to several hundred.
    { rows: 50, k: 40, n: 20_003, cap: 0, size: 20 },
  ])("losses of $rows rows over $n columns", async ({ rows, k, n, cap, size }) => {
    const random = new Random(n);
    const x = normals(random, rows * k).map((value) => size * value);
    const w = normals(random, n * k);
    const bias = normals(random, n);
    const targets = Uint32Array.from({ length: rows }, (_, r) => (r === 0 ? n - 1 : random.below(n)));
    const gain = normals(random, k);
    for (const normed of [false, true]) {
      const results: Float32Array[] = [];
      for (const kernels of await both({ ...SPEC, dModel: k })) {
        const out = new Float32Array(rows);
        const norm = normed ? { gain: filled(kernels, gain), bias: null } : undefined;
        const map = kernels.linearMap(w, bias, n, k);
        kernels.losses(filled(kernels, x), map, targets, out, { norm, softcap: cap });
        await kernels.run();
        kernels.freeMap(map);
        results.push(out);
      }
      // Two logits with the rounding of sums of products each, a sum of n exponentials in four lanes and several groups.
      let largest = 0;
      for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]));
      const magnitude = k * Math.max(largest, 6) * 5;
      const bound = UNIT * (2 * (k + 10) * magnitude + n / 4 + 40);
      results[0].forEach((value, r) => expect(Math.abs(value - results[1][r])).toBeLessThan(bound));
      if (cap > 0) expect(Math.max(...results[0])).toBeLessThan(2 * cap + Math.log(n));
    }
  });

  it.each(["set", "scale", "add"] as const)("a change that would %s values, to the bit", async (kind) => {
    const width = 21;
    const x = normals(new Random(1), 200 * width);
    const columns = Uint32Array.of(20, 0, 7);
    const values = Float32Array.of(0.3, -1.7, 1e-3);
    for (const rows of [
      0,
      1,
      130,
      Uint32Array.of(199, 3, 64),
      Uint32Array.from({ length: 90 }, (_, i) => 2 * i),
    ]) {
      const [got, want] = await onBoth(SPEC, (kernels) => {
        const buffer = filled(kernels, x);
        kernels.change(buffer, width, rows, { kind, columns, values, tokens: null });
        return buffer;
      });
      expect(got).toEqual(want);
    }
  });

  it("sums of three, and activations with a factor, apart from a product", async () => {
    const length = 16_384 + 13;
    const [x, and, to] = [1, 2, 3].map((seed) => normals(new Random(seed), length));
    for (const further of [undefined, and]) {
      const [got, want] = await onBoth(SPEC, (kernels) => {
        const sum = filled(kernels, to);
        kernels.add(filled(kernels, x), further && filled(kernels, further), sum, length);
        return sum;
      });
      // The reference rounds once.
      got.forEach((value, i) => {
        const magnitude = Math.abs(x[i]) + Math.abs(to[i]) + Math.abs(further?.[i] ?? 0);
        expect(Math.abs(value - want[i])).toBeLessThanOrEqual(3 * UNIT * magnitude);
      });
      const [product, wanted] = await onBoth(SPEC, (kernels) => {
        const y = filled(kernels, x);
        kernels.activate(y, y, length, further && filled(kernels, further));
        return y;
      });
      product.forEach((value, i) =>
        expect(Math.abs(value - wanted[i])).toBeLessThanOrEqual(
          Math.abs(x[i]) * (1e-7 + 6 * UNIT) * Math.max(1, Math.abs(further?.[i] ?? 1)),
        ),
      );
    }
  });

  it.each(["gelu", "gelu-tanh", "relu", "silu"] as const)("%s", async (activation) => {
    const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
    x[0] = -200;
    x[1] = 200;
    const [got, want] = await onBoth({ ...SPEC, mlp: { ...SPEC.mlp, activation } }, (kernels) => {
      const y = kernels.allocate(x.length);
      const [before, map] = [filled(kernels, x), identity(kernels, 1)];
      kernels.linear(before, map, kernels.allocate(x.length), x.length, { activated: y });
      return y;
    });
    // x/2·erf(x/√2) with erf within 1.2e-7, and roundings of the result.
    got.forEach((value, i) =>
      expect(Math.abs(value - want[i]), `at ${x[i]}`).toBeLessThanOrEqual(Math.abs(x[i]) * (1e-7 + 4 * UNIT)),
    );
  });
});
