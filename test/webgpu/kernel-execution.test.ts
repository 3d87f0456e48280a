/**
 * Every statistics kernel by itself, on a GPU: against plain float64 loops, at sizes below, at and above a workgroup,
 * with several workgroup sizes. Outputs start as a sentinel and are longer than needed, so a place that is not written,
 * and one that should not have been, both show. A race would make results depend on the workgroup size.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { aggregateRowsKernels } from "../../src/backends/webgpu/aggregate-rows.ts";
import { certificateKernels } from "../../src/backends/webgpu/certificates.ts";
import { classMomentsKernels } from "../../src/backends/webgpu/class-moments.ts";
import type { ComputeDevice } from "../../src/backends/webgpu/device.ts";
import { fitLogisticKernels } from "../../src/backends/webgpu/fit-logistic.ts";
import { singleNeuronKernels } from "../../src/backends/webgpu/fit-single-neurons.ts";
import { gatherColumnsKernels, gatherTiles } from "../../src/backends/webgpu/gather-columns.ts";
import type { Kernel } from "../../src/backends/webgpu/kernel.ts";
import {
  COLUMN_WORDS,
  ColumnWord,
  lowPart,
  NEURON_WORDS,
  NeuronWord,
  PROBLEM_WORDS,
  ProblemWord,
  startProblem,
  Status,
} from "../../src/backends/webgpu/logistic-layout.ts";
import { newtonBatchKernels } from "../../src/backends/webgpu/newton-batch.ts";
import { STORAGE_CODE } from "../../src/backends/webgpu/webgpu-activations.ts";
import {
  Activations as ActivationsOf,
  type Activations,
  type StorageType,
} from "../../src/data/activations.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { openTestDevice } from "../support/gpu.ts";
import { randomActivations } from "../support/random-data.ts";

const SENTINEL = -12345.678;
const TAIL = 64;
const STORAGE: readonly StorageType[] = ["f32", "f16", "u8"];
const WORKGROUP_SIZES = [16, 64, 256];
/** Unit roundoff of float32. */
const U = 2 ** -24;

const kernels: readonly Kernel[] = [
  ...aggregateRowsKernels,
  ...certificateKernels,
  ...classMomentsKernels,
  ...fitLogisticKernels,
  ...gatherColumnsKernels,
  ...newtonBatchKernels,
  ...singleNeuronKernels,
];

let device: ComputeDevice;
beforeAll(async () => {
  device = await openTestDevice();
});

interface Execution {
  readonly inputs: Readonly<Record<string, ArrayBufferView>>;
  /** Outputs by their length in floats. */
  readonly outputs: Readonly<Record<string, number>>;
  readonly params: Readonly<Record<string, number>>;
  readonly workgroups: number;
  readonly overrides?: Readonly<Record<string, number>>;
}

/** Runs one kernel and returns its outputs and what became of read-write inputs, without the tails. */
async function execute(label: string, run: Execution): Promise<Record<string, Float32Array<ArrayBuffer>>> {
  // One label may stand for several kernels, told apart by their overrides.
  const wanted = Object.keys(run.overrides ?? {});
  const kernel = kernels.find(
    (item) => item.label === label && wanted.every((name) => name in item.overrides),
  )!;
  const scope = device.scope();
  try {
    const bindings: Record<string, Awaited<ReturnType<typeof scope.allocate>>> = {};
    for (const [name, data] of Object.entries(run.inputs))
      bindings[name] = await scope.allocateFrom(name, data);
    for (const [name, length] of Object.entries(run.outputs)) {
      bindings[name] = await scope.allocateFrom(name, new Float32Array(length + TAIL).fill(SENTINEL));
    }
    device
      .batch(label)
      .dispatch(kernel, {
        bindings,
        params: run.params,
        workgroups: run.workgroups,
        overrides: run.overrides ?? {},
      })
      .submit();
    const results: Record<string, Float32Array<ArrayBuffer>> = {};
    for (const [name, kind] of Object.entries(kernel.bindings)) {
      if (kind !== "storage-read-write") continue;
      const values = new Float32Array(await device.read(bindings[name]));
      if (!(name in run.outputs)) {
        results[name] = values;
        continue;
      }
      const length = run.outputs[name];
      expect(new Set(values.subarray(length)), `tail of ${name}`).toEqual(new Set([Math.fround(SENTINEL)]));
      results[name] = values.slice(0, length);
    }
    return results;
  } finally {
    scope.dispose();
  }
}

/** What kernels bind as the matrix. */
function stored(x: Activations): { x: ArrayBufferView; code: ArrayBufferView } {
  const code = x.code ? Float32Array.of(...x.code.scale, ...x.code.offset) : new Float32Array(4);
  return { x: x.data, code };
}

/** Error of a decoded value: f32 and f16 are exact, the affine code may or may not be fused. */
const decoded = (dtype: StorageType, value: number): number =>
  dtype === "u8" ? 4 * U * Math.max(1, Math.abs(value)) : 0;

describe("gather-columns", () => {
  const cases = STORAGE.flatMap((dtype) => [1, 21, 64, 65].map((rows) => [dtype, rows] as const));
  it.each(cases)("copies %s values, %i rows, in both layouts", async (dtype, rows) => {
    const x = randomActivations(rows, 70, 13).toStorage(dtype);
    const all = x.toFloat32();
    const chosen = Uint32Array.from({ length: rows }, (_, r) => 69 - r);
    const many = Uint32Array.from({ length: 70 }, (_, c) => (5 * c) % 13);
    for (const columns of [Uint32Array.of(12), Uint32Array.of(4, 0, 12, 4, 7), many]) {
      const k = columns.length;
      for (const size of WORKGROUP_SIZES) {
        for (const byRow of [true, false]) {
          const { out } = await execute("gather-columns", {
            inputs: { ...stored(x), rows: chosen, columns },
            outputs: { out: rows * k },
            params: {
              neurons: 13,
              row_count: rows,
              column_count: k,
              first_out: 0,
              row_stride: byRow ? k : 1,
              column_stride: byRow ? 1 : rows,
            },
            workgroups: gatherTiles(rows, k),
            overrides: { storage_type: STORAGE_CODE[dtype], workgroup_size: size },
          });
          const want = Array.from(out, (_, at) => {
            const r = byRow ? Math.floor(at / k) : at % rows;
            const c = byRow ? at % k : Math.floor(at / rows);
            return all[chosen[r] * 13 + columns[c]];
          });
          expectClose(out, want, (at) => decoded(dtype, want[at]));
        }
      }
    }
  });
});

