/** A matrix of weights on a GPU: float32, or 16 bits where these hold every value. */
import { halfOfBits, halfTable } from "../../data/float16.ts";
import { Pacer } from "../cpu/pacer.ts";
import type { BufferScope, ComputeBuffer, ComputeDevice } from "./device.ts";
import { rowChunks } from "./webgpu-activations.ts";

/** How values are kept; binary16 and bfloat16 in pairs. */
export type WeightType = "f32" | "f16" | "bf16";

/** Value of the kernels' `weight_type` override. */
export const WEIGHT_CODE: Readonly<Record<WeightType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Values in one of the words of 16 bytes that the linear kernel reads. */
const PER_WORD: Readonly<Record<WeightType, number>> = { f32: 4, f16: 8, bf16: 8 };

/** Bytes that are packed and uploaded at a time. */
const PIECE = 2 * 2 ** 20;

/** Bits of float32: the smallest number that is normal in binary16, the first beyond it, and what their exponents differ by. */
const SMALLEST_NORMAL = 0x38800000;
const BEYOND = 0x47800000;
const HALF_BIAS = 0x38000000;

/** Rows [firstRow, firstRow + rows) of a matrix. */
export interface MatrixPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly buffer: ComputeBuffer;
  /** Rows of the buffer before them; 0 when left out. */
  readonly skip?: number;
}

/** Rows of equal length, in as many parts as bindings of the device need. */
export interface Matrix {
  readonly type: WeightType;
  /** Values from one row to the next; those past its width are zero. */
  readonly stride: number;
  readonly parts: readonly MatrixPart[];
}

/** Bytes from one row of a matrix to the next. */
export function rowBytes({ type, stride }: Pick<Matrix, "type" | "stride">): number {
  return stride * (type === "f32" ? 4 : 2);
}

/** A float32 matrix that lies in one buffer. */
export function floatMatrix(buffer: ComputeBuffer, rows: number, stride: number): Matrix {
  return { type: "f32", stride, parts: [{ firstRow: 0, rows, buffer }] };
}

export interface UploadMatrixOptions {
  /** What the values are packed as; f32 instead when that would change one, or put it beyond the range. */
  readonly type: WeightType;
  /** Values may be rounded to the nearest of the type. */
  readonly round: boolean;
  readonly maxBindingBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Puts a matrix on the device, each row filled up to whole words of 16 bytes.
 *
 * @param values [rows × width] finite
 * @throws OutOfMemoryError when it does not fit
 */
export async function uploadMatrix(
  device: ComputeDevice,
  scope: BufferScope,
  label: string,
  values: Float32Array,
  rows: number,
  options: UploadMatrixOptions,
): Promise<Matrix> {
  const matrix = await packedMatrix(device, scope, label, values, rows, options);
  return matrix ?? (await packedMatrix(device, scope, label, values, rows, { ...options, type: "f32" }))!;
}

/** Null, and nothing left on the device, where the type does not hold a value. */
async function packedMatrix(
  device: ComputeDevice,
  scope: BufferScope,
  label: string,
  values: Float32Array,
  rows: number,
  { type, round, maxBindingBytes, signal }: UploadMatrixOptions,
): Promise<Matrix | null> {
  const width = values.length / rows;
  const stride = PER_WORD[type] * Math.ceil(width / PER_WORD[type]);
  const bytes = rowBytes({ type, stride });
  const pacer = new Pacer(signal);
  const atATime = Math.max(1, Math.min(rows, Math.floor(PIECE / bytes)));
  const parts: MatrixPart[] = [];
  for (const part of rowChunks(rows, bytes, maxBindingBytes)) {
    const own = values.subarray(part.firstRow * width, (part.firstRow + part.rows) * width);
    if (type === "f32" && stride === width) {
      parts.push({ ...part, buffer: await scope.allocateFrom(label, own, signal) });
      continue;
    }
    const buffer = await scope.allocate(label, part.rows * bytes);
    parts.push({ ...part, buffer });
    const packed = new (type === "f32" ? Float32Array : Uint16Array)(atATime * stride);
    for (let start = 0; start < part.rows; start += atATime) {
      const count = Math.min(atATime, part.rows - start);
      const from = own.subarray(start * width, (start + count) * width);
      if (pacer.due) await pacer.turn();
      if (!pack(from, width, packed, stride, { type, round })) {
        for (const made of parts) scope.release(made.buffer).dispose();
        return null;
      }
      await device.upload(buffer, packed.subarray(0, count * stride), { offset: start * bytes, signal });
    }
  }
  return { type, stride, parts };
}

/** Puts rows of `width` values at every `stride`-th place; false when one of them is not what the type would make of it. */
function pack(
  values: Float32Array,
  width: number,
  out: Float32Array | Uint16Array,
  stride: number,
  { type, round }: Pick<UploadMatrixOptions, "type" | "round">,
): boolean {
  if (type === "f32") {
    for (let at = 0, to = 0; at < values.length; at += width, to += stride) {
      out.set(values.subarray(at, at + width), to);
    }
    return true;
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let lost = 0;
  for (let at = 0, to = 0; at < values.length; at += width, to += stride) {
    if (type === "bf16") {
      for (let i = 0; i < width; i++) {
        out[to + i] = bits[at + i] >>> 16;
        lost |= bits[at + i] & 0xffff;
      }
      continue;
    }
    for (let i = 0; i < width; i++) {
      const own = bits[at + i];
      const magnitude = own & 0x7fffffff;
      if (!round && magnitude >= SMALLEST_NORMAL && magnitude < BEYOND) {
        out[to + i] = ((own >>> 16) & 0x8000) | ((magnitude - HALF_BIAS) >>> 13);
        lost |= own & 0x1fff;
      } else {
        const half = halfOfBits(own);
        out[to + i] = half;
        if (round ? (half & 0x7c00) === 0x7c00 : halfTable()[half] !== values[at + i]) lost = 1;
      }
    }
  }
  return lost === 0;
}
