/** The calls that treat every neuron alone, for backends that have no kernels for them: columns come to the host in blocks. */
import type { Activations } from "../data/activations.ts";
import type { LabelMatrix } from "../data/labels.ts";
import type {
  CallOptions,
  DeviceActivations,
  NeuronRoc,
  SingleNeuronFits,
  SingleNeuronOptions,
} from "./backend.ts";
import { createCpuBackend } from "./cpu/cpu-backend.ts";
import { assertLabelSets, assertSingleNeuronOptions, unknownFits, unknownRoc } from "./single-neurons.ts";

/** Bytes of columns on the host at once. */
const BLOCK_BYTES = 64 * 2 ** 20;

/** `gatherColumns` of the backend that holds the activations. */
export type GatherBlock = (columns: Uint32Array, options: CallOptions) => Promise<Activations>;

/** `Backend.fitSingleNeurons` on the CPU's kernels. */
export async function fitSingleNeuronsOnHost(
  x: DeviceActivations,
  gather: GatherBlock,
  labels: LabelMatrix,
  options: SingleNeuronOptions,
): Promise<SingleNeuronFits> {
  assertSingleNeuronOptions(x, labels, options);
  const features = labels.features.length;
  const fits = unknownFits(features, x.neurons);
  const cpu = createCpuBackend();
  await forEachBlock(x, gather, options.signal, async (block, first) => {
    const part = await cpu.fitSingleNeurons(await cpu.upload(block), labels, {
      ...options,
      ...(options.center && { center: columnsOf(options.center, x.neurons, first, block.neurons) }),
      ...(options.scale && { scale: columnsOf(options.scale, x.neurons, first, block.neurons) }),
      onProgress: (done) => options.onProgress?.(features * first + done, features * x.neurons),
    });
    for (let f = 0; f < features; f++) {
      for (const name of [
        "coefficients",
        "intercepts",
        "objectives",
        "newtonDecrements",
        "converged",
      ] as const) {
        fits[name].set(
          part[name].subarray(f * block.neurons, (f + 1) * block.neurons),
          f * x.neurons + first,
        );
      }
    }
  });
  return fits;
}

/** `Backend.neuronRoc` on the CPU's kernels. */
export async function neuronRocOnHost(
  x: DeviceActivations,
  gather: GatherBlock,
  labels: LabelMatrix,
  { signal }: CallOptions,
): Promise<NeuronRoc> {
  assertLabelSets(x, labels);
  const roc = unknownRoc(labels.features.length, x.neurons);
  const cpu = createCpuBackend();
  await forEachBlock(x, gather, signal, async (block, first) => {
    const part = await cpu.neuronRoc(await cpu.upload(block), labels, { signal });
    for (let f = 0; f < roc.features; f++) {
      for (const name of ["auc", "threshold", "informedness"] as const) {
        roc[name].set(part[name].subarray(f * block.neurons, (f + 1) * block.neurons), f * x.neurons + first);
      }
    }
  });
  return roc;
}

async function forEachBlock(
  x: DeviceActivations,
  gather: GatherBlock,
  signal: AbortSignal | undefined,
  visit: (block: Activations, first: number) => Promise<void>,
): Promise<void> {
  signal?.throwIfAborted();
  const width = Math.max(1, Math.floor(BLOCK_BYTES / (4 * x.rows)));
  for (let first = 0; first < x.neurons; first += width) {
    const count = Math.min(width, x.neurons - first);
    await visit(
      await gather(
        Uint32Array.from({ length: count }, (_, c) => first + c),
        { signal },
      ),
      first,
    );
  }
}

/** Columns [first, first + count) of [features × neurons] values. */
function columnsOf(values: Float64Array, neurons: number, first: number, count: number): Float64Array {
  const features = values.length / neurons;
  const out = new Float64Array(features * count);
  for (let f = 0; f < features; f++) {
    out.set(values.subarray(f * neurons + first, f * neurons + first + count), f * count);
  }
  return out;
}
