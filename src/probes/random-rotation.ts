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
import { NonFiniteError } from "../errors.ts";
import { Random } from "../random.ts";

export interface RotateOptions extends CallOptions {
  /** Whole number from 0 to 2^53 − 1: which rotation. Default 0. */
  readonly seed?: number;
  /** Called as blocks of rows are finished. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Reflections of a panel, whole tiles of them. */
const PANEL = 32;

/** Rows that a panel is applied to at once, whole tiles of them. */
const BLOCK = 48;
export const TILE_ROWS = 6;

/** Coordinates that are read while they are in cache. */
const CHUNK = 1024;

/** Reflections of the coordinates from `first` on; where there are fewer than a panel holds, the others are of no length. */
interface ReflectionPanel {
  readonly first: number;
  /** [PANEL × (d − first)], row-major: v scaled to length √2, zeros before its first coordinate. */
  readonly v: Float64Array;
  /** T, upper triangular [PANEL × PANEL]. */
  readonly t: Float64Array;
}

/** Q, as the reflections and signs that it is the product of. */
export interface Rotation {
  readonly d: number;
  readonly panels: readonly ReflectionPanel[];
  readonly signs: Float64Array;
}

/** See `rotateActivations`. */
export async function rotate(acts: ActivationsInput, options: RotateOptions): Promise<Activations> {
  const x = Activations.from(acts);
  const rotation = await drawRotation(options.seed ?? 0, x.neurons, new Pacer(options.signal));
  return rotateRows(x, rotation, options);
}

/** X·Q for a rotation that has been drawn: blocks of rows share it. */
export async function rotateRows(
  x: Activations,
  rotation: Rotation,
  { signal, onProgress }: Omit<RotateOptions, "seed">,
): Promise<Activations> {
  const pacer = new Pacer(signal);
  const { rows, neurons: d } = x;
  const out = new Float32Array(rows * d);
  const row = new Float32Array(d);
  for (let start = 0; start < rows; start += BLOCK) {
    const count = Math.min(BLOCK, rows - start);
    const block = new Float64Array(Math.ceil(count / TILE_ROWS) * TILE_ROWS * d);
    for (let r = 0; r < count; r++) {
      x.decodeRow(start + r, row);
      assertFiniteRow(row, start + r);
      block.set(row, r * d);
    }
    await rotateBlock(block, rotation, pacer);
    out.set(block.subarray(0, count * d), start * d);
    onProgress?.(start + count, rows);
  }
  const { groups, provenance } = x;
  return new Activations(out, [rows, d], { provenance, ...(groups && { groups }) });
}

/** X ← X·Q in float64, for X [rows × d] row-major with a multiple of {@link TILE_ROWS} rows. */
export async function rotateBlock(
  x: Float64Array,
  { d, panels, signs }: Rotation,
  pacer: Pacer,
): Promise<void> {
  const rows = x.length / d;
  for (const panel of panels) {
    reflect(x, rows, d, panel);
    if (pacer.due) await pacer.turn();
  }
  for (let r = 0; r < rows; r++) for (let j = 0; j < d; j++) x[r * d + j] *= signs[j];
}

/** @throws NonFiniteError naming the row and its first neuron that is NaN or infinite */
function assertFiniteRow(row: Float32Array, i: number): void {
  const j = row.findIndex((value) => !Number.isFinite(value));
  if (j < 0) return;
  throw new NonFiniteError(
    `Row ${i}, neuron ${j} is ${row[j]}.`,
    "A rotation mixes all neurons of a row: leave out rows that are not finite.",
  );
}

/** Q [d × d] of a seed. Each panel has a stream of random numbers of its own. */
export async function drawRotation(seed: number, d: number, pacer: Pacer): Promise<Rotation> {
  const signs = new Float64Array(d);
  const panels: ReflectionPanel[] = [];
  for (let first = 0; first < d; first += PANEL) {
    const random = new Random(seed, `rotation of ${d}, from ${first}`);
    const width = d - first;
    const v = new Float64Array(PANEL * width);
    for (let i = 0; i < Math.min(PANEL, width); i++) {
      const vector = v.subarray(i * width + i, (i + 1) * width);
      fillWithNormals(random, vector);
      const sign = vector[0] < 0 ? -1 : 1;
      signs[first + i] = -sign;
      vector[0] += sign * norm(vector);
      const scale = Math.SQRT2 / norm(vector);
      for (let j = 0; j < vector.length; j++) vector[j] *= scale;
      if (pacer.due) await pacer.turn();
    }
    panels.push({ first, v, t: triangleOf(v, width) });
    if (pacer.due) await pacer.turn();
  }
  return { d, panels, signs };
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

/** T with H_0 ⋯ H_{PANEL−1} = I − Vᵀ·T·V, for rows of V of length √2: T_ii = 1, column i above it −T·(V·v_i). */
function triangleOf(v: Float64Array, width: number): Float64Array {
  const t = new Float64Array(PANEL * PANEL);
  const products = new Float64Array(PANEL);
  for (let i = 0; i < PANEL; i++) {
    for (let c = 0; c < i; c++) {
      let sum = 0;
      for (let j = i; j < width; j++) sum += v[c * width + j] * v[i * width + j];
      products[c] = sum;
    }
    for (let r = 0; r < i; r++) {
      let sum = 0;
      for (let c = r; c < i; c++) sum += t[r * PANEL + c] * products[c];
      t[r * PANEL + i] = -sum;
    }
    t[i * PANEL + i] = 1;
  }
  return t;
}

/** X ← X·(I − Vᵀ·T·V) on the panel's coordinates; X is [rows × d]. */
function reflect(x: Float64Array, rows: number, d: number, { first, v, t }: ReflectionPanel): void {
  const width = d - first;
  const w = new Float64Array(rows * PANEL);
  for (let start = 0; start < width; start += CHUNK) {
    addProducts(w, x, rows, d, first, v, start, Math.min(width, start + CHUNK));
  }
  const u = new Float64Array(rows * PANEL);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < PANEL; c++) {
      let sum = 0;
      for (let i = 0; i <= c; i++) sum += w[r * PANEL + i] * t[i * PANEL + c];
      u[r * PANEL + c] = sum;
    }
  }
  for (let start = 0; start < width; start += CHUNK) {
    subtractProducts(x, u, rows, d, first, v, start, Math.min(width, start + CHUNK));
  }
}

