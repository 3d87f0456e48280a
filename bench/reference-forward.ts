/** A GPT-NeoX forward pass in plain float64 loops, which captures are verified against. Written to be read. */
import type { TensorSource, TransformerSpec } from "sparseprobe";

interface Linear {
  /** [outputs × inputs] */
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/**
 * MLP activations of every layer of one text, [layer][tokens × dMlp]: rotary positions on a part of each head, attention and MLP
 * side by side, exact GELU (Black et al. 2022, GPT-NeoX-20B).
 */
export async function forwardLoop(
  spec: TransformerSpec,
  weights: TensorSource,
  tokens: ArrayLike<number>,
): Promise<Float64Array[]> {
  const { dModel, dMlp, heads, dHead } = spec;
  const { rotary } = spec.attention.layers[0];
  const n = tokens.length;
  const read = async (name: string): Promise<Float32Array> => (await weights.read(name)).data;
  const linear = async (name: string): Promise<Linear> => ({
    weight: await read(`${name}.weight`),
    bias: await read(`${name}.bias`),
  });
  const embedding = await read("gpt_neox.embed_in.weight");
  const x = Float64Array.from({ length: n * dModel }, (_, i) => {
    return embedding[tokens[Math.floor(i / dModel)] * dModel + (i % dModel)];
  });
  const captured: Float64Array[] = [];
  for (let layer = 0; layer < spec.layers; layer++) {
    const at = `gpt_neox.layers.${layer}`;
    const normed = normLoop(x, dModel, await linear(`${at}.input_layernorm`), spec.norm.epsilon);
    const qkv = productLoop(normed, dModel, await linear(`${at}.attention.query_key_value`));
    for (let t = 0; rotary && t < n; t++) {
      for (let h = 0; h < heads; h++) {
        for (const part of [0, dHead]) {
          turnLoop(qkv, (t * heads + h) * 3 * dHead + part, t, rotary.dims, rotary.base);
        }
      }
    }
    const mixed = attentionLoop(qkv, n, heads, dHead);
    const attention = productLoop(mixed, dModel, await linear(`${at}.attention.dense`));
    const entering = normLoop(x, dModel, await linear(`${at}.post_attention_layernorm`), spec.norm.epsilon);
    const neurons = productLoop(entering, dModel, await linear(`${at}.mlp.dense_h_to_4h`)).map(
      (value) => (value / 2) * (1 + erf(value * Math.SQRT1_2)),
    );
    captured.push(neurons);
    const mlp = productLoop(neurons, dMlp, await linear(`${at}.mlp.dense_4h_to_h`));
    for (let i = 0; i < x.length; i++) x[i] += attention[i] + mlp[i];
  }
  return captured;
}

/** (x − mean)/√(variance + ε)·weight + bias, row by row. */
function normLoop(x: Float64Array, width: number, { weight, bias }: Linear, epsilon: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += width) {
    const row = x.subarray(at, at + width);
    const mean = row.reduce((sum, value) => sum + value, 0) / width;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    for (let j = 0; j < width; j++) {
      out[at + j] = ((row[j] - mean) / Math.sqrt(variance + epsilon)) * weight[j] + bias[j];
    }
  }
  return out;
}

/** x·Wᵀ + bias. */
function productLoop(x: Float64Array, inputs: number, { weight, bias }: Linear): Float64Array {
  const outputs = bias.length;
  const rows = x.length / inputs;
  const out = new Float64Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += x[r * inputs + i] * weight[o * inputs + i];
      out[r * outputs + o] = sum;
    }
  }
  return out;
}

/** Turns the pairs (i, i + dims/2) of one head by position · base^(−2i/dims). */
function turnLoop(x: Float64Array, at: number, position: number, dims: number, base: number): void {
  const half = dims / 2;
  for (let i = 0; i < half; i++) {
    const angle = position * base ** ((-2 * i) / dims);
    const [a, b] = [x[at + i], x[at + half + i]];
    x[at + i] = a * Math.cos(angle) - b * Math.sin(angle);
    x[at + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
  }
}

/** softmax(q·k/√dHead)·v over all earlier tokens; a token's values are [heads × (query, key, value) × dHead]. */
function attentionLoop(qkv: Float64Array, tokens: number, heads: number, dHead: number): Float64Array {
  const out = new Float64Array(tokens * heads * dHead);
  const at = (token: number, head: number, part: number): number =>
    ((token * heads + head) * 3 + part) * dHead;
  for (let h = 0; h < heads; h++) {
    for (let t = 0; t < tokens; t++) {
      const scores = Float64Array.from({ length: t + 1 }, (_, s) => {
        let dot = 0;
        for (let i = 0; i < dHead; i++) dot += qkv[at(t, h, 0) + i] * qkv[at(s, h, 1) + i];
        return dot / Math.sqrt(dHead);
      });
      const high = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - high));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let i = 0; i < dHead; i++) {
        for (let s = 0; s <= t; s++) {
          out[(t * heads + h) * dHead + i] += (weights[s] / total) * qkv[at(s, h, 2) + i];
        }
      }
    }
  }
  return out;
}

/** 2/√π·exp(−x²)·Σ 2ⁿx²ⁿ⁺¹/(2n + 1)!! (Abramowitz and Stegun 7.1.6); from 6 on it is 1 in float64. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
