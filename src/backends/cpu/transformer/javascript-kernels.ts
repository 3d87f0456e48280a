/** Transformer kernels in plain TypeScript with float64 sums: the fallback, and what the fast kernels are tested against. */
import { Activations } from "../../../data/activations.ts";
import type { TransformerSpec } from "../../backend.ts";
import { CpuActivations } from "../cpu-activations.ts";
import { Pacer } from "../pacer.ts";
import { aggregateRows } from "../reference/aggregate-rows.ts";
import { erf } from "./erf.ts";
import {
  rotaryTable,
  type FloatBuffer,
  type LinearMap,
  type NormWeights,
  type TransformerKernels,
} from "./kernels.ts";

class HostBuffer implements FloatBuffer {
  readonly length: number;
  readonly #data: Float32Array;

  constructor(data: Float32Array) {
    this.length = data.length;
    this.#data = data;
  }

  view(): Float32Array {
    return this.#data;
  }
}

class HostLinearMap implements LinearMap {
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
  readonly outputs: number;
  readonly inputs: number;

  constructor(weight: Float32Array, bias: Float32Array | null, outputs: number, inputs: number) {
    this.weight = weight;
    this.bias = bias;
    this.outputs = outputs;
    this.inputs = inputs;
  }
}

/** The MLP's non-linearity in float64. */
export function activationFunction(activation: TransformerSpec["activation"]): (x: number) => number {
  switch (activation) {
    case "gelu":
      return (x) => (x / 2) * (1 + erf(x * Math.SQRT1_2));
    case "gelu-tanh":
      return (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return (x) => Math.max(x, 0);
  }
}

export function javascriptKernels(spec: TransformerSpec): TransformerKernels<HostBuffer, HostLinearMap> {
  const { heads, dHead, rotaryDims, layerNormEpsilon } = spec;
  const turns = rotaryTable(spec, spec.context);
  const activation = activationFunction(spec.activation);
  let asked: ((pacer: Pacer) => void | Promise<void>)[] = [];

  function rotate(qkv: Float32Array, at: number, position: number): void {
    const half = rotaryDims / 2;
    const turn = position * rotaryDims;
    for (let i = 0; i < half; i++) {
      const cos = turns[turn + i];
      const sin = turns[turn + half + i];
      const a = qkv[at + i];
      const b = qkv[at + half + i];
      qkv[at + i] = a * cos - b * sin;
      qkv[at + half + i] = b * cos + a * sin;
    }
  }

  /** One row of (x − mean)/√(variance + ε)·gain + bias. */
  function normalise(x: Float32Array, norm: NormWeights, to: Float32Array): void {
    const gain = norm.gain.view();
    const bias = norm.bias.view();
    const width = gain.length;
    let mean = 0;
    for (let j = 0; j < width; j++) mean += x[j] / width;
    let variance = 0;
    for (let j = 0; j < width; j++) variance += (x[j] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + layerNormEpsilon);
    for (let j = 0; j < width; j++) to[j] = (x[j] - mean) * scale * gain[j] + bias[j];
  }

  /** One sequence's attention in one head; `at` is its first query in qkv, `out` its first place in z. */
  function attend(qkv: Float32Array, at: number, length: number, z: Float32Array, out: number): void {
    const stride = heads * 3 * dHead;
    const scores = new Float64Array(length);
    for (let q = 0; q < length; q++) {
      rotate(qkv, at + q * stride, q);
      rotate(qkv, at + q * stride + dHead, q);
    }
    for (let q = 0; q < length; q++) {
      const query = at + q * stride;
      let high = -Infinity;
      for (let k = 0; k <= q; k++) {
        const key = at + k * stride + dHead;
        let dot = 0;
        for (let i = 0; i < dHead; i++) dot += qkv[query + i] * qkv[key + i];
        scores[k] = dot / Math.sqrt(dHead);
        high = Math.max(high, scores[k]);
      }
      let total = 0;
      for (let k = 0; k <= q; k++) total += scores[k] = Math.exp(scores[k] - high);
      for (let i = 0; i < dHead; i++) {
        let sum = 0;
        for (let k = 0; k <= q; k++) sum += scores[k] * qkv[at + k * stride + 2 * dHead + i];
        z[out + q * heads * dHead + i] = sum / total;
      }
    }
  }

  return {
    name: "plain JavaScript",
    allocate: (length) => new HostBuffer(new Float32Array(length)),
    free: () => undefined,
    part: (buffer, from, length) => new HostBuffer(buffer.view().subarray(from, from + length)),
    linearMap: (weight, bias, outputs, inputs) => new HostLinearMap(weight, bias, outputs, inputs),

    linear(x, map, y, rows, { norm, activated, sum } = {}) {
      const { weight, bias, outputs, inputs } = map;
      const input = new Float32Array(inputs);
      asked.push(async (pacer) => {
        for (let r = 0; r < rows; r++) {
          const from = x.view().subarray(r * inputs, (r + 1) * inputs);
          if (norm) normalise(from, norm, input);
          else input.set(from);
          for (let o = 0; o < outputs; o++) {
            let product = bias ? bias[o] : 0;
            for (let i = 0; i < inputs; i++) product += input[i] * weight[o * inputs + i];
            const at = r * outputs + o;
            y.view()[at] = product;
            const value = y.view()[at];
            if (activated) activated.view()[at] = activation(value);
            if (sum) sum.to.view()[at] = sum.from.view()[at] + value + (sum.and?.view()[at] ?? 0);
          }
          if (pacer.due) await pacer.turn();
        }
      });
    },

    attention(qkv, offsets, z) {
      asked.push(async (pacer) => {
        for (let s = 0; s + 1 < offsets.length; s++) {
          for (let h = 0; h < heads; h++) {
            const at = (offsets[s] * heads + h) * dHead;
            attend(qkv.view(), 3 * at, offsets[s + 1] - offsets[s], z.view(), at);
            if (pacer.due) await pacer.turn();
          }
        }
      });
    },

    aggregate(x, width, how, segments, out, first) {
      asked.push(async (pacer) => {
        const rows = new Activations(x.view().subarray(0, x.length - (x.length % width)), [
          Math.floor(x.length / width),
          width,
        ]);
        const combined = await aggregateRows(rows, how, segments, pacer);
        out.view().set(combined.data, first * width);
      });
    },

    wait: () => undefined,

    async run({ signal } = {}) {
      const tasks = asked;
      asked = [];
      const pacer = new Pacer(signal);
      for (const task of tasks) await task(pacer);
    },

    drop: () => {
      asked = [];
    },

    lend: (buffer, rows, neurons, options) =>
      new CpuActivations(
        new Activations(buffer.view().subarray(0, rows * neurons), [rows, neurons], options),
      ),

    dispose: () => undefined,
  };
}
