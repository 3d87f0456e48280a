/** Frequencies and angles of rotary position embeddings, rounded to float32 where torch rounds them. */
import type { RotarySpec } from "./backend.ts";

/** Cosines and sines of all angles are multiplied by this. */
export function rotaryMagnitude({ scaling }: RotarySpec): number {
  return scaling?.kind === "yarn" ? scaling.magnitude : 1;
}

/** The angle of each rotated pair from one position to the next, [dims/2]. */
export function rotaryFrequencies({ dims, base, scaling }: RotarySpec): Float32Array {
  const half = dims / 2;
  const powers = Float32Array.from({ length: half }, (_, i) => base ** ((2 * i) / dims));
  const plain = powers.map((power) => 1 / power);
  if (!scaling) return plain;
  const { factor } = scaling;
  if (scaling.kind === "linear") return plain.map((frequency) => frequency / factor);
  if (scaling.kind === "llama3") {
    const { lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
    return plain.map((frequency) => {
      const turns = (originalContext * frequency) / (2 * Math.PI);
      if (turns < low) return frequency / factor;
      if (turns > high) return frequency;
      const smooth = (turns - low) / (high - low);
      return ((1 - smooth) * frequency) / factor + smooth * frequency;
    });
  }
  // The dimension that turns so many times within the original context.
  const dimension = (turns: number): number =>
    (dims * Math.log(scaling.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  let low = dimension(scaling.betaFast);
  let high = dimension(scaling.betaSlow);
  if (scaling.truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, dims - 1);
  const width = low === high ? 0.001 : high - low;
  return plain.map((frequency, i) => {
    const stretched = Math.min(Math.max((i - low) / width, 0), 1);
    return stretched / (factor * powers[i]) + (1 - stretched) * frequency;
  });
}

/**
 * cos and sin of position · frequency for every position and rotated pair, [positions × 2 × dims/2]. Angles are rounded to
 * float32, so that long contexts agree with torch's.
 */
export function rotaryTable(rotary: RotarySpec, positions: number): Float32Array {
  const half = rotary.dims / 2;
  const magnitude = rotaryMagnitude(rotary);
  const frequencies = rotaryFrequencies(rotary);
  const table = new Float32Array(positions * 2 * half);
  for (let i = 0; i < half; i++) {
    for (let position = 0; position < positions; position++) {
      const angle = Math.fround(position * frequencies[i]);
      table[position * 2 * half + i] = magnitude * Math.cos(angle);
      table[position * 2 * half + half + i] = magnitude * Math.sin(angle);
    }
  }
  return table;
}
