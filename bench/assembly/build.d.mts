/** The WebAssembly modules that measure the machine: without and with relaxed SIMD. */
export type LimitsName = "limits.wasm" | "limits-relaxed.wasm";
export const LIMITS: Readonly<Record<LimitsName, readonly string[]>>;
export function compileLimits(name: LimitsName): Promise<Uint8Array>;
