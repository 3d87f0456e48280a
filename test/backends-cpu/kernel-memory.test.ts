import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelMemory, Scope } from "../../src/backends/cpu/wasm/kernel-memory.ts";
import { OutOfMemoryError } from "../../src/errors.ts";

describe.each([false, true])("kernel memory, shared %s", (shared) => {
  it("never hands out overlapping blocks, whatever the order of allocating and freeing", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 200_000 }), fc.constant("free" as const)), {
          maxLength: 60,
        }),
        fc.infiniteStream(fc.nat()),
        (steps, choices) => {
          const memory = new KernelMemory(shared);
          const live: { at: number; bytes: number; mark: number }[] = [];
          let mark = 0;
          for (const step of steps) {
            if (step === "free") {
              if (live.length === 0) continue;
              const [gone] = live.splice(choices.next().value % live.length, 1);
              memory.free(gone.at);
              continue;
            }
            const at = memory.allocate(step);
            expect(at % 64).toBe(0);
            expect(at).toBeGreaterThan(0);
            memory.u8(at, step).fill(++mark & 255);
            live.push({ at, bytes: step, mark: mark & 255 });
          }
          for (const { at, bytes, mark: want } of live) {
            expect(memory.u8(at, bytes).every((byte) => byte === want)).toBe(true);
          }
          expect(memory.used).toBe(
            live.reduce((sum, { bytes }) => sum + Math.max(64, Math.ceil(bytes / 64) * 64), 0),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it("uses freed room again, neighbours joined", () => {
    const memory = new KernelMemory(shared);
    const blocks = [1000, 1000, 1000].map((bytes) => memory.allocate(bytes));
    memory.allocate(64);
    memory.free(blocks[0]);
    memory.free(blocks[2]);
    memory.free(blocks[1]);
    expect(memory.allocate(3000)).toBe(blocks[0]);
    memory.free(blocks[0]);
    memory.free(blocks[0]);
    expect(memory.used).toBe(64);
  });

  it("knows its own views, older ones of shared memory too", () => {
    const memory = new KernelMemory(shared);
    const at = memory.allocate(64);
    const before = memory.f32(at, 4);
    expect(memory.addressOf(before)).toBe(at);
    memory.allocate(10 * 2 ** 20);
    if (shared) expect(memory.addressOf(before)).toBe(at);
    expect(memory.addressOf(memory.f32(at, 4).subarray(1))).toBe(at + 4);
    expect(memory.addressOf(new Float32Array(4))).toBeUndefined();
  });

  it("knows its own views after another memory has grown", () => {
    const memory = new KernelMemory(shared);
    const at = memory.allocate(64);
    const before = memory.f32(at, 4);
    new KernelMemory(shared).allocate(10 * 2 ** 20);
    expect(memory.addressOf(before)).toBe(at);
    expect(memory.addressOf(memory.f32(at, 4))).toBe(at);
  });

  it("refuses what 4 GiB cannot hold, and stays usable", () => {
    const memory = new KernelMemory(shared);
    expect(() => memory.allocate(2 ** 32)).toThrow(OutOfMemoryError);
    expect(memory.allocate(100)).toBe(64);
  });
});

it("a scope gives everything back", () => {
  const memory = new KernelMemory(true);
  const scope = new Scope(memory);
  expect([...memory.u8(scope.zeros(100), 100)]).toEqual(new Array(100).fill(0));
  const at = scope.copyOf(Float64Array.of(1.5, -2));
  expect([...memory.f64(at, 2)]).toEqual([1.5, -2]);
  scope.close();
  expect(memory.used).toBe(0);
});
