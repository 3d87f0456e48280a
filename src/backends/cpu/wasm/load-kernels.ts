/** Compiles the kernels: the variant that this engine runs, for shared memory or for memory of one thread. */

import type { KernelVariant } from "./kernel-variant.ts";

/** Functions of the compiled module; pointers are byte offsets in its memory. */
export type KernelFunctions = Readonly<Record<string, (...args: number[]) => number | undefined>>;

export interface CompiledKernels {
  readonly variant: KernelVariant;
  /** Imports a shared memory; otherwise an unshared one. */
  readonly shared: boolean;
  readonly module: WebAssembly.Module;
}

const compiled = new Map<string, Promise<CompiledKernels>>();

/**
 * Compiles a variant, once for the whole process.
 * @throws WebAssembly.CompileError where the engine, or a page's security policy, refuses it
 */
export function compileKernels(variant: KernelVariant, shared: boolean): Promise<CompiledKernels> {
  const key = `${variant} ${shared}`;
  let kernels = compiled.get(key);
  if (!kernels) {
    kernels = compile(variant, shared);
    compiled.set(key, kernels);
    // What failed once, e.g. to download, may work the next time.
    kernels.catch(() => compiled.delete(key));
  }
  return kernels;
}

async function compile(variant: KernelVariant, shared: boolean): Promise<CompiledKernels> {
  const { KERNELS_BASE64 } = await (variant === "simd"
    ? import("./kernels-simd.generated.ts")
    : import("./kernels-relaxed-simd.generated.ts"));
  const bytes = Uint8Array.from(atob(KERNELS_BASE64), (character) => character.charCodeAt(0));
  if (shared) importSharedMemory(bytes);
  return { variant, shared, module: await WebAssembly.compile(bytes) };
}

/** Rewrites the one imported memory as shared: the kernels have no atomics, so one build serves both kinds. */
export function importSharedMemory(bytes: Uint8Array): void {
  let at = 8;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  const skip = (length: number): void => {
    at += length;
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const size = number();
    if (section !== 2) {
      skip(size);
      continue;
    }
    for (let imports = number(); imports > 0; imports--) {
      skip(number());
      skip(number());
      const kind = bytes[at++];
      if (kind === 2) {
        bytes[at] |= 2;
        return;
      }
      number();
    }
  }
  throw new WebAssembly.CompileError("The kernels import no memory.");
}

/** Links the kernels to a memory. */
export async function instantiateKernels(
  { module }: CompiledKernels,
  memory: WebAssembly.Memory,
): Promise<KernelFunctions> {
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  return instance.exports as unknown as KernelFunctions;
}
