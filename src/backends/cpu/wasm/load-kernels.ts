/** Instantiates the compiled kernels with a memory of their own. */
import { OutOfMemoryError } from "../../../errors.ts";
import { KERNELS_BASE64 } from "./kernels.generated.ts";

/** The kernels' functions; pointers are byte offsets in {@link WasmKernels.memory}, multiples of 16. */
export interface KernelFunctions {
  linear(
    x: number,
    xStride: number,
    w: number,
    panelDepth: number,
    bias: number,
    y: number,
    yStride: number,
    rows: number,
    k: number,
    n: number,
    edge: number,
  ): void;
  layerNorm(
    x: number,
    gain: number,
    bias: number,
    y: number,
    rows: number,
    width: number,
    epsilon: number,
  ): void;
  rotate(qkv: number, turns: number, rows: number, heads: number, dHead: number, dims: number): void;
  attend(
    qkv: number,
    z: number,
    rows: number,
    heads: number,
    dHead: number,
    scratch: number,
    zeros: number,
  ): void;
  erf(x: number, y: number, count: number): void;
  gelu(x: number, y: number, count: number): void;
  geluTanh(x: number, y: number, count: number): void;
  relu(x: number, y: number, count: number): void;
  add(x: number, y: number, count: number): void;
}

const PAGE = 65536;
/** WebAssembly's 32-bit address space. */
const ADDRESSABLE = 65536 * PAGE;

/** The kernels with a bump allocator over their memory. Nothing is freed but the whole. */
export class WasmKernels {
  readonly call: KernelFunctions;
  readonly #memory: WebAssembly.Memory;
  #used = 16;

  constructor(call: KernelFunctions, memory: WebAssembly.Memory) {
    this.call = call;
    this.#memory = memory;
  }

  /**
   * Reserves zeroed room for `length` floats and returns its byte offset.
   * @throws OutOfMemoryError when the address space or the machine has no room
   */
  allocate(length: number): number {
    const at = this.#used;
    const end = at + Math.ceil(length / 4) * 16;
    const missing = end - this.#memory.buffer.byteLength;
    if (missing > 0) {
      try {
        if (end > ADDRESSABLE) throw new RangeError("beyond 4 GiB");
        this.#memory.grow(Math.ceil(missing / PAGE));
      } catch (cause) {
        throw new OutOfMemoryError(
          `The CPU kernels need ${(end / 2 ** 30).toFixed(2)} GiB of WebAssembly memory and cannot have it ` +
            "(4 GiB is the most).",
          "Use the webgpu backend, a smaller model, or fewer tokens in a batch.",
          { cause },
        );
      }
    }
    this.#used = end;
    return at;
  }

  /** The floats at a byte offset. The view dies with the next {@link allocate}: use it at once. */
  view(at: number, length: number): Float32Array {
    return new Float32Array(this.#memory.buffer, at, length);
  }
}

let compiled: Promise<WebAssembly.Module> | undefined;

/** Whether this engine runs SIMD WebAssembly: the kernels validate. */
export function wasmSimdSupported(): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(kernelBytes());
}

function kernelBytes(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(KERNELS_BASE64), (character) => character.charCodeAt(0));
}

/** A fresh instance; the module is compiled once. */
export async function loadKernels(): Promise<WasmKernels> {
  compiled ??= WebAssembly.compile(kernelBytes());
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  const instance = await WebAssembly.instantiate(await compiled, { env: { memory } });
  return new WasmKernels(instance.exports as unknown as KernelFunctions, memory);
}
