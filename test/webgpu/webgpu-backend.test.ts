/** What only a GPU backend has: memory to give back, devices to lose, and buffers that belong to someone else. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { LogisticOptions, LogisticProblem, SingleNeuronOptions } from "../../src/backends/backend.ts";
import * as certify from "../../src/backends/cpu/reference/certify-fit.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { Usage } from "../../src/backends/webgpu/device.ts";
import { WebGpuBackend, type WebGpuBackendOptions } from "../../src/backends/webgpu/webgpu-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { DeviceLostError, OptionError, OutOfMemoryError, ShapeError } from "../../src/errors.ts";
import { Random } from "../../src/random.ts";
import { requestNodeDevice } from "../../src/node/gpu.ts";
import { expectClose } from "../support/expect-close.ts";
import { openTestBackend, openTestDevice } from "../support/gpu.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

// Watched, not replaced.
vi.mock("../../src/backends/cpu/reference/certify-fit.ts", { spy: true });

const FIT: LogisticOptions = { C: 1, balanced: true, tolerance: 1e-16, maxIterations: 100 };
/**
 * Two fits at that tolerance agree to the root of twice the decrement, relative to well-conditioned coefficients of size 1:
 * √(2·1e-16) each.
 */
const AGREEMENT = 3e-8;

const open: WebGpuBackend[] = [];
/** A backend of its own on the device that the file shares, which saves compiling the kernels again. */
async function backend(options?: WebGpuBackendOptions): Promise<WebGpuBackend> {
  const opened = new WebGpuBackend((await openTestDevice()).gpu, options);
  open.push(opened);
  return opened;
}
afterEach(() => {
  for (const opened of open.splice(0)) opened.dispose();
});

function problems(count: number, k: number): LogisticProblem[] {
  return Array.from({ length: count }, (_, p) => ({
    feature: p % 2,
    support: Uint32Array.from({ length: k }, (_, j) => j),
  }));
}

const x = randomActivations(1, 120, 12);
const labels = randomLabels(1, x, 2);

describe("memory", () => {
  it("does not grow over twenty fits, moments, gathers and aggregations", async () => {
    const gpu = await backend();
    const device = await gpu.upload(x);
    const { liveBytes, liveBuffers } = gpu.device;
    for (let i = 0; i < 20; i++) {
      await gpu.fitLogistic(device, labels, problems(2, 1), FIT);
      await gpu.classMoments(device, labels);
      await gpu.gatherColumns(device, Uint32Array.of(1, 2));
      const segments = { rows: Uint32Array.of(0, 1), offsets: Uint32Array.of(0, 2) };
      (await gpu.aggregateRows(device, "mean", segments)).dispose();
      expect([gpu.device.liveBytes, gpu.device.liveBuffers]).toEqual([liveBytes, liveBuffers]);
    }
    device.dispose();
    expect([gpu.device.liveBytes, gpu.device.liveBuffers]).toEqual([0, 0]);
  });

  it("is given back when a fit is aborted, which happens within a batch", async () => {
    const gpu = await backend({ workBytes: 8192 });
    const device = await gpu.upload(x);
    const before = gpu.device.liveBytes;
    const controller = new AbortController();
    let done = 0;
    const fit = gpu.fitLogistic(device, labels, problems(300, 8), {
      ...FIT,
      signal: controller.signal,
      onProgress: (finished) => {
        done = finished;
        if (finished === 5) controller.abort(new Error("enough"));
      },
    });
    await expect(fit).rejects.toThrow("enough");
    expect(done).toBeLessThan(60);
    expect(gpu.device.liveBytes).toBe(before);
    // And the backend goes on working.
    expect((await gpu.fitLogistic(device, labels, problems(1, 2), FIT))[0].convergence.converged).toBe(true);
  });

  it("is given back when an upload is aborted or fails", async () => {
    const gpu = await backend({ maxBindingBytes: 4096 });
    const signal = AbortSignal.abort(new Error("no"));
    await expect(gpu.upload(x, { signal })).rejects.toThrow("no");
    await expect(gpu.upload(randomActivations(1, 2, 2000))).rejects.toThrow(OutOfMemoryError);
    await expect(gpu.upload(randomActivations(1, 2, 2000))).rejects.toThrow(/row of 8000 bytes/);
    expect(gpu.device.liveBytes).toBe(0);
  });
});

