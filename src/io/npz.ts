/** NumPy's .npz files. */
import type { NpzArrays, ReadNpzOptions } from "./npz-archive.ts";
import type { RawTensor } from "./raw-tensor.ts";

/**
 * Reads the arrays of an archive by name, without `.npy`.
 * @throws FormatError when the archive or an array is damaged, is something else than arrays, or would take more than
 *   `maxBytes`; the sizes are checked before anything is inflated
 */
export async function readNpz(
  bytes: Uint8Array,
  options: ReadNpzOptions = {},
): Promise<Map<string, RawTensor>> {
  const { readArchive } = await import("./npz-archive.ts");
  return readArchive(bytes, options);
}

/**
 * Writes arrays as `numpy.savez` (or `numpy.savez_compressed` with `compress`) would name them. The same arrays give
 * the same bytes: the archive carries no time of writing.
 *
 * @throws OptionError when an array has no .npy type or its name cannot be a file name
 * @throws ShapeError when the number of values does not match a shape
 */
export async function writeNpz(
  arrays: NpzArrays,
  options: { readonly compress?: boolean } = {},
): Promise<Uint8Array> {
  const { writeArchive } = await import("./npz-archive.ts");
  return writeArchive(arrays, options);
}