describe("aggregate-rows", () => {
  const members = Uint32Array.of(3, 4, 5, 9, 0, 0, 6);
  const offsets = Uint32Array.of(0, 3, 4, 7);
  const divisors = Float32Array.of(3, 1, 3);
  it.each(STORAGE)("combines %s rows, whole and in two chunks", async (dtype) => {
    for (const neurons of [1, 16, 63, 65]) {
      const x = randomActivations(neurons, 10, neurons).toStorage(dtype);
      const all = x.toFloat32();
      for (const [aggregation, mode] of ["mean", "max", "last"].entries()) {
        const want = Array.from({ length: 3 * neurons }, (_, at) => {
          const segment = Math.floor(at / neurons);
          const values = Array.from(
            members.subarray(offsets[segment], offsets[segment + 1]),
            (i) => all[i * neurons + (at % neurons)],
          );
          if (mode === "last") return values.at(-1)!;
          return mode === "max" ? Math.max(...values) : values.reduce((a, b) => a + b) / values.length;
        });
        for (const size of WORKGROUP_SIZES) {
          const overrides = { storage_type: STORAGE_CODE[dtype], workgroup_size: size, aggregation };
          const params = { neurons, segments: 3, first_segment: 0 };
          const workgroups = 3 * Math.ceil(neurons / size);
          const whole = await execute("aggregate-rows", {
            inputs: { ...stored(x), members, offsets, divisors },
            outputs: { out: 3 * neurons },
            params: { ...params, first_row: 0, chunk_rows: 10, first_chunk: 1 },
            workgroups,
            overrides,
          });
          const bound = (at: number): number => 8 * decoded("u8", want[at]);
          expectClose(whole["out"], want, bound, mode);
          const first = await execute("aggregate-rows", {
            inputs: { ...stored(x.slice(0, 4)), members, offsets, divisors },
            outputs: { out: 3 * neurons },
            params: { ...params, first_row: 0, chunk_rows: 4, first_chunk: 1 },
            workgroups,
            overrides,
          });
          const second = await execute("aggregate-rows", {
            inputs: { ...stored(x.slice(4, 10)), members, offsets, divisors, out: first["out"] },
            outputs: {},
            params: { ...params, first_row: 4, chunk_rows: 6, first_chunk: 0 },
            workgroups,
            overrides,
          });
          expectClose(second["out"], want, bound, `${mode} in two chunks`);
        }
      }
    }
  });
});

describe("class-pivots, class-moments and class-moments-total", () => {
  it.each(STORAGE)("sum %s row sets about their pivots", async (dtype) => {
    for (const neurons of [1, 15, 64, 65]) {
      const x = randomActivations(neurons, 40, neurons).toStorage(dtype);
      const all = x.toFloat32();
      const members = Uint32Array.from({ length: 40 }, (_, i) => (i * 7) % 40);
      const offsets = Uint32Array.of(0, 1, 12, 40);
      // Blocks of 1, of a multiple of the four chains, and of neither.
      const blocks = Uint32Array.of(0, 1, 0, 0, 1, 9, 1, 0, 9, 12, 1, 0, 12, 33, 2, 0, 33, 40, 2, 0);
      const first = Uint32Array.of(0, 1, 3, 5);
      for (const size of WORKGROUP_SIZES) {
        const tiles = Math.ceil(neurons / size);
        const overrides = { storage_type: STORAGE_CODE[dtype], workgroup_size: size };
        const { pivots } = await execute("class-pivots", {
          inputs: { ...stored(x), members, offsets },
          outputs: { pivots: 3 * neurons },
          params: { neurons, sets: 3, samples: 8 },
          workgroups: 3 * tiles,
          overrides,
        });
        for (let s = 0; s < 3; s++) {
          const count = offsets[s + 1] - offsets[s];
          const samples = Math.min(8, count);
          for (let j = 0; j < neurons; j++) {
            let mean = 0;
            for (let t = 0; t < samples; t++) {
              mean += all[members[offsets[s] + t * Math.floor(count / samples)] * neurons + j] / samples;
            }
            expect(Math.abs(pivots[s * neurons + j] - mean)).toBeLessThan(64 * U * 16);
          }
        }
        const perWord = 2 ** STORAGE_CODE[dtype];
        for (const whole of neurons % perWord === 0 ? [true, false] : [false]) {
          // Two batches of blocks: 0–2 and 3–4.
          let total = new Float32Array(3 * 2 * neurons);
          for (const [from, count] of [
            [0, 3],
            [3, 2],
          ]) {
            const { partial } = await execute("class-moments", {
              inputs: { ...stored(x), members, blocks, pivots },
              outputs: { partial: count * 2 * neurons },
              params: { neurons, first_block: from, block_count: count },
              workgroups: count * (whole ? Math.ceil(neurons / perWord / size) : tiles),
              overrides: { ...overrides, whole_words: whole ? 1 : 0 },
            });
            const added = await execute("class-moments-total", {
              inputs: { first, partial, total },
              outputs: {},
              params: { neurons, sets: 3, first_block: from, block_count: count },
              workgroups: 3 * Math.ceil((2 * neurons) / size),
              overrides: { workgroup_size: size },
            });
            total = added["total"];
          }
          const want = new Float64Array(total.length);
          const magnitude = new Float64Array(total.length);
          for (let s = 0; s < 3; s++) {
            for (let m = offsets[s]; m < offsets[s + 1]; m++) {
              for (let j = 0; j < neurons; j++) {
                const v = all[members[m] * neurons + j] - pivots[s * neurons + j];
                for (const [q, term] of [v, v * v].entries()) {
                  want[(2 * s + q) * neurons + j] += term;
                  magnitude[(2 * s + q) * neurons + j] +=
                    Math.abs(term) + Math.abs(all[members[m] * neurons + j]);
                }
              }
            }
          }
          // At most 28 rows a set: fewer than 16 roundings on any path, each of the terms' and the values' magnitude.
          expectClose(total, want, (at) => 16 * 4 * U * (magnitude[at] + 1), "shifted sums");
        }
      }
    }
  });

  it("passes over values that are not finite in a pivot", async () => {
    for (const dtype of ["f32", "f16"] as const) {
      const values = randomActivations(3, 8, 2).toStorage(dtype).toFloat32();
      values[0] = NaN;
      values[3] = Infinity;
      const x = new ActivationsOf(values, [8, 2]).toStorage(dtype);
      const { pivots } = await execute("class-pivots", {
        inputs: { ...stored(x), members: Uint32Array.of(0, 1, 2, 3), offsets: Uint32Array.of(0, 4) },
        outputs: { pivots: 2 },
        params: { neurons: 2, sets: 1, samples: 4 },
        workgroups: 1,
        overrides: { storage_type: STORAGE_CODE[dtype] },
      });
      expectClose(
        pivots,
        [(values[2] + values[4] + values[6]) / 3, (values[1] + values[5] + values[7]) / 3],
        64 * U,
      );
    }
  });
});

