/** NumPy's .npz format: a zip archive of .npy files, stored or deflated; the work of `readNpz` and `writeNpz`. */
import type { TensorType } from "../data/tensor.ts";
import { FormatError, OptionError } from "../errors.ts";
import { readNpy, writeNpy } from "./npy.ts";
import { entriesOf, type Named, type RawArray, type RawTensor } from "./raw-tensor.ts";
import type { ZipMember } from "./zip-directory.ts";

/** Most that deflate can shrink anything: 258 bytes from two bits. */
const MAX_DEFLATE_RATIO = 1032;

const DEFAULT_MAX_BYTES = 2 ** 31;

export interface ReadNpzOptions {
  /** Most bytes that the arrays may take once inflated, all together; default 2 GiB. */
  readonly maxBytes?: number;
  /** Read these arrays only, and check the size of these only. */
  readonly names?: readonly string[];
}

export async function readArchive(
  bytes: Uint8Array,
  options: ReadNpzOptions,
): Promise<Map<string, RawTensor>> {
  const { maxBytes = DEFAULT_MAX_BYTES, names } = options;
  const { readZipDirectory } = await import("./zip-directory.ts");
  const members = readZipDirectory(bytes)
    .map((member) => [arrayNameOf(member), member] as const)
    .filter(([name]) => names?.includes(name) ?? true);
  let total = 0;
  for (const [name, { size, stored }] of members) {
    total += size;
    if (size > stored.length * MAX_DEFLATE_RATIO) {
      throw new FormatError(
        `Array ${JSON.stringify(name)} cannot inflate from ${stored.length} to ${size} bytes.`,
        "The archive is damaged or hostile: save it again.",
      );
    }
  }
  if (total > maxBytes) {
    throw new FormatError(
      `The arrays take ${total} bytes once inflated, more than ${maxBytes}.`,
      "Raise maxBytes if you trust the archive, or read fewer arrays with the names option.",
    );
  }
  const arrays = new Map<string, RawTensor>();
  for (const [name, member] of members) arrays.set(name, readNpy(await inflate(member)));
  for (const name of names ?? []) {
    if (arrays.has(name)) continue;
    throw new FormatError(
      `The archive has no array ${JSON.stringify(name)}.`,
      "Check the names it was saved with.",
    );
  }
  return arrays;
}

function arrayNameOf(member: ZipMember): string {
  if (member.name.endsWith(".npy") && member.name !== "__proto__.npy") return member.name.slice(0, -4);
  throw new FormatError(
    `The archive holds ${JSON.stringify(member.name)}, which is no array.`,
    "Save arrays only, with numpy.savez.",
  );
}

async function inflate({ name, deflated, crc32: expected, size, stored }: ZipMember): Promise<Uint8Array> {
  let bytes = stored;
  if (deflated) {
    const { inflateSync } = await import("fflate");
    try {
      // One byte of room shows data that is longer than claimed; fflate itself would drop the rest in silence.
      bytes = inflateSync(stored, { out: new Uint8Array(size + 1) });
    } catch (cause) {
      throw new FormatError(`${name} in the archive does not inflate.`, "Save or download it again.", {
        cause,
      });
    }
  }
  const { crc32 } = await import("./zip-directory.ts");
  if (bytes.length !== size || crc32(bytes) !== expected) {
    throw new FormatError(`${name} in the archive fails its checksum.`, "Save or download it again.");
  }
  return bytes;
}

export type NpzArrays = Named<{
  readonly data: RawArray;
  readonly shape: readonly number[];
  readonly dtype?: TensorType;
}>;

export async function writeArchive(
  arrays: NpzArrays,
  options: { readonly compress?: boolean },
): Promise<Uint8Array> {
  const { zipSync } = await import("fflate");
  const files = new Map<string, Uint8Array>();
  for (const [name, array] of entriesOf(arrays)) {
    if (name === "" || name === "__proto__" || /[/\\\0]|\p{Surrogate}/u.test(name)) {
      throw new OptionError(
        `The array name ${JSON.stringify(name)} is not a file name.`,
        "Use a name without slashes.",
      );
    }
    files.set(`${name}.npy`, writeNpy(array));
  }
  return zipSync(Object.fromEntries(files), { level: options.compress ? 6 : 0, mtime: EPOCH });
}

/** The first moment that a zip archive can name, in local time, as its format has it. */
const EPOCH = new Date(1980, 0, 1);
