/** Which build of the kernels this engine runs. */

/** `"relaxed-simd"` has fused multiply–add; its last bits may differ between processors. */
export type KernelVariant = "simd" | "relaxed-simd";

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
