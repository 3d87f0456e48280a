/** Transformer kernels in plain TypeScript with float64 sums: the fallback, and what the fast kernels are tested against. */
import { Activations } from "../../../data/activations.ts";
import type { MlpActivation, RotarySpec, TransformerSpec } from "../../backend.ts";
import { rotaryTable } from "../../rotary.ts";
import { CpuActivations } from "../cpu-activations.ts";
import { Pacer } from "../pacer.ts";
import { aggregateRows } from "../reference/aggregate-rows.ts";
import { erf } from "./erf.ts";
import type { FloatBuffer, LinearMap, NormWeights, TransformerKernels } from "./kernels.ts";

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
export function activationFunction(activation: MlpActivation): (x: number) => number {
  switch (activation) {
    case "gelu":
      return (x) => (x / 2) * (1 + erf(x * Math.SQRT1_2));
    case "gelu-tanh":
      return (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return (x) => Math.max(x, 0);
    case "silu":
      return (x) => x / (1 + Math.exp(-x));
  }
}

export function javascriptKernels(spec: TransformerSpec): TransformerKernels<HostBuffer, HostLinearMap> {
  const { heads, kvHeads, dHead } = spec;
  const { scale, softcap } = spec.attention;
  const stride = (heads + 2 * kvHeads) * dHead;
  const activation = activationFunction(spec.mlp.activation);
  let asked: ((pacer: Pacer) => void | Promise<void>)[] = [];

  function rotate(
    qkv: Float32Array,
    at: number,
    turns: Float32Array,
    { dims }: RotarySpec,
    position: number,
  ): void {
    const half = dims / 2;
    const turn = position * dims;
    for (let i = 0; i < half; i++) {
      const cos = turns[turn + i];
      const sin = turns[turn + half + i];
      const a = qkv[at + i];
      const b = qkv[at + half + i];
      qkv[at + i] = a * cos - b * sin;
      qkv[at + half + i] = b * cos + a * sin;
    }
  }

  /** One row of (x − mean)/√(variance + ε)·gain + bias, or of x/√(mean of squares + ε)·gain. */
  function normalise(x: Float32Array, norm: NormWeights, to: Float32Array): void {
    const gain = norm.gain.view();
    const bias = norm.bias?.view();
    const width = gain.length;
    let mean = 0;
    if (spec.norm.kind === "layer") for (let j = 0; j < width; j++) mean += x[j] / width;
    let variance = 0;
    for (let j = 0; j < width; j++) variance += (x[j] - mean) ** 2 / width;
    const inverse = 1 / Math.sqrt(variance + spec.norm.epsilon);
    for (let j = 0; j < width; j++) to[j] = (x[j] - mean) * inverse * gain[j] + (bias ? bias[j] : 0);
  }

  /**
   * One sequence's attention of one head of queries over already rotated queries and keys, whose first rows begin at `first`
   * in qkv; `out` is the head's first place in z.
   */
  function attend(
    qkv: Float32Array,
    first: number,
    head: number,
    length: number,
    window: number,
    z: Float32Array,
    out: number,
  ): void {
    const scores = new Float64Array(length);
    const group = heads + Math.floor((head * kvHeads) / heads);
    for (let q = 0; q < length; q++) {
      const query = first + q * stride + head * dHead;
      const start = Math.max(0, q - window + 1);
      let high = -Infinity;
      for (let k = start; k <= q; k++) {
        const key = first + k * stride + group * dHead;
        let dot = 0;
        for (let i = 0; i < dHead; i++) dot += qkv[query + i] * qkv[key + i];
        dot *= scale;
        scores[k] = softcap === null ? dot : softcap * Math.tanh(dot / softcap);
        high = Math.max(high, scores[k]);
      }
      let total = 0;
      for (let k = start; k <= q; k++) total += scores[k] = Math.exp(scores[k] - high);
      for (let i = 0; i < dHead; i++) {
        let sum = 0;
        for (let k = start; k <= q; k++) {
          sum += scores[k] * qkv[first + k * stride + (group + kvHeads) * dHead + i];
        }
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
    weightsOf: ({ weight, inputs }, output, to) => {
      to.set(weight.subarray(output * inputs, (output + 1) * inputs));
    },
    biasOf: ({ bias }, output) => bias?.[output] ?? 0,
    freeMap: () => undefined,

    linear(x, map, y, rows, { norm, softcap: limit, activated, factor, sum } = {}) {
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
            y.view()[at] = limit ? limit * Math.tanh(product / limit) : product;
            const value = y.view()[at];
            if (activated) activated.view()[at] = activation(value) * (factor?.view()[at] ?? 1);
            if (sum) sum.to.view()[at] = sum.from.view()[at] + value + (sum.and?.view()[at] ?? 0);
          }
          if (pacer.due) await pacer.turn();
        }
      });
    },

    attention(qkv, offsets, z, { rotary, window }) {
      asked.push(async (pacer) => {
        const x = qkv.view();
        for (let s = 0; s + 1 < offsets.length; s++) {
          const length = offsets[s + 1] - offsets[s];
          const first = offsets[s] * stride;
          const turns = rotary && rotaryTable(rotary, length);
          for (let t = 0; turns && t < length; t++) {
            for (let h = 0; h < heads + kvHeads; h++) {
              rotate(x, first + t * stride + h * dHead, turns, rotary, t);
            }
          }
          for (let h = 0; h < heads; h++) {
            const out = (offsets[s] * heads + h) * dHead;
            attend(x, first, h, length, window ?? Infinity, z.view(), out);
            if (pacer.due) await pacer.turn();
          }
        }
      });
    },

    normalise(x, norm, rows, { stride: step, first, count }, sum) {
      asked.push(() => {
        const width = norm.gain.length;
        for (let r = 0; r < rows; r++) {
          for (let p = 0; p < count; p++) {
            const at = r * step + first + p * width;
            const part = x.view().subarray(at, at + width);
            normalise(part, norm, part);
            if (sum) part.forEach((value, j) => (sum.view()[at + j] += value));
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

    change(x, width, rows, { kind, columns, values }) {
      asked.push(() => {
        const data = x.view();
        const list = typeof rows === "number" ? Uint32Array.from({ length: rows }, (_, r) => r) : rows;
        for (const row of list) {
          for (const [i, column] of columns.entries()) {
            const at = row * width + column;
            const value = values[i];
            data[at] = kind === "set" ? value : kind === "scale" ? data[at] * value : data[at] + value;
          }
        }
      });
    },

    activate(x, y, count, factor) {
      asked.push(() => {
        for (let i = 0; i < count; i++) y.view()[i] = activation(x.view()[i]) * (factor?.view()[i] ?? 1);
      });
    },

    add(x, and, to, count) {
      asked.push(() => {
        for (let i = 0; i < count; i++) to.view()[i] = to.view()[i] + x.view()[i] + (and?.view()[i] ?? 0);
      });
    },

    losses(x, { weight, bias, outputs, inputs }, targets, out, { norm, softcap: limit }) {
      const input = new Float32Array(inputs);
      asked.push(async (pacer) => {
        for (const [r, target] of targets.entries()) {
          const from = x.view().subarray(r * inputs, (r + 1) * inputs);
          if (norm) normalise(from, norm, input);
          else input.set(from);
          let high = -Infinity;
          let total = 0;
          let own = 0;
          for (let o = 0; o < outputs; o++) {
            let logit = bias ? bias[o] : 0;
            for (let i = 0; i < inputs; i++) logit += input[i] * weight[o * inputs + i];
            if (limit) logit = limit * Math.tanh(logit / limit);
            if (o === target) own = logit;
            if (logit > high) {
              total *= Math.exp(high - logit);
              high = logit;
            }
            total += Math.exp(logit - high);
          }
          out[r] = Math.log(total) + high - own;
          if (pacer.due) await pacer.turn();
        }
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
