/** Some columns of a matrix in WebGL2 textures, copied to the host. */
import { Activations } from "../../data/activations.ts";
import { ShapeError } from "../../errors.ts";
import { SPLIT_RESULTS, type GpuJsDevice, type GpuJsKernel } from "./device.ts";
import type { GpuJsActivations } from "./gpujs-activations.ts";

const gatherKernel: GpuJsKernel = {
  label: "gather-columns",
  source: `function (x, columns, neurons, count, firstRow) {
    const row = Math.floor((this.thread.x + 0.5) / count);
    const column = this.thread.x - row * count;
    return x[(firstRow + row) * neurons + columns[column]];
  }`,
};

/**
 * Host copy [rows × columns.length], row-major.
 * @throws ShapeError when a column does not exist
 */
export async function gatherColumns(
  device: GpuJsDevice,
  x: GpuJsActivations,
  columns: Uint32Array,
  signal: AbortSignal | undefined,
): Promise<Activations> {
  signal?.throwIfAborted();
  for (const j of columns) {
    if (j >= x.neurons) {
      throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${x.neurons - 1}.`);
    }
  }
  const k = columns.length;
  const values = new Float32Array(x.rows * k);
  const height = Math.max(1, Math.floor(SPLIT_RESULTS / k));
  for (const part of k > 0 ? x.parts : []) {
    for (let first = 0; first < part.rows; first += height) {
      const rows = Math.min(height, part.rows - first);
      const args = [part.texture, columns, x.neurons, k, first];
      values.set(await device.fetch(gatherKernel, rows * k, args), (part.firstRow + first) * k);
      signal?.throwIfAborted();
    }
  }
  return new Activations(values, [x.rows, k], {
    ...(x.groups && { groups: x.groups }),
    provenance: x.provenance,
  });
}