describe("subset-moments", () => {
  it.each(STORAGE)("sums overlapping subsets of %s rows", async (dtype) => {
    for (const [rows, neurons, subsetCount] of [
      [1, 1, 1],
      [39, 17, 16],
      [64, 65, 35],
    ]) {
      const random = new Random(rows, "subsets");
      const x = randomActivations(rows, rows, neurons).toStorage(dtype);
      const all = x.toFloat32();
      const pivots = Float32Array.from({ length: neurons }, () => random.uniform());
      const groups = Math.ceil(subsetCount / 16);
      const words = 2 * Math.ceil(rows / 4);
      const subsets = new Uint16Array(2 * groups * words);
      const inside = Array.from({ length: subsetCount }, () =>
        Array.from({ length: rows }, () => random.below(3) === 0),
      );
      for (const [s, member] of inside.entries()) {
        for (const [i, is] of member.entries()) if (is) subsets[2 * (s >> 4) * words + i] |= 1 << (s & 15);
      }
      for (const size of WORKGROUP_SIZES) {
        for (const slices of [1, 3]) {
          const { partial } = await execute("subset-moments", {
            inputs: { ...stored(x), subsets, pivots },
            outputs: { partial: subsetCount * slices * 2 * neurons },
            params: {
              rows,
              neurons,
              subset_count: subsetCount,
              slices,
              slice_rows: 4 * Math.ceil(rows / (4 * slices)),
            },
            workgroups: groups * Math.ceil(neurons / size) * slices,
            overrides: { storage_type: STORAGE_CODE[dtype], workgroup_size: size },
          });
          const got = new Float64Array(subsetCount * 2 * neurons);
          for (let at = 0; at < partial.length; at++) {
            const s = Math.floor(at / (slices * 2 * neurons));
            got[s * 2 * neurons + (at % (2 * neurons))] += partial[at];
          }
          const want = new Float64Array(got.length);
          const magnitude = new Float64Array(got.length);
          for (const [s, member] of inside.entries()) {
            for (let i = 0; i < rows; i++) {
              for (let j = 0; j < neurons && member[i]; j++) {
                const v = all[i * neurons + j] - pivots[j];
                for (const [q, term] of [v, v * v].entries()) {
                  want[(2 * s + q) * neurons + j] += term;
                  magnitude[(2 * s + q) * neurons + j] += Math.abs(term) + Math.abs(all[i * neurons + j]);
                }
              }
            }
          }
          // At most 64 rows in one chain, each term off by its own rounding and that of its decoding.
          expectClose(got, want, (at) => 72 * U * (magnitude[at] + 1), "subset sums");
        }
      }
    }
  });
});

describe("find-non-finite", () => {
  it("finds the first value that is not finite, or none", async () => {
    for (const [at, value] of [
      [0, NaN],
      [69, Infinity],
      [37, -Infinity],
      [-1, 0],
    ]) {
      const values = new Float32Array(70).fill(3e38);
      values[5] = -0;
      if (at >= 0) values[at] = values[69] = value;
      for (const size of WORKGROUP_SIZES) {
        for (const workgroups of [1, 5]) {
          const { first } = await execute("find-non-finite", {
            inputs: { values, first: Uint32Array.of(0xffffffff) },
            outputs: {},
            params: { count: 70, threads: workgroups * size },
            workgroups,
            overrides: { workgroup_size: size },
          });
          expect(new Uint32Array(first.buffer)[0]).toBe(at < 0 ? 0xffffffff : at);
        }
      }
    }
  });
});

/** One batch of logistic problems as the kernels see it, and its f64 reference. */
function logisticCase(rows: number, ks: readonly number[], seed: number) {
  const random = new Random(seed, "logistic");
  const columns = Math.max(...ks) + 1;
  const normal = (): number => random.uniform() + random.uniform() + random.uniform() - 1.5;
  const pool = Float32Array.from({ length: rows * columns }, normal);
  const stride = Math.max(...ks) + 1;
  const packed = 4 * Math.ceil(rows / 4);
  const labels = Uint8Array.from({ length: 2 * packed }, () => [0, 1, 1, 255][random.below(4)]);
  const problems = new Float32Array(PROBLEM_WORDS * ks.length);
  const words = new Uint32Array(problems.buffer);
  const support = new Float32Array(COLUMN_WORDS * ks.reduce((a, b) => a + b));
  const places = new Uint32Array(support.buffer);
  const theta = Float32Array.from({ length: stride * ks.length }, normal);
  const described: {
    k: number;
    x: Float64Array[];
    y: Uint8Array;
    weight: [number, number];
  }[] = [];
  let at = 0;
  for (const [p, k] of ks.entries()) {
    const set = p % 2;
    const weight: [number, number] = [0.5 + p, 2];
    startProblem(problems, PROBLEM_WORDS * p, [...weight, 50]);
    words[PROBLEM_WORDS * p + ProblemWord.columns] = k;
    words[PROBLEM_WORDS * p + ProblemWord.support] = at;
    words[PROBLEM_WORDS * p + ProblemWord.labels] = (set * packed) / 4;
    const x: Float64Array[] = [];
    for (let j = 0; j < k; j++, at++) {
      const column = columns - 1 - j;
      const center = Math.fround(0.25 * j);
      const inverse = Math.fround(1 + j / 8);
      places[COLUMN_WORDS * at + ColumnWord.column] = column;
      support[COLUMN_WORDS * at + ColumnWord.center] = center;
      support[COLUMN_WORDS * at + ColumnWord.inverse_scale] = inverse;
      x.push(Float64Array.from({ length: rows }, (_, i) => (pool[column * rows + i] - center) * inverse));
    }
    x.push(new Float64Array(rows).fill(1));
    described.push({ k, x, y: labels.slice(set * packed, set * packed + rows), weight });
  }
  /** The objective, its gradient and Hessian with the penalty, and each row's share, of problem p at w. */
  const derivativesAt = (p: number, w: ArrayLike<number>) => {
    const { k, x, y, weight } = described[p];
    let objective = 0;
    const residual = new Float64Array(rows);
    const curvature = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      if (y[i] > 1) continue;
      const z = x.reduce((sum, column, j) => sum + column[i] * w[j], 0);
      const sign = y[i] === 1 ? 1 : -1;
      const wrong = 1 / (1 + Math.exp(sign * z));
      objective += weight[y[i]] * Math.log1p(Math.exp(-sign * z));
      residual[i] = -sign * weight[y[i]] * wrong;
      curvature[i] = weight[y[i]] * wrong * (1 - wrong);
    }
    const loss = objective;
    for (let j = 0; j < k; j++) objective += (w[j] * w[j]) / 2;
    const gradient = x.map((column, j) =>
      column.reduce((sum, v, i) => sum + v * residual[i], j < k ? w[j] : 0),
    );
    const bare = x.map((a) => x.map((b) => a.reduce((sum, v, i) => sum + v * b[i] * curvature[i], 0)));
    const hessian = bare.map((row, a) => row.map((h, b) => h + (a === b && a < k ? 1 : 0)));
    return { objective, loss, residual, curvature, gradient, hessian, bare };
  };
  const reference = described.map(({ k }, p) => {
    const at = derivativesAt(p, theta.subarray(p * stride, p * stride + k + 1));
    return { ...at, objective: at.loss, hessian: at.bare };
  });
  return { pool, labels, problems, support, theta, stride, ks, reference, rows, derivativesAt };
}

