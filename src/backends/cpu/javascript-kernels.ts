/** Transformer kernels in plain TypeScript with float64 sums: the fallback, and what the fast kernels are tested against. */
import type { TransformerSpec } from "../backend.ts";
import { erf } from "./erf.ts";
import type { FloatBuffer, LinearMap, TransformerKernels } from "./transformer-kernels.ts";
import { rotaryTable } from "./transformer-kernels.ts";

class HostBuffer implements FloatBuffer {
  readonly length: number;
  readonly #data: Float32Array;

  constructor(length: number) {
    this.length = length;
    this.#data = new Float32Array(length);
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
  const { heads, dHead, rotaryDims } = spec;
  const turns = rotaryTable(spec, spec.context);
  const activation = activationFunction(spec.activation);

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

  return {
    name: "plain JavaScript",
    allocate: (length) => new HostBuffer(length),
    linearMap: (weight, bias, outputs, inputs) => new HostLinearMap(weight, bias, outputs, inputs),

    linear(x, map, y, rows) {
      const { weight, bias, outputs, inputs } = map;
      const from = x.view();
      const to = y.view();
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < outputs; o++) {
          let sum = bias ? bias[o] : 0;
          for (let i = 0; i < inputs; i++) sum += from[r * inputs + i] * weight[o * inputs + i];
          to[r * outputs + o] = sum;
        }
      }
    },

    layerNorm(x, norm, y, rows, epsilon) {
      const width = norm.gain.length;
      const gain = norm.gain.view();
      const bias = norm.bias.view();
      const from = x.view();
      const to = y.view();
      for (let at = 0; at < rows * width; at += width) {
        let mean = 0;
        for (let j = 0; j < width; j++) mean += from[at + j] / width;
        let variance = 0;
        for (let j = 0; j < width; j++) variance += (from[at + j] - mean) ** 2 / width;
        const scale = 1 / Math.sqrt(variance + epsilon);
        for (let j = 0; j < width; j++) to[at + j] = (from[at + j] - mean) * scale * gain[j] + bias[j];
      }
    },

    attention(qkvBuffer, offsets, zBuffer) {
      const qkv = qkvBuffer.view();
      const z = zBuffer.view();
      const stride = heads * 3 * dHead;
      for (let s = 0; s + 1 < offsets.length; s++) {
        const start = offsets[s];
        const length = offsets[s + 1] - start;
        const scores = new Float64Array(length);
        for (let h = 0; h < heads; h++) {
          for (let q = 0; q < length; q++) {
            const query = (start + q) * stride + h * 3 * dHead;
            rotate(qkv, query, q);
            rotate(qkv, query + dHead, q);
          }
          for (let q = 0; q < length; q++) {
            const query = (start + q) * stride + h * 3 * dHead;
            let high = -Infinity;
            for (let k = 0; k <= q; k++) {
              const key = (start + k) * stride + h * 3 * dHead + dHead;
              let dot = 0;
              for (let i = 0; i < dHead; i++) dot += qkv[query + i] * qkv[key + i];
              scores[k] = dot / Math.sqrt(dHead);
              high = Math.max(high, scores[k]);
            }
            let total = 0;
            for (let k = 0; k <= q; k++) total += scores[k] = Math.exp(scores[k] - high);
            const out = (start + q) * heads * dHead + h * dHead;
            for (let i = 0; i < dHead; i++) {
              let sum = 0;
              for (let k = 0; k <= q; k++) {
                sum += scores[k] * qkv[(start + k) * stride + h * 3 * dHead + 2 * dHead + i];
              }
              z[out + i] = sum / total;
            }
          }
        }
      }
    },

    activate(x, y, count) {
      const from = x.view();
      const to = y.view();
      for (let i = 0; i < count; i++) to[i] = activation(from[i]);
    },

    add(x, y, count) {
      const from = x.view();
      const to = y.view();
      for (let i = 0; i < count; i++) to[i] += from[i];
    },
  };
}
