/**
 * Random orthonormal matrices, uniform over the orthogonal group, applied without being formed (Stewart 1980).
 *
 * The QR decomposition of a matrix of independent normal draws, with a positive diagonal in R, has a Q of that distribution
 * (Mezzadri 2007). Householder's reflections leave the rest of such a matrix normal and independent, so the i-th of them can be
 * drawn from a vector of d − i normals alone:
 *
 *   Q = H_0·H_1 ⋯ H_{d−1}·D,   H_i = I − 2·v_i·v_iᵀ/(v_iᵀv_i) on the last d − i coordinates,
 *   v_i = g_i + sign(g_i0)·‖g_i‖·e,   D_i = −sign(g_i0).
 *
 * Panels of reflections are applied at once: their product is I − Vᵀ·T·V with V [panel × d] and T upper triangular (Schreiber
 * and Van Loan 1989).
 */
import type { CallOptions } from "../backends/backend.ts";
import { Activations, type ActivationsInput } from "../data/activations.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { Random } from "../random.ts";

export interface RotateOptions extends CallOptions {
  /** Whole number from 0 to 2^53 − 1: which rotation. Default 0. */
  readonly seed?: number;
  /** Called as blocks of rows are finished. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Reflections of a panel, and rows that it is applied to at once. */
const PANEL = 32;
const BLOCK = 32;

/** Reflections first … first + count − 1, on the coordinates from `first` on. */
interface ReflectionPanel {
  readonly first: number;
  readonly count: number;
  /** [count × (d − first)], row-major: v scaled to length √2, zeros before its first coordinate. */
  readonly v: Float64Array;
  /** Upper triangular [count × count]. */
  readonly t: Float64Array;
}

/** See `rotateActivations`. */
export async function rotate(acts: ActivationsInput, options: RotateOptions): Promise<Activations> {
  const { seed = 0, signal, onProgress } = options;
  const pacer = new Pacer(signal);
  const x = Activations.from(acts);
  x.assertFinite();
  const { rows, neurons: d } = x;
  const { panels, signs } = await drawReflections(seed, d, pacer);
  const out = new Float32Array(rows * d);
  const row = new Float32Array(d);
  for (let start = 0; start < rows; start += BLOCK) {
    const count = Math.min(BLOCK, rows - start);
    const block = new Float64Array(count * d);
    for (let r = 0; r < count; r++) block.set(x.decodeRow(start + r, row), r * d);
    for (const panel of panels) {
      reflect(block, count, d, panel);
      if (pacer.due) await pacer.turn();
    }
    for (let at = 0; at < block.length; at++) out[start * d + at] = block[at] * signs[at % d];
    onProgress?.(start + count, rows);
  }
  const { groups, provenance } = x;
  return new Activations(out, [rows, d], { provenance, ...(groups && { groups }) });
}

/** The reflections of Q [d × d], and the signs D. */
async function drawReflections(
  seed: number,
  d: number,
  pacer: Pacer,
): Promise<{ panels: ReflectionPanel[]; signs: Float64Array }> {
  const signs = new Float64Array(d);
  const panels: ReflectionPanel[] = [];
  for (let first = 0; first < d; first += PANEL) {
    const random = new Random(seed, `rotation of ${d}, from ${first}`);
    const count = Math.min(PANEL, d - first);
    const width = d - first;
    const v = new Float64Array(count * width);
    for (let i = 0; i < count; i++) {
      const vector = v.subarray(i * width + i, (i + 1) * width);
      fillWithNormals(random, vector);
      const sign = vector[0] < 0 ? -1 : 1;
      signs[first + i] = -sign;
      vector[0] += sign * norm(vector);
      const scale = Math.SQRT2 / norm(vector);
      for (let j = 0; j < vector.length; j++) vector[j] *= scale;
      if (pacer.due) await pacer.turn();
    }
    panels.push({ first, count, v, t: triangleOf(v, count, width) });
  }
  return { panels, signs };
}

/** Standard normals in pairs (Box and Muller 1958). */
function fillWithNormals(random: Random, out: Float64Array): void {
  for (let j = 0; j < out.length; j += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const angle = 2 * Math.PI * random.uniform();
    out[j] = radius * Math.cos(angle);
    if (j + 1 < out.length) out[j + 1] = radius * Math.sin(angle);
  }
}

function norm(vector: Float64Array): number {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}

/** T with H_0 ⋯ H_{count−1} = I − Vᵀ·T·V, for rows of V of length √2: T_ii = 1, T_{0…i−1, i} = −T·(V·v_i). */
function triangleOf(v: Float64Array, count: number, width: number): Float64Array {
  const t = new Float64Array(count * count);
  const products = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < i; c++) {
      let sum = 0;
      for (let j = i; j < width; j++) sum += v[c * width + j] * v[i * width + j];
      products[c] = sum;
    }
    for (let r = 0; r < i; r++) {
      let sum = 0;
      for (let c = r; c < i; c++) sum += t[r * count + c] * products[c];
      t[r * count + i] = -sum;
    }
    t[i * count + i] = 1;
  }
  return t;
}

/** block ← block·(I − Vᵀ·T·V) on the panel's coordinates, for `rows` rows of d values. */
function reflect(
  block: Float64Array,
  rows: number,
  d: number,
  { first, count, v, t }: ReflectionPanel,
): void {
  const width = d - first;
  const w = new Float64Array(rows * count);
  for (let r = 0; r < rows; r++) {
    const x = r * d + first;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (let j = i; j < width; j++) sum += block[x + j] * v[i * width + j];
      w[r * count + i] = sum;
    }
  }
  const u = new Float64Array(count);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < count; c++) {
      let sum = 0;
      for (let i = 0; i <= c; i++) sum += w[r * count + i] * t[i * count + c];
      u[c] = sum;
    }
    const x = r * d + first;
    for (let c = 0; c < count; c++) {
      for (let j = c; j < width; j++) block[x + j] -= u[c] * v[c * width + j];
    }
  }
}
