/** The WebAssembly module that measures the machine. */
export function compileLimits(): Promise<Uint8Array>;
