/**
 * gpu.js behind a small interface: textures that hold float32 values, and kernels that read textures and write one value
 * per thread. Kernels are strings, since gpu.js parses their source and a minifier changes what a function says.
 */
import {
  BackendUnavailableError,
  DeviceError,
  DeviceLostError,
  DisposedError,
  OutOfMemoryError,
} from "../../errors.ts";

/** Where gpu.js computes: in WebGL2 shaders, or in plain JavaScript, which is there to check the shaders against. */
export type GpuJsMode = "webgl2" | "cpu";

/** gpu.js' `GPU` class, as far as it is needed to pass it in. */
export type GpuJsConstructor = new (settings: { mode: GpuJsMode }) => { destroy(): unknown };

/** A kernel: a JavaScript function's source with one result for each `this.thread.x`. */
export interface GpuJsKernel {
  readonly label: string;
  readonly source: string;
}

/** An argument of a kernel: a texture, numbers that are sent along, or one number. */
export type KernelArgument = GpuJsTexture | Float32Array | Uint32Array | number;

/**
 * Values that one texture may hold. Indices are float32 in shaders and must stay exact, and gpu.js keeps the largest
 * upload on the host as well.
 */
export const TEXTURE_VALUES: number = 2 ** 22;

/**
 * Results that one call may compute where a kernel splits its index i into ⌊(i + ½)/d⌋ and a rest: WebGL2's division
 * is off by at most 2.5 units in the last place, and the quotient is at least ½/d away from a whole number.
 */
export const SPLIT_RESULTS: number = 2 ** 20;

/** What gpu.js gives for a kernel. */
interface KernelRun {
  (...args: readonly unknown[]): Promise<unknown>;
  setOutput(output: readonly number[]): unknown;
  readonly kernel: { readonly constructor: { readonly mode: string } };
}

/** An instance of gpu.js, as far as it is used here. */
interface GpuJsInstance {
  readonly context: WebGL2RenderingContext | null;
  createKernel(source: string, settings: Readonly<Record<string, unknown>>): KernelRun;
  destroy(): Promise<void>;
}

/** Float32 values on the device; their owner disposes of them. */
export class GpuJsTexture {
  readonly length: number;
  #value: unknown;

  constructor(value: unknown, length: number) {
    this.#value = value;
    this.length = length;
  }

  /** What gpu.js takes as an argument: its texture, or a plain array in "cpu" mode. */
  get value(): unknown {
    return this.#value;
  }

  dispose(): void {
    (this.#value as { delete?: () => void } | undefined)?.delete?.();
    this.#value = undefined;
  }
}

const storeKernel: GpuJsKernel = {
  label: "store",
  source: "function (values) { return values[this.thread.x]; }",
};

const readKernel: GpuJsKernel = {
  label: "read",
  source: "function (values) { return values[this.thread.x]; }",
};

/** One gpu.js instance with its compiled kernels. */
export class GpuJsDevice {
  readonly description: string;
  readonly #gpu: GpuJsInstance;
  readonly #mode: GpuJsMode;
  readonly #context: WebGL2RenderingContext | null;
  readonly #compiled = new Map<GpuJsKernel, KernelRun>();
  #disposed = false;

  /** @throws BackendUnavailableError when there is no WebGL2 with float32 textures to draw to */
  constructor(GPU: GpuJsConstructor, mode: GpuJsMode) {
    this.#mode = mode;
    try {
      this.#gpu = new GPU({ mode }) as unknown as GpuJsInstance;
    } catch (cause) {
      throw unavailable("gpu.js finds no WebGL2 here.", cause);
    }
    // gpu.js opens its context with its first kernel.
    this.#compile(storeKernel, true);
    this.#context = mode === "webgl2" ? this.#gpu.context : null;
    if (mode === "cpu") {
      this.description = "gpu.js in JavaScript";
      return;
    }
    const gl = this.#context;
    if (!gl?.getExtension("EXT_color_buffer_float")) {
      throw unavailable("This WebGL2 cannot draw to float32 textures (EXT_color_buffer_float).");
    }
    const precision = gl.getShaderPrecisionFormat(gl.FRAGMENT_SHADER, gl.HIGH_FLOAT)?.precision ?? 0;
    if (precision < 23) {
      throw unavailable(`This WebGL2 computes with ${precision} bits after the binary point; 23 are needed.`);
    }
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    const renderer = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER) as string;
    this.description = `gpu.js on WebGL2: ${renderer}`;
  }