describe("limits", () => {
  it("of a binding hold for everything that a kernel sees", async () => {
    const maxBindingBytes = 4096;
    const gpu = await backend({ maxBindingBytes, workBytes: 16_384 });
    const allocate = vi.spyOn(gpu.device, "allocate");
    const many = randomLabels(3, x, 100);
    const asked = Array.from({ length: 100 }, (_, p) => ({ feature: p, support: Uint32Array.of(p % 8) }));
    const device = await gpu.upload(x);
    for (const fit of await gpu.fitLogistic(device, many, asked, FIT)) {
      expect(fit.convergence.converged).toBe(true);
    }
    await gpu.classMoments(device, many);
    const segments = { rows: Uint32Array.from({ length: 120 }, (_, i) => i), offsets: new Uint32Array() };
    (await gpu.aggregateRows(device, "token", segments)).dispose();
    const sizes = allocate.mock.calls.map(([label, byteLength]) => ({ label, byteLength }));
    expect(sizes.filter(({ byteLength }) => byteLength > maxBindingBytes)).toEqual([]);
    expect(sizes.length).toBeGreaterThan(20);
  });

  it("that a single problem's Hessian exceeds are named, with a remedy", async () => {
    const gpu = await backend({ maxBindingBytes: 4096 });
    const wide = randomActivations(1, 4, 40);
    const device = await gpu.upload(wide);
    const fit = gpu.fitLogistic(device, randomLabels(1, wide, 2), problems(1, 40), FIT);
    await expect(fit).rejects.toThrow(OutOfMemoryError);
    await expect(fit).rejects.toThrow(/40 neurons to 4 rows.*CPU backend/);
    device.dispose();
    expect(gpu.device.liveBytes).toBe(0);
  });

  it("do not limit the rows of a problem: columns are cut by rows", async () => {
    const gpu = await backend({ maxBindingBytes: 4096 });
    const long = randomActivations(1, 700, 3);
    const sets = randomLabels(1, long, 2);
    const device = await gpu.upload(long);
    const cpu = createCpuBackend();
    for (const k of [1, 3]) {
      const got = await gpu.fitLogistic(device, sets, problems(2, k), FIT);
      const want = await cpu.fitLogistic(await cpu.upload(long), sets, problems(2, k), FIT);
      for (const [p, fit] of got.entries()) expectClose(fit.coefficients, want[p].coefficients, AGREEMENT);
    }
  });
});

