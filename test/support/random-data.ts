/** Seeded data for tests. */
import { Activations } from "../../src/data/activations.ts";
import { LabelMatrix, UNLABELLED } from "../../src/data/labels.ts";
import { Random } from "../../src/random.ts";

/** Standard normal draws (Box–Muller). */
export function normals(random: Random, count: number): Float64Array {
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform()),
  );
}

/** Rows × neurons with a scale and an offset of its own for each neuron. */
export function randomActivations(seed: number, rows: number, neurons: number): Activations {
  const random = new Random(seed, "activations");
  const scale = Float64Array.from({ length: neurons }, () => 0.1 + 3 * random.uniform());
  const offset = Float64Array.from({ length: neurons }, () => 4 * random.uniform() - 2);
  const data = Float32Array.from(
    normals(random, rows * neurons),
    (value, i) => scale[i % neurons] * value + offset[i % neurons],
  );
  return new Activations(data, [rows, neurons]);
}

/** Labels that depend on one neuron per feature and on noise; a share of rows is left unlabelled. */
export function randomLabels(seed: number, x: Activations, features: number, unlabelled = 0): LabelMatrix {
  const random = new Random(seed, "labels");
  const values = new Uint8Array(features * x.rows);
  const row = new Float32Array(x.neurons);
  for (let f = 0; f < features; f++) {
    const column = Array.from({ length: x.rows }, (_, i) => x.decodeRow(i, row)[f % x.neurons]);
    const mean = column.reduce((sum, value) => sum + value / x.rows, 0);
    for (const [i, value] of column.entries()) {
      const positive = value - mean + 2 * (random.uniform() - 0.5) > 0.1;
      values[f * x.rows + i] = random.uniform() < unlabelled ? UNLABELLED : positive ? 1 : 0;
    }
  }
  return new LabelMatrix(
    Array.from({ length: features }, (_, f) => `feature ${f}`),
    x.rows,
    values,
  );
}
