/** Compiles the kernels: the variant that this engine runs, for shared memory or for memory of one thread. */

/** `"relaxed-simd"` has fused multiply–add; its last bits may differ between processors. */
export type KernelVariant = "simd" | "relaxed-simd";

/** Functions of the compiled module; pointers are byte offsets in its memory. */
export type KernelFunctions = Readonly<Record<string, (...args: number[]) => number | undefined>>;

export interface CompiledKernels {
  readonly variant: KernelVariant;
  /** Imports a shared memory; otherwise an unshared one. */
  readonly shared: boolean;
  readonly module: WebAssembly.Module;
}

/** (module (func (result v128) v128.const 0)) */
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
); // prettier-ignore

/** (module (func (param v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)))) */
const RELAXED_SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0,
  32, 0, 32, 0, 32, 0, 253, 133, 2, 11,
); // prettier-ignore

/** The fastest variant that this engine runs; undefined where SIMD WebAssembly does not run at all. */
export function supportedVariant(): KernelVariant | undefined {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD_PROBE)) return undefined;
  return WebAssembly.validate(RELAXED_SIMD_PROBE) ? "relaxed-simd" : "simd";
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
