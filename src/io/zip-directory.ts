/** The central directory of a zip archive (PKWARE APPNOTE 6.3), read strictly and without trusting its sizes. */
import { FormatError } from "../errors.ts";

/** One file of an archive. */
export interface ZipMember {
  readonly name: string;
  readonly deflated: boolean;
  readonly crc32: number;
  /** Length in bytes once inflated, as the directory claims. */
  readonly size: number;
  /** The bytes as they are stored, a view. */
  readonly stored: Uint8Array;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const REMEDY = "The archive is damaged or cut off: save or download it again.";

/**
 * Lists the files of an archive.
 * @throws FormatError when the archive is damaged, split, encrypted, or in zip64 form (beyond 4 GiB)
 */
export function readZipDirectory(bytes: Uint8Array): ZipMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const directorySize = view.getUint32(end + 12, true);
  let at = view.getUint32(end + 16, true);
  if (count === 0xffff || at === 0xffffffff) {
    throw new FormatError(
      "The archive is in zip64 form.",
      "Save the arrays as single .npy files, or in parts under 4 GiB.",
    );
  }
  if (view.getUint32(end + 4, true) !== 0 || view.getUint16(end + 8, true) !== count) {
    throw new FormatError("The archive is split over several files.", REMEDY);
  }
  if (at + directorySize !== end)
    throw new FormatError("The archive's directory is not where it should be.", REMEDY);
  const members: ZipMember[] = [];
  const names = new Set<string>();
  const ranges: [start: number, end: number][] = [];
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== CENTRAL) {
      throw new FormatError(`Entry ${i} of the archive's directory is damaged.`, REMEDY);
    }
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const storedSize = view.getUint32(at + 20, true);
    const size = view.getUint32(at + 24, true);
    const nameLength = view.getUint16(at + 28, true);
    const next = at + 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    const local = view.getUint32(at + 42, true);
    if (next > end) throw new FormatError(`Entry ${i} of the archive's directory is damaged.`, REMEDY);
    const name = decodeName(bytes.subarray(at + 46, at + 46 + nameLength), i);
    const what = `${JSON.stringify(name)} in the archive`;
    if (names.has(name)) throw new FormatError(`${what} occurs twice.`, REMEDY);
    names.add(name);
    if (flags & 0x2041) throw new FormatError(`${what} is encrypted.`, "Save it without a password.");
    if (method !== 0 && method !== 8) {
      throw new FormatError(
        `${what} has compression method ${method}.`,
        "Use numpy.savez or numpy.savez_compressed.",
      );
    }
    if (size === 0xffffffff || storedSize === 0xffffffff || local === 0xffffffff) {
      throw new FormatError(`${what} is in zip64 form.`, "Save it as a single .npy file.");
    }
    // The local header repeats the entry; only the lengths of its variable parts are needed.
    if (local + 30 > end || view.getUint32(local, true) !== LOCAL) {
      throw new FormatError(`${what} is not where the directory says.`, REMEDY);
    }
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    if (start + storedSize > end - directorySize || (method === 0 && size !== storedSize)) {
      throw new FormatError(`${what} has a length that cannot be right.`, REMEDY);
    }
    ranges.push([local, start + storedSize]);
    members.push({
      name,
      deflated: method === 8,
      crc32: view.getUint32(at + 16, true),
      size,
      stored: bytes.subarray(start, start + storedSize),
    });
    at = next;
  }
  if (at !== end) throw new FormatError("The archive's directory has more entries than it says.", REMEDY);
  ranges.sort(([a], [b]) => a - b);
  // Files that share bytes are how small archives unpack to huge ones.
  if (ranges.some(([start], i) => i > 0 && start < ranges[i - 1][1])) {
    throw new FormatError("Files in the archive overlap.", REMEDY);
  }
  return members;
}

/** Offset of the end record: the last one whose comment reaches exactly to the end. */
function findEnd(view: DataView): number {
  const last = view.byteLength - 22;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END && at + 22 + view.getUint16(at + 20, true) === view.byteLength)
      return at;
  }
  throw new FormatError("These bytes are not a zip archive, or its end is missing.", REMEDY);
}

function decodeName(bytes: Uint8Array, entry: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`The name of entry ${entry} in the archive is not valid UTF-8.`, REMEDY, { cause });
  }
}

let crcTable: Uint32Array | undefined;

/** CRC-32 with the reflected polynomial 0xEDB88320, as zip archives use. */
export function crc32(bytes: Uint8Array): number {
  if (!crcTable) {
    crcTable = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      let c = i;
      for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
      crcTable[i] = c;
    }
  }
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}
