/**
 * A GPU device as the rest of the backend sees it: buffers that are counted and checked, a pipeline cache, batches of
 * dispatches, read-back, and errors that always reach the caller.
 *
 * Errors. Every piece of GPU work is recorded and submitted inside error scopes of its own, so a caller's other work on
 * the same device is never blamed on us, nor ours on them. A failed allocation is thrown by {@link ComputeDevice.allocate}.
 * A validation or internal error is thrown by the next `await` of the call that caused it and by every later call: after
 * it, nothing that the device holds can be trusted. Loss of the device rejects everything that is waiting.
 */
import { DeviceError, DeviceLostError, DisposedError, OptionError, OutOfMemoryError } from "../../errors.ts";
import {
  paramBytes,
  type Bindings,
  type Kernel,
  type None,
  type Overrides,
  type Params,
  type StorageNames,
} from "./kernel.ts";

/** Values of GPUBufferUsage: the globals of that name do not exist in Node. */
export const Usage = {
  mapRead: 0x1,
  copySource: 0x4,
  copyTarget: 0x8,
  uniform: 0x40,
  storage: 0x80,
} as const;

const SHADER_STAGE_COMPUTE = 4;
const MAP_MODE_READ = 1;
/** Bytes written or read back at a time. */
const PIECE = 16 * 2 ** 20;
/** Bytes that uploads may have under way before they wait for the queue. */
const UPLOAD_WINDOW = 4 * PIECE;
/** Kernels number the values of a binding, bytes of u8 activations at the least, in 32 bits. */
const MOST_BINDING = 2 ** 32 - 4;
/** Bytes of staging buffers that are kept for the next read. */
const STAGING_POOL = 2 * PIECE;

/** A buffer of ours. `byteLength` is what was asked for; the GPU's buffer may be up to 3 bytes longer. */
export class ComputeBuffer {
  readonly label: string;
  readonly byteLength: number;
  readonly #gpu: GPUBuffer;
  readonly #release: (() => void) | undefined;
  #disposed = false;

  constructor(label: string, byteLength: number, gpu: GPUBuffer, release: (() => void) | undefined) {
    this.label = label;
    this.byteLength = byteLength;
    this.#gpu = gpu;
    this.#release = release;
  }

  /**
   * The GPU's buffer. Work on a freed one would be a validation error, which spoils the device for every other caller.
   * @throws DisposedError after `dispose()`
   */
  get gpu(): GPUBuffer {
    if (this.#disposed) {
      throw new DisposedError(
        `Buffer "${this.label}" was disposed of while a call was using it.`,
        "Await the call before you dispose of what it reads.",
      );
    }
    return this.#gpu;
  }

  /** Frees the memory; a second call does nothing. A foreign buffer is left alone. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#release?.();
  }
}

/** A buffer, or a part of one (bytes; the offset a multiple of {@link ComputeDevice.bindingAlignment}). */
export type BindingSource =
  ComputeBuffer | { readonly buffer: ComputeBuffer; readonly offset: number; readonly byteLength: number };

/** What one dispatch is given. */
export type DispatchArguments<B extends Bindings, P extends Params, O extends Overrides> = {
  readonly bindings: { readonly [Name in StorageNames<B>]: BindingSource };
  /**
   * Number of workgroups. A single number is folded into a grid that the device allows: the kernel then numbers its
   * workgroups with `linear_workgroup` of shaders/lib/grid.wgsl. A triple is taken as it is.
   */
  readonly workgroups: number | readonly [x: number, y: number, z: number];
  /** Values of `override` constants that differ from the kernel's defaults. */
  readonly overrides?: Partial<Record<keyof O, number>>;
} & (P extends None
  ? { readonly params?: undefined }
  : { readonly params: { readonly [Name in keyof P]: number } });

interface Pipeline {
  readonly gpu: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

type Command =
  | {
      readonly kind: "dispatch";
      readonly kernel: Kernel;
      readonly overrides: Overrides;
      readonly bindings: Readonly<Record<string, BindingSource>>;
      /** Offset of the params in the batch's uniform data; −1 without params. */
      readonly paramsAt: number;
      readonly workgroups: readonly [number, number, number];
    }
  | {
      readonly kind: "copy";
      readonly from: ComputeBuffer;
      readonly fromOffset: number;
      readonly to: ComputeBuffer;
      readonly toOffset: number;
      readonly byteLength: number;
    }
  | { readonly kind: "clear"; readonly buffer: ComputeBuffer };

/** Frees a set of buffers together: `const scope = device.scope(); try { … } finally { scope.dispose(); }`. */
export class BufferScope {
  readonly #device: ComputeDevice;
  readonly #buffers = new Set<{ dispose(): void }>();
  #disposed = false;

