/** Reading and writing safetensors files, a tensor or a range of rows at a time. Little-endian hosts only. */
import type { Tensor, TensorInfo, TensorSource, TensorType } from "../data/tensor.ts";
import { FormatError, MissingTensorError, OptionError, ShapeError } from "../errors.ts";
import { allocateBytes, type ByteSource, type ReadOptions } from "./byte-source.ts";
import {
  arrayName,
  bytesAs,
  bytesOf,
  bytesPerElement,
  elementCount,
  entriesOf,
  toFloats,
  type Named,
  type RawArray,
  type RawTensor,
} from "./raw-tensor.ts";
import {
  layOutSafetensors,
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  type TensorPlace,
} from "./safetensors-header.ts";

/** Bytes of a tensor that are widened at a time: a multiple of every element's size. */
const BLOCK = 2 ** 23;

/**
 * Opens a file: only its header is read.
 *
 * @example
 * const file = await openSafetensors(blobSource(input.files[0]));
 * const { shape, data } = await file.read("transformer.wte.weight");
 *
 * @throws FormatError when the header is damaged, inconsistent or hostile
 */
export async function openSafetensors(
  source: ByteSource,
  options: ReadOptions = {},
): Promise<SafetensorsFile> {
  const remedy = "Check that it is a complete safetensors file; pickled checkpoints must be converted first.";
  if (source.size < 8) {
    throw new FormatError(`${source.name} has ${source.size} bytes, too few for a header.`, remedy);
  }
  const prefix = await source.read(0, 8, options);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || 8 + length > source.size) {
    throw new FormatError(
      `${source.name} claims a header of ${length} bytes: the file has ${source.size}, and headers have at most ` +
        `${MAX_HEADER_BYTES}.`,
      remedy,
    );
  }
  const bytes = await source.read(8, 8 + length, options);
  const dataStart = 8 + length;
  return new SafetensorsFile(
    source,
    parseSafetensorsHeader(bytes, source.size - dataStart, source.name),
    dataStart,
  );
}

/** An open file. Each read fetches the bytes it needs and nothing is cached. */
export class SafetensorsFile implements TensorSource {
  readonly name: string;
  /** Every tensor's type and shape, in file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The writer's remarks, e.g. `format`. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #places: ReadonlyMap<string, TensorPlace>;
  readonly #source: ByteSource;
  readonly #dataStart: number;

  /** @internal Use {@link openSafetensors}. */
  constructor(source: ByteSource, header: SafetensorsHeader, dataStart: number) {
    this.name = source.name;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
    this.#places = header.tensors;
    this.#source = source;
    this.#dataStart = dataStart;
  }

  /**
   * One tensor as float32; F64 and integers of 32 bits and more round to nearest.
   * @throws MissingTensorError when there is no tensor of that name
   */
  async read(name: string, options: ReadOptions = {}): Promise<Tensor> {
    const place = this.#place(name);
    const { dtype, shape, start, end } = place;
    if (dtype === "F32" || end - start <= BLOCK) {
      return { shape, data: toFloats(await this.readRaw(name, options)) };
    }
    // Block by block: memory holds the float32 values, and not the stored ones beside them.
    const bytes = bytesPerElement(dtype);
    const data = new Float32Array(allocateBytes(((end - start) / bytes) * 4, `Tensor ${name}`).buffer);
    for (let at = start; at < end; at += BLOCK) {
      const block = await this.#load(place, shape, at, Math.min(at + BLOCK, end), options);
      data.set(toFloats(block), (at - start) / bytes);
    }
    return { shape, data };
  }

  /**
   * One tensor in its stored type; F16 and BF16 as bits.
   * @throws MissingTensorError when there is no tensor of that name
   */
  async readRaw(name: string, options: ReadOptions = {}): Promise<RawTensor> {
    const place = this.#place(name);
    return this.#load(place, place.shape, place.start, place.end, options);
  }

  /**
   * Rows [start, end) of the leading dimension as float32; only their bytes are read.
   * @throws MissingTensorError when there is no tensor of that name
   * @throws ShapeError when the tensor has no such rows
   */
  async readRows(name: string, start: number, end: number, options: ReadOptions = {}): Promise<Tensor> {
    const raw = await this.readRawRows(name, start, end, options);
    return { shape: raw.shape, data: toFloats(raw) };
  }

  /** Rows [start, end) of the leading dimension in their stored type; throws as {@link SafetensorsFile.readRows}. */
  async readRawRows(name: string, start: number, end: number, options: ReadOptions = {}): Promise<RawTensor> {
    const place = this.#place(name);
    const [rows, ...rest] = place.shape;
    const whole = Number.isInteger(start) && Number.isInteger(end);
    if (!whole || place.shape.length === 0 || start < 0 || end < start || end > rows) {
      throw new ShapeError(
        `Rows ${start} to ${end} of ${JSON.stringify(name)} do not exist: its shape is [${place.shape.join(", ")}].`,
        "Give 0 ≤ start ≤ end ≤ the leading dimension.",
      );
    }
    const rowBytes = elementCount(rest)! * bytesPerElement(place.dtype);
    const at = place.start;
    return this.#load(place, [end - start, ...rest], at + start * rowBytes, at + end * rowBytes, options);
  }

