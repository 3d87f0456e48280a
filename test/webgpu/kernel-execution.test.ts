/**
 * Every statistics kernel by itself, on a GPU: against plain float64 loops, at sizes below, at and above a workgroup,
 * with several workgroup sizes. Outputs start as a sentinel and are longer than needed, so a place that is not written,
 * and one that should not have been, both show. A race would make results depend on the workgroup size.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { aggregateRowsKernels } from "../../src/backends/webgpu/aggregate-rows.ts";
import { classMomentsKernels } from "../../src/backends/webgpu/class-moments.ts";
import type { ComputeDevice } from "../../src/backends/webgpu/device.ts";
import { gatherColumnsKernels } from "../../src/backends/webgpu/gather-columns.ts";
import type { Kernel } from "../../src/backends/webgpu/kernel.ts";
import { newtonBatchKernels } from "../../src/backends/webgpu/newton-batch.ts";
import { STORAGE_CODE } from "../../src/backends/webgpu/webgpu-activations.ts";
import type { Activations, StorageType } from "../../src/data/activations.ts";
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

const kernels = new Map(
  [...aggregateRowsKernels, ...classMomentsKernels, ...gatherColumnsKernels, ...newtonBatchKernels].map(
    (kernel) => [kernel.label, kernel] as const,
  ),
);

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
  const kernel: Kernel = kernels.get(label)!;
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
  const cases = STORAGE.flatMap((dtype) => [1, 16, 21, 64, 65].map((rows) => [dtype, rows] as const));
  it.each(cases)("copies %s values, %i rows, in both layouts", async (dtype, rows) => {
    const x = randomActivations(rows, 70, 13).toStorage(dtype);
    const all = x.toFloat32();
    const chosen = Uint32Array.from({ length: rows }, (_, r) => 69 - r);
    for (const columns of [Uint32Array.of(12), Uint32Array.of(4, 0, 12, 4, 7)]) {
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
            workgroups: Math.ceil((rows * k) / size),
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
            inputs: { ...stored(x), members, offsets },
            outputs: { out: 3 * neurons },
            params: { ...params, first_row: 0, chunk_rows: 10, first_chunk: 1 },
            workgroups,
            overrides,
          });
          const bound = (at: number): number => 8 * decoded("u8", want[at]);
          expectClose(whole["out"], want, bound, mode);
          const first = await execute("aggregate-rows", {
            inputs: { ...stored(x.slice(0, 4)), members, offsets },
            outputs: { out: 3 * neurons },
            params: { ...params, first_row: 0, chunk_rows: 4, first_chunk: 1 },
            workgroups,
            overrides,
          });
          const second = await execute("aggregate-rows", {
            inputs: { ...stored(x.slice(4, 10)), members, offsets, out: first["out"] },
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
            workgroups: count * tiles,
            overrides,
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
  const problems = new DataView(new ArrayBuffer(48 * ks.length));
  const support = new DataView(new ArrayBuffer(12 * ks.reduce((a, b) => a + b)));
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
    problems.setUint32(48 * p, k, true);
    problems.setUint32(48 * p + 4, at, true);
    problems.setUint32(48 * p + 8, (set * packed) / 4, true);
    problems.setFloat32(48 * p + 24, weight[0], true);
    problems.setFloat32(48 * p + 28, weight[1], true);
    problems.setFloat32(48 * p + 32, 3e38, true);
    problems.setFloat32(48 * p + 36, 1, true);
    problems.setFloat32(48 * p + 44, 3e38, true);
    const x: Float64Array[] = [];
    for (let j = 0; j < k; j++, at++) {
      const column = columns - 1 - j;
      const center = Math.fround(0.25 * j);
      const inverse = Math.fround(1 + j / 8);
      support.setUint32(12 * at, column, true);
      support.setFloat32(12 * at + 4, center, true);
      support.setFloat32(12 * at + 8, inverse, true);
      x.push(Float64Array.from({ length: rows }, (_, i) => (pool[column * rows + i] - center) * inverse));
    }
    x.push(new Float64Array(rows).fill(1));
    described.push({ k, x, y: labels.slice(set * packed, set * packed + rows), weight });
  }
  const reference = described.map(({ k, x, y, weight }, p) => {
    const w = theta.subarray(p * stride, p * stride + k + 1);
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
    const gradient = x.map((column, j) =>
      column.reduce((sum, v, i) => sum + v * residual[i], j < k ? w[j] : 0),
    );
    const hessian = x.map((a) => x.map((b) => a.reduce((sum, v, i) => sum + v * b[i] * curvature[i], 0)));
    return { objective, residual, curvature, gradient, hessian };
  });
  return { pool, labels, problems, support, theta, stride, ks, reference, rows };
}

/** The problems with another status, as the kernels read them. */
function withStatus(problems: DataView, status: number): DataView {
  const copy = new DataView(problems.buffer.slice(0));
  for (let p = 0; p < copy.byteLength / 48; p++) copy.setUint32(48 * p + 12, status, true);
  return copy;
}

const TRIAL = 0;
const ACCEPTED = 1;
const FINISHED = 2;