describe("fits that the host has to finish", () => {
  /** Two copies of a neuron and a weak penalty: the Hessian's factor loses more digits than a certificate allows. */
  const data = randomActivations(31, 200, 3).toFloat32();
  for (let i = 0; i < 200; i++) data[3 * i + 2] = data[3 * i];
  const twins = new Activations(data, [200, 3]);
  const sets = randomLabels(31, twins, 2);
  const weak = { ...FIT, C: 1e4 };

  it("are those whose certificate was refused", async () => {
    const gpu = await backend();
    const cpu = createCpuBackend();
    const finish = vi.mocked(certify.certifyFit).mockClear();
    const asked = [0, 1].map((feature) => ({ feature, support: Uint32Array.of(0, 1, 2) }));
    const got = await gpu.fitLogistic(await gpu.upload(twins), sets, asked, weak);
    const want = await cpu.fitLogistic(await cpu.upload(twins), sets, asked, weak);
    expect(finish).toHaveBeenCalledTimes(2);
    for (const [p, fit] of got.entries()) {
      expect(fit.convergence.converged).toBe(true);
      expectClose(fit.coefficients, want[p].coefficients, 1e-7);
    }
    finish.mockClear();
    await gpu.fitLogistic(await gpu.upload(x), labels, problems(6, 3), FIT);
    expect(finish).not.toHaveBeenCalled();
  });

  it.each([
    ["neurons far from zero", 1, 1e4, 0.5],
    ["a rare class", 1, 0, 0.02],
    ["hardly a penalty", 1e4, 0, 0.5],
    ["little but a penalty", 1e-4, 0, 0.5],
  ])("are few: %s leave none", async (_, C, offset, share) => {
    const base = randomActivations(71, 300, 6);
    const shifted = new Activations(
      base.data.map((v) => v + offset),
      [300, 6],
    );
    const random = new Random(71, "classes");
    const y = Uint8Array.from({ length: 300 }, (_, i) => (i < 3 || random.uniform() < share ? 1 : 0));
    const classes = new LabelMatrix(["f"], 300, y);
    const cpu = createCpuBackend();
    const everyone = new LabelMatrix(["all"], 300, new Uint8Array(300).fill(1));
    const { mean, sumOfSquares } = await cpu.classMoments(await cpu.upload(shifted), everyone);
    const asked = [1, 3, 6].map((k) => ({
      feature: 0,
      support: Uint32Array.from({ length: k }, (_, j) => j),
      center: mean.slice(6, 6 + k),
      scale: sumOfSquares!.slice(6, 6 + k).map((q) => Math.sqrt(q / 300)),
    }));
    const finish = vi.mocked(certify.certifyFit).mockClear();
    const gpu = await backend();
    const got = await gpu.fitLogistic(await gpu.upload(shifted), classes, asked, { ...FIT, C });
    expect(finish).not.toHaveBeenCalled();
    const want = await cpu.fitLogistic(await cpu.upload(shifted), classes, asked, { ...FIT, C });
    for (const [p, fit] of got.entries()) {
      const size = Math.max(...want[p].coefficients.map(Math.abs));
      expectClose(fit.coefficients, want[p].coefficients, AGREEMENT * size);
      const { objective } = want[p].convergence;
      // Pairs of float32 keep 44 bits, of values up to 10 000 deviations from zero.
      expect(Math.abs(fit.convergence.objective - objective)).toBeLessThan(1e-11 * objective);
    }
  });

  it("are all of a batch, when the certificate that the host checks is wrong", async () => {
    const gpu = await backend();
    const cpu = createCpuBackend();
    const device = await gpu.upload(x);
    const honest = gpu.device.readFloats.bind(gpu.device);
    const finish = vi.mocked(certify.certifyFit).mockClear();
    const lie = vi.spyOn(gpu.device, "readFloats").mockImplementation(async (buffer, options) => {
      const values = await honest(buffer, options);
      return buffer.label === "theta" || buffer.label === "single-neuron results"
        ? values.map((value) => value * 1.001)
        : values;
    });
    const got = await gpu.fitLogistic(device, labels, problems(4, 3), FIT);
    expect(finish).toHaveBeenCalledTimes(4);
    const want = await cpu.fitLogistic(await cpu.upload(x), labels, problems(4, 3), FIT);
    for (const [p, fit] of got.entries()) expectClose(fit.coefficients, want[p].coefficients, AGREEMENT);
    finish.mockClear();
    const singles = await gpu.fitSingleNeurons(device, labels, FIT);
    expect(finish).toHaveBeenCalledTimes(24);
    expect(singles.converged.every((flag) => flag === 1)).toBe(true);
    lie.mockRestore();
  });
});