/** The problems with another status, as the kernels read them. */
function withStatus(problems: Float32Array<ArrayBuffer>, status: number): Float32Array<ArrayBuffer> {
  const copy = problems.slice();
  const words = new Uint32Array(copy.buffer);
  for (let p = 0; p < words.length; p += PROBLEM_WORDS) words[p + ProblemWord.status] = status;
  return copy;
}

/** A field of a problem, as a float and as a word. */
function fieldOf(problems: Float32Array<ArrayBuffer>, p: number, name: keyof typeof ProblemWord) {
  const at = p * PROBLEM_WORDS + ProblemWord[name];
  return { float: problems[at], word: new Uint32Array(problems.buffer)[at] };
}

describe("the kernels of a Newton batch", () => {
  const cases = [1, 15, 64, 65, 130].map((rows) => logisticCase(rows, [1, 3, 15, 16, 17], rows));

  it.each(cases.map((c) => [c.rows, c] as const))("logistic-derivatives over %i rows", async (rows, c) => {
    for (const size of WORKGROUP_SIZES) {
      const blocks = Math.ceil(rows / size);
      const { derivatives, losses } = await execute("logistic-derivatives", {
        inputs: { pool: c.pool, problems: c.problems, support: c.support, labels: c.labels, trial: c.theta },
        outputs: { derivatives: 2 * rows * c.ks.length, losses: blocks * c.ks.length },
        params: {
          rows,
          problem_count: c.ks.length,
          stride: c.stride,
          blocks,
          all_blocks: blocks,
          first_block: 0,
        },
        workgroups: blocks * c.ks.length,
        overrides: { workgroup_size: size },
      });
      for (const [p, { residual, curvature, objective }] of c.reference.entries()) {
        // A margin of up to 17 terms of size 3 is off by 17·17·3·u at most; σ is 1/4-Lipschitz, weights are below 6.
        const bound = 6 * 17 * 17 * 3 * U;
        const own = derivatives.subarray(2 * rows * p, 2 * rows * (p + 1));
        expectClose(
          own.filter((_, i) => i % 2 === 0),
          residual,
          bound,
          "residual",
        );
        expectClose(
          own.filter((_, i) => i % 2 === 1),
          curvature,
          bound,
          "curvature",
        );
        const loss = losses.subarray(blocks * p, blocks * (p + 1)).reduce((a, b) => a + b, 0);
        expect(Math.abs(loss - objective)).toBeLessThanOrEqual(4 * rows * bound);
      }
    }
  });

  it.each([cases[0], cases[3], cases[4]].map((c) => [c.rows, c] as const))(
    "logistic-gradient and logistic-hessian over %i rows",
    async (rows, c) => {
      const { ks, stride, reference } = c;
      const derivatives = new Float32Array(2 * rows * ks.length);
      for (const [p, { residual, curvature }] of reference.entries()) {
        for (let i = 0; i < rows; i++) derivatives.set([residual[i], curvature[i]], 2 * (rows * p + i));
      }
      const inputs = {
        pool: c.pool,
        problems: c.problems,
        support: c.support,
        derivatives,
      };
      // Sums of n terms below 6·9: n·u of their magnitude in the worst order.
      const bound = (rows + 8) * U * rows * 6 * 9 * 8;
      for (const size of WORKGROUP_SIZES) {
        for (const slices of [1, 3]) {
          const { gradient } = await execute("logistic-gradient", {
            inputs,
            outputs: { gradient: stride * ks.length * slices },
            params: {
              rows,
              problem_count: ks.length,
              stride,
              slices,
              all_slices: slices,
              first_slice: 0,
              slice_rows: Math.ceil(rows / slices),
            },
            workgroups: stride * ks.length * slices,
            overrides: { workgroup_size: size },
          });
          for (const [p, k] of ks.entries()) {
            const sums = Array.from({ length: stride }, (_, j) =>
              gradient
                .subarray((p * stride + j) * slices, (p * stride + j + 1) * slices)
                .reduce((a, b) => a + b, 0),
            );
            // The penalty comes later.
            const want = reference[p].gradient.map((g, j) => g - (j < k ? c.theta[p * stride + j] : 0));
            expectClose(sums.slice(0, k + 1), want, bound, "gradient");
            const beyond = gradient.subarray((p * stride + k + 1) * slices, (p + 1) * stride * slices);
            expect(beyond.every((value) => value === Math.fround(SENTINEL))).toBe(true);
          }
        }
      }
      const area = stride * stride;
      for (const [tile, depth, reach, shares] of [
        [16, 32, 1, 1],
        [4, 128, 1, 16],
        [8, 64, 1, 4],
        [2, 8, 4, 1],
        [16, 16, 4, 1],
      ]) {
        for (const slices of [1, 3]) {
          // In one dispatch, and in two that add up.
          for (const passes of reach === 1 && slices === 1 ? [1, 2] : [1]) {
            const edge = Math.ceil(stride / (tile * reach));
            const sliceRows = Math.ceil(rows / (slices * passes));
            let hessian = new Float32Array(area * slices * ks.length);
            for (let pass = 0; pass < passes; pass++) {
              const result = await execute("logistic-hessian", {
                inputs: { ...inputs, ...(pass > 0 && { hessian }) },
                outputs: pass > 0 ? {} : { hessian: hessian.length },
                params: {
                  rows,
                  problem_count: ks.length,
                  stride,
                  slices,
                  slice_rows: sliceRows,
                  first_row: pass * slices * sliceRows,
                  accumulate: pass,
                },
                workgroups: ks.length * slices * ((edge * (edge + 1)) / 2),
                overrides: { tile, depth, reach, shares },
              });
              hessian = result["hessian"];
            }
            const sums: number[] = [];
            const want: number[] = [];
            for (const [p, k] of ks.entries()) {
              for (let a = 0; a <= k; a++) {
                for (let b = 0; b < stride; b++) {
                  const parts = Array.from(
                    { length: slices },
                    (_, slice) => hessian[(p * slices + slice) * area + a * stride + b],
                  );
                  sums.push(parts.reduce((s, value) => s + value, 0));
                  // Above the diagonal nothing is written.
                  want.push(b > a ? slices * Math.fround(SENTINEL) : reference[p].hessian[a][b]);
                }
              }
            }
            expectClose(sums, want, bound, "hessian");
          }
        }
      }
    },
  );

  it("logistic-derivatives keep the small loss of rows far on their side", async () => {
    const margins = Float32Array.from({ length: 64 }, (_, i) => i / 2);
    const problems = new Float32Array(PROBLEM_WORDS);
    startProblem(problems, 0, [0, 1, 64]);
    new Uint32Array(problems.buffer)[ProblemWord.columns] = 1;
    const support = new Float32Array(COLUMN_WORDS);
    support[ColumnWord.inverse_scale] = 1;
    const { losses } = await execute("logistic-derivatives", {
      inputs: {
        pool: margins,
        problems,
        support,
        labels: new Uint8Array(64).fill(1),
        trial: Float32Array.of(1, 0),
      },
      outputs: { derivatives: 128, losses: 64 },
      params: { rows: 64, problem_count: 1, stride: 2, blocks: 64, all_blocks: 64, first_block: 0 },
      workgroups: 64,
      // A block of one row: each loss by itself.
      overrides: { workgroup_size: 1 },
    });
    const want = Array.from(margins, (m) => Math.log1p(Math.exp(-m)));
    // WGSL's exp is exact to 3 + 2m units in the last place, of 2⁻²³ at most; the logarithm to 2⁻²¹ in the kernel's docblock.
    expectClose(losses, want, (i) => ((3 + 2 * margins[i]) * 2 ** -23 + 2 ** -20) * want[i]);
  });

  it("newton-step solves the regularised system and keeps the factor", async () => {
    const c = cases[4];
    const { ks, stride, reference } = c;
    const area = stride * stride;
    for (const size of WORKGROUP_SIZES) {
      const hessian = new Float32Array(2 * area * ks.length);
      const gradient = new Float32Array(2 * stride * ks.length);
      for (const [p, k] of ks.entries()) {
        for (let a = 0; a <= k; a++) {
          // Two slices, without the penalty.
          const loss = reference[p].gradient[a] - (a < k ? c.theta[p * stride + a] : 0);
          gradient.set([loss / 4, (3 * loss) / 4], 2 * (p * stride + a));
          for (let b = 0; b <= a; b++) {
            // Two slices of a quarter and three quarters.
            hessian[2 * p * area + a * stride + b] = reference[p].hessian[a][b] / 4;
            hessian[(2 * p + 1) * area + a * stride + b] = (reference[p].hessian[a][b] * 3) / 4;
          }
        }
      }
      // With the smallest workgroup in three dispatches, otherwise in one.
      const columns = size === 16 ? 7 : stride;
      let result: Record<string, ArrayBufferView> = {
        problems: withStatus(c.problems, Status.accepted),
        hessian,
        gradient,
        step: new Float32Array(stride * ks.length).fill(SENTINEL),
        trial: new Float32Array(stride * ks.length).fill(SENTINEL),
      };
      for (let first = 0; first < stride; first += columns) {
        result = await execute("newton-step", {
          inputs: { ...result, theta: c.theta },
          outputs: {},
          params: {
            problem_count: ks.length,
            stride,
            slices: 2,
            gradient_slices: 2,
            most_iterations: 100,
            tolerance: 1e-9,
            first_column: first,
            column_count: columns,
          },
          workgroups: ks.length,
          overrides: { workgroup_size: size },
        });
      }
      const states = result["problems"] as Float32Array<ArrayBuffer>;
      const steps = result["step"] as Float32Array;
      const trials = result["trial"] as Float32Array;
      const factors = result["hessian"] as Float32Array;
      for (const [p, k] of ks.entries()) {
        const step = steps.subarray(p * stride, p * stride + k + 1);
        const factor = (a: number, b: number): number => factors[2 * p * area + a * stride + b];
        for (let a = 0; a <= k; a++) {
          let residual = reference[p].gradient[a];
          let magnitude = Math.abs(residual);
          for (let b = 0; b <= k; b++) {
            const h = reference[p].hessian[a][b] + (a === b && a < k ? 1 : 0);
            residual += h * step[b];
            magnitude += Math.abs(h * step[b]);
            let product = 0;
            for (let q = 0; q <= Math.min(a, b); q++) product += factor(a, q) * factor(b, q);
            // Cholesky is backward stable: L·Lᵀ differs from H by (m + 1)·u·√(H_aa·H_bb).
            const scale = Math.sqrt((reference[p].hessian[a][a] + 1) * (reference[p].hessian[b][b] + 1));
            if (b <= a) expect(Math.abs(product - h)).toBeLessThanOrEqual(2 * (k + 2) * U * scale);
          }
          expect(Math.abs(residual)).toBeLessThanOrEqual(64 * (k + 2) * U * magnitude);
          const trial = trials[p * stride + a];
          expect(Math.abs(trial - (c.theta[p * stride + a] + step[a]))).toBeLessThanOrEqual(
            2 * U * (4 + Math.abs(trial)),
          );
        }
        const slope = -reference[p].gradient.reduce((sum, g, a) => sum + g * step[a], 0);
        expect(fieldOf(states, p, "slope").float / slope).toBeCloseTo(1, 4);
        expect(fieldOf(states, p, "decrement").float / (slope / 100)).toBeCloseTo(1, 4);
        expect(fieldOf(states, p, "status").word).toBe(Status.trial);
      }
    }
  });

  it("newton-acceptance accepts a fall, halves a rise and gives up in the end", async () => {
    const c = cases[2];
    const { ks, stride } = c;
    const step = c.theta.map((t) => t / 2);
    const blocks = 70;
    for (const size of WORKGROUP_SIZES) {
      const losses = new Float32Array(blocks * ks.length).fill(0.5);
      const run = async (objective: number, halvings: number) => {
        const problems = withStatus(c.problems, Status.trial);
        const words = new Uint32Array(problems.buffer);
        for (let p = 0; p < ks.length; p++) {
          problems[p * PROBLEM_WORDS + ProblemWord.objective] = objective;
          words[p * PROBLEM_WORDS + ProblemWord.halvings] = halvings;
          problems[p * PROBLEM_WORDS + ProblemWord.slope] = 1;
        }
        const result = await execute("newton-acceptance", {
          inputs: {
            problems,
            losses,
            step,
            trial: new Float32Array(stride * ks.length).fill(0.25),
            theta: c.theta,
          },
          outputs: {},
          params: { problem_count: ks.length, stride, blocks },
          workgroups: ks.length,
          overrides: { workgroup_size: size },
        });
        return { result, states: result["problems"] };
      };
      const fall = await run(1000, 0);
      const rise = await run(1, 0);
      const last = await run(1, 19);
      for (const [p, k] of ks.entries()) {
        expect(fieldOf(fall.states, p, "status").word).toBe(Status.accepted);
        expect(fieldOf(fall.states, p, "iterations").word).toBe(1);
        expect(fieldOf(fall.states, p, "objective").float).toBeCloseTo(35 + (k * 0.0625) / 2, 4);
        expect(fieldOf(rise.states, p, "status").word).toBe(Status.trial);
        expect(fieldOf(rise.states, p, "step_length").float).toBe(0.5);
        expect(fieldOf(last.states, p, "status").word).toBe(Status.refused);
        for (let j = 0; j <= k; j++) {
          const at = p * stride + j;
          expect(fall.result["theta"][at]).toBe(0.25);
          expect(rise.result["theta"][at]).toBe(c.theta[at]);
          expect(Math.abs(rise.result["trial"][at] - 1.25 * c.theta[at])).toBeLessThan(8 * U);
        }
      }
    }
  });

  it("leave problems that are not their turn alone", async () => {
    const c = cases[1];
    const { derivatives } = await execute("logistic-derivatives", {
      inputs: {
        pool: c.pool,
        problems: withStatus(c.problems, Status.finished),
        support: c.support,
        labels: c.labels,
        trial: c.theta,
      },
      outputs: { derivatives: 2 * c.rows * c.ks.length, losses: c.ks.length },
      params: {
        rows: c.rows,
        problem_count: c.ks.length,
        stride: c.stride,
        blocks: 1,
        all_blocks: 1,
        first_block: 0,
      },
      workgroups: c.ks.length,
    });
    expect(new Set(derivatives)).toEqual(new Set([Math.fround(SENTINEL)]));
  });
});