/** W ← W + X·Vᵀ over the coordinates [start, end) after the first, 3 rows by 4 reflections in registers. */
function addProducts(
  w: Float64Array,
  x: Float64Array,
  rows: number,
  d: number,
  first: number,
  v: Float64Array,
  start: number,
  end: number,
): void {
  const width = d - first;
  for (let r = 0; r < rows; r += 3) {
    const x0 = r * d + first;
    const x1 = x0 + d;
    const x2 = x1 + d;
    for (let i = 0; i < PANEL; i += 4) {
      const v0 = i * width;
      const v1 = v0 + width;
      const v2 = v1 + width;
      const v3 = v2 + width;
      let [s00, s01, s02, s03] = [0, 0, 0, 0];
      let [s10, s11, s12, s13] = [0, 0, 0, 0];
      let [s20, s21, s22, s23] = [0, 0, 0, 0];
      // Reflection i is zero before coordinate i.
      for (let j = Math.max(start, i); j < end; j++) {
        const a = x[x0 + j];
        const b = x[x1 + j];
        const c = x[x2 + j];
        let f = v[v0 + j];
        s00 += a * f;
        s10 += b * f;
        s20 += c * f;
        f = v[v1 + j];
        s01 += a * f;
        s11 += b * f;
        s21 += c * f;
        f = v[v2 + j];
        s02 += a * f;
        s12 += b * f;
        s22 += c * f;
        f = v[v3 + j];
        s03 += a * f;
        s13 += b * f;
        s23 += c * f;
      }
      let at = r * PANEL + i;
      w[at] += s00;
      w[at + 1] += s01;
      w[at + 2] += s02;
      w[at + 3] += s03;
      at += PANEL;
      w[at] += s10;
      w[at + 1] += s11;
      w[at + 2] += s12;
      w[at + 3] += s13;
      at += PANEL;
      w[at] += s20;
      w[at + 1] += s21;
      w[at + 2] += s22;
      w[at + 3] += s23;
    }
  }
}

/** X ← X − U·V over the coordinates [start, end) after the first, 2 rows by 4 reflections in registers. */
function subtractProducts(
  x: Float64Array,
  u: Float64Array,
  rows: number,
  d: number,
  first: number,
  v: Float64Array,
  start: number,
  end: number,
): void {
  const width = d - first;
  for (let r = 0; r < rows; r += 2) {
    const x0 = r * d + first;
    const x1 = x0 + d;
    for (let i = 0; i < PANEL; i += 4) {
      const at = r * PANEL + i;
      const [a0, a1, a2, a3] = [u[at], u[at + 1], u[at + 2], u[at + 3]];
      const [b0, b1, b2, b3] = [u[at + PANEL], u[at + PANEL + 1], u[at + PANEL + 2], u[at + PANEL + 3]];
      const v0 = i * width;
      const v1 = v0 + width;
      const v2 = v1 + width;
      const v3 = v2 + width;
      for (let j = Math.max(start, i); j < end; j++) {
        const f0 = v[v0 + j];
        const f1 = v[v1 + j];
        const f2 = v[v2 + j];
        const f3 = v[v3 + j];
        x[x0 + j] -= a0 * f0 + a1 * f1 + a2 * f2 + a3 * f3;
        x[x1 + j] -= b0 * f0 + b1 * f1 + b2 * f2 + b3 * f3;
      }
    }
  }
}
