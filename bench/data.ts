/**
 * Activations and labels for the jobs: made once per run from a seed, written as .npy and read by both sides.
 *
 * Gaussian-like noise, eight common factors, labels that shift 64 neurons each by geometrically falling amounts, and an
 * offset and a log-normal scale per neuron.
 */
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Activations, LabelMatrix, writeNpy } from "sparseprobe";

export const FEATURES = 64;
const FACTORS = 8;
const INFORMED = 64;

export interface Sizes {
  readonly rows: number;
  readonly neurons: number;
}

/** Paths of what {@link writeData} wrote. */
export interface DataFiles extends Sizes {
  readonly x: string;
  readonly labels: string;
  readonly folder: string;
}

/** sfc32 (Doty-Humphrey, PractRand): the library's counter-based generator would take a minute for 10^8 numbers. */
export function generator(seed: number): () => number {
  let [a, b, c, counter] = [seed >>> 0, 0x9e3779b9, 0x243f6a88, 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}

/** Sum of four uniform numbers, standardised: close to a Gaussian, at two words each. */
export function normalFrom(next: () => number): () => number {
  const scale = Math.sqrt(3) / 65536;
  return () => {
    const u = next();
    const v = next();
    return ((u & 0xffff) + (u >>> 16) + (v & 0xffff) + (v >>> 16) - 131070) * scale;
  };
}

/** Labels [64 × rows]: positive rates from 0.5 to 0.02, the first 0.3. */
export function makeLabels(rows: number, seed: number): Uint8Array {
  const next = generator(seed);
  const values = new Uint8Array(FEATURES * rows);
  for (let f = 0; f < FEATURES; f++) {
    const rate = f === 0 ? 0.3 : 0.5 - (0.48 * f) / (FEATURES - 1);
    for (let i = 0; i < rows; i++) values[f * rows + i] = next() / 2 ** 32 < rate ? 1 : 0;
  }
  return values;
}

/** Activations [rows × neurons] that carry the labels. */
export function makeActivations({ rows, neurons: d }: Sizes, labels: Uint8Array, seed: number): Float32Array {
  const next = generator(seed);
  const normal = normalFrom(next);
  const loadings = Float32Array.from({ length: FACTORS * d }, () => 0.3 * normal());
  const offset = Float32Array.from({ length: d }, () => 0.5 * normal());
  const scale = Float32Array.from({ length: d }, () => Math.exp(0.5 * normal()));
  const effects = Array.from({ length: FEATURES }, () =>
    Array.from({ length: Math.min(INFORMED, d) }, (_, rank) => ({
      neuron: next() % d,
      shift: normal() * 1.5 * (0.05 / 1.5) ** (rank / (INFORMED - 1)),
    })),
  );
  const x = new Float32Array(rows * d);
  const row = new Float32Array(d);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < d; j++) row[j] = offset[j] + normal();
    for (let r = 0; r < FACTORS; r++) {
      const factor = normal();
      for (let j = 0; j < d; j++) row[j] += factor * loadings[r * d + j];
    }
    for (let f = 0; f < FEATURES; f++) {
      if (labels[f * rows + i] === 0) continue;
      for (const { neuron, shift } of effects[f]) row[neuron] += shift;
    }
    for (let j = 0; j < d; j++) x[i * d + j] = row[j] * scale[j];
  }
  return x;
}

/** Makes the data of all matrix jobs. */
export async function writeData(folder: string, sizes: Sizes): Promise<DataFiles> {
  const labels = makeLabels(sizes.rows, 7);
  const x = makeActivations(sizes, labels, 11);
  const files = { x: join(folder, "x.npy"), labels: join(folder, "labels.npy"), folder, ...sizes };
  await writeFile(files.labels, writeNpy({ data: labels, shape: [FEATURES, sizes.rows] }));
  await writeFile(files.x, writeNpy({ data: x, shape: [sizes.rows, sizes.neurons] }));
  return files;
}

/** Writes an array where a rival finds it. */
export async function writeArray(
  folder: string,
  name: string,
  data: Float32Array | Int32Array | Uint8Array | Uint16Array,
  shape: readonly number[],
  dtype?: "F16",
): Promise<string> {
  const path = join(folder, `${name}.npy`);
  await writeFile(path, writeNpy({ data, shape, ...(dtype && { dtype }) }));
  return path;
}

/** The float32 matrix, read without a second copy. */
export async function readActivationsOf(files: DataFiles): Promise<Activations> {
  const x = new Float32Array(files.rows * files.neurons);
  const bytes = new Uint8Array(x.buffer);
  const file = await open(files.x);
  try {
    const { size } = await file.stat();
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(
        bytes,
        at,
        Math.min(2 ** 30, bytes.length - at),
        size - bytes.length + at,
      );
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
  return new Activations(x, [files.rows, files.neurons]);
}

/** The label matrix of the first `features` features. */
export async function readLabelsOf(files: DataFiles, features: number): Promise<LabelMatrix> {
  const bytes = await readFile(files.labels);
  const values = new Uint8Array(bytes.subarray(bytes.length - FEATURES * files.rows));
  return labelMatrix(values, files.rows, features);
}

export function labelMatrix(values: Uint8Array, rows: number, features: number): LabelMatrix {
  const names = Array.from({ length: features }, (_, f) => `feature ${f}`);
  return new LabelMatrix(names, rows, values.slice(0, features * rows));
}