/** Numbers as pairs of float32: high part, then low part. */
const pairs = (values: ArrayLike<number>): Float32Array<ArrayBuffer> =>
  Float32Array.from(Array.from(values).flatMap((value) => [value, lowPart(value)]));
/** Pairs added up. */
const unpaired = (values: Float32Array): Float64Array =>
  Float64Array.from({ length: values.length / 2 }, (_, i) => values[2 * i] + values[2 * i + 1]);

describe("logistic-newton", () => {
  it.each([
    [1, [1, 2, 3]],
    [2, [4, 7, 1]],
    [4, [15, 8, 3]],
    [6, [23, 17, 9]],
    [8, [31, 24, 2]],
  ])("fits with %i vectors of parameters what float64 fits", async (vectors, ks) => {
    for (const rows of vectors === 2 ? [33, 300] : [130]) {
      const c = logisticCase(rows, ks, rows + vectors);
      const { stride } = c;
      const parameters = stride * ks.length;
      const start = new Float32Array(parameters);
      const results: Float32Array[] = [];
      // All rounds in one dispatch, and one at a time.
      for (const rounds of [30, 1]) {
        let state: Record<string, ArrayBufferView> = {
          problems: c.problems,
          theta: new Float32Array(2 * parameters),
          step: new Float32Array(parameters),
          trial: start,
          factor: new Float32Array(parameters * stride).fill(SENTINEL),
        };
        for (let done = 0; done < 30; done += rounds) {
          state = await execute("logistic-newton", {
            inputs: { pool: c.pool, support: c.support, labels: c.labels, ...state },
            outputs: {},
            params: { rows, problem_count: ks.length, stride, rounds, most_iterations: 100, tolerance: 1e-9 },
            workgroups: ks.length,
            overrides: vectors <= 2 ? { vectors } : { vectors, tile_rows: vectors <= 6 ? 64 : 48 },
          });
        }
        const theta = state["theta"] as Float32Array;
        const factor = state["factor"] as Float32Array;
        results.push(theta);
        for (const [p, k] of ks.entries()) {
          expect(fieldOf(state["problems"] as Float32Array<ArrayBuffer>, p, "status").word).toBe(
            Status.finished,
          );
          const at = theta.subarray(p * stride, p * stride + k + 1);
          // The last step has been taken; the factor belongs to the point before it.
          const taken = (state["step"] as Float32Array).subarray(p * stride, p * stride + k + 1);
          const { hessian } = c.derivativesAt(
            p,
            at.map((value, j) => value - taken[j]),
          );
          const { gradient } = c.derivativesAt(p, at);
          const entry = (a: number, b: number): number => factor[(p * stride + a) * stride + b];
          let decrement = 0;
          const solved: number[] = [];
          for (let a = 0; a <= k; a++) {
            let y = gradient[a];
            for (let b = 0; b < a; b++) y -= entry(a, b) * solved[b];
            solved.push(y / entry(a, a));
            decrement += solved[a] ** 2 / 100;
            for (let b = 0; b <= a; b++) {
              let product = 0;
              for (let q = 0; q <= b; q++) product += entry(a, q) * entry(b, q);
              // L·Lᵀ is the Hessian up to the rounding of n terms and of the factor.
              const scale = Math.sqrt(hessian[a][a] * hessian[b][b]);
              expect(Math.abs(product - hessian[a][b])).toBeLessThanOrEqual((rows + 64) * U * (scale + 1));
            }
          }
          // Finished at 1e-9, or where the rounding of the gradient keeps it: a few u of sums of n terms below 12.
          expect(decrement).toBeLessThanOrEqual(1e-9 + (k + 1) * (rows * 12 * 8 * U) ** 2);
        }
      }
      expectClose(results[1], results[0], 1e-6, "parameters by rounds");
    }
  });

  it("leaves problems alone that are finished", async () => {
    const c = logisticCase(20, [2], 5);
    const theta = new Float32Array(2 * c.stride).fill(SENTINEL);
    const state = await execute("logistic-newton", {
      inputs: {
        pool: c.pool,
        support: c.support,
        labels: c.labels,
        problems: withStatus(c.problems, Status.certified),
        theta,
        step: theta,
        trial: theta,
        factor: theta,
      },
      outputs: {},
      params: {
        rows: 20,
        problem_count: 1,
        stride: c.stride,
        rounds: 3,
        most_iterations: 100,
        tolerance: 1e-9,
      },
      workgroups: 1,
    });
    expect(state["theta"]).toEqual(theta);
  });
});