describe("one probe of every neuron", () => {
  const wide = randomActivations(41, 130, 21);
  const sets = randomLabels(41, wide, 3, 0.1);
  const size = 3 * 21;
  const center = Float64Array.from({ length: size }, (_, at) => 0.1 * (at % 7) - 0.3);
  const scale = Float64Array.from({ length: size }, (_, at) => 0.5 + 0.1 * (at % 5));
  const each = Array.from({ length: size }, (_, at) => ({
    feature: Math.floor(at / 21),
    support: Uint32Array.of(at % 21),
    center: center.slice(at, at + 1),
    scale: scale.slice(at, at + 1),
  }));

  it.each(["f32", "f16", "u8"] as const)("is what fitLogistic makes of it: %s", async (dtype) => {
    const stored = wide.toStorage(dtype);
    const cpu = createCpuBackend();
    const want = await cpu.fitLogistic(await cpu.upload(stored), sets, each, FIT);
    // A small binding cuts rows into chunks and features into groups.
    for (const options of [{}, { maxBindingBytes: 4096, workBytes: 4096 }]) {
      const gpu = await backend(options);
      const seen: number[] = [];
      const onProgress = (done: number, total: number): void => void seen.push(done / total);
      const got = await gpu.fitSingleNeurons(await gpu.upload(stored), sets, {
        ...FIT,
        center,
        scale,
        onProgress,
      });
      expect([got.features, got.neurons, seen.at(-1)]).toEqual([3, 21, 1]);
      expect([...got.converged]).toEqual(new Array(size).fill(1));
      expectClose(
        got.coefficients,
        want.map(({ coefficients }) => coefficients[0]),
        AGREEMENT,
        "coefficients",
      );
      expectClose(
        got.intercepts,
        want.map(({ intercept }) => intercept),
        AGREEMENT,
        "intercepts",
      );
      const objectives = want.map(({ convergence }) => convergence.objective);
      expectClose(got.objectives, objectives, (at) => 1e-12 * objectives[at], "objectives");
      expect(Math.max(...got.newtonDecrements)).toBeLessThanOrEqual(FIT.tolerance);
    }
  });

  it("is NaN for neurons that are not finite in a row with a label, and right for the others", async () => {
    const gpu = await backend();
    const values = Float32Array.from(wide.data);
    const labelled = sets.of(0).findIndex((label, i) => label <= 1 && sets.of(1)[i] > 1);
    values[labelled * 21 + 4] = Infinity;
    const spoilt = new Activations(values, [130, 21]);
    const got = await gpu.fitSingleNeurons(await gpu.upload(spoilt), sets, FIT);
    const clean = await gpu.fitSingleNeurons(await gpu.upload(wide), sets, FIT);
    for (const f of [0, 1, 2]) {
      const isSpoilt = sets.of(f)[labelled] <= 1;
      for (let j = 0; j < 21; j++) {
        const at = f * 21 + j;
        const nan = isSpoilt && j === 4;
        expect(got.converged[at]).toBe(nan ? 0 : 1);
        if (nan) expect([got.coefficients[at], got.objectives[at]]).toEqual([NaN, NaN]);
        else expect(Math.abs(got.coefficients[at] - clean.coefficients[at])).toBeLessThan(1e-9);
      }
    }
  });

  it("copes with constant neurons and separated classes", async () => {
    const gpu = await backend();
    const cpu = createCpuBackend();
    const values = Float32Array.from({ length: 200 }, (_, at) =>
      at % 2 === 0 ? 3 : at < 100 ? -1 - at : at,
    );
    const few = new Activations(values, [100, 2]);
    const y = new LabelMatrix(
      ["f"],
      100,
      Uint8Array.from({ length: 100 }, (_, i) => (i < 50 ? 0 : 1)),
    );
    const got = await gpu.fitSingleNeurons(await gpu.upload(few), y, FIT);
    const alone = [0, 1].map((j) => ({ feature: 0, support: Uint32Array.of(j) }));
    const want = await cpu.fitLogistic(await cpu.upload(few), y, alone, FIT);
    expect([...got.converged]).toEqual([1, 1]);
    expectClose(
      got.coefficients,
      want.map(({ coefficients }) => coefficients[0]),
      AGREEMENT,
    );
  });

  it("refuses what does not fit, and stops when asked to", async () => {
    const gpu = await backend();
    const device = await gpu.upload(wide);
    const refused = (options: Partial<SingleNeuronOptions>): Promise<unknown> =>
      gpu.fitSingleNeurons(device, sets, { ...FIT, ...options });
    await expect(refused({ center: new Float64Array(3) })).rejects.toMatchObject({ code: "shape" });
    await expect(refused({ scale: new Float64Array(size) })).rejects.toMatchObject({ code: "option" });
    await expect(refused({ C: -1 })).rejects.toMatchObject({ code: "option" });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(refused({ signal })).rejects.toThrow("enough");
    const { liveBytes } = gpu.device;
    await refused({});
    expect(gpu.device.liveBytes).toBe(liveBytes);
  });
});

describe("many label sets at once", () => {
  const wide = randomActivations(51, 150, 19);
  const full = randomLabels(51, wide, 20);
  const gaps = randomLabels(52, wide, 20, 0.2);

  it.each(["f32", "f16", "u8"] as const)("have the moments of each alone: %s", async (dtype) => {
    const stored = wide.toStorage(dtype);
    const cpu = createCpuBackend();
    for (const sets of [full, gaps]) {
      const want = await cpu.classMoments(await cpu.upload(stored), sets);
      for (const options of [{}, { maxBindingBytes: 4096 }]) {
        const gpu = await backend(options);
        const got = await gpu.classMoments(await gpu.upload(stored), sets);
        expect(got.count).toEqual(want.count);
        // Values below 16, at most 150 roundings on a path; a difference has the errors of two sums.
        const bound = 3 * 160 * 2 ** -24;
        expectClose(got.mean, want.mean, bound * 16, "mean");
        const squares = want.sumOfSquares!;
        expectClose(got.sumOfSquares!, squares, (at) => bound * (squares[at] + 150 * 16), "squares");
      }
    }
  });

  it("keep a value that is not finite in the classes of its row", async () => {
    const gpu = await backend();
    const values = Float32Array.from(wide.data);
    values[7 * 19 + 3] = NaN;
    const moments = await gpu.classMoments(await gpu.upload(new Activations(values, [150, 19])), full);
    for (let f = 0; f < 20; f++) {
      for (const c of [0, 1]) {
        const means = moments.mean.subarray((2 * f + c) * 19, (2 * f + c + 1) * 19);
        const spoilt = full.of(f)[7] === c;
        expect(Array.from(means, Number.isFinite)).toEqual(Array.from(means, (_, j) => !(spoilt && j === 3)));
      }
    }
  });
});

