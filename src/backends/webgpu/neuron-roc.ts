/** Areas under ROC curves: the columns come back in blocks, and the host sorts them. */
import type { LabelMatrix } from "../../data/labels.ts";
import type { CallOptions, NeuronRoc } from "../backend.ts";
import { neuronRocOnHost, type GatherBlock } from "../single-neurons-on-host.ts";
import type { ComputeDevice } from "./device.ts";
import { gatherColumns } from "./gather-columns.ts";
import type { WebGpuActivations } from "./webgpu-activations.ts";

/** @throws ShapeError | OneClassError */
export function neuronRoc(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  options: CallOptions,
  maxBindingBytes: number,
): Promise<NeuronRoc> {
  const gather: GatherBlock = (columns, { signal }) =>
    gatherColumns(device, x, columns, maxBindingBytes, signal);
  return neuronRocOnHost(x, gather, labels, options);
}
