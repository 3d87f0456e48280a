/** Every neuron alone: the columns come back in blocks, and the host fits and sorts them. */
import type { LabelMatrix } from "../../data/labels.ts";
import type { CallOptions, NeuronRoc, SingleNeuronFits, SingleNeuronOptions } from "../backend.ts";
import { fitSingleNeuronsOnHost, neuronRocOnHost, type GatherBlock } from "../single-neurons-on-host.ts";
import type { ComputeDevice } from "./device.ts";
import { gatherColumns } from "./gather-columns.ts";
import type { WebGpuActivations } from "./webgpu-activations.ts";

/** @throws ShapeError | OptionError | OneClassError */
export function fitSingleNeurons(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  options: SingleNeuronOptions,
  maxBindingBytes: number,
): Promise<SingleNeuronFits> {
  return fitSingleNeuronsOnHost(x, gatherBlock(device, x, maxBindingBytes), labels, options);
}

/** @throws ShapeError | OneClassError */
export function neuronRoc(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  options: CallOptions,
  maxBindingBytes: number,
): Promise<NeuronRoc> {
  return neuronRocOnHost(x, gatherBlock(device, x, maxBindingBytes), labels, options);
}

function gatherBlock(device: ComputeDevice, x: WebGpuActivations, maxBindingBytes: number): GatherBlock {
  return (columns, { signal }) => gatherColumns(device, x, columns, maxBindingBytes, signal);
}
