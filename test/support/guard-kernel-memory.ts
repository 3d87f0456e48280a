/**
 * Every block of the kernels' memory ends in a guard that is looked at when the block is given back: a kernel that writes beyond
 * what it was given fails the test in which it did.
 */
import { afterEach } from "vitest";
import { KernelMemory } from "../../src/backends/cpu/wasm/kernel-memory.ts";

const GUARD_BYTES = 256;
const SIGN = 0xa5;

// eslint-disable-next-line @typescript-eslint/unbound-method -- called with the memory below
const { allocate, free } = KernelMemory.prototype;
/** By memory: where the guard of each block begins. */
const guards = new WeakMap<KernelMemory, Map<number, number>>();
const overrun: string[] = [];

KernelMemory.prototype.allocate = function (bytes) {
  // No block is shorter than a cache line.
  const at = allocate.call(this, Math.max(64, bytes) + GUARD_BYTES);
  this.u8(at + bytes, GUARD_BYTES).fill(SIGN);
  const own = guards.get(this) ?? new Map<number, number>();
  guards.set(this, own.set(at, at + bytes));
  return at;
};

KernelMemory.prototype.free = function (at) {
  const guard = guards.get(this)?.get(at);
  if (guard !== undefined) {
    const spoilt = this.u8(guard, GUARD_BYTES).findIndex((byte) => byte !== SIGN);
    if (spoilt >= 0) overrun.push(`byte ${spoilt} beyond a block of ${guard - at}`);
    guards.get(this)!.delete(at);
  }
  free.call(this, at);
};

/** As without guards. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- as above
const { get } = Object.getOwnPropertyDescriptor(KernelMemory.prototype, "used")!;
Object.defineProperty(KernelMemory.prototype, "used", {
  get(this: KernelMemory) {
    return (get!.call(this) as number) - GUARD_BYTES * (guards.get(this)?.size ?? 0);
  },
});

afterEach(() => {
  const found = overrun.splice(0);
  if (found.length > 0) throw new Error(`Kernels wrote where they may not: ${found.join(", ")}.`);
});