describe("long segments", () => {
  it.each(["mean", "max", "last"] as const)("are combined in parts: %s", async (aggregation) => {
    const long = randomActivations(61, 1300, 5);
    const named = new Activations(long.data, [1300, 5], {
      groups: Array.from({ length: 1300 }, (_, i) => i),
    });
    const segments = {
      rows: Uint32Array.from({ length: 1300 }, (_, i) => (i * 7) % 1300),
      offsets: Uint32Array.of(0, 3, 1203, 1300),
    };
    const cpu = createCpuBackend();
    const host = await cpu.aggregateRows(await cpu.upload(named), aggregation, segments);
    const want = await host.read();
    for (const options of [{}, { maxBindingBytes: 4096 }]) {
      const gpu = await backend(options);
      const device = await gpu.upload(named);
      const { liveBytes } = gpu.device;
      const combined = await gpu.aggregateRows(device, aggregation, segments);
      const got = await combined.read();
      // Sums of 128 rows and of ten parts, of values below 16.
      expectClose(got.toFloat32(), want.toFloat32(), aggregation === "mean" ? 140 * 2 ** -24 * 16 : 0);
      expect([got.groups, got.provenance]).toEqual([want.groups, want.provenance]);
      combined.dispose();
      expect(gpu.device.liveBytes).toBe(liveBytes);
    }
  });
});

describe("a lost device", () => {
  it("ends the fit in flight and every later call", async () => {
    const gpu = await openTestBackend({ workBytes: 8192 });
    const device = await gpu.upload(x);
    const fit = gpu.fitLogistic(device, labels, problems(300, 8), {
      ...FIT,
      onProgress: (done) => {
        if (done === 1) gpu.device.gpu.destroy();
      },
    });
    await expect(fit).rejects.toThrow(DeviceLostError);
    await expect(gpu.classMoments(device, labels)).rejects.toThrow(DeviceLostError);
    await expect(gpu.upload(x)).rejects.toThrow(DeviceLostError);
    await expect(device.read()).rejects.toThrow(DeviceLostError);
  });
});

describe("input that is not finite", () => {
  it.each([NaN, Infinity, -Infinity])(
    "spoils its own moments alone, and is refused by fits: %s",
    async (value) => {
      const gpu = await backend();
      const data = Float32Array.from(x.data);
      data[5 * 12 + 3] = value;
      const device = await gpu.upload(new Activations(data, [120, 12]));
      const moments = await gpu.classMoments(device, labels);
      for (let feature = 0; feature < labels.features.length; feature++) {
        for (const c of [0, 1]) {
          const means = moments.mean.subarray((2 * feature + c) * 12, (2 * feature + c + 1) * 12);
          const spoilt = labels.of(feature)[5] === c;
          expect(Array.from(means, Number.isFinite)).toEqual(
            Array.from(means, (_, j) => !(spoilt && j === 3)),
          );
        }
      }
      await expect(gpu.fitLogistic(device, labels, problems(1, 4), FIT)).rejects.toThrow(
        /Row 5, neuron 3 is/,
      );
      expect((await gpu.fitLogistic(device, labels, problems(1, 3), FIT))[0].convergence.converged).toBe(
        true,
      );
    },
  );

  it("does not matter in rows without labels", async () => {
    const gpu = await backend();
    const data = Float32Array.from(x.data);
    data.fill(NaN, 5 * 12, 6 * 12);
    const device = await gpu.upload(new Activations(data, [120, 12]));
    const rows = Array.from({ length: 120 }, (_, i) => i).filter((i) => i !== 5);
    const moments = await gpu.classMoments(device, labels.restrictedTo(rows));
    expect(moments.mean.every(Number.isFinite)).toBe(true);
  });
});