  /** Copies values to the device, at most {@link TEXTURE_VALUES} of them. */
  async store(values: Float32Array): Promise<GpuJsTexture> {
    return this.compute(storeKernel, values.length, [values]);
  }

  /** Copies a texture's values to the host. */
  async read(texture: GpuJsTexture): Promise<Float32Array> {
    return this.fetch(readKernel, texture.length, [texture]);
  }

  /** Runs a kernel for `this.thread.x` = 0 … length − 1 and leaves the results on the device. */
  async compute(kernel: GpuJsKernel, length: number, args: readonly KernelArgument[]): Promise<GpuJsTexture> {
    const result = await this.#run(this.#compile(kernel, true), length, args);
    return new GpuJsTexture(result, length);
  }

  /** Runs a kernel and copies its results to the host, without blocking the page while the device works. */
  async fetch(kernel: GpuJsKernel, length: number, args: readonly KernelArgument[]): Promise<Float32Array> {
    const result = await this.#run(this.#compile(kernel, false), length, args);
    this.assertHealthy();
    return result as Float32Array;
  }

  /**
   * Reports what WebGL reports only when asked.
   * @throws DeviceLostError | OutOfMemoryError | DeviceError
   */
  assertHealthy(): void {
    const gl = this.#context;
    if (!gl) return;
    if (gl.isContextLost()) throw lost();
    const code = gl.getError();
    if (code === gl.NO_ERROR) return;
    if (code === gl.CONTEXT_LOST_WEBGL) throw lost();
    if (code === gl.OUT_OF_MEMORY) {
      throw new OutOfMemoryError(
        "WebGL2 has no memory left for a texture.",
        "Dispose of activations that are no longer needed, or use the CPU backend.",
      );
    }
    throw new DeviceError(`WebGL2 reports error ${code}.`, "Use the CPU backend.");
  }

  /** @throws DisposedError after `dispose()` */
  assertLive(): void {
    if (this.#disposed) throw new DisposedError("The backend was disposed of.", "Create a new one.");
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // Browsers keep few contexts alive, and take one from another part of the page where they run out.
    this.#context?.getExtension("WEBGL_lose_context")?.loseContext();
    void this.#gpu.destroy();
  }

  #compile(kernel: GpuJsKernel, pipeline: boolean): KernelRun {
    let run = this.#compiled.get(kernel);
    if (!run) {
      run = this.#gpu.createKernel(kernel.source, {
        pipeline,
        immutable: pipeline,
        precision: "single",
        tactic: "precision",
        dynamicOutput: true,
        dynamicArguments: true,
        asyncMode: true,
        // Loops end at bounds that are arguments; gpu.js cuts them off at 1000 rounds unless told otherwise.
        loopMaxIterations: TEXTURE_VALUES,
      });
      this.#compiled.set(kernel, run);
    }
    return run;
  }

  async #run(run: KernelRun, length: number, args: readonly KernelArgument[]): Promise<unknown> {
    this.assertLive();
    if (this.#context?.isContextLost()) throw lost();
    let result: unknown;
    try {
      run.setOutput([length]);
      result = await run(...args.map(argument));
    } catch (cause) {
      this.assertLive();
      if (this.#context?.isContextLost()) throw lost();
      throw new DeviceError("gpu.js could not run a kernel.", "Use the CPU backend.", { cause });
    }
    // gpu.js falls back to JavaScript with no more than a warning when a shader does not compile.
    if (this.#mode === "webgl2" && run.kernel.constructor.mode === "cpu") {
      throw new DeviceError("WebGL2 does not compile a kernel of gpu.js.", "Use the CPU backend.");
    }
    return result;
  }
}

/** A kernel's argument as gpu.js takes it. Numbers that are sent along become an input of one dimension. */
function argument(value: KernelArgument): unknown {
  if (value instanceof GpuJsTexture) return value.value;
  if (value instanceof Uint32Array) return Float32Array.from(value);
  return value;
}

function unavailable(problem: string, cause?: unknown): BackendUnavailableError {
  return new BackendUnavailableError(problem, 'Use createBackend("auto") or the CPU backend.', { cause });
}

function lost(): DeviceLostError {
  return new DeviceLostError("The WebGL2 context was lost.", "Create a new backend and upload again.");
}