  constructor(device: ComputeDevice) {
    this.#device = device;
  }

  /** {@link ComputeDevice.allocate}, freed with the scope. */
  async allocate(label: string, byteLength: number, usage?: number): Promise<ComputeBuffer> {
    return this.add(await this.#device.allocate(label, byteLength, usage));
  }

  /** {@link ComputeDevice.allocateFrom}, freed with the scope. */
  async allocateFrom(label: string, data: ArrayBufferView, signal?: AbortSignal): Promise<ComputeBuffer> {
    return this.add(await this.#device.allocateFrom(label, data, signal));
  }

  /** Makes the scope responsible for freeing something; a scope that is disposed of frees it at once. */
  add<T extends { dispose(): void }>(owned: T): T {
    if (this.#disposed) owned.dispose();
    else this.#buffers.add(owned);
    return owned;
  }

  /** Takes something out again: the caller now owns it. */
  release<T extends { dispose(): void }>(owned: T): T {
    this.#buffers.delete(owned);
    return owned;
  }

  /** Takes everything out: the caller now owns it all. */
  releaseAll(): void {
    this.#buffers.clear();
  }

  dispose(): void {
    this.#disposed = true;
    for (const buffer of this.#buffers) buffer.dispose();
    this.#buffers.clear();
  }
}

/**
 * Waits for every promise, and only then for the first failure: what a scope holds is all there when it is disposed of.
 * Allocations go side by side, since in a browser each is a message to another process and back.
 */
export async function together<const T extends readonly Promise<unknown>[]>(
  pending: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(pending);
  return Promise.all(pending);
}

/**
 * Dispatches and copies that are submitted together. Each sees the results of those before it. Nothing reaches the GPU
 * before `submit()`.
 */
export class CommandBatch {
  readonly #device: ComputeDevice;
  readonly #label: string;
  #commands: Command[] = [];
  #uniforms = new ArrayBuffer(4096);
  #uniformBytes = 0;

  constructor(device: ComputeDevice, label: string) {
    this.#device = device;
    this.#label = label;
  }

  /**
   * @throws OptionError when an explicit grid exceeds the device's limit
   * @throws DeviceError when the kernel needs a feature that the device lacks
   */
  dispatch<B extends Bindings, P extends Params, O extends Overrides>(
    kernel: Kernel<B, P, O>,
    { bindings, workgroups, overrides, params }: DispatchArguments<B, P, O>,
  ): this {
    this.#device.requireFeatures(kernel);
    const grid = this.#device.grid(workgroups);
    if (grid[0] * grid[1] * grid[2] === 0) return this;
    const merged: Record<string, number> = { ...kernel.overrides };
    for (const [name, value] of Object.entries(overrides ?? {})) merged[name] = value as number;
    this.#commands.push({
      kind: "dispatch",
      kernel,
      overrides: merged,
      bindings,
      paramsAt: this.#pack(kernel, params ?? {}),
      workgroups: grid,
    });
    return this;
  }

  /** Copies bytes between buffers; offsets and length in multiples of 4. */
  copy(
    from: ComputeBuffer,
    fromOffset: number,
    to: ComputeBuffer,
    toOffset: number,
    byteLength: number,
  ): this {
    this.#commands.push({ kind: "copy", from, fromOffset, to, toOffset, byteLength });
    return this;
  }

  /** Sets a whole buffer to zero. */
  clear(buffer: ComputeBuffer): this {
    this.#commands.push({ kind: "clear", buffer });
    return this;
  }

  /** Sends everything recorded so far and empties the batch, which can then be used again. */
  submit(): void {
    if (this.#commands.length === 0) return;
    const commands = this.#commands;
    const uniforms = new Uint8Array(this.#uniforms, 0, this.#uniformBytes);
    this.#commands = [];
    this.#device.run(this.#label, commands, uniforms);
    this.#uniformBytes = 0;
  }

  #pack(kernel: Kernel, params: Readonly<Record<string, number>>): number {
    const fields = Object.entries(kernel.params);
    if (fields.length === 0) return -1;
    const at = this.#uniformBytes;
    const stride = this.#device.uniformAlignment;
    const end = at + Math.ceil(paramBytes(kernel.params) / stride) * stride;
    if (end > this.#uniforms.byteLength) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#uniforms.byteLength));
      grown.set(new Uint8Array(this.#uniforms, 0, at));
      this.#uniforms = grown.buffer;
    }
    const view = new DataView(this.#uniforms, at, end - at);
    for (const [i, [name, type]] of fields.entries()) {
      const value = params[name];
      if (type === "f32") view.setFloat32(4 * i, value, true);
      else if (type === "u32") view.setUint32(4 * i, value, true);
      else view.setInt32(4 * i, value, true);
    }
    this.#uniformBytes = end;
    return at;
  }
}

export interface ComputeDeviceOptions {
  /** What the device is, in words; default: the adapter's description. */
  readonly description?: string;
  /** The device was made for us: it is destroyed by `dispose()`. Default false. */
  readonly owned?: boolean;
}

/** A GPU device with accounting. See the top of the file for how errors reach the caller. */
export class ComputeDevice {
  readonly gpu: GPUDevice;
  readonly description: string;
  readonly #owned: boolean;
  readonly #pipelines = new Map<Kernel, Map<string, Pipeline>>();
  readonly #underway = new Map<Kernel, Map<string, Promise<void>>>();
  readonly #layouts = new Map<Kernel, GPUBindGroupLayout>();
  readonly #modules = new Map<Kernel, GPUShaderModule>();
  readonly #staging: GPUBuffer[] = [];
  readonly #waiting = new Set<(reason: Error) => void>();
  #checks = new Set<Promise<void>>();
  #uniforms: GPUBuffer | undefined;
  #failure: Error | undefined;
  #disposed = false;
  /** An empty submission is on its way. */
  #collecting = false;
  /** Bytes written since somebody last waited for the queue. */
  #uploading = 0;
  #liveBytes = 0;
  /** Weak, so that a forgotten buffer can still be collected. */
  readonly #live = new Set<WeakRef<ComputeBuffer>>();

  constructor(gpu: GPUDevice, { description, owned = false }: ComputeDeviceOptions = {}) {
    this.gpu = gpu;
    this.#owned = owned;
    this.description = description ?? deviceName(gpu);
    void gpu.lost.then(({ reason, message }) => {
      if (this.#disposed) return;
      const detail = message === "" ? reason : message;
      this.#fail(
        new DeviceLostError(
          `The GPU device was lost: ${detail}.`,
          "Create a new backend; if it happens again, use smaller batches or the CPU backend.",
        ),
      );
    });
  }

  /** Bytes of buffers that were allocated and not yet freed; the pool of staging buffers is not counted. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Number of buffers that were allocated and not yet freed. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Largest part of a buffer that a kernel can see, in bytes. */
  get maxBindingBytes(): number {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.gpu.limits;
    return Math.min(maxStorageBufferBindingSize, maxBufferSize, MOST_BINDING);
  }

  /** Offsets of bound parts of storage buffers are multiples of this many bytes. */
  get bindingAlignment(): number {
    return this.gpu.limits.minStorageBufferOffsetAlignment;
  }

  /** Offsets of uniform data are multiples of this many bytes. */
  get uniformAlignment(): number {
    return this.gpu.limits.minUniformBufferOffsetAlignment;
  }

  supports(kernel: Kernel): boolean {
    return kernel.requires.every((feature) => this.gpu.features.has(feature));
  }

  /** @throws DeviceError when the kernel needs a feature that the device lacks */
  requireFeatures(kernel: Kernel): void {
    const missing = kernel.requires.filter((feature) => !this.gpu.features.has(feature));
    if (missing.length === 0) return;
    throw new DeviceError(
      `Kernel "${kernel.label}" needs ${missing.join(" and ")}, which this device was created without.`,
      "Request the feature with the device, or use the kernel's plain variant.",
    );
  }

  /** Throws what went wrong earlier, if anything did. */
  assertUsable(): void {
    if (this.#failure) throw this.#failure;
  }

  scope(): BufferScope {
    return new BufferScope(this);
  }

  batch(label: string): CommandBatch {
    return new CommandBatch(this, label);
  }

  /**
   * A zeroed buffer that kernels can read and write and that can be copied from and to.
   * @throws OutOfMemoryError when it exceeds the device's limits or does not fit in its memory
   */
  async allocate(
    label: string,
    byteLength: number,
    usage: number = Usage.storage | Usage.copySource | Usage.copyTarget,
  ): Promise<ComputeBuffer> {
    this.assertUsable();
    const size = Math.max(16, Math.ceil(byteLength / 4) * 4);
    if (size > this.gpu.limits.maxBufferSize) {
      throw new OutOfMemoryError(
        `Buffer "${label}" needs ${megabytes(size)}, and the device's buffers hold at most ${megabytes(this.gpu.limits.maxBufferSize)}.`,
        "Use fewer rows or columns at a time, or request a larger maxBufferSize with the device.",
      );
    }
    this.gpu.pushErrorScope("out-of-memory");
    this.gpu.pushErrorScope("validation");
    let gpu: GPUBuffer | undefined;
    let refusal: unknown;
    try {
      gpu = this.gpu.createBuffer({ label, size, usage });
    } catch (error) {
      refusal = error;
    }
    const validation = this.gpu.popErrorScope();
    const memory = this.gpu.popErrorScope();
    let invalid: GPUError | null;
    let exhausted: GPUError | null;
    try {
      [invalid, exhausted] = await this.guard(Promise.all([validation, memory]));
      this.assertUsable();
    } catch (error) {
      gpu?.destroy();
      throw error;
    }
    if (gpu === undefined || exhausted) {
      gpu?.destroy();
      throw new OutOfMemoryError(
        `The device has no room for buffer "${label}" of ${megabytes(size)} (${megabytes(this.#liveBytes)} in use).`,
        "Free activations with dispose(), use smaller batches, or store activations as f16 or u8.",
        { cause: exhausted ?? refusal },
      );
    }
    if (invalid) {
      gpu.destroy();
      throw new DeviceError(`Buffer "${label}" was refused: ${invalid.message}`, REPORT, { cause: invalid });
    }
    this.#liveBytes += size;
    const buffer = new ComputeBuffer(label, byteLength, gpu, () => {
      this.#liveBytes -= size;
      this.#live.delete(reference);
      gpu.destroy();
      this.#collect();
    });
    const reference = new WeakRef(buffer);
    this.#live.add(reference);
    return buffer;
  }

  /** Dawn keeps the memory of destroyed buffers until something is submitted after them: models come and go without that. */
  #collect(): void {
    if (this.#collecting) return;
    this.#collecting = true;
    queueMicrotask(() => {
      this.#collecting = false;
      if (!this.#disposed) this.gpu.queue.submit([]);
    });
  }

  /** A buffer that holds a copy of `data`. */
  async allocateFrom(label: string, data: ArrayBufferView, signal?: AbortSignal): Promise<ComputeBuffer> {
    signal?.throwIfAborted();
    const buffer = await this.allocate(label, data.byteLength);
    try {
      await this.upload(buffer, data, { signal });
    } catch (error) {
      buffer.dispose();
      throw error;
    }
    return buffer;
  }

  /** Wraps a buffer that someone else owns: never freed, never counted. */
  foreign(label: string, gpu: GPUBuffer): ComputeBuffer {
    return new ComputeBuffer(label, gpu.size, gpu, undefined);
  }

  /** Whether a buffer was made by this device: only the GPU can tell. Meant for buffers with the usage COPY_SRC. */
  async owns(gpu: GPUBuffer): Promise<boolean> {
    this.assertUsable();
    const label = "ownership check";
    const target = await this.allocate(label, 4);
    this.gpu.pushErrorScope("validation");
    let defect: Promise<GPUError | null>;
    try {
      const encoder = this.gpu.createCommandEncoder({ label });
      encoder.copyBufferToBuffer(gpu, 0, target.gpu, 0, 4);
      encoder.finish();
    } finally {
      defect = this.guard(this.gpu.popErrorScope());
      // Nobody awaits it when the copy throws.
      defect.catch(() => undefined);
      target.dispose();
    }
    return (await defect) === null;
  }

  /**
   * Writes a small array (kilobytes) before everything submitted later. `offset` in bytes, a multiple of 4; a length
   * that is not a multiple of 4 bytes is padded with zeros.
   */
  write(buffer: ComputeBuffer, data: ArrayBufferView, offset = 0): void {
    this.assertUsable();
    this.#checked(`write ${buffer.label}`, () => {
      this.#write(buffer.gpu, offset, data.buffer, data.byteOffset, data.byteLength);
    });
  }

  /** Writes an array of any size in pieces, waiting for the queue so that few bytes are under way at once. */
  async upload(
    buffer: ComputeBuffer,
    data: ArrayBufferView,
    { offset = 0, signal }: { offset?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    for (let at = 0; at < data.byteLength; at += PIECE) {
      signal?.throwIfAborted();
      this.assertUsable();
      const length = Math.min(PIECE, data.byteLength - at);
      this.#checked(`upload ${buffer.label}`, () => {
        this.#write(buffer.gpu, offset + at, data.buffer, data.byteOffset + at, length);
      });
      this.#uploading += length;
      if (this.#uploading >= UPLOAD_WINDOW) await this.idle();
    }
    await this.settled();
  }

  #write(target: GPUBuffer, offset: number, source: ArrayBufferLike, at: number, length: number): void {
    const whole = length & ~3;
    if (whole > 0) this.gpu.queue.writeBuffer(target, offset, source, at, whole);
    if (whole === length) return;
    const tail = new Uint8Array(4);
    tail.set(new Uint8Array(source, at + whole, length - whole));
    this.gpu.queue.writeBuffer(target, offset + whole, tail);
  }

  /**
   * Copies bytes back to the host after everything submitted so far. `offset` a multiple of 4.
   * @throws DeviceError, DeviceLostError when earlier work failed
   */
  async read(
    buffer: ComputeBuffer,
    {
      offset = 0,
      byteLength = buffer.byteLength - offset,
      signal,
    }: { offset?: number; byteLength?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<ArrayBuffer> {
    const out = new Uint8Array(byteLength);
    // One piece is copied to the host while the next is on its way.
    const underway: Promise<void>[] = [];
    try {
      for (let at = 0; at < byteLength; at += PIECE) {
        signal?.throwIfAborted();
        this.assertUsable();
        const length = Math.min(PIECE, byteLength - at);
        const piece = this.#readPiece(buffer, offset + at, out.subarray(at, at + length));
        piece.catch(() => undefined);
        underway.push(piece);
        if (underway.length > 1) await underway.shift();
      }
    } finally {
      await Promise.all(underway);
    }
    await this.settled();
    return out.buffer;
  }

  /** Copies up to {@link PIECE} bytes into `out`. */
  async #readPiece(buffer: ComputeBuffer, offset: number, out: Uint8Array): Promise<void> {
    const padded = Math.ceil(out.byteLength / 4) * 4;
    const label = `read ${buffer.label}`;
    const staging = this.#checked(label, () => this.#takeStaging(padded));
    try {
      const mapped = this.guard(
        this.#checked(label, () => {
          const encoder = this.gpu.createCommandEncoder({ label });
          encoder.copyBufferToBuffer(buffer.gpu, offset, staging, 0, padded);
          this.gpu.queue.submit([encoder.finish()]);
          return staging.mapAsync(MAP_MODE_READ, 0, padded);
        }),
      );
      // What went wrong earlier is the better news: nobody awaits the map then.
      mapped.catch(() => undefined);
      await this.settled();
      await mapped;
      out.set(new Uint8Array(staging.getMappedRange(0, padded), 0, out.byteLength));
      staging.unmap();
    } catch (error) {
      staging.destroy();
      throw error;
    }
    this.#giveStaging(staging);
  }

  /** {@link read} as float32. */
  async readFloats(
    buffer: ComputeBuffer,
    options?: { offset?: number; byteLength?: number; signal?: AbortSignal | undefined },
  ): Promise<Float32Array> {
    return new Float32Array(await this.read(buffer, options));
  }

  /** Waits until the queue has done everything submitted so far, then throws what went wrong. */
  async idle(): Promise<void> {
    this.assertUsable();
    this.#uploading = 0;
    await this.guard(this.gpu.queue.onSubmittedWorkDone());
    await this.settled();
  }

  /** Waits until everything submitted so far has been validated, then throws what went wrong. */
  async settled(): Promise<void> {
    await this.guard(Promise.all(this.#checks));
    this.assertUsable();
  }

  /** The promise, or a rejection as soon as the device fails: what waits for a lost GPU may never settle by itself. */
  guard<T>(promise: Promise<T>): Promise<T> {
    if (this.#failure) {
      promise.catch(() => undefined);
      return Promise.reject(this.#failure);
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject);
      promise.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(reject);
          // A map that is refused because the device went away is followed by the news of the loss.
          void this.#afterLoss(error).then(reject);
        },
      );
    });
  }

  async #afterLoss(error: unknown): Promise<Error> {
    if (!this.#failure) await new Promise((resolve) => setTimeout(resolve, 0));
    return (
      this.#failure ?? new DeviceError(`A GPU operation failed: ${describe(error)}`, REPORT, { cause: error })
    );
  }

  /** Workgroup counts of a dispatch: a single number is folded into two dimensions where one does not hold it. */
  grid(workgroups: number | readonly [x: number, y: number, z: number]): readonly [number, number, number] {
    const most = this.gpu.limits.maxComputeWorkgroupsPerDimension;
    if (typeof workgroups === "number") {
      if (workgroups <= most) return [workgroups, 1, 1];
      // Rows of equal length waste fewer workgroups than one full row and a nearly empty one.
      const rows = Math.ceil(workgroups / most);
      if (rows <= most) return [Math.ceil(workgroups / rows), rows, 1];
    } else if (workgroups.every((count) => count <= most)) return workgroups;
    throw new OptionError(
      `A dispatch of [${workgroups.toString()}] workgroups exceeds the device's ${most} per dimension.`,
      "Split the work into smaller parts.",
    );
  }

  /** Runs recorded commands: see {@link CommandBatch.submit}. */
  run(label: string, commands: readonly Command[], uniforms: Uint8Array<ArrayBuffer>): void {
    this.assertUsable();
    this.#checked(label, () => {
      if (uniforms.byteLength > 0)
        this.gpu.queue.writeBuffer(this.#uniformBuffer(uniforms.byteLength), 0, uniforms);
      const encoder = this.gpu.createCommandEncoder({ label });
      let pass: GPUComputePassEncoder | undefined;
      for (const command of commands) {
        if (command.kind === "dispatch") {
          pass ??= encoder.beginComputePass({ label });
          const pipeline = this.#pipeline(command.kernel, command.overrides);
          pass.setPipeline(pipeline.gpu);
          pass.setBindGroup(0, this.#bindGroup(command, pipeline.layout));
          pass.dispatchWorkgroups(...command.workgroups);
          continue;
        }
        pass?.end();
        pass = undefined;
        if (command.kind === "clear") encoder.clearBuffer(command.buffer.gpu);
        else {
          const { from, fromOffset, to, toOffset, byteLength } = command;
          encoder.copyBufferToBuffer(from.gpu, fromOffset, to.gpu, toOffset, byteLength);
        }
      }
      pass?.end();
      this.gpu.queue.submit([encoder.finish()]);
    });
  }

  /**
   * Compiles kernels that were not compiled yet, side by side and without holding up the thread that asks for it. What is
   * not prepared is compiled at its first dispatch.
   * @throws DeviceError when a kernel does not compile, or needs a feature that the device lacks
   */
  async prepare(
    variants: readonly (readonly [kernel: Kernel, overrides?: Partial<Overrides>])[],
  ): Promise<void> {
    this.assertUsable();
    const pending: Promise<void>[] = [];
    for (const [kernel, changed] of variants) {
      this.requireFeatures(kernel);
      const overrides = { ...kernel.overrides, ...changed } as Overrides;
      const key = JSON.stringify(overrides);
      if (this.#variants(kernel).has(key)) continue;
      const compiling = this.#compiling(kernel);
      let compiled = compiling.get(key);
      if (!compiled) {
        compiled = this.#compileAsync(kernel, overrides, key).finally(() => compiling.delete(key));
        compiling.set(key, compiled);
      }
      pending.push(compiled);
    }
    await this.guard(Promise.all(pending));
  }

  async #compileAsync(kernel: Kernel, overrides: Overrides, key: string): Promise<void> {
    const { descriptor, layout } = this.#checked(`compile ${kernel.label}`, () =>
      this.#pipelineDescriptor(kernel, overrides, key),
    );
    try {
      const gpu = await this.gpu.createComputePipelineAsync(descriptor);
      this.#variants(kernel).set(key, { gpu, layout });
    } catch (error) {
      await this.settled();
      throw new DeviceError(`Kernel "${kernel.label}" does not compile: ${describe(error)}`, REPORT, {
        cause: error,
      });
    }
  }

  /** Compiles a kernel now rather than at its first dispatch. */
  compile(kernel: Kernel, overrides: Overrides = kernel.overrides): void {
    this.assertUsable();
    this.requireFeatures(kernel);
    this.#checked(`compile ${kernel.label}`, () => this.#pipeline(kernel, overrides));
  }

  #pipeline(kernel: Kernel, overrides: Overrides): Pipeline {
    const key = JSON.stringify(overrides);
    const variants = this.#variants(kernel);
    let pipeline = variants.get(key);
    if (!pipeline) {
      const { descriptor, layout } = this.#pipelineDescriptor(kernel, overrides, key);
      variants.set(key, (pipeline = { gpu: this.gpu.createComputePipeline(descriptor), layout }));
    }
    return pipeline;
  }

  #pipelineDescriptor(
    kernel: Kernel,
    overrides: Overrides,
    key: string,
  ): { descriptor: GPUComputePipelineDescriptor; layout: GPUBindGroupLayout } {
    const layout = this.#layout(kernel);
    const label = `${kernel.label} ${key}`;
    const descriptor: GPUComputePipelineDescriptor = {
      label,
      layout: this.gpu.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: { module: this.#module(kernel), entryPoint: kernel.entryPoint, constants: { ...overrides } },
    };
    return { descriptor, layout };
  }

  /** Compiled variants of a kernel, by their overrides. */
  #variants(kernel: Kernel): Map<string, Pipeline> {
    let variants = this.#pipelines.get(kernel);
    if (!variants) this.#pipelines.set(kernel, (variants = new Map<string, Pipeline>()));
    return variants;
  }