  async #load(
    place: TensorPlace,
    shape: readonly number[],
    start: number,
    end: number,
    options: ReadOptions,
  ): Promise<RawTensor> {
    const bytes = await this.#source.read(this.#dataStart + start, this.#dataStart + end, options);
    return { dtype: place.dtype, shape, data: bytesAs(place.dtype, bytes) };
  }

  #place(name: string): TensorPlace {
    const place = this.#places.get(name);
    if (place) return place;
    const names = [...this.#places.keys()].slice(0, 8);
    throw new MissingTensorError(
      `${this.name} has no tensor ${JSON.stringify(name)}.`,
      `It has ${this.#places.size} tensors: ${names.join(", ")}${this.#places.size > 8 ? ", …" : ""}.`,
    );
  }
}

/**
 * A whole file in memory. For tensors that do not fit, see {@link SafetensorsWriter}.
 *
 * @example
 * const bytes = writeSafetensors({ mean: { dtype: "F32", shape: [3], data: Float32Array.of(1, 2, 3) } });
 *
 * @throws OptionError when a name, shape or metadata value cannot be stored, or an array is not of the tensor's type
 * @throws ShapeError when the number of values does not match the shape
 */
export function writeSafetensors(tensors: Named<RawTensor>, metadata: Named<string> = {}): Uint8Array {
  const byName = new Map(entriesOf(tensors));
  const { header, places } = layOutSafetensors(byName, metadata);
  let size = header.length;
  for (const [name, { data, shape }] of byName) {
    const place = places.get(name)!;
    assertArray(name, place.dtype, data);
    if (data.byteLength !== place.end - place.start) {
      throw new ShapeError(
        `Tensor ${JSON.stringify(name)} has ${data.length} values for the shape [${shape.join(", ")}].`,
        "Give a shape that matches the data.",
      );
    }
    size += data.byteLength;
  }
  const out = new Uint8Array(size);
  out.set(header);
  for (const [name, { start }] of places) out.set(bytesOf(byName.get(name)!.data), header.length + start);
  return out;
}

/** Where written bytes go, in order. The bytes may be a view: they must be stored before the promise resolves. */
export type ByteSink = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes a file of known shapes front to back, so that a matrix can be stored while its rows are computed. Tensors are
 * appended in the order of {@link SafetensorsWriter.order}, each in as many blocks as wished.
 *
 * @example
 * const writer = await SafetensorsWriter.open(sink, { activations: { dtype: "F32", shape: [rows, neurons] } });
 * for await (const block of blocks) await writer.append("activations", block);
 * await writer.close();
 */
export class SafetensorsWriter {
  /** Tensor names in file order: by type from wide to narrow, then by name. */
  readonly order: readonly string[];
  readonly #sink: ByteSink;
  readonly #places: ReadonlyMap<string, TensorPlace>;
  #written = 0;

  private constructor(sink: ByteSink, places: ReadonlyMap<string, TensorPlace>) {
    this.#sink = sink;
    this.#places = places;
    this.order = [...places.keys()];
  }

  /**
   * Writes the header.
   * @throws OptionError when a name, shape or metadata value cannot be stored
   */
  static async open(
    sink: ByteSink,
    tensors: Named<TensorInfo>,
    metadata: Named<string> = {},
  ): Promise<SafetensorsWriter> {
    const { header, places } = layOutSafetensors(tensors, metadata);
    await sink(header);
    return new SafetensorsWriter(sink, places);
  }

  /**
   * Writes the next values of a tensor. Await each call before the next.
   * @throws OptionError when it is not that tensor's turn, or the array is not of its type
   * @throws ShapeError when there are more values than the tensor has left
   */
  async append(name: string, data: RawArray): Promise<void> {
    const place = this.#places.get(name);
    const turn = this.#turn();
    if (place && (place.start === place.end ? place.start <= this.#written : name === turn)) {
      assertArray(name, place.dtype, data);
    } else {
      throw new OptionError(
        `It is not the turn of tensor ${JSON.stringify(name)}.`,
        turn === undefined
          ? "Every tensor is complete: call close()."
          : `Append the rest of ${JSON.stringify(turn)} first.`,
      );
    }
    if (data.byteLength > place.end - Math.max(place.start, this.#written)) {
      throw new ShapeError(
        `Tensor ${JSON.stringify(name)} has room for ${(place.end - this.#written) / bytesPerElement(place.dtype)} ` +
          `more values, and ${data.length} were given.`,
        `Its shape was given as [${place.shape.join(", ")}].`,
      );
    }
    this.#written += data.byteLength;
    if (data.byteLength > 0) await this.#sink(bytesOf(data));
  }

  /** @throws ShapeError when a tensor is not complete: the file is then not valid */
  // eslint-disable-next-line @typescript-eslint/require-await -- may flush one day, and callers already await
  async close(): Promise<void> {
    const turn = this.#turn();
    if (turn === undefined) return;
    const { start, end, dtype } = this.#places.get(turn)!;
    throw new ShapeError(
      `Tensor ${JSON.stringify(turn)} got ${(this.#written - start) / bytesPerElement(dtype)} of its ` +
        `${(end - start) / bytesPerElement(dtype)} values.`,
      "Append every row before closing, and delete the incomplete file.",
    );
  }

  /** The tensor whose bytes come next; undefined at the end. */
  #turn(): string | undefined {
    for (const [name, { end }] of this.#places) if (end > this.#written) return name;
    return undefined;
  }
}

function assertArray(name: string, dtype: TensorType, data: RawArray): void {
  // The tag, unlike instanceof, also holds for arrays of another realm.
  if (data[Symbol.toStringTag] === arrayName(dtype)) return;
  throw new OptionError(
    `Tensor ${JSON.stringify(name)} is ${dtype} and was given a ${data[Symbol.toStringTag]}.`,
    `Give a ${arrayName(dtype)}.`,
  );
}
