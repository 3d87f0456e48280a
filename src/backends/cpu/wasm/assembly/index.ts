/** Kernels of the CPU backend. Memory is laid out by the caller; every pointer is a multiple of 16 unless said otherwise. */
export { linear } from "./linear";
export { layerNorm } from "./layer-norm";
export { add, erf, gelu, geluTanh, relu } from "./activation";
export { attend, rotate } from "./attention";
export { gatherRows } from "./gather-rows";
export { centreColumns, describeColumns, gatherLogisticColumns } from "./gather-logistic-columns";
export {
  addChunksOfPass, addPanelOfHessian, advance, chunksOfPass, fitStateBytes, fitSupports, fitWorkBytes, mergePass, startFit,
} from "./fit-logistic";