  /** Variants of a kernel that are being compiled. */
  #compiling(kernel: Kernel): Map<string, Promise<void>> {
    let compiling = this.#underway.get(kernel);
    if (!compiling) this.#underway.set(kernel, (compiling = new Map<string, Promise<void>>()));
    return compiling;
  }

  #module(kernel: Kernel): GPUShaderModule {
    let module = this.#modules.get(kernel);
    if (!module) {
      module = this.gpu.createShaderModule({ label: kernel.label, code: kernel.source });
      this.#modules.set(kernel, module);
    }
    return module;
  }

  #layout(kernel: Kernel): GPUBindGroupLayout {
    let layout = this.#layouts.get(kernel);
    if (!layout) {
      layout = this.gpu.createBindGroupLayout({
        label: kernel.label,
        entries: Object.values(kernel.bindings).map((kind, binding) => ({
          binding,
          visibility: SHADER_STAGE_COMPUTE,
          buffer:
            kind === "uniform"
              ? { type: "uniform", minBindingSize: paramBytes(kernel.params) }
              : { type: kind === "storage-read" ? "read-only-storage" : "storage" },
        })),
      });
      this.#layouts.set(kernel, layout);
    }
    return layout;
  }

  #bindGroup(command: Extract<Command, { kind: "dispatch" }>, layout: GPUBindGroupLayout): GPUBindGroup {
    const { kernel, bindings, paramsAt } = command;
    const entries = Object.entries(kernel.bindings).map(([name, kind], binding) => {
      if (kind === "uniform") {
        return {
          binding,
          resource: { buffer: this.#uniforms!, offset: paramsAt, size: paramBytes(kernel.params) },
        };
      }
      const source = bindings[name];
      if (source instanceof ComputeBuffer) return { binding, resource: { buffer: source.gpu } };
      const size = Math.max(4, Math.ceil(source.byteLength / 4) * 4);
      return { binding, resource: { buffer: source.buffer.gpu, offset: source.offset, size } };
    });
    return this.gpu.createBindGroup({ label: kernel.label, layout, entries });
  }

  /** The buffer that every batch's params are written to; the queue's order keeps batches apart. */
  #uniformBuffer(byteLength: number): GPUBuffer {
    if (!this.#uniforms || this.#uniforms.size < byteLength) {
      this.#uniforms?.destroy();
      this.#uniforms = this.gpu.createBuffer({
        label: "params",
        size: Math.max(4096, 2 ** Math.ceil(Math.log2(byteLength))),
        usage: Usage.uniform | Usage.copyTarget,
      });
    }
    return this.#uniforms;
  }

  #takeStaging(byteLength: number): GPUBuffer {
    const at = this.#staging.findIndex(({ size }) => size >= byteLength);
    if (at >= 0) return this.#staging.splice(at, 1)[0];
    const size = Math.max(4096, 2 ** Math.ceil(Math.log2(byteLength)));
    return this.gpu.createBuffer({ label: "staging", size, usage: Usage.mapRead | Usage.copyTarget });
  }

  #giveStaging(staging: GPUBuffer): void {
    const pooled = this.#staging.reduce((sum, { size }) => sum + size, 0);
    if (this.#disposed || pooled + staging.size > STAGING_POOL) staging.destroy();
    else this.#staging.push(staging);
  }

  /** Runs GPU calls inside error scopes; what they report is kept by {@link settled}. */
  #checked<T>(label: string, work: () => T): T {
    const kinds = ["internal", "out-of-memory", "validation"] as const;
    for (const kind of kinds) this.gpu.pushErrorScope(kind);
    try {
      return work();
    } finally {
      const popped = kinds.map(() => this.gpu.popErrorScope());
      const check: Promise<void> = Promise.all(popped).then(
        (errors) => {
          this.#checks.delete(check);
          const [validation, memory, internal] = errors;
          if (memory) {
            this.#fail(
              new OutOfMemoryError(
                `The device ran out of memory in "${label}": ${memory.message}`,
                "Use smaller batches and create a new backend.",
                { cause: memory },
              ),
            );
          }
          const error = validation ?? internal;
          if (error)
            this.#fail(
              new DeviceError(`GPU work "${label}" failed: ${error.message}`, REPORT, { cause: error }),
            );
        },
        // Scopes of a lost device may be rejected; the loss itself is reported by `lost`.
        () => void this.#checks.delete(check),
      );
      this.#checks.add(check);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const reject of this.#waiting) reject(this.#failure);
    this.#waiting.clear();
  }

  /**
   * Frees every buffer that was allocated here, and the device if it was made for us. Calls that are under way, and later
   * ones, throw a DisposedError.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#fail(new DisposedError("The backend was disposed of.", "Create a new one."));
    this.#uniforms?.destroy();
    for (const staging of this.#staging.splice(0)) staging.destroy();
    for (const reference of this.#live) reference.deref()?.dispose();
    if (this.#owned) this.gpu.destroy();
  }
}

const REPORT = "This is a defect of sparseprobe or of the GPU driver: please report it with this message.";

/** The adapter's name and driver, as far as it tells: browsers leave most of it empty. */
function deviceName(gpu: GPUDevice): string {
  const info = (gpu as Partial<Pick<GPUDevice, "adapterInfo">>).adapterInfo;
  const name = [info?.device, info?.architecture, info?.vendor].find(Boolean) ?? "WebGPU device";
  return info?.description ? `${name} (${info.description})` : name;
}

function megabytes(bytes: number): string {
  return bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
