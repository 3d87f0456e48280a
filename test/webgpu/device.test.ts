import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ComputeDevice, Usage } from "../../src/backends/webgpu/device.ts";
import { defineKernel } from "../../src/backends/webgpu/kernel.ts";
import { gatherColumnsKernels } from "../../src/backends/webgpu/gather-columns.ts";
import {
  DeviceError,
  DeviceLostError,
  DisposedError,
  OptionError,
  OutOfMemoryError,
} from "../../src/errors.ts";
import { freshTestDevice } from "../support/gpu.ts";

let device: ComputeDevice;
beforeEach(async () => {
  device = await freshTestDevice();
});
afterEach(() => {
  device.dispose();
});

const gather = gatherColumnsKernels[0];

describe("buffers", () => {
  it("are counted while they live, and freed once", async () => {
    const a = await device.allocate("a", 100);
    const b = await device.allocateFrom("b", new Uint8Array(5));
    expect([device.liveBuffers, device.liveBytes]).toEqual([2, 100 + 16]);
    a.dispose();
    a.dispose();
    b.dispose();
    expect([device.liveBuffers, device.liveBytes]).toEqual([0, 0]);
  });

  it("keep every byte of an array of any length and offset", async () => {
    for (const length of [1, 3, 4, 5, 1023, 1024]) {
      const bytes = Uint8Array.from({ length: length + 3 }, (_, i) => i * 7);
      const buffer = await device.allocateFrom("bytes", bytes.subarray(3));
      expect(new Uint8Array(await device.read(buffer))).toEqual(bytes.slice(3));
      buffer.dispose();
    }
  });

  it("are written and read in pieces when they are large", async () => {
    // A little over two pieces.
    const words = Uint32Array.from({ length: 9 * 2 ** 20 }, (_, i) => Math.imul(i, 2654435761));
    const buffer = await device.allocateFrom("large", words);
    const back = new Uint32Array(await device.read(buffer));
    expect(Buffer.compare(Buffer.from(back.buffer), Buffer.from(words.buffer))).toBe(0);
    buffer.dispose();
  });

  it("beyond the device's limit name the remedy and leave the device usable", async () => {
    const bytes = device.gpu.limits.maxBufferSize + 4;
    await expect(device.allocate("huge", bytes)).rejects.toThrow(OutOfMemoryError);
    await expect(device.allocate("huge", bytes)).rejects.toThrow(/huge.*MiB.*Use fewer rows/);
    expect(device.liveBytes).toBe(0);
    const small = await device.allocateFrom("small", Float32Array.of(1, 2));
    expect([...(await device.readFloats(small))]).toEqual([1, 2]);
  });

  it("that are refused when memory runs out are reported by the allocation itself", async () => {
    const gpu = new Proxy(device.gpu, {
      get(target, name) {
        if (name === "createBuffer") {
          return () => {
            throw new RangeError("no memory");
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const exhausted = new ComputeDevice(gpu);
    await expect(exhausted.allocate("x", 64)).rejects.toThrow(OutOfMemoryError);
    expect(exhausted.liveBytes).toBe(0);
  });
});

describe("dispatches", () => {
  it("fold a count that one dimension does not hold, without losing a workgroup", () => {
    const most = device.gpu.limits.maxComputeWorkgroupsPerDimension;
    expect(device.grid(7)).toEqual([7, 1, 1]);
    expect(device.grid(most)).toEqual([most, 1, 1]);
    for (const count of [most + 1, 2 * most + 1, 10 * most - 1, most * most]) {
      const [x, y, z] = device.grid(count);
      expect(x * y * z).toBeGreaterThanOrEqual(count);
      expect(x * y * z).toBeLessThan(count + y);
      expect(Math.max(x, y)).toBeLessThanOrEqual(most);
    }
    expect(() => device.grid(most * most + 1)).toThrow(OptionError);
    expect(() => device.grid([most + 1, 1, 1])).toThrow(OptionError);
  });

  it("of a folded grid reach every element", async () => {
    // With one thread a workgroup, 70 000 values need two rows of workgroups.
    const count = 70_000;
    const scope = device.scope();
    const x = await scope.allocateFrom(
      "x",
      Float32Array.from({ length: count }, (_, i) => i),
    );
    const rows = await scope.allocateFrom(
      "rows",
      Uint32Array.from({ length: count }, (_, i) => count - 1 - i),
    );
    const columns = await scope.allocateFrom("columns", Uint32Array.of(0));
    const out = await scope.allocate("out", 4 * count);
    device
      .batch("folded")
      .dispatch(gather, {
        bindings: { x, code: x, rows, columns, out },
        params: {
          neurons: 1,
          row_count: count,
          column_count: 1,
          first_out: 0,
          row_stride: 1,
          column_stride: 1,
        },
        overrides: { workgroup_size: 1 },
        workgroups: count,
      })
      .submit();
    const values = await device.readFloats(out);
    expect(values.every((value, i) => value === count - 1 - i)).toBe(true);
    scope.dispose();
  });

  it("refuse a kernel whose feature the device lacks", () => {
    const kernel = defineKernel({
      label: "needs-more",
      source: "",
      entryPoint: "main",
      bindings: {},
      requires: ["texture-compression-astc"],
    });
    expect(device.supports(kernel)).toBe(false);
    expect(() => device.batch("x").dispatch(kernel, { bindings: {}, workgroups: 1 })).toThrow(
      /needs-more.*texture-compression-astc/,
    );
  });
});

describe("errors", () => {
  const broken = defineKernel({
    label: "broken",
    source: "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }",
    entryPoint: "main",
    bindings: {},
  });

  it("of validation are thrown by the call in flight and by every later call", async () => {
    const buffer = await device.allocate("x", 16);
    device.batch("wrong").dispatch(broken, { bindings: {}, workgroups: 1 }).submit();
    await expect(device.read(buffer)).rejects.toThrow(DeviceError);
    await expect(device.allocate("y", 16)).rejects.toThrow(/"wrong" failed.*1\.5/s);
    expect(() => device.batch("later").clear(buffer).submit()).toThrow(DeviceError);
  });

  it("of work on a buffer that was freed are the call's own, and the device stays usable", async () => {
    const freed = await device.allocate("freed", 16);
    const target = await device.allocate("target", 16);
    const batch = device.batch("late").clear(target).copy(freed, 0, target, 0, 16);
    freed.dispose();
    expect(() => batch.submit()).toThrow(/"freed" was disposed of.*Await the call/);
    await expect(device.read(freed)).rejects.toThrow(DisposedError);
    expect([...(await device.readFloats(target))]).toEqual([0, 0, 0, 0]);
  });

  it("of an ownership check that cannot be made leave no error scope behind", async () => {
    await expect(device.owns({} as GPUBuffer)).rejects.toThrow(TypeError);
    await expect(device.gpu.popErrorScope()).rejects.toThrow();
    expect(device.liveBytes).toBe(0);
  });

  it("of ours never reach another user of the device, nor theirs us", async () => {
    const theirs: string[] = [];
    device.gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      theirs.push(event.error.message);
    });
    device.gpu.createBuffer({ label: "theirs", size: 16, usage: 0 });
    const buffer = await device.allocateFrom("ours", Float32Array.of(3));
    expect([...(await device.readFloats(buffer))]).toEqual([3]);
    device.batch("wrong").dispatch(broken, { bindings: {}, workgroups: 1 }).submit();
    await expect(device.idle()).rejects.toThrow(DeviceError);
    expect(theirs.length).toBe(1);
    expect(theirs[0]).toContain("theirs");
  });

  it("reject whatever waits when the device is lost, and every later call", async () => {
    const buffer = await device.allocate("x", 2 ** 20);
    const waiting = [device.read(buffer), device.idle(), device.allocate("y", 16)];
    device.gpu.destroy();
    const results = await Promise.allSettled(waiting);
    for (const result of results) {
      // What was finished before the loss may still have come through.
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(DeviceLostError);
    }
    await expect(device.read(buffer)).rejects.toThrow(DeviceLostError);
    await expect(device.allocate("z", 16)).rejects.toThrow(/lost.*Create a new backend/);
  });
});

describe("an owned device", () => {
  it("is destroyed with its wrapper, a foreign one is not", async () => {
    const guest = new ComputeDevice(device.gpu);
    guest.dispose();
    const buffer = await device.allocate("still there", 16, Usage.storage | Usage.copySource);
    expect((await device.read(buffer)).byteLength).toBe(16);
    device.dispose();
    expect((await device.gpu.lost).reason).toBe("destroyed");
  });
});
