/** Kernels of the CPU backend. Memory is laid out by the caller; every pointer is a multiple of 16 unless said otherwise. */
export { linear } from "./linear";
export { layerNorm } from "./layer-norm";
export { add, erf, gelu, geluTanh, relu } from "./activation";
export { attend, rotate } from "./attention";
export { gatherRows } from "./gather-rows";
export { centreColumns, describeColumns, gatherLogisticColumns } from "./gather-logistic-columns";
export { addPass, advance, chunksOfPass, fitStateBytes, fitSupports, fitWorkBytes, startFit } from "./fit-logistic";
export { packPanels } from "./pack-panels";
export { fitSingleNeurons } from "./fit-single-neurons";
