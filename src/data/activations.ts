/** Activation matrices on the host: n rows × d neurons, row-major, stored as f32, f16 or affine u8. */
import { EmptyDataError, NonFiniteError, OptionError, ShapeError } from "../errors.ts";
import { floatsToHalves, halfTable, halvesToFloats } from "./float16.ts";

/** How a value is stored: float32; binary16 bits; or q with value = scale[j]·q + offset[j] for neuron j. */
export type StorageType = "f32" | "f16" | "u8";

/** Identifies the document that a row came from: rows of one group never part in a split. */
export type GroupId = string | number;

/** Where activations came from. Free of meaning for the arithmetic; carried into results. */
export interface Provenance {
  readonly model?: string;
  readonly hookPoint?: string;
  readonly aggregation?: string;
  /** One decoded token per row, for rows that are single tokens. */
  readonly tokens?: readonly string[];
}

/** Per-neuron affine code of u8 activations. */
export interface AffineCode {
  readonly scale: Float32Array;
  readonly offset: Float32Array;
}

type Numbers =
  Float32Array | Float64Array | Uint16Array | Uint8Array | BigInt64Array | BigUint64Array | readonly number[];

/** Matrices that users hold: ours, `{data, shape}`, transformers.js' `{data, dims}`, or one array per row. */
export type ActivationsInput =
  | Activations
  | { readonly data: ArrayLike<number>; readonly shape: readonly number[] }
  | { readonly data: ArrayLike<number>; readonly dims: readonly number[] }
  | readonly ArrayLike<number>[];

export interface ActivationsOptions {
  /** Storage type of `data`. A `Uint16Array` is binary16 bits and a `Uint8Array` affine codes only if this says so. */
  readonly dtype?: StorageType;
  /** Required with u8, length d each. */
  readonly code?: AffineCode;
  /** One document id per row. */
  readonly groups?: readonly GroupId[];
  readonly provenance?: Provenance;
}

/**
 * An activation matrix [rows × neurons]. It borrows the array it is given: do not write to it afterwards.
 *
 * @example
 * const acts = Activations.from({ data: new Float32Array(6), shape: [3, 2] }, { groups: ["a", "a", "b"] });
 */
