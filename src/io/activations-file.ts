/**
 * Activations as safetensors files: tensor `activations` [rows × neurons] (F32, F16 or U8), with U8 also `scale` and
 * `offset` [neurons] (F32), with groups `groups` [rows] (I32 codes into the list of ids in the metadata). Provenance
 * is JSON in the metadata. Any other tensor in the file is the user's own, e.g. labels.
 */
import {
  Activations,
  type ActivationsOptions,
  type AffineCode,
  type GroupId,
  type Provenance,
  type StorageType,
} from "../data/activations.ts";
import type { TensorInfo, TensorType } from "../data/tensor.ts";
import { FormatError, MissingTensorError, OptionError, ShapeError } from "../errors.ts";
import type { ReadOptions } from "./byte-source.ts";
import { entriesOf, type Named, type RawTensor } from "./raw-tensor.ts";
import { SafetensorsWriter, writeSafetensors, type ByteSink, type SafetensorsFile } from "./safetensors.ts";

const VERSION = "1";
const TYPES = { f32: "F32", f16: "F16", u8: "U8" } as const satisfies Record<StorageType, TensorType>;
const RESERVED: readonly string[] = ["activations", "scale", "offset", "groups"];
const REMEDY = "Write the file again with writeActivations, or remove the wrong entry.";

/** What is known of activations before their values are. */
export interface ActivationsHeader {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  /** Required with u8. */
  readonly code?: AffineCode | undefined;
  readonly groups?: readonly GroupId[] | undefined;
  readonly provenance?: Provenance | undefined;
}

export interface WriteActivationsOptions {
  /** Further tensors to store beside the activations, e.g. labels. */
  readonly extra?: Named<RawTensor>;
}

/**
 * A whole file in memory; {@link readActivations} gives back the same activations, bit for bit.
 * @throws OptionError when an extra tensor takes a reserved name, or a group id is NaN or infinite
 */
export function writeActivations(
  activations: Activations,
  options: WriteActivationsOptions = {},
): Uint8Array {
  const { info, constants, metadata } = describe(activations, options);
  constants.set("activations", { ...info, data: activations.data });
  return writeSafetensors(constants, metadata);
}

/**
 * Writes activations row block by row block, as they are captured.
 *
 * @example
 * const writer = await ActivationsWriter.open(sink, { rows, neurons, dtype: "f32", groups });
 * for await (const block of blocks) await writer.append(block);
 * await writer.close();
 */
export class ActivationsWriter {
  readonly #writer: SafetensorsWriter;
  readonly #header: ActivationsHeader;
  /** Tensors that come after the activations in the file. */
  readonly #rest: ReadonlyMap<string, RawTensor>;

  private constructor(
    writer: SafetensorsWriter,
    header: ActivationsHeader,
    rest: ReadonlyMap<string, RawTensor>,
  ) {
    this.#writer = writer;
    this.#header = header;
    this.#rest = rest;
  }

  /**
   * Writes the header and what precedes the activations.
   * @throws OptionError or ShapeError when the header or an extra tensor cannot be stored
   */
  static async open(
    sink: ByteSink,
    header: ActivationsHeader,
    options: WriteActivationsOptions = {},
  ): Promise<ActivationsWriter> {
    assertHeader(header);
    const { info, constants, metadata } = describe(header, options);
    const tensors = new Map<string, TensorInfo>(constants).set("activations", info);
    const writer = await SafetensorsWriter.open(sink, tensors, metadata);
    for (const name of writer.order) {
      if (name === "activations") break;
      await writer.append(name, constants.get(name)!.data);
      constants.delete(name);
    }
    return new ActivationsWriter(writer, header, constants);
  }

  /**
   * Writes the next rows. Await each call before the next.
   * @throws ShapeError when the block has other neurons, or more rows than are left
   * @throws OptionError when its storage type is not the file's
   */
  async append(block: Activations): Promise<void> {
    const { neurons, dtype } = this.#header;
    if (block.neurons !== neurons) {
      throw new ShapeError(
        `A block has ${block.neurons} neurons, the file ${neurons}.`,
        "Append rows of the same layer.",
      );
    }
    if (block.dtype !== dtype) {
      throw new OptionError(
        `A block is stored as ${block.dtype}, the file as ${dtype}.`,
        `Convert it with toStorage("${dtype}").`,
      );
    }
    await this.#writer.append("activations", block.data);
  }

  /** Writes what follows the activations. @throws ShapeError when rows are missing */
  async close(): Promise<void> {
    for (const name of this.#writer.order) {
      const tensor = this.#rest.get(name);
      if (tensor) await this.#writer.append(name, tensor.data);
    }
    await this.#writer.close();
  }
}