describe("the kernels of a certificate", () => {
  it.each([1, 63, 130])("evaluate %i rows to float64's digits and step with the factor", async (rows) => {
    const c = logisticCase(rows, [1, 3, 16], rows + 7);
    const { ks, stride } = c;
    const theta = Float64Array.from(c.theta, (value) => value + 1e-9 * value);
    const parameters = stride * ks.length;
    const planar = new Float32Array(2 * parameters);
    planar.set(theta);
    planar.set(theta.map(lowPart), parameters);
    const factor = new Float32Array(parameters * stride);
    const exact = ks.map((k, p) => c.derivativesAt(p, theta.subarray(p * stride, p * stride + k + 1)));
    for (const [p, { hessian }] of exact.entries()) {
      for (const [a, row] of cholesky(hessian).entries()) factor.set(row, (p * stride + a) * stride);
    }
    // Two of the problems, one behind the other: the first is left to another group.
    const which = { first_problem: 1, problem_count: 2, stride, zero: 0 };
    const blockRows = 64;
    const blocks = Math.ceil(rows / blockRows);
    for (const size of rows === 1 ? [16] : [64, 128]) {
      let state: Record<string, ArrayBufferView> = {
        problems: withStatus(c.problems, Status.finished),
        theta: planar,
        raw: new Float32Array(2 * parameters).fill(SENTINEL),
        step: new Float32Array(parameters),
      };
      const step = async (inputs: Record<string, ArrayBufferView>, prepare: number) =>
        execute("certificate-step", {
          inputs: { ...state, support: c.support, factor, ...inputs },
          outputs: {},
          params: {
            ...which,
            all_problems: ks.length,
            factor_stride: stride * stride,
            all_blocks: blocks,
            all_slices: 2,
            most_iterations: 100,
            prepare,
            tolerance: 1e-16,
          },
          workgroups: 2,
          overrides: { workgroup_size: size },
        });
      const empty = new Float32Array(4);
      state = await step({ totals: empty, slopes: empty }, 1);
      expect((state["raw"] as Float32Array).subarray(0, 2 * stride)).toEqual(
        new Float32Array(2 * stride).fill(SENTINEL),
      );
      const { residuals, totals } = await execute("certificate-residuals", {
        inputs: {
          pool: c.pool,
          problems: state["problems"],
          support: c.support,
          labels: c.labels,
          raw: state["raw"],
        },
        outputs: { residuals: 2 * 2 * rows, totals: 2 * blocks * 4 },
        params: { ...which, rows, blocks, all_blocks: blocks, first_block: 0, block_rows: blockRows },
        workgroups: 2 * blocks,
        overrides: { workgroup_size: size },
      });
      const { slopes } = await execute("certificate-gradient", {
        inputs: { pool: c.pool, problems: state["problems"], support: c.support, residuals },
        outputs: { slopes: 2 * stride * 2 * 2 },
        params: { ...which, rows, slices: 2, all_slices: 2, first_slice: 0, slice_rows: Math.ceil(rows / 2) },
        workgroups: 2 * stride * 2,
        overrides: { workgroup_size: size },
      });
      state = await step({ totals, slopes }, 0);
      for (const [at, p] of [1, 2].entries()) {
        const k = ks[p];
        const { gradient, objective, residual } = exact[p];
        // A decision value of 17 terms below 40 is off by 17·40·2⁻⁴⁴ at most, and weights are below 6.
        const bound = 6 * 17 * 40 * 2 ** -44;
        expectClose(
          unpaired(residuals.slice(2 * rows * at, 2 * rows * (at + 1))),
          residual,
          bound,
          "residuals",
        );
        const states = state["problems"] as Float32Array<ArrayBuffer>;
        const value = fieldOf(states, p, "objective_high").float + fieldOf(states, p, "objective_low").float;
        expect(Math.abs(value - objective)).toBeLessThanOrEqual((rows + 1) * bound * 8);
        const norm = Math.hypot(...gradient);
        expect(fieldOf(states, p, "gradient_norm").float / norm).toBeCloseTo(1, 5);
        expect(fieldOf(states, p, "status").word).toBe(Status.finished);
        expect(fieldOf(states, p, "rounds").word).toBe(1);
        // The step solves H·step = gradient to the digits of a float32 factor.
        const moved = state["theta"] as Float32Array;
        const size1 = Math.hypot(...gradient);
        const pushed = exact[p].hessian.map((row) =>
          row.reduce((sum, h, j) => {
            const now = moved[p * stride + j] + moved[parameters + p * stride + j];
            return sum + h * (theta[p * stride + j] - now);
          }, 0),
        );
        const magnitude = Math.max(...exact[p].hessian.flat().map(Math.abs));
        expectClose(pushed, gradient, 1e-4 * (size1 + magnitude), "gradient taken away");
        expect(k).toBeGreaterThan(0);
      }
      expect(fieldOf(state["problems"] as Float32Array<ArrayBuffer>, 0, "rounds").word).toBe(0);
    }
  });

  it("keep a double of a product and a sum to 44 bits", async () => {
    // One row, one weight: the residual is −σ(−w·x), and w·x needs twice the digits of float32.
    const x = Math.fround(1 / 3);
    const w = 7.123456789012345;
    const problems = new Float32Array(PROBLEM_WORDS);
    startProblem(problems, 0, [1, 1, 1]);
    const words = new Uint32Array(problems.buffer);
    words[ProblemWord.columns] = 1;
    words[ProblemWord.status] = Status.finished;
    const support = new Float32Array(COLUMN_WORDS);
    support[ColumnWord.inverse_scale] = 1;
    for (const b of [0, -2.374485596, 30.123456789, -70.5]) {
      const { residuals, totals } = await execute("certificate-residuals", {
        inputs: {
          pool: Float32Array.of(x),
          problems,
          support,
          labels: Uint8Array.of(1, 255, 255, 255),
          raw: pairs([w, b]),
        },
        outputs: { residuals: 2, totals: 4 },
        params: {
          rows: 1,
          first_problem: 0,
          problem_count: 1,
          stride: 2,
          blocks: 1,
          all_blocks: 1,
          first_block: 0,
          block_rows: 64,
          zero: 0,
        },
        workgroups: 1,
      });
      const z = w * x + b;
      const wrong = 1 / (1 + Math.exp(z));
      const loss = z > 0 ? Math.log1p(Math.exp(-z)) : Math.log1p(Math.exp(z)) - z;
      // Relative: an error of z of 2⁻⁴⁵·|z| changes σ by as much at most.
      const relative = 2 ** -44 * (1 + Math.abs(z));
      expect(Math.abs(residuals[0] + residuals[1] + wrong)).toBeLessThanOrEqual(relative * wrong);
      expect(Math.abs(totals[0] + totals[1] - loss)).toBeLessThanOrEqual(2 ** -44 + relative * loss);
      expect(totals[2]).toBe(z > 0 ? 0 : 1);
    }
  });
});