describe("a caller's own buffer", () => {
  async function own(rows: number, dtype: "f32" | "f16", usage = Usage.storage | Usage.copySource) {
    const gpu = await requestNodeDevice();
    const values = randomActivations(2, rows, 12).toStorage(dtype);
    const size = Math.ceil(values.data.byteLength / 4) * 4;
    const buffer = gpu.createBuffer({ size, usage: usage | Usage.copyTarget });
    gpu.queue.writeBuffer(buffer, 0, values.data as Float32Array<ArrayBuffer>);
    const guest = new WebGpuBackend(gpu, { maxBindingBytes: 4096 });
    return { gpu, values, buffer, guest };
  }

  it.each(["f32", "f16"] as const)(
    "is read in place, in row chunks too, and outlives the backend: %s",
    async (dtype) => {
      const { gpu, values, buffer, guest } = await own(200, dtype);
      const device = guest.adopt(buffer, { rows: 200, neurons: 12, dtype });
      expect((await device.read()).data).toEqual(values.data);
      const sets = randomLabels(2, values, 2);
      const moments = await guest.classMoments(device, sets);
      const cpu = createCpuBackend();
      const want = await cpu.classMoments(await cpu.upload(values), sets);
      expectClose(moments.mean, want.mean, 1e-5);
      device.dispose();
      expect(guest.device.liveBytes).toBe(0);
      guest.dispose();
      gpu.pushErrorScope("validation");
      const encoder = gpu.createCommandEncoder();
      const target = gpu.createBuffer({ size: 16, usage: Usage.copyTarget });
      encoder.copyBufferToBuffer(buffer, 0, target, 0, 16);
      gpu.queue.submit([encoder.finish()]);
      expect(await gpu.popErrorScope()).toBeNull();
      gpu.destroy();
    },
  );

  it("is refused when it is too small, of the wrong usage, mapped or of another device", async () => {
    const { gpu, buffer, guest } = await own(20, "f32");
    expect(() => guest.adopt(buffer, { rows: 21, neurons: 12, dtype: "f32" })).toThrow(ShapeError);
    expect(() => guest.adopt(buffer, { rows: 1.5, neurons: 12, dtype: "f32" })).toThrow(ShapeError);
    const unusable = gpu.createBuffer({ size: 64, usage: Usage.copyTarget });
    expect(() => guest.adopt(unusable, { rows: 1, neurons: 1, dtype: "f32" })).toThrow(
      /STORAGE and COPY_SRC/,
    );
    const mapped = gpu.createBuffer({
      size: 64,
      usage: Usage.storage | Usage.copySource,
      mappedAtCreation: true,
    });
    expect(() => guest.adopt(mapped, { rows: 1, neurons: 1, dtype: "f32" })).toThrow(/mapped.*unmap/);
    const stranger = await backend();
    expect(stranger.device.gpu).not.toBe(gpu);
    const foreign = stranger.adopt(buffer, { rows: 20, neurons: 12, dtype: "f32" });
    await expect(foreign.read()).rejects.toThrow(OptionError);
    await expect(
      stranger.classMoments(foreign, randomLabels(2, randomActivations(2, 20, 12), 1)),
    ).rejects.toThrow(/another GPU device/);
    // The refusal has not spoilt either device.
    expect((await (await stranger.upload(x)).read()).data).toEqual(x.data);
    guest.dispose();
    gpu.destroy();
  });
});

