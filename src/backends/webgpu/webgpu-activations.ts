/** Activations on a GPU: one buffer, or several row chunks where one binding cannot hold the matrix. */
import {
  Activations,
  type AffineCode,
  type GroupId,
  type Provenance,
  type StorageType,
} from "../../data/activations.ts";
import { DisposedError, OptionError, OutOfMemoryError } from "../../errors.ts";
import type { CallOptions, DeviceActivations } from "../backend.ts";
import type { BindingSource, ComputeBuffer, ComputeDevice } from "./device.ts";

/** Rows [firstRow, firstRow + rows) of a matrix, flat and row-major from the start of `binding`. */
export interface RowChunk {
  readonly firstRow: number;
  readonly rows: number;
  readonly buffer: ComputeBuffer;
  /** Bytes of the buffer before the chunk. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface WebGpuActivationsInit {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  /** In row order, without gaps. */
  readonly chunks: readonly RowChunk[];
  /** Scale, then offset, of every neuron: [2 × neurons] f32; with u8 only. */
  readonly code?: { readonly host: AffineCode; readonly buffer: ComputeBuffer } | undefined;
  readonly groups?: readonly GroupId[] | undefined;
  readonly provenance?: Provenance | undefined;
  /** Resolves to what is wrong with a foreign buffer, or to nothing. */
  readonly defect?: Promise<Error | undefined> | undefined;
}

/** Bytes of one value. */
export const ITEM_BYTES: Readonly<Record<StorageType, number>> = { f32: 4, f16: 2, u8: 1 };

/** Value of the kernels' `storage_type` override: log2 of the values in one 32-bit word. */
export const STORAGE_CODE: Readonly<Record<StorageType, number>> = { f32: 0, f16: 1, u8: 2 };

export class WebGpuActivations implements DeviceActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  readonly groups: readonly GroupId[] | undefined;
  readonly provenance: Provenance;
  readonly device: ComputeDevice;
  #init: WebGpuActivationsInit | undefined;

  /** Takes over the buffers: `dispose()` frees them. */
  constructor(device: ComputeDevice, init: WebGpuActivationsInit) {
    this.device = device;
    this.rows = init.rows;
    this.neurons = init.neurons;
    this.dtype = init.dtype;
    this.groups = init.groups;
    this.provenance = init.provenance ?? {};
    this.#init = init;
  }

  /** @throws DisposedError after `dispose()` */
  get chunks(): readonly RowChunk[] {
    return this.#live().chunks;
  }

  /** What kernels bind as `code`: the affine code, or any buffer where there is none. */
  get codeBinding(): BindingSource {
    const { code, chunks } = this.#live();
    return code?.buffer ?? bindingOf(chunks[0]);
  }

  /** Waits until a foreign buffer has been found usable. */
  async ready(): Promise<void> {
    const defect = await this.#live().defect;
    if (defect) throw defect;
  }

  async read(options: CallOptions = {}): Promise<Activations> {
    await this.ready();
    const { chunks, code } = this.#live();
    const { rows, neurons, dtype } = this;
    const values = rows * neurons;
    const data =
      dtype === "f32"
        ? new Float32Array(values)
        : dtype === "f16"
          ? new Uint16Array(values)
          : new Uint8Array(values);
    const bytes = new Uint8Array(data.buffer);
    const rowBytes = neurons * ITEM_BYTES[dtype];
    for (const { buffer, offset, byteLength, firstRow } of chunks) {
      const part = await this.device.read(buffer, { offset, byteLength, signal: options.signal });
      bytes.set(new Uint8Array(part), firstRow * rowBytes);
    }
    return new Activations(data, [rows, neurons], {
      dtype,
      ...(code && { code: code.host }),
      ...(this.groups && { groups: this.groups }),
      provenance: this.provenance,
    });
  }

  dispose(): void {
    for (const { buffer } of this.#init?.chunks ?? []) buffer.dispose();
    this.#init?.code?.buffer.dispose();
    this.#init = undefined;
  }

  #live(): WebGpuActivationsInit {
    if (this.#init) return this.#init;
    throw new DisposedError("These activations were disposed of.", "Upload them again.");
  }
}

export function bindingOf({ buffer, offset, byteLength }: RowChunk): BindingSource {
  return { buffer, offset, byteLength };
}

/**
 * The GPU matrix behind a handle.
 * @throws OptionError when the handle belongs to another backend or device
 * @throws DisposedError when it was disposed of
 */
export async function deviceMatrix(device: ComputeDevice, x: DeviceActivations): Promise<WebGpuActivations> {
  if (x instanceof WebGpuActivations && x.device === device) {
    device.assertUsable();
    await x.ready();
    return x;
  }
  throw new OptionError(
    "These activations live on another backend.",
    "Read them back with read() and upload the result to this backend.",
  );
}

/**
 * Cuts rows so that no part exceeds `maxBytes`.
 * @param alignment bytes that the start of every part is a multiple of
 * @throws OutOfMemoryError when not even one row, or one aligned run of rows, fits
 */
export function rowChunks(
  rows: number,
  rowBytes: number,
  maxBytes: number,
  alignment = 1,
): { firstRow: number; rows: number }[] {
  const step = alignment / greatestCommonDivisor(alignment, rowBytes);
  const whole = rows * rowBytes <= maxBytes ? rows : Math.floor(maxBytes / rowBytes / step) * step;
  if (whole < 1) {
    throw new OutOfMemoryError(
      `A row of ${rowBytes} bytes does not fit in a binding of ${maxBytes} bytes.`,
      "Use fewer neurons at a time, or a device with a larger maxStorageBufferBindingSize.",
    );
  }
  const chunks: { firstRow: number; rows: number }[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += whole) {
    chunks.push({ firstRow, rows: Math.min(whole, rows - firstRow) });
  }
  return chunks;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** Uninitialised f32 activations [rows × neurons] for kernels to write, chunked like everything else. */
export async function allocateActivations(
  device: ComputeDevice,
  label: string,
  shape: { readonly rows: number; readonly neurons: number },
  maxBindingBytes: number,
  labels: {
    readonly groups?: readonly GroupId[] | undefined;
    readonly provenance?: Provenance | undefined;
  } = {},
): Promise<WebGpuActivations> {
  const scope = device.scope();
  try {
    const chunks: RowChunk[] = [];
    for (const { firstRow, rows } of rowChunks(shape.rows, shape.neurons * 4, maxBindingBytes)) {
      const byteLength = rows * shape.neurons * 4;
      chunks.push({ firstRow, rows, offset: 0, byteLength, buffer: await scope.allocate(label, byteLength) });
    }
    for (const { buffer } of chunks) scope.release(buffer);
    return new WebGpuActivations(device, { ...shape, dtype: "f32", chunks, ...labels });
  } finally {
    scope.dispose();
  }
}