function assertHeader({ rows, neurons, dtype, code, groups }: ActivationsHeader): void {
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(neurons) || rows < 1 || neurons < 1) {
    throw new ShapeError(`The shape [${rows}, ${neurons}] is not two positive whole numbers.`, "Give both.");
  }
  if (groups && groups.length !== rows) {
    throw new ShapeError(`There are ${groups.length} groups for ${rows} rows.`, "Give one group per row.");
  }
  if (dtype === "u8" && (code?.scale.length !== neurons || code.offset.length !== neurons)) {
    throw new ShapeError(
      "u8 activations need a scale and an offset per neuron.",
      `Give code: { scale, offset } with ${neurons} values each.`,
    );
  }
}

/** Everything of a file except the activations' values. */
function describe(
  header: ActivationsHeader,
  { extra = {} }: WriteActivationsOptions,
): { info: TensorInfo; constants: Map<string, RawTensor>; metadata: Map<string, string> } {
  const { rows, neurons, dtype, code, groups, provenance } = header;
  const constants = new Map<string, RawTensor>();
  const metadata = new Map([
    ["format", "sparseprobe-activations"],
    ["version", VERSION],
  ]);
  for (const [name, tensor] of entriesOf(extra)) {
    if (RESERVED.includes(name)) {
      throw new OptionError(`An extra tensor is called "${name}".`, "That name is taken: choose another.");
    }
    constants.set(name, tensor);
  }
  if (dtype === "u8" && code) {
    constants.set("scale", { dtype: "F32", shape: [neurons], data: code.scale });
    constants.set("offset", { dtype: "F32", shape: [neurons], data: code.offset });
  }
  if (groups) {
    const codes = new Map<GroupId, number>();
    const data = new Int32Array(rows);
    for (const [i, id] of groups.entries()) {
      if (typeof id === "number" && !Number.isFinite(id)) {
        throw new OptionError(`Row ${i} has the group ${id}.`, "Use strings or finite numbers as group ids.");
      }
      const groupCode = codes.get(id) ?? codes.size;
      codes.set(id, groupCode);
      data[i] = groupCode;
    }
    constants.set("groups", { dtype: "I32", shape: [rows], data });
    metadata.set("groups", JSON.stringify([...codes.keys()]));
  }
  if (provenance && Object.keys(provenance).length > 0)
    metadata.set("provenance", JSON.stringify(provenance));
  return { info: { dtype: TYPES[dtype], shape: [rows, neurons] }, constants, metadata };
}

/**
 * Reads activations from an open file. A plain file with only a two-dimensional tensor `activations` (F32, F16 or, with
 * `scale` and `offset`, U8) is accepted too. Extra tensors are read with the file's own methods.
 *
 * @throws MissingTensorError when there is no tensor `activations`
 * @throws FormatError when the file's parts do not fit together
 */
export async function readActivations(
  file: SafetensorsFile,
  options: ReadOptions = {},
): Promise<Activations> {
  const { rows, neurons, ...header } = await readHeader(file, options);
  const { data } = await file.readRaw("activations", options);
  return new Activations(data as StoredValues, [rows, neurons], header);
}

/** A file of activations as blocks of rows, for `SparseProbe.fit` and its kin: memory holds one block. */
export interface ActivationFileBlocks {
  readonly rows: number;
  readonly neurons: number;
  readonly groups?: readonly GroupId[];
  readonly provenance: Provenance;
  /** Reads the file from its first row again at each call. */
  blocks(): AsyncIterable<Activations>;
}

export interface ActivationBlocksOptions extends ReadOptions {
  /** Rows per block. Default: as many as fit in 64 MiB, at least one. */
  readonly blockRows?: number;
}

/** Bytes of a block, where the caller does not say how many rows it has. */
const BLOCK_BYTES = 64 * 2 ** 20;

/**
 * Opens the same files as {@link readActivations}, but reads values only as blocks are asked for. The file has to stay
 * open for as long.
 *
 * @throws MissingTensorError | FormatError as `readActivations` does
 * @throws OptionError when `blockRows` is not a whole number of at least 1
 * @example
 * const blocks = await activationBlocks(await openSafetensors(await fileSource("activations.safetensors")));
 * const probe = await SparseProbe.fit(blocks, labels, 4);
 */
export async function activationBlocks(
  file: SafetensorsFile,
  options: ActivationBlocksOptions = {},
): Promise<ActivationFileBlocks> {
  const { rows, neurons, groups, provenance = {}, ...stored } = await readHeader(file, options);
  const bytesPerRow = neurons * { f32: 4, f16: 2, u8: 1 }[stored.dtype];
  const blockRows = options.blockRows ?? Math.max(1, Math.floor(BLOCK_BYTES / bytesPerRow));
  if (!Number.isInteger(blockRows) || blockRows < 1) {
    throw new OptionError(`blockRows is ${blockRows}.`, "Give a whole number of at least 1.");
  }
  return {
    rows,
    neurons,
    ...(groups && { groups }),
    provenance,
    async *blocks() {
      for (let start = 0; start < rows; start += blockRows) {
        const end = Math.min(rows, start + blockRows);
        const { data } = await file.readRawRows("activations", start, end, options);
        yield new Activations(data as StoredValues, [end - start, neurons], stored);
      }
    },
  };
}