describe("the kernels of a Newton batch", () => {
  const cases = [1, 15, 64, 65, 130].map((rows) => logisticCase(rows, [1, 3, 15, 16, 17], rows));

  it.each(cases.map((c) => [c.rows, c] as const))("logistic-derivatives over %i rows", async (rows, c) => {
    for (const size of WORKGROUP_SIZES) {
      const blocks = Math.ceil(rows / size);
      const { derivatives, losses } = await execute("logistic-derivatives", {
        inputs: { pool: c.pool, problems: c.problems, support: c.support, labels: c.labels, trial: c.theta },
        outputs: { derivatives: 2 * rows * c.ks.length, losses: blocks * c.ks.length },
        params: { rows, problem_count: c.ks.length, stride: c.stride, blocks },
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

  it.each(cases.map((c) => [c.rows, c] as const))(
    "logistic-gradient and logistic-hessian over %i rows",
    async (rows, c) => {
      const { ks, stride, reference } = c;
      const derivatives = new Float32Array(2 * rows * ks.length);
      for (const [p, { residual, curvature }] of reference.entries()) {
        for (let i = 0; i < rows; i++) derivatives.set([residual[i], curvature[i]], 2 * (rows * p + i));
      }
      const inputs = {
        pool: c.pool,
        problems: withStatus(c.problems, ACCEPTED),
        support: c.support,
        derivatives,
      };
      // Sums of n terms below 6·9: n·u of their magnitude in the worst order.
      const bound = (rows + 8) * U * rows * 6 * 9 * 8;
      for (const size of WORKGROUP_SIZES) {
        const { gradient } = await execute("logistic-gradient", {
          inputs: { ...inputs, theta: c.theta },
          outputs: { gradient: stride * ks.length },
          params: { rows, problem_count: ks.length, stride },
          workgroups: stride * ks.length,
          overrides: { workgroup_size: size },
        });
        for (const [p, k] of ks.entries()) {
          expectClose(
            gradient.subarray(p * stride, p * stride + k + 1),
            reference[p].gradient,
            bound,
            "gradient",
          );
          const beyond = gradient.subarray(p * stride + k + 1, (p + 1) * stride);
          expect(beyond.every((value) => value === Math.fround(SENTINEL))).toBe(true);
        }
      }
      const area = stride * stride;
      for (const [tile, depth, reach] of [
        [16, 32, 1],
        [4, 16, 1],
        [2, 8, 4],
        [16, 16, 4],
      ]) {
        for (const slices of [1, 3]) {
          // In one dispatch, and in two that add up.
          for (const passes of [1, 2]) {
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
                overrides: { tile, depth, reach },
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
    const problems = new DataView(new ArrayBuffer(48));
    problems.setUint32(0, 1, true);
    problems.setFloat32(28, 1, true);
    const support = new DataView(new ArrayBuffer(12));
    support.setFloat32(8, 1, true);
    const { losses } = await execute("logistic-derivatives", {
      inputs: {
        pool: margins,
        problems,
        support,
        labels: new Uint8Array(64).fill(1),
        trial: Float32Array.of(1, 0),
      },
      outputs: { derivatives: 128, losses: 64 },
      params: { rows: 64, problem_count: 1, stride: 2, blocks: 64 },
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
      const gradient = new Float32Array(stride * ks.length);
      for (const [p, k] of ks.entries()) {
        for (let a = 0; a <= k; a++) {
          gradient[p * stride + a] = reference[p].gradient[a];
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
        problems: withStatus(c.problems, ACCEPTED),
        hessian,
        step: new Float32Array(stride * ks.length).fill(SENTINEL),
        trial: new Float32Array(stride * ks.length).fill(SENTINEL),
      };
      for (let first = 0; first < stride; first += columns) {
        result = await execute("newton-step", {
          inputs: { ...result, gradient, theta: c.theta, weights: new Float32Array(ks.length).fill(50) },
          outputs: {},
          params: {
            problem_count: ks.length,
            stride,
            slices: 2,
            most_iterations: 100,
            tolerance: 1e-9,
            first_column: first,
            column_count: columns,
          },
          workgroups: ks.length,
          overrides: { workgroup_size: size },
        });
      }
      const states = new DataView(result["problems"].buffer);
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
        expect(states.getFloat32(48 * p + 40, true) / slope).toBeCloseTo(1, 4);
        expect(states.getFloat32(48 * p + 44, true) / (slope / 100)).toBeCloseTo(1, 4);
        expect(states.getUint32(48 * p + 12, true)).toBe(TRIAL);
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
        const problems = withStatus(c.problems, TRIAL);
        for (let p = 0; p < ks.length; p++) {
          problems.setFloat32(48 * p + 32, objective, true);
          problems.setUint32(48 * p + 20, halvings, true);
          problems.setFloat32(48 * p + 40, 1, true);
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
        return { result, states: new DataView(result["problems"].buffer) };
      };
      const fall = await run(1000, 0);
      const rise = await run(1, 0);
      const last = await run(1, 19);
      for (const [p, k] of ks.entries()) {
        expect(fall.states.getUint32(48 * p + 12, true)).toBe(ACCEPTED);
        expect(fall.states.getUint32(48 * p + 16, true)).toBe(1);
        expect(fall.states.getFloat32(48 * p + 32, true)).toBeCloseTo(35 + (k * 0.0625) / 2, 4);
        expect(rise.states.getUint32(48 * p + 12, true)).toBe(TRIAL);
        expect(rise.states.getFloat32(48 * p + 36, true)).toBe(0.5);
        expect(last.states.getUint32(48 * p + 12, true)).toBe(FINISHED);
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
        problems: withStatus(c.problems, FINISHED),
        support: c.support,
        labels: c.labels,
        trial: c.theta,
      },
      outputs: { derivatives: 2 * c.rows * c.ks.length, losses: c.ks.length },
      params: { rows: c.rows, problem_count: c.ks.length, stride: c.stride, blocks: 1 },
      workgroups: c.ks.length,
    });
    expect(new Set(derivatives)).toEqual(new Set([Math.fround(SENTINEL)]));
  });
});
