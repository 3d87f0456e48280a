/** The backend that runs everywhere: one thread, statistics and fits in float64. */
import { BackendUnavailableError } from "../../errors.ts";
import type { Backend } from "../backend.ts";
import { aggregateRows } from "./aggregate-rows.ts";
import { classMoments } from "./class-moments.ts";
import { CpuActivations, hostOf } from "./cpu-activations.ts";
import { fitLogistic } from "./fit-logistic.ts";
import { Pacer } from "./pacer.ts";
import { loadCpuTransformer } from "./transformer.ts";
import { wasmSimdSupported } from "./wasm/load-kernels.ts";

/**
 * A CPU backend. It holds no state: two of them are interchangeable, and `dispose()` has nothing to free. Long calls
 * let the event loop turn about every 30 ms and check their signal there; fits do so after every pass over their data,
 * n·k numbers, and within the n·k² of a Hessian.
 */
export function createCpuBackend(): Backend {
  return {
    info: {
      kind: "cpu",
      device: `models in ${wasmSimdSupported() ? "SIMD WebAssembly" : "JavaScript"}, statistics in float64 JavaScript`,
    },
    async upload(activations, options = {}) {
      options.signal?.throwIfAborted();
      return Promise.resolve(new CpuActivations(activations));
    },
    adopt() {
      throw new BackendUnavailableError(
        "A GPU buffer cannot be read by the cpu backend.",
        "Create a webgpu backend on the buffer's own device, or pass the values as a Float32Array.",
      );
    },
    async classMoments(x, labels, options = {}) {
      return classMoments(hostOf(x), labels, new Pacer(options.signal));
    },
    async gatherColumns(x, columns, options = {}) {
      options.signal?.throwIfAborted();
      return Promise.resolve(hostOf(x).gatherColumns(columns));
    },
    async aggregateRows(x, aggregation, segments, options = {}) {
      const pacer = new Pacer(options.signal);
      return new CpuActivations(await aggregateRows(hostOf(x), aggregation, segments, pacer));
    },
    async fitLogistic(x, labels, problems, options) {
      return fitLogistic(hostOf(x), labels, problems, options, new Pacer(options.signal));
    },
    async loadTransformer(spec, weights, options = {}) {
      return loadCpuTransformer(spec, weights, options);
    },
    dispose() {
      // Nothing is held.
    },
  };
}
