/**
 * The transformer's steps as plain float64 loops, and bounds on what float32 arithmetic may lose. u = 2⁻²⁴ is the unit
 * roundoff; a sum of n products in any order is within γ_n·Σ|x·w| with γ_n = n·u/(1 − n·u) (Higham, "Accuracy and
 * Stability of Numerical Algorithms", 2002, section 3.1).
 */
import { Random } from "../../src/random.ts";

export const UNIT: number = 2 ** -24;

export function gamma(n: number): number {
  return (n * UNIT) / (1 - n * UNIT);
}

/** Values with their bounds. */
export interface Expected {
  readonly want: Float64Array;
  readonly bound: Float64Array;
}

/** Uniform values in [−scale, scale). */
export function randomFloats(length: number, name: string, scale = 1): Float32Array {
  const random = new Random(7, name);
  return Float32Array.from({ length }, () => scale * (2 * random.uniform() - 1));
}

/** y = x·Wᵀ + bias, W [outputs × inputs]. */
export function linearOracle(
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  inputs: number,
): Expected {
  const outputs = bias.length;
  const rows = x.length / inputs;
  const want = new Float64Array(rows * outputs);
  const bound = new Float64Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      let size = Math.abs(bias[o]);
      for (let i = 0; i < inputs; i++) {
        const product = x[r * inputs + i] * weight[o * inputs + i];
        sum += product;
        size += Math.abs(product);
      }
      want[r * outputs + o] = sum;
      bound[r * outputs + o] = gamma(inputs + 2) * size;
    }
  }
  return { want, bound };
}

/** (x − mean)/√(variance + epsilon)·gain + bias; not `centred`: with 0 for the mean. */
export function layerNormOracle(
  x: Float32Array,
  gain: Float32Array,
  bias: Float32Array,
  epsilon: number,
  centred = true,
): Expected {
  const width = gain.length;
  const want = new Float64Array(x.length);
  const bound = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += width) {
    const row = x.subarray(at, at + width);
    const mean = centred ? row.reduce((sum, value) => sum + value, 0) / width : 0;
    const size = row.reduce((sum, value) => sum + Math.abs(value), 0) / width;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    const scale = 1 / Math.sqrt(variance + epsilon);
    // The mean is off by γ·size, a shift of every centred value. The variance is then off by γ of itself and by the
    // square of that shift; the square root and the division of WGSL are off by 2.5 and 4.5 units in the last place.
    const shift = gamma(width + 2) * size;
    const relative = gamma(width + 24) + (shift * scale) ** 2;
    for (let j = 0; j < width; j++) {
      const value = (row[j] - mean) * scale * gain[j];
      want[at + j] = value + bias[j];
      bound[at + j] =
        (relative + gamma(8)) * Math.abs(value) +
        1.01 * shift * scale * Math.abs(gain[j]) +
        gamma(2) * (Math.abs(value) + Math.abs(bias[j]));
    }
  }
  return { want, bound };
}

/** What attention is told besides its values. */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
  readonly window: number;
  /** 0: none. */
  readonly softcap: number;
  readonly scale: number;
}

/** Causal attention of packed sequences over qkv [tokens × (heads + 2·kvHeads) × headWidth], already rotated. */
export function attentionOracle(
  qkv: Float32Array,
  offsets: ArrayLike<number>,
  { heads, kvHeads, headWidth, window, softcap, scale }: AttentionShape,
): Expected {
  const tokens = offsets[offsets.length - 1];
  const want = new Float64Array(tokens * heads * headWidth);
  const bound = new Float64Array(want.length);
  /** A head of queries, or its keys or values. */
  const at = (token: number, head: number, part: 0 | 1 | 2): number => {
    const group = heads + Math.floor(head / (heads / kvHeads)) + (part - 1) * kvHeads;
    return (token * (heads + 2 * kvHeads) + (part === 0 ? head : group)) * headWidth;
  };
  for (let s = 0; s + 1 < offsets.length; s++) {
    for (let head = 0; head < heads; head++) {
      for (let q = offsets[s]; q < offsets[s + 1]; q++) {
        const scores: number[] = [];
        let error = 0;
        const first = Math.max(offsets[s], q - window + 1);
        for (let k = first; k <= q; k++) {
          let dot = 0;
          let size = 0;
          for (let i = 0; i < headWidth; i++) {
            const product = qkv[at(q, head, 0) + i] * qkv[at(k, head, 1) + i];
            dot += product;
            size += Math.abs(product);
          }
          // A soft limit has a slope of 1 at most, and roundings of its own.
          scores.push(softcap > 0 ? softcap * Math.tanh((dot * scale) / softcap) : dot * scale);
          error = Math.max(error, gamma(headWidth + 3) * size * scale + gamma(30) * softcap);
        }
        const high = Math.max(...scores);
        const low = Math.min(...scores);
        const shares = scores.map((score) => Math.exp(score - high));
        const total = shares.reduce((sum, share) => sum + share, 0);
        // A share is off by the error of two scores, by that of exp (3 + 2|x| units in the last place of each of the
        // exponentials that make it up: its own and the rescalings, which add up to at most the range of the scores),
        // and by a product per rescaling; total and sum then add γ of the number of keys each.
        const keys = scores.length;
        const relative = 2 * error + 2 * UNIT * (3 * (keys + 1) + 4 * (high - low)) + 2 * gamma(2 * keys + 6);
        for (let i = 0; i < headWidth; i++) {
          let sum = 0;
          let size = 0;
          for (const [j, share] of shares.entries()) {
            const value = qkv[at(first + j, head, 2) + i];
            sum += (share / total) * value;
            size += (share / total) * Math.abs(value);
          }
          const place = (q * heads + head) * headWidth + i;
          want[place] = sum;
          bound[place] = 2 * relative * size + 1e-37;
        }
      }
    }
  }
  return { want, bound };
}