export class Activations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  readonly data: Float32Array | Uint16Array | Uint8Array;
  readonly code: AffineCode | undefined;
  readonly groups: readonly GroupId[] | undefined;
  readonly provenance: Provenance;

  /**
   * @throws ShapeError when a dimension is not a whole number or a length does not match
   * @throws EmptyDataError when there are no rows or no neurons
   * @throws OptionError when the storage type does not fit the array
   */
  constructor(
    data: Float32Array | Uint16Array | Uint8Array,
    shape: readonly [rows: number, neurons: number],
    options: ActivationsOptions = {},
  ) {
    const [rows, neurons] = shape;
    assertShape(rows, neurons);
    if (data.length !== rows * neurons) {
      throw new ShapeError(
        `The data has ${data.length} values, but ${rows} rows × ${neurons} neurons need ${rows * neurons}.`,
        "Give a shape [rows, neurons] that matches the data.",
      );
    }
    const dtype = options.dtype ?? "f32";
    assertStorageType(dtype);
    const fits =
      dtype === "f32"
        ? data instanceof Float32Array
        : dtype === "f16"
          ? data instanceof Uint16Array
          : data instanceof Uint8Array;
    if (!fits) {
      throw new OptionError(
        `The storage type "${dtype}" does not fit a ${data.constructor.name}.`,
        "Use Float32Array for f32, Uint16Array (bits) for f16, Uint8Array for u8.",
      );
    }
    if (
      dtype === "u8" &&
      (options.code?.scale.length !== neurons || options.code.offset.length !== neurons)
    ) {
      throw new ShapeError(
        "u8 activations need a scale and an offset per neuron.",
        `Give code: { scale, offset } with ${neurons} values each.`,
      );
    }
    if (options.groups && options.groups.length !== rows) {
      throw new ShapeError(
        `There are ${options.groups.length} groups for ${rows} rows.`,
        "Give one group per row.",
      );
    }
    this.rows = rows;
    this.neurons = neurons;
    this.dtype = dtype;
    this.data = data;
    this.code = options.code;
    this.groups = options.groups;
    this.provenance = options.provenance ?? {};
  }

  /**
   * Reads any matrix that a user is likely to hold. Float32 data is borrowed, everything else converted once.
   * @throws ShapeError for ragged rows, a shape that is not two-dimensional, or a length that does not match
   */
  static from(input: ActivationsInput, options: ActivationsOptions = {}): Activations {
    if (input instanceof Activations) return input;
    if (!isObject(input)) throw notAMatrix();
    if (!("data" in input)) return Activations.#fromRows(input, options);
    const shape = "shape" in input ? input.shape : input.dims;
    // JavaScript callers reach this without the types.
    if (!Array.isArray(shape) && !ArrayBuffer.isView(shape)) throw notAMatrix();
    if (shape.length !== 2) {
      throw new ShapeError(
        `The shape [${shape.join(", ")}] has ${shape.length} dimensions.`,
        "Reshape to two dimensions, [rows, neurons].",
      );
    }
    const data = storage(input.data as Numbers, options.dtype ?? "f32");
    return new Activations(data, [shape[0], shape[1]], options);
  }

  static #fromRows(rows: readonly ArrayLike<number>[], options: ActivationsOptions): Activations {
    if (options.dtype !== undefined && options.dtype !== "f32") {
      throw new OptionError(
        `Nested arrays hold numbers, not ${options.dtype} codes.`,
        "Leave dtype out and call toStorage() on the result.",
      );
    }
    if (typeof rows.length !== "number" || (rows.length > 0 && !isObject(rows[0]))) throw notAMatrix();
    const neurons = rows[0]?.length ?? 0;
    const data = new Float32Array(rows.length * neurons);
    for (const [i, row] of Array.from(rows).entries()) {
      if (row.length !== neurons) {
        throw new ShapeError(
          `Row ${i} has ${row.length} values, row 0 has ${neurons}.`,
          "Give rows of equal length.",
        );
      }
      data.set(row, i * neurons);
    }
    return new Activations(data, [rows.length, neurons], options);
  }

  /** Row-major float32 values [rows × neurons]: the data itself when it is f32, else a decoded copy. */
  toFloat32(): Float32Array {
    if (this.dtype === "f32") return this.data as Float32Array;
    const out = new Float32Array(this.data.length);
    for (let i = 0; i < this.rows; i++) this.decodeRow(i, out.subarray(i * this.neurons));
    return out;
  }

  /** Writes row i as float32 into the first `neurons` places of `out` and returns it. */
  decodeRow(i: number, out: Float32Array): Float32Array {
    const d = this.neurons;
    const row = this.data.subarray(i * d, (i + 1) * d);
    if (row instanceof Float32Array) out.set(row);
    else if (row instanceof Uint16Array) halvesToFloats(row, out);
    else {
      const { scale, offset } = this.code!;
      for (let j = 0; j < d; j++) out[j] = Math.fround(scale[j] * row[j]) + offset[j];
    }
    return out;
  }

  /** The columns given, in that order, as f32 [rows × columns.length]; groups and provenance are kept. */
  gatherColumns(columns: ArrayLike<number>): Activations {
    const d = this.neurons;
    const k = columns.length;
    const { data, code } = this;
    for (let c = 0; c < k; c++) {
      const j = columns[c];
      if (!Number.isInteger(j) || j < 0 || j >= d) {
        throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${d - 1}.`);
      }
    }
    const out = new Float32Array(this.rows * k);
    const table = this.dtype === "f16" ? halfTable() : undefined;
    for (let i = 0; i < this.rows; i++) {
      for (let c = 0; c < k; c++) {
        const j = columns[c];
        const value = data[i * d + j];
        out[i * k + c] = table
          ? table[value]
          : code
            ? Math.fround(code.scale[j] * value) + code.offset[j]
            : value;
      }
    }
    return new Activations(out, [this.rows, k], this.#labels());
  }

  /** The rows given, in that order, in the same storage. */
  selectRows(rows: ArrayLike<number>): Activations {
    const d = this.neurons;
    const Type = this.data.constructor as Float32ArrayConstructor;
    const out = new Type(rows.length * d);
    for (let i = 0; i < rows.length; i++) {
      const r = rows[i];
      if (!Number.isInteger(r) || r < 0 || r >= this.rows) {
        throw new ShapeError(`Row ${r} does not exist.`, `Rows run from 0 to ${this.rows - 1}.`);
      }
      out.set(this.data.subarray(r * d, (r + 1) * d), i * d);
    }
    const { tokens, ...provenance } = this.provenance;
    return new Activations(out, [rows.length, d], {
      dtype: this.dtype,
      ...(this.code && { code: this.code }),
      ...(this.groups && { groups: Array.from(rows, (r) => this.groups![r]) }),
      provenance: tokens ? { ...provenance, tokens: Array.from(rows, (r) => tokens[r]) } : provenance,
    });
  }

  /** A view of the rows [start, end), without a copy. */
  slice(start: number, end: number): Activations {
    const d = this.neurons;
    const { tokens, ...provenance } = this.provenance;
    return new Activations(this.data.subarray(start * d, end * d), [end - start, d], {
      dtype: this.dtype,
      ...(this.code && { code: this.code }),
      ...(this.groups && { groups: this.groups.slice(start, end) }),
      provenance: tokens ? { ...provenance, tokens: tokens.slice(start, end) } : provenance,
    });
  }

  /**
   * The same matrix in another storage type. f16 rounds to nearest; u8 spreads 256 levels over each neuron's range,
   * so the error of a value is at most half a level, (max − min)/510.
   * @throws NonFiniteError for "u8" when a value is NaN or infinite: no code stands for it
   */
  toStorage(dtype: StorageType): Activations {
    assertStorageType(dtype);
    if (dtype === this.dtype) return this;
    const values = this.toFloat32();
    const shape = [this.rows, this.neurons] as const;
    if (dtype === "f32") return new Activations(values, shape, this.#labels());
    if (dtype === "f16") return new Activations(floatsToHalves(values), shape, { ...this.#labels(), dtype });
    this.assertFinite();
    const { codes, code } = quantise(values, this.rows, this.neurons);
    return new Activations(codes, shape, { ...this.#labels(), dtype, code });
  }

  /**
   * @throws NonFiniteError naming the first NaN or infinite value
   */
  assertFinite(): void {
    if (this.dtype === "u8") {
      const { scale, offset } = this.code!;
      for (let j = 0; j < this.neurons; j++) {
        if (!Number.isFinite(scale[j]) || !Number.isFinite(offset[j])) {
          throw new NonFiniteError(
            `Neuron ${j} has scale ${scale[j]} and offset ${offset[j]}.`,
            "Quantise activations that are finite.",
          );
        }
      }
      return;
    }
    const data = this.data;
    for (let i = 0; i < data.length; i++) {
      const finite = this.dtype === "f16" ? (data[i] & 0x7c00) !== 0x7c00 : data[i] - data[i] === 0;
      if (!finite) {
        const value = this.dtype === "f16" ? halfTable()[data[i]] : data[i];
        throw new NonFiniteError(
          `Row ${Math.floor(i / this.neurons)}, neuron ${i % this.neurons} is ${value}.`,
          "Remove rows that are not finite, or store the activations in a type with a larger range.",
        );
      }
    }
  }

  #labels(): ActivationsOptions {
    return { provenance: this.provenance, ...(this.groups && { groups: this.groups }) };
  }
}

/**
 * @throws ShapeError when a dimension is not a whole number
 * @throws EmptyDataError when there are no rows or no neurons
 */
export function assertShape(rows: number, neurons: number): void {
  if (!Number.isInteger(rows) || !Number.isInteger(neurons) || rows < 0 || neurons < 0) {
    throw new ShapeError(
      `The shape [${rows}, ${neurons}] is not two whole numbers.`,
      "Give [rows, neurons].",
    );
  }
  if (rows === 0 || neurons === 0) {
    throw new EmptyDataError(
      `The activations are empty: ${rows} rows × ${neurons} neurons.`,
      "Give at least one row and one neuron.",
    );
  }
}

/** Zeros [rows × neurons] in the storage type of the options. */
export function zeroActivations(
  rows: number,
  neurons: number,
  options: ActivationsOptions = {},
): Activations {
  const dtype = options.dtype ?? "f32";
  assertStorageType(dtype);
  assertShape(rows, neurons);
  const length = rows * neurons;
  const data =
    dtype === "f32"
      ? new Float32Array(length)
      : dtype === "f16"
        ? new Uint16Array(length)
        : new Uint8Array(length);
  return new Activations(data, [rows, neurons], options);
}

/** @throws OptionError when a storage type is unknown */
export function assertStorageType(dtype: StorageType): void {
  if (["f32", "f16", "u8"].includes(dtype)) return;
  throw new OptionError(
    `The storage type ${JSON.stringify(dtype)} is not known.`,
    'Use "f32", "f16" or "u8".',
  );
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function notAMatrix(): ShapeError {
  return new ShapeError(
    "The activations are not a matrix.",
    "Give { data, shape: [rows, neurons] }, one array per row, or Activations.",
  );
}

function storage(data: Numbers, dtype: StorageType): Float32Array | Uint16Array | Uint8Array {
  if (dtype !== "f32") return data as Uint16Array | Uint8Array;
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    throw new OptionError("The data holds 64-bit integers.", "Convert it: Float32Array.from(data, Number).");
  }
  if (data instanceof Uint16Array || data instanceof Uint8Array) {
    throw new OptionError(
      `A ${data.constructor.name} holds codes, and their meaning was not given.`,
      'Say dtype: "f16" (binary16 bits) or dtype: "u8" with its code, or convert to Float32Array.',
    );
  }
  return Float32Array.from(data);
}

function quantise(
  values: Float32Array,
  rows: number,
  neurons: number,
): { codes: Uint8Array; code: AffineCode } {
  const offset = values.slice(0, neurons);
  const high = values.slice(0, neurons);
  for (let i = 1; i < rows; i++) {
    for (let j = 0; j < neurons; j++) {
      const value = values[i * neurons + j];
      if (value < offset[j]) offset[j] = value;
      else if (value > high[j]) high[j] = value;
    }
  }
  const scale = new Float32Array(neurons);
  for (let j = 0; j < neurons; j++) scale[j] = (high[j] - offset[j]) / 255;
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const j = i % neurons;
    codes[i] = scale[j] > 0 ? Math.min(255, Math.round((values[i] - offset[j]) / scale[j])) : 0;
  }
  return { codes, code: { scale, offset } };
}
