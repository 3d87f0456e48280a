/** Activations in WebGL2 textures: float32 values, cut by rows into textures of bounded size. */
import {
  Activations,
  type AffineCode,
  type GroupId,
  type Provenance,
  type StorageType,
} from "../../data/activations.ts";
import { DisposedError, NonFiniteError, OptionError, OutOfMemoryError } from "../../errors.ts";
import type { CallOptions, DeviceActivations } from "../backend.ts";
import { SPLIT_RESULTS, type GpuJsDevice, type GpuJsTexture } from "./device.ts";

/** Rows [firstRow, firstRow + rows) of a matrix, row-major in one texture. */
export interface RowPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly texture: GpuJsTexture;
}

export interface GpuJsActivationsInit {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  /** In row order, without gaps. */
  readonly parts: readonly RowPart[];
  /** The stored codes of f16 and u8: textures hold the values that they stand for. */
  readonly codes?: Uint16Array | Uint8Array | undefined;
  readonly code?: AffineCode | undefined;
  readonly groups?: readonly GroupId[] | undefined;
  readonly provenance?: Provenance | undefined;
  /** Largest magnitude. */
  readonly largest: number;
}

export class GpuJsActivations implements DeviceActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  readonly groups: readonly GroupId[] | undefined;
  readonly provenance: Provenance;
  /** Largest magnitude of all values: what tells whether float32 sums can overflow. */
  readonly largest: number;
  readonly device: GpuJsDevice;
  #init: GpuJsActivationsInit | undefined;

  /** Takes over the textures: `dispose()` frees them. */
  constructor(device: GpuJsDevice, init: GpuJsActivationsInit) {
    this.device = device;
    this.rows = init.rows;
    this.neurons = init.neurons;
    this.dtype = init.dtype;
    this.groups = init.groups;
    this.provenance = init.provenance ?? {};
    this.largest = init.largest;
    this.#init = init;
  }

  /** @throws DisposedError after `dispose()` */
  get parts(): readonly RowPart[] {
    return this.#live().parts;
  }

  async read(options: CallOptions = {}): Promise<Activations> {
    const { parts, codes, code } = this.#live();
    const labels = {
      dtype: this.dtype,
      ...(code && { code }),
      ...(this.groups && { groups: this.groups }),
      provenance: this.provenance,
    };
    options.signal?.throwIfAborted();
    if (codes) return new Activations(codes, [this.rows, this.neurons], labels);
    const values = new Float32Array(this.rows * this.neurons);
    for (const { firstRow, texture } of parts) {
      values.set(await this.device.read(texture), firstRow * this.neurons);
      options.signal?.throwIfAborted();
    }
    return new Activations(values, [this.rows, this.neurons], labels);
  }

  dispose(): void {
    for (const { texture } of this.#init?.parts ?? []) texture.dispose();
    this.#init = undefined;
  }

  #live(): GpuJsActivationsInit {
    if (this.#init) return this.#init;
    throw new DisposedError("These activations were disposed of.", "Upload them again.");
  }
}

/**
 * Copies a matrix to the device.
 * @throws NonFiniteError when it holds NaN or an infinity: WebGL2 does not promise to keep them
 * @throws OutOfMemoryError when one row exceeds a texture
 */
export async function uploadActivations(
  device: GpuJsDevice,
  x: Activations,
  textureValues: number,
  signal: AbortSignal | undefined,
): Promise<GpuJsActivations> {
  x.assertFinite();
  const { rows, neurons } = x;
  const parts: RowPart[] = [];
  let largest = 0;
  try {
    for (const { firstRow, rows: height } of rowParts(rows, neurons, textureValues)) {
      signal?.throwIfAborted();
      const values = new Float32Array(height * neurons);
      for (let i = 0; i < height; i++) {
        x.decodeRow(firstRow + i, values.subarray(i * neurons, (i + 1) * neurons));
      }
      for (const value of values) if (Math.abs(value) > largest) largest = Math.abs(value);
      // An affine code that is finite can still stand for a value beyond float32.
      if (largest === Infinity) {
        throw new NonFiniteError("A u8 code stands for an infinite value.", "Quantise finite activations.");
      }
      parts.push({ firstRow, rows: height, texture: await device.store(values) });
    }
    device.assertHealthy();
  } catch (error) {
    for (const { texture } of parts) texture.dispose();
    throw error;
  }
  return new GpuJsActivations(device, {
    rows,
    neurons,
    dtype: x.dtype,
    parts,
    codes: x.data instanceof Float32Array ? undefined : x.data,
    code: x.code,
    groups: x.groups,
    provenance: x.provenance,
    largest,
  });
}

/**
 * The matrix behind a handle.
 * @throws OptionError when the handle belongs to another backend
 * @throws DisposedError when it was disposed of
 */
export function matrixOf(device: GpuJsDevice, x: DeviceActivations): GpuJsActivations {
  if (x instanceof GpuJsActivations && x.device === device) {
    device.assertLive();
    // Reading the parts checks that they are still there.
    if (x.parts.length > 0) return x;
  }
  throw new OptionError(
    "These activations live on another backend.",
    "Read them back with read() and upload the result to this backend.",
  );
}

/**
 * Cuts rows so that no part exceeds `most` values.
 * @throws OutOfMemoryError when not even one row fits
 */
export function rowParts(
  rows: number,
  neurons: number,
  most: number,
): { readonly firstRow: number; readonly rows: number }[] {
  if (neurons > Math.min(most, SPLIT_RESULTS)) {
    throw new OutOfMemoryError(
      `A row of ${neurons} values does not fit in a WebGL2 texture of ${most}.`,
      "Use fewer neurons at a time, or the CPU backend.",
    );
  }
  const height = Math.floor(most / neurons);
  const parts: { firstRow: number; rows: number }[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += height) {
    parts.push({ firstRow, rows: Math.min(height, rows - firstRow) });
  }
  return parts;
}
