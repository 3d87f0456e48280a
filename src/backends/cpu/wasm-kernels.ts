/** Transformer kernels in WebAssembly SIMD (sources in wasm/assembly). */
import type { TransformerSpec } from "../backend.ts";
import type { FloatBuffer, LinearMap, TransformerKernels } from "./transformer-kernels.ts";
import { rotaryTable } from "./transformer-kernels.ts";
import type { TransformerModule } from "./wasm/transformer-module.ts";

/** Columns of a packed panel and rows of a tile, as in wasm/assembly/linear.ts. */
const PANEL = 8;
const TILE_ROWS = 6;

const roundUp = (n: number): number => Math.ceil(n / PANEL) * PANEL;

class WasmBuffer implements FloatBuffer {
  readonly at: number;
  readonly length: number;
  readonly #wasm: TransformerModule;

  constructor(wasm: TransformerModule, length: number) {
    this.#wasm = wasm;
    this.length = length;
    this.at = wasm.allocate(length);
  }

  view(): Float32Array {
    return this.#wasm.view(this.at, this.length);
  }
}

class PackedLinearMap implements LinearMap {
  readonly inputs: number;
  readonly outputs: number;
  readonly weight: WasmBuffer;
  readonly bias: WasmBuffer;

  constructor(
    wasm: TransformerModule,
    weight: Float32Array,
    bias: Float32Array | null,
    outputs: number,
    inputs: number,
  ) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.weight = new WasmBuffer(wasm, roundUp(outputs) * inputs);
    this.bias = new WasmBuffer(wasm, roundUp(outputs));
    if (bias) this.bias.view().set(bias);
    const packed = this.weight.view();
    for (let o = 0; o < outputs; o++) {
      const panel = (o - (o % PANEL)) * inputs + (o % PANEL);
      const row = o * inputs;
      for (let i = 0; i < inputs; i++) packed[panel + i * PANEL] = weight[row + i];
    }
  }
}

/** @param wasm an instance whose memory these kernels own */
export function wasmKernels(
  wasm: TransformerModule,
  spec: TransformerSpec,
): TransformerKernels<WasmBuffer, PackedLinearMap> {
  const { heads, dHead, rotaryDims, context } = spec;
  const { call } = wasm;
  const edge = wasm.allocate(TILE_ROWS * PANEL);
  const turns = new WasmBuffer(wasm, context * rotaryDims);
  turns.view().set(rotaryTable(spec, context));
  const zeros = wasm.allocate(Math.max(roundUp(context), roundUp(dHead)));
  // Sized for the longest sequence seen so far: contexts are long and texts are usually short.
  let scratch = { at: 0, rows: 0 };
  const activation = ({ gelu: "gelu", "gelu-tanh": "geluTanh", relu: "relu" } as const)[spec.activation];
  const whole = (count: number): number => Math.ceil(count / 4) * 4;

  function scratchFor(rows: number): number {
    if (rows > scratch.rows) {
      const t8 = roundUp(Math.min(context, Math.max(rows, 2 * scratch.rows)));
      scratch = { at: wasm.allocate(48 + t8 * (dHead + roundUp(dHead) + 48)), rows: t8 };
    }
    return scratch.at;
  }

  return {
    name: "WebAssembly SIMD",
    allocate: (length) => new WasmBuffer(wasm, length),
    linearMap: (weight, bias, outputs, inputs) => new PackedLinearMap(wasm, weight, bias, outputs, inputs),

    linear(x, map, y, rows) {
      const { inputs, outputs, weight, bias } = map;
      const from = x.at;
      const to = y.at;
      call.linear(from, inputs, weight.at, inputs, bias.at, to, outputs, rows, inputs, outputs, edge);
    },

    layerNorm(x, norm, y, rows, epsilon) {
      const { gain, bias } = norm;
      call.layerNorm(x.at, gain.at, bias.at, y.at, rows, gain.length, epsilon);
    },

    attention(qkv, offsets, z) {
      const from = qkv.at;
      const to = z.at;
      for (let s = 0; s + 1 < offsets.length; s++) {
        const rows = offsets[s + 1] - offsets[s];
        const at = from + offsets[s] * heads * 3 * dHead * 4;
        call.rotate(at, turns.at, rows, heads, dHead, rotaryDims);
        call.attend(at, to + offsets[s] * heads * dHead * 4, rows, heads, dHead, scratchFor(rows), zeros);
      }
    },

    activate(x, y, count) {
      call[activation](x.at, y.at, whole(count));
    },

    add(x, y, count) {
      call.add(x.at, y.at, whole(count));
    },
  };
}