describe("the kernels of single-neuron probes", () => {
  it.each(STORAGE)("sum, step, certify and decide on %s", async (dtype) => {
    for (const [rows, d] of [
      [5, 1],
      [70, 17],
    ]) {
      const x = randomActivations(rows, rows, d).toStorage(dtype);
      const all = x.toFloat32();
      const random = new Random(rows, "neurons");
      const words = Math.ceil(rows / 4);
      const labels = Uint8Array.from({ length: 2 * 4 * words }, () => [0, 1, 1, 255][random.below(4)]);
      const probes = new Float32Array(2 * d * NEURON_WORDS);
      const weights = [
        [0.5, 2],
        [1.5, 1],
      ];
      const centers = Float64Array.from({ length: 2 * d }, () => random.uniform() - 0.5);
      const inverses = Float64Array.from({ length: 2 * d }, () => 0.5 + random.uniform());
      const theta = Float64Array.from({ length: 4 * d }, () => 2 * random.uniform() - 1);
      for (let at = 0; at < 2 * d; at++) {
        const base = at * NEURON_WORDS;
        const [negative, positive] = weights[Math.floor(at / d)];
        startProblem(probes, base, [negative, positive, 40]);
        const [w, b] = theta.subarray(2 * at, 2 * at + 2);
        for (const [name, value] of Object.entries({
          trial_weight: w,
          trial_intercept: b,
          weight: w,
          weight_low: lowPart(w),
          intercept: b,
          intercept_low: lowPart(b),
          center: centers[at],
          center_low: lowPart(centers[at]),
          inverse_scale: inverses[at],
          inverse_scale_low: lowPart(inverses[at]),
        })) {
          probes[base + NeuronWord[name as keyof typeof NeuronWord]] = value;
        }
      }
      const want = Array.from({ length: 2 * d }, (_, at) => {
        const f = Math.floor(at / d);
        const [w, b] = theta.subarray(2 * at, 2 * at + 2);
        const sums = new Float64Array(6);
        let byValue = 0;
        for (let i = 0; i < rows; i++) {
          const label = labels[f * 4 * words + i];
          if (label > 1) continue;
          const raw = all[i * d + (at % d)];
          const value = (raw - centers[at]) * inverses[at];
          const z = w * value + b;
          const sign = label === 1 ? 1 : -1;
          const weight = weights[f][label];
          const wrong = 1 / (1 + Math.exp(sign * z));
          const residual = -sign * weight * wrong;
          const h = weight * wrong * (1 - wrong);
          const loss = weight * Math.log1p(Math.exp(-sign * z));
          for (const [q, term] of [
            loss,
            residual,
            residual * value,
            h,
            h * value,
            h * value * value,
          ].entries()) {
            sums[q] += term;
          }
          byValue += residual * raw;
        }
        return { w, b, sums, byValue };
      });
      for (const size of rows === 5 ? [16] : [64]) {
        for (const slices of [1, 3]) {
          const overrides = { storage_type: STORAGE_CODE[dtype], workgroup_size: size };
          const pass = {
            rows,
            neurons: d,
            features: 2,
            first_neuron: 0,
            last_neuron: d,
            label_words: words,
            slices,
            all_slices: slices,
            first_slice: 0,
            slice_rows: 4 * Math.ceil(rows / (4 * slices)),
          };
          const workgroups = 2 * slices * Math.ceil(d / size);
          const matrix = { ...stored(x), labels };
          const { sums } = await execute("single-neuron-sums", {
            inputs: { ...matrix, probes },
            outputs: { sums: 2 * slices * 7 * d },
            params: pass,
            workgroups,
            overrides,
          });
          const added = (values: Float32Array, at: number, q: number, count: number): number => {
            let sum = 0;
            for (let s = 0; s < slices; s++) {
              sum += values[((Math.floor(at / d) * slices + s) * count + q) * d + (at % d)];
            }
            return sum;
          };
          for (const [at, { sums: exact }] of want.entries()) {
            const got = exact.map((_, q) => added(sums, at, q, 7));
            // 70 terms of size below 6·(10/0.5)² at most, and a decision value off by a few u of 20.
            expectClose(got, exact, (q) => rows * 200 * U * 6 * [1, 1, 20, 1, 20, 400][q], "sums");
            expect(added(sums, at, 6, 7)).toBe(0);
          }
          const { probes: stepped } = await execute("single-neuron-step", {
            inputs: { probes, sums },
            outputs: {},
            params: { neurons: d, features: 2, slices, most_iterations: 100, tolerance: 1e-9 },
            workgroups: Math.ceil((2 * d) / size),
            overrides,
          });
          for (const [at, { w, b, sums: exact }] of want.entries()) {
            const own = (name: keyof typeof NeuronWord): number =>
              stepped[at * NEURON_WORDS + NeuronWord[name]];
            const [, gB, gW, hBB, hWB, hWW] = exact;
            const residualW = (hWW + 1) * own("step_weight") + hWB * own("step_intercept") + gW + w;
            const residualB = hWB * own("step_weight") + hBB * own("step_intercept") + gB;
            const magnitude =
              (hWW + hBB + 1) * (1 + Math.abs(own("step_weight")) + Math.abs(own("step_intercept")));
            expect(Math.abs(residualW)).toBeLessThanOrEqual(1e-4 * magnitude);
            expect(Math.abs(residualB)).toBeLessThanOrEqual(1e-4 * magnitude);
            expect(own("trial_intercept")).toBeCloseTo(b + own("step_intercept"), 3);
          }
          // The same points again, as if float32 had finished there, with the factor of the step.
          const finished = stepped.slice();
          const flags = new Uint32Array(finished.buffer);
          for (let at = 0; at < 2 * d; at++) {
            flags[at * NEURON_WORDS + ProblemWord.status] = Status.finished;
            for (const name of ["weight", "intercept"] as const) {
              finished[at * NEURON_WORDS + NeuronWord[name]] = probes[at * NEURON_WORDS + NeuronWord[name]];
            }
          }
          const certified = await execute("single-neuron-certificate", {
            inputs: { ...matrix, probes: finished },
            outputs: { sums: 2 * slices * 6 * d },
            params: { ...pass, zero: 0 },
            workgroups,
            overrides,
          });
          const doubles = certified["sums"];
          for (const [at, { sums: exact, byValue }] of want.entries()) {
            const pair = (q: number): number =>
              added(doubles, at, 2 * q, 6) + added(doubles, at, 2 * q + 1, 6);
            const bound = rows * 6 * 40 * 2 ** -43;
            expectClose([pair(0), pair(1), pair(2)], [exact[0], exact[1], byValue], 20 * bound, "doubles");
          }
          const verdict = await execute("single-neuron-verdict", {
            inputs: { probes: finished, sums: doubles, waiting: Uint32Array.of(0) },
            outputs: { results: 2 * d * 8 },
            params: {
              neurons: d,
              features: 2,
              slices,
              most_iterations: 100,
              tolerance: 1e-16,
              count: 1,
              zero: 0,
            },
            workgroups: Math.ceil((2 * d) / size),
            overrides,
          });
          const waiting = new Uint32Array(verdict["waiting"].buffer)[0];
          let open = 0;
          for (const [at, { w, sums: exact }] of want.entries()) {
            const column = (q: number): number => verdict["results"][q * 2 * d + at];
            expect(column(4) + column(5)).toBeCloseTo(exact[0] + (w * w) / 2, 9);
            const status = new Uint32Array(verdict["probes"].buffer)[at * NEURON_WORDS + ProblemWord.status];
            if (status < Status.certified) open++;
            expect(column(7)).toBe(2);
          }
          expect(waiting).toBe(open);
        }
      }
    }
  });
});

/** Lower triangle L of a positive definite matrix, row by row. */
function cholesky(matrix: readonly (readonly number[])[]): number[][] {
  const rows: number[][] = [];
  for (const [a, source] of matrix.entries()) {
    const row: number[] = [];
    for (let b = 0; b <= a; b++) {
      let sum = source[b];
      for (let q = 0; q < b; q++) sum -= row[q] * (b === a ? row[q] : rows[b][q]);
      row.push(b === a ? Math.sqrt(sum) : sum / rows[b][b]);
    }
    rows.push(row);
  }
  return rows;
}