type StoredValues = Float32Array | Uint16Array | Uint8Array;

/** Everything but the values. */
async function readHeader(
  file: SafetensorsFile,
  options: ReadOptions,
): Promise<ActivationsOptions & { rows: number; neurons: number; dtype: StorageType }> {
  const version = file.metadata.get("version");
  if (file.metadata.get("format") === "sparseprobe-activations" && version !== VERSION) {
    throw new FormatError(
      `${file.name} has version ${JSON.stringify(version)} of the activations format.`,
      `This release reads version ${VERSION}: update it.`,
    );
  }
  const info = file.tensors.get("activations");
  if (!info) {
    throw new MissingTensorError(
      `${file.name} has no tensor "activations".`,
      "Rename the tensor that holds them.",
    );
  }
  const dtype = (Object.keys(TYPES) as StorageType[]).find((type) => TYPES[type] === info.dtype);
  const [rows, neurons] = info.shape;
  if (!dtype || info.shape.length !== 2 || rows === 0 || neurons === 0) {
    throw new FormatError(
      `The activations of ${file.name} are ${info.dtype} [${info.shape.join(", ")}].`,
      "Store F32, F16 or U8 values of shape [rows, neurons], with at least one of each.",
    );
  }
  const part = async (name: string, type: TensorType, length: number): Promise<RawTensor> => {
    const found = file.tensors.get(name);
    if (found?.dtype !== type || found.shape.length !== 1 || found.shape[0] !== length) {
      throw new FormatError(
        `${file.name} has no tensor "${name}" of type ${type} and shape [${length}].`,
        REMEDY,
      );
    }
    return file.readRaw(name, options);
  };
  const groups = readGroups(file, file.tensors.has("groups") ? await part("groups", "I32", rows) : undefined);
  const provenance = readProvenance(file, rows);
  const code = dtype === "u8" && {
    scale: (await part("scale", "F32", neurons)).data as Float32Array,
    offset: (await part("offset", "F32", neurons)).data as Float32Array,
  };
  return { rows, neurons, dtype, provenance, ...(code && { code }), ...(groups && { groups }) };
}

function readGroups(file: SafetensorsFile, codes: RawTensor | undefined): GroupId[] | undefined {
  const ids = readJson(file, "groups");
  if (!codes && ids === undefined) return undefined;
  const valid = (id: unknown) => typeof id === "string" || typeof id === "number";
  if (!codes || !Array.isArray(ids) || !ids.every(valid)) {
    throw new FormatError(
      `${file.name} must have both a tensor "groups" and a list of ids, strings or numbers, in its metadata.`,
      REMEDY,
    );
  }
  return Array.from(codes.data as Int32Array, (groupCode, i) => {
    if (groupCode >= 0 && groupCode < ids.length) return ids[groupCode];
    throw new FormatError(`Row ${i} of ${file.name} has group ${groupCode} of ${ids.length}.`, REMEDY);
  });
}

function readProvenance(file: SafetensorsFile, rows: number): Provenance {
  const json = readJson(file, "provenance") ?? {};
  if (typeof json !== "object" || Array.isArray(json)) {
    throw new FormatError(`The provenance in ${file.name} is not an object.`, REMEDY);
  }
  const { tokens, ...fields }: Partial<Record<keyof Provenance, unknown>> = json;
  const known: Record<string, unknown> = {};
  for (const key of ["model", "hookPoint", "aggregation"] as const) {
    if (fields[key] === undefined) continue;
    if (typeof fields[key] !== "string") {
      throw new FormatError(`The provenance in ${file.name} has a ${key} that is no string.`, REMEDY);
    }
    known[key] = fields[key];
  }
  if (tokens === undefined) return known;
  const isToken = (token: unknown) => typeof token === "string";
  if (!Array.isArray(tokens) || tokens.length !== rows || !tokens.every(isToken)) {
    throw new FormatError(
      `The provenance in ${file.name} has tokens that are not one string per row.`,
      REMEDY,
    );
  }
  return { ...known, tokens };
}

function readJson(file: SafetensorsFile, key: string): unknown {
  const text = file.metadata.get(key);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`The ${key} in the metadata of ${file.name} are not valid JSON.`, REMEDY, {
      cause,
    });
  }
}
