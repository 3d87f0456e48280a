/** The transformer kernels with a memory of their own. */
import { KernelMemory } from "./kernel-memory.ts";
import { compileKernels, instantiateKernels, type KernelVariant } from "./load-kernels.ts";

/** The kernels' functions; pointers are byte offsets in the memory, multiples of 16. */
export interface TransformerFunctions {
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

export class TransformerModule {
  readonly call: TransformerFunctions;
  readonly #memory: KernelMemory;

  constructor(call: TransformerFunctions, memory: KernelMemory) {
    this.call = call;
    this.#memory = memory;
  }

  /**
   * Reserves zeroed room for `length` floats and returns its byte offset.
   * @throws OutOfMemoryError when the address space or the machine has no room
   */
  allocate(length: number): number {
    const at = this.#memory.allocate(4 * length);
    this.view(at, length).fill(0);
    return at;
  }

  /** The floats at a byte offset. The view dies with the next {@link allocate}: use it at once. */
  view(at: number, length: number): Float32Array {
    return this.#memory.f32(at, length);
  }
}

export async function loadTransformerModule(variant: KernelVariant): Promise<TransformerModule> {
  const memory = new KernelMemory(false);
  const functions = await instantiateKernels(await compileKernels(variant, false), memory.memory);
  return new TransformerModule(functions as unknown as TransformerFunctions, memory);
}