describe("handles", () => {
  it("of another backend are refused", async () => {
    const gpu = await backend();
    const other = await backend();
    const elsewhere = await other.upload(x);
    await expect(gpu.classMoments(elsewhere, labels)).rejects.toThrow(OptionError);
    const host = await createCpuBackend().upload(x);
    await expect(gpu.classMoments(host, labels)).rejects.toThrow(/another backend/);
  });

  it("and the backend itself say when they were disposed of", async () => {
    const gpu = await backend();
    const device = await gpu.upload(x);
    gpu.dispose();
    gpu.dispose();
    await expect(gpu.classMoments(device, labels)).rejects.toMatchObject({ code: "disposed" });
    await expect(gpu.upload(x)).rejects.toMatchObject({ code: "disposed" });
  });

  it("lose their memory with the backend, on a caller's own device too", async () => {
    const gpu = await backend();
    const device = await gpu.upload(x);
    const mean = await gpu.aggregateRows(device, "mean", {
      rows: Uint32Array.of(0, 1),
      offsets: Uint32Array.of(0, 2),
    });
    expect(gpu.device.liveBuffers).toBe(2);
    gpu.dispose();
    expect([gpu.device.liveBytes, gpu.device.liveBuffers]).toEqual([0, 0]);
    device.dispose();
    mean.dispose();
    expect(gpu.device.liveBytes).toBe(0);
  });

  it("end the calls in flight when the backend is disposed of", async () => {
    const gpu = await backend({ workBytes: 8192 });
    const device = await gpu.upload(x);
    const onProgress = (): void => gpu.dispose();
    await expect(
      gpu.fitLogistic(device, labels, problems(100, 8), { ...FIT, onProgress }),
    ).rejects.toMatchObject({ code: "disposed" });
    const other = await backend();
    const reading = (await other.upload(x)).read();
    other.dispose();
    await expect(reading).rejects.toMatchObject({ code: "disposed" });
  });

  it("that are disposed of during a call end that call and no other", async () => {
    const gpu = await backend({ workBytes: 8192 });
    const device = await gpu.upload(x);
    const kept = await gpu.upload(x);
    const moments = gpu.classMoments(device, labels);
    const gathered = gpu.gatherColumns(device, Uint32Array.of(0));
    const fits = gpu.fitLogistic(device, labels, problems(1, 2), FIT);
    device.dispose();
    for (const call of await Promise.allSettled([moments, gathered, fits])) {
      expect(call).toMatchObject({ status: "rejected", reason: { code: "disposed" } });
    }
    expect((await gpu.classMoments(kept, labels)).neurons).toBe(12);
    kept.dispose();
    expect(gpu.device.liveBytes).toBe(0);
  });

  it("of two backends on one device do not get in each other's way", async () => {
    const [one, two] = [await backend(), await backend()];
    const [a, b] = [await one.upload(x), await two.upload(x)];
    const [first, second] = await Promise.all([
      one.fitLogistic(a, labels, problems(4, 5), FIT),
      two.fitLogistic(b, labels, problems(4, 5), FIT),
    ]);
    expect(second).toEqual(first);
    one.dispose();
    expect(await two.fitLogistic(b, labels, problems(4, 5), FIT)).toEqual(first);
  });

  it("can be used by several calls at once", async () => {
    const gpu = await backend();
    const device = await gpu.upload(x);
    const ks = [1, 2, 5, 9];
    const alone = [];
    for (const k of ks) alone.push(await gpu.fitLogistic(device, labels, problems(4, k), FIT));
    const [together, moments] = await Promise.all([
      Promise.all(ks.map((k) => gpu.fitLogistic(device, labels, problems(4, k), FIT))),
      gpu.classMoments(device, labels),
    ]);
    expect(together).toEqual(alone);
    expect(moments).toEqual(await gpu.classMoments(device, labels));
  });

  it("keep groups and provenance", async () => {
    const gpu = await backend();
    const groups = Array.from({ length: 120 }, (_, i) => `text ${i >> 2}`);
    const named = new Activations(x.data, [120, 12], {
      groups,
      provenance: { model: "m", hookPoint: "blocks.0.mlp.hook_post" },
    });
    const device = await gpu.upload(named);
    const back = await device.read();
    expect([back.groups, back.provenance]).toEqual([groups, named.provenance]);
    const segments = { rows: Uint32Array.of(8, 9, 40), offsets: Uint32Array.of(0, 2, 3) };
    const mean = await (await gpu.aggregateRows(device, "mean", segments)).read();
    expect(mean.groups).toEqual(["text 2", "text 10"]);
    expect(mean.provenance.aggregation).toBe("mean");
  });
});

describe("fits of wide supports", () => {
  it("agree with the CPU's beside narrow ones", async () => {
    const gpu = await backend();
    const wide = randomActivations(8, 260, 130);
    const sets = randomLabels(8, wide, 2, 0.1);
    const asked = [130, 1, 48, 47, 64, 8].map((k, p) => ({
      feature: p % 2,
      support: Uint32Array.from({ length: k }, (_, j) => 129 - j),
    }));
    const cpu = createCpuBackend();
    const got = await gpu.fitLogistic(await gpu.upload(wide), sets, asked, FIT);
    const want = await cpu.fitLogistic(await cpu.upload(wide), sets, asked, FIT);
    for (const [p, fit] of got.entries()) {
      expect(fit.convergence.converged).toBe(true);
      // λ² = ‖θ − θ*‖² in the Hessian's norm, which is at least the penalty's: both lie within √(2·C·Σω·tolerance).
      expectClose(
        fit.coefficients,
        want[p].coefficients,
        2 * Math.sqrt(2 * 260 * 1e-16),
        `k = ${asked[p].support.length}`,
      );
      // The GPU got close: the host took no more than a few steps of its own.
      expect(fit.convergence.iterations).toBeLessThanOrEqual(want[p].convergence.iterations + 3);
    }
  });
});

