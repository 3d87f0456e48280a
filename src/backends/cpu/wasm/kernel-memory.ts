/** The kernels' memory, and which parts of it are in use. */
import type { StorageType } from "../../../data/activations.ts";
import { OutOfMemoryError } from "../../../errors.ts";

const PAGE = 65_536;
/** WebAssembly's 32-bit address space. */
const ADDRESSABLE = 65_536 * PAGE;
/** Blocks start at cache lines. */
const LINE = 64;

/** Byte offset and length of a free stretch. */
interface Stretch {
  at: number;
  bytes: number;
}

/** First-fit allocator over a growing WebAssembly memory. It never shrinks; freed blocks are used again. */
export class KernelMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  /** Free stretches below {@link #end}, ascending, never adjacent. */
  readonly #free: Stretch[] = [];
  readonly #sizes = new Map<number, number>();
  /** Buffers that views were made of: see {@link #buffer}. */
  readonly #buffers = new WeakSet<ArrayBufferLike>();
  /** Nothing was ever allocated beyond. Offset 0 stays unused, so that no pointer is 0. */
  #end = LINE;

  constructor(shared: boolean) {
    this.shared = shared;
    this.memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536, shared });
  }

  /**
   * Reserves room and returns its byte offset, a multiple of 64. What is in it is undefined.
   * @throws OutOfMemoryError when the address space or the machine has no room
   */
  allocate(bytes: number): number {
    const size = Math.max(LINE, Math.ceil(bytes / LINE) * LINE);
    const found = this.#free.findIndex((stretch) => stretch.bytes >= size);
    let at: number;
    if (found >= 0) {
      const stretch = this.#free[found];
      at = stretch.at;
      stretch.at += size;
      stretch.bytes -= size;
      if (stretch.bytes === 0) this.#free.splice(found, 1);
    } else {
      // A free stretch at the very end is grown rather than left behind.
      const last = this.#free.at(-1);
      at = last && last.at + last.bytes === this.#end ? last.at : this.#end;
      this.#growTo(at + size);
      if (at !== this.#end) this.#free.pop();
      this.#end = at + size;
    }
    this.#sizes.set(at, size);
    return at;
  }

  /** Zeros for a matrix of `length` values in the storage type given, to be given back by {@link free}. */
  zeros(length: number, dtype: StorageType): Float32Array | Uint16Array | Uint8Array {
    const bytes = length * { f32: 4, f16: 2, u8: 1 }[dtype];
    const at = this.allocate(bytes);
    this.u8(at, bytes).fill(0);
    return dtype === "f32"
      ? this.f32(at, length)
      : dtype === "f16"
        ? this.u16(at, length)
        : this.u8(at, length);
  }

  /** Gives back what {@link allocate} returned; an offset that is not allocated is ignored. */
  free(at: number): void {
    const bytes = this.#sizes.get(at);
    if (bytes === undefined) return;
    this.#sizes.delete(at);
    let index = this.#free.findIndex((stretch) => stretch.at > at);
    if (index < 0) index = this.#free.length;
    this.#free.splice(index, 0, { at, bytes });
    const merge = (left: number): void => {
      if (left < 0 || left + 1 >= this.#free.length) return;
      const [a, b] = [this.#free[left], this.#free[left + 1]];
      if (a.at + a.bytes !== b.at) return;
      a.bytes += b.bytes;
      this.#free.splice(left + 1, 1);
    };
    merge(index);
    merge(index - 1);
  }

  /** Bytes in use. */
  get used(): number {
    let sum = 0;
    for (const bytes of this.#sizes.values()) sum += bytes;
    return sum;
  }

  /** Where a typed array lies in this memory; undefined when it lies elsewhere. */
  addressOf(view: ArrayBufferView): number | undefined {
    return this.#buffers.has(view.buffer) ? view.byteOffset : undefined;
  }

  /** Views of the memory. Without sharing they die with the next {@link allocate}: use them at once. */
  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.#buffer, at, length);
  }

  f64(at: number, length: number): Float64Array {
    return new Float64Array(this.#buffer, at, length);
  }

  u32(at: number, length: number): Uint32Array {
    return new Uint32Array(this.#buffer, at, length);
  }

  u16(at: number, length: number): Uint16Array {
    return new Uint16Array(this.#buffer, at, length);
  }

  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#buffer, at, length);
  }

  /**
   * The memory's buffer as it is now. Growing a shared memory makes a new one over the same bytes; V8 makes new ones for all
   * shared memories when any of them grows.
   */
  get #buffer(): ArrayBuffer {
    const { buffer } = this.memory;
    this.#buffers.add(buffer);
    return buffer;
  }

  #growTo(end: number): void {
    const missing = end - this.memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      if (end > ADDRESSABLE) throw new RangeError("beyond 4 GiB");
      this.memory.grow(Math.ceil(missing / PAGE));
    } catch (cause) {
      throw new OutOfMemoryError(
        `The CPU kernels need ${(end / 2 ** 30).toFixed(2)} GiB of WebAssembly memory and cannot have it ` +
          "(4 GiB is the most).",
        "Use the webgpu backend, a smaller model or batch, activations in f16 or u8, or fewer rows at a time.",
        { cause },
      );
    }
  }
}

/** Blocks that are given back together. */
export class Scope {
  readonly memory: KernelMemory;
  readonly #blocks: number[] = [];

  constructor(memory: KernelMemory) {
    this.memory = memory;
  }

  /** {@link KernelMemory.allocate}, until {@link close}. */
  allocate(bytes: number): number {
    const at = this.memory.allocate(bytes);
    this.#blocks.push(at);
    return at;
  }

  /** Allocates and fills with zeros. */
  zeros(bytes: number): number {
    const at = this.allocate(bytes);
    this.memory.u8(at, bytes).fill(0);
    return at;
  }

  /** A copy of the values, in the type that they have. */
  copyOf(values: Float32Array | Float64Array | Uint32Array | Uint16Array | Uint8Array | Int32Array): number {
    const at = this.allocate(values.byteLength);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.memory.u8(at, bytes.length).set(bytes);
    return at;
  }

  close(): void {
    for (const at of this.#blocks.splice(0)) this.memory.free(at);
  }
}