describe("fits that float32 alone would get wrong", () => {
  it("agree with the CPU's on columns far from zero, badly scaled and nearly collinear", async () => {
    const gpu = await backend();
    const rows = 200;
    const base = randomActivations(5, rows, 6);
    const data = Float32Array.from(base.data, (value, at) => {
      const j = at % 6;
      if (j === 1) return 1000 + value;
      if (j === 2) return value * 1e4;
      if (j === 3) return value * 1e-4;
      // Column 5 is column 4 but for a thousandth.
      if (j === 5) return base.data[at - 1] + 1e-3 * value;
      return value;
    });
    const hard = new Activations(data, [rows, 6]);
    const sets = randomLabels(5, base, 2);
    const asked = [
      { feature: 0, support: Uint32Array.of(0, 1, 2, 3, 4, 5) },
      { feature: 1, support: Uint32Array.of(1) },
      { feature: 1, support: Uint32Array.of(4, 5) },
    ];
    const cpu = createCpuBackend();
    for (const C of [1e-3, 1, 1e5]) {
      const got = await gpu.fitLogistic(await gpu.upload(hard), sets, asked, { ...FIT, C });
      const want = await cpu.fitLogistic(await cpu.upload(hard), sets, asked, { ...FIT, C });
      for (const [p, fit] of got.entries()) {
        expect(fit.convergence.converged, `C = ${C}, problem ${p}`).toBe(true);
        // Both stop at a decrement of 1e-16: their objectives differ by less than 4e-16·C·Σω.
        expect(Math.abs(fit.convergence.objective - want[p].convergence.objective)).toBeLessThanOrEqual(
          4e-16 * C * rows + 1e-13 * want[p].convergence.objective,
        );
      }
    }
  });

  it("are done in float64 from the start when columns exceed what float32 can square", async () => {
    const gpu = await backend();
    const huge = new Activations(
      x.toFloat32().map((value) => value * 1e25),
      [120, 12],
    );
    const [fit] = await gpu.fitLogistic(await gpu.upload(huge), labels, problems(1, 3), FIT);
    expect(fit.convergence.converged).toBe(true);
    expect(fit.coefficients.every(Number.isFinite)).toBe(true);
  });
});

describe("class moments of a neuron that never varies", () => {
  it("have no spread in the affine code either, where a product may or may not be fused with the sum", async () => {
    const neurons = 65;
    const bytes = Uint8Array.from({ length: 90 * neurons }, (_, at) => 3 * (at % neurons) + 7);
    const code = {
      scale: Float32Array.from({ length: neurons }, (_, j) => 0.1 + j / 7),
      offset: Float32Array.from({ length: neurons }, (_, j) => 1000 / 3 + j / 11),
    };
    const constant = new Activations(bytes, [90, neurons], { dtype: "u8", code });
    const gpu = await backend();
    const sets = randomLabels(4, randomActivations(4, 90, 3), 2);
    const { sumOfSquares } = await gpu.classMoments(await gpu.upload(constant), sets);
    expect(new Set(sumOfSquares)).toEqual(new Set([0]));
  });
});

describe("class moments over many blocks", () => {
  it("stay within the bound of their docblock", async () => {
    const rows = 3000;
    const values = randomActivations(6, rows, 3);
    // One class 30 times rarer than the other, and an offset of a hundred spreads.
    const shifted = new Activations(
      values.toFloat32().map((value) => value + 300),
      [rows, 3],
    );
    const sets = new LabelMatrix(
      ["rare"],
      rows,
      Uint8Array.from({ length: rows }, (_, i) => (i % 31 === 0 ? 1 : 0)),
    );
    const gpu = await backend({ maxBindingBytes: 16_384 });
    const got = await gpu.classMoments(await gpu.upload(shifted), sets);
    const cpu = createCpuBackend();
    const want = await cpu.classMoments(await cpu.upload(shifted), sets);
    const u = 2 ** -24;
    const roundings = 256 / 4 + Math.ceil(rows / 256 / 4) + 5 + 2;
    const gamma = (roundings * u) / (1 - roundings * u);
    // Q = Σ(x − mean)² + n·δ², and n·δ² is about a 64th of the first; twice that for luck.
    const q = (at: number): number => want.sumOfSquares![at] * (1 + 2 / 64) * (1 + 8 / 64);
    const count = (at: number): number => want.count[Math.floor(at / 3)];
    expectClose(got.mean, want.mean, (at) => gamma * Math.sqrt(q(at) / count(at)), "mean");
    expectClose(got.sumOfSquares!, want.sumOfSquares!, (at) => 3 * gamma * q(at), "sumOfSquares");
  });
});
